"""`aq commit`."""

from __future__ import annotations

import click
from aq.cli import text_record
from aq.cli.command import command
from aq.cli.session import Session, utf8


@command(
    "commit",
    examples=[
        'aq commit -m "March data"',
        'aq commit -m "only the labels" labels.csv',
        'aq commit --run 8c12d0a4 -m "adopt the wider window"',
    ],
    exits=(1, 2, 4, 5, 6),
)
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.option("-m", "--message", metavar="MSG", required=True, help="What the commit is about")
@click.option("--run", metavar="RUN", help="A run that was not committed, to adopt its results")
@click.option("--time", metavar="TIME", help="The commit's time, as 2026-03-01 or 2026-03-01T12:00Z")
def commit(session: Session, paths: tuple[str, ...], message: str, run: str | None, time: str | None) -> None:
    """Record all tracked paths as one commit

    With PATH, only these. With nothing to commit, HEAD stays and the exit code is 0.
    """
    record = session.repo().commit(list(paths) or None, message=utf8(message), run=run, time=time)
    session.report(record, text_record.commit)
    session.notes(record.notes)
