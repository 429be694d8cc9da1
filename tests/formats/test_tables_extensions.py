"""Extension types: the same table whether this process knows the type or has only its name."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aq.formats.columns.types import describe, describe_field
from aq.formats.objects import MemoryObjects
from aq.formats.python.canonical import fingerprint
from aq.formats.records import Artifact, decode, encode
from aq.formats.tables import encode_table, to_arrow, to_pandas


class Metres(pa.ExtensionType):
    """A length, with a parameter."""

    def __init__(self, scale: int) -> None:
        self.scale = scale
        super().__init__(pa.int64(), "test.metres")

    def __arrow_ext_serialize__(self) -> bytes:
        return str(self.scale).encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> Metres:
        return cls(int(serialized))


def stored(table: Any) -> tuple[Artifact, MemoryObjects]:
    store = MemoryObjects()
    return decode(Artifact, encode(encode_table(table, store).artifact)), store


def lengths(scale: int) -> pa.Table:
    values = pa.ExtensionArray.from_storage(Metres(scale), pa.array([1, None, 3]))
    return pa.table({"m": values, "deep": pa.StructArray.from_arrays([values], ["x"]), "i": [1, 2, 3]})


def through_ipc(table: pa.Table) -> pa.Table:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return pa.ipc.open_stream(sink.getvalue()).read_all()


def test_a_type_that_nobody_registered_keeps_its_name_and_parameters() -> None:
    known = lengths(3)
    unknown = through_ipc(known)
    assert not isinstance(unknown.schema.field("m").type, pa.BaseExtensionType)
    artifact, store = stored(unknown)
    assert encode(artifact) == encode(stored(known)[0])
    assert fingerprint(unknown) == fingerprint(known)
    back = to_arrow(artifact, store)
    assert back.schema.field("m").metadata == unknown.schema.field("m").metadata
    assert (
        back.schema.field("deep").type.field(0).metadata
        == unknown.schema.field("deep").type.field(0).metadata
    )
    assert back.equals(unknown)
    assert encode(stored(back)[0]) == encode(artifact)


def test_name_and_parameters_count() -> None:
    plain = pa.table({name: lengths(3).column(name) for name in ("i",)})
    ids = {encode(stored(table)[0]) for table in (lengths(3), lengths(4), through_ipc(lengths(5)), plain)}
    assert len(ids) == 4
    without = pa.table({"m": pa.array([1, None, 3])})
    assert encode(stored(without)[0]) != encode(stored(lengths(3).select(["m"]))[0])


def test_a_registered_type_comes_back() -> None:
    pa.register_extension_type(Metres(1))
    try:
        artifact, store = stored(lengths(3))
        back = to_arrow(artifact, store)
        assert back.schema.field("m").type == Metres(3)
        assert back.equals(lengths(3))
        back.validate(full=True)
    finally:
        pa.unregister_extension_type("test.metres")
    assert to_arrow(artifact, store).column("m").to_pylist() == [1, None, 3]


@pytest.mark.parametrize(
    "kind",
    [
        pa.uuid(),
        pa.json_(),
        pa.bool8(),
        pa.opaque(pa.int8(), "kind", "maker"),
        pa.fixed_shape_tensor(pa.int8(), (2, 1), dim_names=["x", "y"], permutation=[1, 0]),
    ],
)
def test_types_of_arrow_itself_are_described_as_they_are_written(kind: Any) -> None:
    field = pa.field("a", kind)
    schema = pa.ipc.read_schema(pa.schema([field]).serialize())
    name, metadata = describe(kind)[1:3]
    assert describe_field(schema.field(0)) == describe(kind)
    bare = pa.field(
        "a", kind.storage_type, metadata={"ARROW:extension:name": name, "ARROW:extension:metadata": metadata}
    )
    assert describe_field(bare) == describe(kind)


def test_periods_and_intervals_of_pandas_come_through_a_file(tmp_path: Any) -> None:
    frame = pd.DataFrame(
        {"p": pd.period_range("2020", periods=3, freq="M"), "i": pd.interval_range(0, 3, closed="left")}
    )
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table, tmp_path / "t.parquet")
    read = pq.read_table(tmp_path / "t.parquet")
    artifact, store = stored(read)
    assert encode(artifact) == encode(stored(table)[0])
    assert artifact.type["columns"][0][1][:2] == ["extension", "pandas.period"]
    pd.testing.assert_frame_equal(to_pandas(artifact, store), frame)


class Codes(pa.ExtensionType):
    """A type whose storage is encoded, and that takes no parameters but its own."""

    def __init__(self) -> None:
        super().__init__(pa.dictionary(pa.int8(), pa.string_view()), "test.codes")

    def __arrow_ext_serialize__(self) -> bytes:
        return b"1"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> Codes:
        if serialized != b"1":
            raise ValueError("a newer one")
        return cls()


def test_a_registered_type_that_cannot_be_made_is_read_as_an_unknown_one() -> None:
    storage = pa.array(["a", None, "b"]).dictionary_encode()
    codes = pa.DictionaryArray.from_arrays(
        storage.indices.cast(pa.int8()), storage.dictionary.cast(pa.string_view())
    )
    table = pa.table({"c": pa.ExtensionArray.from_storage(Codes(), codes)})
    newer = pa.table([pa.array(["a"])], pa.schema([NEWER]))
    pa.register_extension_type(Codes())
    try:
        for given, values in ((table, ["a", None, "b"]), (newer, ["a"])):
            artifact, store = stored(given)
            back = to_arrow(artifact, store)
            assert back.column("c").to_pylist() == values
            assert encode(stored(back)[0]) == encode(artifact)
    finally:
        pa.unregister_extension_type("test.codes")


NEWER = pa.field(
    "c", pa.string(), metadata={"ARROW:extension:name": "test.codes", "ARROW:extension:metadata": "2"}
)
