"""Deltas on their way into the store: which object serves as base, and whether one is worth it.

Invariant: a base lies in full when it is chosen, and is no object that a collector has condemned. How
much the bases drift away is bounded by size alone: what has changed too much is stored in full, and is
then the base of those that come after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from aq.formats import deltas
from aq.formats.errors import Damaged
from aq.formats.identity import Buffer, Kind
from aq.formats.packs import BASES_MOST
from aq.store.index import Look, bases_in
from aq.store.packs import Frame

if TYPE_CHECKING:
    from aq.formats.earlier import Near
    from aq.formats.packs import Place

DEEPEST: Final = 4
"""How many bases in a row a reader follows: one as they are written, more where a base was stored anew."""
_SMALLEST: Final = 256
_MOST: Final = 3 / 10
"""A delta takes at most this part of what its base takes on the disk."""
_MOST_AT_FIRST: Final = 3 / 4
"""A delta takes at most this part of what it would take in full, if what it resembles lies in full itself
(it may have grown by as much as there was); else `_MOST`, so that it does not drift away."""


class Lying(Protocol):
    """Objects that can be read, and asked how they lie."""

    def get(self, kind: Kind, id: bytes) -> bytes:
        """The canonical bytes. Raises Damaged."""

    def lying(self, id: bytes) -> Frame | Place | None:
        """How an object lies, or None."""


def delta(objects: Lying, id: bytes, data: Buffer, like: bytes) -> Frame | None:
    """A chunk as a delta against another, or the bases of that; None where it had better lie in full."""
    found = _in_full(objects, id, (like,)) if len(data) >= _SMALLEST else {}
    most = _MOST_AT_FIRST if found.keys() <= {bytes(like)} else _MOST
    return _packed(objects, id, data, found, most) if found else None


def delta_near(objects: Lying, id: bytes, data: Buffer, near: Near) -> Frame | None:
    """A piece of a file as a delta against pieces of an earlier version; None where that does not pay."""
    found = _in_full(objects, id, near.ids)
    most = _MOST_AT_FIRST if found.keys() <= set(near.ids) else _MOST
    return _packed(objects, id, data, found, most, near.shifts, sure=near.sure) if found else None


def _packed(
    objects: Lying,
    id: bytes,
    data: Buffer,
    found: dict[bytes, Frame | Place],
    most: float,
    shifts: Sequence[int] = (),
    *,
    sure: bool = True,
) -> Frame | None:
    """The delta against these bases if it takes at most a part of what, as they show, it takes in full."""
    with suppress(Damaged):  # what cannot be read is no base
        base = b"".join([objects.get(Kind.CHUNK, one) for one in found])
        in_full = len(data) * sum(one.size for one in found.values()) / max(len(base), 1)
        packed = deltas.pack(bytes(data), base, int(most * min(in_full, len(data))), shifts=shifts, sure=sure)
        if packed is not None:
            codec, payload = packed
            return Frame(Kind.CHUNK, id, payload, codec=codec, length=len(data), bases=tuple(found))
    return None


def _in_full(objects: Lying, id: bytes, like: Sequence[bytes]) -> dict[bytes, Frame | Place]:
    """These chunks, or the bases of those that are deltas, and how they lie; without what can be no base."""
    found: dict[bytes, Frame | Place] = {}
    for one in like:
        lying = objects.lying(one)
        if lying is None:
            continue
        for base in lying.bases or (one,):
            place = lying if base == one else objects.lying(base)
            if place is not None and place.kind == Kind.CHUNK and not place.bases and base != id:
                found[bytes(base)] = place
    return dict(list(found.items())[:BASES_MOST])


def needed(look: Look, kept: set[bytes]) -> set[bytes]:
    """What is kept, and the bases of what of it lies as a delta."""
    bases = {id: some for id, value in look.items("objects") if (some := bases_in(value))}
    found, fresh = set(kept), {base for id in kept for base in bases.get(id, ())}
    while fresh - found:
        found |= fresh
        fresh = {base for id in fresh for base in bases.get(id, ())}
    return found
