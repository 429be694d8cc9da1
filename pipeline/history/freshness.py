"""Whether a flow's last result is what its sources, code, params and environment give now.

Invariant: never optimistic. What is not stale here, `aq run` finds unchanged; an exact entry means
that a run would do something; what only importing the code could tell is inexact. User code is
parsed, never imported. Downstream steps are listed as inexact: an equal output would spare them.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aq.formats import partitions
from aq.formats.artifacts import documents
from aq.formats.identity import Digest
from aq.formats.objects import get_record
from aq.formats.records import Run, Source
from aq.pipeline.flow.partitions import of_run
from aq.pipeline.history import facts
from aq.pipeline.records.results import Reason, StaleStep
from aq.pipeline.step import gathering
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Entry, Origin
from aq.store.store import Store
from aq.store.system.paths import encode

if TYPE_CHECKING:
    from aq.pipeline.history.head import Head

FORM: Final = 1
ReadCode = Callable[[str], bytes | None]
Lookup = Callable[[Source], bytes | None]


class Static(msgspec.Struct, frozen=True):
    """What a run leaves for later looks: `code` (pipeline.static), readers of each source, upstream steps.

    `hidden`: the files that each step read by itself, and under "" what importing the code looked at;
    `loose`: those of them that the run did not record; `always`: steps that run each time; `flows`:
    those that the flow's file defines; `links`: sources
    that were asked for by a symbolic link → where it led.
    `form` numbers what these mean; of another form nothing can be told.
    """

    code: dict[str, Any]
    readers: dict[str, list[str]]
    upstream: dict[str, list[str]]
    form: int = FORM
    hidden: dict[str, dict[str, str]] = {}
    loose: list[str] = []
    always: list[str] = []
    flows: list[str] = []
    links: dict[str, str] = {}


def store_static(store: Store, static: Static) -> Digest:
    """Put it as a document."""
    return documents.put(store, static)


def load_static(store: Store, run: Run) -> Static | None:
    """Read it back; None where the run recorded none, or one of another form."""
    if run.static is None:
        return None
    try:
        found = msgspec.convert(documents.get(store, run.static), Static)
    except msgspec.ValidationError:
        return None
    return found if found.form == FORM else None


class Present(msgspec.Struct, frozen=True):
    """What a flow is compared with: the code, what a source would be read as, the environment.

    `python_files` lists the project's Python files, for code that may import any of them. `hidden` tells
    what a file counts by that a step read by itself (see `hidden_reads`), None where it cannot be told; so
    does `leads`, to which path a link leads. `before` gives a code file's bytes at the run,
    `amount` what to say of how much a changed source holds. `pins`: whether `lookup` knows what revisions
    mean that flows pin.
    """

    read: ReadCode
    lookup: Lookup
    environ: Mapping[str, str] | None = None
    python_files: Callable[[], Iterable[str]] | None = None
    hidden: Callable[[str], str | None] = lambda path: None
    leads: Callable[[str], str | None] = lambda path: None
    before: ReadCode | None = None
    amount: Callable[[Source], str] = lambda source: ""
    pins: bool = False


def stale_steps(store: Store, run: Run, present: Present) -> list[StaleStep]:
    """What of the run's flow is stale at present. A step is exact where one of its reasons is."""
    static = load_static(store, run)
    if static is None:
        unknown = Reason(kind="code", detail="the run recorded no code to compare with")
        return [StaleStep(step=None, exact=False, reasons=[unknown])]
    direct: dict[str | None, list[Reason]] = {}
    certain: set[str | None] = set()
    for step, exact, reason in _changes(run, static, present):
        known = direct.setdefault(step, [])
        if reason not in known:
            known.append(reason)
        if exact:
            certain.add(step)
    result = [StaleStep(step=step, exact=step in certain, reasons=why) for step, why in direct.items()]
    return result + _downstream(static, {step for step in direct if step is not None})


def stale_params(run: Run, explicit: Mapping[str, str]) -> list[StaleStep]:
    """What a merge of params changed since the run; which steps it concerns only a run can tell."""
    names = sorted(name for name in {*run.given, *explicit} if run.given.get(name) != explicit.get(name))
    texts = [(name, run.given.get(name, "default"), explicit.get(name, "default")) for name in names]
    reasons = [Reason(kind="param", detail=f"{name} {old} → {new}") for name, old, new in texts]
    return [StaleStep(step=None, exact=False, reasons=reasons)] if reasons else []


def _changes(run: Run, static: Static, present: Present) -> Iterator[tuple[str | None, bool, Reason]]:
    for source in run.sources:
        if source.pinned and not present.pins:
            continue
        now = present.lookup(source)
        if now is None or bytes(now) != source.artifact:
            path = f"{source.pinned}:{source.path}" if source.pinned else source.path
            gone, changed = f"{path} is gone", f"{path} changed"
            what = gone if now is None else f"{changed}{present.amount(source)}"
            names = [path, *(name for name, led in static.links.items() if led == path)]
            names += [
                name for name in static.readers if source.pinned and pins(name, source) and name != path
            ]
            readers: list[str | None] = [step for name in names for step in static.readers.get(name, [])]
            for step in readers or [None]:
                yield step, True, Reason(kind="data", detail=what)
    for name, led in static.links.items():
        if present.leads(name) not in (None, led):
            concerned: list[str | None] = [*static.readers.get(name, [])]
            for step in concerned or [None]:
                yield step, True, Reason(kind="data", detail=f"{name} leads elsewhere")
    for step, files in static.hidden.items():
        for what in _reads_changed(files, present):
            how = "read by itself" if step else "read on import"
            yield step or None, bool(step), Reason(kind="data", detail=f"{what} ({how})")
    from aq.pipeline.code.static import compare_static

    changes = compare_static(
        static.code,
        present.read,
        environ=present.environ,
        python_files=present.python_files,
        before=present.before or (lambda path: None),
    )
    for change in changes:
        yield change.step, change.exact, Reason(kind=change.kind, detail=change.detail)


def pins(text: str, source: Source) -> bool:
    """Whether `REV:PATH`, its path maybe a suffix, is what was asked for when a pinned source was read."""
    head, _, path = text.partition(f"{source.pinned}:")
    return not head and f"/{source.path}".endswith(f"/{path}") and path != ""


def _reads_changed(files: Mapping[str, str], present: Present) -> Iterator[str]:
    from aq.pipeline.code.hidden_reads import told

    for path, before in files.items():
        now = present.hidden(path)
        if now is not None and now != before:
            yield told(path, before, now)


def _downstream(static: Static, stale: set[str]) -> list[StaleStep]:
    """Steps that follow a stale one, each after what it follows."""
    found: list[StaleStep] = []
    reached, news = set(stale), True
    while news:
        news = False
        for step, upstream in static.upstream.items():
            causes = [name for name in upstream if name in reached]
            if causes and step not in reached:
                reached.add(step)
                news = True
                why = Reason(kind="upstream", detail=", ".join(partitions.split(name)[1] for name in causes))
                found.append(StaleStep(step=step, exact=False, reasons=[why]))
    return found


def current_flows(
    store: Store, head: Head, snapshot: Digest, runs: Sequence[bytes], environ: Mapping[str, str]
) -> list[str]:
    """The flows whose made paths in `snapshot` are what its sources, code and params give.

    A flow that was current at the parent and that no edit touches stays so, without a look at code.
    """
    known = facts.of(store, head.id) if head.id else facts.NONE
    flows = {**known.flows, **{of_run(get_record(store, Run, id)): id for id in runs}}
    inherited = [flow for flow in known.params if flows[flow] == known.flows[flow]]
    waiting = {flow for flow in inherited if _waits(store, known, flow)}
    return current_after(store, [head], snapshot, flows, waiting, environ)


def _waits(store: Store, known: facts.Facts, flow: str) -> bool:
    record = get_record(store, Run, known.flows[flow])
    return known.explicit(record) != record.given


def current_after(
    store: Store,
    parents: Sequence[Head],
    snapshot: Digest,
    flows: Mapping[str, bytes],
    waiting: Container[str],
    environ: Mapping[str, str],
) -> list[str]:
    """As `current_flows`, of a commit with any number of parents, the newest run of each flow given.

    `waiting`: flows that have not run with their params yet.
    """
    befores = [_Before(store, parent, snapshot) for parent in parents]

    def is_current(flow: str, run: bytes) -> bool:
        if flow in waiting:
            return False
        return any(before.stays(flow, run) for before in befores) or not _stale_at(
            store, run, snapshot, flows, environ
        )

    return [flow for flow, run in sorted(flows.items()) if is_current(flow, run)]


class _Before:
    """A parent, and what its child changed against it."""

    def __init__(self, store: Store, parent: Head, snapshot: Digest) -> None:
        self._store, self._snapshots = store, (parent.snapshot, snapshot)
        self._current = set(parent.commit.current) if parent.commit else set()
        self._flows = facts.of(store, parent.id).flows if parent.id else {}

    @cached_property
    def _changed(self) -> set[str]:
        """Asked for only where there are flows: it may be a million paths."""
        return {path for path, _, _ in snapshots.changes(self._store, *self._snapshots)}

    @cached_property
    def _code_touched(self) -> bool:
        return any(path.endswith(".py") for path in self._changed)

    def stays(self, flow: str, run: bytes) -> bool:
        """Whether a flow was current there with this very run, and nothing touches it."""
        if flow not in self._current or self._flows.get(flow) != run or self._code_touched:
            return False
        return not _touches(self._store, run, self._changed)


def _touches(store: Store, run: bytes, changed: set[str]) -> bool:
    record = get_record(store, Run, run)
    prefix = of_run(record) + "/"
    sources = {source.path for source in record.sources}
    patterns = [path for path in sources if "*" in path]
    return any(
        path in sources or path.startswith(prefix) or any(gathering.means(one, path) for one in patterns)
        for path in changed
    )


def _stale_at(
    store: Store, run: bytes, snapshot: Digest, flows: Mapping[str, bytes], environ: Mapping[str, str]
) -> bool:
    """Whether a run's results are not what the sources and the code in `snapshot` give."""
    record = get_record(store, Run, run)
    if not made_paths_match(store, record, snapshot):
        return True

    def lookup(source: Source) -> bytes | None:
        entry = snapshots.get_entry(store, snapshot, source.path)
        if entry is None and source.origin == "made" and gathering.is_pattern(source.path):
            return gathering.look(store, snapshot, source.path, flows)
        return entry.artifact if entry else None

    def python_files() -> list[str]:
        paths = (path for path, _ in snapshots.entries(store, snapshot))
        return [path for path in paths if path.endswith(".py")]

    hidden = _recorded_files(store, record, snapshot)
    present = Present(code_reader(store, snapshot), lookup, environ, python_files, hidden)
    return bool(stale_steps(store, record, present))


def _recorded_files(store: Store, run: Run, snapshot: Digest) -> Callable[[str], str | None]:
    """What files count by in a snapshot, as far as it holds what the run read; folders cannot be told."""
    from aq.pipeline.code.hidden_reads import ABSENT

    static = load_static(store, run)
    loose = set(static.loose) if static else set()

    def digest(path: str) -> str | None:
        if path.endswith("/") or path in loose:
            return None
        entry = snapshots.get_entry(store, snapshot, path)
        return ABSENT if entry is None else bytes(entry.artifact).hex()

    return digest


def made_paths_match(store: Store, run: Run, snapshot: bytes) -> bool:
    """Whether a snapshot holds what a run made, and nothing else of its flow or partition."""
    prefix = of_run(run) + "/"

    def packed(root: bytes) -> list[tuple[bytes, bytes]]:
        return list(snapshots.packed_entries(store, root, prefix=encode(of_run(run))))

    def made(root: bytes) -> dict[str, Entry]:
        return {
            path: entry
            for path, entry in snapshots.entries(store, root, prefix=prefix)
            if entry.origin is Origin.MADE
        }

    return packed(run.snapshot) == packed(snapshot) or made(run.snapshot) == made(snapshot)


def code_reader(store: Store, snapshot: bytes) -> ReadCode:
    """Reads project files of a snapshot."""

    def read(path: str) -> bytes | None:
        entry = snapshots.get_entry(store, snapshot, path)
        if entry is None or entry.origin is not Origin.FILE:
            return None
        from aq.formats.artifacts import values
        from aq.formats.records import Artifact

        record = get_record(store, Artifact, entry.artifact)
        return b"".join(values.file_bytes(record, store)) if record.format == "bytes" else None

    return read
