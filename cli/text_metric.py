"""Text of metric series: aligned values, differences, and marks where a step stands out.

Invariant: a missing value is a dash and starts no difference. A step is marked where it is more
than four times the median of the series' other steps and more than 1 % of the value before it;
the arrow tells its direction, not whether it is good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from aq.cli.text import MISSING, Cell, Row, View, aligned, columns, short, signed, when
from aq.pipeline.outcomes import MetricPoint

_TIMES_NOISE: Final = 4.0
_LEAST: Final = 0.01
_SPARKS: Final = "▁▂▃▄▅▆▇█"


def cells(values: Sequence[tuple[bool, float | None]]) -> Iterator[tuple[Cell, Cell, Cell]]:
    """For a series, oldest first: each value, its difference from the one before, and its mark."""
    plain = aligned([value for _, value in values])
    steps = _steps([value for _, value in values])
    for (known, value), text, (delta, stands_out) in zip(values, plain, steps, strict=True):
        shown = text if value is not None else "nan" if known else MISSING
        arrow = ("▼" if delta < 0 else "▲") if stands_out and delta is not None else ""
        change = signed(delta) if delta else ""
        style = "warn" if arrow else "dim"
        value_cell = Cell(shown, "warn" if arrow else "", right=True)
        yield value_cell, Cell(change, style, right=True), Cell(arrow, style)


def _steps(values: Sequence[float | None]) -> list[tuple[float | None, bool]]:
    """The difference from the last known value, and whether it stands out."""
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


def series(found: Mapping[str, Sequence[MetricPoint]], view: View) -> Iterator[str]:
    """One series as a table, several as a line each."""
    if len(found) == 1:
        for name, points in found.items():
            yield view.paint(name, "bold")
            yield from _table(points, view)
        return
    rows: list[Row] = []
    for name, points in found.items():
        shown = list(cells([(True, point.value) for point in points]))
        value, delta, mark = shown[-1] if shown else (Cell(MISSING), Cell(""), Cell(""))
        rows.append([name, value, delta, mark, Cell(spark([point.value for point in points[-40:]]), "dim")])
    yield from columns(view, rows)


def _table(points: Sequence[MetricPoint], view: View) -> Iterator[str]:
    marks = cells([(True, point.value) for point in points])
    yield from columns(
        view,
        [
            [Cell(short(point.commit), "id"), Cell(when(view, point.time), "dim"), *cell]
            for point, cell in zip(points, marks, strict=True)
        ],
        indent=2,
    )


def spark(values: Sequence[float | None]) -> str:
    """A series as one line of block characters; a gap is a space."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, span = min(known), (max(known) - min(known)) or 1.0
    top = len(_SPARKS) - 1
    return "".join(" " if v is None else _SPARKS[round((v - low) / span * top)] for v in values)
