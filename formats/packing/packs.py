"""How objects lie in a pack: header, frames, table of contents, footer (docs/format.md, section 4.2).

Invariant: a frame is accepted only if its XXH3, seeded by the name of its pack, holds over head
and payload. Pure functions over bytes: files are the business of `store.frames.packs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import Final, NamedTuple

from aq.formats.errors import Damaged, NewerFormat
from aq.formats.identity import Buffer
from xxhash import xxh3_64, xxh3_64_intdigest

PACK_MAGIC: Final = b"aqpack\x00\x01"
FRAME_MAGIC: Final = b"aqf\x01"
FOOTER_MAGIC: Final = b"aqpend\x00\x01"
NAME_SIZE: Final = 8
HEADER_SIZE: Final = 40
HEAD_SIZE: Final = 64
FOOTER_SIZE: Final = 32
CONTENTS: Final = 32
"""Frame kind of a table of contents."""
PACKS: Final = 33
"""Frame kind of the list of data packs that an operation relies on."""
NO_ID: Final = bytes(32)
NEW_ID: Final = bytes(31) + b"\1"
"""In place of the chunk that another resembles: there was no such table before."""

BASES_MOST: Final = 4
"""How many bases a delta may have."""
HEAD_MOST: Final = HEAD_SIZE + 32 * BASES_MOST
Bases = tuple[bytes, ...]
"""The ids of what a delta is made from: their bytes, one after the other."""
_JOINED_MOST: Final = 32_768
_header = Struct("<8s8sQQ")
_tail = Struct("<4sBBBBQQ32s")
_plain = Struct("<Q4sIQQ32s")  # as _tail behind the checksum: kind alone, where codec and bases are 0
_footer = Struct("<8sQQ")
_row = Struct("<32sQQBBBB")
_u64 = Struct("<Q")


class Head(NamedTuple):
    """What stands before a payload. `start` is where the payload begins, counted from the frame."""

    kind: int
    codec: int
    length: int
    stored: int
    id: bytes
    bases: Bases
    start: int

    @property
    def size(self) -> int:
        """Bytes of the whole frame."""
        return self.start + self.stored


class Place(NamedTuple):
    """Where a frame lies: what contents tables and the index hold of it."""

    pack: bytes
    offset: int
    size: int
    kind: int
    codec: int
    bases: Bases = ()


class Header(NamedTuple):
    """The head of a pack. `ordinal` is 0 for a data pack, 1, 2, 3 … for a journal."""

    name: bytes
    ordinal: int


def seed_of(name: bytes) -> int:
    """The seed of every frame checksum in the pack of this name."""
    return int.from_bytes(name, "little")


def encode_header(header: Header) -> bytes:
    """The 40 bytes at the start of a pack."""
    body = _header.pack(PACK_MAGIC, header.name, header.ordinal, 0)
    return body + _u64.pack(xxh3_64_intdigest(body))


def decode_header(data: bytes) -> Header:
    """Read the start of a pack. Raises Damaged, NewerFormat."""
    if len(data) < HEADER_SIZE or data[:8] != PACK_MAGIC:
        raise Damaged("this is not the start of a pack")
    if _u64.unpack_from(data, 32)[0] != xxh3_64_intdigest(data[:32]):
        raise Damaged("the header of a pack is damaged")
    _magic, name, ordinal, needs = _header.unpack_from(data)
    if needs:
        raise NewerFormat(
            f"pack {name.hex()} was written by a newer aq", hint="pip install --upgrade aqstore"
        )
    return Header(name, ordinal)


def encode_frame(
    seed: int,
    kind: int,
    id: bytes,
    payload: Buffer,
    *,
    codec: int = 0,
    length: int | None = None,
    bases: Sequence[bytes] = (),
) -> list[Buffer]:
    """The pieces of a frame, to be written one after the other; `length` is of the canonical bytes."""
    stored = len(payload)
    tail = _tail.pack(
        FRAME_MAGIC,
        kind,
        codec,
        len(bases),
        0,
        stored if length is None else length,
        stored,
        id,
    )
    tail += b"".join(bases)
    if stored <= _JOINED_MOST:
        body = tail + payload
        return [_u64.pack(xxh3_64_intdigest(body, seed)) + body]
    checksum = xxh3_64(tail, seed)
    checksum.update(payload)
    return [_u64.pack(checksum.intdigest()) + tail, payload]


def decode_head(data: Buffer, offset: int = 0) -> Head | None:
    """Read a frame's head at `offset`; None where there is none or it is cut short. Checks no checksum."""
    if len(data) - offset < HEAD_SIZE:
        return None
    magic, kind, codec, count, _zero, length, stored, id = _tail.unpack_from(data, offset + 8)
    if magic != FRAME_MAGIC:
        return None
    if not count:
        return Head(kind, codec, length, stored, id, (), HEAD_SIZE)
    start = HEAD_SIZE + 32 * count
    if count > BASES_MOST or len(data) - offset < start:
        return None
    bases = ids_in(data[offset + HEAD_SIZE : offset + start])
    return Head(kind, codec, length, stored, id, bases, start)


def ids_in(data: Buffer) -> Bases:
    """Ids that stand one after the other."""
    return tuple(bytes(data[at : at + 32]) for at in range(0, len(data), 32))


def holds(seed: int, frame: Buffer) -> bool:
    """Whether the checksum of a whole frame is right."""
    view = memoryview(frame)
    return bool(_u64.unpack_from(view)[0] == xxh3_64_intdigest(view[8:], seed))


def frame_at(seed: int, data: Buffer, offset: int) -> Head | None:
    """The head of the frame at `offset` if the whole frame is there and its checksum holds."""
    head = decode_head(data, offset)
    if head is None or offset + head.size > len(data):
        return None
    return head if holds(seed, memoryview(data)[offset : offset + head.size]) else None


def raw_payload(seed: int, frame: memoryview, kind: int, id: bytes) -> memoryview | None:
    """The payload of a whole frame; None unless it is this object, uncompressed, and its checksum holds."""
    stored = len(frame) - HEAD_SIZE
    if stored < 0:
        return None
    wanted = xxh3_64_intdigest(frame[8:], seed), FRAME_MAGIC, kind, stored, stored, id
    return frame[HEAD_SIZE:] if _plain.unpack_from(frame) == wanted else None


def encode_contents(places: Iterable[tuple[bytes, Place]]) -> bytes:
    """The payload of a contents frame."""
    rows = []
    for id, place in places:
        count = len(place.bases)
        rows.append(_row.pack(id, place.offset, place.size, place.kind, place.codec, count, 0))
        rows += place.bases
    return b"".join(rows)


def decode_contents(name: bytes, payload: Buffer) -> Iterator[tuple[bytes, Place]]:
    """Id and place of every frame that the table names. Raises Damaged."""
    offset, end = 0, len(payload)
    while offset < end:
        if end - offset < _row.size:
            raise Damaged(f"the contents of pack {name.hex()} end in the middle of a row")
        id, at, size, kind, codec, count, _zero = _row.unpack_from(payload, offset)
        offset += _row.size
        if not count:
            yield id, Place(name, at, size, kind, codec)
            continue
        first, offset = offset, offset + 32 * count
        if count > BASES_MOST or offset > end:
            raise Damaged(f"the contents of pack {name.hex()} end in the middle of a row")
        yield id, Place(name, at, size, kind, codec, ids_in(payload[first:offset]))


def encode_footer(name: bytes, offset: int, size: int) -> bytes:
    """The last 32 bytes of a sealed pack: where its contents frame is."""
    body = _footer.pack(FOOTER_MAGIC, offset, size)
    return body + _u64.pack(xxh3_64_intdigest(body, seed_of(name)))


def decode_footer(name: bytes, data: bytes) -> tuple[int, int] | None:
    """Offset and size of the contents frame, or None where these are no footer."""
    if len(data) != FOOTER_SIZE or data[:8] != FOOTER_MAGIC:
        return None
    if _u64.unpack_from(data, 24)[0] != xxh3_64_intdigest(data[:24], seed_of(name)):
        return None
    _magic, offset, size = _footer.unpack_from(data)
    return offset, size


def next_frame(seed: int, data: bytes, start: int) -> int | None:
    """The offset of the first whole frame at or after `start`: the way past a damaged one."""
    at = data.find(FRAME_MAGIC, start + 8)
    while at >= 0:
        if frame_at(seed, data, at - 8) is not None:
            return at - 8
        at = data.find(FRAME_MAGIC, at + 1)
    return None
