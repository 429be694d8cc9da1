"""Encodings undone, at every level: dictionary, run-end, view and extension arrays as plain ones.

Invariant: `plain(a)` holds the values of `a` in a type that `take`, `filter` and `concat_arrays`
know. Most arrays are plain already and are returned as they are; of a slice only that slice is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from aq.formats.columns import physical
from aq.formats.columns.picking import taken
from aq.formats.columns.types import fields_of, is_plain
from pyarrow import types as is_


def plain(array: Any) -> pa.Array:
    """The same values without any encoding: fixed ones, texts, lists, structs, maps and unions."""
    kind = array.type
    if is_plain(kind):
        return array
    if isinstance(kind, pa.BaseExtensionType):
        return plain(array.storage)
    if is_.is_dictionary(kind):
        return taken(plain(array.dictionary), array.indices)
    if is_.is_run_end_encoded(kind):
        values, runs = runs_of(array)
        return taken(plain(values), pa.array(runs))
    if is_.is_string_view(kind) or is_.is_binary_view(kind):
        return array.cast(pa.large_string() if is_.is_string_view(kind) else pa.large_binary())
    if is_.is_union(kind):
        return _union(array)
    if is_.is_struct(kind) or is_.is_fixed_size_list(kind):
        return _same_length(array)
    return _lists(array)


def plain_type(kind: Any) -> pa.DataType:
    """The type that `plain` gives an array of this type."""
    if is_plain(kind):
        return kind
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    if is_.is_dictionary(kind) or is_.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if not is_.is_nested(kind):
        return pa.large_string() if is_.is_string_view(kind) else pa.large_binary()
    fields = [pa.field(field.name, plain_type(field.type)) for field in fields_of(kind)]
    if is_.is_struct(kind):
        return pa.struct(fields)
    if is_.is_map(kind):
        return pa.map_(*(field.type for field in fields))
    if is_.is_union(kind):
        return pa.dense_union(fields, kind.type_codes)
    if is_.is_fixed_size_list(kind):
        return pa.list_(fields[0].type, kind.list_size)
    return pa.large_list(fields[0].type)


def joined(pieces: Sequence[pa.Array], kind: pa.DataType) -> pa.Array:
    """Arrays of one type one after the other; several of them, or an empty one, without encodings."""
    pieces = [piece for piece in pieces if len(piece)]
    if len(pieces) == 1:
        return pieces[0]
    if not pieces:
        return pa.nulls(0, plain_type(kind))
    return pa.concat_arrays(list(map(plain, pieces)))


def whole(values: pa.ChunkedArray) -> pa.Array:
    """A column as one array; without encodings where Arrow joins none of its type."""
    if values.num_chunks == 1:
        return values.chunk(0)
    if len(values) == 0:
        return pa.nulls(0, values.type)
    try:
        return values.combine_chunks()
    except NotImplementedError:  # Arrow's own error is one of these too
        return joined(values.chunks, values.type)


def light_dictionaries(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column whose dictionaries hold no views, so that not every segment has to undo all of one."""
    kind = values.type
    if not is_.is_dictionary(kind):
        return values
    if not (is_.is_string_view(kind.value_type) or is_.is_binary_view(kind.value_type)):
        return values
    pieces = [
        pa.DictionaryArray.from_arrays(piece.indices, plain(piece.dictionary)) for piece in values.chunks
    ]
    return pa.chunked_array(pieces) if pieces else values


def runs_of(array: Any) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """The values of the runs that are in an array, and for each row which of them it has."""
    if len(array) == 0:
        return array.values.slice(0, 0), np.zeros(0, np.int64)
    ends = array.run_ends.to_numpy(zero_copy_only=False).astype(np.int64)
    rows = np.arange(array.offset, array.offset + len(array))
    runs = np.searchsorted(ends, rows, side="right")
    first, last = int(runs[0]), int(runs[-1])
    return array.values.slice(first, last + 1 - first), runs - first


def _bitmap(valid: npt.NDArray[np.bool_] | None) -> pa.Buffer | None:
    return None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))


def _same_length(array: Any) -> pa.Array:
    """A struct or a list of fixed size, its fields or elements plain."""
    kind, count = array.type, len(array)
    if is_.is_struct(kind):
        children = [plain(array.field(at)) for at in range(kind.num_fields)]
        made = pa.struct([pa.field(f.name, c.type) for f, c in zip(kind, children, strict=True)])
    else:
        size = kind.list_size
        children = [plain(array.values.slice(array.offset * size, count * size))]
        made = pa.list_(children[0].type, size)
    bitmap = _bitmap(physical.validity(array))
    return pa.Array.from_buffers(made, count, [bitmap], children=children)


def _lists(array: Any) -> pa.Array:
    """A list, list view or map as one without gaps, its elements plain."""
    valid, count = physical.validity(array), len(array)
    starts, lengths = physical.list_bounds(array)
    if valid is not None:
        lengths = np.where(valid, lengths, 0)
    offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    places = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    children = [_taken(child, places) for child in physical.elements(array)]
    bitmap = _bitmap(valid)
    if is_.is_map(array.type):
        made = pa.map_(children[0].type, children[1].type)
        entries = pa.struct([made.key_field, made.item_field])
        pairs = pa.Array.from_buffers(entries, len(children[0]), [None], children=children)
        return pa.Array.from_buffers(
            made, count, [bitmap, pa.py_buffer(offsets.astype("<i4"))], children=[pairs]
        )
    made = pa.large_list(children[0].type)
    return pa.Array.from_buffers(made, count, [bitmap, pa.py_buffer(offsets)], children=children)


def _union(array: Any) -> pa.Array:
    """A union as a dense one, its members plain and without values that nothing points to."""
    codes, found = physical.union_rows(array)
    members = [_taken(member, rows) for member, rows in found]
    offsets = np.zeros(len(array), "<i4")
    for code, member in zip(array.type.type_codes, members, strict=True):
        offsets[codes == code] = np.arange(len(member))
    pairs = zip(fields_of(array.type), members, strict=True)
    made = pa.dense_union(
        [pa.field(field.name, member.type) for field, member in pairs], array.type.type_codes
    )
    buffers = [None, pa.py_buffer(codes.tobytes()), pa.py_buffer(offsets)]
    return pa.Array.from_buffers(made, len(array), buffers, children=members)


def _taken(array: pa.Array, rows: npt.NDArray[Any]) -> pa.Array:
    """These rows, plain; of the array no more is made plain than lies between them."""
    low, high = (int(rows.min()), int(rows.max()) + 1) if len(rows) else (0, 0)
    return taken(plain(array.slice(low, high - low)), pa.array(rows - low, pa.int64()))


def encoded(array: Any, kind: pa.DataType) -> pa.Array:
    """A plain array in another type of the same descriptor: what `plain` undid, done again."""
    if array.type == kind:
        return array
    if isinstance(kind, pa.BaseExtensionType):
        storage = plain(array)
        return pa.ExtensionArray.from_storage(kind, encoded(storage, kind.storage_type))
    if is_.is_dictionary(kind):
        return _as_dictionary(array, kind)
    if is_.is_run_end_encoded(kind):
        ends = pa.array(np.arange(1, len(array) + 1), kind.run_end_type)
        return pa.RunEndEncodedArray.from_arrays(ends, encoded(array, kind.value_type), kind)
    if not is_.is_nested(kind):
        return array.cast(kind)
    if is_.is_union(kind):
        return _as_union(array, kind)
    bitmap, count = _bitmap(physical.validity(array)), len(array)
    if is_.is_struct(kind):
        pairs = enumerate(fields_of(kind))
        children = [encoded(array.field(at), field.type) for at, field in pairs]
        return pa.Array.from_buffers(kind, count, [bitmap], children=children)
    if is_.is_fixed_size_list(kind):
        elements = array.values.slice(array.offset * kind.list_size, count * kind.list_size)
        return pa.Array.from_buffers(kind, count, [bitmap], children=[encoded(elements, kind.value_type)])
    return _as_list(array, kind, bitmap)


def _as_dictionary(array: pa.Array, kind: Any) -> pa.Array:
    try:
        found = array.dictionary_encode()
        codes, values = found.indices, found.dictionary
    except pa.ArrowNotImplementedError:  # Arrow finds no equal ones among nested values
        codes, values = pa.array(np.arange(len(array))), array
    values = encoded(values, kind.value_type)
    return pa.DictionaryArray.from_arrays(codes.cast(kind.index_type), values, ordered=kind.ordered)


def _as_list(array: Any, kind: Any, bitmap: pa.Buffer | None) -> pa.Array:
    """A list without gaps, as a list of any family or a map."""
    lengths, children = physical.list_values(array, physical.validity(array))
    ends = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    if is_.is_map(kind):
        pair = [encoded(c, f.type) for c, f in zip(children, fields_of(kind), strict=True)]
        entries = pa.struct(fields_of(kind))
        children = [pa.Array.from_buffers(entries, len(pair[0]), [None], children=pair)]
    else:
        children = [encoded(children[0], kind.value_type)]
    is_large = is_.is_large_list(kind) or is_.is_large_list_view(kind)
    index = "<i8" if is_large else "<i4"
    if is_.is_list_view(kind) or is_.is_large_list_view(kind):
        runs = [pa.py_buffer(part.astype(index)) for part in (ends[:-1], lengths)]
    else:
        runs = [pa.py_buffer(ends.astype(index))]
    return pa.Array.from_buffers(kind, len(array), [bitmap, *runs], children=children)


def _as_union(array: Any, kind: Any) -> pa.Array:
    codes, found = physical.union_rows(array)
    if kind.mode == "sparse":
        spread: list[pa.Array] = []
        for member, rows in found:
            places = np.zeros(len(array), np.int64)
            places[codes == kind.type_codes[len(spread)]] = rows
            spread.append(taken(member, pa.array(places)) if len(rows) else pa.nulls(len(array), member.type))
        children = [encoded(c, f.type) for c, f in zip(spread, fields_of(kind), strict=True)]
        return pa.Array.from_buffers(
            kind, len(array), [None, pa.py_buffer(codes.tobytes())], children=children
        )
    offsets = np.zeros(len(array), "<i4")
    members = [taken(member, pa.array(rows)) for member, rows in found]
    for code, member in zip(kind.type_codes, members, strict=True):
        offsets[codes == code] = np.arange(len(member))
    children = [encoded(c, f.type) for c, f in zip(members, fields_of(kind), strict=True)]
    buffers = [None, pa.py_buffer(codes.tobytes()), pa.py_buffer(offsets)]
    return pa.Array.from_buffers(kind, len(array), buffers, children=children)
