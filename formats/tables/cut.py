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
from aq.formats.tables import physical
from aq.formats.tables.encodings import joined, plain
from aq.formats.tables.layout import Layout, layout_of
from aq.formats.tables.rowhash import Words, row_hashes, words
from pyarrow import types as is_

SHORTEST: Final = 2_048
LONGEST: Final = 32_768
ZERO_BITS: Final = 13
HEAVIEST: Final = 4 * 1024 * 1024
PROBED: Final = 65_536
DISTINCT: Final = 4_096
_BLOCK: Final = 65_536


def slice_rows(column: pa.ChunkedArray, start: int, stop: int) -> pa.Array:
    """Rows `start` to `stop` as one array; copied only where they lie in more than one piece."""
    return joined(column.slice(start, stop - start).chunks, column.type)


def choose_cut_columns(columns: Sequence[pa.ChunkedArray], rows: int) -> list[int]:
    """The positions of the columns that decide the cuts where no key is declared."""
    stop = min(rows, PROBED)
    probed: dict[int, Words] = {}

    def distinct(at: int) -> int:
        probed[at] = words(slice_rows(columns[at], 0, stop))
        return len(np.unique(probed[at]))

    ranks = [_rank(column.type) for column in columns]
    for wanted in _TIME, _TEXT, _INTEGER:
        for at, rank in enumerate(ranks):
            if rank == wanted and distinct(at) >= DISTINCT:
                return [at]
    steady = [at for at, rank in enumerate(ranks) if rank < _MEASURE]
    hashes = row_hashes((slice_rows(columns[at], 0, stop) for at in steady), stop)
    if len(np.unique(hashes)) >= DISTINCT:
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
    heavy = [column for column in columns if _may_be_heavy(column.type)]
    start = 0
    while start < rows:
        stop = min(rows, start + LONGEST)
        for column in heavy:
            stop = start + _light_rows(slice_rows(column, start, stop))
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
            hashes = row_hashes((slice_rows(column, start, stop) for column in columns), stop - start)
            found.append(np.flatnonzero(hashes >> np.uint64(64 - ZERO_BITS) == 0) + start)
    return np.concatenate(found)


def _may_be_heavy(kind: pa.DataType) -> bool:
    """Whether `LONGEST` rows of this type can weigh more than `HEAVIEST`."""
    if is_.is_dictionary(kind) or is_.is_run_end_encoded(kind):
        return _may_be_heavy(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return _may_be_heavy(kind.storage_type)
    if is_.is_string_view(kind) or is_.is_binary_view(kind):
        return True
    layout = layout_of(kind)
    if layout is Layout.FIXED:
        return (1 + physical.width(kind)) * LONGEST > HEAVIEST
    return layout is not Layout.NULL


def _light_rows(array: pa.Array) -> int:
    """How many rows from the start stay within `HEAVIEST`, at least one."""
    if len(array) == 0:
        return 0
    array = plain(array)
    if physical.is_variable(array.type) and 5 * len(array) + _text_bytes(array) <= HEAVIEST:
        return len(array)
    sums = np.cumsum(weights(array))
    return max(1, int(np.searchsorted(sums, HEAVIEST, side="right")))


def _text_bytes(array: pa.Array) -> int:
    return len(physical.variable_values(array, physical.validity(array))[1])


def weights(array: pa.Array) -> npt.NDArray[np.int64]:
    """The weight of each value in bytes, about what it takes in the canonical layout."""
    array = plain(array)
    layout, valid = layout_of(array.type), physical.validity(array)
    if layout is Layout.NULL:
        return np.ones(len(array), np.int64)
    if layout is Layout.FIXED:
        return np.full(len(array), 1 + physical.width(array.type), np.int64)
    if layout is Layout.VARIABLE:
        return physical.variable_values(array, valid)[0].astype(np.int64) + 5
    return _nested_weights(array, layout, valid)


def _nested_weights(
    array: pa.Array, layout: Layout, valid: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.int64]:
    found = np.ones(len(array), np.int64)
    if layout is Layout.UNION:
        codes, members = physical.union_members(array)
        for code, member in zip(array.type.type_codes, members, strict=True):
            found[codes == code] += weights(member)
    elif layout is Layout.STRUCT:
        present = slice(None) if valid is None else valid
        for field in physical.struct_fields(array, valid):
            found[present] += weights(field)
    elif layout is Layout.FIXED_LIST:
        elements = weights(physical.fixed_list_elements(array, valid))
        present = slice(None) if valid is None else valid
        if array.type.list_size:
            found[present] += elements.reshape(-1, array.type.list_size).sum(axis=1)
    else:
        lengths, children = physical.list_values(array, valid)
        ends = np.cumsum(lengths)
        sums = np.concatenate(([0], np.cumsum(sum(weights(child) for child in children))))
        found += 4 + sums[ends] - sums[ends - lengths]
    return found
