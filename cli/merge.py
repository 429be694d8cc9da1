"""`aq merge`."""

from __future__ import annotations

import click
from aq.cli import text_merge
from aq.cli.command import command
from aq.cli.session import Session, utf8
from aq.formats.errors import Conflict


@command(
    "merge",
    examples=[
        "aq merge wider-window",
        'aq merge wider-window --theirs data/ -m "take their data"',
        "aq merge wider-window --take labels.csv",
    ],
    exits=(1, 2, 4, 5, 6),
)
@click.argument("rev")
@click.option(
    "-m", "--message", metavar="MSG", help="What the merge is about (default: merge REV into BRANCH)"
)
@click.option(
    "--ours", metavar="PATH", multiple=True, help="Settle conflicts with our state (can be repeated)"
)
@click.option(
    "--theirs", metavar="PATH", multiple=True, help="Settle with the state in REV (can be repeated)"
)
@click.option("--take", metavar="PATH", multiple=True, help="Settle with the folder's file (can be repeated)")
@click.option("--code", is_flag=True, help="Files that Git tracks are merged in the folder too")
def merge(
    session: Session,
    rev: str,
    message: str | None,
    ours: tuple[str, ...],
    theirs: tuple[str, ...],
    take: tuple[str, ...],
    code: bool,
) -> None:
    """Bring what another revision changed into the current branch

    A path that both sides changed is merged inside: a table by its key, cell by cell; a text, CSV too,
    by lines. What cannot be is listed and nothing is merged: choose a side for each path or folder, or
    edit the file and --take it, and merge again. What flows make never conflicts: it is stale until
    `aq run`.
    """
    text = None if message is None else utf8(message)
    try:
        record = session.repo().merge(rev, message=text, ours=ours, theirs=theirs, take=take, code=code)
    except Conflict as error:
        if error.result is not None:
            session.answer(error.result, text_merge.merged)
        raise
    session.report(record, text_merge.merged)
    session.notes(record.notes)
    session.hints(["aq run"] if record.stale else [])
