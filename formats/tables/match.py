"""Which rows of two versions belong together: in step, then by key, then by content.

Invariant: each row is in at most one pair; rows in no pair were removed or added. Rows match by
the declared key; without one, by their whole content wherever they stand, then by the columns
that cut the table, or by all columns but one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from aq.formats.tables.blockwise import differing
from aq.formats.tables.match_segments import Aligned, align_segments, changed_rows, differing_segments
from aq.formats.tables.rowhash import Words, mix, words
from aq.formats.tables.sequence import align, cells
from aq.formats.tables.sides import Column, Pairs, Rows, Side, numbering, salted, take

SEARCHED_MOST: Final = 1_000_000
"""How many rows without a key are looked for elsewhere, or matched by all columns but one."""


@dataclass(frozen=True)
class Matching:
    """Segments aligned, rows paired that differ somewhere, rows of one side only; all by row number."""

    aligned: list[Aligned]
    changed: Pairs
    removed: Rows
    added: Rows
    is_reordered: bool


class Settled(NamedTuple):
    """Pairs that differ, rows that stay alone, and pairs that belong together out of step."""

    changed: Pairs
    loose: Pairs
    moved: Pairs


def match_rows(
    before: Side, after: Side, columns: Sequence[Column], key: Sequence[Column], cut: Sequence[Column]
) -> Matching:
    """Pair the rows of two versions; `cut` serves where no key is declared."""
    left, right, is_reordered = differing_segments(before, after, columns)
    aligned, left, right = align_segments(before, after, columns, key or cut, left, right, is_keyed=bool(key))
    steady = key or cut or columns
    hashes = before.hashes(steady, left), after.hashes(steady, right)
    blocks = align(*hashes)
    differs = differing(before, left, after, right, columns, blocks)
    at, to = cells(blocks)
    mine, theirs = numbering(left), numbering(right)
    changed, equal = (
        Pairs(mine[at[differs]], theirs[to[differs]]),
        Pairs(mine[at[~differs]], theirs[to[~differs]]),
    )
    rest = _without(len(mine), at), _without(len(theirs), to)
    loose = Pairs(mine[rest[0]], theirs[rest[1]])
    search = Search(before, after, columns)
    if key:
        settled = search.by_key(hashes[0][rest[0]], hashes[1][rest[1]], changed, loose)
    else:
        fresh = changed_rows(before, after, columns, aligned)
        if len(fresh.before) <= SEARCHED_MOST:
            aligned, changed = [], joined(changed, fresh)
        settled = search.by_content(cut, changed, loose)
    moved = is_reordered or _is_reordered(equal, settled.moved)
    return Matching(aligned, settled.changed, settled.loose.before, settled.loose.after, moved)


def _is_reordered(steady: Pairs, moved: Pairs) -> bool:
    """Whether the rows that moved stand in another order among those that are equal in step."""
    if not len(moved.before):
        return False
    both = joined(steady, moved)
    return bool((np.diff(both.before[np.argsort(both.after)]) < 0).any())


@dataclass(frozen=True)
class Search:
    """Looks for the other half of rows out of step, by what they hold."""

    before: Side
    after: Side
    columns: Sequence[Column]

    def _shares(self, rows: Pairs, place: int) -> tuple[Words, Words]:
        """What the column at this place adds to the hash of each of these rows over all columns."""
        column = self.columns[place]
        mine, theirs = take(self.before, column, rows.before), take(self.after, column, rows.after)
        return salted(words(mine), place), salted(words(theirs), place)

    def _hashes(self, rows: Pairs, columns: Sequence[Column]) -> tuple[Words, Words]:
        """The hashes of these rows over some columns."""
        found = np.zeros(len(rows.before), np.uint64), np.zeros(len(rows.after), np.uint64)
        if len(rows.before) or len(rows.after):
            for column in columns:
                shares = self._shares(rows, self.columns.index(column))
                found = found[0] + shares[0], found[1] + shares[1]
        return found

    def by_key(self, left: Words, right: Words, changed: Pairs, loose: Pairs) -> Settled:
        """Rows out of step belong together by the hash of their key; those that are equal only moved."""
        at, to = match(left, right)
        moved = Pairs(loose.before[at], loose.after[to])
        hashes = self._hashes(moved, self.columns)
        differs = hashes[0] != hashes[1]
        alone = Pairs(np.delete(loose.before, at), np.delete(loose.after, to))
        return Settled(joined(changed, Pairs(moved.before[differs], moved.after[differs])), alone, moved)

    def by_content(self, cut: Sequence[Column], changed: Pairs, loose: Pairs) -> Settled:
        """Rows that differ in step, or are out of it, first look for an equal one anywhere else."""
        kept = Pairs(changed.before[:0], changed.after[:0])
        if len(changed.before) > SEARCHED_MOST:
            kept, changed = changed, kept
        pool = joined(changed, loose)
        whole = self._hashes(pool, self.columns)
        at, to = match(*whole)
        rest = _without(len(whole[0]), at), _without(len(whole[1]), to)
        # Both halves of a pair in step stand at the same place of the pool.
        both = np.intersect1d(*rest)
        both = both[both < len(changed.before)]
        found = [(both, both)]
        rest = np.setdiff1d(rest[0], both), np.setdiff1d(rest[1], both)
        if cut and len(rest[0]) and len(rest[1]):
            rest = _extend(found, rest, self._hashes(_chosen(pool, rest), cut))
        for place in range(len(self.columns)):
            if not (len(rest[0]) and len(rest[1]) and len(rest[0]) + len(rest[1]) <= SEARCHED_MOST):
                break
            shares = self._shares(_chosen(pool, rest), place)
            rest = _extend(found, rest, (whole[0][rest[0]] - shares[0], whole[1][rest[1]] - shares[1]))
        pairs = Pairs(*(pool[side][np.concatenate([part[side] for part in found])] for side in (0, 1)))
        return Settled(joined(kept, pairs), _chosen(pool, rest), _chosen(pool, (at, to)))


def joined(first: Pairs, second: Pairs) -> Pairs:
    """Both, one after the other."""
    return Pairs(*(np.concatenate(parts) for parts in zip(first, second, strict=True)))


def _chosen(pool: Pairs, places: tuple[Rows, Rows]) -> Pairs:
    return Pairs(pool.before[places[0]], pool.after[places[1]])


def _extend(
    found: list[tuple[Rows, Rows]], rest: tuple[Rows, Rows], hashes: tuple[Words, Words]
) -> tuple[Rows, Rows]:
    """Pair rows left over by these hashes where unique on both sides; returns what is then left."""
    at, to = match(*hashes, unique=True)
    found.append((rest[0][at], rest[1][to]))
    return np.delete(rest[0], at), np.delete(rest[1], to)


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
