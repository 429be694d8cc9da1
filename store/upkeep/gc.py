"""`aq gc`: what nothing needs is condemned, and after a grace dropped from index and packs.

Invariant: nothing that a ref, an operation or run within retention, or a live writer needs is ever
dropped; a crash at any point leaves a whole repository. The steps are those of docs/format.md, 4.9.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

import lmdb
from aq.store.frames import bases, statblocks
from aq.store.frames.environment import explain
from aq.store.frames.index import Change, Collected, Condemned, State
from aq.store.frames.journal import FolderLock, Journal
from aq.store.frames.packs import PackFiles
from aq.store.frames.place_rows import decode_place
from aq.store.store import Store
from aq.store.system import lease, litter
from aq.store.transactions.recover import catch_up, is_behind
from aq.store.upkeep.compact import compact
from aq.store.upkeep.confirming import require_confirmed
from aq.store.upkeep.marking import Marked

DAY: Final = 86_400 * 10**9
RETENTION: Final = 30 * DAY
GRACE: Final = 3_600 * 10**9
T = TypeVar("T")


class Counts(NamedTuple):
    """Objects and bytes."""

    objects: int
    bytes: int


class Collection(NamedTuple):
    """What a collector kept and freed.

    `waiting`: what is condemned, and a later one may free; `leases`: whether a live writer holds it back;
    `expired`: how many operations are older than the retention now; `reasons`: why what is kept is
    kept (of a dry run alone).
    """

    kept: Counts
    freed: Counts
    waiting: Counts
    leases: bool
    expired: int
    reasons: tuple[tuple[str, Counts], ...] = ()


def collect(
    store: Store,
    *,
    now: int,
    user: str,
    retention: int = RETENTION,
    grace: int = GRACE,
    dry_run: bool = False,
) -> Collection:
    """Collect. Times in ns, `now` since 1970 UTC. `dry_run` changes nothing and says what would be freed.

    Raises Damaged where something that is needed cannot be read, or the index is wrong about where anything
    lies; Temporary where another one is at work.
    """
    now = max(now, 0)  # a clock may say anything; the index counts from 1970
    store.flush()
    with lease.alone(f"{store.control}/leases"):
        if not store.index.is_current():
            store.index.reopen()
        store.index.require_sound()  # what damage hides there would be taken for unneeded
        marked = Marked(store, now, retention)
        require_confirmed(store, marked.ids())
        before = store.bytes_on_disk()
        if dry_run:
            return _foreseen(store, marked, now - grace)
        if marked.expired:
            told = f"{marked.expired} operations expired"
            move = store.transaction("gc", time=now, user=user, description=told)
            move.horizon = marked.horizon
            move.commit()
        locked(store, lambda change, state, journal: _condemn(change, marked, now))
        store.renew_lease()
        leases = lease.oldest(f"{store.control}/leases")
        freed, waiting = locked(
            store, lambda change, state, journal: _sweep(change, marked, now, grace, leases)
        )
        compact(store, locked)
        with FolderLock(f"{store.control}/packs"):
            litter.sweep(str(store.control), grace=grace)
        kept = store.bytes_on_disk()
        objects = len(store.index.items("objects"))
        return Collection(
            kept=Counts(objects, kept),
            freed=Counts(freed, max(0, before - kept)),
            waiting=waiting,
            leases=leases is not None,
            expired=marked.expired,
        )


def locked(store: Store, do: Callable[[Change, State, Journal], T]) -> T:
    """Do something to the index under both locks, behind everything that the journal tells."""
    files = PackFiles(f"{store.control}/packs")
    try:
        with FolderLock(files.folder):
            if not store.index.is_current():
                store.index.reopen()
            while True:
                try:
                    if is_behind(_state(store), files):
                        _transact(store, files, _follow)  # so that those who read now see it too
                    return _transact(store, files, do)
                except lmdb.MapFullError:
                    store.index.environment.grow()
                except lmdb.Error as error:
                    store.index.environment.reset()
                    raise explain(error) from error
    finally:
        files.close()


def _state(store: Store) -> State:
    state = store.index.state()
    assert state is not None
    return state


def _follow(change: Change, state: State, journal: Journal) -> None:
    """Nothing more than what the journal tells."""


def _transact(store: Store, files: PackFiles, do: Callable[[Change, State, Journal], T]) -> T:
    writing = store.index.environment.writing()
    journal = None
    try:
        change = Change(writing.txn)
        state, journal = catch_up(change, files)
        done = do(change, state, journal)
        writing.commit()
        return done
    except BaseException:
        writing.abort()
        raise
    finally:
        if journal is not None:
            journal.close()


def _condemn(change: Change, marked: Marked, now: int) -> None:
    """Condemn what is not kept, under a new generation; what is kept again is condemned no more.

    What was condemned at a time that is yet to come (the clock was ahead then) is condemned anew.
    """
    marked.extend()
    kept = bases.needed(change, marked.ids())
    generation = change.collected().generation + 1
    for id, condemned in list(change.condemned()):
        if id in kept or condemned.time > now:
            change.delete("condemned", id)
    dead = [id for id, _place in change.items("objects") if id not in kept]
    change.condemn(dead, Condemned(generation, now))
    change.set_collected(Collected(generation, change.collected().swept))


def _sweep(change: Change, marked: Marked, now: int, grace: int, leases: int | None) -> tuple[int, Counts]:
    """Mark again, and drop from the index what was condemned before the grace and the oldest lease."""
    marked.extend()
    kept = bases.needed(change, marked.ids())
    dead, waiting, size = set(), 0, 0
    for id, condemned in list(change.condemned()):
        if id in kept:
            change.delete("condemned", id)
        elif condemned.time <= now - grace and (leases is None or condemned.generation <= leases):
            dead.add(id)
        else:
            place = change.get("objects", id)
            waiting, size = waiting + 1, size + (decode_place(place).size if place else 0)
    if dead:
        _drop(change, dead)
        swept = change.collected()
        change.set_collected(Collected(swept.generation, max(now, swept.swept + 1)))
    return len(dead), Counts(waiting, size)


def _drop(change: Change, dead: set[bytes]) -> None:
    """Everything that the index holds of these objects."""
    for id in sorted(dead):
        change.delete("objects", id)
        change.delete("condemned", id)
        change.delete("summaries", id)
        change.delete("lost", id)
    steps, runs = list(change.items("steps")), list(change.items("runs"))
    if any(id in dead for _key, id in steps):
        for key, _id in steps:
            change.delete("steps", key)
        for key, id in steps:
            if id not in dead:
                change.add_step(key[:32], id)
    if any(id in dead for _key, id in runs):
        for key, _id in runs:
            change.delete("runs", key)
        for _key, id in runs:
            if id not in dead:
                change.add_run(id)
    statblocks.drop(change, dead)


def _foreseen(store: Store, marked: Marked, before: int) -> Collection:
    leases = lease.oldest(f"{store.control}/leases")
    with store.index.look() as look:
        kept = bases.needed(look, marked.ids())
        condemned = dict(look.condemned())
        sizes = {id: decode_place(value).size for id, value in look.items("objects")}
    dead = [id for id in sizes if id not in kept]
    now_free = [
        id
        for id in dead
        if id in condemned
        and condemned[id].time <= before
        and (leases is None or condemned[id].generation <= leases)
    ]
    waiting = set(dead) - set(now_free)
    size = sum(sizes[id] for id in now_free)
    return Collection(
        Counts(len(sizes) - len(now_free), store.bytes_on_disk() - size),
        Counts(len(now_free), size),
        Counts(len(waiting), sum(sizes[id] for id in waiting)),
        leases is not None,
        marked.expired,
        tuple(
            (reason, Counts(len(ids), sum(sizes.get(id, 0) for id in ids)))
            for reason, ids in marked.reasons()
        ),
    )
