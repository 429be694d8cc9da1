"""The content of a file, written from packs in runs of many frames, each verified before it is written.

Invariant: no byte is written that was not found right; what cannot be had this way (a frame that moved,
is damaged or not in a pack yet) is asked of the store, which gives it or says what is wrong with it.
Memory: two buffers of 8 MiB and the places of 64 MiB. Files are the caller's to make and to remove.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import RLock
from typing import Final, NamedTuple, Protocol, runtime_checkable

from aq.formats.contents.files import Piece, pieces, read_piece
from aq.formats.errors import Damaged
from aq.formats.identity import Buffer, Kind
from aq.formats.objects import Source
from aq.formats.packing import codecs
from aq.formats.packing.packs import Place, decode_head, holds, seed_of
from aq.formats.records import Artifact
from aq.formats.threads import SecondThread, Stopped
from aq.store.frames.neighbours import in_runs
from aq.store.frames.packs import MissingPack
from aq.store.system import disk

RUN: Final = 8 << 20
"""Bytes of a pack that are read at a time."""
AHEAD: Final = 64 << 20
"""Bytes of the file whose pieces are brought into the order of the packs."""
PARALLEL_FROM: Final = 16 << 20
"""Shorter files are not worth a thread."""
WRITE: Final = 256 << 10
"""Bytes that are written at a time; with more the system looks for larger pages, which takes longer."""

_spare: list[bytearray] = []
"""Buffers that no file uses now: fresh memory costs more than reading into it."""


@runtime_checkable
class Packed(Protocol):
    """A source that tells where its objects lie."""

    def places(self, ids: Iterable[bytes]) -> list[Place | None]:
        """The place of each object in a pack, None where it has none."""

    def read_into(self, pack: bytes, offset: int, buffer: memoryview) -> int:
        """Read a part of a pack; how many bytes there were. Raises MissingPack, Damaged."""


class Wanted(NamedTuple):
    """A piece that is to be written at `at`, and where it lies."""

    piece: Piece
    at: int
    place: Place


class Alone(NamedTuple):
    """A piece that the store is asked for: a delta, or in no pack, or large."""

    piece: Piece
    at: int


Run = list[Wanted] | Alone
"""Pieces whose frames are near each other in one pack, in its order; or one by itself."""


def copy_content(
    source: Source,
    artifact: Artifact,
    fd: int,
    path: str,
    *,
    on_bytes: Callable[[int], None] | None = None,
) -> int:
    """Write the content of an artifact of one part into an open, empty file; returns how many bytes.

    `path` is for messages. `on_bytes` is told of bytes that were written, in any order, from either thread.
    Raises Damaged with the id of what is damaged or missing, AqError where the disk refuses.
    """
    if artifact.root is None:
        data = artifact.data or b""
        disk.write_at(fd, data, 0, path=path)
        if on_bytes is not None:
            on_bytes(len(data))
        return len(data)
    copy = _Copy(source, fd, path, on_bytes)
    return copy.all(artifact.root, parallel=artifact.size >= PARALLEL_FROM)


class _Copy:
    """One file on its way out: whoever is free takes the next run."""

    def __init__(self, source: Source, fd: int, path: str, on_bytes: Callable[[int], None] | None) -> None:
        self._source, self._fd, self._path, self._on_bytes = source, fd, path, on_bytes
        self._packed = source if isinstance(source, Packed) else None
        self._lock = RLock()
        self._stopped = False
        self._size = 0

    def all(self, root: bytes, *, parallel: bool) -> int:
        """Write every piece under a root."""
        self._runs = self._plan(root)
        if parallel and self._packed is not None:
            with SecondThread(self._work, self._stop) as second:
                self._work()
                second.finish()
        else:
            self._work()
        return self._size

    def _stop(self) -> None:
        self._stopped = True

    def _plan(self, root: bytes) -> Iterator[Run]:
        """The pieces of the file as runs."""
        ahead: list[tuple[Piece, int]] = []
        taken = 0
        for piece in pieces(self._source, root):
            ahead.append((piece, self._size))
            self._size += piece.length
            taken += piece.length
            if taken >= AHEAD:
                yield from self._runs_of(ahead)
                ahead, taken = [], 0
        yield from self._runs_of(ahead)

    def _runs_of(self, ahead: list[tuple[Piece, int]]) -> Iterator[Run]:
        places: Sequence[Place | None] = [None] * len(ahead)
        if self._packed is not None:
            places = self._packed.places(piece.id for piece, _ in ahead)
        wanted = []
        for (piece, at), place in zip(ahead, places, strict=True):
            if place is None or place.kind != Kind.CHUNK or place.bases or place.size > RUN:
                yield Alone(piece, at)
            else:
                wanted.append(Wanted(piece, at, place))
        yield from in_runs(wanted, most=RUN)

    def _work(self) -> None:
        memory = _spare.pop() if _spare else bytearray(RUN)
        try:
            while (run := self._next()) is not None:
                if isinstance(run, Alone):
                    self._write([read_piece(self._source, run.piece)], run.at)
                else:
                    self._write_run(run, memoryview(memory))
        finally:
            _spare.append(memory)

    def _next(self) -> Run | None:
        with self._lock:
            if self._stopped:
                raise Stopped
            return next(self._runs, None)

    def _write_run(self, run: list[Wanted], buffer: memoryview) -> None:
        start = run[0].place.offset
        size = max(one.place.offset + one.place.size for one in run) - start
        read = self._read(run[0].place.pack, start, buffer[:size])
        seed = seed_of(run[0].place.pack)
        slab = _Slab(self._write)
        for one in run:
            first = one.place.offset - start
            data = _content(one, buffer[first : min(first + one.place.size, read)], seed)
            slab.add(read_piece(self._source, one.piece) if data is None else data, one.at)
        slab.flush()

    def _read(self, pack: bytes, offset: int, buffer: memoryview) -> int:
        assert self._packed is not None
        try:
            return self._packed.read_into(pack, offset, buffer)
        except (MissingPack, Damaged):
            return 0  # then each piece is asked for by itself, and the right one is blamed

    def _write(self, data: list[Buffer], at: int) -> None:
        disk.write_pieces_at(self._fd, data, at, path=self._path)
        if self._on_bytes is not None:
            with self._lock:
                self._on_bytes(sum(map(len, data)))


class _Slab:
    """Collects bytes that belong next to each other, and writes them up to each round offset."""

    def __init__(self, write: Callable[[list[Buffer], int], None]) -> None:
        self._emit = write
        self._parts: list[Buffer] = []
        self._begin = self._end = 0

    def add(self, data: Buffer, at: int) -> None:
        """Bytes for the offset `at`; they must stay as they are until they are written."""
        if at != self._end:
            self.flush()
            self._begin = self._end = at
        view = memoryview(data)
        while len(view):
            part = view[: WRITE - self._end % WRITE]
            self._parts.append(part)
            self._end += len(part)
            view = view[len(part) :]
            if self._end % WRITE == 0:
                self.flush()

    def flush(self) -> None:
        """Write what is there."""
        if self._parts:
            self._emit(self._parts, self._begin)
        self._parts, self._begin = [], self._end


def _content(one: Wanted, frame: memoryview, seed: int) -> Buffer | None:
    """The bytes of a piece out of its frame; None unless it is whole, right, and what was asked for."""
    head = decode_head(frame)
    if head is None or head.size != len(frame) or head.size != one.place.size or not holds(seed, frame):
        return None
    if head.id != one.piece.id or head.kind != Kind.CHUNK or head.length != one.piece.length or head.bases:
        return None
    if head.codec == codecs.RAW:
        return frame[head.start :] if head.stored == head.length else None
    try:
        return codecs.unpack(head.codec, frame[head.start :], head.length)
    except Damaged:
        return None
