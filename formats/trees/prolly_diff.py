"""Comparing two prolly maps.

Invariant: yields every key whose value differs, in order, and nothing else; equal subtrees that
both trees share are skipped unread, so the cost follows the differences and not the maps.
"""

from __future__ import annotations

from collections.abc import Iterator

from aq.formats.objects import Source
from aq.formats.records import Node
from aq.formats.trees.prolly_nodes import load, load_child

Difference = tuple[bytes, bytes | None, bytes | None]
"""A key, its value before and after; None where the key is absent."""


def map_diff(source: Source, a: bytes, b: bytes) -> Iterator[Difference]:
    """The differences from map `a` to map `b` by ascending key. Reads O(differences · log entries) nodes."""
    if a == b:
        return
    left, right = _Place(source, a), _Place(source, b)
    while left.path and right.path:
        if left.level > right.level:
            left.descend()
        elif right.level > left.level:
            right.descend()
        elif left.level == 0:
            yield from _leaves(left, right)
        elif left.id == right.id:
            left.skip()
            right.skip()
        else:
            left.descend()
            right.descend()
    yield from ((key, value, None) for key, value in left.rest())
    yield from ((key, None, value) for key, value in right.rest())


class _Place:
    """A place before an entry of some level, moving to the right; an empty path is the end."""

    def __init__(self, source: Source, root: bytes) -> None:
        self._source = source
        node = load(source, root, keyed=True)
        self.path: list[tuple[Node, int]] = [(node, 0)] if node.values else []

    @property
    def level(self) -> int:
        """The level of the entry ahead: 0 for an entry proper."""
        return self.path[-1][0].level

    @property
    def id(self) -> bytes:
        """The id of the subtree ahead."""
        node, at = self.path[-1]
        return node.values[at]

    def descend(self) -> None:
        """Go before the first entry of the subtree ahead."""
        node, at = self.path[-1]
        self.path.append((load_child(self._source, node, at), 0))

    def skip(self, entries: int = 1) -> None:
        """Leave entries of the current node behind, and its parents where that ends them."""
        node, at = self.path.pop()
        if at + entries < len(node.values):
            self.path.append((node, at + entries))
        elif self.path:
            self.skip()

    def rest(self) -> Iterator[tuple[bytes, bytes]]:
        """Everything from here to the end."""
        while self.path:
            node, at = self.path[-1]
            if node.level:
                self.descend()
            else:
                yield from zip(node.keys[at:], node.values[at:], strict=True)
                self.skip(len(node.values) - at)


def _leaves(left: _Place, right: _Place) -> Iterator[Difference]:
    """Compare two leaves from the current places until one of them ends."""
    (a, i), (b, j) = left.path[-1], right.path[-1]
    begin_a, begin_b = i, j
    keys_a, keys_b, values_a, values_b = a.keys, b.keys, a.values, b.values
    while i < len(keys_a) and j < len(keys_b):
        key_a, key_b = keys_a[i], keys_b[j]
        if key_a == key_b:
            if values_a[i] != values_b[j]:
                yield key_a, values_a[i], values_b[j]
            i, j = i + 1, j + 1
        elif key_a < key_b:
            yield key_a, values_a[i], None
            i += 1
        else:
            yield key_b, None, values_b[j]
            j += 1
    if i > begin_a:
        left.skip(i - begin_a)
    if j > begin_b:
        right.skip(j - begin_b)
