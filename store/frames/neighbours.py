"""Frames that are read together because they lie together: one read instead of many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Protocol, TypeVar

from aq.formats.packing.packs import Place

_GAP: Final = 64 << 10
"""So many bytes between two frames are read through rather than passed over."""


class Placed(Protocol):
    """What lies somewhere in a pack."""

    @property
    def place(self) -> Place:
        """Where."""


AnyPlaced = TypeVar("AnyPlaced", bound=Placed)


def in_runs(wanted: Iterable[AnyPlaced], *, most: int) -> Iterator[list[AnyPlaced]]:
    """What lies in one pack without large gaps and fits into `most` bytes together, in the packs' order.

    A frame that is larger by itself is a run of its own.
    """
    run: list[AnyPlaced] = []
    for one in sorted(wanted, key=lambda one: (one.place.pack, one.place.offset)):
        if run:
            start, last = run[0].place, run[-1].place
            near = one.place.pack == start.pack and one.place.offset - last.offset - last.size <= _GAP
            if not near or one.place.offset + one.place.size - start.offset > most:
                yield run
                run = []
        run.append(one)
    if run:
        yield run
