"""Two versions of a table lined up: for every row its other half, and which of its cells differ.

Invariant: each row is in at most one pair; what `match` takes for the same row is a pair here too.
Segments that are equal by id become one block each and are never read.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from aq.formats.columns import sets
from aq.formats.comparing.changes import Change, changed_cells
from aq.formats.comparing.compare_schema import compare_schema
from aq.formats.comparing.match import Matching, match, match_rows
from aq.formats.comparing.match_segments import Aligned, differing_segments
from aq.formats.comparing.naming import identifying, naming
from aq.formats.comparing.sequence import Blocks
from aq.formats.comparing.sides import Column, Pairs, Rows, Side, numbering
from aq.formats.comparing.spans import coalesced, runs
from aq.formats.objects import Source
from aq.formats.records import Artifact
from aq.formats.tables.content import Segment


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


def line_up(a: Artifact, b: Artifact, source: Source, *, key: Sequence[str] | None = None) -> Lineup:
    """Line up version `a` with the later version `b`, as `diff` does. Cost: the segments that differ.

    `key`: for merges, the names of columns that name the rows; empty: those declared, or that cut the table.
    """
    before, after = Side(a, source, is_after=False), Side(b, source, is_after=True)
    schema, columns = compare_schema(before, after)
    named, cut = [one for name in key or () for one in columns if one.name == name], list[Column]()
    if not named and key is not None:
        named, cut = identifying(before, after, columns)
    if not (named or cut):
        named, cut = naming(before, after, columns)
    return Lineup(before, after, schema, columns, named, match_rows(before, after, columns, named, cut))


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
