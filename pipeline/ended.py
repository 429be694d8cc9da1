"""What is said of a run at its end: counts, the commit's message, the last record of its stream.

Invariant: told from the run's record alone; nothing of the user's is imported for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
from aq.formats.identity import Digest
from aq.formats.records import Run
from aq.pipeline.execution import statuses
from aq.pipeline.outcomes import RunDone, StepCounts
from aq.pipeline.partitions import of_run
from aq.pipeline.results import Violation
from aq.pipeline.typed import shown


def counts(run: Run) -> StepCounts:
    """How many steps ran, were reused, failed; parsing is no step."""
    found: Counter[str] = Counter()
    for one in run.steps:
        found.update(statuses(one))
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


def done(id: Digest, run: Run, commit: str | None, notes: list[str]) -> RunDone:
    """The last record of a run's stream."""
    error: dict[str, Any] | None = dict(run.error) if run.error else None
    return RunDone(
        run=str(id),
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


def kept_params(flow: str, kept: Mapping[str, str]) -> list[str]:
    """The note of params that were taken over from the last run."""
    told = " ".join(f"{name}={text}" for name, text in kept.items())
    return [f"{flow} with {told}, as in its last run; -p NAME= clears one"] if told else []
