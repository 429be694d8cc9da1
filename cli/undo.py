"""`aq undo`."""

from __future__ import annotations

from aq.cli import text_record
from aq.cli.command import command
from aq.cli.session import Session


@command("undo", examples=["aq undo"], exits=(1, 2, 4, 5, 6))
def undo(session: Session) -> None:
    """Take back the last operation; undo again to redo

    Refs go back to what they were, and files that the operation overwrote or deleted come back.
    `aq ops` lists operations.
    """
    session.report(session.repo().undo(), text_record.undone)
