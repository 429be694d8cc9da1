"""Corners of pandas: what comes back has the same axes, frequencies, zones and objects, not only values."""

from __future__ import annotations

import collections
import datetime as dt
import pathlib
import uuid
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from aq.formats.errors import Unstorable
from aq.formats.objects import MemoryObjects
from aq.formats.records import Artifact, decode, encode
from aq.formats.tables import encode_table, to_arrow, to_native

from tests.formats.value_groups import DISTINCT

NAN = float("nan")
PARIS, TOKYO = ZoneInfo("Europe/Paris"), ZoneInfo("Asia/Tokyo")
BUSINESS = pd.offsets.CustomBusinessDay(weekmask="Mon Tue", holidays=["2020-01-06"])
BOTH = pd.MultiIndex.from_product([["b", "a"], [1, 2]], names=["x", None])


def objects(*values: object) -> pd.Series:
    return pd.Series(np.fromiter(values, object, len(values)), dtype=object)


def stored(table: Any) -> tuple[Artifact, MemoryObjects]:
    store = MemoryObjects()
    return decode(Artifact, encode(encode_table(table, store).artifact)), store


def index_of(index: pd.Index) -> pd.DataFrame:
    return pd.DataFrame({"a": range(len(index))}, index=index)


def dates(freq: Any, **options: Any) -> pd.DataFrame:
    return index_of(pd.date_range("2020-01-01", periods=4, freq=freq, **options))


def zoned(zone: Any) -> pd.DataFrame:
    return pd.DataFrame({"t": pd.Series(pd.to_datetime(["2020-06-01", None])).dt.tz_localize(zone)})


AXES: dict[str, Callable[[], pd.DataFrame | pd.Series]] = {
    "a range backwards": lambda: index_of(pd.RangeIndex(10, 0, -2, name="r")),
    "an empty range that begins later": lambda: index_of(pd.RangeIndex(3, 3, 7, name="z")),
    "custom business days": lambda: dates(BUSINESS),
    "business days": lambda: dates("B"),
    "an offset without text": lambda: dates(pd.DateOffset(months=1, days=1)),
    "an offset with hours": lambda: dates(pd.offsets.BusinessHour(start="10:00")),
    "an offset that normalises": lambda: dates(pd.offsets.MonthEnd(2, normalize=True)),
    "days of a zone": lambda: dates("D", tz="Europe/Paris"),
    "office hours backwards": lambda: index_of(pd.date_range("2020-01-01", periods=4, freq="bh")[::-1]),
    "no days": lambda: index_of(pd.date_range("2020", periods=0, freq="D")),
    "time spans": lambda: index_of(pd.timedelta_range("1D", periods=3, freq="12h")),
    "quarter hours": lambda: index_of(pd.period_range("2020", periods=3, freq="15min")),
    "a missing period": lambda: index_of(pd.PeriodIndex(["2020", None], freq="Y-DEC")),
    "spans of a zone": lambda: index_of(pd.interval_range(pd.Timestamp("2020", tz="UTC"), periods=3)),
    "a missing interval": lambda: index_of(pd.IntervalIndex.from_tuples([(0, 1), NAN])),
    "two levels": lambda: index_of(BOTH),
    "levels with a frequency": lambda: index_of(
        pd.MultiIndex.from_product([pd.date_range("2020", periods=2, freq="D"), [1, 2]])
    ),
    "an integer level with a gap": lambda: index_of(
        pd.MultiIndex.from_tuples([("a", 1), (None, NAN), ("b", 2)])
    ),
    "levels with gaps": lambda: index_of(
        pd.MultiIndex(
            levels=[[True, False], np.array([1, 2], "u1"), pd.interval_range(0, 2)],
            codes=[[0, -1, 1], [1, 0, -1], [-1, 0, 1]],
        )
    ),
    "levels of one name": lambda: index_of(pd.MultiIndex.from_tuples([(1, 1), (1, 1)], names=["x", "x"])),
    "one level": lambda: index_of(pd.MultiIndex.from_arrays([["a", "b"]])),
    "levels of periods": lambda: index_of(
        pd.MultiIndex.from_arrays([pd.period_range("2020", periods=2, freq="M"), pd.Categorical(["b", "a"])])
    ),
    "labels in levels": lambda: pd.DataFrame([[1, 2, 3, 4]], columns=BOTH),
    "labels in levels with gaps": lambda: pd.DataFrame(
        [[1, 2]], columns=pd.MultiIndex.from_tuples([("a", NAN), ("b", 2)])
    ),
    "a missing label": lambda: pd.DataFrame([[1, 2]], columns=[None, "x"]),
    "a missing label beside its text": lambda: pd.DataFrame([[1, 2]], columns=pd.Index([None, "nan"])),
    "labels of objects": lambda: pd.DataFrame(
        [[1, 2]], columns=pd.Index([dt.date(2020, 1, 1), "\ud800"], dtype=object)
    ),
    "labels with a zone": lambda: pd.DataFrame(
        [[1, 2]], columns=pd.date_range("2020", periods=2, freq="D", tz="UTC", name="t")
    ),
    "labels that may be missing": lambda: pd.DataFrame([[1, 2]], columns=pd.Index([1, None], dtype="Int64")),
    "no labels": lambda: pd.DataFrame(columns=pd.Index([], dtype=object)),
    "an index of tuples": lambda: index_of(pd.Index([("a", 1), ("b", 2)], tupleize_cols=False)),
    "named and ordered categories": lambda: pd.DataFrame(
        {"c": pd.Categorical(["a", None], pd.Index(["b", "a"], name="n"), ordered=True)}
    ),
    "categories with a frequency": lambda: pd.DataFrame(
        {"c": pd.Categorical(pd.date_range("2020", periods=3, freq="D"))}
    ),
    "categories of every kind": lambda: pd.DataFrame(
        {
            "Int64": pd.Categorical(pd.array([1, None], "Int64")),
            "zone": pd.Categorical(pd.to_datetime(["2020", "2021"], utc=True).tz_convert("Europe/Paris")),
            "period": pd.Categorical(pd.period_range("2020", periods=2, freq="M")),
            "float": pd.Categorical([1.5, -0.0], [1.5, -0.0, 2.5]),
            "date": pd.Categorical([dt.date(2020, 1, 1), None]),
            "decimal": pd.Categorical([Decimal("1.5"), Decimal("2.50")]),
            "uuid": pd.Categorical([uuid.UUID(int=1), uuid.UUID(int=2)]),
            "mixed": pd.Categorical(objects("a", (1, 2))),
            "tuples": pd.Categorical(objects((1, 2), None)),
            "complex": pd.Categorical([1 + 2j, None]),
            "none": pd.Categorical([None, None], ["x"]),
        }
    ),
    "a series of times": lambda: dates("h")["a"],
    "a zone of odd seconds": lambda: zoned(dt.timezone(dt.timedelta(seconds=-3601))),
    "a zone with a name": lambda: zoned(dt.timezone(dt.timedelta(hours=1), "here")),
    "zones of the library": lambda: pd.concat(
        [zoned(at) for at in (dt.UTC, "Europe/Paris", "Etc/GMT+5", "+05:30")], axis=1
    ).set_axis(list("abcd"), axis=1),
    "texts that are no Unicode": lambda: pd.DataFrame(
        {"s": pd.array(["\ud800", None, "a"], pd.StringDtype("python", NAN))}
    ),
    "labels that may not repeat": lambda: pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False),
    "Arrow's dtypes": lambda: pd.DataFrame(
        {
            str(kind): pd.array([None, None], pd.ArrowDtype(kind))
            for kind in (
                pa.null(), pa.float16(), pa.decimal64(12, 3), pa.date64(), pa.binary(3), pa.duration("ms"),
                pa.large_list(pa.string()), pa.list_(pa.int8(), 2), pa.bool8(), pa.uuid(),
                pa.dictionary(pa.int8(), pa.string(), ordered=True), pa.struct([("a", pa.large_string())]),
                pa.map_(pa.string(), pa.dictionary(pa.int8(), pa.string())),
            )
        }
    ),
    "sparse": lambda: pd.DataFrame(
        {
            "i": pd.arrays.SparseArray([1, 2, 0], fill_value=2),
            "b": pd.arrays.SparseArray([True, False, False]),
            "t": pd.arrays.SparseArray(np.array(["2020", "NaT", "2021"], "M8[ns]")),
        }
    ),
    "numbers in big-endian order": lambda: pd.DataFrame(
        {kind: np.array([1, 2], kind) for kind in (">i2", ">u8", ">f4", ">c8", ">c16")},
        index=np.array([5, 6], ">i4"),
    ),
    "no rows of any dtype": lambda: pd.DataFrame(
        {
            "i": pd.Series([], dtype="i1"),
            "c": pd.Categorical([], ["x"]),
            "t": pd.to_datetime([]).tz_localize("UTC"),
            "p": pd.PeriodIndex([], freq="M"),
            "o": pd.Series([], dtype=object),
            "v": pd.IntervalIndex.from_breaks([1.5], closed="left"),
            "x": np.array([], "c16"),
            "m": pd.array([], "boolean"),
        }
    ),
}  # fmt: skip


def assert_axis(left: pd.Index, right: pd.Index) -> None:
    assert type(left) is type(right)
    assert list(map(repr, left.names)) == list(map(repr, right.names))
    assert getattr(left, "freq", None) == getattr(right, "freq", None)
    assert [(type(x), repr(x)) for x in left] == [(type(x), repr(x)) for x in right]


@pytest.mark.parametrize("name", AXES)
def test_everything_of_a_frame_comes_back(name: str) -> None:
    frame = AXES[name]()
    artifact, store = stored(frame)
    back = to_native(artifact, store)
    if isinstance(frame, pd.Series):
        pd.testing.assert_series_equal(frame, back, check_exact=True, check_index_type="exact")
        frame, back = frame.to_frame(), back.to_frame()
    else:
        strict = {"check_exact": True, "check_column_type": "exact", "check_index_type": "exact"}
        pd.testing.assert_frame_equal(frame, back, **strict)
    assert_axis(frame.index, back.index)
    assert_axis(frame.columns, back.columns)
    assert list(map(repr, frame.dtypes)) == list(map(repr, back.dtypes))
    assert frame.flags == back.flags
    assert encode(stored(AXES[name]())[0]) == encode(artifact)
    assert to_arrow(artifact, store).num_rows == len(frame)


@pytest.mark.parametrize("name", [None, 1, 1.5, True, "s", ("a", 1), pd.Timestamp("2020"), pd.NaT])
def test_a_series_has_the_name_that_it_had(name: object) -> None:
    back = to_native(*stored(pd.Series([1, 2], name=name)))
    assert (type(back.name), repr(back.name)) == (type(name), repr(name))


def test_a_frequency_is_part_of_the_id_and_unused_levels_are_not() -> None:
    days = pd.date_range("2020", periods=3, freq="D")
    assert encode(stored(index_of(days))[0]) != encode(stored(index_of(pd.DatetimeIndex(list(days))))[0])
    part = index_of(BOTH).iloc[:1]
    rebuilt = part.set_axis(pd.MultiIndex.from_tuples(list(part.index), names=part.index.names))
    assert len(part.index.levels[0]) == 2
    assert encode(stored(part)[0]) == encode(stored(rebuilt)[0])


DUSK = dt.datetime.fromisoformat("2020-10-25T02:30").replace(fold=1)
DAWN = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
TABLE = pd.DataFrame({"a": [1, 2], "o": objects("x", (1,))}, index=["p", "q"])
CELLS: dict[str, list[Any]] = {
    "paths": [pathlib.PurePosixPath("a/b"), pathlib.PureWindowsPath("c:\\x"), pathlib.Path("x")],
    "bytes": [b"x", bytearray(b"x"), np.bytes_(b"x"), "x"],
    "numbers": [Fraction(1, 3), Decimal("-0"), Decimal("1E+100"), 2**200, 1 + 2j, np.longdouble("1.5")],
    "ranges": [range(1, 9, 2), slice(None, 3), ...],
    "containers": [
        collections.OrderedDict(b=1, a=2),
        collections.Counter("aab"),
        collections.deque([1, 2], 5),
        {"b": 1, "a": 2},
    ],
    "moments": [DUSK, DUSK.replace(fold=0), DUSK.replace(tzinfo=PARIS), dt.time(1, fold=1)],
    "zones": [dt.UTC, PARIS, dt.timezone(dt.timedelta(hours=1)), dt.timezone(dt.timedelta(0), "here")],
    "named zones": [DUSK.replace(tzinfo=dt.timezone(dt.timedelta(hours=1), "here")), None],
    "lists of moments": [[DUSK], [DUSK.replace(fold=0)]],
    "lists of times": [[dt.time(1, fold=1)], [dt.time(1)]],
    "lists of zoned moments": [[DAWN], [DAWN.replace(year=2021)]],
    "lists of moments in zones": [[DAWN.replace(tzinfo=PARIS)], [DAWN.replace(tzinfo=TOKYO)]],
    "lists of moments that are there twice": [[DUSK.replace(tzinfo=PARIS, fold=fold)] for fold in (0, 1)],
    "mappings of moments in zones": [{"a": DAWN.replace(tzinfo=PARIS)}, {"a": DAWN}],
    "numpy's texts": [np.str_("a\0"), np.str_(""), np.bytes_(b"a\0"), np.bytes_(b""), np.array([""])],
    "texts of numpy as keys": [{"a": 1}, {np.str_("a"): 1}],
    "lists of zeros": [[0.0], [-0.0]],
    "timestamps": [pd.Timestamp("2020").as_unit(unit) for unit in ("s", "ms", "us", "ns")],
    "zoned timestamps": [
        pd.Timestamp("2020-10-25 02:30").tz_localize("Europe/Paris", ambiguous=at) for at in (True, False)
    ],
    "arrays": [np.eye(2), np.arange(3, dtype=">i4"), np.array(5), np.zeros((0, 3)), np.array(["a", "bc"])],
    "arrays of objects": [np.array([[1], ["x"]], object), np.array([None, (1,)], object)],
    "records": [np.array([(1, 2.0)], "i4,f8"), np.array([(1, 2.0)], "i4,f8")[0]],
    "dtypes": [np.dtype("i4,f8"), np.dtype("f4"), np.dtype(">f4")],
    "masked": [np.ma.masked_array([1, 2], [0, 1]), np.ma.masked_array([1, 2], [0, 0])],
    "frames": [TABLE, TABLE["a"], TABLE.index, pd.DataFrame(), BOTH, pd.RangeIndex(3)],
    "pandas arrays": [pd.array([1, None], "Int64"), pd.Categorical(["a"]), pd.arrays.SparseArray([0, 1])],
    "frequencies": [pd.offsets.MonthEnd(2), BUSINESS, pd.DateOffset(months=1), pd.offsets.Day()],
    "periods": [pd.Period("2020", "Q-NOV"), pd.Interval(1.5, 2.5, "both"), pd.NaT],
    "nothing": [None, NAN, pd.NA, pd.NaT, [None, NAN, pd.NA, pd.NaT], {"a": pd.NA}],
}  # fmt: skip


@pytest.mark.parametrize("name", CELLS)
def test_objects_come_back_as_they_were(name: str) -> None:
    frame = pd.DataFrame({"o": objects(*CELLS[name])})
    artifact, store = stored(frame)
    back = to_native(artifact, store)
    assert [(type(x), repr(x)) for x in back["o"]] == [(type(x), repr(x)) for x in frame["o"]]
    assert encode(stored(back)[0]) == encode(artifact)


def test_no_two_of_these_objects_are_one() -> None:
    values = [value for values in CELLS.values() for value in values]
    ids = {encode(stored(pd.DataFrame({"o": objects(value, 1)}))[0]) for value in values}
    assert len(ids) == len({(type(value), repr(value), getattr(value, "unit", "")) for value in values})


def test_attributes_hold_what_cells_hold() -> None:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs = {
        "at": pd.Timestamp("2020"),
        1: np.arange(3),
        "more": {"table": TABLE, "path": pathlib.Path("x")},
    }
    back = to_native(*stored(frame))
    assert repr(back.attrs) == repr(frame.attrs)


class Money(Decimal):
    """A class of a user, though it inherits from one that has a cell."""


@pytest.mark.parametrize(
    "value", [Money(1), int, len, np.matrix([[1]]), collections.defaultdict(int), object()]
)
def test_what_has_no_cell_is_refused_with_its_place(value: Any) -> None:
    with pytest.raises(Unstorable, match=r"^column 'o', row 1: nothing maps an? "):
        encode_table(pd.DataFrame({"o": objects(1, value)}), MemoryObjects())
    with pytest.raises(Unstorable, match=r"^column 'o', row 1: nothing maps an? "):
        encode_table(pd.DataFrame({"o": objects(1, [{"deep": value}])}), MemoryObjects())


@pytest.mark.skipif(np.dtype("longdouble").itemsize == 8, reason="they are no wider here")
@pytest.mark.parametrize("kind", ["longdouble", "clongdouble"])
def test_numbers_wider_than_64_bits_are_refused(kind: str) -> None:
    with pytest.raises(Unstorable, match=r"^column 'x': nothing maps the dtype (float|complex)"):
        encode_table(pd.DataFrame({"x": np.array([1], kind)}), MemoryObjects())


def test_another_order_of_bytes_is_another_table_of_the_same_content() -> None:
    numbers = np.array([1, 2], "i4")
    native, swapped = (encode_table(pd.DataFrame({"a": numbers.astype(kind)}), MemoryObjects()).artifact
                       for kind in ("<i4", ">i4"))  # fmt: skip
    assert encode(native) != encode(swapped)
    assert (native.root, native.data) == (swapped.root, swapped.data)


@pytest.mark.parametrize("name", DISTINCT)
def test_what_code_tells_apart_has_ids_of_its_own(name: str) -> None:
    """As tables where they are some, else as the one object of a column."""
    ids = []
    for value in DISTINCT[name]:
        is_table = isinstance(value, (pd.DataFrame, pd.Series, pa.Table, pl.DataFrame))
        try:
            ids.append(encode(stored(value if is_table else pd.DataFrame({"o": objects(value)}))[0]))
        except Unstorable:
            continue
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("labels", [(1, 2), (True, False), (0.5, 1.5), ("x", "y")], ids=str)
def test_a_label_of_several_levels_is_named_as_it_is_typed(labels: tuple[object, ...]) -> None:
    columns = [("a", label) for label in labels]
    frame = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples(columns))
    artifact = encode_table(frame, MemoryObjects(), key=columns[:1]).artifact
    assert [name for name, _ in artifact.type["columns"]] == list(map(str, columns))
    assert artifact.type["key"] == [str(columns[0])]
