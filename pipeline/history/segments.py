"""Segmentation of a series of recorded values: where its level changed.

Invariant: pure arithmetic on numbers in order; no threshold by hand. The noise is estimated from
the series itself, so a deterministic metric shows every lasting change and a noisy one only those
beyond its noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

QUARTILE_OF_DIFFERENCES = 0.4506
"""The lower quartile of |x − y| for two draws of a normal distribution with standard deviation 1."""


@dataclass(frozen=True, slots=True)
class LevelShift:
    """`index`: the first value after the change; `before`, `after`: the means on either side."""

    index: int
    before: float
    after: float


def noise(values: Sequence[float]) -> float:
    """The standard deviation of the series around its level, estimated from successive differences.

    The lower quartile of |differences| is used instead of the median, so that a few real changes
    among few values do not pass for noise. Two values tell nothing of noise: 0.
    """
    steps = sorted(abs(b - a) for a, b in pairwise(values))
    if len(steps) < 2:
        return 0.0
    return steps[(len(steps) - 1) // 4] / QUARTILE_OF_DIFFERENCES


def shifts(values: Sequence[float]) -> list[LevelShift]:
    """The changes of level, in order.

    Optimal partitioning (Jackson et al., 2005) for the least squared error with a penalty of
    3 σ² log n for each change: the Bayesian information criterion with a margin.
    """
    n = len(values)
    if n < 2:
        return []
    scale = max(abs(value) for value in values) or 1.0
    sigma = max(noise(values), scale * 1e-9)
    starts = _partition(values, 3.0 * sigma * sigma * math.log(max(n, 3)))
    bounds = [*starts, n]
    means = [_mean(values[a:b]) for a, b in pairwise(bounds)]
    return [
        LevelShift(start, means[place], means[place + 1])
        for place, start in enumerate(starts[1:])
        if abs(means[place + 1] - means[place]) > 2 * sigma
    ]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _partition(values: Sequence[float], penalty: float) -> list[int]:
    """The starts of the segments of the cheapest partition; O(n²)."""
    origin = values[0]
    sums, squares = [0.0], [0.0]
    for value in values:
        moved = value - origin
        sums.append(sums[-1] + moved)
        squares.append(squares[-1] + moved * moved)

    def error(a: int, b: int) -> float:
        total = sums[b] - sums[a]
        return squares[b] - squares[a] - total * total / (b - a)

    best, last = [0.0], [0]
    for end in range(1, len(values) + 1):
        cost, start = min((best[a] + max(error(a, end), 0.0) + penalty, a) for a in range(end))
        best.append(cost)
        last.append(start)
    starts: list[int] = []
    end = len(values)
    while end > 0:
        starts.append(last[end])
        end = last[end]
    return starts[::-1]
