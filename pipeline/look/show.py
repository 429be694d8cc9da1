"""`show`, `ls` and `get`: what a revision holds, and what one path of it is.

Invariant: summaries and records only; no value is loaded, no pickle opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from aq.formats import partitions
from aq.formats.errors import AqError, NotFound, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import Overlay, get_record
from aq.formats.records import Artifact, Commit, Run, Step
from aq.pipeline.flow.partitions import of_run
from aq.pipeline.flow.typed import shown
from aq.pipeline.history import environment, facts, log
from aq.pipeline.look.face import Artifact as Face
from aq.pipeline.records import times
from aq.pipeline.records.results import (
    PathEntry,
    Reason,
    RunInfo,
    ShowPath,
    ShowRevision,
    StepEntry,
    Violation,
)
from aq.pipeline.step import gathering
from aq.store import revisions
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Entry, Origin
from aq.store.revisions import Revision
from aq.store.store import Store

if TYPE_CHECKING:
    from aq.pipeline.look.readings import Readings

ITEMS_SHOWN = 20
"""Items of a map that are named where it is shown."""
KINDS = ("file", "table", "model", "array", "value")


def path_entry(store: Store, path: str, entry: Entry) -> PathEntry:
    """One line of `ls`."""
    record = get_record(store, Artifact, entry.artifact)
    return PathEntry(
        path=path,
        kind=record.kind,
        id=str(Digest(entry.artifact)),
        size=record.size,
        origin=entry.origin.name.lower(),
        step=step_name(path, entry),
        mode=entry.mode.name.lower(),
    )


def step_name(path: str, entry: Entry) -> str | None:
    """FLOW/NAME of the step that made a path, partition included. None for what no step made."""
    return None if entry.step is None else partitions.step_of(path)


def listing(store: Store, revision: str, kind: str | None) -> list[PathEntry]:
    """The paths of a revision in order of their bytes, perhaps of one kind only."""
    if kind is not None and kind not in KINDS:
        raise UsageError(f"'{kind}' is no kind (there are {', '.join(KINDS)})")
    text, folder = revisions.split_path(store, revision)
    root = revisions.resolve(store, text or "HEAD").snapshot
    found = [path_entry(store, path, entry) for path, entry in snapshots.entries(store, root)]
    if folder:
        inside = folder.rstrip("/")
        found = [one for one in found if one.path == inside or one.path.startswith(inside + "/")]
        found += _items(store, root, inside)
        if not found:
            locate(store, revisions.resolve(store, text or "HEAD"), folder)
    return [one for one in found if kind is None or one.kind == kind]


def _items(store: Store, root: bytes, path: str) -> Iterator[PathEntry]:
    """What lies below a path that is a map's result."""
    for key, entry in snapshots.items_below(store, root, path):
        yield path_entry(store, f"{path}/{key}", entry)


def locate(store: Store, revision: Revision, path: str) -> tuple[str, Entry]:
    """The full path and entry of a path, or of a unique last part of one. Raises NotFound."""
    entry = snapshots.get_entry(store, revision.snapshot, path)
    if entry is not None:
        return path, entry
    known = dict(snapshots.entries(store, revision.snapshot))
    found = [full for full in known if full.endswith("/" + path)]
    if len(found) == 1:
        return found[0], known[found[0]]
    if found:
        raise NotFound(f"'{path}' could be {', '.join(found[:5])}", hint=f"aq show {found[0]}")
    inside = _item(store, revision, path, known)
    if inside is not None:
        return inside
    from difflib import get_close_matches

    at = revision.text[:12] if revision.text == str(revision.commit or revision.run) else revision.text
    if any(full.startswith(path.rstrip("/") + "/") for full in known):
        raise NotFound(f"{path} is a folder at {at}", hint=f"aq ls {_typed(at, path)}")
    near = get_close_matches(path, known, n=1, cutoff=0.5)
    guess = f" (did you mean {near[0]}?)" if near else ""
    hint = f"aq show {_typed(at, near[0])}" if near else f"aq ls {at}"
    raise NotFound(f"no path {path!r} at {at}{guess}", hint=hint)


def _typed(revision: str, path: str) -> str:
    """REV:PATH for a shell."""
    from shlex import quote

    return f"{revision}:{path}" if quote(path) == path else quote(f"{revision}:{path}")


def _item(store: Store, revision: Revision, path: str, known: dict[str, Entry]) -> tuple[str, Entry] | None:
    """An item of the only map whose path ends so."""
    above, _, key = path.rpartition("/")
    full = [one for one in known if above and one.endswith("/" + above)]
    entry = snapshots.get_entry(store, revision.snapshot, f"{full[0]}/{key}") if len(full) == 1 else None
    return None if entry is None else (f"{full[0]}/{key}", entry)


def find(store: Store, spec: str) -> tuple[Revision, str, Entry]:
    """The entry that REV:PATH, or PATH at HEAD, names."""
    text, path = revisions.split_path(store, spec)
    if path is None:
        path, text = text or spec, None
    revision = revisions.resolve(store, text or "HEAD")
    full, entry = locate(store, revision, path)
    return revision, full, entry


def get(store: Store, spec: str) -> Face:
    """The artifact that REV:PATH, or PATH at HEAD, names."""
    text, path = revisions.split_path(store, spec)
    path, text = (path, text) if path is not None else (text or spec, None)
    if gathering.is_pattern(path):
        return _gathered(store, revisions.resolve(store, text or "HEAD"), path)
    revision, path, entry = find(store, spec)
    return Face(store, path, revision.text, entry)


def _gathered(store: Store, revision: Revision, path: str) -> Face:
    """All partitions of a path as one value, which is stored nowhere unless a flow read it so."""
    found = gathering.parts(store, revision.snapshot, path, facts.runs_at(store, revision))
    gathering.require(found, path)
    before = gathering.known(store, found)
    if before is not None:
        return Face(store, path, revision.text, Entry(before.artifact, Origin.MADE, before.step))
    memory = Overlay(store)
    return Face(memory, path, revision.text, Entry(gathering.made_of(found, store, memory), Origin.MADE))


def show(store: Store, spec: str) -> ShowRevision | ShowPath:
    """A revision, or a path of one: REV, REV:PATH, or PATH at HEAD where no revision has that name."""
    text, path = revisions.split_path(store, spec)
    if path is not None:
        return show_path(store, spec)
    try:
        return show_revision(store, text or "HEAD")
    except NotFound:
        try:
            return show_path(store, f"HEAD:{spec}")
        except AqError:
            pass
        raise


def show_path(store: Store, spec: str) -> ShowPath:
    """What one path is: kind, size, format, summary, the step that made it."""
    revision, path, entry = find(store, spec)
    face = Face(store, path, revision.text, entry)
    below = snapshots.items_below(store, revision.snapshot, path) if face.format == "items" else ()
    keys = [key for key, _ in below]
    left = f"and {len(keys) - ITEMS_SHOWN:,} more" if len(keys) > ITEMS_SHOWN else ""
    named = {"items": [*keys[:ITEMS_SHOWN], *([left] if left else [])]} if keys else {}
    return ShowPath(
        path=path,
        kind=face.kind,
        id=face.id,
        size=face.size,
        origin=entry.origin.name.lower(),
        format=face.format,
        summary={**face.summary, **named},
        step=step_name(path, entry),
        revision=revision.text,
    )


def show_revision(store: Store, text: str) -> ShowRevision:
    """A commit, or a run: its log entry, its snapshot, its run."""
    revision = revisions.resolve(store, text)
    listed = [path_entry(store, path, entry) for path, entry in snapshots.entries(store, revision.snapshot)]
    if revision.commit is None:
        assert revision.run is not None
        return _show_run(store, revision.run, listed)
    commit = get_record(store, Commit, revision.commit)
    tags = log.names_by_commit(store, "tag/").get(revision.commit, [])
    branches = log.names_by_commit(store, "branch/").get(revision.commit, [])
    fields: dict[str, Any] = log.entry_fields(store, revision.commit, commit, tags, branches)
    run = run_info(store, Digest(commit.runs[-1])) if commit.runs else None
    return ShowRevision(**fields, snapshot=listed, run=run)


def _show_run(store: Store, id: Digest, listed: list[PathEntry]) -> ShowRevision:
    run = get_record(store, Run, id)
    return ShowRevision(
        id=str(id),
        parents=[bytes(run.base).hex()] if run.base else [],
        message=f"run {of_run(run)}: {run.status}",
        author=run.author,
        time=times.text(run.time),
        flow=run.flow,
        tags=[],
        branches=[],
        metrics=run.metrics,
        checks=run.checks,
        git=log.git_json(run.git),
        flows=[run.flow],
        runs=[str(id)],
        snapshot=listed,
        run=run_info(store, id),
    )


def run_info(store: Store, id: Digest) -> RunInfo:
    """Everything recorded of a run."""
    run = get_record(store, Run, id)
    return RunInfo(
        id=str(id),
        flow=run.flow,
        file=run.file,
        status=run.status,
        time=times.text(run.time),
        params=shown(run, run.params),
        steps=step_entries(store, run),
        environment=environment.load(store, run.environment),
        code=_code(store, run),
        git=log.git_json(run.git),
        seconds=run.seconds,
        error=run.error or None,
        violations=[msgspec.convert(one, Violation) for one in run.violations],
        accepted=run.accepted,
    )


def _inputs_of(readings: Readings, name: str, record: Step | None) -> list[str]:
    """What a step took; one that never began, the sources and steps that it waited for."""
    if record is None:
        return readings.waited(name)
    paths = readings.paths(name, record.inputs)
    return [paths[place] or bytes(id).hex() for place, id in record.inputs.items()]


def step_entries(store: Store, run: Run) -> list[StepEntry]:
    """The steps of a run in the order of the flow; parsing is no step here."""
    from aq.pipeline.look.readings import Readings

    outputs: dict[bytes, list[str]] = {}
    for path, entry in snapshots.entries(store, run.snapshot, prefix=of_run(run) + "/"):
        if entry.step is not None:
            outputs.setdefault(bytes(entry.step), []).append(path)
    readings = Readings(store, run)
    result = []
    for one in run.steps:
        if one.role == "parse":
            continue
        made = one.step or one.attempt
        record = get_record(store, Step, made) if made else None
        result.append(
            StepEntry(
                step=one.name,
                status=one.status,
                role=one.role,
                seconds=one.seconds,
                saved=one.saved,
                reasons=[msgspec.convert(reason, Reason) for reason in one.reasons],
                inputs=_inputs_of(readings, one.name, record),
                outputs=outputs.get(bytes(one.step), []) if one.step else [],
                error=one.error or None,
                log=bytes(one.log).hex() if one.log else None,
                counts=one.counts,
            )
        )
    return result


def makers(store: Store, run: Run) -> dict[bytes, str]:
    """{artifact: path} for everything that a step of the run may have read."""
    known = {bytes(entry.artifact): path for path, entry in snapshots.entries(store, run.snapshot)}
    for source in run.sources:
        for parsed in _parsed_from(store, source.artifact, run):
            known[parsed] = source.path
        known[bytes(source.artifact)] = source.path
    return known


def _parsed_from(store: Store, artifact: bytes, run: Run) -> list[bytes]:
    """Tables that a parse step of the run made of a file."""
    found = []
    for one in run.steps:
        record = get_record(store, Step, one.step) if one.role == "parse" and one.step else None
        if record is not None and bytes(artifact) in [bytes(id) for id in record.inputs.values()]:
            found += [bytes(id) for _, id in record.outputs]
    return found


def _code(store: Store, run: Run) -> dict[str, str]:
    if run.code is None:
        return {}
    return {path: bytes(entry.artifact).hex() for path, entry in snapshots.entries(store, run.code)}
