"""`aq repro`."""

from __future__ import annotations

import click
from aq.cli import text_prove
from aq.cli.command import command
from aq.cli.progress import progress
from aq.cli.session import Session


@command(
    "repro",
    examples=["aq repro v1", "aq repro main~2:delays/predictions", "aq repro HEAD --rtol 1e-6"],
    exits=(1, 2, 3, 5, 6),
    hosts_code=True,
)
@click.argument("spec", metavar="REV[:PATH]")
@click.option("--rtol", metavar="X", type=float, default=1e-9, show_default=True, help="Relative tolerance")
@click.option("--atol", metavar="X", type=float, default=0.0, show_default=True, help="Absolute tolerance")
def repro(session: Session, spec: str, rtol: float, atol: float) -> int:
    """Run a revision's code again in a clean folder and compare

    Sources, code and params are the commit's. Identical: the same ids. Equal: the same numbers
    within the tolerances. Different: exit code 3, with the first step that differs.
    """
    with progress(session, reasons=False) as events:
        record = session.repo().repro(spec, rtol=rtol, atol=atol, on_event=events)
    session.answer(record, text_prove.repro)
    return 3 if record.verdict == "different" else 0
