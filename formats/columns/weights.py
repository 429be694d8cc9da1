"""What the rows of a column weigh, and pieces of it that fit in memory however heavy its rows are.

Invariant: weights follow docs/format.md, section 8.3, and depend on the values alone; of views,
dictionaries and runs they are told without making the values plain. It decides no cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from aq.formats.columns import physical
from aq.formats.columns.encodings import joined, plain, plain_type, runs_of
from aq.formats.columns.layout import Layout, layout_of
from pyarrow import types as is_

FLAT_MOST: Final = 64 * 1024 * 1024
NESTED_MOST: Final = 4 * 1024 * 1024
"""Bytes that are joined at once: elements of lists take several times theirs while they are looked at."""
Weights = npt.NDArray[np.int64]


def in_pieces(column: pa.ChunkedArray, start: int, stop: int) -> Iterator[pa.Array]:
    """Rows `start` to `stop` as arrays of bounded size, as few as may be."""
    part = column.slice(start, stop - start)
    most = NESTED_MOST if is_.is_nested(column.type) else FLAT_MOST
    if stop - start <= 1 or sum(map(_size, part.chunks)) <= most:
        yield joined(part.chunks, column.type)
        return
    middle = (start + stop) // 2
    yield from in_pieces(column, start, middle)
    yield from in_pieces(column, middle, stop)


def _size(array: Any) -> int:
    """About how many bytes the rows of an array take once they are plain."""
    kind, count = array.type, len(array)
    if isinstance(kind, pa.BaseExtensionType):
        return _size(array.storage)
    if is_.is_dictionary(kind) or is_.is_run_end_encoded(kind):
        values = array.dictionary if is_.is_dictionary(kind) else array.values
        return count * (8 + _size(values) // max(1, len(values)))
    if is_.is_string_view(kind) or is_.is_binary_view(kind):
        return count * 16 + int(_view_lengths(array).sum())
    return in_memory(array)


def in_memory(values: pa.Array | pa.ChunkedArray) -> int:
    """The bytes that values take as they lie; of views older versions of Arrow tell it of whole buffers."""
    try:
        return int(values.nbytes)
    except pa.ArrowTypeError:
        return int(values.get_total_buffer_size())


def light_rows(column: pa.ChunkedArray, start: int, stop: int, heaviest: int) -> int:
    """How many of the rows `start` to `stop` weigh `heaviest` together at most; at least one."""
    rows, left = 0, heaviest
    for piece in column.slice(start, stop - start).chunks:
        if physical.is_variable(piece.type) and 5 * len(piece) + _text_bytes(piece) <= left:
            rows, left = rows + len(piece), left - 5 * len(piece) - _text_bytes(piece)
            continue
        sums = np.cumsum(weights(piece))
        fit = int(np.searchsorted(sums, left, side="right"))
        rows += fit
        if fit < len(piece):
            break
        left -= int(sums[-1]) if len(piece) else 0
    return max(1, rows)


def _text_bytes(array: pa.Array) -> int:
    return len(physical.variable_values(array, physical.validity(array))[1])


def weights(array: Any) -> Weights:
    """The weight of each value in bytes, about what it takes in the canonical layout."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return weights(array.storage)
    if is_.is_dictionary(kind):
        null = weights(pa.nulls(1, plain_type(kind.value_type)))
        table = np.append(weights(array.dictionary), null)
        codes = array.indices.cast(pa.int64()).fill_null(len(table) - 1)
        found: Weights = table[codes.to_numpy(zero_copy_only=False)]
        return found
    if is_.is_run_end_encoded(kind):
        values, runs = runs_of(array)
        return weights(values)[runs]
    if is_.is_string_view(kind) or is_.is_binary_view(kind):
        return _view_lengths(array) + 5
    return _plain_weights(plain(array))


def _view_lengths(array: pa.Array) -> Weights:
    """The lengths of views, 0 for null: the first of the four numbers that each is."""
    views = np.frombuffer(array.buffers()[1], "<i4", 4 * len(array), 16 * array.offset)[::4]
    valid = physical.validity(array)
    return views.astype(np.int64) if valid is None else np.where(valid, views, 0).astype(np.int64)


def _plain_weights(array: pa.Array) -> Weights:
    layout, valid = layout_of(array.type), physical.validity(array)
    if layout is Layout.NULL:
        return np.ones(len(array), np.int64)
    if layout is Layout.FIXED:
        return np.full(len(array), 1 + physical.width(array.type), np.int64)
    if layout is Layout.VARIABLE:
        return physical.variable_values(array, valid)[0].astype(np.int64) + 5
    return _nested_weights(array, layout, valid)


def _nested_weights(array: pa.Array, layout: Layout, valid: npt.NDArray[np.bool_] | None) -> Weights:
    found = np.ones(len(array), np.int64)
    present = slice(None) if valid is None else valid
    if layout is Layout.UNION:
        codes, members = physical.union_members(array)
        for code, member in zip(array.type.type_codes, members, strict=True):
            found[codes == code] += weights(member)
    elif layout is Layout.STRUCT:
        for field in physical.struct_fields(array, valid):
            found[present] += weights(field)
    elif layout is Layout.FIXED_LIST:
        size = array.type.list_size
        each = _each(array.type.value_type)
        if each is not None:
            found[present] += each * size
        elif size:
            elements = weights(physical.fixed_list_elements(array, valid))
            found[present] += elements.reshape(-1, size).sum(axis=1)
    else:
        lengths, children = physical.list_values(array, valid)
        found += 4
        for child in children:
            found += _list_weights(child, lengths)
    return found


def _each(kind: pa.DataType) -> int | None:
    """The weight that all values of a type have, so that nobody has to ask each of many; else None."""
    layout = layout_of(kind)
    if layout is Layout.NULL:
        return 1
    return 1 + physical.width(kind) if layout is Layout.FIXED else None


def _list_weights(child: pa.Array, lengths: physical.Lengths) -> Weights:
    """The sum of the weights of the elements of each list."""
    each = _each(child.type)
    if each is not None:
        return lengths.astype(np.int64) * each
    ends = np.cumsum(lengths)
    sums = np.concatenate(([0], np.cumsum(weights(child))))
    return np.asarray(sums[ends] - sums[ends - lengths])
