"""`diff`: one comparison from the file to the schema, the rows, the code, the params and the metrics.

Invariant: cost follows what differs: equal roots, nodes, segments and chunks are never read.
Pickles are never opened: models are compared by their summaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from aq.formats.identity import Digest
from aq.formats.objects import Source, get_record
from aq.formats.records import Artifact, Run, Step
from aq.pipeline.flow.partitions import of_run
from aq.pipeline.flow.typed import shown
from aq.pipeline.history import environment, facts
from aq.pipeline.history.facts import Facts
from aq.pipeline.look.codediff import code_changes
from aq.pipeline.records.results import Diff, MetricDiff, PackageDiff, ParamDiff, PathDiff
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Entry, PathChange, items_of
from aq.store.store import Store


class Side:
    """One side of a comparison: a label (None for the folder), a snapshot root, its facts."""

    __slots__ = ("facts", "id", "root", "source")

    def __init__(self, id: Digest | None, root: Digest, source: Source, known: Facts) -> None:
        self.id = id
        self.root = root
        self.source = source
        self.facts = known


def compare(store: Store, before: Side, after: Side, paths: Sequence[str]) -> Diff:
    """Everything that differs between two sides, perhaps below some paths only."""
    found = differing(before, after, paths)
    return Diff(
        from_=str(before.id) if before.id else None,
        to=str(after.id) if after.id else None,
        paths=[_path_diff(store, after.source, *change) for change in found],
        code=code_changes(store, before, after, found),
        params=_params(store, before.facts, after.facts),
        environment=_environment(store, before.facts, after.facts),
        metrics=_metrics(before.facts, after.facts),
    )


def differing(before: Side, after: Side, paths: Sequence[str]) -> list[PathChange]:
    """The paths whose entries differ, perhaps only those at and below some."""
    return [
        change
        for change in snapshots.changes(after.source, before.root, after.root)
        if not paths or any(change[0] == one or change[0].startswith(one.rstrip("/") + "/") for one in paths)
    ]


def _path_diff(store: Store, source: Source, path: str, old: Entry | None, new: Entry | None) -> PathDiff:
    now = new or old
    assert now is not None
    record = get_record(source, Artifact, now.artifact)
    origin = now.origin.name.lower()
    if old is None or new is None:
        change = "added" if old is None else "removed"
        detail: dict[str, Any] = {"size": {"from": None, "to": record.size}}
        if old is not None:
            detail = {"size": {"from": record.size, "to": None}}
        return PathDiff(path=path, kind=record.kind, change=change, detail=detail, origin=origin)
    if old.artifact == new.artifact:
        same = old.mode == new.mode and old.origin == new.origin
        detail = {} if same else {"mode": {"from": old.mode.name.lower(), "to": new.mode.name.lower()}}
        change = "provenance" if same else "changed"
        return PathDiff(path=path, kind=record.kind, change=change, detail=detail, origin=origin)
    detail = artifact_detail(
        store, source, path, get_record(source, Artifact, old.artifact), record, old, new
    )
    return PathDiff(path=path, kind=record.kind, change="changed", detail=detail, origin=origin)


def artifact_detail(
    store: Store, source: Source, path: str, before: Artifact, after: Artifact, old: Entry, new: Entry
) -> dict[str, Any]:
    """How two versions of one path differ, by kind."""
    size = {"from": before.size, "to": after.size}
    if before.format != after.format:
        return {"format": {"from": before.format, "to": after.format}, "size": size}
    if after.kind == "table":
        from aq.formats.comparing.compare import compare_tables

        return dict(compare_tables(before, after, source))
    if after.format == "bytes":
        from aq.pipeline.look.filediff import file_detail

        return file_detail(path, before, after, source)
    if after.format == "items":
        return _items_detail(source, old, new)
    if after.format in ("json", "metric"):
        from aq.formats.artifacts import values

        def value(record: Artifact) -> Any:
            found = values.decode(record, source)
            return getattr(found, "value", found)

        return {"value": {"from": value(before), "to": value(after)}}
    return {"size": size, **_summary_detail(store, source, (before, old), (after, new))}


def _items_detail(source: Source, old: Entry, new: Entry) -> dict[str, Any]:
    """Which items of a map came, went and changed."""

    def outputs(entry: Entry) -> dict[str, list[tuple[bytes, str]]]:
        step = None if entry.step is None else get_record(source, Step, entry.step)
        return {one.key: one.outputs for one in items_of(source, step)} if step is not None else {}

    before, after = outputs(old), outputs(new)
    return {
        "length": {"from": len(before), "to": len(after)},
        "items": {
            "added": [key for key in after if key not in before],
            "removed": [key for key in before if key not in after],
            "changed": [key for key in after if key in before and before[key] != after[key]],
        },
    }


def _summary_detail(
    store: Store, source: Source, before: tuple[Artifact, Entry], after: tuple[Artifact, Entry]
) -> dict[str, Any]:
    """Models and arrays by their summaries: hyperparameters, then tensors."""
    from aq.formats.artifacts import values
    from aq.formats.models.opened import changed_facts

    def summary(record: Artifact, entry: Entry) -> dict[str, Any]:
        known = store.summary(entry.artifact)
        return values.summarise(record, source) if known is None else known

    def tensors() -> dict[str, Any]:
        from aq.formats.python.tensors import compare_tensors

        return compare_tensors(before[0], after[0], source)

    return changed_facts(summary(*before), summary(*after), {"tensors": tensors})


class _Param(NamedTuple):
    """A param: the text that decides, and how it is shown."""

    text: str | None = None
    shown: Any = None


def _params(store: Store, before: Facts, after: Facts) -> list[ParamDiff]:
    old, new = _all_params(store, before), _all_params(store, after)
    if before.flows.keys() != after.flows.keys():
        shared = {flow for flow in before.flows if flow in after.flows}
        old = {key: value for key, value in old.items() if key[0] in shared}
        new = {key: value for key, value in new.items() if key[0] in shared}
    many = len({flow for flow, _ in old | new}) > 1
    found = []
    for flow, name in sorted(old.keys() | new.keys()):
        was, now = old.get((flow, name), _Param()), new.get((flow, name), _Param())
        if was.text != now.text:
            full = f"{flow}.{name}" if many else name
            found.append(ParamDiff(name=full, from_=was.shown, to=now.shown))
    return found


def _all_params(store: Store, known: Facts) -> dict[tuple[str, str], _Param]:
    runs = {flow: get_record(store, Run, run) for flow, run in known.flows.items()}
    return {
        (flow, name): _Param(run.params[name], value)
        for flow, run in runs.items()
        for name, value in shown(run, run.params).items()
    }


def _environment(store: Store, before: Facts, after: Facts) -> list[PackageDiff]:
    """Environments of the newest run that each side knows of a flow that both have."""
    for flow in sorted(before.flows.keys() & after.flows.keys()):
        if before.flows[flow] == after.flows[flow]:
            continue
        old = get_record(store, Run, before.flows[flow]).environment
        new = get_record(store, Run, after.flows[flow]).environment
        if old != new:
            return environment.differences(environment.load(store, old), environment.load(store, new))
    return []


def _metrics(before: Facts, after: Facts) -> list[MetricDiff]:
    old, new = before.recorded, after.recorded
    return [
        MetricDiff(name=name, from_=old.get(name), to=new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def run_side(store: Store, run: Digest, base: Facts) -> Side:
    """A run that no commit holds, as one side."""
    record = get_record(store, Run, run)
    known = facts.Facts(
        flows={**base.flows, of_run(record): run},
        metrics=record.metrics,
        checks=record.checks,
    )
    return Side(run, Digest(record.snapshot), store, known)
