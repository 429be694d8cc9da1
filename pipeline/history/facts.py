"""What is known of a commit without walking its snapshot: its flows' runs, metrics, checks, counts.

Invariant: derived. Facts lie beside the commit as its summary and can always be made again from
the commits and runs alone (`derive`), so they are no part of any id. A metric is recorded for a
commit only where the commit says that its flow is current, or where it was given with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from aq.formats import partitions as paths
from aq.formats.identity import Digest
from aq.formats.objects import get_record
from aq.formats.records import Artifact, Commit, Run
from aq.pipeline.flow.partitions import of_run
from aq.store.commits import history, snapshots
from aq.store.commits.snapshots import Origin, Tally
from aq.store.revisions import Revision
from aq.store.store import Store


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`flows`: the newest run of each flow, or of each of its partitions, as of this commit, by where its
    results lie (`partitions.of_run`); `given`: metrics committed as values.

    `renamed` maps former names of metrics to those that replaced them; `metrics` and `checks` are
    those of the current flows; `total`: logical bytes of the snapshot. `params` holds the explicit params
    of flows for which a merge combined them; these have not run with them yet.
    """

    flows: dict[str, bytes] = {}
    params: dict[str, dict[str, str]] = {}
    renamed: dict[str, str] = {}
    given: dict[str, float | None] = {}
    metrics: dict[str, float | None] = {}
    checks: dict[str, str] = {}
    added: int = 0
    changed: int = 0
    removed: int = 0
    total: int = 0

    @property
    def recorded(self) -> dict[str, float | None]:
        """Every metric value that counts at this commit."""
        return {**self.given, **self.metrics}

    def explicit(self, run: Run) -> dict[str, str]:
        """The params that the flow's next run takes over: those of its last, or what a merge made of them."""
        return self.params.get(of_run(run), run.given)

    def spaces(self) -> list[str]:
        """Where all results lie, flow by flow, of each as `ordered`."""
        flows = sorted({paths.flow_of(space) for space in self.flows})
        return [space for flow in flows for space in self.ordered(flow)]

    def ordered(self, flow: str) -> list[str]:
        """The spaces of a flow, partitions from the smallest value to the largest."""
        return sorted(paths.of_flow(self.flows, flow), key=paths.order)


NONE = Facts()
_MADE_MOST = 50_000
_made: WeakKeyDictionary[Store, dict[bytes, Facts]] = WeakKeyDictionary()
"""Facts that were made again, or some of very many: a log asks for those of each commit's parent next."""


def of(store: Store, commit: bytes) -> Facts:
    """The facts of a commit: its summary, or made again from the nearest ancestor that has one."""
    known = _stored(store, commit)
    if known is not None:
        return known
    made = _made.setdefault(store, {})
    if len(made) > 2 * _MADE_MOST:
        made.clear()
    missing: list[tuple[Digest, Commit]] = []
    base = NONE
    for id, record in history.first_parents(store, Digest(commit)):
        found = made.get(id) or _stored(store, id)
        if found is not None:
            base = found
            break
        missing.append((id, record))
    every = 1 + len(missing) // _MADE_MOST
    for position, (id, record) in enumerate(reversed(missing)):
        base = derive(store, record, base)
        if position % every == 0:
            made[bytes(id)] = base
    return base


def _stored(store: Store, commit: bytes) -> Facts | None:
    found = store.summary(commit)
    if found is None:
        return None
    try:
        return msgspec.convert(found, Facts)
    except msgspec.ValidationError:
        return None  # a summary is a claim that can be made again


def save(store: Store, commit: bytes, facts: Facts) -> None:
    """Lay the facts beside the commit."""
    store.put_summary(commit, msgspec.to_builtins(facts, builtin_types=(bytes,)))


def runs_at(store: Store, revision: Revision) -> dict[str, bytes]:
    """The newest run of each flow and partition, by where its results lie, as of a commit or after a run."""
    if revision.run is None:
        return of(store, revision.commit).flows if revision.commit else {}
    run = get_record(store, Run, revision.run)
    return {**(of(store, run.base).flows if run.base else {}), of_run(run): bytes(revision.run)}


def derive(store: Store, commit: Commit, parent: Facts, tally: Tally | None = None) -> Facts:
    """The facts of a commit from its record and its first parent's facts; O(changed paths).

    `tally`: what the commit changed in its first parent's snapshot, where that is known. What a merge takes
    from its other parents stands in its record, so the first parent is enough.
    """
    flows, params = dict(parent.flows), dict(parent.params)
    renamed = dict(parent.renamed)
    for id in commit.runs:
        run = get_record(store, Run, id)
        space = of_run(run)
        flows[space] = bytes(id)
        params.pop(space, None)
        for today, former in run.renamed.items():
            renamed.pop(today, None)
            renamed[former] = today
    before = _parent_snapshot(store, commit)
    if tally is None:
        tally = snapshots.tally(store, before, commit.snapshot)
    if tally.removed:
        for space in _vanished(store, before, commit.snapshot, flows):
            flows.pop(space)
            params.pop(space, None)
    metrics: dict[str, float | None] = {}
    checks: dict[str, str] = {}
    for flow in commit.current:
        if flow in flows:
            run = get_record(store, Run, flows[flow])
            metrics.update(run.metrics)
            checks.update(run.checks)
    return Facts(
        flows=flows,
        params={**params, **commit.params},
        renamed=renamed,
        given=_given(store, commit),
        metrics=metrics,
        checks=checks,
        added=tally.added,
        changed=tally.changed,
        removed=tally.removed,
        total=parent.total + tally.growth,
    )


def _vanished(store: Store, before: bytes, now: bytes, flows: Iterable[str]) -> list[str]:
    """The spaces of which a commit left nothing, where partitions are concerned: removed ones, and those
    of another declaration.
    """
    known = set(flows)
    divided = {paths.flow_of(space) for space in known if paths.names(space)}
    touched = {
        paths.space_of(path)
        for path, old, new in (snapshots.changes(store, before, now) if divided else ())
        if new is None and old is not None and old.origin is Origin.MADE and paths.flow_of(path) in divided
    }
    return sorted(space for space in touched & known if not holds(store, now, space))


def holds(store: Store, snapshot: bytes, space: str) -> bool:
    """Whether a snapshot has results in just this space."""
    found = snapshots.entries(store, snapshot, prefix=space + "/")
    return any(entry.origin is Origin.MADE and paths.space_of(path) == space for path, entry in found)


def _parent_snapshot(store: Store, commit: Commit) -> bytes:
    if not commit.parents:
        return snapshots.empty(store)
    return get_record(store, Commit, commit.parents[0]).snapshot


def _given(store: Store, commit: Commit) -> dict[str, float | None]:
    """The metrics given with this very commit: what was measured on other data is not inherited."""
    found: dict[str, float | None] = {}
    for path in commit.given:
        entry = snapshots.get_entry(store, commit.snapshot, path)
        if entry is not None and entry.origin is Origin.GIVEN:
            found.update(metric_values(store, path, entry.artifact))
    return found


def metric_values(store: Store, path: str, artifact: bytes) -> dict[str, float | None]:
    """{PATH: value} of a metric artifact, {PATH.key: value} of a flat dict, {} of anything else."""
    record = get_record(store, Artifact, artifact)
    if record.format != "metric":
        return {}
    from aq.formats.artifacts import values

    return flat(path, values.decode(record, store))


def flat(path: str, value: Any) -> dict[str, float | None]:
    """A metric's value under its full names; NaN is None, as in JSON."""
    value = getattr(value, "value", value)
    if isinstance(value, dict):
        return {f"{path}.{key}": _number(item) for key, item in value.items()}
    return {path: _number(value)}


def _number(value: Any) -> float | None:
    number = float(value)
    return None if number != number else number
