"""Editing a prolly map: the new tree out of the old one and a few changes.

Invariant: the result is the tree that building from the edited entries would give. Only nodes
on the way to a change are read, and nodes are cut anew only until the cuts fall together again.
Works level by level: the nodes replaced on one level are the changes of the next.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import islice, repeat
from operator import lt
from typing import Final

from aq.formats.identity import Digest
from aq.formats.objects import Sink, Source, SourceAndSink
from aq.formats.records import Node
from aq.formats.trees.prolly_nodes import Child, Cutter, count, grow, load, load_child

_RUN: Final = 4_096
Change = tuple[bytes, tuple[bytes, int] | None]
"""A key with its new value (or child id) and the entries below it (0 on level 0), or None."""
Replaced = tuple[list[Child], list[Child]]
"""A run of neighbouring nodes, before and after."""


def map_edit(objects: SourceAndSink, root: bytes, edits: Iterable[tuple[bytes, bytes | None]]) -> Digest:
    """The root after setting keys, or deleting those whose value is None; absent ones may be deleted.

    `edits` ascend strictly, else ValueError. Reads and writes O(changes · log entries) nodes.
    Memory: that of the edits; of an empty map a run of them.
    """
    top = load(objects, root, keyed=True)
    if not top.values:
        return _built(objects, edits)
    changes: list[Change] = [(key, None if value is None else (value, 0)) for key, value in edits]
    _require_ascending([key for key, _ in changes])
    inner: dict[bytes, Node] = {}
    replaced: list[Replaced] = []
    for level in range(top.level + 1):
        replaced = _edit_level(objects, _Walker(objects, top, root, level, inner), changes, level)
        changes = [change for old, new in replaced for change in _changes(old, new)]
    if not replaced:
        return Digest(root)
    children = replaced[0][1]
    if len(children) == 1:
        return _lowered(objects, children[0].id)
    return grow(objects, children, top.level + 1, keyed=True)


def _require_ascending(keys: list[bytes]) -> None:
    if not all(map(lt, keys, keys[1:])):
        raise ValueError("the keys of edits must ascend strictly")


def _built(sink: Sink, edits: Iterable[tuple[bytes, bytes | None]]) -> Digest:
    """The map with these entries and no others."""
    cutter = Cutter(sink, 0, keyed=True)
    stream, last = iter(edits), list[bytes]()
    while run := list(islice(stream, _RUN)):
        _require_ascending(last + [key for key, _ in run])
        last = [run[-1][0]]
        kept = [(key, value) for key, value in run if value is not None]
        cutter.feed([key for key, _ in kept], [value for _, value in kept], [])
    return grow(sink, cutter.close(), 1, keyed=True)


def _edit_level(objects: SourceAndSink, walker: _Walker, changes: list[Change], level: int) -> list[Replaced]:
    """Apply changes to one level; returns the runs of nodes that differ afterwards."""
    keys = [key for key, _ in changes]
    replaced: list[Replaced] = []
    begin = 0
    while begin < len(keys):
        walker.seek(keys[begin])
        cutter = Cutter(objects, level, keyed=True)
        old: list[Child] = []
        while True:
            here, is_last = walker.here(), walker.is_last
            end = len(keys) if is_last else bisect_right(keys, here.key, begin)
            edited = _edited(walker.node(), changes[begin:end])
            begin = end
            if edited is not None or cutter.is_open:
                old.append(here)
                cutter.feed(*(edited or _entries(walker.node())))
            if is_last or not cutter.is_open:
                break
            walker.forward()
        if old:
            replaced.append((old, cutter.close()))
    return replaced


def _entries(node: Node) -> tuple[list[bytes], list[bytes], list[int]]:
    return node.keys, node.values, node.counts


def _edited(node: Node, changes: list[Change]) -> tuple[list[bytes], list[bytes], list[int]] | None:
    """A node's entries after the changes, or None where these change nothing."""
    entries = dict(zip(node.keys, zip(node.values, node.counts or repeat(0), strict=False), strict=True))
    effective = [(key, entry) for key, entry in changes if entries.get(key) != entry]
    if not effective:
        return None
    for key, entry in effective:
        if entry is None:
            del entries[key]
        else:
            entries[key] = entry
    keys = sorted(entries)
    values = [entries[key][0] for key in keys]
    return keys, values, [entries[key][1] for key in keys] if node.level else []


def _changes(old: list[Child], new: list[Child]) -> Iterator[Change]:
    """What replacing `old` by `new` changes on the level above."""
    before = {child.key: child for child in old}
    after = {child.key: child for child in new}
    for key in sorted(before.keys() | after.keys()):
        child = after.get(key)
        if child != before.get(key):
            yield key, None if child is None else (child.id, child.entries)


def _lowered(source: Source, root: bytes) -> Digest:
    """The root of a tree whose top levels may have shrunk to one node each."""
    node = load(source, root, keyed=True)
    while node.level and len(node.values) == 1:
        root = node.values[0]
        node = load_child(source, node, 0)
    return Digest(root)


class _Walker:
    """A place on one level of a tree, moving to the right. Inner nodes are read once and shared."""

    def __init__(self, source: Source, top: Node, root: bytes, level: int, inner: dict[bytes, Node]) -> None:
        self._source, self._top, self._root, self._level, self._inner = source, top, root, level, inner
        self._path: list[tuple[Node, int]] = []

    def seek(self, key: bytes) -> None:
        """Go to the node that holds `key` or would hold it."""
        self._path = []
        node = self._top
        for depth in range(self._top.level - self._level):
            node = self._child() if depth else self._top
            self._path.append((node, min(bisect_left(node.keys, key), len(node.keys) - 1)))

    def forward(self) -> None:
        """Go to the next node of the level; there is one."""
        depth = len(self._path)
        while self._path[-1][1] + 1 == len(self._path[-1][0].values):
            self._path.pop()
        node, at = self._path.pop()
        self._path.append((node, at + 1))
        while len(self._path) < depth:
            self._path.append((self._child(), 0))

    @property
    def is_last(self) -> bool:
        """Whether the level ends with this node."""
        return all(at + 1 == len(node.values) for node, at in self._path)

    def here(self) -> Child:
        """The node as an entry of the level above."""
        if not self._path:
            return Child(self._top.keys[-1] if self._top.keys else b"", self._root, count(self._top))
        node, at = self._path[-1]
        return Child(node.keys[at], node.values[at], node.counts[at])

    def node(self) -> Node:
        """The node itself."""
        return self._child() if self._path else self._top

    def _child(self) -> Node:
        """The child that the path ends at; leaves are not kept, as there may be many."""
        node, at = self._path[-1]
        found = self._inner.get(node.values[at])
        if found is None:
            found = load_child(self._source, node, at)
            if found.level:
                self._inner[node.values[at]] = found
        return found
