"""Text of metric series: aligned values, differences, and marks where a step stands out.

Invariant: a missing value is a dash and starts no difference. The arrow of a step that stands out
(`pipeline.history.jumps`) tells its direction, not whether it is good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from aq.cli.text import MISSING, Cell, Row, View, aligned, columns, short, signed, when
from aq.pipeline.history.jumps import steps
from aq.pipeline.records.outcomes import MetricPoint

_SPARKS: Final = "▁▂▃▄▅▆▇█"


def cells(values: Sequence[tuple[bool, float | None]]) -> Iterator[tuple[Cell, Cell, Cell]]:
    """For a series, oldest first: each value, its difference from the one before, and its mark."""
    plain = aligned([value for _, value in values])
    changes = steps([value for _, value in values])
    for (known, value), text, (delta, stands_out) in zip(values, plain, changes, strict=True):
        shown = text if value is not None else "nan" if known else MISSING
        arrow = ("▼" if delta < 0 else "▲") if stands_out and delta is not None else ""
        change = signed(delta) if delta else ""
        style = "warn" if arrow else "dim"
        value_cell = Cell(shown, "warn" if arrow else "", right=True)
        yield value_cell, Cell(change, style, right=True), Cell(arrow, style)


def series(found: Mapping[str, Sequence[MetricPoint]], view: View) -> Iterator[str]:
    """One series as a table, several as a line each."""
    if len(found) == 1:
        for name, points in found.items():
            line = spark([point.value for point in points[-40:]]) if len(points) > 2 else ""
            yield f"{view.paint(name, 'bold')}  {view.paint(line, 'dim')}".rstrip()
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
