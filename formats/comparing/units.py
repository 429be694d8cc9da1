"""What may have happened to a column: a unit, an offset, a text form that changed.

Invariant: a guess is made only where nearly all values agree with it; it says `?` because it is one.
Pairs of changed cells are fitted; rows of one side only are compared as distributions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

AGREEING: Final = 0.99
PAIRS_LEAST: Final = 3
SAMPLE_LEAST: Final = 50
DISTINCT_LEAST: Final = 8
FAR: Final = 0.25
NEAR: Final = 0.25
STRETCHES: Final = 8
JUMP: Final = 5.0
"""Below this factor natural drift looks like a change of units, unless the values' grid proves it."""


@dataclass(frozen=True)
class Guess:
    """`text` for a reader; new = old × `factor` + `offset`, where it is of that kind."""

    text: str
    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Unit:
    """A factor between two units; `hints` are parts of column names that make it the likely one."""

    factor: float
    small: str
    large: str
    hints: tuple[str, ...] = ()

    def is_hinted(self, column: str) -> bool:
        return any(hint in column.lower() for hint in self.hints)


_UNITS: Final = (
    Unit(60.0, "minutes", "hours"),
    Unit(60.0, "seconds", "minutes", ("sec",)),
    Unit(3600.0, "seconds", "hours"),
    Unit(24.0, "hours", "days"),
    Unit(1440.0, "minutes", "days"),
    Unit(86400.0, "seconds", "days"),
    Unit(7.0, "days", "weeks", ("day", "week")),
    Unit(1000.0, "units", "thousands"),
    Unit(1000.0, "milliseconds", "seconds", ("time", "dur", "sec", "ms", "delay", "latency")),
    Unit(1000.0, "metres", "kilometres", ("dist", "km", "len")),
    Unit(1000.0, "grams", "kilograms", ("weight", "kg", "mass")),
    Unit(1000.0, "watts", "kilowatts", ("power", "kw", "watt", "energy")),
    Unit(1e6, "units", "millions"),
    Unit(100.0, "percent", "fractions"),
    Unit(100.0, "cents", "whole units", ("price", "cost", "amount", "fare", "revenue", "cent")),
    Unit(1.609344, "kilometres", "miles", ("dist", "km", "mile", "speed", "visib")),
    Unit(3.28084, "feet", "metres", ("alt", "height", "elev", "feet", "dist", "len")),
    Unit(2.54, "centimetres", "inches", ("height", "len", "width", "inch", "precip", "rain")),
    Unit(25.4, "millimetres", "inches", ("precip", "rain", "inch", "snow")),
    Unit(2.2046226, "pounds", "kilograms", ("weight", "mass", "kg", "lb")),
    Unit(3.6, "km/h", "m/s", ("speed", "wind", "veloc")),
    Unit(1.15077945, "mph", "knots", ("speed", "wind", "gust", "veloc")),
    Unit(2.23693629, "mph", "m/s", ("speed", "wind", "gust", "veloc")),
    Unit(33.8638866, "hectopascal", "inches of mercury", ("press",)),
    Unit(57.29577951, "degrees", "radians", ("angle", "dir", "lat", "lon", "deg", "rad")),
)
_WARMTH: Final = ("temp", "dew", "celsius", "kelvin", "fahrenheit")
_TEMPERATURES: Final = (
    (1.0, -273.15, "kelvin → Celsius"),
    (1.0, 273.15, "Celsius → kelvin"),
    (1.8, 32.0, "Celsius → Fahrenheit"),
    (5 / 9, -160 / 9, "Fahrenheit → Celsius"),
    (1.8, -459.67, "kelvin → Fahrenheit"),
    (5 / 9, 459.67 * 5 / 9, "Fahrenheit → kelvin"),
)


def unit_name(factor: float, column: str) -> str:
    """`minutes → hours` for 1/60, or empty for a factor that is no known one."""
    best = ""
    for unit in _UNITS:
        hinted = unit.is_hinted(column)
        for wanted, text in (
            (unit.factor, f"{unit.large} → {unit.small}"),
            (1 / unit.factor, f"{unit.small} → {unit.large}"),
        ):
            if abs(factor / wanted - 1) < 0.005 and (hinted or (not best and not unit.hints)):
                best = text
    return best


def _scaled(factor: float, column: str) -> Guess:
    name = unit_name(factor, column)
    digits = 3 if abs(factor - 1) > 0.01 else 6
    number = f"{factor:.{digits}g}" if factor < 1000 else f"{factor:,.0f}"
    return Guess(f"× {number}" + (f": {name}?" if name else "?"), factor)


def _shifted(factor: float, offset: float) -> Guess:
    for known, shift, name in _TEMPERATURES:
        if abs(factor - known) < 0.01 and abs(offset - shift) < 0.5:
            scale = f"× {known:.3g} " if known != 1 else ""
            return Guess(f"{scale}{'+' if shift > 0 else '−'}{abs(shift):.5g}: {name}?", known, shift)
    if factor == 1.0:
        return Guess(f"{offset:+.4g}?", 1.0, offset)
    return Guess(f"× {factor:.4g} {offset:+.4g}?", factor, offset)


def guess_pairs(before: Floats, after: Floats, column: str) -> Guess | None:
    """What turns `before` into `after`, pair by pair: a factor, an offset, both; or None."""
    known = np.isfinite(before) & np.isfinite(after)
    before, after = before[known], after[known]
    if len(np.unique(before)) < PAIRS_LEAST:
        return None
    if (rounded := _guess_rounded(before, after)) is not None:
        return rounded
    slack = np.abs(after) * 1e-6 + _grid(after) * 0.501 + 1e-12
    if before.any():
        factor = _snap(float((before * after).sum() / (before * before).sum()))
        if factor and _agree(after, before * factor, slack):
            return _guess_factor(factor, column)
    offset = float(np.median(after - before))
    if _agree(after, before + offset, slack):
        return _shifted(1.0, offset)
    centred = before - before.mean()
    slope = float((centred * (after - after.mean())).sum() / (centred * centred).sum())
    intercept = float(after.mean() - slope * before.mean())
    if abs(slope) > 1e-9 and _agree(after, before * slope + intercept, slack):
        return _shifted(slope, intercept)
    return None


def _guess_factor(factor: float, column: str) -> Guess | None:
    """None for values that hardly moved."""
    if factor == -1:
        return Guess("the sign turned?", -1.0)
    return _scaled(factor, column) if abs(factor - 1) > 1e-6 else None


def _guess_rounded(before: Floats, after: Floats) -> Guess | None:
    """Numbers that lost digits: those behind a decimal place, or those that a float of 32 bits lacks."""
    with np.errstate(over="ignore"):
        if _agree(after, before.astype(np.float32).astype(np.float64), np.zeros(len(after))):
            return Guess("rounded to 32 bits?")
    step = _grid(after)
    if not step or step == _grid(before) or len(np.unique(after)) < PAIRS_LEAST:
        return None
    places = round(-np.log10(step))
    left = f"{places} decimal place{'s' if places > 1 else ''}" if places else "whole numbers"
    if _agree(after, before, np.full(len(after), step * 0.500001)):  # halves may go either way
        return Guess(f"rounded to {left}?")
    is_cut = _agree(after, np.trunc(before / step) * step, np.full(len(after), step * 1e-3))
    return Guess(f"cut to {left}?") if is_cut else None


def _agree(found: Floats, expected: Floats, slack: Floats) -> bool:
    return bool(np.mean(np.abs(found - expected) <= slack) >= AGREEING)


def _snap(factor: float) -> float:
    """The exact factor of a unit, or the sign, where this is one of them but for rounding."""
    if abs(factor + 1) < 1e-6:
        return -1.0
    for unit in _UNITS:
        for wanted in (unit.factor, 1 / unit.factor):
            if abs(factor / wanted - 1) < 1e-3:
                return wanted
    return factor


def _grid(values: Floats) -> float:
    """The step of the decimal grid that all values lie on, 1 to 1e-6; else 0."""
    for digits in range(7):
        scaled = values * 10.0**digits
        if (np.abs(scaled - np.rint(scaled)) <= 1e-6 * np.maximum(1, np.abs(scaled))).all():
            return 10.0**-digits
    return 0.0


def _factors(column: str) -> list[float]:
    """The factors that a column of this name may have jumped by."""
    units = [unit for unit in _UNITS if not unit.hints or unit.is_hinted(column)]
    return sorted({factor for unit in units for factor in (unit.factor, 1 / unit.factor)})


def guess_added(before: Floats, after: Floats, column: str) -> Guess | None:
    """The unit in which new rows would look like all rows until then, or like most stretches of them.

    `before` is in row order: where some earlier rows already came in the new unit, most have not.
    """
    found = guess_shift(before, after, column)
    if found is not None or len(before) < STRETCHES * DISTINCT_LEAST * SAMPLE_LEAST:
        return found
    few = after[:: max(1, len(after) // (len(before) // STRETCHES))]
    guesses = Counter(guess_shift(stretch, few, column) for stretch in np.array_split(before, STRETCHES))
    best, votes = guesses.most_common(1)[0]
    return best if 2 * votes > STRETCHES else None


def guess_shift(before: Floats, after: Floats, column: str) -> Guess | None:
    """The unit in which `after` (new rows) would look like `before` (the rows until then), or None.

    Distances are Kolmogorov–Smirnov statistics; a factor must bring two far distributions together.
    """
    before, after = (np.sort(values[np.isfinite(values)]) for values in (before, after))
    for values in (before, after):
        if len(values) < SAMPLE_LEAST or len(np.unique(values)) < DISTINCT_LEAST:
            return None
    raw = ks_distance(before, after)
    if raw < FAR:
        return None
    reach = [float(np.quantile(np.abs(values), 0.9)) for values in (before, after)]
    found = []
    for factor in _factors(column):
        if reach[0] > 0 and 1 / 3 < reach[1] / factor / reach[0] < 3:
            distance = ks_distance(before, after / factor)
            is_jump = max(factor, 1 / factor) >= JUMP or _left_grid(before, after, after / factor)
            if distance <= min(NEAR, 0.45 * raw) and is_jump:
                found.append((distance, factor))
    if found:
        return _scaled(min(found)[1], column)
    return _guess_temperature(before, after, raw, column)


def _left_grid(before: Floats, after: Floats, undone: Floats) -> bool:
    """Whether the values left the decimal grid of the rows before, and undoing the factor puts them back."""
    step = _grid(before)
    if not step:
        return False
    on_grid = [np.mean(np.abs(v / step - np.rint(v / step)) < 1e-3) for v in (after, undone)]
    return bool(on_grid[0] < 0.5 and on_grid[1] > AGREEING)


def _guess_temperature(before: Floats, after: Floats, raw: float, column: str) -> Guess | None:
    """A change of temperature scale: new rows lie outside the old range, and inside once undone."""
    if raw < 0.7 or not any(hint in column.lower() for hint in _WARMTH):
        return None
    low, high = np.quantile(before, [0.001, 0.999])
    margin = 0.1 * (high - low)
    found = []
    for factor, offset, _ in _TEMPERATURES:
        undone = (after - offset) / factor
        inside = np.mean((undone >= low - margin) & (undone <= high + margin))
        distance = ks_distance(before, undone)
        if inside >= 0.95 and distance < 0.8 * raw:
            found.append((distance, factor, offset))
    if not found:
        return None
    _, factor, offset = min(found)
    return _shifted(factor, offset)


def ks_distance(left: Floats, right: Floats) -> float:
    """The Kolmogorov–Smirnov statistic of two sorted samples: the greatest gap of their distributions."""
    points = np.concatenate((left, right))
    order = np.argsort(points)
    ordered = points[order]
    mine = np.cumsum(order < len(left))
    theirs = np.arange(1, len(points) + 1) - mine
    is_last = np.append(ordered[1:] != ordered[:-1], True)
    return float(np.abs(mine / len(left) - theirs / len(right))[is_last].max())


Test = Callable[[str], bool]
_COMMA: Final = re.compile(r"[-+]?\d+,\d+$")
_THOUSANDS: Final = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?$")
"""Decimal places of three digits look alike."""
_FORMS: Final[tuple[tuple[str, Test], ...]] = (
    (
        "text ends in “.0”: numbers read as floats?",
        lambda text: text.endswith(".0") and text[:-2].lstrip("-").isdigit(),
    ),
    (
        "text in upper case?",
        lambda text: text[:1].isalpha() and text != text.lower() and text == text.upper(),
    ),
    (
        "text in lower case?",
        lambda text: text[:1].isalpha() and text != text.upper() and text == text.lower(),
    ),
    ("spaces around the text?", lambda text: text != text.strip()),
    ("numbers with decimal commas?", lambda text: bool(_COMMA.match(text) and not _THOUSANDS.match(text))),
    ("numbers with commas?", lambda text: bool(_THOUSANDS.match(text))),
    ("leading zeros?", lambda text: text.startswith("0") and text.isdigit() and len(text) > 1),
)


def guess_form(before: Sequence[Any], after: Sequence[Any]) -> Guess | None:
    """Forms that nearly all texts have now and hardly any had before, or the other way round."""
    old, new = (Counter(text for text in texts if text) for texts in (before, after))
    if len(old) < PAIRS_LEAST or len(new) < PAIRS_LEAST:
        return None
    found, gone = list[str](), list[str]()
    for name, test in _FORMS:
        had, has = (
            sum(many for text, many in texts.items() if test(text)) / texts.total() for texts in (old, new)
        )
        if has >= 0.9 and had <= 0.05:
            found.append(name)
        if had >= 0.9 and has <= 0.05:
            gone.append(f"no longer: {name}")
    return Guess(" ".join(found or gone)) if found or gone else None
