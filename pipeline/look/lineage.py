"""What made an artifact, down to its sources; and where an artifact went.

Invariant: read from steps and runs alone; no value is loaded. Parsing is no step here: a table
parsed from a file appears as the file.
"""

from __future__ import annotations

from collections.abc import Iterator

from aq.formats import partitions
from aq.formats.errors import NotFound
from aq.formats.identity import Digest
from aq.formats.objects import get_record
from aq.formats.records import Commit, Run, Step
from aq.pipeline.flow.partitions import of_run
from aq.pipeline.history import facts
from aq.pipeline.look import show
from aq.pipeline.look.readings import Place, Readings
from aq.pipeline.records.outcomes import Downstream, Lineage, Use
from aq.pipeline.step import gathering
from aq.store import revisions
from aq.store.commits import history, snapshots
from aq.store.commits.snapshots import Entry
from aq.store.revisions import Revision
from aq.store.store import Store


def upstream(store: Store, spec: str) -> Lineage:
    """The tree of steps and sources behind REV:PATH."""
    revision, path, entry = show.find(store, spec)
    return _Tracer(store, revision).trace(path, entry)


class _Tracer:
    """Names artifacts by the paths they had where they were read."""

    def __init__(self, store: Store, revision: Revision) -> None:
        self._store = store
        self._parsed: dict[bytes, bytes] | None = None
        self._paths: dict[bytes, tuple[str, Entry | None]] = {}
        self._snapshot = revision.snapshot
        self._readings: dict[str, Readings] = {}
        self._pinned: dict[bytes, str] = {}
        self._above: list[str] = []
        for id in self._runs(revision):
            run = get_record(store, Run, id)
            self._readings[of_run(run)] = Readings(store, run)
            self._note(run.snapshot)
            for source in run.sources:
                self._paths[bytes(source.artifact)] = (source.path, None)
                if source.pinned:
                    self._pinned[bytes(source.artifact)] = source.pinned
        self._note(revision.snapshot)

    def _runs(self, revision: Revision) -> list[bytes]:
        if revision.run is not None:
            return [revision.run]
        if revision.commit is None:
            return []
        return list(facts.of(self._store, revision.commit).flows.values())

    def _note(self, root: bytes) -> None:
        for path, entry in snapshots.entries(self._store, root):
            self._paths[bytes(entry.artifact)] = (path, entry)

    def trace(self, path: str, entry: Entry) -> Lineage:
        """One artifact and, below it, what its step read."""
        artifact = str(Digest(entry.artifact))
        if entry.step is None:
            return Lineage(path=path, artifact=artifact, step=None, inputs=[])
        step = get_record(self._store, Step, entry.step)
        name = show.step_name(path, entry) or path
        readings = self._readings.get(partitions.space_of(name))
        told = readings.paths(name, step.inputs) if readings is not None else {}
        self._above.append(path)
        inputs = [
            self._of_item(path, place, bytes(id)) or self._read(told.get(place), place, bytes(id))
            for place, id in step.inputs.items()
        ]
        self._above.pop()
        return Lineage(path=path, artifact=artifact, step=name, inputs=inputs)

    def _of_item(self, path: str, place: str, artifact: bytes) -> Lineage | None:
        """What an item of a map is made of: an item of another map, or what was gone through."""
        above, _, key = path.rpartition("/")
        entry = snapshots.get_entry(self._store, self._snapshot, above) if above else None
        if entry is None or entry.step is None:
            return None
        step = get_record(self._store, Step, entry.step)
        readings = self._readings.get(partitions.space_of(above))
        if f"each {place}" not in step.inputs or readings is None:
            return None
        whole = readings.paths(above, step.inputs)[f"each {place}"]
        if whole is None:
            return None
        item = snapshots.get_entry(self._store, self._snapshot, f"{whole}/{key}")
        if item is not None and item.artifact == artifact:
            return self.trace(f"{whole}/{key}", item)
        return self._read(whole, place, step.inputs[f"each {place}"])

    def _read(self, path: str | None, place: str, artifact: bytes) -> Lineage:
        """An input whose path the run tells, as that path is at the revision."""
        entry = None if path is None else snapshots.get_entry(self._store, self._snapshot, path)
        if path is None or entry is None:
            return self._at_pin(path, artifact) or self._input(place, artifact)
        if artifact not in (entry.artifact, self._table_of(entry.artifact, artifact)):
            return self._at_pin(path, artifact) or self._input(place, artifact)
        return self.trace(path, entry)

    def _table_of(self, file: bytes, table: bytes) -> bytes | None:
        return table if self._file_behind(table) == bytes(file) else None

    def _input(self, name: str, artifact: bytes) -> Lineage:
        path, entry = self._paths.get(artifact, (None, None))
        for readings in self._readings.values():
            if artifact in readings.gathered:
                parts = [self._read(there, there, id) for there, id in readings.gathered[artifact]]
                return Lineage(path=path or name, artifact=artifact.hex(), step=None, inputs=parts)
        if path is None:
            parsed = self._file_behind(artifact)
            if parsed is not None:
                return self._input(name, parsed)
        if path is not None and entry is not None and path not in self._above:
            return self.trace(path, entry)
        return Lineage(path=path or name, artifact=artifact.hex(), step=None, inputs=[])

    def _at_pin(self, path: str | None, artifact: bytes) -> Lineage | None:
        """What was read from another revision, as that one made it; None where it is not there any more."""
        pin = self._pinned.get(artifact)
        if path is None or pin is None:
            return None
        try:
            revision = revisions.resolve(self._store, pin)
        except NotFound:
            return None
        entry = snapshots.get_entry(self._store, revision.snapshot, path)
        if entry is None or entry.artifact != artifact:
            return None
        return _Tracer(self._store, revision).trace(path, entry)

    def _file_behind(self, artifact: bytes) -> bytes | None:
        """The file that a parse step made this table of."""
        if self._parsed is None:
            self._parsed = dict(_parsed_tables(self._store))
        return self._parsed.get(artifact)


def _parsed_tables(store: Store) -> Iterator[tuple[bytes, bytes]]:
    """(table, file) for every parse step of every run."""
    for id in store.runs():
        for one in get_record(store, Run, id).steps:
            if one.role != "parse" or one.step is None:
                continue
            step = get_record(store, Step, one.step)
            if step.op == gathering.OP:
                continue
            for file in step.inputs.values():
                yield from ((bytes(table), bytes(file)) for _, table in step.outputs)


def downstream(store: Store, spec: str) -> Downstream:
    """Every path of every commit, on any branch or tag, that this artifact went into."""
    revision, path, entry = show.find(store, spec)
    own: set[Place] = {(path, bytes(entry.artifact))}
    tainted = set(own)
    above = snapshots.get_entry(store, revision.snapshot, path.rpartition("/")[0] or path)
    if above is not None and above.step is not None:  # an item is read as a part of its map's result
        tainted.add((path.rpartition("/")[0], bytes(above.artifact)))
    tips = {bytes(ref.id): ref.id for ref in store.refs().values() if ref.id is not None}
    commits = [id for id in tips.values() if store.kind_of(id) is not None]
    used: list[Use] = []
    walked = list(history.walk(store, [Digest(id) for id in commits if _is_commit(store, id)]))
    for id, commit in reversed(walked):
        for flow_run in commit.runs:
            _spread(store, get_record(store, Run, flow_run), tainted)
        found = _uses(store, commit, tainted - own)
        used += [Use(commit=str(id), path=path) for path in found]
    return Downstream(used_by=used)


def _is_commit(store: Store, id: bytes) -> bool:
    kind = store.kind_of(id)
    return kind is not None and kind.name == "COMMIT"


def _spread(store: Store, run: Run, tainted: set[Place]) -> None:
    """Add what every step made that read something tainted, in the order of the run."""
    readings = Readings(store, run)
    for one in run.steps:
        if one.step is None or one.role == "parse":
            continue
        contents = {content for _, content in tainted}
        read = readings.places(one.name, get_record(store, Step, one.step).inputs)
        if any((path, id) in tainted if path is not None else id in contents for path, id in read):
            tainted.update(readings.made.get(one.name, []))


def _uses(store: Store, commit: Commit, tainted: set[Place]) -> list[str]:
    """Paths that the commit itself brought and that something tainted went into."""
    root = get_record(store, Commit, commit.parents[0]).snapshot if commit.parents else snapshots.empty(store)
    return [
        path
        for path, _, entry in snapshots.changes(store, root, commit.snapshot)
        if entry is not None and entry.step is not None and (path, bytes(entry.artifact)) in tainted
    ]
