"""The same values in other arrays: encodings, gaps, slices, and something under every null."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as is_

_PAYLOADS = {2: ("u2", 0x7C01), 4: ("u4", 0x7F800001), 8: ("u8", 0x7FF0000000000001)}


def disguised(array: pa.Array, dice: random.Random) -> pa.Array:
    """An array of the same values (of a plain one), in a form chosen by the dice at every level."""
    if isinstance(array.type, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(array.type, _filled(array.storage, dice))
    form = dice.choice(["plain", "plain", "cut", "dictionary", "runs", "view"])
    if form == "dictionary" and not is_.is_null(array.type) and not is_.is_union(array.type):
        return _dictionary(array, dice)
    if form == "runs" and len(array) and not is_.is_union(array.type):
        return _runs(array, dice)
    if form == "view" and (view := _VIEWS.get(array.type)) is not None:
        return _filled(array, dice).cast(view)
    if form == "cut":
        front, back = dice.randrange(len(array) + 1), dice.randrange(len(array) + 1)
        longer = pa.concat_arrays([array[front:], array, array[:back]])
        return _inside(longer, dice)[len(array) - front :][: len(array)]
    return _inside(array, dice)


_VIEWS = {
    pa.string(): pa.string_view(),
    pa.large_string(): pa.string_view(),
    pa.binary(): pa.binary_view(),
    pa.large_binary(): pa.binary_view(),
}


def _dictionary(array: pa.Array, dice: random.Random) -> pa.Array:
    order = [at for at in range(len(array)) for _ in range(dice.choice([1, 1, 2]))]
    dice.shuffle(order)
    where = {at: place for place, at in enumerate(order)}
    nulls = array.is_null().to_pylist()
    codes = [None if null and dice.random() < 0.5 else where[at] for at, null in enumerate(nulls)]
    values = disguised(array.take(pa.array(order, pa.int64())), dice)
    small = [pa.int8(), pa.uint8()] if len(order) < 128 else []
    index = dice.choice([*small, pa.int16(), pa.uint32(), pa.int64()])
    return pa.DictionaryArray.from_arrays(pa.array(codes, index), values, ordered=dice.random() < 0.5)


def _runs(array: pa.Array, dice: random.Random) -> pa.Array:
    starts = [0]
    for at in range(1, len(array)):
        same = _is_simple(array.type) and array[at].equals(array[starts[-1]])
        if not same or dice.random() < 0.3:
            starts.append(at)
    ends = pa.array([*starts[1:], len(array)], dice.choice([pa.int16(), pa.int32(), pa.int64()]))
    values = disguised(array.take(pa.array(starts)), dice)
    return pa.RunEndEncodedArray.from_arrays(ends, values)


def _is_simple(kind: pa.DataType) -> bool:
    return is_.is_integer(kind) or is_.is_string(kind) or is_.is_boolean(kind)


def _inside(array: Any, dice: random.Random) -> pa.Array:
    kind = array.type
    if is_.is_union(kind):
        return _union(array, dice)
    if is_.is_struct(kind):
        filled = _index_under_nulls(array, dice)
        fields = [disguised(array.field(at).take(filled), dice) for at in range(kind.num_fields)]
        if not fields:
            return array
        names = [field.name for field in kind]
        return pa.StructArray.from_arrays(fields, names, mask=array.is_null())
    if is_.is_fixed_size_list(kind):
        elements = array.take(_index_under_nulls(array, dice)).flatten() if kind.list_size else None
        if elements is None or len(elements) != len(array) * kind.list_size:
            return array
        values, size = disguised(elements, dice), kind.list_size
        return pa.FixedSizeListArray.from_arrays(values, size, mask=array.is_null())
    if is_.is_map(kind):
        return array
    if is_.is_list(kind) or is_.is_large_list(kind):
        return _list(array, dice)
    return _filled(array, dice)


def _index_under_nulls(array: pa.Array, dice: random.Random) -> pa.Array:
    """Each row's own place, and any row's that is no null for one that is."""
    nulls = array.is_null().to_pylist()
    good = [at for at, null in enumerate(nulls) if not null]
    places = [dice.choice(good) if null and good else at for at, null in enumerate(nulls)]
    return pa.array(places, pa.int64())


def _filled(array: pa.Array, dice: random.Random) -> pa.Array:
    """A flat array with values under its nulls, bits of NaN at random, and its bitmap always there."""
    kind, valid = array.type, array.is_valid().to_numpy(zero_copy_only=False)
    if is_.is_null(kind) or is_.is_nested(kind):
        return array
    full = pa.concat_arrays([array.take(_index_under_nulls(array, dice))])
    buffers = full.buffers()
    if is_.is_floating(kind) and len(array):
        size = kind.bit_width // 8
        unsigned, odd = _PAYLOADS[size]
        numbers = np.frombuffer(buffers[1], unsigned, len(array)).copy()
        is_nan = np.isnan(numbers.view(f"f{size}"))
        numbers[is_nan] = odd | dice.randrange(1, 200)
        buffers[1] = pa.py_buffer(numbers.tobytes())
    bitmap = pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    return pa.Array.from_buffers(kind, len(array), [bitmap, *buffers[1:]])


def _list(array: Any, dice: random.Random) -> pa.Array:
    """The elements in any order with gaps between, in one of four types."""
    lengths = [length or 0 for length in pc.list_value_length(array).to_pylist()]
    elements, mask = array.flatten(), array.is_null()
    ends = np.cumsum([0, *lengths])
    if dice.random() < 0.5:
        offsets = pa.array(ends, pa.int64() if is_.is_large_list(array.type) else pa.int32())
        kind = pa.LargeListArray if is_.is_large_list(array.type) else pa.ListArray
        return kind.from_arrays(offsets, disguised(elements, dice), mask=mask)
    order, starts = list(range(len(lengths))), [0] * len(lengths)
    dice.shuffle(order)
    places: list[int] = []
    for at in order:
        if len(elements) and dice.random() < 0.3:
            places.append(dice.randrange(len(elements)))
        starts[at] = len(places)
        places += range(int(ends[at]), int(ends[at + 1]))
    kind, index = dice.choice([(pa.ListViewArray, pa.int32()), (pa.LargeListViewArray, pa.int64())])
    values = disguised(elements.take(pa.array(places, pa.int64())), dice)
    return kind.from_arrays(pa.array(starts, index), pa.array(lengths, index), values, mask=mask)


def _union(array: Any, dice: random.Random) -> pa.Array:
    """A sparse union whose unused places hold whatever the member has first, or a dense one out of order."""
    codes, kind = array.type_codes, array.type
    members = []
    for at, code in enumerate(kind.type_codes):
        rows = np.flatnonzero(codes.to_numpy() == code)
        offsets = array.offsets.to_numpy()[rows] if kind.mode == "dense" else rows
        members.append((rows, array.field(at).take(pa.array(offsets, pa.int64()))))
    names = [field.name for field in kind]
    if dice.random() < 0.5:
        spread = []
        for rows, member in members:
            index = np.zeros(len(array), np.int64)
            index[rows] = np.arange(len(rows))
            values = member.take(pa.array(index)) if len(member) else pa.nulls(len(array), member.type)
            spread.append(disguised(values, dice) if len(member) else values)
        return pa.UnionArray.from_sparse(codes, spread, names, kind.type_codes)
    offsets, dense = np.zeros(len(array), np.int32), []
    for rows, member in members:
        offsets[rows] = np.arange(len(rows))
        dense.append(disguised(pa.concat_arrays([member, member]), dice))
    return pa.UnionArray.from_dense(codes, pa.array(offsets), dense, names, kind.type_codes)
