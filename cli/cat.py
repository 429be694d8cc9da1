"""`aq cat`."""

from __future__ import annotations

import click
from aq.cli.command import command
from aq.cli.session import Session

FORMS = ("csv", "parquet", "arrow", "json")


@command(
    "cat",
    examples=[
        "aq cat main:delays/auc",
        "aq cat v1:delays/predictions > predictions.csv",
        "aq cat v1:delays/predictions --format parquet > predictions.parquet",
    ],
    exits=(1, 2, 5, 6),
)
@click.argument("spec", metavar="REV:PATH")
@click.option(
    "--format", "form", type=click.Choice(FORMS), help="The form of a table, or of a file read as one"
)
def cat(session: Session, spec: str, form: str | None) -> None:
    """Write one artifact to standard output

    A file as its bytes, a table as CSV, a value as JSON. Without REV: HEAD's.
    """
    artifact = session.repo().get(spec)
    for piece in artifact.chunks(form):
        session.write_bytes(piece)
