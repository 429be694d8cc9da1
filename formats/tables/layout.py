"""The canonical bytes of one column of one segment: writing (docs/format.md, section 8.2).

Invariant: equal values of one type give equal bytes, whatever their encoding, slicing and
memory layout. Reading is in `layout_read`; where a segment ends is decided in `cut`.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from aq.formats.errors import Unstorable
from aq.formats.tables import physical
from aq.formats.tables.encodings import plain
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
        _check_texts(array)
        lengths, data = physical.variable_values(array, valid)
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


def _check_texts(array: pa.Array) -> None:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        raise Unstorable("a text is not UTF-8") from None


def _lengths(lengths: physical.Lengths, parts: list[Part]) -> None:
    if len(lengths) and int(lengths.max()) > LENGTH_MOST:
        raise Unstorable("a value has more than 4 GiB")
    _padded(lengths.astype("<u4").view(np.uint8), parts)


def _padded(data: physical.Bytes, parts: list[Part]) -> None:
    parts.append(data.data)
    if rest := -len(data) % 8:
        parts.append(bytes(rest))
