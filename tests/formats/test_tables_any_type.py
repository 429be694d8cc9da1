"""Whatever type a column has: versions of it are compared, and other libraries read it or are told not to."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pytest
from aq.formats.columns.shown import shown
from aq.formats.comparing.compare import compare_tables
from aq.formats.errors import Unstorable
from aq.formats.objects import MemoryObjects
from aq.formats.records import Artifact
from aq.formats.tables import encode_table, to_pandas, to_polars

from tests.formats.test_tables_layout import ARRAYS


def stored(array: pa.Array, store: MemoryObjects, key: list[str]) -> Artifact:
    return encode_table(pa.table({"i": range(len(array)), "a": array}), store, key=key).artifact


@pytest.mark.parametrize("key", [[], ["i"]])
@pytest.mark.parametrize("name", ARRAYS)
def test_versions_of_a_column_are_compared(name: str, key: list[str]) -> None:
    array, store = ARRAYS[name], MemoryObjects()
    turned = pa.concat_arrays([array[1:], array[:1]])
    one, other, none = (stored(part, store, key) for part in (array, turned, array[:0]))
    assert compare_tables(one, one, store)["rows"]["changed"] == 0
    assert compare_tables(one, none, store)["rows"]["removed"] == len(array)
    assert compare_tables(none, one, store)["rows"]["added"] == len(array)
    rows = compare_tables(one, other, store)["rows"]
    assert rows["from"] == rows["to"] == len(array)


@pytest.mark.parametrize("name", ARRAYS)
def test_a_column_is_read_by_other_libraries_or_refused_in_a_line(name: str) -> None:
    store = MemoryObjects()
    artifact = stored(ARRAYS[name], store, [])
    for read in (to_pandas, to_polars):
        try:
            assert len(read(artifact, store)) == len(ARRAYS[name])
        except Unstorable as error:
            assert "read it as Arrow" in error.message
            assert "\n" not in error.message


NESTED = pl.DataFrame(
    {
        "e": pl.Series([[{"c": "a"}], None], dtype=pl.List(pl.Struct({"c": pl.Enum(["b", "a"])}))),
        "d": pl.Series([["1.50"], ["2"]]).cast(pl.List(pl.Decimal(20, 2))),
        "a": pl.Series([[["x"], ["y"]], [["z"], [None]]], dtype=pl.Array(pl.List(pl.Categorical), 2)),
        "t": pl.Series([[1], [2]]).cast(pl.List(pl.Datetime("ms", "Europe/Paris"))),
        "o": pl.Series([[{}], []], dtype=pl.List(pl.Struct({}))),
    }
)


@pytest.mark.parametrize("name", NESTED.columns)
def test_nested_columns_of_polars_come_back(name: str) -> None:
    frame, store = NESTED.select(name), MemoryObjects()
    back = to_polars(encode_table(frame, store).artifact, store)
    assert back.schema == frame.schema
    assert back.equals(frame)
    pieces = pl.concat([frame[:1], frame[1:]], rechunk=False)
    assert encode_table(pieces, store).artifact == encode_table(frame, store).artifact


FAR = 2**40
"""Seconds until a year that Python's calendar does not reach."""
UNLIKE_PYTHON: dict[str, tuple[pa.Array, str]] = {
    "a list": (pa.array([[FAR, None]], pa.list_(pa.timestamp("s"))), "['36812-02-20T00:36:16', None]"),
    "a map": (
        pa.array([[("a", FAR)]], pa.map_(pa.string(), pa.timestamp("s", "UTC"))),
        "[{'key': 'a', 'value': '36812-02-20T00:36:16Z'}]",
    ),
    "fields of one name": (
        pa.StructArray.from_arrays([pa.array([1]), pa.array([[0.5]])], ["a", "a"]),
        "{'a': 1, 'a': [0.5]}",
    ),
    "a union": (
        pa.UnionArray.from_sparse(
            pa.array([0], pa.int8()), [pa.array([[FAR]], pa.list_(pa.timestamp("s")))]
        ),
        "['36812-02-20T00:36:16']",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNLIKE_PYTHON)
def test_what_python_has_no_object_for_is_shown_and_compared(name: str) -> None:
    array, text = UNLIKE_PYTHON[name]
    store = MemoryObjects()
    assert shown(array[0]) == text
    one, none = stored(array, store, ["i"]), stored(array[:0], store, ["i"])
    assert compare_tables(none, one, store)["rows"]["added"] == 1
    try:
        to_pandas(one, store)
    except Unstorable as error:
        assert "read it as Arrow" in error.message


LISTS = [pa.list_(pa.float64()), pa.large_list(pa.float64()), pa.list_(pa.float64(), 200)]


@pytest.mark.parametrize("kind", LISTS)
def test_of_a_long_list_only_the_beginning_is_looked_at(kind: pa.DataType) -> None:
    short, long = pa.array([1.5] * 40), pa.array([[1.5] * 200], kind)
    text = shown(pa.scalar(short.to_pylist(), pa.list_(pa.float64())))
    assert shown(long[0]) == text
    assert len(text) == 80
