"""`aq ls`."""

from __future__ import annotations

import click
from aq.cli import text_show
from aq.cli.command import command
from aq.cli.session import Session

KINDS = ("file", "table", "model", "array", "value")


@command("ls", examples=["aq ls", "aq ls v1 --kind table"], exits=(1, 2, 5, 6))
@click.argument("rev", metavar="[REV]", default="HEAD")
@click.option("--kind", type=click.Choice(KINDS), help="Paths of this kind only")
def ls(session: Session, rev: str, kind: str | None) -> None:
    """List the paths of a revision

    Kind, size, id and path of each; made and given paths lie in the store only.
    """
    session.answer(session.repo().ls(rev, kind=kind), text_show.paths, nothing="No paths")
