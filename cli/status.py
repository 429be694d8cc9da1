"""`aq status`."""

from __future__ import annotations

from aq.cli import text_record
from aq.cli.command import command
from aq.cli.session import Session


@command("status", examples=["aq status", "aq status --json"], exits=(1, 2, 5, 6))
def status(session: Session) -> None:
    """List what changed since HEAD: files, untracked paths, stale steps

    Nothing of yours is imported or run: sources and code are compared with what the last run
    recorded. Where only an import could tell, `aq run -n` tells exactly.
    """
    record = session.repo().status()
    session.answer(record, text_record.status)
    session.notes(record.notes)
    session.hints(dict.fromkeys(flow.hint for flow in record.flows if flow.hint))
    if record.head is None:
        session.hints(['aq commit -m "first data"'] if record.changes else ["aq add .", "aq run FILE.py"])
