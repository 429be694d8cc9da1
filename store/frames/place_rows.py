"""Places as they stand in the index: one row for each frame (docs/format.md, section 4.4).

Invariant: what is read here is a place or raises DamagedIndex; whether a frame lies there the pack says.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

from aq.formats.identity import Kind
from aq.formats.packing.packs import Bases, Place, ids_in
from aq.store.frames.environment import DamagedIndex

PLAIN: Final = Struct("<8sQQBB")
"""Of a frame that is made from no other: pack, offset, size, kind, codec."""
_SUMMARY: Final = int(Kind.SUMMARY)


def encode_place(place: Place) -> bytes:
    """The value of a place in the index."""
    pack, offset, size, kind, codec, bases = place
    value = PLAIN.pack(pack, offset, size, kind, codec)
    return value + b"".join(bases) if bases else value


def decode_place(data: bytes) -> Place:
    """Read such a value. Raises DamagedIndex."""
    bases = bases_in(data)
    pack, offset, size, kind, codec = PLAIN.unpack_from(data)
    return Place(pack, offset, size, kind, codec, bases)


def bases_in(place: bytes) -> Bases:
    """The bases in an encoded place: for whoever looks at all of them. Raises DamagedIndex."""
    size = len(place) - PLAIN.size
    if not size:
        return ()
    if size < 0 or size % 32:
        raise DamagedIndex(f"a place of {len(place)} bytes is none")
    return ids_in(place[PLAIN.size :])


def rows_of(
    mark: bytes, places: Iterable[tuple[bytes, Place]]
) -> tuple[list[tuple[bytes, bytes]], dict[bytes, bytes]]:
    """Rows of objects in ascending order, their keys beginning with `mark`, and those of summaries by id."""
    objects, summaries = [], {}
    pack_place = PLAIN.pack
    for id, (pack, offset, size, kind, codec, bases) in places:
        value = pack_place(pack, offset, size, kind, codec)
        if bases:
            value += b"".join(bases)
        if kind < _SUMMARY:
            objects.append((mark + id, value))
        elif kind == _SUMMARY:
            summaries[id] = value
    objects.sort()
    return objects, summaries
