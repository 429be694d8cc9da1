"""Rows found again in another version of a table, and tables put together of old rows and new ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from aq.formats.comparing.recurring import recurring
from aq.formats.comparing.stitched import stitched
from aq.formats.objects import MemoryObjects
from aq.formats.tables import encode_table
from aq.formats.tables.table import as_columns
from hypothesis import given, settings, strategies as st

Numbers = npt.NDArray[np.int64]
ROWS = 90_000


def mixed(k: Numbers) -> pd.DataFrame:
    """A frame whose rows follow from these numbers."""
    frame = pd.DataFrame(
        {"k": k, "x": np.where(k % 7 == 0, np.nan, k / 3), "zero": np.where(k % 2, 0.0, -0.0)}
    )
    frame["text"] = ("row " + pd.Series(k % 5_000).astype(str)).astype("str").where(k % 11 != 0)
    frame["class"] = pd.Categorical.from_codes(k % 3, ["a", "b", "unused", "c"])
    frame["masked"] = pd.array(np.where(k % 5, k, 0), dtype="Int32")
    frame.loc[k % 13 == 0, "masked"] = pd.NA
    frame["zoned"] = pd.to_datetime(k, unit="s", utc=True).tz_convert("Europe/Berlin")
    frame["span"] = pd.arrays.IntervalArray.from_arrays(k / 1.0, k + 1.0)
    frame["period"] = pd.PeriodIndex.from_ordinals(k % 900, freq="M")
    return frame


def indexed(k: Numbers) -> pd.DataFrame:
    return pd.DataFrame({"x": k / 3}, index=pd.Index(k.astype(str), name="label"))


def nested(k: Numbers) -> pa.Table:
    """What only Arrow holds; long texts, so that weight decides some cuts."""
    few = k[:, None] % np.array([3, 5])
    return pa.table(
        {
            "k": k,
            "list": pa.FixedSizeListArray.from_arrays(pa.array(few.reshape(-1)), 2).cast(
                pa.list_(pa.int64())
            ),
            "pair": pa.StructArray.from_arrays([pa.array(k % 9), pa.array(k / 2)], ["a", "b"]),
            "map": pa.MapArray.from_arrays(
                np.arange(len(k) + 1, dtype=np.int32), (k % 4).astype(str).tolist(), pa.array(k)
            ),
            "price": pa.array(k).cast(pa.decimal128(30, 2)),
            "word": pa.array((k % 50).astype(str)).dictionary_encode(),
            "long": pa.array(np.char.multiply((k % 10).astype(str), 40 + (k % 300))),
        }
    )


def polar(k: Numbers) -> pl.DataFrame:
    return pl.DataFrame({"k": k, "kind": (k % 4).astype(str)}, schema_overrides={"kind": pl.Categorical})


def unsteady(k: Numbers) -> pd.DataFrame:
    """No column tells rows apart: all but the measure decide the cuts."""
    return pd.DataFrame({"a": k % 70, "b": k % 71, "x": k / 3})


FORMS: dict[str, Callable[[Numbers], Any]] = {
    "mixed": mixed, "indexed": indexed, "nested": nested, "polars": polar, "unsteady": unsteady,
}  # fmt: skip


@lru_cache
def before(form: str, key: str) -> tuple[Any, MemoryObjects]:
    objects = MemoryObjects()
    return encode_table(FORMS[form](np.arange(ROWS)), objects, key=key.split()).artifact, objects


places = st.integers(0, ROWS)
sizes = st.sampled_from([1, 3, 900, 9_000, 40_000])
edits = st.lists(
    st.one_of(
        st.tuples(st.just("delete"), places, sizes),
        st.tuples(st.just("insert"), places, sizes),
        st.tuples(st.just("repeat"), places, sizes),
        st.tuples(st.just("change"), places, sizes),
        st.tuples(st.just("scatter"), places, st.sampled_from([1, 40, 900])),
        st.tuples(st.just("thin"), places, st.sampled_from([1, 40, 900])),
        st.tuples(st.just("turn"), places, sizes),
    ),
    max_size=3,
)


def edited(k: Numbers, steps: list[tuple[str, int, int]]) -> Numbers:
    """The numbers after some edits; those from a million on are new."""
    for number, (how, at, size) in enumerate(steps):
        fresh = 1_000_000 * (number + 1) + np.arange(size)
        draw = np.random.default_rng(at).permutation(len(k))[:size]
        part = k[at : at + size]
        if how == "scatter":
            k = k.copy()
            k[draw] = fresh[: len(draw)]
        elif how == "thin":
            k = np.delete(k, draw)
        else:
            between = {"insert": [fresh, part], "repeat": [part, part], "turn": [part[::-1]], "delete": []}
            k = np.concatenate([k[:at], *between.get(how, [fresh[: len(part)]]), k[at + size :]])
    return k


def check(form: str, key: str, k: Numbers) -> None:
    """Old rows are found, and taken over; the table is that of all rows at once, and so is its summary."""
    old, objects = before(form, key)
    make = FORMS[form]
    now = encode_table(make(k), objects, key=key.split())
    found = recurring(old, now.artifact, objects)
    assert found is not None and len(found.rows) == len(k)
    source = found.rows
    known = source >= 0
    if form == "unsteady":
        assert make(k[known]).equals(make(source[known])), "what is taken over is equal"
    else:
        assert np.array_equal(source[known], k[known]), "what is taken over is equal"
    lost = k[~known & (k < 1_000_000)]
    assert len(lost) < 0.05 * len(k) or np.unique(k, return_counts=True)[1].max() > 1, "old rows are found"
    order = source.copy()
    order[~known] = ROWS + np.arange((~known).sum())
    made = as_columns(make(k[~known]), objects, key.split()) if (~known).any() else None
    again = stitched(old, order, made, objects, objects)
    assert again is not None and again.artifact == now.artifact
    assert again.summary == now.summary


@settings(max_examples=4)
@given(edits)
@pytest.mark.parametrize(("form", "key"), [("mixed", ""), ("mixed", "k"), ("indexed", ""), ("nested", "")])
def test_any_edit(form: str, key: str, steps: list[tuple[str, int, int]]) -> None:
    check(form, key, edited(np.arange(ROWS), steps))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(FORMS)), st.booleans(), edits)
def test_any_edit_of_any_form(form: str, keyed: bool, steps: list[tuple[str, int, int]]) -> None:
    key = {"mixed": "k", "nested": "k", "polars": "k", "indexed": "label", "unsteady": "a b"}[form]
    check(form, key if keyed else "", edited(np.arange(ROWS), steps))
