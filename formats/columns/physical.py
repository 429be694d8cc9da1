"""What an Arrow array holds, as numpy views: validity, values, lengths, elements.

Invariant: slices are cut, and whatever lies under a null is gone, so that equal content looks equal.
It takes plain arrays (see `encodings`; validity, bounds and rows: any), and copies only where it must.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from aq.formats.columns.picking import kept, taken
from aq.formats.columns.types import is_any_list
from pyarrow import types as is_

Bytes = npt.NDArray[np.uint8]
Lengths = npt.NDArray[np.int64]

_NAN: Final[dict[int, tuple[np.dtype[Any], Any]]] = {
    2: (np.dtype("<f2"), np.uint16(0x7E00)),
    4: (np.dtype("<f4"), np.uint32(0x7FC00000)),
    8: (np.dtype("<f8"), np.uint64(0x7FF8000000000000)),
}


def is_variable(kind: pa.DataType) -> bool:
    """Whether values are runs of bytes of any length."""
    return bool(
        is_.is_string(kind) or is_.is_large_string(kind) or is_.is_binary(kind) or is_.is_large_binary(kind)
    )


def is_list(kind: pa.DataType) -> bool:
    """Whether values are runs of elements of any length; a map is one of entries."""
    return is_any_list(kind) or bool(is_.is_map(kind))


def width(kind: pa.DataType) -> int:
    """Bytes a value of a fixed-width type in the canonical layout."""
    return 1 if is_.is_boolean(kind) else int(kind.bit_width) // 8


def validity(array: pa.Array) -> npt.NDArray[np.bool_] | None:
    """True where there is a value, or None where there is one everywhere."""
    if array.null_count == 0 or is_.is_null(array.type) or is_.is_union(array.type):
        return None
    return _bits(array.buffers()[0], array.offset, len(array)).view(np.bool_)


def _bits(buffer: pa.Buffer, offset: int, count: int) -> Bytes:
    first = offset // 8
    packed = np.frombuffer(buffer, np.uint8, (offset + count + 7) // 8 - first, first)
    skip = offset - first * 8
    return np.unpackbits(packed, count=skip + count, bitorder="little")[skip:]


def fixed_values(array: pa.Array, valid: npt.NDArray[np.bool_] | None) -> Bytes:
    """The bytes of fixed-width values, null slots zero, NaN canonical, booleans 0 or 1."""
    count, kind = len(array), array.type
    if is_.is_boolean(kind):
        raw = _bits(array.buffers()[1], array.offset, count)
        return raw if valid is None else raw * valid
    size = width(kind)
    buffer = array.buffers()[1]
    if count * size == 0:
        return np.empty(0, np.uint8)
    raw = np.frombuffer(buffer, np.uint8, count * size, array.offset * size)
    if is_.is_floating(kind):
        raw = _canonical_nan(raw, size)
    if valid is not None:
        rows = raw.reshape(count, size).copy()
        rows[~valid] = 0
        raw = rows.reshape(-1)
    return raw


def _canonical_nan(raw: Bytes, size: int) -> Bytes:
    dtype, bits = _NAN[size]
    # Comparing with itself runs at memory speed, where isnan on float16 does not.
    values = raw.view(dtype)
    is_nan = values != values
    if not is_nan.any():
        return raw
    fixed = values.view(bits.dtype).copy()
    fixed[is_nan] = bits
    return np.asarray(fixed.view(np.uint8))


def _offsets(array: pa.Array) -> Lengths:
    large = (
        is_.is_large_string(array.type) or is_.is_large_binary(array.type) or is_.is_large_list(array.type)
    )
    dtype = np.dtype("<i8" if large else "<i4")
    buffer = array.buffers()[1]
    if buffer is None or buffer.size == 0:
        return np.zeros(1, np.int64)
    return np.frombuffer(buffer, dtype, len(array) + 1, array.offset * dtype.itemsize)


def variable_values(array: pa.Array, valid: npt.NDArray[np.bool_] | None) -> tuple[Lengths, Bytes]:
    """The lengths of strings or binaries (0 for null) and all their bytes in one run."""
    offsets = _offsets(array)
    lengths = np.diff(offsets)
    if valid is not None and lengths[~valid].any():
        filled = pc.fill_null(
            array, "" if is_.is_string(array.type) or is_.is_large_string(array.type) else b""
        )
        return variable_values(filled, None)
    first, last = int(offsets[0]), int(offsets[-1])
    if last == first:
        return lengths, np.empty(0, np.uint8)
    return lengths, np.frombuffer(array.buffers()[2], np.uint8, last - first, first)


def list_values(array: pa.Array, valid: npt.NDArray[np.bool_] | None) -> tuple[Lengths, list[pa.Array]]:
    """The lengths of lists or maps (0 for null) and their elements: one array, or keys and items."""
    starts, lengths = list_bounds(array)
    if valid is not None:
        lengths = np.where(valid, lengths, 0)
    children = elements(array)
    total = int(lengths.sum())
    gapless = total == 0 or bool((starts[1:] == starts[:-1] + lengths[:-1]).all())
    if gapless:
        first = int(starts[0]) if total else 0
        return lengths, [child.slice(first, total) for child in children]
    index = pa.array(np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(total))
    return lengths, [taken(child, index) for child in children]


def list_bounds(array: pa.Array) -> tuple[Lengths, Lengths]:
    """Where each list, list view or map begins among the elements, and how many it has; nulls have any."""
    kind = array.type
    if is_.is_list_view(kind) or is_.is_large_list_view(kind):
        dtype = np.dtype("<i8" if is_.is_large_list_view(kind) else "<i4")
        pair = [
            np.frombuffer(array.buffers()[at], dtype, len(array), array.offset * dtype.itemsize)
            for at in (1, 2)
        ]
        return pair[0].astype(np.int64), pair[1].astype(np.int64)
    offsets = _offsets(array).astype(np.int64)
    return offsets[:-1], np.diff(offsets)


def elements(array: Any) -> list[pa.Array]:
    """What all lists share: one array, or for maps keys and items."""
    return [array.keys, array.items] if is_.is_map(array.type) else [array.values]


def fixed_list_elements(array: Any, valid: npt.NDArray[np.bool_] | None) -> pa.Array:
    """The elements of all lists that are not null."""
    size = array.type.list_size
    elements = array.values.slice(array.offset * size, len(array) * size)
    return elements if valid is None else kept(elements, pa.array(np.repeat(valid, size)))


def struct_fields(array: Any, valid: npt.NDArray[np.bool_] | None) -> list[pa.Array]:
    """The fields of all structs that are not null."""
    fields = [array.field(at) for at in range(array.type.num_fields)]
    if valid is None:
        return fields
    chosen = pa.array(np.flatnonzero(valid))
    return [taken(field, chosen) for field in fields]


def union_rows(array: Any) -> tuple[Bytes, list[tuple[pa.Array, npt.NDArray[Any]]]]:
    """The type code of each value, and for each member where its values lie in it, in order."""
    codes = np.frombuffer(array.buffers()[1], np.uint8, len(array), array.offset)
    found = []
    for at, code in enumerate(array.type.type_codes):
        rows: npt.NDArray[Any] = np.flatnonzero(codes == code)
        if array.type.mode == "dense":
            offsets = np.frombuffer(array.buffers()[2], np.dtype("<i4"), len(array), array.offset * 4)
            rows = offsets[rows]
        found.append((array.field(at), rows))
    return codes, found


def union_members(array: Any) -> tuple[Bytes, list[pa.Array]]:
    """The type code of each value, and for each member its values in order."""
    codes, found = union_rows(array)
    return codes, [taken(member, pa.array(rows)) for member, rows in found]
