"""Canonical bytes of a column (docs/format.md, 8.2): one content, one layout, in every encoding."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from aq.formats.columns.layout import write_array, write_arrays
from aq.formats.columns.layout_read import read_array
from aq.formats.columns.rowhash import words
from aq.formats.columns.types import arrow_type, describe
from aq.formats.errors import AqError, Damaged, Unstorable
from aq.formats.identity import Kind, object_id
from hypothesis import given, settings, strategies as st

NAN = float("nan")
DAWN = dt.datetime.fromisoformat("2020-01-01")
SPARSE = pa.UnionArray.from_sparse(
    pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, None]), pa.array(["x", "y", "z"])]
)
DENSE = pa.UnionArray.from_dense(
    pa.array([0, 5, 0], pa.int8()),
    pa.array([1, 0, 0], pa.int32()),
    [pa.array([1, 2]), pa.array(["x"])],
    ["a", "b"],
    [0, 5],
)

ARRAYS: dict[str, pa.Array] = {
    "null": pa.nulls(4),
    "bool": pa.array([True, None, False, True, False, True, True, False, False]),
    "int8": pa.array([1, None, -3], pa.int8()),
    "uint64": pa.array([2**64 - 1, None, 0], pa.uint64()),
    "float16": pa.array([np.float16(1.5), None, np.float16(NAN)], pa.float16()),
    "float32": pa.array([1.5, None, NAN], pa.float32()),
    "float64": pa.array([1.5, None, NAN, -0.0, 0.0]),
    "date32": pa.array([dt.date(2020, 1, 1), None, dt.date(14, 1, 1)]),
    "date64": pa.array([dt.date(2020, 1, 1), None], pa.date64()),
    "time32": pa.array([dt.time(1, 2), None], pa.time32("s")),
    "time64": pa.array([dt.time(1, 2, 3, 4), None], pa.time64("ns")),
    "timestamp": pa.array([DAWN, None], pa.timestamp("ns")),
    "zoned": pa.array([DAWN, None], pa.timestamp("us", "Europe/Paris")),
    "duration": pa.array([dt.timedelta(1), None], pa.duration("ms")),
    "interval": pa.array([(1, 2, 3), None], pa.month_day_nano_interval()),
    "decimal32": pa.array([Decimal("1.5"), None], pa.decimal32(5, 2)),
    "decimal64": pa.array([Decimal("1.5"), None], pa.decimal64(15, 2)),
    "decimal128": pa.array([Decimal("1.5"), None, Decimal("-2")], pa.decimal128(30, 2)),
    "decimal256": pa.array([Decimal(10) ** 60, None], pa.decimal256(76, 0)),
    "fixed binary": pa.array([b"abc", None, b"xyz"], pa.binary(3)),
    "wide fixed binary": pa.array([b"a" * 16, None], pa.binary(16)),
    "string": pa.array(["a", None, "äöü", ""]),
    "binary": pa.array([b"a", None, b"\xff\x00", b""]),
    "list": pa.array([[1, 2], None, [], [3, None]]),
    "list of list": pa.array([[["a"], None], None, [[], ["b", "c"]]]),
    "fixed list": pa.array([[1, 2], None, [3, None]], pa.list_(pa.int8(), 2)),
    "empty fixed list": pa.array([[], None, []], pa.list_(pa.int8(), 0)),
    "struct": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}]),
    "empty struct": pa.array([{}, None, {}], pa.struct([])),
    "struct of struct": pa.array([{"a": {"b": [1, None]}}, None, {"a": None}]),
    "map": pa.array([[("k", 1)], None, [], [("l", 2), ("m", None)]], pa.map_(pa.string(), pa.int64())),
    "dense union": DENSE,
    "sparse union": SPARSE,
    "large string": pa.array(["a", None, "äöü", ""], pa.large_string()),
    "large list": pa.array([["a"], None, [], ["b", None]], pa.large_list(pa.large_binary())),
    "list of decimals": pa.array([[Decimal("1.5")], None, [None]], pa.list_(pa.decimal64(12, 1))),
    "no bytes": pa.array([b"", None, b""], pa.binary(0)),
    "list of unions": pa.ListArray.from_arrays(pa.array([0, 1, None, 3], pa.int32()), SPARSE),
    "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(["[1]", None, "{}"])),
    "bool8": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, None, 0], pa.int8())),
    "opaque": pa.ExtensionArray.from_storage(
        pa.opaque(pa.int8(), "kind", "maker"), pa.array([1, None], pa.int8())
    ),
    "turned tensor": pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.int8(), (2, 1), dim_names=["x", "y"], permutation=[1, 0]),
        pa.array([[1, 2], None], pa.list_(pa.int8(), 2)),
    ),
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16, None], pa.binary(16))),
    "tensor": pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.int32(), (2,)), pa.array([[1, 2], [3, 4]], pa.list_(pa.int32(), 2))
    ),
}

GOLDEN = {
    "null": "5267dffa4bccb0f2e76856197264261a74ecf8c6ff0c19ace6e648a6feb70db0",
    "bool": "c8e521facdcc2dbb14761f913f3ee8663b2a6c029cf87de52d1fac6663910144",
    "int8": "298876c581a7f8b95d0f84ec20280523a113628075d132117e182c141caadc57",
    "uint64": "c2c8aece4fcc58e345da6f5814ffdc5f3efda82a79aaf6062466548ddab70a32",
    "float16": "1839bf7c74a74c22a30a0ea300e29382c580e298a77c7ea05d390e1b6ac2dd24",
    "float32": "142c0daf47094680fde5bb13e395ad9348223a9918e67c53af3e910b8266fb13",
    "float64": "41fb17554804b975b4d34a11943eac955cd3b617095eb9e500f371ed489a25d2",
    "date32": "fa7a03ea62137b7598b8a25f39c9ea83eb03dccbeb7d9451ac1e4dc9cae55dbb",
    "date64": "5da06081a0b22ad5f80d71355c11e7d439f2a8ae06c01f2c668382db8fd5e991",
    "time32": "71b4089485381b492096ea2c84efcd9458f229bd34de6a32a3738edd749d8600",
    "time64": "243d6f445d4ea8e3a14cc4b7ae2444d0e43d1acb8e9ad58ceee7327c1868e349",
    "timestamp": "29060767399faf3b9f15b97b2c93a502f77af7bbf327a46110a5bf6ab8af644a",
    "zoned": "5d93508d4ed8c42e657db24585e172f62749ce8f11353c03251e6ec4072b8e61",
    "duration": "00f162153770b51406cadc939b5d85e234e56249a79652b7a96055c3fe5daaec",
    "interval": "7409fc7487d9c813b3701470b6539b71c02f6de66e991549b1553aea60ef3a12",
    "decimal32": "559cbdbbf4234a01835563964c8cb232762959e3284e5e23ec78df6889911241",
    "decimal64": "d40bca96d4b369ed2634d5e879623783f7a918dc8cb5d479d40d1d44e2d9990a",
    "decimal128": "973850a60a42ffdde76b0f392652a4d00bda55ff76da37d677f09042d1d46450",
    "decimal256": "9e9a644ecaf462650931eb5e3f323fe9a9b4bc059cce8ce1b1d09170cd53555d",
    "fixed binary": "3530122ed040d8041a95035f65ba647ad4e0bddd9d5bc403e8b27ff82c19d5ef",
    "wide fixed binary": "f99b70efb9014033925e2cd4d16107a8987401b9d00e856303c30176ec86b11a",
    "string": "5243a49b9942b943ce3cc60157ecc5240abe8a958674c9ab0f4f6389d7b587ed",
    "binary": "9798556b38feda03a36e7d0a6051c6449d6798a575215c8cbf5e3eef5f6842d4",
    "list": "875261d46d9d89a9dca8d91321f9d794ac658e91fb204b6de119abd5b620607d",
    "list of list": "204dabe760d653257807ce1148c31296798d43a7965f17217aca852d47646868",
    "fixed list": "e13b4d2b3efb6c5a82c4deaf2ea037baaf0d91912c51d3871eda94d86059110b",
    "empty fixed list": "97147570bfed072c6899f44d421fad703144f58ad16b691d484b77c0b454e37e",
    "struct": "46c7162361858213e95a7ed4117ffaed36e007598119e2e7f8569ab34ef02f40",
    "empty struct": "8649f502699f3815d12d61a4ef3f78933ddfdb4a627d494aaa6ed3a7c80f4184",
    "struct of struct": "2c9e71d434d9c3f8ad9a4488fefa938d6df490cb21c1572e9b9ffc978d67a71e",
    "map": "ccd9b4dc7ce2f2e16c73d1b5a2f4eaef6e15dbd3b6e729475bb92b3ddc38380e",
    "dense union": "ab11f892d81d5c1ef4d3d4fcf8735c0587b05ce16042f03f581c25e91e2e7f25",
    "sparse union": "91db713f188177399ddd7c161a1de3a74b63e800543a8d793c6b550633e349d4",
    "large string": "5243a49b9942b943ce3cc60157ecc5240abe8a958674c9ab0f4f6389d7b587ed",
    "large list": "62b5a7dcfd760664d427de819395f20a2dfd20cabf1cda67d3a83004b71d45c8",
    "list of decimals": "68f9f6347e55fc595c41b0000b4efaedc81e53200c5679c3786a3b15fc5d0a32",
    "no bytes": "be40ccf784f2de079c0b225a708949a26ae8d217479ae5dd4c0a1f97ff04e5cc",
    "list of unions": "99869c2bc5d530cc70f5e826c4642668145eea7aff9f413295de35d2a5086ae5",
    "json": "304eb557c1403eaae4dec7c27d66ae4697b9bfd3e437e649799cdad1c9dc482c",
    "bool8": "1805f3bfc5bf9daecca682ac4ef115eba9e023ffe513bc9da4378f6e86be016f",
    "opaque": "aa94cf4ead0d8818d77e0e25c5b1fb8ad61f798da6991db3c0eae527d13fc551",
    "turned tensor": "2957cb66289730b3b16ba95644afdfee9c1394ace9702ea5fe24be4fde38a80d",
    "uuid": "97b3c0514517a0aea382867ed4251654c5caecb3c83cb1a8aa3a45f79b978edd",
    "tensor": "5e4033a3cfa7ab163fe241b624e819779d454fe878a5a957a3ad240a351d7760",
}


def back(data: bytes, array: pa.Array) -> pa.Array:
    found = read_array(data, arrow_type(describe(array.type)), len(array))
    found.validate(full=True)
    return found


def parts(array: pa.Array) -> list[pa.Array]:
    """The array, and slices of it that start inside a byte of its bitmaps."""
    return [array, array[1:], array[:-1], array[1:2], array[:0]]


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_comes_back(name: str) -> None:
    for array in parts(ARRAYS[name]):
        data = write_array(array)
        found = back(data, array)
        assert repr(found.to_pylist()) == repr(array.to_pylist())
        assert write_array(found) == data
        assert len(data) % 8 == 0


@pytest.mark.parametrize("name", ARRAYS)
def test_several_parts_are_what_each_is_by_itself(name: str) -> None:
    array = pa.concat_arrays([ARRAYS[name]] * 3)[1:]
    ends = range(1, len(array) + 1)
    for stops in ([len(array)], [*ends], [*ends[::2], len(array)][: len(ends)]):
        stops = sorted(set(stops))
        spans = zip([0, *stops], stops, strict=False)
        assert write_arrays(array, stops) == [write_array(array[start:stop]) for start, stop in spans]


@pytest.mark.parametrize("name", ARRAYS)
def test_slices_are_what_they_hold(name: str) -> None:
    array = ARRAYS[name]
    for part in parts(array):
        rebuilt = pa.concat_arrays([part, array[:0]])
        assert write_array(rebuilt) == write_array(part)
        assert (words(rebuilt) == words(part)).all()


@pytest.mark.parametrize("name", ARRAYS)
def test_words_are_of_values(name: str) -> None:
    array = ARRAYS[name]
    found = words(array)
    assert len(found) == len(array)
    for at in range(len(array)):
        assert words(array[at : at + 1])[0] == found[at]
    texts = [repr(value) for value in array.to_pylist()]
    assert len(set(found.tolist())) == len(set(texts))


@pytest.mark.parametrize(
    ("array", "kinds"),
    [
        (ARRAYS["string"], [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]),
        (ARRAYS["binary"], [pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int32(), pa.binary())]),
        (ARRAYS["list"], [pa.large_list(pa.int64()), pa.list_(pa.field("x", pa.int64(), nullable=True))]),
    ],
)
def test_families_are_one_type(array: pa.Array, kinds: list[pa.DataType]) -> None:
    for kind in kinds:
        other = array.dictionary_encode() if pa.types.is_dictionary(kind) else array.cast(kind)
        assert describe(other.type) == describe(array.type)
        assert write_array(other) == write_array(array)
        assert (words(other) == words(array)).all()


def test_other_encodings_are_one_type() -> None:
    plain = pa.array(["a", "a", None, "b"])
    runs = pa.RunEndEncodedArray.from_arrays([2, 3, 4], ["a", None, "b"])
    dictionary = pa.DictionaryArray.from_arrays(pa.array([2, 2, 1, 0]), pa.array(["b", None, "a", "unused"]))
    views = pa.ListViewArray.from_arrays([3, 0, 0], [1, 2, 0], pa.array(["x", "y", "z", "w"]))
    for other in (runs, runs[:4], dictionary):
        assert write_array(other) == write_array(plain)
        assert (words(other) == words(plain)).all()
    assert write_array(views) == write_array(pa.array([["w"], ["x", "y"], []]))
    assert write_array(SPARSE) == write_array(
        pa.UnionArray.from_dense(
            pa.array([0, 1, 0], pa.int8()),
            pa.array([0, 0, 1], pa.int32()),
            [pa.array([1, None]), pa.array(["y"])],
        )
    )


def test_what_lies_under_a_null_leaves_no_trace() -> None:
    valid = pa.py_buffer(bytes([0b101]))
    numbers = pa.Array.from_buffers(pa.int32(), 3, [valid, pa.py_buffer(np.array([1, 99, 3], "i4"))])
    assert write_array(numbers) == write_array(pa.array([1, None, 3], pa.int32()))
    offsets, data = pa.py_buffer(np.array([0, 1, 3, 4], "i4")), pa.py_buffer(b"a??b")
    texts = pa.Array.from_buffers(pa.string(), 3, [valid, offsets, data])
    assert write_array(texts) == write_array(pa.array(["a", None, "b"]))
    elements = pa.array([1, 7, 7, 2])
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 3, 4]), elements, mask=pa.array([False, True, False]))
    assert write_array(lists) == write_array(pa.array([[1], None, [2]]))
    fields = pa.StructArray.from_arrays([pa.array([1, 9, 2])], ["a"], mask=pa.array([False, True, False]))
    assert write_array(fields) == write_array(pa.array([{"a": 1}, None, {"a": 2}]))
    for array in (numbers, texts, lists, fields):
        assert (words(array) == words(back(write_array(array), array))).all()


def test_every_nan_is_one_and_zeros_are_two() -> None:
    for dtype, bits in (("f2", "u2"), ("f4", "u4"), ("f8", "u8")):
        odd = np.full(3, NAN, dtype)
        odd.view(bits)[1] |= 1
        odd.view(bits)[2] |= 1 << (8 * odd.itemsize - 1)
        assert write_array(pa.array(odd)) == write_array(pa.array(np.full(3, NAN, dtype)))
        assert len(set(words(pa.array(odd)).tolist())) == 1
    assert write_array(pa.array([0.0])) != write_array(pa.array([-0.0]))


def test_words_outlive_a_wider_type() -> None:
    narrow = pa.array([1, -1, None], pa.int8())
    assert (words(narrow) == words(narrow.cast(pa.int64()))).all()
    assert (words(pa.array([1.5], pa.float32())) == words(pa.array([1.5]))).all()


def test_values_are_used_where_they_lie() -> None:
    data = write_array(pa.array(np.arange(1000)))
    found = read_array(data, pa.int64(), 1000)
    assert found.buffers()[1].address == pa.py_buffer(data).address + 8


@pytest.mark.parametrize("name", ARRAYS)
def test_damaged_bytes_raise_and_nothing_else(name: str) -> None:
    array = ARRAYS[name]
    data, kind = write_array(array), arrow_type(describe(array.type))
    for cut in range(0, len(data), 8):
        with pytest.raises(Damaged):
            read_array(data[:cut], kind, len(array))
    with pytest.raises(Damaged):
        read_array(data + bytes(8), kind, len(array))
    for at in range(min(len(data), 40)):
        hurt = bytearray(data)
        hurt[at] ^= 0xFF
        try:
            read_array(bytes(hurt), kind, len(array))
        except AqError:
            continue


def test_a_type_without_end_is_refused() -> None:
    kind: pa.DataType = pa.int8()
    for _ in range(40):
        kind = pa.list_(kind)
    with pytest.raises(Unstorable, match="nests deeper"):
        describe(kind)
    for wrong in ("int7", ["list"], ["what", 1], 5, ["fixed_binary", "x"], "timestamp[y]"):
        with pytest.raises(Damaged):
            arrow_type(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ARRAYS)
def test_golden_chunks(name: str) -> None:
    assert object_id(Kind.CHUNK, write_array(ARRAYS[name])).hex() == GOLDEN[name]


def test_a_layout_byte_by_byte() -> None:
    data = write_array(pa.array(["ab", None, "c"]))
    header, validity = bytes.fromhex("0300000002010000"), bytes.fromhex("0100010000000000")
    lengths = bytes.fromhex("02000000 00000000 01000000 00000000")
    assert data == header + validity + lengths + b"abc" + bytes(5)


scalars: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int16(): st.integers(-(2**15), 2**15 - 1),
    pa.float64(): st.floats(),
    pa.string(): st.text(max_size=5),
    pa.bool_(): st.booleans(),
}


@st.composite
def nested(draw: st.DrawFn) -> pa.Array:
    """An array of a random nested type with random values and nulls."""

    def grow(depth: int) -> tuple[pa.DataType, st.SearchStrategy[Any]]:
        pick = draw(st.integers(0, 3 if depth else 0))
        if pick == 0:
            return draw(st.sampled_from(list(scalars.items())))
        kind, values = grow(depth - 1)
        maybe = values | st.none()
        if pick == 1:
            return pa.list_(kind), st.lists(maybe, max_size=3)
        if pick == 2:
            return pa.list_(kind, 2), st.lists(maybe, min_size=2, max_size=2)
        other, others = grow(depth - 1)
        fields = pa.struct([("a", kind), ("b", other)])
        return fields, st.fixed_dictionaries({"a": maybe, "b": others | st.none()})

    kind, values = grow(3)
    return pa.array(draw(st.lists(values | st.none(), max_size=12)), kind)


@settings(max_examples=80, deadline=None)
@given(nested(), st.data())
def test_nested_arrays_come_back(array: pa.Array, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(array)))
    part = array[start:]
    written = write_array(part)
    found = back(written, part)
    assert repr(found.to_pylist()) == repr(part.to_pylist())
    assert write_array(found) == written
    assert (words(found) == words(part)).all()
    assert (words(part) == words(array)[start:]).all()


@pytest.mark.parametrize("ends", [(0, 3, 1), (0, 3, 0), (2, 1, 3)], ids=str)
def test_texts_that_end_before_they_begin_are_refused(ends: tuple[int, ...]) -> None:
    """Nothing but ASCII, so that only where the texts lie is wrong."""
    buffers = [None, pa.array(ends, pa.int32()).buffers()[1], pa.py_buffer(b"abc")]
    array = pa.Array.from_buffers(pa.string(), 2, buffers)
    with pytest.raises(Unstorable):
        write_array(array)
    with pytest.raises(Unstorable):
        write_arrays(array, [1, 2])
