"""Segmentation of recorded values."""

import random

import pytest
from aq.pipeline.history.segments import noise, shifts
from hypothesis import given, strategies as st


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ([0.951, 0.950, 0.950, 0.948, 0.849, 0.844], [4]),
        ([0.937, 0.680, 0.941, 0.930, 0.907], [1, 2]),
        ([414.0, 2026.0, 1790.0, 1631.0, 1737.0], [1]),
        ([0.9, 0.6], [1]),
        ([0.95, 0.95, 0.8], [2]),
        ([0.95, 0.948, 0.951], []),
        ([0.1] * 5, []),
        ([0.5], []),
        ([], []),
    ],
    ids=["late", "heals", "stays", "two", "three", "noise", "constant", "one", "none"],
)
def test_shapes_that_happen(values: list[float], places: list[int]) -> None:
    assert [shift.index for shift in shifts(values)] == places


def test_means_lie_on_either_side() -> None:
    (shift,) = shifts([1.0, 1.0, 1.0, 3.0, 3.0])
    assert (shift.before, shift.after) == (1.0, 3.0)


def test_noise_is_near_the_truth() -> None:
    draw = random.Random(4)
    assert 0.8 < noise([draw.gauss(0, 1) for _ in range(4000)]) < 1.2


def test_noise_alone_rarely_makes_a_shift() -> None:
    draw = random.Random(5)
    found = sum(bool(shifts([draw.gauss(0, 1) for _ in range(30)])) for _ in range(200))
    assert found <= 20


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20), st.floats(-1e6, 1e6))
def test_adding_a_constant_moves_nothing(values: list[float], constant: float) -> None:
    whole = [float(round(value)) for value in values]
    moved = [value + round(constant) for value in whole]
    if max(map(abs, whole)) > 0 and max(map(abs, moved)) > 0:
        assert [s.index for s in shifts(whole)] == [s.index for s in shifts(moved)]
