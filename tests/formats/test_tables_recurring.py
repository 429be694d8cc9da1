"""Rows that an earlier table has: equality to the bit decides, and other types are not compared."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from aq.formats.columns.rowhash import mix, words
from aq.formats.comparing.recurring import recurring
from aq.formats.objects import MemoryObjects
from aq.formats.tables import encode_table


def found(old: Any, now: Any) -> list[int] | None:
    objects = MemoryObjects()
    told = recurring(*(encode_table(one, objects).artifact for one in (old, now)), objects)
    return None if told is None else told.rows.tolist()


def folded(low: int, high: int) -> Decimal:
    return Decimal((high << 64) | low)


def colliding() -> list[Decimal]:
    """Two numbers of 128 bits that have one hash."""
    low, high = 7, 5
    other = 1
    while True:
        pair = np.array([low, other], np.uint64)
        mixed = mix(pair)
        partner = int(mixed[0]) ^ high ^ int(mixed[1])
        if partner < 1 << 61:
            return [folded(low, high), folded(other, partner)]
        other += 1


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: {"inner": one}, lambda one: [one]])
def test_a_hash_only_finds(wrap: Any) -> None:
    one, other = colliding()
    kind = pa.array([wrap(one)]).type
    if wrap(1) == 1:
        kind = pa.decimal128(38, 0)
        both = pa.array([one, other], kind)
        assert words(both)[0] == words(both)[1], "the hash tells nothing here"
        old, now = (pa.table({"k": [1, 2], "d": pa.array([first, one], kind)}) for first in (one, other))
    else:
        values = ([wrap(first), wrap(one)] for first in (one, other))
        inner = (
            pa.struct([("inner", pa.decimal128(38, 0))]) if wrap(1) != [1] else pa.list_(pa.decimal128(38, 0))
        )
        old, now = (pa.table({"k": [1, 2], "d": pa.array(some, inner)}) for some in values)
    assert found(old, now) == [-1, 1]
    assert found(old, now.slice(0, 1)) == [-1]


@pytest.mark.parametrize(
    ("old", "now"),
    [
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]})),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1.0]})),
        (pd.DataFrame({"a": [1]}), pa.table({"a": [1]})),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1]}, index=["x"])),
        (pd.DataFrame({"a": pd.Categorical(["x"])}), pd.DataFrame({"a": pd.Categorical(["x"], ["x", "y"])})),
    ],
)
def test_other_types_are_not_compared(old: Any, now: Any) -> None:
    assert found(old, now) is None


@pytest.mark.parametrize("rows", [3, 40_000])
def test_signs_and_missing_values_count(rows: int) -> None:
    old = pd.DataFrame({"k": np.arange(rows), "x": np.zeros(rows), "t": pd.Series(["a"] * rows, dtype="str")})
    now = old.copy()
    now.loc[0, "x"], now.loc[1, "t"], now.loc[2, "x"] = -0.0, None, np.nan
    source = found(old, now)
    assert source is not None
    assert source[:3] == [-1, -1, -1] and source[3:] == list(range(3, rows))
    assert found(now, now) == list(range(rows))


def test_few_changed_rows_are_not_looked_for_elsewhere_and_many_are() -> None:
    """Two rows that changed places are run again; a table turned round is not."""
    old = pd.DataFrame({"k": np.arange(1_000), "x": np.arange(1_000) / 3})
    swapped, turned = old.copy(), old.iloc[::-1].reset_index(drop=True)
    swapped.loc[[3, 4], "x"] = old.loc[[4, 3], "x"].to_numpy()
    source = found(old, swapped)
    assert source is not None and source.count(-1) == 2
    assert found(old, turned) == list(range(999, -1, -1))


@pytest.mark.parametrize(
    ("change", "seconds", "new"),
    [
        (lambda one: one.iloc[::-1], 1, 0),
        (lambda one: one.iloc[::-1], 0.01, 59_999),
        (lambda one: one.drop(index=np.arange(0, 60_000, 100)), 0.01, 0),
        (lambda one: one.drop(index=np.arange(0, 60_000, 100)), 0.001, 59_400),
        (lambda one: one.assign(x=one["x"].where(one["k"] % 100 != 0, -1.0)), 0, 600),
        (lambda one: one, 0, 0),
    ],
)
def test_rows_are_looked_for_while_there_is_time(change: Any, seconds: float, new: int) -> None:
    """As it is estimated: in place always, in step, then anywhere."""
    draw = np.random.default_rng(0)
    old = pd.DataFrame({"k": np.arange(60_000), "x": draw.normal(size=60_000)})
    objects = MemoryObjects()
    both = old, change(old).reset_index(drop=True)
    one, other = (encode_table(value, objects).artifact for value in both)
    told = recurring(one, other, objects, seconds)
    assert told is not None
    assert np.count_nonzero(told.rows < 0) == new
    assert told.gave_up == (new > 600)
