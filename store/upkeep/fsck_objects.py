"""Whether objects say what the format allows, and what they refer to is there (docs/format.md, 11).

Invariant: everything reachable from refs, operations, runs and steps is met once; a damaged object
hides nothing but what only it refers to. Objects are read through the store, never unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from aq.formats.contents.files import INLINE_BELOW, pieces
from aq.formats.errors import AqError, Damaged
from aq.formats.identity import Buffer, Digest, Kind, object_id
from aq.formats.objects import Source, get_record
from aq.formats.records import Artifact, Commit, Node, Operation, Record, Run, Step
from aq.formats.trees.prolly import map_items
from aq.formats.trees.prolly_nodes import Cutter, shape_problem
from aq.store.commits.reach import KEYED, Item, Link, Role, Visit, Walk, Whole, shape
from aq.store.commits.refs import HEAD, TRACKING, Ref
from aq.store.commits.snapshots import Entry, Mode, is_file
from aq.store.folder import tracking
from aq.store.store import Store
from aq.store.system import paths
from aq.store.upkeep.findings import REBUILD, Finding
from aq.store.upkeep.fsck_history import CondemnedCheck, OrderCheck, chain_findings, touched_problem
from aq.store.upkeep.fsck_runs import RunCheck, map_problems
from aq.store.upkeep.fsck_values import ValueCheck
from aq.store.upkeep.marking import horizon_of

StepKey = Callable[[Step], bytes]
"""What the key of a step must be: known to the layer above."""

_LISTED: Final = (Kind.STEP, Kind.RUN)
_LINK_MOST: Final = 4_096
_ONE_PART: Final = frozenset(("bytes", "raw", "json", "metric", "array"))


class ObjectCheck:
    """One check of all objects that something relies on."""

    def __init__(
        self, store: Store, *, full: bool, step_key: StepKey | None, ordinals: Mapping[bytes, int]
    ) -> None:
        self.store = store
        self.full = full
        self.walk = Walk(_Verified(store), self._on_link)
        self._step_key = step_key
        self._found: list[Finding] = []
        self._shapes: dict[bytes, Any] = {}
        self._claims: dict[bytes, list[tuple[Item, Any]]] = {}
        self._steps: dict[bytes, list[tuple[str, bytes]]] = {}
        self._odd: set[bytes] = set()
        self._awaited: dict[bytes, tuple[Item, bytes]] = {}
        self._roots: set[bytes] = set()
        self._runs = RunCheck(store)
        self._values = ValueCheck(store, full=full)
        self._order = OrderCheck(store, ordinals)
        self._gone = CondemnedCheck(store)

    def run(self, operations: list[bytes]) -> Iterator[Finding]:
        """Everything that is wrong with what is reachable. `operations`: the journals', oldest first."""
        for visit in self.walk.visit(roots(self.store, operations)):
            self._check(visit)
            yield from self._found
            self._found.clear()
        yield from self._registered()
        yield from self._refs()
        yield from chain_findings(self.store, operations)
        yield from self._gone.findings()

    def _say(self, item: Item, detail: str) -> None:
        self._found.append(Finding(item.kind.name.lower(), item.id, detail, ""))

    def _say_if(self, item: Item, problem: str) -> None:
        if problem:
            self._say(item, problem)

    def _check(self, visit: Visit) -> None:
        item, record = visit.item, visit.record
        if visit.error is not None:
            message = visit.error.message.replace(item.id.hex(), "it").removeprefix(item.kind.name.lower())
            self._say(item, message.removeprefix("object").strip())
        if item.kind is Kind.CHUNK:
            self._chunk(item)
        if record is None:
            return
        self._settle(item, record)
        match record:
            case Node():
                self._node(item, record)
            case Artifact():
                self._artifact(item, record)
            case Step():
                self._step(item, record)
            case Run():
                self._run(item, record)

    # What referring objects say of others

    def _on_link(self, item: Item, link: Link) -> None:
        """Note a claim; it is looked at when the other object is met, or at once if it was."""
        self._gone.note(item, link)
        self._say_if(item, self._order.problem(item, link))
        if link.claim is None:
            if link.item.kind is Kind.NODE:
                self._roots.add(link.item.id)
            return
        if isinstance(link.claim, Entry):
            self._entry_claim(item, link)
        elif link.item.kind is Kind.CHUNK:
            if self.full:
                self._length(item, link)
        elif link.item.id in self._shapes:
            self._compare(item, link.claim, link.item.id)
        else:
            self._claims.setdefault(link.item.id, []).append((item, link.claim))

    def _settle(self, item: Item, record: Record) -> None:
        if item.kind in (Kind.NODE, Kind.COMMIT) and item.id not in self._shapes:
            self._shapes[item.id] = record.time if isinstance(record, Commit) else shape(record)
            for parent, claim in self._claims.pop(item.id, ()):
                self._compare(parent, claim, item.id)

    def _compare(self, parent: Item, claim: Any, id: bytes) -> None:
        found = self._shapes[id]
        if parent.kind is Kind.COMMIT:
            if found > claim:
                self._say(parent, f"its time is before that of its parent {id.hex()}")
        elif found != claim:
            self._say(parent, f"its child {id.hex()} is not what it says")

    def _length(self, item: Item, link: Link) -> None:
        try:
            size = self.store.size_of(link.item.id)
        except AqError:
            return  # the chunk itself is named
        if size is not None and size != link.claim:
            self._say(item, f"chunk {link.item.id.hex()} has {size} bytes instead of {link.claim}")

    def _entry_claim(self, item: Item, link: Link) -> None:
        """The artifact or the step of a snapshot's entry fits it."""
        entry: Entry = link.claim
        path = link.path or b""
        shown = paths.show(paths.decode(path))
        try:
            if link.item.kind is Kind.STEP:
                if item.role is Role.SNAPSHOT and not self._is_output(entry, path):
                    self._say(item, f"{shown} is no output of its step {link.item.id.hex()}")
                return
            self._await_file(item, link.item.id, path)
            if entry.mode is Mode.SYMLINK:
                artifact = get_record(self.store, Artifact, entry.artifact)
                data = artifact.data or b""
                if not 1 <= len(data) <= _LINK_MOST or b"\0" in data:
                    self._say(item, f"{shown} is a symbolic link without a usable target")
        except Damaged:
            return  # the object itself is named

    def _is_output(self, entry: Entry, path: bytes) -> bool:
        step = bytes(entry.step or b"")
        if step not in self._steps:
            self._steps[step] = get_record(self.store, Step, step).outputs
        return any(
            id == entry.artifact and (not name or path.endswith(b"/" + paths.encode(name)))
            for name, id in self._steps[step]
        )

    # Objects by themselves

    def _chunk(self, item: Item) -> None:
        kind = self.store.kind_of(item.id)
        if kind is None:
            self._say(item, "it is missing from the store")
        elif kind is not Kind.CHUNK:
            self._say(item, f"it is a {kind.name.lower()}, not a chunk")

    def _node(self, item: Item, node: Node) -> None:
        problem = shape_problem(node, keyed=item.role in KEYED)
        if problem:
            self._say(item, f"it {problem}")
            return
        problem = _cut_problem(item, node)
        if not problem and node.level and len(node.values) < 2 and item.id in self._roots:
            problem = "it is a root with one child"
        if problem:
            self._say(item, problem)
        if item.role is Role.SNAPSHOT and not node.level:
            self._paths(item, node)
        if item.role is Role.TOUCHED and not node.level:
            for path, value in zip(node.keys, node.values, strict=True):
                self._say_if(item, touched_problem(path, value))

    def _paths(self, item: Item, node: Node) -> None:
        """Paths are harmless, no tracked file lies below another one, tracked entries name files."""
        before = None
        for path, value in zip(node.keys, node.values, strict=True):
            problem = paths.problem(path)
            if problem:
                self._say(item, f"path {paths.show(paths.decode(path))} {problem}")
            if is_file(value):
                if before is not None and path.startswith(before + b"/"):
                    self._say(item, f"{paths.show(paths.decode(path))} lies below another tracked file")
                    continue
                before = path

    def _await_file(self, item: Item, id: bytes, path: bytes) -> None:
        if id in self._odd:
            self._say(item, f"{paths.show(paths.decode(path))} is tracked, but {id.hex()} is no file")
        elif not self.walk.has_plain(id):
            self._awaited[id] = item, path

    def _artifact(self, item: Item, artifact: Artifact) -> None:
        if (artifact.kind, artifact.format) != ("file", "bytes"):
            self._odd.add(bytes(item.id))
            if item.id in self._awaited:
                self._await_file(self._awaited[item.id][0], item.id, self._awaited[item.id][1])
        self._awaited.pop(item.id, None)
        if (artifact.data is None) == (artifact.root is None):
            self._say(item, "it has not exactly one of data and root")
            return
        if artifact.data is not None:
            if artifact.format in _ONE_PART and len(artifact.data) != artifact.size:
                self._say(item, f"it holds {len(artifact.data)} bytes instead of {artifact.size}")
            if len(artifact.data) >= INLINE_BELOW and artifact.format != "table":
                self._say(item, f"{len(artifact.data)} bytes lie in the record itself")
        elif artifact.format in _ONE_PART or artifact.format == "pickle":
            self._pieces(item, artifact)
        for problem in self._values.problems(artifact):
            self._say(item, problem)

    def _pieces(self, item: Item, artifact: Artifact) -> None:
        size, count, is_open = 0, 0, True
        try:
            for piece in pieces(self.store, artifact.root or b""):
                size, count, is_open = size + piece.length, count + (not piece.goes_on), piece.goes_on
        except Damaged:
            return  # the nodes are named by themselves
        if is_open:
            self._say(item, "the last of its pieces does not end a part")
        if size != artifact.size:
            self._say(item, f"its pieces have {size} bytes instead of {artifact.size}")
        if artifact.size < INLINE_BELOW:
            self._say(item, f"its {artifact.size} bytes do not lie in the record itself")
        if artifact.format in _ONE_PART and count != 1:
            self._say(item, f"it has {count} parts instead of one")

    def _step(self, item: Item, step: Step) -> None:
        if self._step_key is not None and self._step_key(step) != step.key:
            self._say(item, "its key is not that of its parts")
        for problem in map_problems(self.store, step):
            self._say(item, problem)

    def _run(self, item: Item, run: Run) -> None:
        for problem in self._runs.problems(run):
            self._say(item, problem)

    # What the index keeps beside the objects

    def _registered(self) -> Iterator[Finding]:
        """Steps stand under their keys, and runs in their order, without gaps; none is left out."""
        with self.store.index.look() as look:
            steps, runs = list(look.items("steps")), list(look.items("runs"))
            lost = {id for id, _value in look.items("lost")}
            kinds = {id: value[24] for id, value in look.items("objects") if value[24] in _LISTED}
        whole = Whole(self.store, self.store.has)
        listed = {id for _key, id in steps + runs}
        for id in sorted(kinds.keys() - listed):
            name = Kind(kinds[id]).name.lower()
            if id in lost:
                continue  # even if all its parts have come back: the next index lists it again
            if whole.has(Item(Kind(kinds[id]), id)):
                yield Finding("index", Digest(id), f"this {name} is not listed", REBUILD)
            elif kinds[id] == Kind.STEP:
                yield Finding("index", Digest(id), "this step is not listed as one that lost parts", REBUILD)
        for id in sorted(lost & listed):
            name = Kind(kinds[id]).name.lower()
            yield Finding("index", Digest(id), f"this {name} is listed as one that lost parts too", REBUILD)
        before, position = b"", 0
        for key, id in steps:
            position = position + 1 if key[:32] == before else 0
            before = key[:32]
            if int.from_bytes(key[32:], "big") != position:
                yield Finding(
                    "index", Digest(id), "a position among the steps of its key is missing", REBUILD
                )
        for position, (key, id) in enumerate(runs):
            if int.from_bytes(key, "big") != position:
                yield Finding("index", Digest(id), "a position among the runs is missing", REBUILD)
                break

    def _refs(self) -> Iterator[Finding]:
        with self.store.index.look() as look:
            state, held = look.state(), dict(look.items("refs"))
        try:
            wanted = dict(map_items(self.store, state.refs)) if state else held
        except Damaged:
            return  # the node is named by itself
        if wanted != held:
            yield Finding("index", None, "the refs in the index are not those of the last operation", REBUILD)
        refs = self.store.refs()
        head = refs.get(HEAD)
        if head is None or (head.id is None and not head.target.startswith("branch/")):
            yield Finding("ref", HEAD, "HEAD names neither a branch nor a commit", "")
        for name, ref in refs.items():
            yield from self._ref(name, ref)

    def _ref(self, name: str, ref: Ref) -> Iterator[Finding]:
        if name == TRACKING and ref.id is not None:
            yield from self._rules(ref.id)
        wanted = Kind.CHUNK if name == TRACKING else Kind.COMMIT
        if ref.id is not None and self.store.kind_of(ref.id) is not wanted:
            yield Finding(
                "ref", name, f"it names {ref.id}, which is no {wanted.name.lower()} of this store", ""
            )

    def _rules(self, id: Digest) -> Iterator[Finding]:
        try:
            if not tracking.load(self.store, id):
                yield Finding("ref", TRACKING, "it names a chunk without rules", "")
        except Damaged as error:
            if self.store.kind_of(id) is Kind.CHUNK:
                yield Finding("ref", TRACKING, error.message, "")


def roots(store: Store, operations: list[bytes]) -> Iterator[Link]:
    """Where everything that counts begins: refs, operations newest first, runs, steps."""
    for name, ref in sorted(store.refs().items(), key=lambda one: one[0] != HEAD):
        if ref.id is not None:
            yield Link(Item(Kind.CHUNK if name == TRACKING else Kind.COMMIT, ref.id))
    horizon = 0
    with suppress(Damaged):
        horizon = horizon_of(store)
    for id in reversed(operations):
        yield Link(Item(Kind.OPERATION, id, _part(store, id, horizon)))
    for id in store.runs():
        yield Link(Item(Kind.RUN, id))
    for _key, id in store.index.items("steps"):
        yield Link(Item(Kind.STEP, id))


def _part(store: Store, id: bytes, horizon: int) -> Role:
    with suppress(Damaged):
        if horizon and get_record(store, Operation, id).sequence <= horizon:
            return Role.EXPIRED
    return Role.PLAIN


class _Verified:
    """A source whose records are what their ids say: a frame's checksum holds over whatever was written."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def get(self, kind: Kind, id: bytes) -> bytes:
        """See `Source`."""
        data = self._source.get(kind, id)
        if object_id(kind, data) != id:
            raise Damaged(f"{kind.name.lower()} {id.hex()} holds other bytes than those of its id")
        return data


class _IdsOnly:
    """A sink that keeps nothing."""

    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Digest:
        """See `Sink`."""
        return object_id(kind, data)


def _cut_problem(item: Item, node: Node) -> str:
    """Why these entries do not make this very node (I20), or ""."""
    cutter = Cutter(_IdsOnly(), node.level, keyed=bool(node.keys))
    cutter.feed(list(node.keys), list(node.values), list(node.counts))
    ends = len(cutter.done)
    if cutter.is_open:
        if not item.last and node.values:
            return "it ends where the rule does not end it"
        cutter.close()
        ends += 1
    return "it goes on where the rule ends it" if ends > 1 else ""
