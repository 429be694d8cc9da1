"""What objects refer to: the table of references of docs/format.md, section 3, as a walk.

Invariant: `links` yields exactly the strong references of one object, and `Walk` meets each object
once in each part that it plays. It reads nodes and records, never a chunk, and judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from enum import IntEnum
from typing import Any, Final, NamedTuple

from aq.formats.artifacts import collected
from aq.formats.errors import Damaged
from aq.formats.identity import Kind
from aq.formats.objects import Source
from aq.formats.records import (
    TYPES,
    Artifact,
    Commit,
    MappedItem,
    Node,
    Operation,
    Record,
    Run,
    RunStep,
    Step,
    decode,
)
from aq.formats.trees.prolly_nodes import count
from aq.store.commits.refs import TRACKING, Ref, decode_ref
from aq.store.commits.snapshots import Entry, Origin, unpack, unpack_touched


class Role(IntEnum):
    """What a node's entries are, which the node itself does not say."""

    PLAIN = 0
    REFS = 1
    SNAPSHOT = 2
    TOUCHED = 3
    PIECES = 4
    TABLE = 5
    LIST = 6
    CHUNKS = 7
    EXPIRED = 8
    """An operation that is older than what is kept, and its map of refs: a record of what was, no more."""
    MAPPED = 9
    """The items of a map's step."""
    RAN = 10
    """The items of a map that ran in a run, or failed."""
    COLLECTED = 11


class Item(NamedTuple):
    """An object in a part that it plays. `last`: whether a node is the last one of its level."""

    kind: Kind
    id: bytes
    role: Role = Role.PLAIN
    last: bool = True


class Link(NamedTuple):
    """A reference. `path` names the snapshot entry that it comes from.

    `claim`: what the referring object says about the other one: (level, entries, last key) of a child node,
    the time of a child commit, or the entry of a snapshot.
    """

    item: Item
    path: bytes | None = None
    claim: Any = None


class Visit(NamedTuple):
    """One object that was met: its record, or what was wrong with it."""

    item: Item
    record: Record | None
    error: Damaged | None = None


KEYED: Final = frozenset((Role.REFS, Role.EXPIRED, Role.SNAPSHOT, Role.TOUCHED, Role.TABLE))
DIGEST_SIZE: Final = 32
_REFERENCE: Final = 33
_ROWS: Final = 4
_PIECE: Final = 36


def links(item: Item, record: Record) -> Iterator[Link]:
    """The strong references of an object. Raises Damaged on what cannot be read as such."""
    match record:
        case Node():
            yield from _node_links(item, record)
        case Artifact():
            yield from _artifact_links(record)
        case Step():
            yield from (Link(Item(Kind.ARTIFACT, id)) for _name, id in record.outputs)
            if record.items is not None:
                yield Link(Item(Kind.NODE, record.items, Role.MAPPED))
        case Run():
            yield from _run_links(record)
        case Commit():
            yield Link(Item(Kind.NODE, record.snapshot, Role.SNAPSHOT))
            yield from (Link(Item(Kind.RUN, run)) for run in record.runs)
            yield from (Link(Item(Kind.COMMIT, parent), None, record.time) for parent in record.parents)
        case Operation():
            if item.role is Role.EXPIRED:
                yield Link(Item(Kind.NODE, record.refs, Role.EXPIRED))
            else:
                yield from operation_links(record)


def operation_links(record: Operation) -> Iterator[Link]:
    """What an operation needs; its parents stand for themselves."""
    yield Link(Item(Kind.NODE, record.refs, Role.REFS))
    yield from (Link(Item(Kind.RUN, run)) for run in record.runs)
    if record.files is not None:
        yield Link(Item(Kind.NODE, record.files, Role.TOUCHED))


def _run_links(record: Run) -> Iterator[Link]:
    yield Link(Item(Kind.NODE, record.snapshot, Role.SNAPSHOT))
    if record.code is not None:
        yield Link(Item(Kind.NODE, record.code, Role.SNAPSHOT))
    for id in (record.environment, record.static):
        if id is not None:
            yield Link(Item(Kind.ARTIFACT, id))
    yield from (Link(Item(Kind.ARTIFACT, source.artifact)) for source in record.sources)
    for step in record.steps:
        yield from _step_links(step)


def _step_links(step: RunStep) -> Iterator[Link]:
    yield from (Link(Item(Kind.STEP, id)) for id in (step.step, step.attempt) if id is not None)
    if step.log is not None:
        yield Link(Item(Kind.ARTIFACT, step.log))
    if step.items is not None:
        yield Link(Item(Kind.NODE, step.items, Role.RAN))


_ROOTS: Final = {"table": Role.TABLE, collected.FORMAT: Role.COLLECTED}


def _artifact_links(record: Artifact) -> Iterator[Link]:
    if record.root is not None:
        yield Link(Item(Kind.NODE, record.root, _ROOTS.get(record.format, Role.PIECES)))
    if record.format == "table":
        for reference in _in_type(record.type):
            yield from _referred(reference)
    elif record.format == "pickle" and isinstance(record.type, dict):
        yield from (Link(Item(Kind.ARTIFACT, id)) for id in record.type.get("artifacts", ()))


def _in_type(value: Any) -> Iterator[bytes]:
    """The references in a table's type information: sets of categories and labels."""
    if isinstance(value, dict):
        if isinstance(value.get("at"), bytes):
            yield value["at"]
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _in_type(part)


def _referred(reference: bytes) -> Iterator[Link]:
    """What a reference inside a table leads to (section 8.4)."""
    tag, id = reference[:1], reference[1:]
    if (tag == b"\0" and len(id) in (0, 32)) or (len(id) == 32 and tag in (b"\1", b"\2", b"\3")):
        if tag == b"\1":
            yield Link(Item(Kind.CHUNK, id))
        elif tag != b"\0":
            yield Link(Item(Kind.NODE, id, Role.CHUNKS if tag == b"\2" else Role.LIST))
        return
    raise Damaged("a table's reference cannot be read")


def _node_links(item: Item, node: Node) -> Iterator[Link]:
    if node.level:
        last = len(node.values) - 1
        keys = node.keys or [b""] * len(node.values)
        for at, (id, key, below) in enumerate(zip(node.values, keys, node.counts, strict=True)):
            child = Item(Kind.NODE, id, item.role, item.last and at == last)
            yield Link(child, None, (node.level - 1, below, key))
        return
    of = _ENTRY_LINKS[item.role]
    for key, value in zip(node.keys or [b""] * len(node.values), node.values, strict=True):
        yield from of(key, value)


def _of_ref(key: bytes, value: bytes) -> Iterator[Link]:
    name = key.decode("utf-8", "replace")
    yield from ref_links(name, decode_ref(name, value))


def ref_links(name: str, ref: Ref) -> Iterator[Link]:
    """What a ref holds."""
    if ref.id is not None:
        yield Link(Item(Kind.CHUNK if name == TRACKING else Kind.COMMIT, ref.id))


def _of_entry(path: bytes, value: bytes) -> Iterator[Link]:
    return entry_links(path, unpack(value))


def entry_links(path: bytes, entry: Entry) -> Iterator[Link]:
    """The artifact of a path, and the step that made it."""
    yield Link(Item(Kind.ARTIFACT, entry.artifact), path, entry if entry.origin is Origin.FILE else None)
    if entry.step is not None:
        yield Link(Item(Kind.STEP, entry.step), path, entry)


def _of_touched(path: bytes, value: bytes) -> Iterator[Link]:
    for entry in unpack_touched(value):
        if entry is not None:
            yield from entry_links(path, entry)


def _of_piece(_key: bytes, value: bytes) -> Iterator[Link]:
    if len(value) != _PIECE:
        raise Damaged(f"a list of pieces holds an element of {len(value)} bytes")
    yield Link(Item(Kind.CHUNK, value[:32]), None, int.from_bytes(value[32:], "little") & 0x7FFF_FFFF)


def _of_reference(_key: bytes, value: bytes) -> Iterator[Link]:
    return _referred(value[_ROWS:] if len(value) > _REFERENCE else value)


def _of_chunk(_key: bytes, value: bytes) -> Iterator[Link]:
    if len(value) != 32:
        raise Damaged(f"a list of chunks holds an element of {len(value)} bytes")
    yield Link(Item(Kind.CHUNK, value))


def _of_mapped(_key: bytes, value: bytes) -> Iterator[Link]:
    yield Link(Item(Kind.STEP, decode(MappedItem, value).step))


def _of_ran(_key: bytes, value: bytes) -> Iterator[Link]:
    return _step_links(decode(RunStep, value))


def _of_collected(_key: bytes, value: bytes) -> Iterator[Link]:
    yield Link(Item(Kind.ARTIFACT, collected.named(value)))


_ENTRY_LINKS: Final[dict[Role, Callable[[bytes, bytes], Iterator[Link]]]] = {
    Role.PLAIN: lambda _key, _value: iter(()),
    Role.REFS: _of_ref,
    Role.EXPIRED: lambda _key, _value: iter(()),
    Role.SNAPSHOT: _of_entry,
    Role.TOUCHED: _of_touched,
    Role.PIECES: _of_piece,
    Role.TABLE: _of_reference,
    Role.LIST: _of_reference,
    Role.CHUNKS: _of_chunk,
    Role.MAPPED: _of_mapped,
    Role.RAN: _of_ran,
    Role.COLLECTED: _of_collected,
}


def shape(record: Record) -> Any:
    """What a child node must be for the claim of its parent to hold."""
    if isinstance(record, Node):
        return record.level, count(record), record.keys[-1] if record.keys else b""
    return None


class Walk:
    """Everything reachable from some items, each once in each role. `seen` holds ids by role.

    `on_link` sees each reference, also to what was met before.
    """

    def __init__(self, source: Source, on_link: Callable[[Item, Link], None] | None = None) -> None:
        self.seen: dict[tuple[Role, bool], set[bytes]] = {}
        self._source = source
        self._on_link = on_link

    def has(self, id: bytes) -> bool:
        """Whether an object was met, in whatever role."""
        return any(id in ids for ids in self.seen.values())

    def has_plain(self, id: bytes) -> bool:
        """Whether an object that is no node was met."""
        return id in self.seen.get((Role.PLAIN, True), ())

    def ids(self) -> set[bytes]:
        """All objects that were met."""
        return set().union(*self.seen.values())

    def visit(self, roots: Iterable[Link]) -> Iterator[Visit]:
        """Meet what is reachable and was not met before, parents first.

        What is unreadable, or refers to something in an unreadable way, comes with its error.
        """
        for root in roots:
            stack = [root]
            while stack:
                item = stack.pop().item
                if not self._is_new(item):
                    continue
                try:
                    record = self._read(item)
                except Damaged as error:
                    yield Visit(item, None, error)
                    continue
                yield from self._follow(item, record, stack)

    def _follow(self, item: Item, record: Record | None, stack: list[Link]) -> Iterator[Visit]:
        start, error = len(stack), None
        if record is not None:
            try:
                for link in links(item, record):
                    if len(link.item.id) != DIGEST_SIZE:
                        raise Damaged("it refers to something that is no id")
                    if self._on_link is not None:
                        self._on_link(item, link)
                    stack.append(link)
            except Damaged as found:
                error = found
            except (TypeError, ValueError, AttributeError):
                error = Damaged("its references cannot be read")
        stack[start:] = stack[start:][::-1]
        yield Visit(item, record, error)

    def _is_new(self, item: Item) -> bool:
        ids = self.seen.setdefault((item.role, item.last), set())
        if item.id in ids:
            return False
        ids.add(bytes(item.id))
        return True

    def _read(self, item: Item) -> Record | None:
        """The record; None for a chunk, which is not looked at."""
        if item.kind is Kind.CHUNK:
            return None
        return decode(TYPES[item.kind], self._source.get(item.kind, item.id))


class Whole:
    """Whether everything that an object leads to is there, chunks unread."""

    def __init__(self, source: Source, is_there: Callable[[bytes], bool]) -> None:
        self._source = source
        self._is_there = is_there
        self._good: set[tuple[bytes, Role]] = set()
        self._bad: set[tuple[bytes, Role]] = set()

    def has(self, item: Item) -> bool:
        """Whether an object and all below it are there."""
        met: dict[tuple[bytes, Role], None] = {}
        stack = [item]
        while stack:
            at = stack.pop()
            key = bytes(at.id), at.role
            if key in met or key in self._good:
                continue
            met[key] = None
            below = None if key in self._bad else self._below(at)
            if below is None:
                self._bad |= {(bytes(item.id), item.role), key}
                return False
            stack += below
        self._good |= met.keys()
        return True

    def _below(self, item: Item) -> list[Item] | None:
        """What an object refers to, as far as that can be told; None if it cannot be read."""
        if item.kind is Kind.CHUNK:
            return [] if self._is_there(item.id) else None
        try:
            record = decode(TYPES[item.kind], self._source.get(item.kind, item.id))
        except Damaged:
            return None
        found: list[Item] = []
        with suppress(Damaged, TypeError, ValueError, AttributeError):
            found.extend(link.item for link in links(item, record))
        return found
