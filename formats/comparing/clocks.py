"""What may have happened to a column of moments: another time zone, or a clock set forward or back.

Invariant: a guess is made only where nearly all pairs of changed cells lie equally far apart, or, with summer
time on one side, at two distances an hour apart.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from aq.formats.columns.physical import fixed_values, validity
from aq.formats.columns.sets import distinct
from aq.formats.comparing.units import AGREEING, PAIRS_LEAST, Guess
from pyarrow import types as is_

Moments = npt.NDArray[np.int64]

_SECOND: Final = 1_000_000
_QUARTER: Final = 15 * 60 * _SECOND
_HOUR: Final = 4 * _QUARTER
_FARTHEST: Final = 26 * _HOUR
"""The clocks of Kiribati and of Baker Island differ by as much."""
_SPANS: Final = (
    (24 * _HOUR, "d"),
    (_HOUR, "h"),
    (60 * _SECOND, "min"),
    (_SECOND, "s"),
    (1_000, "ms"),
    (1, "µs"),
)


def is_moment(kind: pa.DataType) -> bool:
    """Whether values are points in time."""
    return bool(is_.is_timestamp(kind) or is_.is_date(kind))


def guess_clock(before: pa.Array, after: pa.Array) -> Guess | None:
    """What turns `before` into `after`, pair by pair, as `+5 h: another time zone?`; or None.

    The guess's `offset` is in seconds.
    """
    known = _both_known(before, after)
    try:
        apart = (_microseconds(after) - _microseconds(before))[known]
    except pa.ArrowInvalid:  # beyond the 300,000 years of microseconds
        return None
    if len(distinct(_microseconds(before)[known])) < PAIRS_LEAST:
        return None
    steps, counts = np.unique(apart, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:2]
    if counts[order[0]] >= AGREEING * len(apart):
        return _guess([int(steps[order[0]])])
    found = sorted(int(step) for step in steps[order])
    if (
        counts[order].sum() >= AGREEING * len(apart)
        and found[1] - found[0] == _HOUR
        and all(map(_is_zone, found))
    ):
        return _guess(found)
    return None


def _microseconds(values: pa.Array) -> Moments:
    found = values.cast(pa.timestamp("us"), safe=False).cast(pa.int64()).fill_null(0)
    return fixed_values(found, None).view("<i8")


def _both_known(before: pa.Array, after: pa.Array) -> npt.NDArray[np.bool_]:
    known = np.ones(len(before), np.bool_)
    for valid in (validity(before), validity(after)):
        if valid is not None:
            known &= valid
    return known


def _is_zone(step: int) -> bool:
    return step % _QUARTER == 0 and abs(step) <= _FARTHEST


def _guess(steps: list[int]) -> Guess:
    text = " or ".join(_text(step) for step in steps)
    return Guess(
        f"{text}: another time zone?" if all(map(_is_zone, steps)) else f"{text}?", 1.0, steps[0] / _SECOND
    )


def _text(step: int) -> str:
    """`+5 h`, `−30 min`: in the largest unit in which it is a whole number, in days from two on."""
    size, unit = next(
        (size, unit) for size, unit in _SPANS if step % size == 0 and (unit != "d" or abs(step) > size)
    )
    return f"{'+' if step > 0 else '−'}{abs(step) // size:,} {unit}"
