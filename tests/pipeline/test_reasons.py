"""Reasons: the difference of two steps in words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from aq.formats.records import Step
from aq.pipeline.step.constants import plain, shown_as
from aq.pipeline.step.keys import step_key
from aq.pipeline.step.reasons import differences
from hypothesis import given, strategies as st

BEFORE = Step(
    key=b"",
    op="flights:clean",
    python="3.11",
    code={"flights:clean": "1", "flights:Model.fit": "1", "flights:Model": "1"},
    values={"flights:LIMIT": "1", "flights:clean.default.x": "1", "flights:clean.closure.y": "1"},
    params={"depth": plain(6, at=""), "text": plain("a b", at="")},
    inputs={"flights": b"1" * 32, "table": b"2" * 32, "parts[0]": b"3" * 32, "parts[1]": b"4" * 32},
    packages={"pandas": "3.1.0", "numpy": "2.4"},
    variables={"REGION": "1"},
    options={"version": "1"},
)
LABELS = {
    "flights": ("data", "data/flights.parquet"),
    "table": ("upstream", "delays/load"),
    "parts[0]": ("upstream", "delays/split/0"),
    "parts[1]": ("upstream", "delays/split/0"),
}


def changed(**parts: Any) -> list[tuple[str, str]]:
    now = msgspec.structs.replace(BEFORE, **parts)
    return [(one["kind"], one["detail"]) for one in differences(BEFORE, now, LABELS)]


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({}, []),
        ({"op": "flights:scrub"}, [("code", "the op is scrub() instead of clean()")]),
        ({"code": {**BEFORE.code, "flights:clean": "2"}}, [("code", "clean() changed")]),
        ({"code": {**BEFORE.code, "flights:Model.fit": "2"}}, [("code", "Model.fit() changed")]),
        ({"code": {**BEFORE.code, "flights:Model": "2"}}, [("code", "Model changed")]),
        ({"code": {**BEFORE.code, "tools:trim": "2"}}, [("code", "trim() is new")]),
        ({"code": {"flights:clean": "1", "flights:Model": "1"}}, [("code", "Model.fit() is gone")]),
        ({"values": {**BEFORE.values, "flights:LIMIT": "2"}}, [("code", "LIMIT changed")]),
        (
            {"values": {**BEFORE.values, "flights:clean.default.x": "2"}},
            [("code", "the default x of clean() changed")],
        ),
        (
            {"values": {**BEFORE.values, "flights:clean.closure.y": "2"}},
            [("code", "y around clean() changed")],
        ),
        (
            {"values": {**BEFORE.values, "(value odule aq)": "2"}},
            [("code", "what a value given to the op reaches is new")],
        ),
        ({"options": {"version": "2"}}, [("code", "version: 1 → 2")]),
        ({"options": {}}, [("code", "version: 1 → none")]),
        ({"params": {**BEFORE.params, "depth": plain(8, at="")}}, [("param", "depth: 6 → 8")]),
        ({"params": {**BEFORE.params, "text": plain("a c", at="")}}, [("param", "text: 'a b' → 'a c'")]),
        ({"params": {"depth": BEFORE.params["depth"]}}, [("param", "text is gone")]),
        ({"seed": 1}, [("param", "the seed changed")]),
        (
            {"inputs": {**BEFORE.inputs, "flights": b"9" * 32}},
            [("data", "data/flights.parquet changed")],
        ),
        ({"inputs": {**BEFORE.inputs, "table": b"9" * 32}}, [("upstream", "delays/load changed")]),
        (
            {"inputs": {**BEFORE.inputs, "parts[0]": b"9" * 32, "parts[1]": b"9" * 32}},
            [("upstream", "delays/split/0 changed")],
        ),
        ({"packages": {"pandas": "3.1.1", "numpy": "2.4"}}, [("env", "pandas 3.1.0 → 3.1.1")]),
        ({"packages": {"numpy": "2.4"}}, [("env", "pandas 3.1.0 → no longer used")]),
        ({"python": "3.12"}, [("env", "python 3.11 → 3.12")]),
        ({"variables": {"REGION": "2"}}, [("env", "the variable REGION changed")]),
        (
            {"packages": {}, "seed": 1, "code": {**BEFORE.code, "flights:clean": "2"}},
            [
                ("code", "clean() changed"),
                ("param", "the seed changed"),
                ("env", "numpy 2.4 → no longer used"),
                ("env", "pandas 3.1.0 → no longer used"),
            ],
        ),
    ],
)
def test_a_change_is_told_in_words(parts: dict[str, Any], told: list[tuple[str, str]]) -> None:
    assert changed(**parts) == told


def test_values_that_look_alike_are_told_without_an_arrow() -> None:
    assert changed(params={**BEFORE.params, "depth": "6 " + "0" * 64}) == [("param", "depth changed")]


texts = st.dictionaries(st.sampled_from(["m:f", "m:G", "x"]), st.sampled_from(["1", "2"]), max_size=3)


@given(texts, texts, texts, texts, st.integers(0, 1))
def test_another_key_has_a_reason_and_an_equal_one_has_none(
    code: dict[str, str], values: dict[str, str], packages: dict[str, str], options: dict[str, str], seed: int
) -> None:
    parts = {"code": code, "values": values, "packages": packages, "options": options, "seed": seed}
    now = msgspec.structs.replace(BEFORE, **parts)
    assert bool(differences(BEFORE, now, LABELS)) == (step_key(now) != step_key(BEFORE))


class Thing:
    pass


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (6, "6"),
        (1.5, "1.5"),
        (True, "True"),
        (None, "None"),
        ("a", "'a'"),
        ("x" * 100, "'" + "x" * 58 + "…"),
        ([1, "a"], "[1, 'a']"),
        ({"a": 1}, "{'a': 1}"),
        ({2, 1}, "{1, 2}"),
        (list(range(100)), "list of 100"),
        ([[1]], "list of 1"),
        (sorted, "sorted()"),
        (Thing(), "Thing"),
    ],
)
def test_a_value_is_shown_in_few_words(value: Any, shown: str) -> None:
    assert shown_as(value) == shown


def test_tables_and_arrays_are_shown_by_shape() -> None:
    import numpy as np
    import pandas as pd

    assert shown_as(pd.DataFrame({"a": [1, 2, 3], "b": 1})) == "DataFrame 3×2"
    assert shown_as(np.zeros((2, 3))) == "ndarray 2×3"
