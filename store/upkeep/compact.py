"""Dropping bytes: packs with frames that the index does not know are written again without them.

Invariant: a pack is removed only after the index points to its copy, which was forced to the disk; a
copy that nothing points to goes with the next collector. Journals keep ordinals and operations.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from typing import Any, Final

from aq.formats.errors import Damaged
from aq.formats.identity import Kind
from aq.formats.packing.packs import PACKS, Header, Place, decode_head, holds, seed_of
from aq.store.frames.index import Change, Look, State
from aq.store.frames.journal import Journal
from aq.store.frames.pack_contents import read_header, read_places
from aq.store.frames.packs import Frame, PackFiles, PackWriter, read_all
from aq.store.frames.place_rows import encode_place
from aq.store.store import Store
from aq.store.system import disk

Locked = Callable[[Store, Callable[[Change, State, Journal], Any]], Any]
Places = list[tuple[bytes, Place]]
_UNLISTED: Final = (Kind.VOID, PACKS)
_KEPT: Final = (*_UNLISTED, Kind.OPERATION)
_AT_ONCE: Final = 1 << 20


def compact(store: Store, locked: Locked) -> None:
    """Write again, or remove, every pack that holds what the index does not know.

    First what can go as a whole, then what leaves the smallest copies: so even a full disk has room soon.
    """
    files = PackFiles(f"{store.control}/packs")
    try:
        state = _state(store)
        left = _without_dead(store, files, state, locked)
        if _dead(store, files, state.journal, upto=state.end):
            locked(store, lambda change, state, journal: _next_journal(change, state, journal, files))
            left = _without_dead(store, files, _state(store), locked)
        for _live, name in sorted(left):
            _compact_one(store, files, name, _state(store), locked, write=True)
    finally:
        files.close()


def _without_dead(store: Store, files: PackFiles, state: State, locked: Locked) -> list[tuple[int, bytes]]:
    """Remove packs that nothing needs; those of which a part is needed, and how many bytes of it."""
    left = []
    for name in files.names():
        if name != state.journal:
            live = _compact_one(store, files, name, state, locked, write=False)
            if live is not None:
                left.append((live, name))
    return left


def _state(store: Store) -> State:
    state = store.index.state()
    assert state is not None
    return state


def _next_journal(change: Change, state: State, journal: Journal, files: PackFiles) -> None:
    """Seal the journal and begin another one, so that it can be written again."""
    journal.seal()
    following = Journal.begin(files, journal.ordinal + 1)
    change.set_state(state._replace(ordinal=following.ordinal, end=following.end, journal=following.name))
    following.close()


def _live(look: Look, places: Places) -> Places:
    """The frames that the index points to, and those that are kept for the order of operations."""
    return [(id, place) for id, place in places if place.kind in _KEPT or look.place(id, place.kind) == place]


def _is_needed(look: Look, places: Places) -> bool:
    return any(place.kind not in _UNLISTED and look.place(id, place.kind) == place for id, place in places)


def _dead(store: Store, files: PackFiles, name: bytes, *, upto: int) -> bool:
    places = [(id, place) for id, place in read_places(files.path(name), name) if place.offset < upto]
    with store.index.look() as look:
        return len(_live(look, places)) < len(places)


def _compact_one(
    store: Store, files: PackFiles, name: bytes, state: State, locked: Locked, *, write: bool
) -> int | None:
    """Remove a pack, copied first if need be. Returns the bytes to copy where `write` forbids it."""
    path = files.path(name)
    header = read_header(path) or Header(name, 0)  # a writer may be killed before it writes one
    if header.ordinal > state.ordinal:
        return None
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        places = read_places(path, name)
        with store.index.look() as look:
            live, needed = _live(look, places), _is_needed(look, places)
        if not needed and (not header.ordinal or _has_twin(files, header)):
            gone = locked(store, lambda change, state, journal: _forget(change, name, places))
        elif len(live) == len(places):
            return None
        elif not write:
            return sum(place.size for _id, place in live)
        else:
            gone = _rewrite(store, files, fd, places, live, header, locked)
        if gone:
            disk.unlink(path)
            disk.fsync_folder(files.folder)
    except BlockingIOError:
        pass  # its writer lives
    finally:
        os.close(fd)
    return None


def _has_twin(files: PackFiles, header: Header) -> bool:
    """Whether another journal has the same ordinal: one of them a killed collector has left."""
    others = (read_header(files.path(name)) for name in files.names() if name != header.name)
    return any(other is not None and other.ordinal == header.ordinal for other in others)


def _forget(change: Change, name: bytes, places: Places) -> bool:
    """Whether it is still so that nothing needs the pack, now that nobody else writes."""
    if _is_needed(change, places):
        return False
    change.delete("packs", name)
    _note(change)
    return True


def _note(change: Change) -> None:
    """From now on packs may hold, and journals name, what the index does not."""
    done = change.collected()
    change.set_collected(done._replace(swept=done.swept + 1))


def _rewrite(
    store: Store, files: PackFiles, fd: int, places: Places, live: Places, header: Header, locked: Locked
) -> bool:
    """Copy the live frames; whether nothing needs the pack itself any more."""
    writer = PackWriter(files.folder, header.ordinal)
    try:
        for frames in _batches(fd, header.name, live):
            writer.add(frames)
        writer.seal()
        disk.fsync_folder(files.folder)
    except BaseException:
        writer.discard()
        raise
    try:
        return bool(
            locked(store, lambda change, state, journal: _point_to(change, header.name, places, live, writer))
        )
    finally:
        writer.close()  # whether the index points to it or not is for the next collector to see


def _batches(fd: int, name: bytes, live: Places) -> Iterator[list[Frame]]:
    frames: list[Frame] = []
    size = 0
    for id, place in live:
        data = read_all(fd, place.size, place.offset)
        head = decode_head(data)
        if head is None or len(data) != place.size or not holds(seed_of(name), data):
            raise Damaged(
                f"object {id.hex()} is damaged (pack {name.hex()}, byte {place.offset})", hint="aq fsck"
            )
        payload = data[head.start :]
        frames.append(
            Frame(head.kind, head.id, payload, codec=head.codec, length=head.length, bases=head.bases)
        )
        size += len(data)
        if size >= _AT_ONCE:
            yield frames
            frames, size = [], 0
    yield frames


def _point_to(change: Change, name: bytes, places: Places, live: Places, writer: PackWriter) -> bool:
    """The index points to the copies, where it still points to what was copied. Whether that was all.

    An index that was made anew in the meantime points to dead frames too.
    """
    if set(_live(change, places)) - set(live):
        return False
    for (id, old), (_id, new) in zip(live, writer.places, strict=True):
        if old.kind not in _UNLISTED and change.place(id, old.kind) == old:
            database = "summaries" if old.kind == Kind.SUMMARY else "objects"
            change.put(database, id, encode_place(new))
    if change.get("packs", name) is not None:
        change.delete("packs", name)
        change.put("packs", writer.name, b"")
    _note(change)
    for key, _end in list(change.items("gaps", prefix=name)):
        change.delete("gaps", key)
    return True
