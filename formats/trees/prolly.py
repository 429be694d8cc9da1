"""Prolly trees: ordered maps and lists whose nodes are chosen by content.

Invariant: equal sequences have equal roots, whatever edits led to them; similar ones share all
nodes but those near a difference. Values are short byte strings that this module never reads.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice
from operator import lt

from aq.formats.identity import Digest
from aq.formats.objects import Sink, Source
from aq.formats.trees.prolly_diff import map_diff
from aq.formats.trees.prolly_edit import map_edit
from aq.formats.trees.prolly_nodes import Cutter, Last, count, grow, load, load_child

__all__ = [
    "build_list",
    "build_map",
    "list_count",
    "list_items",
    "list_last",
    "map_count",
    "map_diff",
    "map_edit",
    "map_get",
    "map_items",
    "map_runs",
]

_RUN = 1_024


def build_map(sink: Sink, items: Iterable[tuple[bytes, bytes]]) -> Digest:
    """Write a map and return its root. Raises ValueError unless the keys ascend strictly.

    Memory: one run of entries, and 50 bytes for each node of 8 KiB.
    """
    cutter = Cutter(sink, 0, keyed=True)
    stream = iter(items)
    last: list[bytes] = []
    while run := list(islice(stream, _RUN)):
        keys = [key for key, _ in run]
        if not all(map(lt, last + keys, keys if last else keys[1:])):
            raise ValueError("the keys of a map must ascend strictly")
        cutter.feed(keys, [value for _, value in run], [])
        last = keys[-1:]
    return grow(sink, cutter.close(), 1, keyed=True)


def map_get(source: Source, root: bytes, key: bytes) -> bytes | None:
    """The value of `key`, or None. Reads one node a level."""
    node = load(source, root, keyed=True)
    while True:
        at = bisect_left(node.keys, key)
        if at == len(node.keys):
            return None
        if node.level == 0:
            return node.values[at] if node.keys[at] == key else None
        node = load_child(source, node, at)


def map_items(
    source: Source, root: bytes, *, start: bytes = b"", prefix: bytes = b""
) -> Iterator[tuple[bytes, bytes]]:
    """Entries in order whose key is at least `start` and begins with `prefix`; reads only these nodes."""
    for keys, values in map_runs(source, root, start=start, prefix=prefix):
        yield from zip(keys, values, strict=True)


def map_runs(
    source: Source, root: bytes, *, start: bytes = b"", prefix: bytes = b""
) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """As `map_items`, the keys and values of one node at a time."""
    begin, stop = max(start, prefix), _after(prefix)
    stack = [(load(source, root, keyed=True), 0)]
    first = True
    while stack:
        node, at = stack.pop()
        if first:
            at = bisect_left(node.keys, begin)
        if node.level == 0:
            first = False
            is_end = stop is not None and bool(node.keys) and node.keys[-1] >= stop
            end = bisect_left(node.keys, stop) if stop is not None and is_end else len(node.keys)
            if at < end:
                yield node.keys[at:end], node.values[at:end]
            if is_end:
                return
        elif at < len(node.values):
            stack.append((node, at + 1))
            stack.append((load_child(source, node, at), 0))


def _after(prefix: bytes) -> bytes | None:
    """The least byte string above everything that begins with `prefix`, or None if there is none."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,)) if kept else None


def map_count(source: Source, root: bytes) -> int:
    """How many entries a map has. Reads the root."""
    return count(load(source, root, keyed=True))


def build_list(sink: Sink, elements: Iterable[bytes], *, last: Last | None = None) -> Digest:
    """Write a list of short byte strings and return its root. Memory as `build_map`.

    `last` (`list_last` of an earlier version, or `NEW`): later versions will probably go on behind its end.
    """
    cutter = Cutter(sink, 0, keyed=False, last=last)
    stream = iter(elements)
    while run := [bytes(element) for element in islice(stream, _RUN)]:
        cutter.feed([], run, [])
    return grow(sink, cutter.close(), 1, keyed=False)


def list_items(source: Source, root: bytes, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """Elements `start` to `stop` (exclusive) in order; reads only the nodes that hold them."""
    left = None if stop is None else max(0, stop - start)
    skip = start
    stack = [(load(source, root, keyed=False), 0)]
    while stack and left != 0:
        node, at = stack.pop()
        if node.level == 0:
            part = node.values[skip : None if left is None else skip + left]
            skip = 0
            left = None if left is None else left - len(part)
            yield from part
            continue
        while at < len(node.values) and skip >= node.counts[at]:
            skip -= node.counts[at]
            at += 1
        if at < len(node.values):
            stack.append((node, at + 1))
            stack.append((load_child(source, node, at), 0))


def list_last(source: Source, root: bytes) -> Last:
    """The last node of level 0 of a list. Reads one node a level."""
    node, id = load(source, root, keyed=False), root
    entries = count(node)
    while node.level:
        id = node.values[-1]
        node = load_child(source, node, len(node.values) - 1)
    return Last(entries - len(node.values), bytes(id))


def list_count(source: Source, root: bytes) -> int:
    """How many elements a list has. Reads the root."""
    return count(load(source, root, keyed=False))
