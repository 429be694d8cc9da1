"""Which chunk of an earlier version of a table each new chunk resembles, so that it may lie as a delta.

Invariant: this decides about space alone, never about content or ids; a wrong guess costs bytes.
New segments come in order; each is paired with the earlier one that begins where it does, corrected
by how far the last pair was apart, if a few of its bytes are found there; else that one is sought.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import Any, Final

from aq.formats.columns.described import described
from aq.formats.errors import Damaged
from aq.formats.identity import Kind, object_id
from aq.formats.objects import Like
from aq.formats.packing.growth import array_of
from aq.formats.packing.packs import NO_ID
from aq.formats.tables.content import Reader, Segment
from aq.formats.tables.references import Tag
from aq.formats.trees.prolly_nodes import NEW, Last

_NEEDLE: Final = 64
_KIN: Final = 6
_KIN_AMONG: Final = 12
"""So many of the last segments serve as bases of new rows, looked for among so many."""
_LOOKS_EACH: Final = 3
"""How many earlier chunks are read for each earlier segment, all in all."""


_LOOKS_BEHIND: Final = 8
"""How many for a new segment where there was none: its rows were appended, and are nowhere as a rule."""


class Pairing:
    """The segments of an earlier table beside those of a new one.

    `columns`: for each new column the position of the earlier one; `probe`: the new column to compare.
    """

    def __init__(self, content: Reader, columns: Sequence[int | None], probe: int) -> None:
        self._content, self._columns, self._probe = content, columns, probe
        self._segments = content.segments
        self._starts = [segment.start for segment in self._segments]
        self._drift = 0
        self._ended = False  # whether new segments lie behind where the last earlier one begins
        self._looks = _LOOKS_EACH * len(self._segments)

    def bases(self, start: int, blobs: Sequence[bytes]) -> list[bytes | None]:
        """For each new column an earlier chunk, for the segment of `blobs` that begins at row `start`.

        Where rows are new, after it the ids of others whose values may come again. 32 zero bytes: of none.
        """
        self._ended |= bool(self._starts) and start + self._drift >= self._starts[-1]
        found = self._partner(start + self._drift, blobs[self._probe])
        if found is None:
            first = next((one for one in self._near(start) if one.start == start and one.is_packed), None)
            return [self._kin(at, first.id if first else NO_ID) for at in self._columns]
        self._drift = found.start - start
        earlier = self._content.chunk_ids(found)
        bases = [None if at is None else _chunk(earlier[at]) for at in self._columns]
        if not self._ended:
            return bases
        pairs = zip(self._columns, bases, strict=True)
        return [None if base is None else self._kin(at, base) or base + NO_ID for at, base in pairs]

    def _kin(self, column: int | None, first: bytes) -> bytes | None:
        """After `first` the newest chunks of a column: their values may come again in those that follow."""
        if column is None:
            return None
        whole = (one for one in reversed(self._segments[-_KIN_AMONG:]) if not one.is_packed)
        chunks = [_chunk(self._content.reference(one, column)) for one in islice(whole, _KIN)]
        found = [one for one in chunks if one is not None and one != first]
        return b"".join((first, *found)) if found else None

    def last(self, column: int | None) -> Last:
        """The end of the list of a column, or of the segments, in the earlier table."""
        at = None if column is None else self._columns[column]
        with suppress(Damaged):  # what cannot be read resembles nothing
            if column is None or at is not None:
                return self._content.last(at)
        return NEW

    def packed(self, start: int) -> bytes | None:
        """An earlier chunk that holds all columns."""
        near = self._near(start + self._drift)
        return near[0].id if near and near[0].is_packed else None

    def _near(self, start: int) -> list[Segment]:
        """The segments that begin nearby, the nearest first."""
        at = bisect_left(self._starts, start)
        near = self._segments[max(0, at - 1) : at + 1]
        return sorted(near, key=lambda segment: abs(segment.start - start))

    def _partner(self, start: int, blob: bytes) -> Segment | None:
        if self._columns[self._probe] is None:
            return None
        id = object_id(Kind.CHUNK, blob)
        near = self._near(start)
        is_behind = bool(self._segments) and start >= self._segments[-1].stop
        others = islice(self._others(near), _LOOKS_BEHIND if is_behind else None)
        for found in chain(near, others):
            if self._looks <= 0:
                return None
            if not found.is_packed and self._holds(found, id, blob):
                return found
        return None

    def _others(self, near: Sequence[Segment]) -> Iterator[Segment]:
        """All other segments, outward from these."""
        if near:
            low, high = min(segment.at for segment in near), max(segment.at for segment in near)
            for away in range(1, len(self._segments)):
                yield from self._segments[high + away : high + away + 1]
                if low >= away:
                    yield self._segments[low - away]

    def _holds(self, found: Segment, id: bytes, blob: bytes) -> bool:
        """Whether an earlier segment's probe column is equal, or one holds some bytes of the other."""
        at = self._columns[self._probe]
        reference = None if at is None else _chunk(self._content.chunk_ids(found)[at])
        if reference is None:
            return False
        if reference == id:
            return True
        self._looks -= 1
        earlier = self._content.source.get(Kind.CHUNK, reference)
        return any(needle in earlier for needle in _needles(blob)) or any(
            needle in blob for needle in _needles(earlier)
        )


def _needles(blob: bytes) -> list[bytes]:
    """Some bytes of the values from several places: an edit may have hit one, and lengths are often equal."""
    array = array_of(blob)
    start, end = (0, len(blob)) if array is None else (array.body, array.end)
    places = (start + (end - start) * part // 8 for part in (3, 5, 7))
    return [blob[place : place + _NEEDLE] for place in places if place + _NEEDLE <= end]


def _chunk(reference: bytes) -> bytes | None:
    return reference[1:] if reference[0] == Tag.CHUNK else None


def pairing(like: Like | None, columns: Sequence[Sequence[Any]], cut: Sequence[int]) -> Pairing | None:
    """The pairing with an earlier table; None where there is none that can be read.

    `columns`: name and type of each new column; `cut`: positions of those that decide the cuts.
    """
    if not columns or like is None or like.artifact.format != "table":
        return None
    with suppress(Damaged):  # what cannot be read resembles nothing
        earlier = described(like.artifact)
        known = {(name, repr(kind)): at for at, (name, kind) in enumerate(earlier.columns)}
        content = Reader(like.source, like.artifact, len(earlier.columns), earlier.rows)
        return Pairing(content, [known.get((name, repr(kind))) for name, kind in columns], (*cut, 0)[0])
    return None
