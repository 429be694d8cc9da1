"""Who needs an object: the commits and paths from which it is reached.

Invariant: asked only where something is damaged, it walks everything once and keeps every reference
backwards. Of many commits it names the newest ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from aq.formats.identity import Kind
from aq.formats.objects import Source
from aq.formats.records import Commit, Operation, Run
from aq.store.commits.reach import Item, Link, Walk

NAMED_MOST: Final = 10


class User(NamedTuple):
    """A commit, run or operation that needs an object, newest first by `time`; `path` if it is by a path."""

    time: int
    kind: Kind
    id: bytes
    path: bytes | None


class Affected:
    """Answers for one state of the store; `roots` as for a walk."""

    def __init__(self, source: Source, roots: Iterable[Link]) -> None:
        self._above: dict[bytes, list[tuple[bytes, bytes | None]]] = {}
        self._users: dict[bytes, User] = {}
        self._known: dict[bytes, list[User]] = {}
        for visit in Walk(source, self._note).visit(roots):
            if isinstance(visit.record, (Commit, Run, Operation)):
                id = bytes(visit.item.id)
                self._users[id] = User(visit.record.time, visit.item.kind, id, None)

    def _note(self, item: Item, link: Link) -> None:
        if item.kind is Kind.COMMIT and link.item.kind is Kind.COMMIT:
            return  # a commit needs its parents, but is not what a parent's damage is looked for in
        self._above.setdefault(bytes(link.item.id), []).append((bytes(item.id), link.path))

    def users(self, id: bytes) -> list[User]:
        """The newest commits, runs and operations that need an object, commits in front."""
        stack = [bytes(id)]
        while stack:
            at = stack[-1]
            missing = [above for above, _path in self._above.get(at, ()) if above not in self._known]
            if missing and at not in self._known:
                self._known[at] = []  # a hostile cycle ends here
                stack += missing
                continue
            stack.pop()
            self._known[at] = self._merge(at)
        return self._known[bytes(id)]

    def _merge(self, id: bytes) -> list[User]:
        own = self._users.get(id)
        if own is not None and own.kind is not Kind.RUN:
            return [own]
        found = dict.fromkeys(self._inherited(id))
        if own is not None and not found:
            return [own]
        return sorted(found, key=_rank)[:NAMED_MOST]

    def _inherited(self, id: bytes) -> Iterator[User]:
        for above, path in self._above.get(id, ()):
            for user in self._known.get(above, ()):
                yield user if path is None or user.path is not None else user._replace(path=path)


def _rank(user: User) -> tuple[bool, int, bytes, bytes]:
    return user.kind is not Kind.COMMIT, -user.time, user.id, user.path or b""
