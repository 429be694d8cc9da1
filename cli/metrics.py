"""`aq metrics`."""

from __future__ import annotations

import click
from aq.cli import text_metric
from aq.cli.command import command
from aq.cli.session import Session


@command("metrics", examples=["aq metrics", "aq metrics auc", "aq metrics auc v1..main"], exits=(1, 2, 5, 6))
@click.argument("name", metavar="[NAME]", required=False)
@click.argument("revisions", metavar="[RANGE]", required=False)
def metrics(session: Session, name: str | None, revisions: str | None) -> None:
    """Show the recorded series of metrics

    Oldest first, both ends of RANGE included, each with its change against the one before. NAME
    is a path or any unique end of one. An arrow marks a step that stands out, in either
    direction: what is too good may be a leak.
    """
    if revisions is None and name is not None and ".." in name:
        name, revisions = None, name
    session.answer(session.repo().metrics(name, revisions), text_metric.series, nothing="No metrics")
