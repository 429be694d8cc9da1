"""In which columns two tables differ, where both are cut into the same segments: told from ids alone.

Invariant: a column that is not named holds the same value in each row of both. Reads no chunk.
"""

from __future__ import annotations

from aq.formats.objects import Source
from aq.formats.records import Artifact
from aq.formats.tables.content import Reader, Segment
from aq.formats.tables.described import described
from aq.formats.tables.table import reader


def differing_columns(one: Artifact, other: Artifact, source: Source) -> list[int] | None:
    """The positions of the columns in which the tables may differ.

    None where ids cannot tell: other types or lengths, other segments, or a small one, which is a single
    chunk, that differs.
    """
    if one.root is None or other.root is None or described(one) != described(other):
        return None
    left, right = reader(one, source), reader(other, source)
    cuts = [[_cut(segment) for segment in side.segments] for side in (left, right)]
    if cuts[0] != cuts[1] or all(segment.is_packed for segment in left.segments):
        return None
    return [at for at in range(left.width) if _references(left, at) != _references(right, at)]


def _cut(segment: Segment) -> tuple[int, int, bytes]:
    """Where a segment lies; of one that is a single chunk, which."""
    return segment.start, segment.stop, segment.id if segment.is_packed else b""


def _references(side: Reader, at: int) -> list[bytes]:
    return [side.reference(segment, at) for segment in side.segments]
