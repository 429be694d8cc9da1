"""Rows of arrays in which Arrow itself reads the wrong ones: slices of fixed lists of fixed lists."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from aq.formats.columns.encodings import plain, plain_type
from aq.formats.columns.layout import write_array
from aq.formats.columns.picking import kept, taken
from aq.formats.columns.rowhash import words
from aq.formats.objects import MemoryObjects
from aq.formats.tables import encode_table, to_arrow

PAIRS = pa.FixedSizeListArray.from_arrays(pa.array(range(64)), 2)[3:27]
SQUARES = pa.FixedSizeListArray.from_arrays(PAIRS, 2)[1:9]
CODES = pa.array([0, 1, 0, 0], pa.int8())
ARRAYS: dict[str, Any] = {
    "squares": SQUARES,
    "cubes": pa.FixedSizeListArray.from_arrays(SQUARES, 2, mask=pa.array([True, False, False, False])),
    "lists": pa.ListArray.from_arrays(pa.array([3, 5, 8], pa.int32()), SQUARES),
    "views": pa.ListViewArray.from_arrays([3, 0], [2, 3], SQUARES),
    "structs": pa.StructArray.from_arrays([SQUARES], ["s"], mask=pa.array([True, False] * 4)),
    "dictionary": pa.DictionaryArray.from_arrays(pa.array([2, None, 0, 7], pa.int8()), SQUARES),
    "runs": pa.RunEndEncodedArray.from_arrays(pa.array([2, 3, 5, 8, 9, 10, 11, 12]), SQUARES),
    "extension": pa.ExtensionArray.from_storage(pa.opaque(SQUARES.type, "kind", "maker"), SQUARES),
}
UNION = pa.UnionArray.from_dense(CODES, pa.array([1, 0, 5, 2], pa.int32()), [SQUARES, pa.array(["x"])])


@pytest.mark.parametrize(
    "name", sorted(ARRAYS.keys() - {"runs", "views"})
)  # whose rows Arrow picks not at all
def test_rows_are_those_of_the_slice(name: str) -> None:
    array = ARRAYS[name]
    values, places = array.to_pylist(), [len(array) - 1, 0, None]
    for found in (array, pa.chunked_array([array[:1], array[1:]])):
        got = taken(found, pa.array(places)).to_pylist()
        assert got == [None if at is None else values[at] for at in places]
        assert kept(found, pa.array([at % 2 == 0 for at in range(len(array))])).to_pylist() == values[::2]


@pytest.mark.parametrize("name", ARRAYS)
def test_a_table_holds_what_it_was_given(name: str) -> None:
    array = ARRAYS[name]
    made = pa.array(array.to_pylist(), plain_type(array.type))
    assert plain(array).to_pylist() == made.to_pylist()
    assert write_array(array) == write_array(made)
    assert (words(array) == words(made)).all()
    stored(array)


def test_members_of_a_union_are_picked_too() -> None:
    stored(UNION)
    assert taken(UNION, pa.array([2, 0])).to_pylist() == [UNION.to_pylist()[at] for at in (2, 0)]


def stored(array: pa.Array) -> None:
    objects = MemoryObjects()
    found = to_arrow(encode_table(pa.table({"a": array}), objects).artifact, objects)
    assert found["a"].to_pylist() == array.to_pylist()
