"""Nodes of prolly trees: where they end, how they are read and written.

Invariant: the ends of a level's nodes are a function of its entries alone (docs/format.md,
section 5). This module knows one node and one level; trees are made in `formats.trees.prolly`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from operator import add, lt
from typing import Final, NamedTuple

from aq.formats.errors import Damaged
from aq.formats.identity import Digest, Kind
from aq.formats.objects import Sink, Source
from aq.formats.records import Node, decode, encode
from xxhash import xxh3_64_intdigest

SIZE_LEAST: Final = 4_096
SIZE_MOST: Final = 16_384
MAP_OVERHEAD: Final = 4
LIST_OVERHEAD: Final = 2
LEVEL_MOST: Final = 63
_SHIFT: Final = 52
EMPTY: Final = Node(level=0, values=[])


class Child(NamedTuple):
    """A written node as an entry of the level above: last key (b"" in a list), id, entries below it."""

    key: bytes
    id: bytes
    entries: int


class Last(NamedTuple):
    """The last node of a level of an earlier tree, which goes on growing: how many entries lie before it."""

    start: int
    id: bytes


NEW: Final = Last(-1, b"")
"""There is no earlier tree."""


class Cutter:
    """Cuts the entries of one level into nodes, writes them, and collects them in `done`.

    Feed it runs of entries from left to right; between two calls it may hold an open node. `last`: the
    level is one that grows at its end, and is stored as such.
    """

    def __init__(self, sink: Sink, level: int, *, keyed: bool, last: Last | None = None) -> None:
        self.done: list[Child] = []
        self._last, self._start = last, 0
        self._sink, self._level, self._keyed = sink, level, keyed
        self._keys: list[bytes] = []
        self._values: list[bytes] = []
        self._counts: list[int] = []

    @property
    def is_open(self) -> bool:
        """Whether entries wait for the end of their node."""
        return bool(self._values)

    def feed(self, keys: list[bytes], values: list[bytes], counts: list[int]) -> None:
        """Append entries. A list passes no keys, level 0 no counts."""
        self._keys += keys
        self._values += values
        self._counts += counts
        marks = self._keys if self._keyed else self._values
        sizes = self._sizes()
        ends = list(accumulate(sizes))
        begin = 0
        while (end := self._next_end(marks, sizes, ends, begin)) is not None:
            self._write(begin, end)
            begin = end
        if begin:
            del self._keys[:begin], self._values[:begin], self._counts[:begin]

    def close(self) -> list[Child]:
        """End the open node, as the end of the level does, and return all nodes."""
        if self._values:
            self._write(0, len(self._values), is_last=True)
            self._keys, self._values, self._counts = [], [], []
        return self.done

    def _sizes(self) -> list[int]:
        if self._keyed:
            both = map(add, map(len, self._keys), map(len, self._values))
            return [size + MAP_OVERHEAD for size in both]
        return [len(value) + LIST_OVERHEAD for value in self._values]

    def _next_end(self, marks: Sequence[bytes], sizes: list[int], ends: list[int], begin: int) -> int | None:
        """Where the node that starts at `begin` ends (exclusive), or None while it stays open."""
        before = ends[begin - 1] if begin else 0
        first = bisect_left(ends, before + SIZE_LEAST, begin)
        forced = before + SIZE_MOST
        level = self._level
        for at in range(max(first, begin + 1), len(ends)):
            if xxh3_64_intdigest(marks[at], level) >> _SHIFT < sizes[at] or ends[at] >= forced:
                return at + 1
        return None

    def _write(self, begin: int, end: int, *, is_last: bool = False) -> None:
        keys, values = self._keys[begin:end], self._values[begin:end]
        counts = self._counts[begin:end]
        node = Node(level=self._level, values=values, keys=keys, counts=counts)
        base = None
        if self._last is not None:
            base = self._last.id if self._start == self._last.start else b"" if is_last else None
            self._start += len(values)
        id = bytes(self._sink.put(Kind.NODE, encode(node), base=base))
        count = sum(counts) if self._level else len(values)
        self.done.append(Child(keys[-1] if keys else b"", id, count))


def load(source: Source, id: bytes, *, keyed: bool) -> Node:
    """Read a root and check its shape. Raises Damaged."""
    node = decode(Node, source.get(Kind.NODE, id))
    problem = shape_problem(node, keyed=keyed)
    if problem:
        raise Damaged(f"node {id.hex()} {problem}")
    return node


def load_child(source: Source, parent: Node, at: int) -> Node:
    """Read a child and check that it is what its parent says. Raises Damaged.

    So a hostile tree cannot be deeper than its root's level nor larger than its root's count.
    """
    node = load(source, parent.values[at], keyed=bool(parent.keys))
    fits = node.level == parent.level - 1 and count(node) == parent.counts[at]
    if not fits or (parent.keys and node.keys[-1:] != parent.keys[at : at + 1]):
        raise Damaged(f"node {parent.values[at].hex()} is not what its parent says")
    return node


def shape_problem(node: Node, *, keyed: bool) -> str:
    """Why no reader takes this for a node of a map, or of a list, or ""."""
    entries = len(node.values)
    if not 0 <= node.level <= LEVEL_MOST:
        return f"has level {node.level}"
    if len(node.keys) != (entries if keyed else 0):
        return f"has {len(node.keys)} keys for {entries} entries"
    if len(node.counts) != (entries if node.level else 0) or any(each < 1 for each in node.counts):
        return f"has wrong counts for {entries} entries"
    if node.level and (not entries or any(len(value) != 32 for value in node.values)):
        return "does not name its children"
    if not all(map(lt, node.keys, node.keys[1:])):
        return "has keys out of order"
    return ""


def count(node: Node) -> int:
    """How many entries of level 0 lie at or below a node."""
    return sum(node.counts) if node.level else len(node.values)


def grow(sink: Sink, children: list[Child], level: int, *, keyed: bool) -> Digest:
    """Build levels from `level` on over all nodes of the level below; returns the root."""
    if not children:
        return sink.put(Kind.NODE, encode(EMPTY))
    while len(children) > 1:
        cutter = Cutter(sink, level, keyed=keyed)
        keys = [child.key for child in children] if keyed else []
        cutter.feed(keys, [child.id for child in children], [child.entries for child in children])
        children = cutter.close()
        level += 1
    return Digest(children[0].id)
