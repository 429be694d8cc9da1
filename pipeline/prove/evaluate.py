"""The value of a metric at a commit that did not record it: its part of the flow is run there.

Invariant: code and params are that commit's, or those of the nearest run before it on the
first-parent line; data is only what the commit holds. What was computed is kept as steps, so
asking again is free; no ref moves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aq.formats import partitions
from aq.formats.errors import OpFailed
from aq.formats.identity import Digest
from aq.formats.objects import get_record
from aq.formats.records import Commit, Run
from aq.pipeline.flow import redacted
from aq.pipeline.history import facts, log
from aq.pipeline.prove import bisect as search, replay
from aq.pipeline.prove.judge import Rule
from aq.pipeline.prove.replay import Request
from aq.pipeline.prove.search import Skipped
from aq.pipeline.records.outcomes import Bisect

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo

OnEvent = Callable[[dict[str, Any]], None]


def bisect(
    repo: Repo,
    metric: str,
    range: str | None,
    rule: Rule,
    *,
    first_parent: bool,
    recompute: bool,
    on_event: OnEvent,
) -> Bisect:
    """See `Repo.bisect`."""
    known = set(log.metric_names(repo.store))
    if range is not None:
        known.update(log.metric_names(repo.store, range.rpartition("..")[2] or None))
    group = log.resolve_group(sorted(known), metric)
    full = group[0] if "=" in metric else partitions.general(group[0])
    query = search.Query(full, range, rule, first_parent=first_parent, recompute=recompute)

    def compute(commit: Digest, name: str) -> float | None:
        on_event({"event": "probe", "commit": str(commit), "metric": name})
        return value_at(repo, commit, name, fresh=recompute, on_event=on_event)

    return search.bisect(repo.store, query, compute)


def value_at(repo: Repo, id: Digest, metric: str, *, fresh: bool, on_event: OnEvent) -> float | None:
    """Run the metric's part of its flow at a commit. None is NaN. Raises Skipped with the reason."""
    known = facts.of(repo.store, id)
    if metric in known.given:
        return known.given[metric]
    metric = log.in_newest(known, metric)
    flow, rest = partitions.split(metric)
    run_id = known.flows.get(flow)
    if run_id is None:
        raise Skipped(f"the flow {flow} had not been run yet")
    run = get_record(repo.store, Run, run_id)
    step = _step_of(run, metric)
    if step is None:
        raise Skipped(f"the flow {flow} had no metric {rest}")
    commit = get_record(repo.store, Commit, id)
    own = len(commit.parents) < 2 and bytes(run_id) in [bytes(one) for one in commit.runs]

    def request(folder: str) -> Request:
        return Request(
            root=str(repo.root),
            folder=folder,
            code=str(replay.code_for(repo, commit.snapshot, run.code)),
            snapshot=str(Digest(commit.snapshot)),
            commit=str(id),
            file=run.file,
            flow=run.flow,
            params=redacted.to_pass_again(run.params, run.given) if own else known.explicit(run),
            time=repo.context.now(),
            environ=dict(repo.context.environ),
            targets=[step],
            fresh=fresh,
            sources=run.sources if own else [],
        )

    try:
        result = replay.replay(repo, request, on_event)
    except OpFailed as error:
        raise Skipped(error.message) from None
    if metric not in result.metrics:
        raise Skipped(result.error.get("message", f"{metric} was not computed"))
    return result.metrics[metric]


def _step_of(run: Run, metric: str) -> str | None:
    """The step behind a metric: FLOW/NAME of FLOW/NAME or FLOW/NAME.key."""
    names = [one.name for one in run.steps if one.role == "metric"]
    if metric in names:
        return metric
    return next((name for name in names if metric.startswith(name + ".")), None)
