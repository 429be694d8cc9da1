"""Runs, looked at: the list of them, the steps and logs of one.

Invariant: every run is listed, also failed, gated and uncommitted ones; reads records only.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from aq.formats.errors import NotFound, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import get_record
from aq.formats.records import Artifact, Run, RunStep, Step
from aq.pipeline.flow.typed import shown
from aq.pipeline.history import facts, log
from aq.pipeline.history.directions import better_of
from aq.pipeline.look import show
from aq.pipeline.records import times
from aq.pipeline.records.outcomes import LogText, RunEntry
from aq.pipeline.records.results import PathEntry, StepEntry
from aq.pipeline.step import mapped
from aq.store import revisions
from aq.store.commits import history
from aq.store.commits.snapshots import items_of
from aq.store.store import Store

STATES = ("committed", "unchanged", "gated", "failed", "uncommitted")


def runs(
    store: Store, *, flow: str | None, status: str | None, metric: str | None, sort: str | None
) -> list[RunEntry]:
    """Runs newest first, or by a metric, a param, `time` or `seconds`; `metric` keeps those that have it."""
    if status is not None and status not in STATES:
        raise UsageError(f"'{status}' is no status of a run (there are {', '.join(STATES)})")
    commits = _commits_of_runs(store)
    found = [_entry(store, id, commits) for id in store.runs()]
    if flow is not None:
        known = sorted({one.flow for one in found})
        if flow not in known:
            near = get_close_matches(flow, known, n=1)
            guess = f" (did you mean {near[0]}?)" if near else ""
            raise NotFound(f"no run of a flow '{flow}'{guess}", hint="aq runs")
        found = [one for one in found if one.flow == flow]
    if status is not None:
        found = [one for one in found if one.status == status]
    if metric is not None:
        group = log.resolve_group(sorted({name for one in found for name in one.metrics}), metric)
        found = [one for one in found if not one.metrics.keys().isdisjoint(group)]
        sort = sort or None
    return found if sort is None else _sorted(store, found, sort)


def _sorted(store: Store, found: list[RunEntry], sort: str) -> list[RunEntry]:
    """By a metric the best first, by a param the smallest; runs without the value last."""
    if sort == "time":
        return found
    if sort == "seconds":
        return sorted(found, key=lambda one: -one.seconds)
    if any(sort in one.params for one in found):
        return sorted(found, key=lambda one: _rank(one.params.get(sort)))
    group = log.resolve_group(sorted({name for one in found for name in one.metrics}), sort)
    sign = 1 if _better(store, group[0]) == "lower" else -1

    def key(one: RunEntry) -> tuple[bool, float]:
        value = next((one.metrics[name] for name in group if name in one.metrics), None)
        return value is None, sign * (value or 0.0)

    return sorted(found, key=key)


def _better(store: Store, metric: str) -> str | None:
    """As declared at HEAD; where nothing is committed yet nobody knows."""
    return better_of(store, metric) if history.head(store).commit is not None else None


def _rank(value: Any) -> tuple[int, float, str]:
    """Numbers before texts, and what is missing last."""
    if isinstance(value, int | float):
        return 0, float(value), ""
    return (2, 0.0, "") if value is None else (1, 0.0, str(value))


def _commits_of_runs(store: Store) -> dict[bytes, str]:
    """{run: the oldest commit that holds it}, over all branches and tags."""
    tips = [ref.id for ref in store.refs().values() if ref.id is not None]
    commits = [id for id in tips if (kind := store.kind_of(id)) is not None and kind.name == "COMMIT"]
    found: dict[bytes, str] = {}
    for id, commit in history.walk(store, commits):
        found.update((bytes(run), str(id)) for run in commit.runs)
    return found


def _entry(store: Store, id: Digest, commits: dict[bytes, str]) -> RunEntry:
    run = get_record(store, Run, id)
    return RunEntry(
        run=str(id),
        flow=run.flow,
        time=times.text(run.time),
        status=run.status,
        commit=commits.get(bytes(id)),
        params=shown(run, run.params),
        metrics=run.metrics,
        checks=run.checks,
        seconds=run.seconds,
        partition=run.partition,
    )


def runs_behind(store: Store, text: str) -> list[tuple[Digest, Run]]:
    """The runs behind a revision: the run itself, the commit's own, or the newest of its flows."""
    revision = revisions.resolve(store, text)
    if revision.run is not None:
        ids: list[bytes] = [revision.run]
    elif revision.commit is not None:
        ids = list(facts.of(store, revision.commit).flows.values())
    else:
        ids = []
    return [(Digest(id), get_record(store, Run, id)) for id in ids]


def steps(store: Store, text: str) -> list[StepEntry]:
    """The steps of the runs behind a revision."""
    return [entry for _, run in runs_behind(store, text) for entry in show.step_entries(store, run)]


def logs(store: Store, spec: str) -> LogText:
    """The output of one step, of the newest run that came to it unless a revision is named."""
    text, op = revisions.split_path(store, spec)
    if op is None:
        op, text = text or spec, None
    cancelled: LogText | None = None
    searched = _runs_to_search(store, text)
    for id, run in searched:
        step = _step(store, run, op)
        if step is None:
            continue
        found = _log_text(store, id, run, step)
        if step.status != "cancelled" or text is not None:
            return found
        cancelled = cancelled or found
    if cancelled is None:
        raise _unknown_step([run for _, run in searched], op, text)
    return cancelled


def _runs_to_search(store: Store, text: str | None) -> list[tuple[Digest, Run]]:
    if text is not None:
        return runs_behind(store, text)
    return [(id, get_record(store, Run, id)) for id in store.runs()]


def _step(store: Store, run: Run, op: str) -> RunStep | None:
    known = [one for one in run.steps if one.role != "parse"]
    found = [one for one in known if one.name == op or one.name.endswith("/" + op)]
    found = found or _item(store, known, op)
    return found[0] if found else None


def _item(store: Store, known: list[RunStep], op: str) -> list[RunStep]:
    """An item of a map: as it ran, else as what was reused."""
    above, _, key = op.rpartition("/")
    maps = [one for one in known if one.role == "map" and above and f"/{one.name}".endswith("/" + above)]
    for one in maps:
        ran = next((item for item in mapped.told_of(store, one) if item.name == f"{one.name}/{key}"), None)
        if ran is not None:
            return [ran]
        step = None if one.step is None else get_record(store, Step, one.step)
        for item in items_of(store, step) if step is not None else ():
            if item.key == key:
                log = (store.summary(item.step) or {}).get("log")
                return [RunStep(name=f"{one.name}/{key}", status="reused", step=item.step, log=log)]
    return []


def _unknown_step(runs: list[Run], op: str, text: str | None) -> NotFound:
    names = sorted({one.name for run in runs for one in run.steps if one.role != "parse"})
    near = get_close_matches(op, [*names, *(name.rpartition("/")[2] for name in names)], n=1)
    guess = f" (did you mean {near[0]}?)" if near else ""
    what = f"no run has a step '{op}'" if text is None else f"{text} has no step '{op}'"
    return NotFound(f"{what}{guess}", hint="aq steps" if text is None else f"aq steps {text}")


def _log_text(store: Store, id: Digest, run: Run, step: RunStep) -> LogText:
    from aq.formats.artifacts import values

    text = ""
    if step.log is not None:
        record = get_record(store, Artifact, step.log)
        text = b"".join(values.file_bytes(record, store)).decode("utf-8", "replace")
    elif step.role == "map":
        text = "".join(_of_items(store, id, step))
    return LogText(
        run=str(id),
        step=step.name,
        status=step.status,
        text=text,
        error=step.error or None,
        inputs=_inputs(store, run, step),
    )


def _of_items(store: Store, id: Digest, step: RunStep) -> Iterator[str]:
    """A line for each item of a map that ran or failed, with how to get its log where it wrote something."""
    for item in mapped.told_of(store, step):
        word = f"failed: {item.error}" if item.status == "failed" else "ran"
        more = "" if item.log is None else f"  aq logs {str(id)[:8]}:{item.name}"
        yield f"{item.name}  {word}{more}\n"


def _inputs(store: Store, run: Run, step: RunStep) -> list[PathEntry]:
    """What the step read, so that a failure can be looked into."""
    made = step.attempt or step.step
    if made is None:
        return []
    from aq.pipeline.look.readings import Readings

    inputs = get_record(store, Step, made).inputs
    paths = Readings(store, run).paths(step.name, inputs)
    found = []
    for name, id in inputs.items():
        record = get_record(store, Artifact, id)
        path = paths[name] or name
        found.append(
            PathEntry(path=path, kind=record.kind, id=bytes(id).hex(), size=record.size, origin="made")
        )
    return found
