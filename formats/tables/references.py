"""References from a table to its chunks, and how a packed segment lies in one chunk.

Invariant: a chunk of more than 4 MiB is a list of pieces; every byte is reached through `read`.
The bytes are those of docs/format.md, sections 8.3 and 8.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from itertools import accumulate, pairwise
from struct import Struct, error
from typing import Final, NamedTuple

from aq.formats.contents.ahead import Ahead, Job
from aq.formats.errors import Damaged
from aq.formats.identity import Buffer, Kind
from aq.formats.objects import Sink, Source
from aq.formats.trees.prolly import build_list, list_items

PIECE: Final = 4 * 1024 * 1024
PACKED_MOST: Final = 64 * 1024
PACKED_EACH: Final = 1024
_HEAD: Final = Struct("<II")
ROWS: Final = Struct("<I")


class Tag(IntEnum):
    """What a reference leads to."""

    NOTHING = 0
    CHUNK = 1
    PIECES = 2
    LIST = 3


class Pending(NamedTuple):
    """A reference to bytes that are on their way: one job, or one for each piece of what is too large."""

    jobs: list[Job]
    is_whole: bool


def put_chunk(ahead: Ahead, data: bytes, base: bytes | None = None) -> Pending:
    """Store bytes of any size; `base` is a chunk that they resemble."""
    if len(data) <= PIECE:
        return Pending([ahead.put(Kind.CHUNK, data, base=base)], is_whole=True)
    view = memoryview(data)
    jobs = [ahead.put(Kind.CHUNK, view[at : at + PIECE]) for at in range(0, len(data), PIECE)]
    return Pending(jobs, is_whole=False)


def settle(ahead: Ahead, pending: Pending, sink: Sink) -> bytes:
    """The reference to what was put."""
    ids = [ahead.settle(job) for job in pending.jobs]
    if pending.is_whole:
        return bytes((Tag.CHUNK,)) + ids[0]
    return bytes((Tag.PIECES,)) + build_list(sink, ids)


def put_at_once(sink: Sink, data: bytes) -> bytes:
    """Store bytes of any size and return the reference to them."""
    with Ahead(sink) as ahead:
        return settle(ahead, put_chunk(ahead, data), sink)


def read(source: Source, reference: bytes) -> bytes:
    """The bytes that a reference leads to. Raises Damaged on one that leads to no bytes."""
    tag, digest = parse(reference)
    if tag is Tag.CHUNK:
        return source.get(Kind.CHUNK, digest)
    if tag is Tag.PIECES:
        return b"".join(source.get(Kind.CHUNK, piece) for piece in list_items(source, digest))
    raise Damaged("a table's reference leads to no chunk")


def parse(reference: bytes) -> tuple[Tag, bytes]:
    """Tag and id of a reference. Raises Damaged where it is none."""
    if not reference or reference[0] > Tag.LIST or len(reference) not in (1, 33):
        raise Damaged("a table's reference cannot be read")
    return Tag(reference[0]), reference[1:]


def is_small(sizes: Sequence[int]) -> bool:
    """Whether a segment of columns of these sizes is packed into one chunk."""
    head = _HEAD.size + 4 * len(sizes)
    return head + -head % 8 + sum(sizes) <= max(PACKED_MOST, PACKED_EACH * len(sizes))


def pack(rows: int, blobs: Sequence[bytes]) -> bytes:
    """One chunk of all columns of a segment."""
    head = _HEAD.pack(rows, len(blobs)) + b"".join(ROWS.pack(len(blob)) for blob in blobs)
    return b"".join((head, bytes(-len(head) % 8), *blobs))


def unpack(data: Buffer) -> tuple[int, list[memoryview]]:
    """Rows and columns of a packed segment. Raises Damaged where it is none."""
    try:
        rows, count = _HEAD.unpack_from(data)
        sizes = Struct(f"<{count}I").unpack_from(data, _HEAD.size)
    except error:
        raise Damaged("a packed table segment is cut short") from None
    head = _HEAD.size + 4 * count
    ends = list(accumulate(sizes, initial=head + -head % 8))
    if ends[-1] != len(data):
        raise Damaged("a packed table segment is cut short")
    view = memoryview(data)
    return rows, [view[start:stop] for start, stop in pairwise(ends)]
