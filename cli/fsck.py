"""`aq fsck`."""

from __future__ import annotations

import click
from aq.cli import text_keep
from aq.cli.command import command
from aq.cli.session import Session, working_directory
from aq.formats.errors import Damaged


@command("fsck", examples=["aq fsck", "aq fsck --full", "aq fsck --rebuild"], exits=(1, 2, 5, 6))
@click.option("--full", is_flag=True, help="Every byte: each checksum, each object against its id")
@click.option("--rebuild", is_flag=True, help="The index made anew from the packs first")
def fsck(session: Session, full: bool, rebuild: bool) -> int:
    """Check the store, byte by byte where asked, and name what is damaged

    Damage is named by object, path and commit, with what to type; everything else stays usable.
    What nothing needs any more is no damage. `--rebuild` needs the packs alone; what cannot be read
    is forgotten, and stored again where the same content still lies in the folder.
    """
    if rebuild:
        from aq.pipeline.change import keeping

        lost = keeping.rebuild(working_directory(), session.context().environ)
        found = keeping.check_rebuilt(session.repo(), lost, full=full)
    else:
        found = session.repo().fsck(full=full)
    session.answer(found, text_keep.checked)
    return Damaged.exit_code if found.problems else 0
