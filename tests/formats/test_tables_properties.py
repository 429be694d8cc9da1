"""Any table at all: it comes back, its id follows from its content, and one other cell is another id."""

from __future__ import annotations

import random
from typing import Any

import hypothesis.extra.numpy as npst
import hypothesis.extra.pandas as pdst
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.tests.strategies as past
import pytest
from aq.formats.columns.encodings import encoded, plain
from aq.formats.objects import MemoryObjects
from aq.formats.records import Artifact, decode, encode
from aq.formats.tables import encode_table, to_arrow, to_native
from hypothesis import HealthCheck, given, reject, settings, strategies as st

from tests.formats.disguises import disguised

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
SOAK = settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))


def artifact_of(table: Any) -> bytes:
    return encode(encode_table(table, MemoryObjects()).artifact)


def arrow_array(data: st.DataObject) -> pa.Array:
    """Any array of any type; pyarrow's strategies skip where a time zone cannot be used."""
    try:
        array = data.draw(past.arrays(past.all_types, size=7))
    except (pytest.skip.Exception, pa.ArrowException, OverflowError, ValueError):
        reject()
    return array if is_whole(array) else reject()


def is_whole(array: pa.Array) -> bool:
    """Whether its elements have the type that it says.

    Of more than 127 words in a dictionary of int8 inside a list pyarrow makes one of int16 and leaves the
    list's type as it was; then asking for a row of that array ends the process.
    """
    kind = array.type
    said = [kind.field(at).type for at in range(kind.num_fields)]
    match array:
        case pa.ExtensionArray():
            return is_whole(array.storage)
        case pa.StructArray() | pa.UnionArray():
            inside = [array.field(at) for at in range(kind.num_fields)]
        case pa.MapArray():
            said, inside = [kind.key_type, kind.item_type], [array.keys, array.items]
        case _:
            inside = [array.values] if said else []
    return all(of == one.type and is_whole(one) for of, one in zip(said, inside, strict=True))


def check_arrow(data: st.DataObject) -> None:
    array = arrow_array(data)
    table, store = pa.table({"a": array}), MemoryObjects()
    artifact = encode_table(table, store).artifact
    back = to_arrow(artifact, store)
    back.validate(full=True)
    assert encode(encode_table(back, MemoryObjects()).artifact) == encode(artifact)
    cut = data.draw(st.integers(0, 7))
    pieces = pa.chunked_array([array[:cut], array[cut:]])
    assert artifact_of(pa.table({"a": pieces})) == encode(artifact)
    longer = pa.chunked_array([array, array[:1], array]).slice(0, 7)
    assert artifact_of(pa.table({"a": longer})) == encode(artifact)
    seed = data.draw(st.integers(0, 2**32))
    assert artifact_of(
        pa.table({"a": typed(disguised(plain(array), random.Random(seed)), array.type)})
    ) == encode(artifact)
    try:
        expected = repr(array.to_pylist())
    except ValueError:  # a moment that Python has no object for
        return
    assert repr(back.column("a").to_pylist()) == expected
    check_cell(data, array, encode(artifact))


def typed(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """The array as one of an extension type, if that is what the type is."""
    if not isinstance(kind, pa.BaseExtensionType):
        return array
    return pa.ExtensionArray.from_storage(kind, encoded(plain(array), kind.storage_type))


def check_cell(data: st.DataObject, array: pa.Array, record: bytes) -> None:
    """Another value in one row is another id."""
    at, other = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 6))
    changed = pa.chunked_array([array[:at], array[other : other + 1], array[at + 1 :]])
    same = repr(array[at].as_py()) == repr(array[other].as_py())
    assert same or artifact_of(pa.table({"a": changed})) != record


@QUICK
@given(st.data())
def test_any_arrow_column_comes_back_and_is_one_in_all_chunkings(data: st.DataObject) -> None:
    check_arrow(data)


@pytest.mark.soak
@SOAK
@given(st.data())
def test_any_arrow_column_at_length(data: st.DataObject) -> None:
    check_arrow(data)


dtypes = (
    npst.boolean_dtypes()
    | npst.integer_dtypes(endianness="=")
    | npst.floating_dtypes(endianness="=", sizes=(16, 32, 64))
    | npst.datetime64_dtypes(min_period="ns", max_period="s", endianness="=")
    | npst.timedelta64_dtypes(min_period="ns", max_period="s", endianness="=")
)
objects = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.binary(max_size=4)
)
nested = objects | st.lists(objects, max_size=3) | st.dictionaries(st.text(max_size=2), objects, max_size=2)


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """A frame of plain dtypes, an object column, and one of several kinds of index."""
    size = draw(st.integers(1, 6))
    index = draw(
        st.sampled_from(
            [pd.RangeIndex(size), pd.RangeIndex(3, 3 + 2 * size, 2), pd.date_range("2020", periods=size)]
        )
        | pdst.indexes(dtype=np.dtype("int64"), min_size=size, max_size=size)
    )
    plain = draw(st.lists(dtypes, max_size=3))
    columns = {f"c{at}": draw(npst.arrays(dtype, size)) for at, dtype in enumerate(plain)}
    frame = pd.DataFrame(columns, index=index)
    values = draw(st.lists(nested, min_size=size, max_size=size))
    frame["o"] = pd.Series(np.fromiter(values, object, size), index, dtype=object)
    return frame


def check_frame(frame: pd.DataFrame, other: object) -> None:
    store = MemoryObjects()
    artifact = decode(Artifact, encode(encode_table(frame, store).artifact))
    back = to_native(artifact, store)
    plain = [table.drop(columns="o") for table in (frame, back)]  # pandas knows no NaN inside a list
    pd.testing.assert_frame_equal(*plain, check_exact=True, check_index_type="exact")
    assert list(back) == list(frame)
    assert list(map(repr, back["o"])) == list(map(repr, frame["o"]))
    assert artifact_of(back) == encode(artifact)
    doubled = pd.concat([frame, frame]).iloc[: len(frame)]
    doubled.index = frame.index
    assert artifact_of(doubled) == encode(artifact)
    changed = frame.copy()
    changed["o"] = pd.Series(
        np.fromiter([other, *frame["o"].iloc[1:]], object, len(frame)), frame.index, object
    )
    same = type(other) is type(frame["o"].iloc[0]) and repr(other) == repr(frame["o"].iloc[0])
    assert (artifact_of(changed) == encode(artifact)) == same


@QUICK
@given(frames(), nested)
def test_any_frame_comes_back_and_another_cell_is_another_id(frame: pd.DataFrame, other: object) -> None:
    check_frame(frame, other)


@pytest.mark.soak
@SOAK
@given(frames(), nested)
def test_any_frame_at_length(frame: pd.DataFrame, other: object) -> None:
    check_frame(frame, other)


@QUICK
@given(st.data(), dtypes)
def test_one_other_number_is_another_id(data: st.DataObject, dtype: np.dtype[Any]) -> None:
    numbers = data.draw(npst.arrays(dtype, 5))
    at, value = data.draw(st.integers(0, 4)), data.draw(npst.arrays(dtype, 1))[0]
    changed = numbers.copy()
    changed[at] = value
    bits = (array[at : at + 1].tobytes() for array in (numbers, changed))
    same = len(set(bits)) == 1 or (value != value and numbers[at] != numbers[at])
    left, right = (artifact_of(pd.DataFrame({"a": array})) for array in (numbers, changed))
    assert (left == right) == same
