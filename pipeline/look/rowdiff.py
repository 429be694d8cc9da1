"""The rows in which two versions of one table differ, written to a file: `aq diff -o`.

Invariant: the file appears whole or not at all; what it holds is said in `formats.comparing.changed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aq.formats.errors import UsageError
from aq.formats.objects import MemoryObjects, get_record
from aq.formats.records import Artifact
from aq.pipeline.look import outputs
from aq.pipeline.look.compare import Side, differing
from aq.pipeline.look.exporting import Held, exported
from aq.pipeline.look.table_files import encoded, is_table_file
from aq.store.system.paths import show

if TYPE_CHECKING:
    import pyarrow as pa


def save(before: Side, after: Side, paths: Sequence[str], target: Path, asked: str) -> int:
    """Write the rows as Parquet, or in the form that the file's name asks for; how many they are.

    `asked`: the command so far, for hints. Raises UsageError unless exactly one table differs.
    """
    found = {}
    for path, old, new in differing(before, after, paths):
        if old is not None and new is not None and old.artifact != new.artifact:
            sides = [get_record(after.source, Artifact, entry.artifact) for entry in (old, new)]
            if all(side.kind == "table" or is_table_file(path, side, after.source) for side in sides):
                found[path] = sides
    if len(found) != 1:
        several = f"{len(found)} tables differ: name one" if found else "no table differs in its rows"
        hints = [f"{asked} -- {show(path)}" for path in sorted(found)[:2]]
        raise UsageError(several, hint=hints)
    [(path, sides)] = found.items()
    rows = _rows(path, sides, after)
    outputs.write(target, exported(Held(rows), outputs.table_form(target, "parquet")))
    return int(rows.num_rows)


def _rows(path: str, sides: Sequence[Artifact], after: Side) -> pa.Table:
    from aq.formats.comparing.changed import changed_rows

    if all(side.kind == "table" for side in sides):
        return changed_rows(sides[0], sides[1], after.source)
    memory = MemoryObjects()
    old, new = (encoded(path, side, after.source, memory) for side in sides)
    return changed_rows(old, new, memory)
