"""Consecutive segments of a table whose canonical bytes are made together, column by column.

Invariant: the bytes are those that each segment has by itself. Thousands of short calls of numpy and Arrow,
each of which lets another thread in, become dozens of long ones; memory stays within some segments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final

import pyarrow as pa
from aq.formats.columns.layout import write_array, write_arrays
from aq.formats.columns.weights import in_memory
from aq.formats.errors import Unstorable
from aq.formats.tables.cut import slice_rows

ROWS_MOST: Final = 128 * 1024
BYTES_MOST: Final = 16 << 20
"""What a group has of either, by the rows that the table has on average; one segment in any case."""
SEGMENTS_MOST: Final = 16

Observe = Callable[[int, pa.Array, Sequence[int]], None]
"""Told which column, its values, and at which of them segments begin."""


def groups(columns: Sequence[pa.ChunkedArray], ends: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """The first row of each group, and the row after each of its segments; `ends` are those of all."""
    each = max(1, sum(map(in_memory, columns)) // max(1, ends[-1]))
    most = min(ROWS_MOST, BYTES_MOST // each)
    start = begin = 0
    found: list[int] = []
    for stop in ends:
        if found and (stop - begin > most or len(found) == SEGMENTS_MOST):
            yield begin, found
            begin, found = start, []
        found.append(stop)
        start = stop
    yield begin, found


def write_group(
    names: Sequence[str],
    columns: Sequence[pa.ChunkedArray],
    start: int,
    stops: Sequence[int],
    observe: Observe,
) -> list[list[bytes]]:
    """For each segment the canonical bytes of its columns; `observe` is told of each column once.

    Raises Unstorable naming the column and the rows of what the layout cannot hold.
    """
    starts = [0, *(stop - start for stop in stops[:-1])]
    found = []
    for at, column in enumerate(columns):
        array = slice_rows(column, start, stops[-1])
        try:
            found.append(write_arrays(array, [stop - start for stop in stops]))
        except Unstorable as error:
            raise _blamed(names[at], column, start, stops, error) from None
        observe(at, array, starts)
    return [list(blobs) for blobs in zip(*found, strict=True)] if found else [[] for _ in stops]


def _blamed(
    name: str, column: pa.ChunkedArray, start: int, stops: Sequence[int], error: Unstorable
) -> Unstorable:
    """The same error for the first segment that is to blame."""
    for first, stop in pairwise((start, *stops)):
        try:
            write_array(slice_rows(column, first, stop))
        except Unstorable as found:
            return Unstorable(f"column {name!r}, rows {first} to {stop - 1}: {found.message}")
    return error
