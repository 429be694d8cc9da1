"""`aq bisect`."""

from __future__ import annotations

import click
from aq.cli import text_prove
from aq.cli.command import command
from aq.cli.progress import progress
from aq.cli.session import Session


@command(
    "bisect",
    examples=[
        "aq bisect auc",
        "aq bisect auc v1..main --worse-by 0.02",
        "aq bisect rows --below 1000",
    ],
    exits=(1, 2, 3, 5, 6),
    hosts_code=True,
)
@click.argument("metric", metavar="METRIC")
@click.argument("revisions", metavar="[GOOD..BAD]", required=False)
@click.option("--worse-by", metavar="X", type=float, help="The change that counts as worse")
@click.option("--above", metavar="X", type=float, help="Bad is a value above X")
@click.option("--below", metavar="X", type=float, help="Bad is a value below X")
@click.option("--either", is_flag=True, help="A change in either direction counts")
@click.option("--first-parent", is_flag=True, help="Only the branch's own commits, not what was merged")
@click.option("--recompute", is_flag=True, help="Recorded values are computed again")
def bisect(
    session: Session,
    metric: str,
    revisions: str | None,
    worse_by: float | None,
    above: float | None,
    below: float | None,
    either: bool,
    first_parent: bool,
    recompute: bool,
) -> int:
    """Find the commit that made a metric worse

    Recorded values are free; where a commit lacks one, its metric is computed from its own
    sources, code and params. Without a range: the most recent adverse shift of the recorded
    series. Exit code 3: inconclusive.
    """
    with progress(session, reasons=False) as events:
        record = session.repo().bisect(
            metric,
            revisions,
            worse_by=worse_by,
            above=above,
            below=below,
            either=either,
            first_parent=first_parent,
            recompute=recompute,
            on_event=events,
        )
    session.answer(record, text_prove.bisect)
    return 3 if record.verdict == "inconclusive" else 0
