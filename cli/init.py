"""`aq init`."""

from __future__ import annotations

import click
from aq.cli import text_record
from aq.cli.command import command
from aq.cli.session import Session, working_directory


@command("init", examples=["aq init", "aq init forecasts"], exits=(1, 2))
@click.argument("directory", metavar="[DIR]", default=".")
def init(session: Session, directory: str) -> None:
    """Create an empty repository

    Makes the folder if it is missing, and `.aq` inside it, which Git is told to ignore. An
    existing repository is left as it is.
    """
    from aq.pipeline.repo import Repo

    with Repo.create(working_directory() / directory, session.context()) as repo:
        session.report({"path": str(repo.root)}, text_record.init)
