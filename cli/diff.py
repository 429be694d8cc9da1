"""`aq diff`."""

from __future__ import annotations

import click
from aq.cli import text_diff
from aq.cli.command import command
from aq.cli.dashes import revision_or_path
from aq.cli.session import Session
from aq.cli.text import plural


@command(
    "diff",
    dashed="paths",
    examples=[
        "aq diff",
        "aq diff main~1..main",
        "aq diff v1 -- data/flights.parquet",
        "aq diff --stat main~3..main",
        "aq diff -o changed.parquet main~1..main -- sales",
        "aq diff --exit-code -q v1..v2",
    ],
    exits=(1, 2, 3, 5, 6),
)
@click.argument("revisions", metavar="[A[..B]]", required=False)
@click.option("--exit-code", is_flag=True, help="Exit code 3 where anything differs")
@click.option("--stat", is_flag=True, help="A line a path: how much of it differs")
@click.option("-o", "--output", metavar="FILE", help="Write the rows in which a table differs, as Parquet")
def diff(
    session: Session,
    revisions: str | None,
    exit_code: bool,
    stat: bool,
    output: str | None,
    paths: tuple[str, ...] = (),
) -> int:
    """Compare two revisions, or one with the folder, down to rows and columns

    Without a revision: HEAD with the folder. A: A with the folder. A..B: A with B. Rows of a table
    are told apart by its key; without one by a column that names them, or by what they hold.
    """
    with revision_or_path("diff", revisions):
        record = session.repo().diff(revisions, paths=paths, output=output)
    (session.report if exit_code else session.answer)(record, text_diff.stat if stat else text_diff.diff)
    if output is not None and record.written is not None:
        session.note(f"{plural(record.written, 'row')} written to {output}")
    return 3 if exit_code and text_diff.differs(record) else 0
