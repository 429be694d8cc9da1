"""Pack files: reading frames from them, writing data packs.

Invariant: bytes leave `PackFiles` only after their checksum, id and kind were found right. A data
pack is locked by its writer until it is in the index. The layout is `formats.packing.packs`.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import accumulate
from threading import Lock
from typing import TYPE_CHECKING, Final

from aq.formats.errors import AqError, Damaged
from aq.formats.identity import Buffer, Kind, object_id
from aq.formats.packing import codecs, deltas
from aq.formats.packing.packs import (
    HEAD_MOST,
    HEAD_SIZE,
    HEADER_SIZE,
    Bases,
    Head,
    Header,
    Place,
    decode_head,
    encode_frame,
    encode_header,
    holds,
    seed_of,
)
from aq.store.frames.environment import REBUILD
from aq.store.frames.pack_contents import closing
from aq.store.system import disk
from xxhash import xxh3_64

if TYPE_CHECKING:
    from aq.formats.contents.inline_frames import InlineFrames

SEAL_AT: Final = 64 << 20
"""A pack of this many bytes is sealed and another one begun."""
_OPEN_MOST: Final = 48
_SPLIT_FROM: Final = 64 << 10


class MissingPack(Exception):
    """The index names a pack that is not there (any more): look again."""


class _File:
    """A descriptor that closes when the last one who uses it lets go."""

    __slots__ = ("fd",)

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # a module that ends has no `os` left
        fd = getattr(self, "fd", -1)
        if fd >= 0:
            close(fd)


class PackFiles:
    """The packs of one repository, opened for reading as needed."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._lock = Lock()
        self._open: dict[bytes, _File] = {}

    def path(self, name: bytes) -> str:
        """The file of the pack of this name."""
        return f"{self.folder}/{name.hex()}.pack"

    def names(self) -> list[bytes]:
        """The names of all packs in the folder."""
        files = (file for file in os.listdir(self.folder) if len(file) == 21 and file.endswith(".pack"))
        return sorted(bytes.fromhex(file[:16]) for file in files)

    def size(self) -> int:
        """Bytes of all packs together."""
        return sum(os.path.getsize(self.path(name)) for name in self.names())

    def close(self) -> None:
        """Let go of all files."""
        with self._lock:
            self._open.clear()

    def _file(self, name: bytes) -> _File:
        found = self._open.get(name)
        if found is None:
            try:
                found = _File(self.path(name))
            except FileNotFoundError:
                raise MissingPack(name.hex()) from None
            except OSError as error:
                raise AqError(f"{self.path(name)}: {error.strerror}") from error
            with self._lock:
                if len(self._open) >= _OPEN_MOST:
                    del self._open[next(iter(self._open))]
                self._open[name] = found
        return found

    def read(self, id: bytes, place: Place, base: bytes = b"") -> bytes:
        """The canonical bytes of the frame at `place`; `base`: those of its bases, if it has any.

        Raises Damaged, MissingPack.
        """
        file, read = self._file(place.pack), _read_split if place.size > _SPLIT_FROM else _read
        try:
            return read(file.fd, id, place, base)
        except (OSError, OverflowError) as error:
            raise self._refused(id, place, error) from error

    def read_into(self, name: bytes, offset: int, buffer: memoryview) -> int:
        """Read a part of a pack, unverified; how many bytes there were. Raises Damaged, MissingPack."""
        file, filled = self._file(name), 0
        try:
            while filled < len(buffer):
                count = os.preadv(file.fd, [buffer[filled:]], offset + filled)
                if not count:
                    break
                filled += count
        except (OSError, OverflowError) as error:
            raise Damaged(f"{self.path(name)}: {getattr(error, 'strerror', error)}") from error
        return filled

    def head(self, id: bytes, place: Place) -> Head:
        """The head of the frame at `place`, without checking its payload. Raises Damaged, MissingPack."""
        file = self._file(place.pack)
        try:
            return _checked(decode_head(os.pread(file.fd, HEAD_MOST, place.offset)), id, place)
        except (OSError, OverflowError) as error:
            raise self._refused(id, place, error) from error

    def _refused(self, id: bytes, place: Place, error: OSError | OverflowError) -> Damaged:
        """What the disk did not give; or there is no such byte in any file."""
        if isinstance(error, OverflowError) or error.errno == errno.EINVAL:
            return _damaged(id, place)
        return Damaged(f"object {id.hex()}: {self.path(place.pack)}: {error.strerror}", hint="aq fsck")


def _read(fd: int, id: bytes, place: Place, base: bytes) -> bytes:
    frame = os.pread(fd, place.size, place.offset)
    head = _checked(decode_head(frame), id, place)
    if len(frame) != place.size or not holds(seed_of(place.pack), frame):
        raise _damaged(id, place)
    if head.codec == codecs.RAW:
        return frame[head.start :]
    return _unpack(head, memoryview(frame)[head.start :], base)


def _read_split(fd: int, id: bytes, place: Place, base: bytes) -> bytes:
    """The same in two reads: a large payload needs no second copy."""
    start = HEAD_SIZE + 32 * len(place.bases)
    before = os.pread(fd, start, place.offset)
    head = _checked(decode_head(before), id, place)
    payload = read_all(fd, place.size - start, place.offset + start)
    checksum = xxh3_64(before[8:], seed_of(place.pack))
    checksum.update(payload)
    if len(payload) != head.stored or checksum.digest() != before[7::-1]:
        raise _damaged(id, place)
    return _unpack(head, payload, base)


def _checked(head: Head | None, id: bytes, place: Place) -> Head:
    if head is None or head.id != id or head.kind != place.kind or head.size != place.size:
        raise _damaged(id, place)
    return head


def _unpack(head: Head, payload: Buffer, base: bytes) -> bytes:
    try:
        return unpacked(head, payload, base)
    except Damaged as error:
        raise Damaged(f"object {head.id.hex()} is damaged: {error.message}", hint=REBUILD) from None


def unpacked(head: Head, payload: Buffer, base: bytes) -> bytes:
    """The canonical bytes; of a delta hashed again, since its checksum says nothing of its base."""
    if not head.bases:
        return codecs.unpack(head.codec, payload, head.length)
    data = deltas.unpack(head.codec, payload, base, head.length)
    if object_id(Kind(head.kind), data) != head.id:
        raise Damaged("its base is not the one that it was made from")
    return data


def _damaged(id: bytes, place: Place) -> Damaged:
    where = f"pack {place.pack.hex()} at byte {place.offset}"
    return Damaged(f"object {id.hex()} is damaged ({where})", hint=REBUILD)


def read_all(fd: int, size: int, offset: int) -> bytes:
    """`size` bytes from `offset`, or fewer at the end of the file."""
    pieces = []
    while size > 0:
        piece = os.pread(fd, min(size, 1 << 30), offset)
        if not piece:
            break
        pieces.append(piece)
        size, offset = size - len(piece), offset + len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class PackWriter:
    """A data pack being written. Not safe for two threads."""

    def __init__(self, folder: str, ordinal: int = 0) -> None:
        self.name = os.urandom(8)
        self.path = f"{folder}/{self.name.hex()}.pack"
        self.seed = seed_of(self.name)
        self.places: list[tuple[bytes, Place]] = []
        self.handed_over = False  # once journal or index may tell of it
        self.fd = _create_locked(self.path)
        self.end = HEADER_SIZE
        try:
            disk.write_at(self.fd, encode_header(Header(self.name, ordinal)), 0, path=self.path)
        except BaseException:
            with suppress(AqError):  # garbage that gc finds
                self.discard()
            raise

    def add(self, frames: list[Frame]) -> list[Place]:
        """Write frames with one call; returns their places, in order."""
        pieces: list[Buffer] = []
        places, end = [], self.end
        for frame in frames:
            new = frame.encode(self.seed)
            size = sum(map(len, new))
            pieces += new
            places.append(frame.place(self.name, end, size))
            end += size
        disk.write_pieces_at(self.fd, pieces, self.end, path=self.path)
        self.end = end
        self.places += zip((frame.id for frame in frames), places, strict=True)
        return places

    def add_laid(self, frames: InlineFrames, chosen: Sequence[int]) -> list[Place]:
        """Write chosen ones of frames that lie in their buffer; returns their places, in order."""
        pieces, sizes = frames.seal(self.seed, chosen)
        disk.write_pieces_at(self.fd, pieces, self.end, path=self.path)
        ends = list(accumulate(sizes, initial=self.end))
        name, kind = self.name, int(Kind.ARTIFACT)
        places = [Place(name, at, size, kind, codecs.RAW) for at, size in zip(ends, sizes)]  # noqa: B905
        self.places += zip((frames.ids[number] for number in chosen), places, strict=True)
        self.end = ends[-1]
        return places

    def seal(self) -> None:
        """Write contents and footer and force all of it to the disk."""
        self.finish()
        self.force()

    def finish(self) -> None:
        """Write contents and footer."""
        pieces = closing(self.name, self.places, self.end)
        disk.write_pieces_at(self.fd, pieces, self.end, path=self.path)
        self.end += sum(map(len, pieces))

    def force(self) -> None:
        """Force what was written to the disk."""
        disk.fsync(self.fd, path=self.path)

    def close(self) -> None:
        """Let go of the file and its lock."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def discard(self) -> None:
        """Remove the pack: nothing relies on it."""
        self.close()
        disk.unlink(self.path)


def _create_locked(path: str) -> int:
    """A new file with its lock held: a collector that finds it before it is locked removes it."""
    while True:
        fd = disk.create(path)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.path.exists(path):
            return fd
        os.close(fd)


class Frame:
    """An object on its way into a pack."""

    __slots__ = ("bases", "codec", "id", "kind", "length", "payload")

    def __init__(
        self, kind: int, id: bytes, payload: Buffer, *, codec: int = 0, length: int, bases: Bases = ()
    ) -> None:
        self.kind = kind
        self.id = id
        self.payload = payload
        self.codec = codec
        self.length = length
        self.bases = bases

    @property
    def size(self) -> int:
        """Bytes of the whole frame."""
        return HEAD_SIZE + 32 * len(self.bases) + len(self.payload)

    def encode(self, seed: int) -> list[Buffer]:
        """The pieces to write."""
        return encode_frame(
            seed, self.kind, self.id, self.payload, codec=self.codec, length=self.length, bases=self.bases
        )

    def place(self, pack: bytes, offset: int, size: int) -> Place:
        """Where it will lie."""
        return Place(pack, offset, size, self.kind, self.codec, self.bases)

    def data(self, base: bytes = b"") -> bytes:
        """The canonical bytes; `base`: those of its bases, if it has any."""
        if self.bases:
            return deltas.unpack(self.codec, self.payload, base, self.length)
        return codecs.unpack(self.codec, self.payload, self.length)
