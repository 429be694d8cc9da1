"""`aq logs`."""

from __future__ import annotations

import click
from aq.cli import text_run
from aq.cli.command import command
from aq.cli.session import Session


@command("logs", examples=["aq logs train", "aq logs run:last:delays/train"], exits=(1, 2, 5, 6))
@click.argument("spec", metavar="[REV:]OP")
def logs(session: Session, spec: str) -> None:
    """Print what a step wrote

    Standard output and error of the step, with the traceback of one that failed. Without REV:
    the last run that had the step.
    """
    session.answer(session.repo().logs(spec), text_run.log_text)
