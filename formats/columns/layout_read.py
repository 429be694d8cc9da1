"""The canonical bytes of one column of one segment: reading (docs/format.md, section 8.2).

Invariant: `write_array(read_array(b, …)) == b`; bytes that do not fit their type raise Damaged.
Values are used where they lie: the array keeps the bytes alive and copies only lengths and bits.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from aq.formats.columns.layout import HEADER, Layout, layout_of
from aq.formats.columns.physical import width
from aq.formats.columns.picking import taken
from aq.formats.errors import Damaged
from pyarrow import types as is_

LARGE: Final = 2**31 - 1
SPREAD_MOST: Final = 1 << 28
"""Slots of fixed lists, those of nulls among them: segments are cut long before (docs/format.md, 8.3)."""
Mask = npt.NDArray[np.bool_]


def read_array(data: bytes | memoryview, kind: pa.DataType, rows: int) -> pa.Array:
    """One array of `rows` values of an Arrow type that `arrow_type` made. Raises Damaged."""
    reader = _Reader(data)
    try:
        array = reader.array(kind, rows)
    except (pa.ArrowException, ValueError, OverflowError, struct.error, MemoryError) as error:
        reason = str(error).partition("\n")[0]
        raise Damaged(f"a table chunk is not what its type says: {reason}") from None
    if reader.at != len(reader.view):
        raise Damaged("a table chunk has bytes too many")
    return array


class _Reader:
    """A position in the bytes of a chunk."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.view = memoryview(data)
        self.buffer = pa.py_buffer(data)
        self.at = 0

    def take(self, size: int) -> int:
        """The position of the next `size` bytes, padded to 8."""
        at, self.at = self.at, self.at + size + -size % 8
        if self.at > len(self.view):
            raise Damaged("a table chunk is cut short")
        return at

    def numbers(self, dtype: str, count: int) -> npt.NDArray[Any]:
        at = self.take(count * np.dtype(dtype).itemsize)
        return np.frombuffer(self.view, dtype, count, at)

    def array(self, kind: pa.DataType, rows: int) -> pa.Array:
        count, layout, has_nulls, _ = HEADER.unpack_from(self.view, self.take(HEADER.size))
        if count != rows:
            raise Damaged(f"a table chunk has {count} values where {rows} belong")
        storage = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
        if layout != layout_of(storage) or has_nulls > 1:
            raise Damaged(f"a table chunk does not hold {kind}")
        valid = self.numbers("u1", count) != 0 if has_nulls else None
        array = self.body(storage, Layout(layout), count, valid)
        return array if storage is kind else pa.ExtensionArray.from_storage(kind, array)

    def body(self, kind: pa.DataType, layout: Layout, count: int, valid: Mask | None) -> pa.Array:
        bits = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
        nulls = 0 if valid is None else count - int(np.count_nonzero(valid))
        if layout is Layout.NULL:
            return pa.nulls(count)
        if layout is Layout.FIXED:
            return pa.Array.from_buffers(kind, count, [bits, self.fixed(kind, count)], nulls)
        if layout is Layout.VARIABLE:
            offsets, total = self.offsets(kind, count)
            data = self.buffer.slice(self.take(total), total)
            return checked(pa.Array.from_buffers(kind, count, [bits, offsets, data], nulls))
        if layout in (Layout.LIST, Layout.MAP):
            return self.lists(kind, count, bits, nulls)
        if layout is Layout.UNION:
            return self.union(kind, count)
        return self.same_length(kind, count, valid, bits, nulls)

    def fixed(self, kind: pa.DataType, count: int) -> pa.Buffer:
        if is_.is_boolean(kind):
            return pa.py_buffer(np.packbits(self.numbers("u1", count), bitorder="little"))
        size = count * width(kind)
        return self.buffer.slice(self.take(size), size)

    def offsets(self, kind: pa.DataType, count: int) -> tuple[pa.Buffer, int]:
        lengths = self.numbers("<u4", count)
        large = is_.is_large_string(kind) or is_.is_large_binary(kind) or is_.is_large_list(kind)
        total = int(lengths.sum(dtype=np.int64))
        if total > (LARGE if not large else len(self.view) * 8):
            raise Damaged("a table chunk is cut short")
        offsets = np.zeros(count + 1, "<i8" if large else "<i4")
        np.cumsum(lengths, out=offsets[1:])
        return pa.py_buffer(offsets), total

    def lists(self, kind: Any, count: int, bits: pa.Buffer | None, nulls: int) -> pa.Array:
        offsets, total = self.offsets(kind, count)
        if is_.is_map(kind):
            pair = [self.array(kind.key_type, total), self.array(kind.item_type, total)]
            entries = pa.struct([kind.key_field, kind.item_field])
            elements = pa.Array.from_buffers(entries, len(pair[0]), [None], 0, children=pair)
        else:
            elements = self.array(kind.value_type, total)
        return pa.Array.from_buffers(kind, count, [bits, offsets], nulls, children=[elements])

    def same_length(
        self, kind: Any, count: int, valid: Mask | None, bits: pa.Buffer | None, nulls: int
    ) -> pa.Array:
        """A struct or a fixed list: children have no slots under a null, Arrow's have."""
        is_struct = is_.is_struct(kind)
        kinds = [field.type for field in kind] if is_struct else [kind.value_type]
        each = 1 if is_struct else kind.list_size
        if valid is not None and count * each > SPREAD_MOST:
            raise Damaged(f"a table chunk holds {count} fixed lists of {each} values")
        children = []
        for child_kind in kinds:
            child = self.array(child_kind, (count - nulls) * each)
            children.append(child if valid is None else _spread(child, np.repeat(valid, each)))
        return pa.Array.from_buffers(kind, count, [bits], nulls, children=children)

    def union(self, kind: Any, count: int) -> pa.Array:
        codes = self.numbers("u1", count)
        members, offsets = [], np.zeros(count, "<i4")
        for code, field in zip(kind.type_codes, kind, strict=True):
            rows = codes == code
            offsets[rows] = np.arange(np.count_nonzero(rows))
            members.append(self.array(field.type, int(np.count_nonzero(rows))))
        if sum(map(len, members)) != count:
            raise Damaged("a table chunk has an unknown union member")
        buffers = [None, pa.py_buffer(codes.tobytes()), pa.py_buffer(offsets)]
        return pa.Array.from_buffers(kind, count, buffers, 0, children=members)


def checked(array: pa.Array) -> pa.Array:
    """The array itself. Raises Damaged on a text that is not UTF-8."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        raise Damaged("a table chunk holds a text that is not UTF-8") from None
    return array


def check_texts(starts: npt.NDArray[np.integer], data: pa.Buffer) -> None:
    """Raises Damaged where texts, given by where each begins, are not UTF-8: faster than each by itself."""
    ends = pa.py_buffer(np.array([0, data.size]))
    checked(pa.Array.from_buffers(pa.large_string(), 1, [None, ends, data]))
    firsts = np.frombuffer(data, np.uint8)[starts[: np.searchsorted(starts, data.size)]]
    if (firsts & 0xC0 == 0x80).any():  # the rest of a character
        raise Damaged("a table chunk holds a text that is not UTF-8")


def _spread(array: pa.Array, valid: Mask) -> pa.Array:
    """One value for each True, in order, and a null (in a union: any value) for each False."""
    if len(array) == 0:
        return pa.nulls(len(valid), array.type)
    index = np.maximum(np.cumsum(valid) - 1, 0)
    return taken(array, pa.array(index, mask=None if is_.is_union(array.type) else ~valid))
