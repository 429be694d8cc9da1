"""Content-defined chunking: where a run of bytes is cut into pieces (docs/format.md, section 7).

Invariant: cuts depend on the bytes alone, never on how they were read, on the library or on its
version: `pyfastcdc` is used only after it has proved in this process that it cuts as the reference.
It hashes and stores nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import BinaryIO, Final, Protocol, cast

from aq.formats.identity import Buffer
from blake3 import blake3

SHORTEST: Final = 64 * 1024
NORMAL: Final = 256 * 1024
LONGEST: Final = 1024 * 1024
STRICT: Final = 0x0000_D917_4753_7000
LOOSE: Final = 0x0000_D903_0353_7000
WINDOW: Final = 8 * LONGEST
_LEVEL: Final = 2
_PROBE_CUTS: Final = (126_148, 272_438, 1_000)

_spare: list[bytearray] = []
"""Windows that no stream uses now: fresh memory costs more than reading into it."""

Cutter = Callable[[memoryview], Iterator[int]]


class Readable(Protocol):
    """What can be read into a buffer: a file, a socket, `io.BytesIO`."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill a part of the buffer and return how much; 0 at the end."""


@cache
def gear() -> tuple[int, ...]:
    """The table of 256 random words: the head of MD5 over 64 times each byte."""
    from hashlib import md5

    digests = (md5(bytes((byte,)) * 64, usedforsecurity=False).digest() for byte in range(256))
    return tuple(int.from_bytes(digest[:8], "big") for digest in digests)


def reference_length(data: Buffer) -> int:
    """The length in bytes of the first piece of `data`, all of which is left to cut.

    Source: Xia et al., FastCDC, IEEE TPDS 2020, normalisation level 2. Slow: 10 MB/s.
    """
    left = len(data)
    if left <= SHORTEST:
        return left
    limit = min(left, LONGEST)
    table, value = gear(), 0
    for at in range(SHORTEST, limit - limit % 2):
        value = (2 * value + table[data[at]]) & 0xFFFF_FFFF_FFFF_FFFF
        if not value & (STRICT if at < NORMAL else LOOSE):
            return at
    return limit


def reference_lengths(data: memoryview) -> Iterator[int]:
    """The lengths of all pieces of `data`, by the rule alone."""
    start = 0
    while start < len(data):
        length = reference_length(data[start : start + LONGEST])
        yield length
        start += length


def lengths(data: Buffer) -> Iterator[int]:
    """The lengths of the pieces of `data`, in order; 3 to 4 GB/s. Nothing for no bytes."""
    view = memoryview(data).cast("B")
    if len(view) <= SHORTEST:  # one piece: not worth loading the library
        return iter([len(view)] if len(view) else [])
    return _cutter()(view)


def cut(data: Buffer) -> Iterator[memoryview]:
    """The pieces of `data`, as views of it."""
    view, start = memoryview(data).cast("B"), 0
    for length in lengths(view):
        yield view[start : start + length]
        start += length


def cut_stream(stream: Readable | BinaryIO, *, head: Buffer = b"") -> Iterator[tuple[list[memoryview], bool]]:
    """The pieces of `head` followed by what `stream` holds, some at a time, and whether these are the last.

    Read once, with 8 MiB of memory, which is used again: the views are valid until more are asked for.
    """
    memory = _spare.pop() if _spare else bytearray(WINDOW)
    try:
        yield from _cut_through(stream, memoryview(memory), head)
    finally:
        _spare.append(memory)


def _cut_through(
    stream: Readable | BinaryIO, buffer: memoryview, head: Buffer
) -> Iterator[tuple[list[memoryview], bool]]:
    buffer[: len(head)] = head
    filled, ended = len(head), False
    while not ended:
        filled += fill(stream, buffer[filled:])
        ended = filled < len(buffer)
        pieces = list(settled(buffer[:filled], ended=ended))
        yield pieces, ended
        start = sum(map(len, pieces))
        buffer[: filled - start] = buffer[start:filled]
        filled -= start


def settled(data: memoryview, *, ended: bool) -> Iterator[memoryview]:
    """The first pieces of what begins with `data`: those that hold whatever follows; all, if it `ended`.

    What is left over is at most `LONGEST` bytes: the piece that reaches to the end may become longer.
    """
    start = 0
    for length in lengths(data):
        if start + length == len(data) and not ended:
            return
        yield data[start : start + length]
        start += length


def fill(stream: Readable | BinaryIO, buffer: memoryview) -> int:
    """Read until the buffer is full or the stream ends; how many bytes were read."""
    filled = 0
    while filled < len(buffer):
        count = cast(Readable, stream).readinto(buffer[filled:])
        if not count:
            break
        filled += count
    return filled


@cache
def _cutter() -> Cutter:
    """The library where it is there and cuts a known text as the format says, else the reference."""
    try:
        from pyfastcdc import FastCDC
    except ImportError:
        return reference_lengths
    chunker = FastCDC(NORMAL, min_size=SHORTEST, max_size=LONGEST, normalized_chunking=_LEVEL)

    def fast(data: memoryview) -> Iterator[int]:
        return (chunk.length for chunk in chunker.cut_buf(data))

    return fast if tuple(fast(memoryview(probe()))) == _PROBE_CUTS else reference_lengths


def probe() -> bytes:
    """399,586 bytes that are cut once by each mask: what BLAKE3 puts out after the byte 14."""
    return blake3(b"\x0e").digest(length=sum(_PROBE_CUTS))
