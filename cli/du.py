"""`aq du`."""

from __future__ import annotations

from aq.cli import text_keep
from aq.cli.command import command
from aq.cli.session import Session


@command("du", examples=["aq du", "aq du --json"], exits=(1, 5, 6))
def du(session: Session) -> None:
    """Count the bytes of the store by kind, folder, flow, branch and tag

    Bytes as they lie in packs, compressed, over all of history. What two branches share counts for
    both; the second figure of each is what no other one needs.
    """
    session.answer(session.repo().du(), text_keep.usage)
