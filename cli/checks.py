"""`aq checks`."""

from __future__ import annotations

import click
from aq.cli import text_check
from aq.cli.command import command
from aq.cli.session import Session


@command("checks", examples=["aq checks", "aq checks run:last"], exits=(1, 2, 5, 6))
@click.argument("rev", metavar="[REV]", default="HEAD")
def checks(session: Session, rev: str) -> None:
    """List the checks of a revision and how they ended

    States: passed, warning, failed, error (the check raised), accepted (failed, published all
    the same by `aq run --accept`). Behind each, how it ended in the last runs, the newest last:
    . passed, ! warning, x failed or raised, a accepted. Rows that failed: `aq cat REV:FLOW/CHECK/rows`.
    """
    session.answer(session.repo().checks(rev), text_check.checks, nothing="No checks")
