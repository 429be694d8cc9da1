"""`aq steps`."""

from __future__ import annotations

import click
from aq.cli import text_tree
from aq.cli.command import command
from aq.cli.session import Session


@command("steps", examples=["aq steps", "aq steps run:last"], exits=(1, 2, 5, 6))
@click.argument("rev", metavar="[REV]", default="HEAD")
def steps(session: Session, rev: str) -> None:
    """Draw the steps of a revision's run

    Each step under the one that it waited for last, with its fate, its time and why it ran.
    """
    session.answer(session.repo().steps(rev), text_tree.steps)
