"""Where the rows of a table are cut into segments (docs/format.md, section 8.3).

Invariant: cuts depend on the rows and the declared key alone, so tables that share rows share
segments, and a column that does not decide the cuts can change without moving them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from aq.formats.columns import physical, sets
from aq.formats.columns.encodings import joined
from aq.formats.columns.layout import Layout, layout_of
from aq.formats.columns.rowhash import Words, mix, words
from aq.formats.columns.weights import in_pieces, light_rows
from pyarrow import types as is_

SHORTEST: Final = 2_048
LONGEST: Final = 32_768
ZERO_BITS: Final = 13
HEAVIEST: Final = 4 * 1024 * 1024
PROBED: Final = 65_536
DISTINCT: Final = 4_096
_BLOCK: Final = 32_768


def slice_rows(column: pa.ChunkedArray, start: int, stop: int) -> pa.Array:
    """Rows `start` to `stop` as one array; copied only where they lie in more than one piece."""
    return joined(column.slice(start, stop - start).chunks, column.type)


def choose_cut_columns(columns: Sequence[pa.ChunkedArray], rows: int) -> list[int]:
    """The positions of the columns that decide the cuts where no key is declared."""
    stop = min(rows, PROBED)
    probed: dict[int, Words] = {}

    def distinct(at: int) -> int:
        probed[at] = _words(columns[at], 0, stop)
        return len(sets.distinct(probed[at]))

    ranks = [_rank(column.type) for column in columns]
    for wanted in _TIME, _TEXT, _INTEGER:
        for at, rank in enumerate(ranks):
            if rank == wanted and distinct(at) >= DISTINCT:
                return [at]
    steady = [at for at, rank in enumerate(ranks) if rank < _MEASURE]
    hashes = _hashes([columns[at] for at in steady], 0, stop)
    if len(sets.distinct(hashes)) >= DISTINCT:
        return steady
    for at, rank in enumerate(ranks):
        if rank == _MEASURE and distinct(at) >= DISTINCT:
            return [at]
    return list(range(len(columns)))


_TIME, _TEXT, _INTEGER, _OTHER, _MEASURE, _NESTED = range(6)


def _rank(kind: pa.DataType) -> int:
    if is_.is_dictionary(kind) or is_.is_run_end_encoded(kind):
        return _rank(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return _rank(kind.storage_type)
    if is_.is_date(kind) or is_.is_time(kind) or is_.is_timestamp(kind):
        return _TIME
    if is_.is_floating(kind) or is_.is_decimal(kind) or is_.is_duration(kind):
        return _MEASURE
    if is_.is_integer(kind):
        return _INTEGER
    if is_.is_string_view(kind) or is_.is_binary_view(kind) or is_.is_fixed_size_binary(kind):
        return _TEXT
    layouts = {Layout.NULL: _OTHER, Layout.FIXED: _OTHER, Layout.VARIABLE: _TEXT}
    return layouts.get(layout_of(kind), _NESTED)


def segment_ends(columns: Sequence[pa.ChunkedArray], rows: int, cut: Sequence[int]) -> Iterator[int]:
    """The row after each segment, in order; the last is `rows`. Nothing for a table without rows."""
    candidates = _candidates([columns[at] for at in cut], rows)
    heavy = [column for column in columns if may_be_heavy(column.type)]
    start = 0
    while start < rows:
        stop = min(rows, start + LONGEST)
        for column in heavy:
            stop = start + light_rows(column, start, stop, HEAVIEST)
        at = int(np.searchsorted(candidates, start + SHORTEST))
        if at < len(candidates):
            stop = min(stop, int(candidates[at]))
        yield stop
        start = stop


def _candidates(columns: Sequence[pa.ChunkedArray], rows: int) -> npt.NDArray[np.int64]:
    """The rows whose hash asks for a new segment."""
    found = [np.empty(0, np.int64)]
    if rows > SHORTEST:
        for start in range(0, rows, _BLOCK):
            stop = min(rows, start + _BLOCK)
            hashes = _hashes(columns, start, stop)
            found.append(np.flatnonzero(hashes >> np.uint64(64 - ZERO_BITS) == 0) + start)
    return np.concatenate(found)


def _hashes(columns: Sequence[pa.ChunkedArray], start: int, stop: int) -> Words:
    """The hash of each row over some columns, however heavy the rows are."""
    found = np.zeros(stop - start, np.uint64)
    for column in columns:
        found = mix(found ^ _words(column, start, stop))
    return found


def _words(column: pa.ChunkedArray, start: int, stop: int) -> Words:
    found = [words(piece) for piece in in_pieces(column, start, stop)]
    return found[0] if len(found) == 1 else np.concatenate(found)


def may_be_heavy(kind: pa.DataType) -> bool:
    """Whether `LONGEST` rows of this type can weigh more than `HEAVIEST`."""
    if is_.is_dictionary(kind) or is_.is_run_end_encoded(kind):
        return may_be_heavy(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return may_be_heavy(kind.storage_type)
    if is_.is_string_view(kind) or is_.is_binary_view(kind):
        return True
    layout = layout_of(kind)
    if layout is Layout.FIXED:
        return (1 + physical.width(kind)) * LONGEST > HEAVIEST
    return layout is not Layout.NULL
