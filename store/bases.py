"""Deltas on their way into the store: which object serves as base, and whether one is worth it.

Invariant: a base lies in full when it is chosen, and is no object that a collector has condemned. How
much the bases drift away is bounded by size alone: what has changed too much is stored in full, and is
then the base of those that come after it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from aq.formats import deltas
from aq.formats.errors import Damaged
from aq.formats.identity import Buffer, Kind
from aq.store.index import Look, base_in
from aq.store.packs import Frame

if TYPE_CHECKING:
    from aq.formats.packs import Place

DEEPEST: Final = 4
"""How many bases in a row a reader follows: one as they are written, more where a base was stored anew."""
_SMALLEST: Final = 256
_MOST: Final = 3 / 10
"""A delta takes at most this part of what its base takes on the disk."""


class Lying(Protocol):
    """Objects that can be read, and asked how they lie."""

    def get(self, kind: Kind, id: bytes) -> bytes:
        """The canonical bytes. Raises Damaged."""

    def lying(self, id: bytes) -> Frame | Place | None:
        """How an object lies, or None."""


def delta(objects: Lying, id: bytes, data: Buffer, like: bytes) -> Frame | None:
    """A chunk as a delta against another, or the base of that; None where it had better lie in full."""
    if len(data) < _SMALLEST:
        return None
    base, found = like, objects.lying(like)
    if found is not None and found.base is not None:
        base, found = found.base, objects.lying(found.base)
    if found is None or found.kind != Kind.CHUNK or found.base is not None or base == id:
        return None
    with suppress(Damaged):  # what cannot be read is no base
        most = int(_MOST * found.size)
        packed = deltas.pack(bytes(data), objects.get(Kind.CHUNK, base), most)
        if packed is not None:
            return Frame(Kind.CHUNK, id, packed[1], codec=packed[0], length=len(data), base=bytes(base))
    return None


def needed(look: Look, kept: set[bytes]) -> set[bytes]:
    """What is kept, and the bases of what of it lies as a delta."""
    bases = {id: base for id, value in look.items("objects") if (base := base_in(value)) is not None}
    found, fresh = set(kept), {base for id, base in bases.items() if id in kept}
    while fresh - found:
        found |= fresh
        fresh = {bases[id] for id in fresh if id in bases}
    return found
