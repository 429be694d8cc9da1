"""pandas frames go into tables and come back as they were, to the strictest comparison there is."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from aq.formats.errors import Unstorable
from aq.formats.objects import MemoryObjects
from aq.formats.records import Artifact, decode, encode
from aq.formats.tables import encode_table, summarise_table, to_arrow, to_native

NAN = float("nan")
DAWN = dt.datetime.fromisoformat("0001-01-01")


def objects(*values: object) -> pd.Series:
    return pd.Series(np.fromiter(values, object, len(values)), dtype=object)


def arrow(values: list[Any], kind: pa.DataType) -> pd.Series:
    return pd.Series(values, dtype=pd.ArrowDtype(kind))


def index_of(index: pd.Index) -> pd.DataFrame:
    return pd.DataFrame({"a": range(len(index))}, index=index)


def with_attrs() -> pd.DataFrame:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs = {"source": ["feed", {"version": 2}]}
    return frame


FRAMES = {
    "plain": pd.DataFrame(
        {"i": [1, 2, 3], "f": [1.5, NAN, -0.0], "s": ["x", None, ""], "b": [True, False, True]}
    ),
    "widths": pd.DataFrame(
        {t: np.array([0, 1, 3], t) for t in ["i1", "u1", "i2", "u2", "i4", "u4", "u8", "f2", "f4"]}
    ),
    "times": pd.DataFrame(
        {
            "ns": pd.to_datetime(["2020-01-01", None]).as_unit("ns"),
            "s": np.array(["0014-01-01", "2020-01-01"], "M8[s]"),
            "delta": np.array([1, "NaT"], "m8[ms]"),
        }
    ),
    "times beyond Python's": pd.DataFrame({"s": np.array([-(2**61), 2**61, 0], "M8[s]")}),
    "zones": pd.DataFrame(
        {
            "utc": pd.to_datetime(["2020-01-01", None], utc=True),
            "paris": pd.to_datetime(["2020-07-01", "2021-01-01"]).tz_localize("Europe/Paris"),
            "offset": pd.to_datetime(["2020-01-01 00:00+05:30", "2021-01-01 00:00+05:30"]),
            "west": pd.to_datetime(["2020-01-01 00:00-03:30", "2021-01-01 00:00-03:30"]),
        }
    ),
    "named index": index_of(pd.Index(["x", "y"], name="k")),
    "range index": index_of(pd.RangeIndex(5, 9, 2, name="r")),
    "float index": index_of(pd.Index([1.5, NAN, 1.5])),
    "time index with freq": index_of(pd.date_range("2020", periods=3, freq="D", tz="UTC")),
    "interval index": index_of(pd.IntervalIndex.from_breaks([0, 1, 2], closed="left")),
    "period index": index_of(pd.period_range("2020", periods=3, freq="M")),
    "categorical index": index_of(pd.CategoricalIndex(["b", "a"], ["b", "a", "c"], name="k")),
    "object index": index_of(pd.Index([1, "a", None], dtype=object)),
    "multi index": index_of(pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["p", None])),
    "index named as a column": pd.DataFrame({"a": [1]}, index=pd.Index([2], name="a")),
    "multi columns": pd.DataFrame(
        np.arange(6).reshape(3, 2), columns=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["p", None])
    ),
    "range columns": pd.DataFrame(np.arange(6).reshape(3, 2)),
    "time columns": pd.DataFrame([[1, 2]], columns=pd.date_range("2020", periods=2, freq="MS")),
    "categorical columns": pd.DataFrame([[1, 2]], columns=pd.CategoricalIndex(["x", "y"], name="c")),
    "mixed columns": pd.DataFrame({1: [1], "1": [2], None: [3], (1, 2): [4], NAN: [5]}),
    "named columns": pd.DataFrame({"a": [1]}).rename_axis(columns="what"),
    "categories": pd.DataFrame(
        {
            "ordered": pd.Categorical(["a", "b", None, "a"], ["b", "a", "unused"], ordered=True),
            "ints": pd.Categorical([3, 1, 3, None]),
            "times": pd.Categorical(pd.to_datetime(["2020", "2021", "2020", None])),
            "cut": pd.cut([1, 5, 9, NAN], [0, 3, 6, 10]),
            "objects": pd.Categorical(objects(1, "a", 1, None)),
        }
    ),
    "nullable": pd.DataFrame(
        {
            "i": pd.array([1, None], "Int32"),
            "f": pd.array([1.5, None], "Float64"),
            "b": pd.array([True, None], "boolean"),
            "NA arrow": pd.array(["x", None], pd.StringDtype("pyarrow", pd.NA)),
            "NA python": pd.array(["x", None], pd.StringDtype("python", pd.NA)),
            "nan python": pd.array(["x", None], pd.StringDtype("python", NAN)),
        }
    ),
    "NaN beside NA": pd.DataFrame(
        {"f": pd.arrays.FloatingArray(np.array([NAN, 1.0]), np.array([False, True]))}
    ),
    "arrow": pd.DataFrame(
        {
            "i": arrow([1, None], pa.int64()),
            "s": arrow(["x", None], pa.string()),
            "large": arrow(["x", None], pa.large_string()),
            "l": arrow([[1], [2, 3]], pa.list_(pa.field("element", pa.int64(), nullable=False))),
            "d": arrow(["a", None], pa.dictionary(pa.int32(), pa.string())),
            "t": arrow([1, 2], pa.timestamp("s", "UTC")),
            "m": arrow([[("a", 1)], None], pa.map_(pa.string(), pa.int8())),
            "st": arrow([{"x": 1, "y": "b"}, None], pa.struct([("x", pa.int8()), ("y", pa.string())])),
            "dec": arrow([Decimal("1.5"), None], pa.decimal128(5, 2)),
        }
    ),
    "periods": pd.DataFrame(
        {
            "m": pd.period_range("2020-01", periods=3, freq="M"),
            "q": pd.PeriodIndex(["2020-01", None, "2021-01"], freq="Q-NOV"),
        }
    ),
    "sparse": pd.DataFrame(
        {"i": pd.arrays.SparseArray([0, 0, 1]), "f": pd.arrays.SparseArray([NAN, 1.0, NAN])}
    ),
    "complex": pd.DataFrame({"c": np.array([1 + 2j, 3]), "c8": np.array([1 + 2j, 3], "c8")}),
    "objects of one type": pd.DataFrame(
        {
            "str": objects("a", "b", None),
            "bytes": objects(b"a", b"", None),
            "bool": objects(True, None, False),
            "int": objects(1, -1, None),
            "big": objects(2**63, 1, 2),
            "huge": objects(2**70, 1, -(2**70)),
            "float": objects(1.5, None, NAN),
            "date": objects(dt.date(2020, 1, 1), None, dt.date(14, 1, 1)),
            "datetime": objects(DAWN.replace(microsecond=5), None, DAWN),
            "aware": objects(dt.datetime(2020, 1, 1, tzinfo=dt.UTC), None, DAWN),
            "time": objects(dt.time(1, 2, 3, 4), None, dt.time()),
            "timedelta": objects(dt.timedelta(-1, 2, 3), None, dt.timedelta()),
            "decimal": objects(Decimal("1.50"), None, Decimal("-22.00")),
            "exponents": objects(Decimal("1.5"), Decimal("1.50"), Decimal("NaN")),
            "list": objects([1], [2, 3], None),
            "nested": objects([["a"], []], [["b", None]], None),
            "tuple": objects((1, 2), (), (3,)),
            "dict": objects({"a": 1, "b": "x"}, {"a": 2, "b": "y"}, None),
            "ndarray": objects(np.array([1.0, NAN], "f4"), None, np.array([], "f4")),
            "np.int64": objects(np.int64(1), np.int64(2), None),
            "np.bool": objects(np.True_, None, np.False_),
            "timestamp": objects(pd.Timestamp("2020", tz="UTC"), pd.Timestamp("2021"), pd.NaT),
            "timedelta64": objects(pd.Timedelta(1, "s"), pd.NaT, pd.Timedelta(5)),
        }
    ),
    "objects of many types": pd.DataFrame(
        {
            "scalars": objects(1, True, 1.0, "1", b"1", Decimal(1)),
            "ragged": objects({"a": 1}, {"b": 2}, {}, {"b": 1, "a": 1}, {"a": 1, "b": 1}, None),
            "lists": objects([1, 2.0], [1, 2], [(1,)], (1,), ["a", 1], []),
            "sets": objects({1, 2}, frozenset("ab"), set(), None, NAN, pd.NA),
            "arrays": objects(np.eye(2), np.array(["a"]), np.float32(1), np.str_("x"), None, pd.NaT),
            "spans": objects(pd.Period("2020", "M"), pd.Interval(0, 1), 1j, None, 2**80, "\ud800"),
        }
    ),
    "missing markers": pd.DataFrame(
        {
            "None": objects("a", None, None, "b"),
            "nan": objects("a", NAN, NAN, "b"),
            "both": objects("a", None, NAN, "b"),
            "all": objects(None, NAN, pd.NA, pd.NaT),
            "only None": objects(None, None, None, None),
            "only nan": objects(NAN, NAN, NAN, NAN),
            "NA and int": objects(1, pd.NA, None, 2),
        }
    ),
    "attrs": with_attrs(),
    "empty": pd.DataFrame(),
    "no rows": pd.DataFrame({"i": np.array([], "i4"), "s": pd.array([], "str"), "o": np.array([], object)}),
    "no columns": pd.DataFrame(index=range(5)),
    "no columns, index": pd.DataFrame(index=["a", "b"]),
}


def stored(table: Any, **options: Any) -> tuple[Artifact, MemoryObjects]:
    """The artifact as a store would give it back: through its bytes."""
    store = MemoryObjects()
    return decode(Artifact, encode(encode_table(table, store, **options).artifact)), store


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_comes_back_as_it_was(name: str) -> None:
    frame = FRAMES[name]
    artifact, store = stored(frame)
    back = to_native(artifact, store)
    pd.testing.assert_frame_equal(
        frame, back, check_exact=True, check_column_type="exact", check_index_type="exact"
    )
    assert back.attrs == frame.attrs
    for at in np.flatnonzero([dtype.kind == "O" and isinstance(dtype, np.dtype) for dtype in frame.dtypes]):
        left, right = frame.iloc[:, at], back.iloc[:, at]
        assert [(type(x), repr(x)) for x in left] == [(type(x), repr(x)) for x in right]


@pytest.mark.parametrize("name", FRAMES)
def test_what_came_back_is_the_same_artifact(name: str) -> None:
    artifact, store = stored(FRAMES[name])
    assert encode(stored(to_native(artifact, store))[0]) == encode(artifact)
    assert to_arrow(artifact, store).num_rows == len(FRAMES[name])


@pytest.mark.parametrize("name", FRAMES)
def test_a_summary_taken_from_chunks_is_the_one_taken_on_the_way_in(name: str) -> None:
    store = MemoryObjects()
    encoded = encode_table(FRAMES[name], store)
    assert summarise_table(encoded.artifact, store) == encoded.summary


def test_no_two_of_these_frames_are_one() -> None:
    ids = {encode(stored(frame)[0]) for frame in FRAMES.values()}
    assert len(ids) == len(FRAMES)


@pytest.mark.parametrize("name", [None, "price", ("a", 1)])
def test_a_series_comes_back_as_a_series(name: Any) -> None:
    series = pd.Series([1.5, NAN], index=["x", "y"], name=name)
    artifact, store = stored(series)
    pd.testing.assert_series_equal(to_native(artifact, store), series)


def test_duplicate_column_names_are_refused() -> None:
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(Unstorable, match="'a' is there more than once"):
        encode_table(frame, MemoryObjects())


def test_an_object_that_nothing_maps_is_refused_with_column_and_row() -> None:
    class Thing:
        pass

    with pytest.raises(Unstorable, match=r"column 'o', row 1: nothing maps an object of type .*Thing"):
        encode_table(pd.DataFrame({"o": objects(1, Thing())}), MemoryObjects())
