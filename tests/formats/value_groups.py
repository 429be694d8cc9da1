"""Values in groups: within a group no two are the same to code, so a step must tell them apart."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

NAIVE = dt.datetime.fromisoformat("2026-01-01")
NS = dt.timezone(dt.timedelta(hours=1))
FRAME = pd.DataFrame({"a": [1, 2], "b": [3.0, 4.0], "s": ["x", "y"]})


def categories(values: list[str], names: list[str], *, ordered: bool = False) -> pd.Series:
    return pd.Series(pd.Categorical(values, names, ordered=ordered))


DISTINCT: dict[str, list[Any]] = {
    "one": [
        1,
        True,
        1.0,
        "1",
        b"1",
        bytearray(b"1"),
        decimal.Decimal(1),
        decimal.Decimal("1.0"),
        1 + 0j,
        np.int64(1),
        np.int32(1),
        np.uint8(1),
        np.float64(1),
        np.float32(1),
        np.bool_(True),
        np.array(1),
        [1],
        (1,),
        {1},
        frozenset({1}),
        {1: 1},
        collections.deque([1]),
        np.array([1]),
    ],
    "nothing": [
        None,
        float("nan"),
        pd.NaT,
        pd.NA,
        0,
        "",
        b"",
        [],
        (),
        {},
        set(),
        frozenset(),
        ...,
        False,
        np.float32("nan"),
        np.datetime64("NaT", "s"),
        np.zeros(0),
        np.zeros((0, 1)),
        -0.0,
        0.0,
        pd.DataFrame(),
    ],
    "nesting": [[[1], 2], [[1, 2]], [1, [2]], [1, 2], ["12"], ["1", "2"], [["1"], "2"], [b"1", b"2"]],
    "dicts": [
        {"a": 1, "b": 2},
        {"a": 2, "b": 1},
        {"a": 1},
        {"a": {"b": 2}},
        [("a", 1), ("b", 2)],
        collections.OrderedDict(a=1, b=2),
        collections.OrderedDict(b=2, a=1),
        collections.Counter(a=1, b=2),
        collections.defaultdict(int, a=1, b=2),
        collections.defaultdict(float, a=1, b=2),
    ],
    "times": [
        NAIVE,
        NAIVE.replace(fold=1),
        dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        dt.datetime(2026, 1, 1, tzinfo=NS),
        dt.date(2026, 1, 1),
        pd.Timestamp("2026"),
        dt.timedelta(1),
        pd.Timestamp("2026", tz="UTC"),
        pd.Timestamp("2026").as_unit("ns"),
        np.datetime64("2026-01-01"),
        np.datetime64("2026-01-01", "ns"),
        pd.Timedelta(1, "D"),
        pd.Period("2026", "D"),
        pd.Period("2026", "M"),
    ],
    "arrays": [
        np.arange(4),
        np.arange(4, dtype="i4"),
        np.arange(4, dtype=">i8"),
        np.arange(4.0),
        np.arange(4).reshape(2, 2),
        np.arange(4).reshape(4, 1),
        np.arange(4).reshape(2, 2).T,
        np.arange(4).astype("M8[s]"),
        np.arange(4).astype("M8[ms]"),
        np.arange(4).astype("m8[s]"),
        np.array(list("0123")),
        np.array(list("0123"), object),
        np.array([b"0", b"1"]),
        np.array(["0", "1"], "U2"),
        np.ma.masked_array(np.arange(4), [0, 0, 0, 0]),
        np.ma.masked_array(np.arange(4), [0, 0, 0, 1]),
        np.array([None, 1], object),
        np.array([None, 1.0], object),
        np.array([np.nan, 1.0], object),
        np.array([(1, 2)], "i4,i4"),
        np.array([(1, 2)], [("x", "i4"), ("y", "i4")]),
    ],
    "frames": [FRAME, FRAME.rename(columns={"a": "c"}), FRAME[["b", "a", "s"]], FRAME.iloc[::-1], FRAME[:1]]
    + [FRAME.iloc[::-1].reset_index(drop=True), FRAME.assign(a=[2, 1]), FRAME.assign(a=[1, 3]), FRAME["a"]]
    + [FRAME.assign(a=FRAME.b, b=FRAME.a), FRAME.set_index("s"), FRAME.set_index("s", drop=False)]
    + [FRAME.set_axis([0, 0]), FRAME.set_axis([5, 6]), FRAME.set_axis([5.0, 6.0]), FRAME.set_axis(["5", "6"])]
    + [FRAME.rename_axis("i"), FRAME.set_axis([0, 1]), FRAME.rename_axis("i", axis=1)]
    + [FRAME.astype({"a": kind}) for kind in ("Int64", "int32", "float64", "object", "int64[pyarrow]")]
    + [FRAME.astype({"s": "category"}), FRAME.astype({"s": "object"}), FRAME.astype({"s": "string[pyarrow]"})]
    + [FRAME.to_dict("list"), pa.Table.from_pandas(FRAME, preserve_index=False), pl.from_pandas(FRAME)]
    + [pd.concat([FRAME, FRAME["a"]], axis=1), FRAME.set_index(["a", "b"]), FRAME.set_index(["b", "a"])],
    "categories": [
        categories(["a"], ["a"]),
        categories(["a"], ["a", "b"]),
        categories(["a"], ["b", "a"]),
        categories(["a"], ["a", "b"], ordered=True),
        pd.Series(["a"]),
        pd.Series(["a"], dtype=object),
        pd.Categorical(["a"], ["a"]),
        pd.Index(["a"]),
        pd.CategoricalIndex(["a"]),
    ],
    "zones": [
        pd.Series(pd.to_datetime(["2026-01-01"])),
        pd.Series(pd.to_datetime(["2026-01-01"], utc=True)),
        pd.Series(pd.to_datetime(["2026-01-01"], utc=True).tz_convert("Europe/Berlin")),
        pd.Series(pd.to_datetime(["2026-01-01"]).as_unit("ns")),
        pd.Series(["2026-01-01"]),
    ],
    "missing": [pd.Series([value], dtype=object) for value in (None, float("nan"), pd.NaT, pd.NA)],
    "arrow": [
        pa.array([1]),
        pa.array([1], pa.int32()),
        pa.chunked_array([[1]]),
        pa.table({"": [1]}),
        pa.scalar(1),
        pa.array([1, None]),
        pa.array([1, 0]),
        pa.int64(),
        pa.schema([("a", pa.int64())]),
        pl.Series([1]),
    ],
    "things": [
        int,
        float,
        str,
        np.float64,
        pd.DataFrame,
        len,
        range(3),
        slice(3),
        range(1, 3),
        np.dtype("f8"),
        np.dtype("f4"),
        pd.Int64Dtype(),
        pd.Interval(0, 1),
        pd.Interval(0, 1, "left"),
    ],
}
