"""Two figures of how far samples lie apart: what is known of them by hand, and what always holds."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from aq.formats.comparing.compare import compare_tables
from aq.formats.comparing.drift import ks, number_psi, text_psi
from aq.formats.objects import MemoryObjects
from aq.formats.tables import encode_table
from hypothesis import given, strategies as st

samples = st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=60).map(np.array)
texts = st.lists(st.sampled_from([None, "a", "b", "c", ""]), min_size=1, max_size=60)


@given(samples)
def test_equal_numbers_are_nowhere_apart(sample: np.ndarray) -> None:
    assert number_psi(sample, sample) == 0
    assert ks(sample, sample) in (0, None)


@given(samples, samples)
def test_numbers_in_any_order(one: np.ndarray, other: np.ndarray) -> None:
    assert number_psi(one, other) == pytest.approx(number_psi(one[::-1], other[::-1]))
    assert number_psi(one, other) >= 0
    distance = ks(one, other)
    assert distance is None or 0 <= distance <= 1


@given(texts, texts)
def test_texts(one: list[str | None], other: list[str | None]) -> None:
    assert text_psi(one, one) == 0
    assert text_psi(one, other) >= 0


def test_psi_by_hand() -> None:
    assert text_psi(["a"] * 50 + ["b"] * 50, ["a"] * 80 + ["b"] * 20) == pytest.approx(
        0.3 * math.log(0.8 / 0.5) + -0.3 * math.log(0.2 / 0.5)
    )
    before = np.arange(1000.0)
    assert number_psi(before, before[:900]) == pytest.approx(
        9 * (1 / 9 - 0.1) * math.log((1 / 9) / 0.1) + (1e-4 - 0.1) * math.log(1e-4 / 0.1), rel=0.02
    )


def test_values_that_went_missing_count() -> None:
    before = np.arange(100.0)
    after = np.where(before < 50, np.nan, before)
    assert number_psi(before, after) > 1
    assert text_psi(["a"] * 10, [None] * 10) > 1


@pytest.mark.parametrize(("rows", "told"), [(99, False), (100, True)])
def test_a_few_cells_tell_no_shift(rows: int, told: bool) -> None:
    objects = MemoryObjects()
    before = pd.DataFrame({"id": range(500), "x": 1.0})
    after = before.assign(x=before["x"].where(before["id"] >= rows, 2.0))
    old, new = (encode_table(frame, objects, key=["id"]).artifact for frame in (before, after))
    (column,) = compare_tables(old, new, objects)["columns"]
    assert column["changed_rows"] == rows
    assert (column["shift"] is not None) == told


def test_scipy_agrees_on_ks() -> None:
    stats = pytest.importorskip("scipy.stats")
    source = np.random.default_rng(1)
    one, other = source.normal(size=700), source.normal(0.3, size=500)
    assert ks(one, other) == pytest.approx(stats.ks_2samp(one, other).statistic)
