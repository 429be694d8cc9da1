"""Two versions of a table lined up: for every row its other half, and which of its cells differ.

Invariant: each row is in at most one pair; what `match` takes for the same row is a pair here too.
Segments that are equal by id become one block each and are never read.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from aq.formats.objects import Source
from aq.formats.records import Artifact
from aq.formats.tables import sets
from aq.formats.tables.changes import Change, changed_cells
from aq.formats.tables.compare import identifying
from aq.formats.tables.compare_schema import compare_schema
from aq.formats.tables.content import Segment
from aq.formats.tables.match import Matching, match, match_rows
from aq.formats.tables.match_segments import Aligned, differing_segments
from aq.formats.tables.sequence import Blocks
from aq.formats.tables.sides import Column, Pairs, Rows, Side, numbering

_FIRST: Final = np.iinfo(np.int64).min // 4
_LAST: Final = np.iinfo(np.int64).max // 4


@dataclass(frozen=True)
class Lineup:
    """Both versions, the columns that they share, and how their rows belong together."""

    before: Side
    after: Side
    schema: dict[str, Any]
    columns: list[Column]
    key: list[Column]
    matching: Matching

    @cached_property
    def changes(self) -> list[Change]:
        """For each shared column that differs anywhere, the rows in which it does, by both numbers."""
        return changed_cells(self.before, self.after, self.columns, self.matching)

    @cached_property
    def blocks(self) -> Blocks:
        """All pairs, changed or not, as runs: first row after, first row before, length; by row after."""
        left, right, _ = differing_segments(self.before, self.after, self.columns)
        equal = _equal_segments(self.before, self.after, self.columns, left, right)
        changed, aligned = self._changed, self.matching.aligned
        steady = [(pair.after.start, pair.before.start, _rows(pair.after)) for pair in aligned]
        taken = {pair.before.at for pair in aligned}, {pair.after.at for pair in aligned}
        mine = sets.without(
            numbering([one for one in left if one.at not in taken[0]]),
            sets.distinct(np.concatenate([changed.before, self.matching.removed])),
        )
        theirs = sets.without(
            numbering([one for one in right if one.at not in taken[1]]),
            sets.distinct(np.concatenate([changed.after, self.matching.added])),
        )
        rest = self._equal_rows(mine, theirs)
        whole = np.array([*equal, *steady], np.int64).reshape(-1, 3)
        found = np.concatenate([whole, runs(_outside(changed, aligned)), runs(rest)])
        return coalesced(found[np.argsort(found[:, 0], kind="stable")])

    @cached_property
    def _changed(self) -> Pairs:
        """Rows that were matched and differ in some column, each pair once."""
        parts = [self.matching.changed, *(Pairs(one.before, one.after) for one in self.changes)]
        both = Pairs(*(np.concatenate(side) for side in zip(*parts, strict=True)))
        after, first = np.unique(both.after, return_index=True)
        return Pairs(both.before[first], after)

    def _equal_rows(self, mine: Rows, theirs: Rows) -> Pairs:
        """Rows of differing segments that differ in nothing: in step as a rule, else by content."""
        hashes = [
            side.hashes(self.columns, segments)[rows - starts]
            for side, numbers in ((self.before, mine), (self.after, theirs))
            for segments, rows, starts in [_within(side, numbers)]
        ]
        if np.array_equal(hashes[0], hashes[1]):
            return Pairs(mine, theirs)
        at, to = match(hashes[0], hashes[1])
        return Pairs(mine[at], theirs[to])


def line_up(a: Artifact, b: Artifact, source: Source) -> Lineup:
    """Line up version `a` with the later version `b`. Cost: the segments that differ."""
    before, after = Side(a, source, is_after=False), Side(b, source, is_after=True)
    schema, columns = compare_schema(before, after)
    key, cut = identifying(before, after, columns)
    return Lineup(before, after, schema, columns, key, match_rows(before, after, columns, key, cut))


def _rows(segment: Segment) -> int:
    return segment.stop - segment.start


def _equal_segments(
    before: Side, after: Side, columns: Sequence[Column], left: Sequence[Segment], right: Sequence[Segment]
) -> list[tuple[int, int, int]]:
    """Blocks of the segments that both versions hold."""
    differing = {segment.at for segment in left}, {segment.at for segment in right}
    whole = before.columns == after.columns

    def digest(side: Side, segment: Segment) -> tuple[bytes, ...]:
        return (segment.id,) if whole else side.part_ids(segment, columns)

    waiting: dict[tuple[bytes, ...], deque[Segment]] = defaultdict(deque)
    for segment in before.content.segments:
        if segment.at not in differing[0]:
            waiting[digest(before, segment)].append(segment)
    return [
        (segment.start, waiting[digest(after, segment)].popleft().start, _rows(segment))
        for segment in after.content.segments
        if segment.at not in differing[1]
    ]


def _outside(changed: Pairs, aligned: Sequence[Aligned]) -> Pairs:
    """Changed rows that no aligned pair of segments holds."""
    if not aligned:
        return changed
    inside = np.isin(changed.after, numbering([pair.after for pair in aligned]))
    return Pairs(changed.before[~inside], changed.after[~inside])


def _within(side: Side, rows: Rows) -> tuple[list[Segment], Rows, Rows]:
    """The segments that hold these rows, the rows, and what to take off each for its place among them."""
    segments = side.content.segments
    starts = np.array([segment.start for segment in segments], np.int64)
    owner = np.searchsorted(starts, rows, side="right") - 1
    used, place = np.unique(owner, return_inverse=True)
    lengths = np.array([_rows(segments[at]) for at in used], np.int64)
    before = np.cumsum(lengths) - lengths
    return [segments[at] for at in used], rows, starts[owner] - before[place]


def runs(pairs: Pairs) -> Blocks:
    """Pairs as runs in which both numbers count up, by the second."""
    order = np.argsort(pairs.after, kind="stable")
    before, after = pairs.before[order], pairs.after[order]
    breaks = np.flatnonzero((np.diff(before) != 1) | (np.diff(after) != 1)) + 1
    starts = np.concatenate([[0], breaks]).astype(np.int64) if len(after) else np.empty(0, np.int64)
    lengths = np.diff(np.append(starts, len(after)))
    return np.stack([after[starts], before[starts], lengths], axis=1).astype(np.int64)


def coalesced(blocks: Blocks) -> Blocks:
    """Blocks that continue one another as one."""
    if len(blocks) < 2:
        return blocks
    ends = blocks[:-1, :2] + blocks[:-1, 2:]
    first = np.concatenate([[True], (blocks[1:, :2] != ends).any(axis=1)])
    starts = np.flatnonzero(first)
    lengths = np.add.reduceat(blocks[:, 2], starts)
    return np.concatenate([blocks[starts, :2], lengths[:, None]], axis=1)


def overlap(left: Blocks, right: Blocks) -> Blocks:
    """Where the first numbers of two sets of blocks meet: place in both, and length.

    Rows: first number, second number of `left`, second number of `right`, length; `right` is in order
    and free of overlaps, `left` is in order.
    """
    if not len(left) or not len(right):
        return np.empty((0, 4), np.int64)
    first = np.searchsorted(right[:, 0] + right[:, 2], left[:, 0], side="right")
    last = np.searchsorted(right[:, 0], left[:, 0] + left[:, 2], side="left")
    counts = np.maximum(last - first, 0)
    one = np.repeat(np.arange(len(left)), counts)
    other = np.arange(len(one)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    start = np.maximum(left[one, 0], right[other, 0])
    stop = np.minimum(left[one, 0] + left[one, 2], right[other, 0] + right[other, 2])
    return np.stack(
        [start, left[one, 1] + start - left[one, 0], right[other, 1] + start - right[other, 0], stop - start],
        axis=1,
    )


def uncovered(blocks: Blocks, covering: Blocks) -> Blocks:
    """What of the blocks `covering`, in order and free of overlaps, does not cover; by first number."""
    if not len(covering) or not len(blocks):
        return blocks
    starts = np.concatenate([[_FIRST], covering[:, 0] + covering[:, 2]])
    stops = np.concatenate([covering[:, 0], [_LAST]])
    gaps = np.stack([starts, starts, stops - starts], axis=1)
    return overlap(blocks, gaps[gaps[:, 2] > 0])[:, [0, 1, 3]]


def without(blocks: Blocks, rows: Rows) -> Blocks:
    """Blocks less some rows by first number, in order, each once."""
    ones = np.ones(len(rows), np.int64)
    return uncovered(blocks, np.stack([rows, rows, ones], axis=1))
