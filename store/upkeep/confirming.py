"""Whether the index is right about every place, as the packs' own tables tell: before anything is collected.

Invariant: reads only; one view of the index, one table at a time. What the index does not name goes from the
packs: one wrong row would cost the object that it hides. Whether frames hold is the matter of `fsck`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Set
from typing import Final

from aq.formats.identity import Kind
from aq.formats.packing.packs import Bases, Place, frame_at, seed_of
from aq.store.frames.bases import with_bases
from aq.store.frames.environment import DamagedIndex
from aq.store.frames.index import Look
from aq.store.frames.pack_contents import read_header, read_places
from aq.store.frames.packs import PackFiles
from aq.store.frames.place_rows import bases_in, encode_place
from aq.store.store import Store

_KIND: Final = 24
"""Where the kind stands in the row of a place."""


def require_confirmed(store: Store, kept: Set[bytes]) -> None:
    """Raise DamagedIndex where a place is in no pack, or something that is kept is in one and has no place.

    Every row that is right is met just once, so that they need only be counted. A run that is not listed
    would keep nothing.
    """
    files = PackFiles(f"{store.control}/packs")
    try:
        with store.index.look() as look:
            rows, deltas = _rows(look)
            needed = with_bases(deltas, set(kept))
            for name, end in _ends(look, files):
                rows -= _confirmed(look, files, name, end, needed)
    finally:
        files.close()
    if rows:
        raise DamagedIndex(f"of its places {rows} are in no pack")


def _rows(look: Look) -> tuple[int, dict[bytes, Bases]]:
    """How many places there are, and the bases of what is made from others."""
    count, deltas, runs = sum(1 for _ in look.items("summaries")), dict[bytes, Bases](), set[bytes]()
    for id, value in look.items("objects"):
        count += 1
        if bases := bases_in(value):
            deltas[id] = bases
        if value[_KIND] == Kind.RUN:
            runs.add(id)
    runs.difference_update(id for _position, id in look.items("runs"))
    if any(look.get("lost", id) is None for id in runs):
        raise DamagedIndex(f"run {min(runs).hex()} is not listed")
    return count, deltas


def _ends(look: Look, files: PackFiles) -> Iterator[tuple[bytes, int]]:
    """The packs in which places can be, published ones and journals, and how far the index follows each."""
    state = look.state()
    assert state is not None
    for name in files.names():
        header = read_header(files.path(name))
        is_journal = header is not None and 0 < header.ordinal <= state.ordinal
        if is_journal or look.get("packs", name) is not None:
            yield name, state.end if name == state.journal else os.path.getsize(files.path(name))


def _confirmed(look: Look, files: PackFiles, name: bytes, end: int, needed: Set[bytes]) -> int:
    """How many rows are as a pack says."""
    found = 0
    for id, place in read_places(files.path(name), name):
        if place.offset + place.size > end:
            continue
        row = look.get("summaries" if place.kind == Kind.SUMMARY else "objects", id)
        if row == encode_place(place):
            found += 1
        elif row is None and id in needed and place.kind < Kind.SUMMARY and _holds(files, place):
            raise DamagedIndex(f"object {id.hex()} is needed, and lies in a pack, but has no place there")
    return found


def _holds(files: PackFiles, place: Place) -> bool:
    """Whether a frame is whole; what is not is lost, and not the index's fault."""
    frame = bytearray(place.size)
    size = files.read_into(place.pack, place.offset, memoryview(frame))
    return size == place.size and frame_at(seed_of(place.pack), frame, 0) is not None
