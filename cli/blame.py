"""`aq blame`."""

from __future__ import annotations

import click
from aq.cli import text_blame
from aq.cli.command import command
from aq.cli.session import Session


@command(
    "blame",
    examples=[
        "aq blame sales",
        "aq blame v1:delays/predictions",
        "aq blame data/labels.csv --column label",
        "aq blame sales --since 2026-03-01",
    ],
    exits=(1, 2, 5, 6),
)
@click.argument("spec", metavar="[REV:]PATH")
@click.option("--column", metavar="NAME", help="Of a table only the cells of this column")
@click.option("--since", metavar="DATE", help="Look no further back; what is older has no commit")
def blame(session: Session, spec: str, column: str | None, since: str | None) -> None:
    """Say which commit last changed each row and column, line, key or tensor

    Of a table: ranges of rows, by the table's key where it has one, and the last change of each column;
    columns that come and go do not change a row. Text goes by lines (a CSV file with --column as a
    table), JSON by keys, models by hyperparameter and tensor. A path is not followed over renames.
    """
    session.answer(session.repo().blame(spec, column=column, since=since), text_blame.blame)
