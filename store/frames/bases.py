"""Deltas on their way into the store: which objects serve as bases, and whether one is worth it.

Invariant: a base is no object that a collector has condemned, and no row of bases is longer than a reader
follows. How much the bases drift away is bounded by size alone: what has changed too much is stored in full,
and is then the base of those that come after it. What grows is in `growing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from aq.formats.errors import Damaged, Temporary
from aq.formats.identity import Buffer, Kind
from aq.formats.packing import deltas
from aq.formats.packing.packs import BASES_MOST, Bases
from aq.formats.packing.words import WORDS, Base
from aq.store.frames.index import Look
from aq.store.frames.packs import Frame
from aq.store.frames.place_rows import bases_in

if TYPE_CHECKING:
    from aq.formats.contents.earlier import Near
    from aq.formats.packing.packs import Place

DEEPEST: Final = 8
"""How many bases in a row a reader follows."""
SMALLEST: Final = 256
_RECENT: Final = 8 << 20
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

    def size_of(self, id: bytes) -> int | None:
        """The length of its canonical bytes, or None."""

    def words_of(self, id: bytes) -> Base:
        """The words of a chunk. Raises Damaged."""


class Recent:
    """The bases that were read last, a few of them: neighbours are often made from the same."""

    def __init__(self) -> None:
        self._found: dict[bytes, Base] = {}
        self._size = 0

    def get(self, id: bytes, read: Callable[[], bytes]) -> Base:
        """This one, read if need be."""
        found = self._found.get(id)
        if found is None:
            data = read()
            if self._size + len(data) > _RECENT:
                self._found, self._size = {}, 0
            found = self._found[id] = Base(data)
            self._size += len(data)
        return found


class Roots(dict[bytes, bytes]):
    """What a delta may be made from: chunks that lie in full, and their bytes; `size`: what they take."""

    size = 0


def delta(id: bytes, data: Buffer, roots: Roots, like: bytes) -> Frame | None:
    """A chunk as a delta against what another one is made from; None where it had better lie in full."""
    most = _MOST_AT_FIRST if roots.keys() <= {like} else _MOST
    return _packed(id, data, roots, most)


def delta_near(objects: Lying, id: bytes, data: Buffer, near: Near) -> Frame | None:
    """A piece of a file as a delta against pieces of an earlier version; None where that does not pay."""
    roots = roots_of(objects, id, near.ids)
    most = _MOST_AT_FIRST if roots.keys() <= set(near.ids) else _MOST
    return _packed(id, data, roots, most, near.shifts, sure=near.sure)


def in_full(data: Buffer, roots: Roots) -> int:
    """What the data would take in full, as the roots show."""
    whole = sum(map(len, roots.values()))
    return int(min(len(data), len(data) * roots.size / max(whole, 1)))


def _packed(
    id: bytes, data: Buffer, roots: Roots, most: float, shifts: Sequence[int] = (), *, sure: bool = True
) -> Frame | None:
    """The delta against these bases if it takes at most a part of what, as they show, it takes in full."""
    if not roots or len(data) < SMALLEST:
        return None
    full = in_full(data, roots)
    packed = deltas.pack(
        bytes(data),
        b"".join(roots.values()),
        int(most * full),
        shifts=shifts,
        sure=sure,
    )
    if packed is None:
        return None
    codec, payload = packed
    return Frame(Kind.CHUNK, id, payload, codec=codec, length=len(data), bases=tuple(roots))


def roots_of(objects: Lying, id: bytes, like: Sequence[bytes]) -> Roots:
    """These chunks, or those in full that they are made from; without what can be no base of this one."""
    found = Roots()
    places: dict[bytes, Frame | Place] = {}
    for one in like:
        _note_roots(objects, bytes(one), places, DEEPEST)
    with suppress(Damaged):  # what cannot be read is no base
        for one, place in list(places.items())[:BASES_MOST]:
            if one != id:
                found[one] = objects.get(Kind.CHUNK, one)
                found.size += place.size
    return found


def _note_roots(objects: Lying, one: bytes, places: dict[bytes, Frame | Place], left: int) -> None:
    place = objects.lying(one)
    if place is None or place.kind != Kind.CHUNK or not left or len(places) >= BASES_MOST:
        return
    if not place.bases or place.codec == WORDS:  # words come from a chunk that need not resemble this one
        places[one] = place
        return
    for base in place.bases:
        _note_roots(objects, bytes(base), places, left - 1)


def depth(objects: Lying, id: bytes, left: int = DEEPEST) -> int:
    """How many bases in a row a chunk has; too many where it, or one of these, is not here for long."""
    place = objects.lying(id)
    if place is None or place.kind != Kind.CHUNK or (place.bases and not left):
        return DEEPEST
    return max((1 + depth(objects, base, left - 1) for base in place.bases), default=0)


def require_followed(look: Look, places: Iterable[tuple[bytes, Place]]) -> None:
    """Raise Temporary where new objects have more bases in a row than a reader follows.

    What a writer took for flat, another one may have stored deep meanwhile; a second try sees it.
    """
    known: dict[bytes, int] = {}
    for id, place in places:
        if place.bases and _row(look, id, known) > DEEPEST:
            made = f"chunk {id.hex()} is made from"
            raise Temporary(f"what {made} was stored in the meantime; nothing was changed")


def _row(look: Look, id: bytes, known: dict[bytes, int]) -> int:
    if id not in known:
        known[id] = DEEPEST + 1  # should it lead to itself
        found = look.get("objects", id)
        row = () if found is None else bases_in(found)
        known[id] = max((1 + _row(look, base, known) for base in row), default=0)
    return known[id]


def needed(look: Look, kept: set[bytes]) -> set[bytes]:
    """What is kept, and the bases of what of it lies as a delta."""
    return with_bases(all_bases(look), kept)


def all_bases(look: Look) -> dict[bytes, Bases]:
    """Every object that lies as a delta, and its bases."""
    return {id: some for id, value in look.items("objects") if (some := bases_in(value))}


def with_bases(bases: Mapping[bytes, Bases], kept: set[bytes]) -> set[bytes]:
    """These objects, and what of them lies as a delta is made from."""
    found, fresh = set(kept), {base for id in kept for base in bases.get(id, ())}
    while fresh - found:
        found |= fresh
        fresh = {base for id in fresh for base in bases.get(id, ())}
    return found
