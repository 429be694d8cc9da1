"""Where a series of values makes a step that stands out, in either direction: too bad, or too good.

Invariant: a missing value starts no step. A step stands out where it is more than four times the
median of the series' other steps and more than 1 % of the value before it; whether it is good
is another question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from aq.pipeline.records.outcomes import MetricPoint

_TIMES_NOISE: Final = 4.0
_LEAST: Final = 0.01


def steps(values: Sequence[float | None]) -> list[tuple[float | None, bool]]:
    """The difference of each from the last known value, and whether it stands out."""
    deltas: list[float | None] = []
    before: list[float] = []
    last: float | None = None
    for value in values:
        deltas.append(None if value is None or last is None else value - last)
        before.append(abs(last or 0.0))
        last = last if value is None else value
    sizes = [None if delta is None else abs(delta) for delta in deltas]
    return [
        (delta, delta is not None and abs(delta) > max(_TIMES_NOISE * _noise(sizes, i), _LEAST * before[i]))
        for i, delta in enumerate(deltas)
    ]


def _noise(sizes: Sequence[float | None], without: int) -> float:
    """The median of all sizes but one."""
    others = sorted(size for i, size in enumerate(sizes) if size is not None and i != without)
    return others[len(others) // 2] if others else 0.0


def marked(points: Sequence[MetricPoint]) -> list[MetricPoint]:
    """The points of one series with their changes and jumps."""
    told = zip(points, steps([point.value for point in points]), strict=True)
    return [
        msgspec.structs.replace(point, change=delta, jump=_direction(delta) if stands_out else None)
        for point, (delta, stands_out) in told
    ]


def _direction(delta: float | None) -> str:
    return "down" if delta is not None and delta < 0 else "up"
