"""`aq cat`."""

from __future__ import annotations

import click
from aq.cli.command import command
from aq.cli.session import Session

FORMS = ("csv", "parquet", "arrow", "json", "jsonl")


@command(
    "cat",
    examples=[
        "aq cat main:delays/auc",
        "aq cat v1:delays/predictions > predictions.csv",
        "aq cat v1:delays/predictions --format parquet > predictions.parquet",
        "aq cat data/flights.parquet --columns origin,dest --rows :10",
    ],
    exits=(1, 2, 5, 6),
)
@click.argument("spec", metavar="REV:PATH")
@click.option(
    "--format", "form", type=click.Choice(FORMS), help="The form of a table, or of a file read as one"
)
@click.option("--columns", metavar="A,B", help="These columns of a table, in this order")
@click.option("--rows", metavar="A:B", help="Rows from A to before B, counted from 0; -N is the N-th last")
def cat(session: Session, spec: str, form: str | None, columns: str | None, rows: str | None) -> None:
    """Write one artifact to standard output

    A file as its bytes, a table as CSV, a value as JSON. Without REV: HEAD's. Of a table only the
    columns and rows that are asked for are read, and never more than a piece of it is in memory.
    """
    from aq.pipeline.look.selection import names_of, rows_of

    artifact = session.repo().get(spec)
    wanted = None if columns is None else names_of(columns)
    span = None if rows is None else rows_of(rows, f"aq cat {spec}")
    for piece in artifact.chunks(form, columns=wanted, rows=span):
        session.write_bytes(piece)
