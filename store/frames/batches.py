"""Many objects looked at once: in the order of the packs, by two threads, each frame verified where it lies.

Invariant: what is shown is what `get` would give; whatever is not found right like this (not published
yet, moved by a collector, damaged) is asked of `get`, which has it or says what is wrong with it. Bytes
are unpacked one object at a time into memory that is used again, so that only who looks decides what stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from threading import Lock
from typing import Final, NamedTuple, Protocol

from aq.formats.errors import Damaged
from aq.formats.identity import Buffer, Kind, object_id
from aq.formats.objects import Origin
from aq.formats.packing import codecs, deltas, words
from aq.formats.packing.copies import copied
from aq.formats.packing.packs import Bases, Head, Place, decode_head, holds, seed_of
from aq.formats.threads import SecondThread, Stopped
from aq.store.frames.bases import DEEPEST
from aq.store.frames.neighbours import in_runs
from aq.store.frames.packs import MissingPack

RUN: Final = 1 << 20
"""Bytes of a pack that are read at a time."""
PARALLEL_FROM: Final = 1 << 20
"""Fewer bytes in the packs are not worth a thread."""

_HELD_MOST: Final = 64 << 20
"""Bytes of bases that are kept, all in all, for objects that are made from several."""
_FRAME_MOST: Final = 64 << 20
"""What would be longer is left to `get`: a damaged place may say anything, and memory is filled first."""
_spare: list[tuple[bytearray, codecs.Room, list[_Rooms]]] = []
"""What nobody reads or unpacks into now: fresh memory costs more than filling it."""

See = Callable[[int, Buffer], None]
"""Told which of the ids it is, and its bytes, which are right only until it returns."""


class Objects(Protocol):
    """Where objects lie, and how to read one of them."""

    def get(self, kind: Kind, id: bytes) -> bytes:
        """The canonical bytes, verified. Raises Damaged."""

    def places(self, ids: Iterable[bytes]) -> list[Place | None]:
        """The place of each in a pack, None where it has none."""


class Files(Protocol):
    """The packs."""

    def read_into(self, name: bytes, offset: int, buffer: memoryview) -> int:
        """Read a part of a pack; how many bytes there were. Raises MissingPack, Damaged."""


class _Wanted(NamedTuple):
    id: bytes
    place: Place


class _Rooms(NamedTuple):
    """Memory for what is made from others: for several bases in one, and for what they make."""

    bases: codecs.Room
    made: codecs.Room


class _Delta(NamedTuple):
    """A frame that was found right, to be applied to its bases; `found`: of several those shown so far."""

    id: bytes
    codec: int
    payload: bytes
    length: int
    bases: Bases
    found: dict[bytes, bytes]

    def made(self, id: bytes, base: words.Base, rooms: _Rooms) -> Buffer:
        """The object, its last base being that with this id. Raises Damaged."""
        if len(self.bases) > 1:
            parts = [base.data if one == id else self.found[one] for one in self.bases]
            base = words.Base(rooms.bases.put(parts, sum(map(len, parts))))
        return rooms.made.put(deltas.pieces(self.codec, self.payload, base, self.length), self.length)


def visit(objects: Objects, files: Files, kind: Kind, ids: Sequence[bytes], see: See) -> None:
    """Show every object once for each time that it is among `ids`, in any order, from either thread.

    Raises Damaged on what is not there or does not hold.
    """
    look = _Look(objects, files, kind, see)
    for at, id in enumerate(ids):
        look.positions[bytes(id)].append(at)
    look.all()
    for id, positions in look.positions.items():
        if id not in look.seen:
            data = objects.get(kind, id)
            for at in positions:
                see(at, data)


def origins(objects: Objects, files: Files, ids: Sequence[bytes]) -> list[Origin | None]:
    """What chunks are made from, by the frames of those that are copies of others."""
    places = dict(zip(map(bytes, ids), objects.places(ids), strict=True))
    found: dict[bytes, Origin] = {}
    made = []
    for id, place in places.items():
        if place is not None and place.kind == Kind.CHUNK:
            if not place.bases or place.codec == words.WORDS:
                found[id] = Origin(id, None, None)
            elif len(place.bases) == 1 and place.codec == deltas.COPIES:
                made.append(_Wanted(id, place))
    memory = bytearray(RUN)
    for run in in_runs(made, most=RUN):
        for id, head, frame in _frames(files, run, memory):
            with suppress(Damaged):
                runs = copied(bytes(frame[head.start :]))
                found[id] = Origin(head.bases[0], head.length, runs)
    return [found.get(bytes(id)) for id in ids]


class _Look:
    """What was shown so far, and what is still to be done by whoever is free."""

    def __init__(self, objects: Objects, files: Files, kind: Kind, see: See) -> None:
        self._objects, self._files, self._kind, self._see = objects, files, kind, see
        self._lock = Lock()
        self._stopped = False
        self._runs: Iterator[list[_Wanted]] = iter(())
        self._deltas: dict[bytes, list[_Delta]] = defaultdict(list)
        self._held = 0
        self.positions: dict[bytes, list[int]] = defaultdict(list)
        self.seen: set[bytes] = set()

    def all(self) -> None:
        """Show what lies in packs: first the deltas are read, then what lies in full, and they with it."""
        places = dict(zip(self.positions, self._objects.places(self.positions), strict=True))
        full, made = self._split(places)
        bases = [base for _, place in made for base in place.bases]
        for _ in range(DEEPEST):
            fresh = list(dict.fromkeys(base for base in bases if base not in places))
            if not fresh:
                break
            found = dict(zip(fresh, self._objects.places(fresh), strict=True))
            places |= found
            more, deeper = self._split(found)
            full, made = full + more, made + deeper
            bases = [base for _, place in deeper for base in place.bases]
        self._share(made)
        self._share(full)

    def _split(self, places: dict[bytes, Place | None]) -> tuple[list[_Wanted], list[_Wanted]]:
        """What lies in full, and what is made from others; the rest is left to `get`."""
        found: tuple[list[_Wanted], list[_Wanted]] = [], []
        for id, place in places.items():
            if place is not None and place.kind == self._kind:
                found[bool(place.bases)].append(_Wanted(id, place))
        return found

    def _share(self, wanted: list[_Wanted]) -> None:
        """Read all of these, by a second thread as well where there is much of it."""
        self._runs, self._stopped = in_runs(wanted, most=RUN), False
        if sum(one.place.size for one in wanted) < PARALLEL_FROM:
            self._work()
            return
        with SecondThread(self._work, self._stop) as second:
            self._work()
            second.finish()

    def _stop(self) -> None:
        self._stopped = True

    def _work(self) -> None:
        memory, room, rooms = _spare.pop() if _spare else (bytearray(RUN), codecs.Room(), [])
        try:
            while (run := self._next()) is not None:
                for id, data in self._in_full(run, memory, room):
                    self._show(id, data, rooms, 0)
        finally:
            _spare.append((memory, room, rooms))

    def _next(self) -> list[_Wanted] | None:
        with self._lock:
            if self._stopped:
                raise Stopped
            return next(self._runs, None)

    def _in_full(
        self, run: list[_Wanted], memory: bytearray, room: codecs.Room
    ) -> Iterator[tuple[bytes, Buffer]]:
        """Read a run: what lies in full, each in the memory of the one before; deltas are kept for later."""
        for id, head, frame in _frames(self._files, run, memory):
            if head.bases:
                delta = _Delta(id, head.codec, bytes(frame[head.start :]), head.length, head.bases, {})
                for base in dict.fromkeys(head.bases):
                    self._deltas[base].append(delta)
                continue
            with suppress(Damaged):
                yield id, codecs.unpack_into(room, head.codec, frame[head.start :], head.length)

    def _show(self, id: bytes, data: Buffer, rooms: list[_Rooms], depth: int) -> None:
        """Show an object, and what is made from it, which has memory of its own at each depth."""
        for at in self.positions.get(id, ()):
            self._see(at, data)
        self.seen.add(id)
        if depth == DEEPEST:  # of more in a row `get` says what is wrong
            return
        base = words.Base(data)
        if depth == len(rooms):
            rooms.append(_Rooms(codecs.Room(), codecs.Room()))
        for delta in self._deltas.get(id, ()):
            if len(delta.bases) > 1 and not self._has_all(delta, id, data):
                continue
            with suppress(Damaged):
                made = delta.made(id, base, rooms[depth])
                delta.found.clear()
                if self._is_right(delta.id, made):
                    self._show(delta.id, made, rooms, depth + 1)

    def _has_all(self, delta: _Delta, id: bytes, data: Buffer) -> bool:
        """Keep a base of several; whether it was the last one. What would take too much is left to `get`."""
        with self._lock:
            self._held += len(data)
            if self._held > _HELD_MOST:
                return False
            if len(delta.found) + 1 == len(set(delta.bases)):
                return True
            delta.found[id] = bytes(data)
            return False

    def _is_right(self, id: bytes, made: Buffer) -> bool:
        """Whether an object is what its id says: the checksum of its frame says nothing of its bases.

        What nobody asked for is only passed on: what is made from it tells.
        """
        return id not in self.positions or object_id(self._kind, made) == id


def _frames(files: Files, run: list[_Wanted], memory: bytearray) -> Iterator[tuple[bytes, Head, memoryview]]:
    """Id, head and bytes of each frame of a run that holds; they are overwritten by the next run."""
    first = run[0].place
    size = max(one.place.offset + one.place.size for one in run) - first.offset
    if size > _FRAME_MOST:
        return
    buffer = memoryview(memory if size <= RUN else bytearray(size))[:size]
    try:
        size = files.read_into(first.pack, first.offset, buffer)
    except (MissingPack, Damaged):
        return  # then each is asked for by itself, and the right one is blamed
    seed = seed_of(first.pack)
    for id, place in run:
        start = place.offset - first.offset
        frame = buffer[start : min(start + place.size, size)]
        head = _checked(frame, seed, id, place)
        if head is not None:
            yield id, head, frame


def _checked(frame: memoryview, seed: int, id: bytes, place: Place) -> Head | None:
    """The head of a frame that is whole, right, and what was asked for."""
    head = decode_head(frame)
    if head is None or head.id != id or not head.size == place.size == len(frame):
        return None
    if (head.kind, head.codec, head.bases) != (place.kind, place.codec, place.bases):
        return None
    return head if holds(seed, frame) else None
