"""The rows in which two versions of a table differ, as a table: what `diff -o` writes.

Invariant: rows that are equal on both sides are not in it, and of the others each side is there once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa
from aq.formats.columns.picking import taken
from aq.formats.comparing.changes import changed_cells
from aq.formats.comparing.compare_schema import compare_schema
from aq.formats.comparing.match import match_rows
from aq.formats.comparing.naming import naming
from aq.formats.comparing.sides import Column, Rows, Side, take
from aq.formats.objects import Source
from aq.formats.records import Artifact

CHANGE: Final = "aq_change"
ROW: Final = "aq_row"


def changed_rows(a: Artifact, b: Artifact, source: Source) -> pa.Table:
    """The rows that were removed, changed or added, from version `a` to version `b`.

    Column `aq_change` (string: removed | before | after | added), `aq_row` (int64: the row's number in its
    version), then the columns of `b`, then those that only `a` has. A changed row is there twice, before
    next to after. A column that one version lacks is null there; a retyped one has the type of `b` where
    its values fit, else it is text.
    """
    before, after = Side(a, source, is_after=False), Side(b, source, is_after=True)
    _, shared = compare_schema(before, after)
    matching = match_rows(before, after, shared, *naming(before, after, shared))
    changes = changed_cells(before, after, shared, matching)
    new, first = np.unique(
        np.concatenate([np.empty(0, np.int64), *(c.after for c in changes)]), return_index=True
    )
    old = np.concatenate([np.empty(0, np.int64), *(c.before for c in changes)])[first]
    parts: list[tuple[str, Side, Rows]] = [
        ("removed", before, matching.removed), ("before", before, old),
        ("after", after, new), ("added", after, matching.added),
    ]  # fmt: skip
    counts = [len(rows) for _, _, rows in parts]
    columns = {
        CHANGE: pa.array(np.repeat([name for name, _, _ in parts], counts), pa.string()),
        ROW: pa.array(np.concatenate([rows for _, _, rows in parts])),
    }
    for name, one, other in _all_columns(before, after, shared):
        pieces = [_values(side, one if side is before else other, rows) for _, side, rows in parts]
        columns[name] = _joined(pieces)
    order = _interleaved(counts)
    return pa.table({name: taken(values, order) for name, values in columns.items()})


def _all_columns(
    before: Side, after: Side, shared: list[Column]
) -> Iterator[tuple[str, Column | None, Column | None]]:
    """Name and how to read it on each side, None where it is not there."""
    mine = {column.after: Column(column.name, column.before, column.after) for column in shared}
    for at in after.described.shown:
        name = after.columns[at][0]
        own = mine.get(at)
        yield name, own, own or Column(name, at, at)
    taken = {after.columns[at][0] for at in after.described.shown}
    known = {column.before for column in shared}
    for at in before.described.shown:
        name = before.columns[at][0]
        if at not in known:
            yield (f"{name} (before)" if name in taken else name), Column(name, at, at), None


def _values(side: Side, column: Column | None, rows: Rows) -> pa.Array | int:
    """The values in these rows; their number where the side lacks the column."""
    return len(rows) if column is None else take(side, column, rows)


def _joined(pieces: list[pa.Array | int]) -> pa.ChunkedArray:
    kinds = [piece.type for piece in pieces if not isinstance(piece, int)]
    wanted = kinds[-1] if kinds else pa.null()
    arrays = [pa.nulls(piece, wanted) if isinstance(piece, int) else piece for piece in pieces]
    try:
        return pa.chunked_array([array.cast(wanted) for array in arrays], wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        texts = [[None if value is None else str(value) for value in array.to_pylist()] for array in arrays]
        return pa.chunked_array([pa.array(text, pa.string()) for text in texts], pa.string())


def _interleaved(counts: list[int]) -> pa.Array:
    """Removed rows, then each changed one before and after, then added rows."""
    removed, changed, _, added = counts
    pairs = (removed + np.arange(2 * changed).reshape(2, changed)).T.reshape(-1)
    tail = removed + 2 * changed + np.arange(added)
    return pa.array(np.concatenate([np.arange(removed), pairs, tail]).astype(np.int64))
