"""Following the journal: what a dead writer left behind `state`'s end is applied or cut off.

Invariant: the journal's order is the truth about refs. Every function here runs under both locks.
The crash cases are listed in docs/format.md, section 4.6; making a whole index is
`store.transactions.rebuild`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, NamedTuple

from aq.formats.errors import AqError, Damaged
from aq.formats.identity import Kind
from aq.formats.objects import Source, get_record
from aq.formats.packing.packs import CONTENTS, HEADER_SIZE, NAME_SIZE, NO_ID, PACKS, Head, Place
from aq.formats.records import Operation, Step
from aq.formats.trees.prolly import map_items
from aq.store.frames.environment import DamagedIndex
from aq.store.frames.group import Group
from aq.store.frames.index import Change, Index, Look, State
from aq.store.frames.journal import FolderLock, Journal, find_journal
from aq.store.frames.objects import Batch
from aq.store.frames.pack_contents import read_places, walk
from aq.store.frames.packs import PackFiles, read_all
from aq.store.transactions import following
from aq.store.transactions.opening import contradiction

_NO_STATE: Final = "the index has no state"


class Tail(NamedTuple):
    """What stands behind the journal's end: whole groups up to `length`, perhaps contents."""

    frames: list[tuple[int, Head]]
    length: int
    sealed: bool


def first_state(journal: Journal) -> State:
    """The state of an index that has followed nothing yet."""
    return State(0, NO_ID, NO_ID, journal.ordinal, journal.end, journal.name)


def catch_up(change: Change, files: PackFiles) -> tuple[State, Journal]:
    """Follow the journal to its end; returns the state, as written to the index, and the open journal.

    Raises DamagedIndex where `state`'s end is not one: nothing is cut off then.
    """
    before = change.state()
    if before is None:
        raise Damaged(_NO_STATE)
    state, journal = before, Journal.open(files, before)
    if journal is None or journal.size() < state.end:
        if journal is not None:
            journal.close()
        journal = Journal.begin(files, state.ordinal + 1)
        state = _at(state, journal)
    try:
        if journal.size() > journal.end:
            _require_end(change, files, state, journal)
        while journal.size() != journal.end:
            state, journal = _follow(change, state, journal)
    except BaseException:
        journal.close()
        raise
    if state != before:
        change.set_state(state)
    return state, journal


def _require_end(look: Look, files: PackFiles, state: State, journal: Journal) -> None:
    """Raise DamagedIndex unless a frame ends, or the header, where `state` says that all groups end."""
    why = contradiction(look, files, state)
    place = look.place(state.operation, Kind.OPERATION)
    start = place.offset if place is not None and place.pack == state.journal else HEADER_SIZE
    data = b"" if why else read_all(journal.fd, state.end - start, start)
    end = start
    for offset, head in walk(state.journal, data, 0):
        end = start + offset + head.size
    if why or end != state.end:
        raise DamagedIndex(why or f"no frame ends at byte {state.end} of journal {state.ordinal}")


def _at(state: State, journal: Journal) -> State:
    return state._replace(ordinal=journal.ordinal, end=journal.end, journal=journal.name)


def _follow(change: Change, state: State, journal: Journal) -> tuple[State, Journal]:
    data = journal.tail()
    tail = whole_groups(journal.name, data)
    if tail.sealed and find_journal(journal.files, journal.ordinal + 1) is not None:
        journal.rewrite(data)
        following = Journal.begin(journal.files, journal.ordinal + 1)
        journal.close()
        return _at(_applied(change, journal.files, state, _placed(state, tail)), following), following
    journal.rewrite(data[: tail.length])
    return _at(_applied(change, journal.files, state, _placed(state, tail)), journal), journal


def _applied(change: Change, files: PackFiles, state: State, frames: list[tuple[bytes, Place]]) -> State:
    """As `apply`, and what the dead writer took from the condemned is taken, if a collector was ever at work.

    What cannot be read then is the matter of `fsck`.
    """
    after = apply(change, files, state, frames)
    if frames and change.collected().generation:
        from aq.store.transactions.reliance import rely

        packs = [name for id, place in frames if place.kind == PACKS for name in _names(files, id, place)]
        places = [*frames, *(one for name in packs for one in read_places(files.path(name), name))]
        with suppress(AqError):
            rely(change, Group(change, files), places)
    return after


def whole_groups(name: bytes, data: bytes) -> Tail:
    """The frames of `data` up to the last operation or void frame."""
    frames: list[tuple[int, Head]] = []
    length = 0
    waiting: list[tuple[int, Head]] = []
    for offset, head in walk(name, data, 0):
        if head.kind == CONTENTS:
            return Tail(frames, length, not waiting)
        waiting.append((offset, head))
        if head.kind in (Kind.OPERATION, Kind.VOID):
            frames, length = frames + waiting, offset + head.size
            waiting = []
    return Tail(frames, length, False)


def _placed(state: State, tail: Tail) -> list[tuple[bytes, Place]]:
    return [
        (head.id, Place(state.journal, state.end + offset, head.size, head.kind, head.codec, head.bases))
        for offset, head in tail.frames
    ]


def apply(change: Change, files: PackFiles, state: State, frames: Iterable[tuple[bytes, Place]]) -> State:
    """Put the frames of whole groups into the index, and follow their operations and voids in order."""
    objects = Group(change, files)
    waiting: list[tuple[bytes, Place]] = []
    for id, place in frames:
        if place.kind == PACKS:
            for name in _names(files, id, place):
                add_pack(change, files, name)
            continue
        waiting.append((id, place))
        if place.kind == Kind.OPERATION:
            add_frames(change, objects, waiting)
            waiting = []
            operation = get_record(objects, Operation, id)
            if operation.sequence > state.sequence:
                state = _current(change, objects, state, id, operation)
                if operation.files is not None:
                    following.begin(change, operation.sequence)
        elif place.kind == Kind.VOID and id == state.operation:
            following.taken_back(change, state.sequence)
            state = _taken_back(change, objects, state)
    add_frames(change, objects, waiting)
    return state


def _names(files: PackFiles, id: bytes, place: Place) -> list[bytes]:
    payload = files.read(id, place)
    return [payload[at : at + NAME_SIZE] for at in range(0, len(payload), NAME_SIZE)]


def add_pack(change: Change, files: PackFiles, name: bytes) -> None:
    """Put every frame of a data pack into the index, once."""
    if change.get("packs", name) is None:
        add_frames(change, Group(change, files), read_places(files.path(name), name))
        change.put("packs", name, b"")


def add_frames(change: Change, source: Source, places: list[tuple[bytes, Place]]) -> None:
    """Put frames into the index, steps and runs under their own keys too."""
    runs = new_only(change, (id for id, place in places if place.kind == Kind.RUN))
    change.add_places(places)
    steps = [id for id, place in places if place.kind == Kind.STEP]
    register(change, [(get_record(source, Step, id).key, id) for id in steps], runs)


def new_only(change: Change, ids: Iterable[bytes]) -> list[bytes]:
    """The objects that the index does not have yet, each once."""
    return [id for id in dict.fromkeys(ids) if change.get("objects", id) is None]


def register(change: Change, steps: Iterable[tuple[bytes, bytes]], runs: Iterable[bytes]) -> None:
    """Record steps by their key, and runs, behind the earlier ones."""
    for key, id in steps:
        change.add_step(key, id)
    for id in runs:
        change.add_run(id)


def _current(change: Change, source: Source, state: State, id: bytes, operation: Operation) -> State:
    """Make an operation the current one: its refs are the refs."""
    wanted = dict(map_items(source, operation.refs))
    for name, _value in list(change.items("refs")):
        if name not in wanted:
            change.delete("refs", name)
    change.put_many("refs", wanted.items())
    return state._replace(sequence=operation.sequence, operation=id, refs=operation.refs)


def _taken_back(change: Change, source: Source, state: State) -> State:
    """Make the parent of the current operation the current one."""
    parents = get_record(source, Operation, state.operation).parents
    if not parents:
        return state
    parent = get_record(source, Operation, parents[0])
    return _current(change, source, state, parents[0], parent)


def is_behind(state: State, files: PackFiles) -> bool:
    """Whether something stands behind the end of the journal that the index knows."""
    try:
        return os.path.getsize(files.path(state.journal)) > state.end
    except OSError:
        return False


def follow_dead_writer(index: Index, files: PackFiles, publish: Callable[[Batch], object]) -> None:
    """Finish what a dead writer has left, unless a live one is at work."""
    is_short = index.environment.is_short()
    if not (is_short or _is_behind(index, files)):
        return
    lock = FolderLock(files.folder)
    try:
        if not lock.take(wait=False):
            return  # a live writer is between its journal and its index
        if is_short:
            index.environment.lengthen()
    finally:
        lock.free()
    if _is_behind(index, files):
        publish(Batch([], [], [], [], []))


def _is_behind(index: Index, files: PackFiles) -> bool:
    state = index.state()
    return state is not None and is_behind(state, files)
