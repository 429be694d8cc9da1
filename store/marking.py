"""The roots of a repository and everything that they reach: what a collector keeps.

Invariant: what is kept is closed under strong references. A mark can be taken further under the lock of the
writers, at the cost of what was published since.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from aq.formats.errors import Damaged
from aq.formats.identity import Kind
from aq.formats.objects import get_record
from aq.formats.records import Run
from aq.store.reach import Item, Link, Role, Walk
from aq.store.refs import TRACKING, Ref
from aq.store.store import Store


class Marked:
    """What refs, operations and runs since `since` (ns UTC) reach. `horizon`: the last older operation."""

    def __init__(self, store: Store, since: int, *, met: bool = True) -> None:
        self.horizon = horizon_of(store)
        self._store = store
        self._since = since
        self._walk = Walk(store)
        self._met: set[bytes] = set()
        if met:
            self.extend()

    def extend(self) -> None:
        """Meet what was not met yet. Raises Damaged: nothing is collected where something is damaged."""
        for _reason, roots in self._roots():
            self._meet(roots)

    def reasons(self) -> list[tuple[str, set[bytes]]]:
        """What is kept, each object for the first reason there is, by another walk."""
        found, before = [], set[bytes]()
        again = Marked(self._store, self._since, met=False)
        for reason, roots in again._roots():
            again._meet(roots)
            found.append((reason, again.ids() - before))
            before = again.ids()
        return found

    def _meet(self, roots: Iterator[Link]) -> None:
        for visit in self._walk.visit(roots):
            if visit.error is not None:
                what = f"{visit.item.kind.name.lower()} {visit.item.id.hex()}"
                raise Damaged(f"nothing was collected: {what} cannot be read", hint="aq fsck")

    def ids(self) -> set[bytes]:
        """Everything that is kept."""
        return self._walk.ids()

    def _roots(self) -> Iterator[tuple[str, Iterator[Link]]]:
        """By reason, in the order in which they are looked at."""
        refs = self._store.refs().items()
        yield "branches and tags", (link for name, ref in refs for link in ref_links(name, ref))
        yield "recent operations", self._operations()
        yield "recent runs", self._runs()

    def _runs(self) -> Iterator[Link]:
        for id in self._store.runs():
            with suppress(Damaged):
                if get_record(self._store, Run, id).time >= self._since:
                    yield Link(Item(Kind.RUN, id))

    def _operations(self) -> Iterator[Link]:
        """Operations newest first. The one before the last that is kept stays whole too, for `undo`."""
        old = 0
        for position, (id, operation) in enumerate(self._store.operations()):
            if id in self._met:
                return
            self._met.add(id)
            old += old > 0 or (position > 0 and operation.time < self._since)
            if old == 2:
                self.horizon = max(self.horizon, operation.sequence)
            expired = operation.sequence <= self.horizon
            yield Link(Item(Kind.OPERATION, id, Role.EXPIRED if expired else Role.PLAIN))


def ref_links(name: str, ref: Ref) -> Iterator[Link]:
    """What a ref keeps."""
    if ref.id is not None:
        yield Link(Item(Kind.CHUNK if name == TRACKING else Kind.COMMIT, ref.id))


def horizon_of(store: Store) -> int:
    """Up to which operation what it referred to may have been collected. Raises Damaged."""
    return max((operation.horizon for _id, operation in store.operations()), default=0)
