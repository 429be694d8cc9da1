"""`aq add`."""

from __future__ import annotations

import click
from aq.cli import text_record
from aq.cli.command import command
from aq.cli.session import Session


@command("add", examples=["aq add data/", "aq add --force build/model.bin"])
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("-f", "--force", is_flag=True, help="Ignored paths too")
def add(session: Session, paths: tuple[str, ...], force: bool) -> None:
    """Track files and folders

    The next commit records what they hold then. Folders are taken whole, except for what
    `.aqignore` names and `.git`, environments, caches and keys.
    """
    record = session.repo().add(paths, force=force)
    session.report(record, text_record.tracked)
    session.notes(record.notes)
