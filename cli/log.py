"""`aq log`."""

from __future__ import annotations

import click
from aq.cli import text_history
from aq.cli.command import command
from aq.cli.dashes import revision_or_path
from aq.cli.session import Session


@command(
    "log",
    dashed="paths",
    examples=[
        "aq log",
        "aq log --metric auc",
        "aq log v1..main --since 2026-03-01",
        "aq log -- data/flights.parquet",
    ],
    exits=(1, 2, 5, 6),
)
@click.argument("revisions", metavar="[RANGE]", required=False)
@click.option("--metric", metavar="NAME", help="A metric to show beside each commit")
@click.option("--since", metavar="DATE", help="The earliest time")
@click.option("--until", metavar="DATE", help="The latest time; a bare date means its end")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="The most commits to list")
def log(
    session: Session,
    revisions: str | None,
    metric: str | None,
    since: str | None,
    until: str | None,
    limit: int | None,
    paths: tuple[str, ...] = (),
) -> None:
    """List commits with their metrics, newest first

    RANGE is a revision or A..B: what B has and A has not. A metric that was not recorded for
    exactly a commit's sources, code and params shows as a dash.
    """
    with revision_or_path("log", revisions):
        entries = session.repo().log(
            revisions, metric=metric, since=since, until=until, paths=paths, limit=limit
        )
        lines = text_history.log if metric is None else text_history.metric_log(metric)
        session.answer(iter(entries), lines, nothing="No commits")
