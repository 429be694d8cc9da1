"""Text of `repro` and `bisect`: the verdict first, then what it rests on.

Invariant: a verdict is a word; what was computed and what was read from the record is told apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aq.cli.text import Cell, Row, View, columns, duration, first_line, number, short, signed
from aq.cli.text_record import heading, some
from aq.pipeline.records.outcomes import Bisect, CommitValue, Probe, Repro
from aq.store.system.paths import show as shown

_VERDICTS: Final = {
    "identical": "good", "equal": "good", "source": "dim", "different": "bad",
    "proved": "good", "confirmed": "good", "inconclusive": "warn",
}  # fmt: skip


def repro(record: Repro, view: View) -> Iterator[str]:
    """Whether it came out the same, path by path, and where it first did not."""
    verdict = view.paint(record.verdict, _VERDICTS[record.verdict])
    took = f" ({duration(record.seconds)})" if record.seconds else ""
    yield f"{verdict}: {view.paint(short(record.commit), 'id')} made again{took}"
    rows: list[Row] = [
        [Cell(one.verdict, _VERDICTS.get(one.verdict, "")), shown(one.path), Cell(one.detail, "dim")]
        for one in record.artifacts
    ]
    yield from some(view, rows, indent=2)
    if record.first_difference:
        first = record.first_difference
        yield f"first difference: {shown(first.path)} by {first.step}: {first.detail}"
    if record.environment:
        yield from heading(view, "Environment, then and now")
        env: list[Row] = [[p.package, p.from_ or "–", "→", p.to or "–"] for p in record.environment]
        yield from some(view, env, indent=2)


def bisect(record: Bisect, view: View) -> Iterator[str]:
    """The culprit, its value and its parent's, then the way there."""
    verdict = view.paint(record.verdict, _VERDICTS.get(record.verdict, ""))
    if record.culprit:
        culprit = record.culprit
        yield f"{view.paint(culprit.commit, 'id')} {first_line(culprit.message)}"
        before, after = culprit.parent_value, culprit.value
        step = f" ({signed(after - before)})" if after is not None and before is not None else ""
        yield f"{record.metric or 'value'} {number(before)} → {number(after)}{step}, {verdict}{_sure(record)}"
    else:
        yield f"{verdict}: {record.reason or 'no commit stands out'}"
    yield _effort(record)
    if record.path:
        yield from heading(view, "Looked at")
        yield from columns(view, [_probe(probe, record) for probe in record.path], indent=2)
    if record.unprobed:
        yield from heading(view, "Could not be looked at")
        yield from columns(view, [[one] for one in record.unprobed], indent=2)
    if len(record.shifts) > 1:
        yield from heading(view, "All shifts of the recorded series")
        for shift in record.shifts:
            yield f"  {short(shift.commit)}  {number(shift.from_)} → {number(shift.to)}"


def _sure(record: Bisect) -> str:
    return f" at {record.confidence:.0%}" if 0 < record.confidence < 1 else ""


def _effort(record: Bisect) -> str:
    found = record.evaluations
    parts = [f"{found.recorded} recorded", f"{found.computed} computed"]
    if found.skipped:
        parts.append(f"{found.skipped} skipped")
    ends = f"{_end('good', record.good)}{_end('bad', record.bad)}"
    return f"values: {', '.join(parts)}{ends}"


def _end(word: str, end: CommitValue | None) -> str:
    return f"; {word} {short(end.commit)} = {number(end.value)}" if end else ""


def _probe(probe: Probe, record: Bisect) -> Row:
    culprit = record.culprit is not None and probe.commit == record.culprit.commit
    mark = Cell("← culprit" if culprit else probe.detail, "bad" if culprit else "dim")
    value = Cell(number(probe.value), right=True)
    return [Cell(short(probe.commit), "id"), value, Cell(probe.source, "dim"), mark]
