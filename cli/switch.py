"""`aq switch`."""

from __future__ import annotations

import click
from aq.cli import text_record
from aq.cli.command import command
from aq.cli.session import Session


@command("switch", examples=["aq switch main", "aq switch -c wider-window"], exits=(1, 2, 4, 5, 6))
@click.argument("branch")
@click.option("-c", "--create", is_flag=True, help="A new branch at HEAD")
@click.option("-f", "--force", is_flag=True, help="Over unsaved changes too; `aq undo` brings them back")
@click.option("--code", is_flag=True, help="Files that Git tracks are switched too")
def switch(session: Session, branch: str, create: bool, force: bool, code: bool) -> None:
    """Go to another branch

    Tracked files of the folder become those of the branch; unsaved changes are not
    overwritten without `-f`. Files that Git tracks are left to Git.
    """
    record = session.repo().switch(branch, create=create, force=force, code=code)
    session.report(record, text_record.switched)
    session.notes(record.notes)
