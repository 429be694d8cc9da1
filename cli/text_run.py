"""Text of runs: events and the done line, the plan, lists of runs, a step's log.

Invariant: one line a step; a reason stands beside everything that ran; states are words, colour
only repeats them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import msgspec
from aq.cli.text import Cell, Row, View, columns, cut, duration, number, short, when
from aq.cli.text_check import CHECK_STYLES, violations
from aq.cli.text_record import reasons
from aq.formats.partitions import general
from aq.pipeline.records.outcomes import LogText, Plan, PlannedStep, RunDone, RunEntry
from aq.pipeline.records.results import Reason
from aq.store.system.paths import show as shown

RUN_STYLES: Final = {
    "committed": "good", "unchanged": "dim", "gated": "bad", "failed": "bad", "uncommitted": "warn",
}  # fmt: skip
STEP_STYLES: Final = {
    "run": "good", "reused": "dim", "failed": "bad", "cancelled": "dim", "waiting": "warn",
}  # fmt: skip
SHOWN_FROM: Final = 0.1
"""Seconds saved that are worth a word."""
STEP_WORDS: Final = {"run": "ran"}
ITEMS_SHOWN: Final = 5
"""Items of a map that a plan names one by one."""
_NAME, _STATE, _TIME = 28, 9, 8


def event_line(event: Mapping[str, Any], view: View) -> str | None:
    """The line of an event that ended something, aligned without knowing the other lines."""
    if event.get("event") == "probe":
        return f"computing {event.get('metric', 'the value')} at {short(event.get('commit'))}"
    if event.get("event") not in ("step", "waiting", "map") or _is_quiet(event):
        return None
    status = str(event.get("status") or "waiting")
    word = view.paint(f"{STEP_WORDS.get(status, status):{_STATE}}", STEP_STYLES.get(status, ""))
    took = duration(float(event.get("seconds") or 0.0)) if status in ("run", "failed") else ""
    counts = event.get("counts") or {}
    tail = _counted(counts, event) if counts else str(event.get("error") or "") or _remark(status, event)
    if view.width:
        tail = cut(tail, max(view.width - _NAME - _STATE - _TIME - 6, 16))
    return f"{event.get('step', ''):{_NAME}}  {word}  {took:>{_TIME}}  {tail}".rstrip()


def _is_quiet(event: Mapping[str, Any]) -> bool:
    """Whether it is told with the others of its map."""
    return bool(event.get("map")) and event.get("status") != "failed"


def _counted(counts: Mapping[str, int], event: Mapping[str, Any]) -> str:
    """`1 ran, 9999 reused  data: items: 1 new` of a map."""
    status = str(event.get("status"))
    return f"{step_counts(counts)}  {_remark(status, event)}".rstrip()


def _remark(status: str, event: Mapping[str, Any]) -> str:
    """Why a step ran, what reusing it saved, or for whom it waits."""
    if status == "waiting":
        return "another aq run is at it"
    saved = float(event.get("saved") or 0.0)
    if status == "reused" and saved >= SHOWN_FROM:
        return f"{duration(saved)} saved"
    return reasons_of(event) if status == "run" else ""


def reasons_of(event: Mapping[str, Any]) -> str:
    """The reasons of an event in a line."""
    return reasons([msgspec.convert(one, Reason) for one in event.get("reasons") or ()])


def done(record: RunDone, view: View) -> Iterator[str]:
    """How a run ended: one line, then what did not hold, then the error."""
    state = view.paint(record.status, RUN_STYLES.get(record.status, ""))
    id = view.paint(short(record.commit), "id")
    where = f" as {id}" if record.commit and record.status == "committed" else ""
    counted = step_counts({k: getattr(record.steps, k) for k in ("run", "reused", "failed", "cancelled")})
    parts = [counted, *(f"{_last(name)} {number(value)}" for name, value in record.metrics.items())]
    parts.append(f"{duration(record.seconds)}{_saved(record)}")
    lead = f"{'/'.join(filter(None, (record.flow, record.partition)))}: " if record.flow else ""
    yield f"{lead}{state}{where} · {' · '.join(part for part in parts if part)}"
    yield from violations(record.violations, record.checks, view)
    bad = {name: state for name, state in record.checks.items() if state != "passed"}
    named = {violation.check for violation in record.violations}
    for name, ended in bad.items():
        if name not in named:
            yield f"  {view.paint(ended, CHECK_STYLES.get(ended, ''))}: {name}"
    if record.error:
        yield from _error(record.error, view)
    if record.status in ("gated", "failed", "uncommitted"):
        yield view.paint(f"  run {short(record.run)}: aq show {short(record.run)}", "dim")


def _saved(record: RunDone) -> str:
    return f", {duration(record.reused_seconds)} saved" if record.reused_seconds >= SHOWN_FROM else ""


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _error(error: Mapping[str, Any], view: View) -> Iterator[str]:
    place = f"{error['step']}: " if error.get("step") else ""
    yield f"  {view.paint('failed:', 'bad')} {place}{error.get('message', '')}"
    for line in str(error.get("trace") or "").splitlines():
        yield f"    {line}"


def step_counts(states: Mapping[str, int] | Sequence[str]) -> str:
    """`4 ran, 2 reused`."""
    found = Counter(states)
    words = (("run", "ran"), ("reused", "reused"), ("failed", "failed"), ("cancelled", "cancelled"))
    return ", ".join(f"{found[key]} {word}" for key, word in words if found[key])


def params_text(params: Mapping[str, Any]) -> str:
    """`depth=6 window=3`."""
    return " ".join(f"{name}={param_text(value)}" for name, value in params.items())


def param_text(value: Any) -> str:
    """A param as `-p` takes it."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def plan(record: Plan, view: View) -> Iterator[str]:
    """What a run would do, a line a step."""
    rows: list[Row] = []
    for above, together in groupby(record.steps, key=lambda step: step.map):
        steps = list(together)
        rows += [_planned(step) for step in steps] if above is None else _planned_items(above, steps)
    yield from columns(view, rows)
    if not any(step.action == "run" for step in record.steps):
        yield "Nothing to run, everything is up to date"


def _planned(step: PlannedStep) -> Row:
    action = Cell(step.action, "good" if step.action == "run" else "dim")
    return [step.step, action, reasons(step.reasons)]


def _planned_items(above: str, items: list[PlannedStep]) -> list[Row]:
    """A map in a line, then the first of its items that run."""
    running = [step for step in items if step.action == "run"]
    left = len(items) - len(running)
    words = [f"{len(running)} run" if running else "", f"{left} reused" if left else ""]
    action = Cell("run", "good") if running else Cell("reuse", "dim")
    rows: list[Row] = [[above, action, f"items: {', '.join(word for word in words if word) or 'none'}"]]
    rows += [_planned(step) for step in running[:ITEMS_SHOWN]]
    if len(running) > ITEMS_SHOWN:
        rows.append([f"{above}/…", Cell("run", "good"), f"and {len(running) - ITEMS_SHOWN} more"])
    return rows


def runs(found: Sequence[RunEntry], view: View) -> Iterator[str]:
    """One line a run, metrics as columns."""
    found = list(found)
    names = list(dict.fromkeys(general(name) for run in found for name in run.metrics))
    rows: list[Row] = []
    if found:
        lasts = [_last(name) for name in names]
        heads = ("run", "time", "flow", "status", "commit", *lasts, "took", "params")
        rows.append([Cell(head, "dim") for head in heads])
    for run in found:
        known = {general(name): value for name, value in run.metrics.items()}
        values = [Cell(number(known[n]) if n in known else "–", right=True) for n in names]
        state = Cell(run.status, RUN_STYLES.get(run.status, ""))
        flow = "/".join(filter(None, (run.flow, run.partition)))
        lead = [Cell(short(run.run), "id"), Cell(when(view, run.time), "dim"), Cell(flow), state]
        took = Cell(duration(run.seconds), right=True)
        rows.append([*lead, Cell(short(run.commit), "id"), *values, took, params_text(run.params)])
    yield from columns(view, rows)


def log_text(record: LogText, view: View) -> Iterator[str]:
    """What the step wrote, as it wrote it; for a failed one its inputs too."""
    if record.text:
        yield record.text.rstrip("\n")
    if record.error and record.error not in record.text:
        yield f"{view.paint('failed:', 'bad')} {record.error}"
    if record.inputs:
        yield ""
        yield view.paint("inputs:", "bold")
        rows: list[Row] = [[Cell(short(one.id), "id"), one.kind, shown(one.path)] for one in record.inputs]
        yield from columns(view, rows, indent=2)
