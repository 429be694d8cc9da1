"""Fingerprints tell values apart exactly where a step must run again, and nowhere else."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from aq.formats.errors import Unstorable
from aq.formats.python.canonical import fingerprint, show
from hypothesis import given, strategies as st

from tests.formats.value_groups import DISTINCT, FRAME


@pytest.mark.parametrize("group", DISTINCT)
def test_values_of_a_group_are_told_apart(group: str) -> None:
    found: dict[str, Any] = {}
    for value in DISTINCT[group]:
        digits = fingerprint(value)
        assert len(digits) == 64
        assert digits not in found, (value, found.get(digits))
        found[digits] = value


def fragmented() -> pd.DataFrame:
    frame = pd.DataFrame(index=range(4))
    for at, name in enumerate("abc"):
        frame[name] = np.arange(4) + at
    return frame


COLUMNS = {name: np.arange(4) + at for at, name in enumerate("abc")}
WIDE = pd.DataFrame({name: np.arange(8) // 2 for name in "abc"})
ORDERED = np.arange(12.0).reshape(3, 4)
SELF: list[Any] = [1]
SELF.append(SELF)
SELF_TOO: list[Any] = [1]
SELF_TOO.append(SELF_TOO)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": [2, {"c": 3, "d": 4}]}, {"b": [2, {"d": 4, "c": 3}], "a": 1}),
        ({"a", "b", 1, None}, {None, 1, "b", "a"}),
        (ORDERED, np.asfortranarray(ORDERED)),
        (ORDERED, np.repeat(ORDERED, 2, axis=1)[:, ::2]),
        (np.array([0.0, float("nan")]), np.array([0.0, np.nan])),
        (pd.DataFrame(COLUMNS), fragmented()),
        (pd.DataFrame(COLUMNS), pd.concat([pd.DataFrame(COLUMNS)[:2], pd.DataFrame(COLUMNS)[2:]])),
        (pd.DataFrame({name: np.arange(4) for name in "abc"}), WIDE[::2].set_axis(range(4))),
        (pa.table({"a": [1, 2, 3]}), pa.table({"a": pa.chunked_array([[1], [2, 3]])})),
        (pa.table({"a": [2, 3]}), pa.table({"a": [1, 2, 3]}).slice(1)),
        (pa.table({"a": ["x", "x"]}), pa.table({"a": pa.array(["x", "x"]).dictionary_encode()})),
        (pa.table({"a": ["x"]}), pa.table({"a": pa.array(["x"], pa.large_string())})),
        (pl.DataFrame({"a": [1, 2]}), pl.concat([pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2]})])),
        (SELF, SELF_TOO),
        (["ab" * 2, "abab"], ["ab" + "ab", "aba" + "b"]),
        ([FRAME, FRAME], [FRAME, FRAME.copy()]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_code_cannot_tell_apart_is_equal(one: Any, other: Any) -> None:
    assert fingerprint(one) == fingerprint(other)


def test_nothing_is_sampled() -> None:
    frame = pd.DataFrame({"n": np.zeros(300_000), "s": ["same"] * 300_000})
    before = fingerprint(frame)
    for column, value in (("n", 1e-300), ("s", "Same"), ("s", None)):
        changed = frame.copy()
        changed.loc[299_999, column] = value
        assert fingerprint(changed) != before
    array = np.zeros(10_000_000, dtype="u1")
    before = fingerprint(array)
    array[-1] = 1
    assert fingerprint(array) != before


def nest(value: Any, times: int) -> Any:
    for _ in range(times):
        value = [value]
    return value


def test_depth_is_no_limit_and_no_constant() -> None:
    assert len({fingerprint(nest(leaf, depth)) for leaf in (1, 2) for depth in (10, 999, 9_999, 10_000)}) == 8
    shared: Any = [1]
    for _ in range(200):
        shared = [shared, shared]
    assert len(fingerprint(shared)) == 64


def test_cycles_end_and_count() -> None:
    inner: list[Any] = []
    outer = [inner, 1]
    inner.append(outer)
    flat: list[Any] = []
    flat.append(flat)
    box: dict[str, Any] = {}
    box["self"] = box
    found = [fingerprint(value) for value in (SELF, outer, inner, flat, box, [flat], [flat, flat])]
    assert len(set(found)) == len(found)


class Colour(enum.Enum):
    RED = 1


class Settings:
    def __init__(self, depth: Any) -> None:
        self.depth = depth


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"f": [lambda x: x]}, "argument 'p' → ['f'][0]: the function <lambda> is code, not a value"),
        ([np.mean], "argument 'p' → [0]: mean of numpy is code, not a value"),
        (np.sin, "argument 'p': sin of numpy is code, not a value"),
        (functools.partial(show), "argument 'p' → [0]: the function show is code, not a value"),
        (Settings, "argument 'p': the class Settings is code, not a value"),
        (os, "argument 'p': the module os is code, not a value"),
        ((Colour.RED,), "argument 'p' → [0]: a Colour cannot be compared"),
        ([Settings(1)], "argument 'p' → [0]: a Settings cannot be compared"),
        (iter([1]), "argument 'p': a list_iterator cannot be compared"),
        (object(), "argument 'p': an object cannot be compared"),
        ("x".join, "argument 'p': the function str.join is code, not a value"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_code_is_refused_with_its_place(value: Any, why: str) -> None:
    with pytest.raises(Unstorable) as caught:
        fingerprint(value, at="argument 'p'")
    assert caught.value.message.replace(f"{__name__}.", "") == why


def test_the_hook_names_code() -> None:
    def foreign(value: object) -> str | None:
        return f"code {value.__name__}" if callable(value) and hasattr(value, "__name__") else None

    one = fingerprint(Settings(1), foreign=foreign)
    assert one == fingerprint(Settings(1), foreign=foreign)
    assert one != fingerprint(Settings(2), foreign=foreign)
    assert one != fingerprint(Settings(True), foreign=foreign)
    assert one != fingerprint(Settings(1), foreign=lambda value: (foreign(value) or "") + "changed")
    assert fingerprint(Colour.RED, foreign=foreign) != fingerprint(1, foreign=foreign)
    assert fingerprint([show], foreign=foreign) != fingerprint([fingerprint], foreign=foreign)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.dates()
    | st.decimals(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES, VALUES)
def test_equal_fingerprints_mean_equal_types_and_texts(one: Any, other: Any) -> None:
    def told(value: Any) -> Any:
        if isinstance(value, dict):
            return "dict", sorted((key, told(item)) for key, item in value.items())
        if isinstance(value, (list, tuple)):
            return type(value).__name__, [told(item) for item in value]
        return type(value).__name__, repr(value)

    assert (fingerprint(one) == fingerprint(other)) == (repr(told(one)) == repr(told(other)))


def test_importing_it_imports_no_library(tmp_path: Path) -> None:
    code = """
import sys
from aq.formats.python.canonical import fingerprint, show
from aq.formats.artifacts.values import encode
from aq.formats.objects import MemoryObjects
fingerprint({"a": [1, 2.5, None]}), show([1]), encode({"a": 1}, MemoryObjects())
print({"numpy", "pandas", "pyarrow", "zstandard", "pyfastcdc", "pickletools"} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (6, "6"),
        ("a", "'a'"),
        (None, "None"),
        (0.5, "0.5"),
        ([1, (2,), {"a": {"b", "a"}}], "[1, (2,), {'a': {'a', 'b'}}]"),
        (FRAME, "DataFrame 2×3"),
        (np.zeros((3, 4)), "ndarray float64 3×4"),
        (np.float32(2), "np.float32(2.0)"),
        (Settings(1), "Settings"),
        (show, "show"),
        (set(), "set()"),
        (list(range(100)), "[0, 1, 2, 3, 4, 5, …]"),
        ("x" * 100, "'" + "x" * 58 + "…"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (np.random.default_rng(0), "Generator"),
        (1 << 10_000, "int of 10001 bits"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_show_is_short_and_tells_nothing_of_memory(value: Any, text: str) -> None:
    assert show(value) == text


GOLDEN: list[tuple[Any, str]] = [
    (6, "050e3b224155fb547ca3fe858d1052a7d031c4d54e92af59f979e1a82c2aed5b"),
    ("é", "228a68fd4835479e38848ff9f1fb827f400e20ac3fd55e312e0dacec881383d2"),
    (
        {"b": [1, 2.5, None], "a": (True, b"x", {3, 4})},
        "92ddf67f021f42a6a6750827a3713a9167ee2ae016e1eb6fd19afb7887140fa8",
    ),
    (dt.date(2026, 1, 2), "85e20aed4b04b7d81e88d81f320c7afda4649c706c3e53c766526f6154f5be7e"),
    (SELF, "b9476166302393667d79ec5333570e9dc22bc5d756a304c90b623de4b273f3da"),
    (np.arange(3.0), "c6caaf3d31a7dff0745103763b0480c72ba9b669203d78511ef4b4d8617d59ef"),
    (np.float32(1), "ed7bd2e5c0adbb59e14081bdfce31055188ac67632256d5d6c3b44c52297747b"),
    (FRAME, "ae997425bb14670896c35d9bb154c880d36dab5fe362c3eeda8452f236cbf5ac"),
    (
        pd.Timestamp("2026-01-02", tz="UTC"),
        "8ec47230779d0e7d5ddbffbb666f490e2ae74ec6b22ffa2bb8a35f118ddc78e9",
    ),
    (str, "261757e0f58ccc4fc72dd54d9321c9b24cafcafe4ab0712ab515b9e7b6cdda2f"),
]


@pytest.mark.parametrize(("value", "digits"), GOLDEN, ids=lambda value: type(value).__name__)
def test_golden_fingerprints(value: Any, digits: str) -> None:
    assert fingerprint(value) == digits
