"""The roots of a repository and everything that they reach: what a collector keeps.

Invariant: what is kept is closed under strong references. A mark can be taken further under the lock of the
writers, at the cost of what was published since.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from aq.formats.errors import Damaged
from aq.formats.identity import Digest, Kind
from aq.formats.objects import get_record
from aq.formats.records import Run
from aq.store.commits.reach import Item, Link, Role, Walk, ref_links
from aq.store.store import Store


class Marked:
    """What refs, operations and runs within `retention` before `now` (ns, ns UTC) reach.

    `horizon`: the last operation beyond it; `expired`: how many of these no operation has said so of before.
    """

    def __init__(self, store: Store, now: int, retention: int, *, met: bool = True) -> None:
        self.horizon = self.expired = 0
        self._store, self._now, self._retention = store, now, retention
        self._walk = Walk(store)
        self._operations_met: set[bytes] = set()
        self._runs_met: set[bytes] = set()
        if met:
            self.extend()

    def extend(self) -> None:
        """Meet what was not met yet. Raises Damaged: nothing is collected where something is damaged."""
        for _reason, roots in self._roots():
            self._meet(roots)

    def reasons(self) -> list[tuple[str, set[bytes]]]:
        """What is kept, each object for the first reason there is, by another walk."""
        found, before = [], set[bytes]()
        again = Marked(self._store, self._now, self._retention, met=False)
        for reason, roots in again._roots():
            again._meet(roots)
            found.append((reason, again.ids() - before))
            before = again.ids()
        return found

    def _meet(self, roots: Iterator[Link]) -> None:
        for visit in self._walk.visit(roots):
            if visit.error is not None:
                raise _unreadable(visit.item)

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
        """Runs within the retention; what was published while this looks is that in any case."""
        first, found = not self._runs_met, []
        for id in self._store.runs():
            if id in self._runs_met:
                break
            try:
                found.append((id, get_record(self._store, Run, id).time))
            except Damaged as error:
                raise _unreadable(Item(Kind.RUN, id)) from error
        self._runs_met |= {id for id, _time in found}
        times = believed([time for _id, time in found], self._now) if first else [self._now] * len(found)
        for (id, _time), time in zip(found, times, strict=True):
            if time >= self._now - self._retention:
                yield Link(Item(Kind.RUN, id))

    def _operations(self) -> Iterator[Link]:
        """Operations newest first."""
        first, found, before = not self._operations_met, list[_Done](), 0
        for id, operation in self._store.operations():
            if id in self._operations_met:
                break
            found.append(
                _Done(id, operation.sequence, operation.time, operation.refs, operation.files is not None)
            )
            before = max(before, operation.horizon)
        self._operations_met |= {one.id for one in found}
        if first:
            self.horizon = max(before, self._beyond(found))
            self.expired = self.horizon - before
        for one in found:
            role = Role.EXPIRED if one.sequence <= self.horizon else Role.PLAIN
            yield Link(Item(Kind.OPERATION, one.id, role))

    def _beyond(self, log: Sequence[_Done]) -> int:
        """The last operation that is too old, or 0.

        What `undo` would take back is not, nor is the one before the oldest that is kept: it says what was.
        """
        times = believed([one.time for one in log], self._now)
        start = next((at for at in range(len(log) - 1) if log[at].did_something(log[at + 1])), 0)
        old = [at for at in range(start + 1, len(log)) if times[at] < self._now - self._retention]
        return log[old[1]].sequence if len(old) > 1 else 0


class _Done(NamedTuple):
    """What is to be known of an operation."""

    id: Digest
    sequence: int
    time: int
    refs: bytes
    has_files: bool

    def did_something(self, before: _Done) -> bool:
        """Whether there is something to take back."""
        return self.has_files or self.refs != before.refs


def believed(times: Sequence[int], now: int) -> list[int]:
    """Times of what happened one after the other, newest first, as far as clocks can be believed.

    A time after `now` is taken for that of what came next; nothing is older than what came before it.
    """
    found, after = [], now
    for time in times:
        after = time if time <= now else after
        found.append(after)
    for at in range(len(found) - 2, -1, -1):
        found[at] = max(found[at], found[at + 1])
    return found


def horizon_of(store: Store) -> int:
    """Up to which operation what it referred to may have been collected. Raises Damaged."""
    return max((operation.horizon for _id, operation in store.operations()), default=0)


def _unreadable(item: Item) -> Damaged:
    what = f"{item.kind.name.lower()} {item.id.hex()}"
    return Damaged(f"nothing was collected: {what} cannot be read", hint="aq fsck")
