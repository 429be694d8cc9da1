"""`aq runs`."""

from __future__ import annotations

import click
from aq.cli import text_run
from aq.cli.command import command
from aq.cli.session import Session

STATES = ("committed", "unchanged", "gated", "failed", "uncommitted")


@command(
    "runs",
    examples=["aq runs", "aq runs --status failed", "aq runs --metric auc --sort auc"],
    exits=(1, 2, 5, 6),
)
@click.option("--flow", metavar="FLOW", help="Runs of this flow only")
@click.option("--status", type=click.Choice(STATES), help="Runs that ended like this only")
@click.option("--metric", metavar="NAME", help="A metric to show beside each run")
@click.option("--sort", metavar="NAME", help="A metric or param to sort by, best or smallest first")
def runs(
    session: Session, flow: str | None, status: str | None, metric: str | None, sort: str | None
) -> None:
    """List runs, also failed and uncommitted ones

    Newest first. A run's id is a revision: `aq show RUN`, `aq diff RUN..HEAD`.
    """
    record = session.repo().runs(flow=flow, status=status, metric=metric, sort=sort)
    session.answer(record, text_run.runs, nothing="No runs")
