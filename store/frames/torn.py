"""Data packs without an end: what a killed writer leaves, or what somebody cut (docs/format.md, 4.7).

Invariant: reads only. A pack is sealed before anything can rely on it, so one without an end is garbage
unless something published has its frames nowhere else. Which roots are published is the caller's to know.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from aq.formats.objects import Source
from aq.formats.packing.packs import CONTENTS, FOOTER_SIZE
from aq.store.commits.reach import Item, Link, Walk
from aq.store.frames.index import Look
from aq.store.frames.pack_contents import sealed_places, walked_places


def is_torn(path: str, name: bytes) -> bool:
    """Whether its writer never came to its end. A footer that is there and damaged is another matter."""
    with open(path, "rb") as file:
        if sealed_places(file, name) is not None:
            return False
        file.seek(0)
        data = file.read()
    ends = [place.offset + place.size for _id, place in walked_places(name, data) if place.kind == CONTENTS]
    footer = data[ends[-1] :] if ends else b""
    return len(footer) < FOOTER_SIZE or not any(footer)


def needed(look: Look, source: Source, torn: Set[bytes], roots: Iterable[Item]) -> set[bytes]:
    """The packs among `torn` in which something lies, by the index, that the roots lead to."""
    found: set[bytes] = set()
    for visit in Walk(source).visit(Link(root) for root in roots):
        row = [visit.item.id]
        while row:
            place = look.place(row.pop(), visit.item.kind)
            if place is not None:
                found.add(place.pack)
                row += place.bases
    return found & torn
