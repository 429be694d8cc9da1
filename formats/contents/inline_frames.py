"""Frames of small files: their records made without an encoder, laid behind each other in one buffer.

Invariant: a record is what `records.encode` makes of the artifact, and a frame what `encode_frame` makes
of the record. The buffer is used again and again: what was handed out of it holds until `clear`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import Final

from aq.formats.contents.files import INLINE_BELOW
from aq.formats.identity import Kind, pre_image
from aq.formats.packing.packs import FRAME_MAGIC, HEAD_SIZE
from aq.formats.records import Artifact, encode
from blake3 import blake3
from xxhash import xxh3_64_intdigest

ROOM: Final = 2 << 20
"""Bytes of the buffer: more would not stay in the processor's cache."""
_MARK: Final = b"\xa6format"  # what follows the content in a record
_PRE: Final = len(pre_image(Kind.ARTIFACT, 0))
_checksum = Struct("<Q")
_head = Struct("<4sBBBBQQ32s")
_KIND: Final = int(Kind.ARTIFACT)
BESIDE_MOST: Final = HEAD_SIZE + 256
"""More bytes than a frame takes beside its content."""


class InlineFrames:
    """Artifacts of files of fewer than `INLINE_BELOW` bytes, as frames without their checksums.

    `ids` are theirs, in order; `ends` is where each frame ends in the buffer, which is made if none is given.
    """

    def __init__(self, buffer: memoryview | None = None) -> None:
        self.ids: list[bytes] = []
        self.ends: list[int] = []
        self._end = 0
        self._view = memoryview(bytearray(ROOM)) if buffer is None else buffer

    def has_room(self, size: int) -> bool:
        """Whether frames of so many bytes in all find room."""
        return self._end + size <= ROOM

    @property
    def size(self) -> int:
        """Bytes of all frames."""
        return self._end

    def add(self, data: bytes) -> bytes:
        """Lay the frame of a file with this content; returns its artifact's id.

        The bytes that are hashed before the record stand for a moment where the id will.
        """
        before, after = _around(len(data))
        start = self._end
        hashed = start + (HEAD_SIZE - _PRE)
        record = b"".join((before, data, after))
        length = len(record) - _PRE
        self._end = end = hashed + len(record)
        self._view[hashed:end] = record
        id = blake3(record).digest()
        _head.pack_into(self._view, start + 8, FRAME_MAGIC, _KIND, 0, 0, 0, length, length, id)
        self.ids.append(id)
        self.ends.append(end)
        return id

    def take_in(self, ids: Sequence[bytes], ends: Sequence[int]) -> None:
        """Frames that another process has laid into the buffer."""
        self.ids, self.ends = list(ids), list(ends)
        self._end = self.ends[-1] if self.ends else 0

    def record(self, number: int) -> bytes:
        """The canonical bytes of one artifact."""
        start = self.ends[number - 1] if number else 0
        return bytes(self._view[start + HEAD_SIZE : self.ends[number]])

    def seal(self, seed: int, chosen: Sequence[int]) -> tuple[list[memoryview], list[int]]:
        """Checksum chosen frames (ascending): the pieces to write in turn, and the size of each frame."""
        view, ends = self._view, self.ends
        pieces: list[memoryview] = []
        sizes: list[int] = []
        first = last = 0
        for number in chosen:
            start = ends[number - 1] if number else 0
            if start != last:
                if last > first:
                    pieces.append(view[first:last])
                first = start
            last = ends[number]
            _checksum.pack_into(view, start, xxh3_64_intdigest(view[start + 8 : last], seed))
            sizes.append(last - start)
        if last > first:
            pieces.append(view[first:last])
        return pieces, sizes

    def clear(self) -> None:
        """Begin anew."""
        self.ids.clear()
        self.ends.clear()
        self._end = 0


@lru_cache(maxsize=INLINE_BELOW)
def _around(size: int) -> tuple[bytes, bytes]:
    """What stands before and after the content of a file of this size in what is hashed of its record."""
    record = encode(Artifact(kind="file", format="bytes", size=size, data=bytes(size)))
    end = record.index(_MARK)
    return pre_image(Kind.ARTIFACT, len(record)) + record[: end - size], record[end:]
