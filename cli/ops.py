"""`aq ops`."""

from __future__ import annotations

import click
from aq.cli import text_history
from aq.cli.command import command
from aq.cli.session import Session


@command("ops", examples=["aq ops", "aq ops --limit 5"], exits=(1, 2, 5, 6))
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="The most operations to list")
def ops(session: Session, limit: int | None) -> None:
    """List operations: what each command did to the refs

    Newest first. `aq undo` takes back the first one.
    """
    session.answer(session.repo().ops(limit), text_history.operations)
