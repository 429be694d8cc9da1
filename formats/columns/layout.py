"""The canonical bytes of one column of one segment: writing (docs/format.md, section 8.2).

Invariant: equal values of one type give equal bytes, whatever their encoding, slicing and
memory layout. Reading is in `layout_read`; where a segment ends is decided in `cut`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from itertools import pairwise
from struct import Struct
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from aq.formats.columns import physical
from aq.formats.columns.encodings import plain, plain_type
from aq.formats.errors import Unstorable
from pyarrow import types as is_

HEADER: Final = Struct("<IBBH")
LENGTH_MOST: Final = 2**32 - 1
WIDTH_MOST: Final = 2**16 - 1


class Layout(IntEnum):
    """How the body of an array is arranged."""

    NULL = 0
    FIXED = 1
    VARIABLE = 2
    LIST = 3
    FIXED_LIST = 4
    STRUCT = 5
    MAP = 6
    UNION = 7


Part = bytes | memoryview


def write_array(array: pa.Array) -> bytes:
    """The canonical bytes of an array. Raises Unstorable on a value of over 4 GiB, a text not UTF-8."""
    parts: list[Part] = []
    _write(array, parts)
    return b"".join(parts)


def write_arrays(array: pa.Array, stops: Sequence[int]) -> list[bytes]:
    """The canonical bytes of the rows up to the first stop, from there to the second, and so on, to the end.

    What `write_array` gives for each; plain values and texts are looked at all together. No part is empty.
    """
    spans = list(pairwise((0, *stops)))
    layout = layout_of(plain_type(array.type))
    if len(stops) == 1 or layout not in (Layout.FIXED, Layout.VARIABLE):
        return [write_array(array.slice(start, stop - start)) for start, stop in spans]
    array = plain(array)
    valid = physical.validity(array)
    if layout is Layout.FIXED:
        size = physical.width(array.type)
        values = physical.fixed_values(array, valid).data
        bodies = [(values[start * size : stop * size],) for start, stop in spans]
        return [_joined(layout, size, valid, *each) for each in zip(spans, bodies, strict=True)]
    lengths, data = _texts(array, valid)
    ends = np.cumsum(np.add.reduceat(lengths, [start for start, _ in spans])).tolist()
    texts = [data.data[start:stop] for start, stop in pairwise((0, *ends))]
    counts = _as_lengths(lengths).data
    pairs = [(counts[4 * start : 4 * stop], text) for (start, stop), text in zip(spans, texts, strict=True)]
    return [_joined(layout, 0, valid, *each) for each in zip(spans, pairs, strict=True)]


def _joined(
    layout: Layout,
    size: int,
    valid: npt.NDArray[np.bool_] | None,
    rows: tuple[int, int],
    body: Iterable[memoryview],
) -> bytes:
    """The bytes of an array whose body is given."""
    flags = None if valid is None else valid[slice(*rows)].view(np.uint8)
    has_nulls = flags is not None and not flags.all()
    parts: list[Part] = [HEADER.pack(rows[1] - rows[0], layout, has_nulls, min(size, WIDTH_MOST))]
    for data in (flags.data, *body) if flags is not None and has_nulls else body:
        parts.append(data)
        if rest := -len(data) % 8:
            parts.append(bytes(rest))
    return b"".join(parts)


def layout_of(kind: pa.DataType) -> Layout:
    """The layout of a type that is plain at the top level."""
    if is_.is_null(kind):
        return Layout.NULL
    if physical.is_variable(kind):
        return Layout.VARIABLE
    if is_.is_map(kind):
        return Layout.MAP
    if physical.is_list(kind):
        return Layout.LIST
    if is_.is_fixed_size_list(kind):
        return Layout.FIXED_LIST
    if is_.is_struct(kind):
        return Layout.STRUCT
    return Layout.UNION if is_.is_union(kind) else Layout.FIXED


def _write(array: pa.Array, parts: list[Part]) -> None:
    array = plain(array)
    layout, valid = layout_of(array.type), physical.validity(array)
    size = min(physical.width(array.type), WIDTH_MOST) if layout is Layout.FIXED else 0
    parts.append(HEADER.pack(len(array), layout, valid is not None, size))
    if valid is not None:
        _padded(valid.view(np.uint8), parts)
    if layout is Layout.FIXED:
        _padded(physical.fixed_values(array, valid), parts)
    elif layout is Layout.VARIABLE:
        lengths, data = _texts(array, valid)
        _lengths(lengths, parts)
        _padded(data, parts)
    elif layout is not Layout.NULL:
        _write_nested(array, layout, valid, parts)


def _write_nested(
    array: pa.Array, layout: Layout, valid: npt.NDArray[np.bool_] | None, parts: list[Part]
) -> None:
    children: list[pa.Array]
    if layout in (Layout.LIST, Layout.MAP):
        lengths, children = physical.list_values(array, valid)
        _lengths(lengths, parts)
    elif layout is Layout.FIXED_LIST:
        children = [physical.fixed_list_elements(array, valid)]
    elif layout is Layout.STRUCT:
        children = physical.struct_fields(array, valid)
    else:
        codes, children = physical.union_members(array)
        _padded(codes, parts)
    for child in children:
        _write(child, parts)


def _texts(array: pa.Array, valid: npt.NDArray[np.bool_] | None) -> tuple[physical.Lengths, physical.Bytes]:
    """The lengths and all bytes of strings or binaries; where all are ASCII, no text is checked by itself."""
    try:
        array.validate()
        lengths, data = physical.variable_values(array, valid)
        if int(data.max(initial=0)) > 127 or int(lengths.min(initial=0)) < 0:
            array.validate(full=True)
    except pa.ArrowInvalid:
        raise Unstorable("a text is not UTF-8") from None
    return lengths, data


def _lengths(lengths: physical.Lengths, parts: list[Part]) -> None:
    _padded(_as_lengths(lengths), parts)


def _as_lengths(lengths: physical.Lengths) -> physical.Bytes:
    if len(lengths) and int(lengths.max()) > LENGTH_MOST:
        raise Unstorable("a value has more than 4 GiB")
    return lengths.astype("<u4").view(np.uint8)


def _padded(data: physical.Bytes, parts: list[Part]) -> None:
    parts.append(data.data)
    if rest := -len(data) % 8:
        parts.append(bytes(rest))
