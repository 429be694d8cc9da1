"""Walks over commits: first parents, everything newest first, common ancestors.

Invariant: a commit comes before its parents. Rests on the rule that a commit's time is never
before a parent's; equal times are ordered by looking for the ancestors among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from heapq import heappop, heappush
from typing import Final, NamedTuple, Protocol

from aq.formats.identity import Digest
from aq.formats.objects import Source, get_record
from aq.formats.records import Commit
from aq.store.commits.laps import Laps
from aq.store.commits.refs import HEAD, Ref

_LEFT: Final = 1
_RIGHT: Final = 2
_STALE: Final = 4


class RefSource(Source, Protocol):
    """Objects and refs."""

    def refs(self) -> Mapping[str, Ref]:
        """All refs, as of one moment."""


class Head(NamedTuple):
    """Where HEAD is: on a branch (its full ref name), or detached; `commit` is None on an unborn branch."""

    branch: str | None
    commit: Digest | None


def head(store: RefSource) -> Head:
    """Where HEAD is now."""
    refs = store.refs()
    ref = refs.get(HEAD, Ref(target="branch/main"))
    if ref.id is not None:
        return Head(None, ref.id)
    found = refs.get(ref.target)
    return Head(ref.target, found.id if found else None)


def commit(store: Source, id: bytes) -> Commit:
    """Read one commit."""
    return get_record(store, Commit, id)


def first_parents(store: Source, id: bytes) -> Iterator[tuple[Digest, Commit]]:
    """A commit and its first parents up to the first commit of all."""
    laps = Laps("commit")
    while True:
        laps.step(id)
        record = commit(store, id)
        yield Digest(id), record
        if not record.parents:
            return
        id = record.parents[0]


def walk(
    store: Source, tips: Iterable[bytes], exclude: Iterable[bytes] = ()
) -> Iterator[tuple[Digest, Commit]]:
    """What is reachable from `tips` and not from `exclude`: newest first, parents after their children."""
    frontier = _Frontier(store)
    for id in tips:
        frontier.add(id, 0)
    for id in exclude:
        frontier.add(id, _STALE)
    while frontier.fresh:
        id, record, flags = frontier.pop()
        for parent in record.parents:
            frontier.add(parent, flags)
        if not flags:
            yield Digest(id), record


def is_ancestor(store: Source, ancestor: bytes, id: bytes) -> bool:
    """Whether `ancestor` is `id` or reachable from it. Reads no commit older than `ancestor`."""
    oldest = commit(store, ancestor).time
    seen, stack = {bytes(id)}, [bytes(id)]
    while stack:
        at = stack.pop()
        if at == ancestor:
            return True
        record = commit(store, at)
        if record.time >= oldest:
            stack += [parent for parent in record.parents if parent not in seen]
            seen.update(record.parents)
    return False


def merge_bases(store: Source, a: bytes, b: bytes) -> list[Digest]:
    """The best common ancestors: those that are no ancestor of another one. Several after a criss-cross."""
    return common_ancestors(store, [a], [b])


def common_ancestors(store: Source, left: Iterable[bytes], right: Iterable[bytes]) -> list[Digest]:
    """As `merge_bases`, of what is reachable from any of `left` and from any of `right`."""
    frontier = _Frontier(store)
    for id in left:
        frontier.add(id, _LEFT)
    for id in right:
        frontier.add(id, _RIGHT)
    found: list[Digest] = []
    while frontier.fresh:
        id, record, flags = frontier.pop()
        if flags == _LEFT | _RIGHT:
            found.append(Digest(id))
            flags |= _STALE
        for parent in record.parents:
            frontier.add(parent, flags)
    return found


class _Frontier:
    """Commits to visit, newest first; flags flow from children to parents.

    `fresh` counts those that are not stale: when none is left, nothing new can be found.
    """

    def __init__(self, store: Source) -> None:
        self._store = store
        self._heap: list[tuple[int, bytes]] = []
        self._waiting: dict[bytes, tuple[Commit, int]] = {}
        self._done: set[bytes] = set()
        self.fresh = 0

    def add(self, id: bytes, flags: int) -> None:
        """Plan to visit a commit, or add flags to one that waits."""
        id = bytes(id)
        if id in self._done:
            return
        known = self._waiting.get(id)
        if known is None:
            record = commit(self._store, id)
            self._waiting[id] = record, flags
            heappush(self._heap, (-record.time, id))
            self.fresh += not flags & _STALE
        else:
            record, before = known
            self._waiting[id] = record, before | flags
            self.fresh -= bool(flags & _STALE and not before & _STALE)

    def pop(self) -> tuple[bytes, Commit, int]:
        """The newest commit that no waiting one descends from."""
        id = self._next()
        record, flags = self._waiting.pop(id)
        self._done.add(id)
        self.fresh -= not flags & _STALE
        return id, record, flags

    def _next(self) -> bytes:
        time, id = heappop(self._heap)
        if not self._heap or self._heap[0][0] != time:
            return id
        equal = [id]
        while self._heap and self._heap[0][0] == time:
            equal.append(heappop(self._heap)[1])
        below = self._below(equal, -time)
        chosen = next((each for each in equal if each not in below), equal[0])
        for each in equal:
            if each != chosen:
                heappush(self._heap, (time, each))
        return chosen

    def _below(self, ids: list[bytes], time: int) -> set[bytes]:
        """Everything of this very time that one of `ids` descends from."""
        found: set[bytes] = set()
        stack = [parent for id in ids for parent in self._waiting[id][0].parents]
        while stack:
            id = bytes(stack.pop())
            if id in found or id in self._done:
                continue
            waiting = self._waiting.get(id)
            record = waiting[0] if waiting else commit(self._store, id)
            if record.time == time:
                found.add(id)
                stack += record.parents
        return found
