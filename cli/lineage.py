"""`aq lineage`."""

from __future__ import annotations

import click
from aq.cli import text_tree
from aq.cli.command import command
from aq.cli.session import Session


@command(
    "lineage",
    examples=["aq lineage delays/predictions", "aq lineage main~3:data/flights.parquet --downstream"],
    exits=(1, 2, 5, 6),
)
@click.argument("spec", metavar="[REV:]PATH")
@click.option("--downstream", is_flag=True, help="What was made from it, over all commits")
def lineage(session: Session, spec: str, downstream: bool) -> None:
    """Show what an artifact was made from, or what was made from it"""
    record = session.repo().lineage(spec, downstream=downstream)
    session.answer(record, text_tree.used_by if downstream else text_tree.lineage)
