"""How the bytes of one object are packed for the disk: raw, zstd, or zstd of byte planes.

Invariant: `unpack(*pack(kind, data))` is `data`; never more than the declared length is unpacked.
Nodes, and records but for long artifacts, stay raw, so that reading history never imports zstandard. Which
of these a chunk gets is told by a sample, and by nothing but its bytes. Deltas are in `deltas`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from threading import local
from typing import TYPE_CHECKING, Final

from aq.formats.errors import Damaged
from aq.formats.identity import Buffer, Kind
from aq.formats.packing import growth, planes, words
from aq.formats.packing.words import WORDS

if TYPE_CHECKING:
    from zstandard import ZstdCompressor, ZstdDecompressor

RAW: Final = 0
ZSTD: Final = 1
PLANES: Final = 4
"""zstd of the byte planes of a table chunk (2 and 3 are deltas, 5 has its own module)."""
IN_FULL: Final = frozenset({RAW, ZSTD, PLANES, WORDS})
"""The codecs of what is no delta."""
_SMALLEST: Final = {Kind.CHUNK: 256, Kind.ARTIFACT: 4_096, Kind.SUMMARY: 16_384}
"""Shorter ones are not worth a try, and history and its facts are to be read without zstandard."""
LEVEL: Final = 1
_BETTER: Final = 3
_PACKED_MOST: Final = 64 << 10
"""Packed segments of so many bytes are compressed at `_BETTER` too: in columns of few distinct numbers side
by side the lowest level finds little; of numbers that ascend evenly it finds more."""
LENGTH_MOST: Final = 256 << 20
"""Longer chunks are not compressed, so that nothing that is has to be unpacked to more."""
RATIO_MOST: Final = 32_768
"""The most that zstd makes of a byte: a block of 128 KiB takes four. Source: RFC 8878, 3.1.1.2."""
_SAMPLE: Final = 2_048
_SAMPLED_FROM: Final = 32_768
_SPLIT_FROM: Final = 4_096
"""Shorter arrays gain too little from planes to be compressed twice."""
_TYPICAL: Final = 100_000
"""Bytes of a usual chunk: zstd chooses its search by the size."""
_KEPT_MOST: Final = 8 << 20
"""A chunk of a table is shorter; memory for a longer one is not held on to."""
_threads = local()


def pack(kind: Kind, data: Buffer) -> tuple[int, Buffer]:
    """Codec and payload for the canonical bytes: zstd where it saves an eighth, else the bytes themselves."""
    size = len(data)
    if not _SMALLEST.get(kind, LENGTH_MOST + 1) <= size <= LENGTH_MOST:
        return RAW, data
    compressor = _compressor(LEVEL)
    if size < _SAMPLED_FROM:
        payload = _compress(data)
        shape = planes.shape(data) if size >= _SPLIT_FROM else None
        parted = payload if shape is None else compressor.compress(planes.split(data, shape))
        if len(parted) < len(payload) and _pays(len(parted), size):
            return PLANES, parted
        return (ZSTD, payload) if _pays(len(payload), size) else (RAW, data)
    view = memoryview(data)
    found = planes.shape(view)
    plain, split = _sampled(view, found)
    if not _pays(min(plain, split), _SAMPLE):
        return RAW, data
    if found is not None and split < plain:
        payload = compressor.compress(planes.split(view, found))
        return (PLANES, payload) if _pays(len(payload), size) else (RAW, data)
    payload = _compress(data)
    return (ZSTD, payload) if _pays(len(payload), size) else (RAW, data)


def _compress(data: Buffer) -> bytes:
    payload = _compressor(LEVEL).compress(data)
    if len(data) <= _PACKED_MOST and growth.is_packed(data):
        return min(payload, _compressor(_BETTER).compress(data), key=len)
    return payload


def _sampled(data: memoryview, found: planes.Shape | None) -> tuple[int, int]:
    """What a piece out of the middle takes as it is, and as planes."""
    middle, sampler = len(data) // 2, _sampler()
    if found is None:
        return len(sampler.compress(data[middle : middle + _SAMPLE])), _SAMPLE
    middle -= (middle - found.start) % found.width
    sample = data[middle : middle + _SAMPLE]
    values = planes.Shape(0, _SAMPLE, found.width)
    return len(sampler.compress(sample)), len(sampler.compress(planes.split(sample, values)))


def unpack(codec: int, payload: Buffer, length: int) -> bytes:
    """The canonical bytes. Raises Damaged where they do not come out at the declared length."""
    return bytes(unpack_into(Room(), codec, payload, length))


class Room:
    """Memory that is used again and again: fresh memory costs more than writing into it."""

    def __init__(self) -> None:
        self._memory = memoryview(b"")

    def take(self, size: int) -> memoryview:
        """So many bytes, whatever they are; the same ones as the last time."""
        if size > _KEPT_MOST:
            return memoryview(bytearray(size))
        if len(self._memory) < size:
            self._memory = memoryview(bytearray(size))
        return self._memory[:size]

    def put(self, parts: Iterable[Buffer], size: int) -> memoryview:
        """These parts, `size` bytes in all, one after the other."""
        found, at = self.take(size), 0
        for part in parts:
            found[at : at + len(part)] = part
            at += len(part)
        return found


def unpack_into(room: Room, codec: int, payload: Buffer, length: int) -> Buffer:
    """As `unpack`, but the bytes are right only while the payload is, and until the room is used again."""
    data = payload
    if codec == ZSTD:
        data = _decompress(payload, length)
    elif codec == PLANES:
        data = planes.join(_decompress(payload, length), room.take)
    elif codec == WORDS:
        data = words.unpack(payload, b"", length)
    elif codec != RAW:
        raise Damaged(f"unknown codec {codec}")
    if len(data) != length:
        raise Damaged(f"{len(data)} bytes came out where {length} were declared")
    return data


def _pays(packed: int, size: int) -> bool:
    return packed * 8 <= size * 7


def _decompress(payload: Buffer, length: int) -> bytes:
    zstd = _zstd()
    if not 0 <= length <= min(LENGTH_MOST, RATIO_MOST * len(payload)):
        raise Damaged(f"a compressed frame of {len(payload)} bytes cannot hold {length}")
    try:
        if zstd.frame_content_size(payload) != length:
            raise Damaged(f"a compressed frame does not declare the {length} bytes it should hold")
        return bytes(_decompressor().decompress(payload, max_output_size=length))
    except (zstd.ZstdError, MemoryError) as error:
        raise Damaged(f"a compressed frame cannot be read: {error}") from None


@cache
def _zstd():  # type: ignore[no-untyped-def]  # the module itself, imported when first needed
    import zstandard

    return zstandard


def _compressor(level: int) -> ZstdCompressor:
    compressors = _threads.__dict__.setdefault("compressors", {})
    found = compressors.get(level)
    if found is None:
        found = compressors[level] = _zstd().ZstdCompressor(level=level, write_checksum=False)
    return found  # type: ignore[no-any-return]


def _sampler() -> ZstdCompressor:
    """A compressor that does with a sample what it would do with a whole chunk."""
    found = getattr(_threads, "sampler", None)
    if found is None:
        zstd = _zstd()
        settings = zstd.ZstdCompressionParameters.from_level(LEVEL, source_size=_TYPICAL)
        found = _threads.sampler = zstd.ZstdCompressor(compression_params=settings)
    return found  # type: ignore[no-any-return]


def _decompressor() -> ZstdDecompressor:
    found = getattr(_threads, "decompressor", None)
    if found is None:
        found = _threads.decompressor = _zstd().ZstdDecompressor()
    return found  # type: ignore[no-any-return]
