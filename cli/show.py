"""`aq show`."""

from __future__ import annotations

import click
from aq.cli import text_show
from aq.cli.command import command
from aq.cli.session import Session


@command(
    "show",
    examples=["aq show", "aq show main~2", "aq show run:last", "aq show v1:data/flights.parquet"],
    exits=(1, 2, 5, 6),
)
@click.argument("spec", metavar="[REV][:PATH]", default="HEAD")
def show(session: Session, spec: str) -> None:
    """Describe a commit, a run, or one path of it

    A table, also one in a file of up to 32 MiB, is described by its columns, a model by its class
    and parameters; nothing is unpickled for it.
    """
    session.answer(session.repo().show(spec), text_show.show)
