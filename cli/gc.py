"""`aq gc`."""

from __future__ import annotations

import click
from aq.cli import text_keep
from aq.cli.command import command
from aq.cli.session import Session


@command("gc", examples=["aq gc -n", "aq gc"], exits=(1, 2, 5, 6, 75))
@click.option("-n", "--dry-run", is_flag=True, help="What would be freed, and why the rest is kept")
def gc(session: Session, dry_run: bool) -> None:
    """Free what nothing needs any more

    Kept is what branches, tags, and the operations and runs of the last 30 days refer to
    (gc.retention), and what a writer at work relies on. The rest is marked first, and freed by a
    later gc once an hour has passed (gc.grace): `aq config set gc.retention 7d`.
    """
    session.report(session.repo().gc(dry_run=dry_run), text_keep.collected)
