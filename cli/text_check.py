"""Text of checks: how each ended, on what evidence, and how it had ended before.

Invariant: a state is a word or a mark of its own, never a colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from aq.cli.text import Cell, Row, View, columns, duration, number, plural
from aq.pipeline.records.outcomes import CheckEntry, CheckPoint
from aq.pipeline.records.results import Violation

CHECK_STYLES: Final = {
    "passed": "good", "warning": "warn", "failed": "bad", "error": "bad", "accepted": "warn",
}  # fmt: skip
_TOLERATED: Final = {"warning": "warning", "accepted": "accepted"}
"""The branch moves all the same."""
_MARKS: Final = {"passed": ".", "warning": "!", "failed": "x", "error": "x", "accepted": "a"}


def checks(found: Sequence[CheckEntry], view: View) -> Iterator[str]:
    """One line a check."""
    rows: list[Row] = []
    for one in found:
        severity = Cell("warning" if one.severity == "warning" and one.state != "warning" else "", "dim")
        state = Cell(one.state, CHECK_STYLES.get(one.state, ""))
        detail = seen(one.value, one.bound, one.rows)
        accepted = f"accepted: {one.accepted}" if one.accepted else ""
        marks = Cell(history(one.history), "dim")
        rows.append([state, one.check, severity, "; ".join(filter(None, (detail, accepted))), marks])
    yield from columns(view, rows)


def history(points: Sequence[CheckPoint]) -> str:
    """A mark a run, the newest last."""
    return "".join(_MARKS.get(point.state, "?") for point in points)


def seen(value: object, bound: object, rows: int | None) -> str:
    """What a check judged: `0.9757 (bound: 0.1), 3 rows` that failed, or `22 h 0 min (bound: 36 hours)`."""
    judged = number(value) if value is not None else ""
    if isinstance(bound, str) and isinstance(value, int | float):
        judged = duration(value)
    if bound is not None:
        judged = f"{judged} (bound: {number(bound)})".lstrip()
    return ", ".join(filter(None, (judged, plural(rows, "row") if rows else "")))


def violations(found: Sequence[Violation], states: Mapping[str, str], view: View) -> Iterator[str]:
    """What each check saw that did not hold, by how much that mattered."""
    for one in found:
        detail = seen(one.value, one.bound, one.rows)
        word = _TOLERATED.get(states.get(one.check, ""), "violated")
        label = view.paint(f"{word}:", "bad" if word == "violated" else "warn")
        yield f"  {label} {one.check}{': ' if detail else ''}{detail}"
