"""`aq restore`."""

from __future__ import annotations

import click
from aq.cli import text_record
from aq.cli.command import command
from aq.cli.session import Session


@command(
    "restore",
    examples=[
        "aq restore data/flights.parquet",
        "aq restore --from main~2 data/",
        "aq restore --from v1 -o old.parquet delays/predictions",
    ],
    exits=(1, 2, 4, 5, 6),
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--from", "source", metavar="REV", help="The revision to take them from (default HEAD)")
@click.option("-o", "--output", metavar="FILE", help="A copy elsewhere; also of made and given paths")
@click.option("--code", is_flag=True, help="Files that Git tracks are restored too")
@click.option("-f", "--force", is_flag=True, help="Overwrite FILE also where it lies outside the folder")
def restore(
    session: Session, paths: tuple[str, ...], source: str | None, output: str | None, code: bool, force: bool
) -> None:
    """Bring back files as they were at a revision

    What is overwritten is stored first, so that `aq undo` brings it back. A FILE outside the folder
    is overwritten only with -f. Files that Git tracks are left to Git.
    """
    record = session.repo().restore(list(paths), from_=source, output=output, code=code, force=force)
    session.report(record, text_record.restored)
    session.notes(record.notes)
