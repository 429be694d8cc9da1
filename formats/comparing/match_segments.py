"""Which segments of two versions of a table are equal, and which hold the same rows but for some columns.

Invariant: segments that are equal by id are never read; each segment is in one list of the result.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from aq.formats.comparing.sides import Column, Pairs, Side, numbering
from aq.formats.tables.content import Segment

_SHARED_MOST: Final = 8


@dataclass(frozen=True)
class Aligned:
    """Segments whose rows belong together one by one, and the columns in which they may differ."""

    before: Segment
    after: Segment
    columns: list[Column]


def differing_segments(
    before: Side, after: Side, columns: Sequence[Column]
) -> tuple[list[Segment], list[Segment], bool]:
    """The segments that have no equal on the other side, and whether the equal ones changed places."""
    whole = before.columns == after.columns
    ids = [
        [(segment.id,) if whole else side.part_ids(segment, columns) for segment in side.content.segments]
        for side in (before, after)
    ]
    common = Counter(ids[0]) & Counter(ids[1])
    orders, rest = [], []
    for side, found in zip((before, after), ids, strict=True):
        left, order, differing = Counter(common), [], []
        for segment, digest in zip(side.content.segments, found, strict=True):
            if left[digest] > 0:
                left[digest] -= 1
                order.append(digest)
            else:
                differing.append(segment)
        orders.append(order)
        rest.append(differing)
    return rest[0], rest[1], orders[0] != orders[1]


def align_segments(
    before: Side,
    after: Side,
    columns: Sequence[Column],
    steady: Sequence[Column],
    left: list[Segment],
    right: list[Segment],
) -> tuple[list[Aligned], list[Segment], list[Segment]]:
    """Pair segments of as many rows in which the steady columns are equal, or half of all.

    Half of them do not suffice where the steady ones are a key, or were chosen in place of those that cut.
    """
    parts = {segment.at: before.part_ids(segment, columns) for segment in left}
    owners: dict[tuple[int, int, bytes], list[int]] = defaultdict(list)
    for segment in left:
        for at, part in enumerate(parts[segment.at]):
            owners[segment.stop - segment.start, at, part].append(segment.at)
    places = {columns.index(column) for column in steady}
    is_chosen = bool(steady) and [column.after for column in steady] != after.described.cut
    is_strict = is_chosen or bool(after.described.key)
    free = {segment.at: segment for segment in left}
    aligned, rest = [], []
    for segment in right:
        mine, votes = after.part_ids(segment, columns), Counter[int]()
        for at, part in enumerate(mine):
            votes.update(owners.get((segment.stop - segment.start, at, part), [])[:_SHARED_MOST])
        best = next((at for at, _ in votes.most_common(_SHARED_MOST) if at in free), -1)
        same = {at for at, (a, b) in enumerate(zip(parts.get(best, ()), mine, strict=False)) if a == b}
        if (places and places <= same) or (not is_strict and same and 2 * len(same) >= len(columns)):
            differing = [column for at, column in enumerate(columns) if at not in same]
            aligned.append(Aligned(free.pop(best), segment, differing))
        else:
            rest.append(segment)
    return aligned, list(free.values()), rest


def aligned_changes(before: Side, after: Side, aligned: Sequence[Aligned], column: Column) -> Pairs:
    """The rows of aligned segments in which one column differs."""
    pairs = [pair for pair in aligned if column in pair.columns]
    left, right = [pair.before for pair in pairs], [pair.after for pair in pairs]
    differs = before.words(column, left) != after.words(column, right)
    return Pairs(numbering(left)[differs], numbering(right)[differs])


def changed_rows(before: Side, after: Side, columns: Sequence[Column], aligned: Sequence[Aligned]) -> Pairs:
    """The rows of aligned segments in which any column differs."""
    if not aligned:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64))
    parts = [aligned_changes(before, after, aligned, column) for column in columns]
    to, first = np.unique(np.concatenate([part.after for part in parts]), return_index=True)
    return Pairs(np.concatenate([part.before for part in parts])[first], to)
