"""Which rows of two versions belong together: in step, then by key, then by content.

Invariant: each row is in at most one pair; rows in no pair were removed or added. Rows match by
the declared key; without one, by their whole content wherever they stand, then by the columns
that `naming` finds, or by all columns but one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from aq.formats.columns.rowhash import Words, compared, mix
from aq.formats.columns.sets import common, without
from aq.formats.comparing.blockwise import differing
from aq.formats.comparing.match_segments import Aligned, align_segments, changed_rows, differing_segments
from aq.formats.comparing.pool import Places, Pool
from aq.formats.comparing.sequence import Blocks, cells, outside, paired
from aq.formats.comparing.sides import Column, Pairs, Rows, Side, numbered, salted, take
from aq.formats.comparing.stepping import in_step
from aq.formats.tables.content import Segment

SEARCHED_MOST: Final = 1_000_000
"""How many rows without a key are looked for elsewhere, or matched by all columns but one."""


@dataclass(frozen=True)
class Matching:
    """Segments aligned, rows paired that differ somewhere, and rows of one side only; all by row number.

    Of the changed pairs the first `in_step` differ in no column but those of `touched`; rows alone ascend.
    """

    aligned: list[Aligned]
    changed: Pairs
    removed: Rows
    added: Rows
    is_reordered: bool
    in_step: int
    touched: frozenset[Column]


class Settled(NamedTuple):
    """Pairs that differ, `in_step` ones first; rows that stay alone; rows that belong together elsewhere."""

    changed: Pairs
    loose: Pairs
    moved: Pairs
    in_step: int


def match_rows(
    before: Side, after: Side, columns: Sequence[Column], key: Sequence[Column], cut: Sequence[Column]
) -> Matching:
    """Pair the rows of two versions; `cut` serves where no key is declared."""
    left, right, is_reordered = differing_segments(before, after, columns)
    aligned, left, right = align_segments(before, after, columns, key or cut, left, right)
    steady = key or cut or columns
    steps = in_step(before, left, after, right, steady)
    blocks = steps.blocks
    unequal = differing(before, left, after, right, columns, blocks)
    differs = np.flatnonzero(unequal.rows)
    at, to = paired(blocks, differs)
    rest = outside(blocks, 0, _rows(left)), outside(blocks, 1, _rows(right))
    changed = Pairs(numbered(left, at), numbered(right, to))
    loose = Pairs(numbered(left, rest[0]), numbered(right, rest[1]))
    touched = {column for column, many in zip(columns, unequal.cells, strict=True) if many}
    touched |= {column for pair in aligned for column in pair.columns}
    search = Search(before, after, columns)
    if key:
        settled = search.by_key(steps.left, steps.right, changed, loose)
    else:
        fresh = changed_rows(before, after, columns, aligned)
        if len(fresh.before) <= SEARCHED_MOST:
            aligned, changed = [], joined(changed, fresh)
        known = (steps.left, steps.right) if len(steady) == 1 else None
        settled = search.by_content(cut, changed, loose, known, unequal.cells)
    moved = is_reordered
    if not moved and len(settled.moved.before):
        moved = _is_reordered(_equal(left, right, blocks, differs), settled.moved)
    # Halves of pairs stand before rows that were in none.
    removed, added = np.sort(settled.loose.before), np.sort(settled.loose.after)
    return Matching(aligned, settled.changed, removed, added, moved, settled.in_step, frozenset(touched))


def _rows(segments: Sequence[Segment]) -> int:
    return sum(segment.stop - segment.start for segment in segments)


def _equal(left: Sequence[Segment], right: Sequence[Segment], blocks: Blocks, differs: Rows) -> Pairs:
    """The rows in step that do not differ."""
    at, to = cells(blocks)
    return Pairs(numbered(left, np.delete(at, differs)), numbered(right, np.delete(to, differs)))


def _is_reordered(steady: Pairs, moved: Pairs) -> bool:
    """Whether the rows that moved stand in another order among those that are equal in step."""
    both = joined(steady, moved)
    return bool((np.diff(both.before[np.argsort(both.after)]) < 0).any())


@dataclass(frozen=True)
class Search:
    """Looks for the other half of rows out of step, by what they hold."""

    before: Side
    after: Side
    columns: Sequence[Column]

    def _hashes(self, rows: Pairs) -> tuple[Words, Words]:
        """The hashes of these rows over all columns."""
        found = np.zeros(len(rows.before), np.uint64), np.zeros(len(rows.after), np.uint64)
        for place, column in enumerate(self.columns if len(rows.before) else []):
            mine, theirs = take(self.before, column, rows.before), take(self.after, column, rows.after)
            found = found[0] + salted(compared(mine), place), found[1] + salted(compared(theirs), place)
        return found

    def by_key(self, left: Words, right: Words, changed: Pairs, loose: Pairs) -> Settled:
        """Rows out of step belong together by the hash of their key; those that are equal only moved."""
        at, to = match(left, right)
        moved = Pairs(loose.before[at], loose.after[to])
        hashes = self._hashes(moved)
        differs = hashes[0] != hashes[1]
        alone = Pairs(np.delete(loose.before, at), np.delete(loose.after, to))
        found = joined(changed, Pairs(moved.before[differs], moved.after[differs]))
        return Settled(found, alone, moved, len(changed.before))

    def by_content(
        self,
        cut: Sequence[Column],
        changed: Pairs,
        loose: Pairs,
        known: tuple[Words, Words] | None,
        cells: Sequence[int],
    ) -> Settled:
        """Rows that differ in step, or are out of it, first look for an equal one anywhere else.

        `known`: the words of the cut column of all that are loose. `cells`: how many differ of each column.
        """
        kept = Pairs(changed.before[:0], changed.after[:0])
        if len(changed.before) > SEARCHED_MOST:
            kept, changed = changed, kept
        rows = joined(changed, loose)
        pool = Pool(self.before, self.after, self.columns, rows)
        cuts = [self.columns.index(column) for column in cut]
        others = [place for place in range(len(self.columns)) if place not in cuts]
        places = cuts + others
        for side, part in enumerate(known or ()):
            first = len(changed[side])
            pool.know(places[0], side, np.arange(first, first + len(part)), part)
        # What differs most tells first that there is no equal row, and then no other column is read.
        some, hashes = pool.alike(pool.all, cuts + sorted(others, key=lambda place: -cells[place]))
        at, to = match(*hashes)
        at, to = some[0][at], some[1][to]
        rest = _without(len(rows.before), at), _without(len(rows.after), to)
        # Both halves of a pair in step stand at the same place of the pool.
        both = common(*rest)
        both = both[both < len(changed.before)]
        found = [(both, both)]
        rest = without(rest[0], both), without(rest[1], both)
        if cut:
            rest = _extend(found, rest, pool.alike(rest, cuts))
        near = pool.alike(rest, places[:1])[0]
        for place in range(len(self.columns)):
            if not (len(rest[0]) and len(rest[1]) and len(rest[0]) + len(rest[1]) <= SEARCHED_MOST):
                break
            among = rest if place == places[0] else _both(near, rest)
            if len(among[0]) and len(among[1]):
                rest = _extend(found, rest, pool.alike(among, [other for other in places if other != place]))
        pairs = Pairs(*(rows[side][np.concatenate([part[side] for part in found])] for side in (0, 1)))
        many = len(kept.before) + len(both)
        return Settled(joined(kept, pairs), _chosen(rows, rest), _chosen(rows, (at, to)), many)


def joined(first: Pairs, second: Pairs) -> Pairs:
    """Both, one after the other."""
    return Pairs(*(np.concatenate(parts) for parts in zip(first, second, strict=True)))


def _chosen(pool: Pairs, places: tuple[Rows, Rows]) -> Pairs:
    return Pairs(pool.before[places[0]], pool.after[places[1]])


def _extend(found: list[Places], rest: Places, alike: tuple[Places, tuple[Words, Words]]) -> Places:
    """Pair rows left over by these hashes where unique on both sides; returns what is then left."""
    some, hashes = alike
    at, to = match(*hashes, unique=True)
    pairs = some[0][at], some[1][to]
    found.append(pairs)
    return without(rest[0], np.sort(pairs[0])), without(rest[1], np.sort(pairs[1]))


def _both(near: Places, rest: Places) -> Places:
    if not (len(near[0]) and len(near[1])):
        return near
    return common(near[0], rest[0]), common(near[1], rest[1])


def _without(count: int, taken: Rows) -> Rows:
    free = np.ones(count, bool)
    free[taken] = False
    return np.flatnonzero(free)


def match(left: Words, right: Words, *, unique: bool = False) -> tuple[Rows, Rows]:
    """Positions of equal hashes, the n-th of one side with the n-th of the other; or of unique ones only."""
    ranks = _ranks(left), _ranks(right)
    if unique:
        chosen = [np.flatnonzero(_is_unique(side)) for side in (left, right)]
    else:
        chosen = [np.arange(len(side)) for side in (left, right)]
    keys = [
        mix(side[at] ^ mix(rank[at])) for side, rank, at in zip((left, right), ranks, chosen, strict=True)
    ]
    _, at, to = np.intersect1d(keys[0], keys[1], assume_unique=True, return_indices=True)
    return chosen[0][at], chosen[1][to]


def _ranks(hashes: Words) -> Words:
    """For each hash how many equal ones stand before it."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1]))) if len(ordered) else order
    counts = np.diff(np.append(starts, len(ordered)))
    ranks = np.empty(len(hashes), np.uint64)
    ranks[order] = np.arange(len(ordered)) - np.repeat(starts, counts)
    return ranks


def _is_unique(hashes: Words) -> npt.NDArray[np.bool_]:
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse] == 1)
