"""What is said of a run at its end: counts, the commit's message, the last record of its stream.

Invariant: told from the run's record alone; nothing of the user's is imported for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from aq.formats.identity import Digest
from aq.formats.records import Run
from aq.pipeline.flow.partitions import of_run
from aq.pipeline.flow.typed import shown
from aq.pipeline.records.outcomes import RunDone, StepCounts
from aq.pipeline.records.results import Violation

_TOLD_MOST: Final = 3


def counts(run: Run) -> StepCounts:
    """How many steps ran, were reused, failed; parsing is no step."""
    found: Counter[str] = Counter()
    for one in run.steps:
        for status, count in one.statuses.items():
            found[status] += count
    return StepCounts(
        total=found.total(),
        run=found["run"],
        reused=found["reused"],
        failed=found["failed"],
        cancelled=found["cancelled"],
    )


def message(run: Run) -> str:
    """`run delays: 4 ran, 2 reused, auc 0.93`."""
    count = counts(run)
    parts = [f"{count.run} ran", f"{count.reused} reused"]
    for name, value in list(run.metrics.items())[:3]:
        shown = "NaN" if value is None else f"{value:.4g}"
        parts.append(f"{name.rpartition('/')[2]} {shown}")
    return f"run {of_run(run)}: {', '.join(parts)}"


def messages(runs: Sequence[Run]) -> str:
    """Those of several runs; of many partitions of one flow only how many there are."""
    flows: dict[str, list[Run]] = {}
    for run in runs:
        flows.setdefault(run.flow, []).append(run)
    return "; ".join(text for found in flows.values() for text in _messages(found))


def _messages(runs: Sequence[Run]) -> list[str]:
    if len(runs) <= _TOLD_MOST:
        return [message(run) for run in runs]
    ran, reused = (sum(getattr(counts(run), name) for run in runs) for name in ("run", "reused"))
    return [f"run {runs[0].flow}: {len(runs)} partitions, {ran} ran, {reused} reused"]


def done(id: Digest | None, run: Run, commit: str | None, notes: list[str]) -> RunDone:
    """The last record of a run's stream. `id` is None where the run is not recorded."""
    error: dict[str, Any] | None = dict(run.error) if run.error else None
    return RunDone(
        run=None if id is None else str(id),
        commit=commit,
        status=run.status,
        steps=counts(run),
        metrics=run.metrics,
        checks=run.checks,
        violations=[msgspec.convert(one, Violation) for one in run.violations],
        reused_seconds=sum(one.saved for one in run.steps),
        error=error,
        flow=run.flow,
        partition=run.partition,
        seconds=run.seconds,
        message=message(run),
        params=shown(run, run.given),
        notes=notes,
    )


def others_unchanged(flow: str, others: int) -> list[str]:
    """The note of partitions that had nothing to do, and that nothing else is said of."""
    if not others:
        return []
    return [f"{others} other partition{'s' * (others != 1)} of {flow} had nothing to do"]


def kept_params(flow: str, kept: Mapping[str, str]) -> list[str]:
    """The note of params that were taken over from the last run."""
    told = " ".join(f"{name}={text}" for name, text in kept.items())
    return [f"{flow} with {told}, as in its last run; -p NAME= clears one"] if told else []
