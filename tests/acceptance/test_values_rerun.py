"""Values that must, or must not, run a step again: each as an argument and as the result of another step.

All cases are ops of one flow; its file is edited once, and each look is a process of its own with another
hash seed.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.shell import Shell

HEAD = """
import datetime, decimal, zoneinfo
import aq
import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.linear_model import LinearRegression

T = pd.DataFrame({"a": [1, 2, 3], "b": [4.0, 5.0, 6.0], "c": ["x", "y", "x"]}, index=[7, 8, 9])
W = np.arange(12.0).reshape(3, 4)
UTC = zoneinfo.ZoneInfo("UTC")

def categories(values, *, ordered=False):
    return pd.DataFrame({"c": pd.Categorical(["x", "y", "x"], categories=values, ordered=ordered)})

def index(values, name=None):
    return pd.DataFrame({"a": [1, 2, 3]}, index=pd.Index(values, name=name))

def times(unit="us", zone=None):
    return pd.DataFrame({"t": pd.DatetimeIndex(["2020-02-02"]).as_unit(unit).tz_localize(zone)})

def fragmented():
    frame = T[[]].copy()
    for name in T:
        frame[name] = T[name]
    return frame

def last_of_ten_million(value):
    found = np.zeros(10_000_000, "int8")
    found[-1] = value
    return found

def deep(value, depth):
    for _ in range(depth):
        value = [value]
    return value
"""

RERUN = """
1 | True
1 | 1.0
1 | "1"
"1" | b"1"
1 | decimal.Decimal(1)
0.0 | -0.0
None | float("nan")
float("nan") | pd.NaT
pd.NaT | pd.NA
[1, 2] | (1, 2)
[1, [2]] | [[1], 2]
deep(1, 40) | deep(2, 40)
datetime.date(2020, 1, 1) | datetime.datetime(2020, 1, 1)
datetime.datetime(2020, 1, 1) | datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
np.arange(3, dtype="int32") | np.arange(3, dtype="int64")
np.arange(3, dtype="int64") | np.arange(3, dtype="uint64")
W | W.reshape(4, 3)
np.arange(3, dtype="<i4") | np.arange(3, dtype=">i4")
np.zeros(3) | np.ma.masked_array(np.zeros(3), mask=[0, 1, 0])
np.ma.masked_array(np.zeros(3), mask=[0, 1, 0]) | np.ma.masked_array(np.zeros(3), mask=[0, 0, 1])
np.array(["2020"], "M8[s]") | np.array(["2020"], "M8[ms]")
last_of_ten_million(1) | last_of_ten_million(2)
times(unit="s") | times(unit="ns")
T | T.rename(columns={"a": "z"})
T | T[["b", "a", "c"]]
T | T.assign(a=T.b, b=T.a)
T | T.iloc[::-1]
T | pd.concat([T, T.iloc[:1]])
T | T.set_axis([1, 2, 3])
index([1, 2, 3]) | index([1, 2, 4])
index([1, 2, 3]) | index([1, 2, 3], "n")
index([1, 2, 3]) | index([1.0, 2.0, 3.0])
index([1, 2, 3]) | index(["1", "2", "3"])
index([1, 1, 2]) | index([1, 2, 2])
T[["a"]] | T[["a"]].astype("Int64")
T[["a"]] | T[["a"]].astype("float64")
T[["a"]] | T[["a"]].astype("int64[pyarrow]")
T[["c"]] | T[["c"]].astype("category")
categories(["x", "y"]) | categories(["y", "x"])
categories(["x", "y"]) | categories(["x", "y"], ordered=True)
categories(["x", "y"]) | categories(["x", "y", "unused"])
times() | times(zone="UTC")
times(zone="UTC") | times(zone="Europe/Berlin")
LinearRegression().fit(W, [1, 2, 3]) | LinearRegression().fit(W, [1, 2, 4])
"""

HIT = """
np.ascontiguousarray(W) | np.asfortranarray(W)
W[:, ::2].copy() | W[:, ::2]
T | fragmented()
T | pd.concat([T, T])[:3]
T.iloc[:2] | T[:2].copy()
pa.table({"a": pa.chunked_array([[1, 2, 3, 4]])}) | pa.table({"a": pa.chunked_array([[1], [2, 3], [4]])})
pa.table({"a": [1, 2, 3, 4]}).slice(1, 2) | pa.table({"a": [2, 3]})
pa.table({"a": pa.array(["x", "y", "x"])}) | pa.table({"a": pa.array(["x", "y", "x"], pa.large_string())})
{"one", "two", "three"} | {"three", "two", "one"}
frozenset(["a", "b", "c", "d"]) | frozenset(["d", "c", "b", "a"])
LinearRegression().fit(W, [1, 2, 3]) | LinearRegression().fit(W.copy(), [1, 2, 3])
1.0 | 2.0 / 2
"ab" | "".join(["a", "b"])
"""


def cases(text: str) -> list[tuple[str, str]]:
    found = []
    for line in text.strip().splitlines():
        before, _, after = line.partition(" | ")
        found.append((before, after))
    return found


ALL = [*cases(RERUN), *cases(HIT)]
CALLS = [
    ("called(1, n=2, m=3)", "called(1, 2, 3)"),
    ("called.named('filled')(1, 2)", "called.named('filled')(1, n=2, m=3)"),
    ("called.named('ordered')(1, 2, {'a': 1, 'b': 2})", "called.named('ordered')(1, 2, {'b': 2, 'a': 1})"),
]


def flow(side: int) -> str:
    """The file before (0) or after (1) the edit."""
    text = [HEAD, "@aq.op\ndef called(x, n, m=3):\n    return 1\n"]
    for at, case in enumerate(ALL):
        text.append(
            f"def value{at}():\n    return {case[side]}\n\n"
            f"@aq.op\ndef given{at}(x):\n    return 1\n\n"
            f"@aq.op\ndef made{at}():\n    return {case[side]}\n\n"
            f"@aq.op\ndef used{at}(x):\n    return 1\n"
        )
    calls = [f"    given{at}(value{at}()); used{at}(made{at}())" for at in range(len(ALL))]
    text.append("@aq.flow\ndef f():\n" + "\n".join([*calls, *(f"    {call[side]}" for call in CALLS)]))
    return "\n".join(text)


@pytest.fixture(scope="module")
def looks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The states of all steps: at first, again, and after the edit."""
    shell = Shell(tmp_path_factory.mktemp("values"))
    shell.aq("init")
    found = []
    for seed, side in enumerate((0, 0, 1)):
        shell.write("flow.py", flow(side))
        words = ["run", "flow.py", *(["--tag", "again"] if seed == 1 else []), "--json"]
        events: list[Any] = shell.aq(*words, PYTHONHASHSEED=str(seed + 1)).events
        found.append({one["step"][2:]: one["status"] for one in events if one["event"] == "step"})
    return found


def test_the_first_run_runs_all_and_the_second_nothing(looks: list[dict[str, str]]) -> None:
    assert set(looks[0].values()) == {"run"} and set(looks[1].values()) == {"reused"}


@pytest.mark.parametrize("at", range(len(ALL)), ids=lambda at: f"{ALL[at][0]} to {ALL[at][1]}"[:60])
def test_a_value(at: int, looks: list[dict[str, str]]) -> None:
    expected = "run" if at < len(cases(RERUN)) else "reused"
    assert (looks[2][f"given{at}"], looks[2][f"used{at}"]) == (expected, expected)


@pytest.mark.parametrize("name", ["called", "filled", "ordered"])
def test_the_way_of_calling_counts_for_nothing(name: str, looks: list[dict[str, str]]) -> None:
    assert looks[2][name] == "reused"
