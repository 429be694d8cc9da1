"""`aq remove`."""

from __future__ import annotations

import click
from aq.cli import text_record
from aq.cli.command import command
from aq.cli.session import Session


@command(
    "remove",
    examples=["aq remove data/old.csv", "aq remove --delete data/2012/", "aq remove delays/month=2025-01"],
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--delete", is_flag=True, help="Deletion from the folder too")
def remove(session: Session, paths: tuple[str, ...], delete: bool) -> None:
    """Stop tracking files, folders and given values, drop partitions

    The next commit is without them; older commits keep them. Files stay in the folder unless
    `--delete` is given. A partition of a flow, `delays/month=2025-01`, goes with all that was made in it.
    """
    record = session.repo().remove(paths, delete=delete)
    session.report(record, text_record.tracked)
    session.notes(record.notes)
