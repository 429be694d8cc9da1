"""Which rows of two versions belong together: by equal segments, then key, then content.

Invariant: each row is in at most one pair; rows in no pair were removed or added. Segments that
are equal by id are never read. Rows match by the declared key; without one, by their content,
by the columns that cut the table, or by all columns but one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from aq.formats.tables.blockwise import differing
from aq.formats.tables.content import Segment
from aq.formats.tables.rowhash import Words, mix, words
from aq.formats.tables.sequence import align, cells
from aq.formats.tables.sides import Column, Rows, Side, numbering, salted, take

ONE_OUT_MOST: Final = 1_000_000
_SHARED_MOST: Final = 8


@dataclass(frozen=True)
class Aligned:
    """Segments whose rows belong together one by one, and the columns in which they may differ."""

    before: Segment
    after: Segment
    columns: list[Column]


@dataclass(frozen=True)
class Matching:
    """Segments aligned, rows paired that differ somewhere, rows of one side only; all by row number."""

    aligned: list[Aligned]
    before: Rows
    after: Rows
    removed: Rows
    added: Rows
    is_reordered: bool


def match_rows(
    before: Side, after: Side, columns: Sequence[Column], key: Sequence[Column], cut: Sequence[Column]
) -> Matching:
    """Pair the rows of two versions; `cut` serves where no key is declared."""
    left, right, is_reordered = _differing(before, after, columns)
    steady = key or cut or columns
    aligned, left, right = _align(before, after, columns, key or cut, left, right, is_keyed=bool(key))
    hashes = before.hashes(steady, left), after.hashes(steady, right)
    blocks = align(*hashes)
    pairs = cells(blocks)
    differs = differing(before, left, after, right, columns, blocks)
    mine, theirs = numbering(left), numbering(right)
    rest = Rest(before, columns, mine), Rest(after, columns, theirs)
    changed = Pairs(pairs[0][differs], pairs[1][differs])
    loose = Pairs(_without(len(mine), pairs[0]), _without(len(theirs), pairs[1]))
    if key:
        settled = _by_key(*rest, hashes, changed, loose)
    else:
        settled = _by_content(*rest, cut, changed, loose)
    order = np.argsort(settled.changed.after, kind="stable")
    return Matching(
        aligned,
        mine[settled.changed.before[order]],
        theirs[settled.changed.after[order]],
        mine[settled.loose.before],
        theirs[settled.loose.after],
        is_reordered or _is_reordered(Pairs(pairs[0][~differs], pairs[1][~differs]), settled.moved),
    )


def _is_reordered(steady: Pairs, moved: Pairs) -> bool:
    """Whether the rows that moved stand in another order among those that are equal in step."""
    if not len(moved.before):
        return False
    joined = _joined(steady, moved)
    return bool((np.diff(joined.before[np.argsort(joined.after)]) < 0).any())


def _differing(
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


def _align(
    before: Side,
    after: Side,
    columns: Sequence[Column],
    steady: Sequence[Column],
    left: list[Segment],
    right: list[Segment],
    *,
    is_keyed: bool,
) -> tuple[list[Aligned], list[Segment], list[Segment]]:
    """Pair segments of as many rows in which the steady columns, or without a key half of all, are equal."""
    parts = {segment.at: before.part_ids(segment, columns) for segment in left}
    owners: dict[tuple[int, int, bytes], list[int]] = defaultdict(list)
    for segment in left:
        for at, part in enumerate(parts[segment.at]):
            owners[segment.stop - segment.start, at, part].append(segment.at)
    places = {columns.index(column) for column in steady}
    free = {segment.at: segment for segment in left}
    aligned, rest = [], []
    for segment in right:
        mine, votes = after.part_ids(segment, columns), Counter[int]()
        for at, part in enumerate(mine):
            votes.update(owners.get((segment.stop - segment.start, at, part), [])[:_SHARED_MOST])
        best = next((at for at, _ in votes.most_common(_SHARED_MOST) if at in free), -1)
        same = {at for at, (a, b) in enumerate(zip(parts.get(best, ()), mine, strict=False)) if a == b}
        if (places and places <= same) or (not is_keyed and same and 2 * len(same) >= len(columns)):
            differing = [column for at, column in enumerate(columns) if at not in same]
            aligned.append(Aligned(free.pop(best), segment, differing))
        else:
            rest.append(segment)
    return aligned, list(free.values()), rest


class Pairs(NamedTuple):
    """Positions among the rows left on both sides; pairs where they are as many, else just sets."""

    before: Rows
    after: Rows


class Settled(NamedTuple):
    """Pairs that differ, positions that stay alone, and pairs that belong together out of step."""

    changed: Pairs
    loose: Pairs
    moved: Pairs


@dataclass(frozen=True)
class Rest:
    """The rows of one side that are in no equal and no aligned segment, by position."""

    side: Side
    columns: Sequence[Column]
    rows: Rows

    def share(self, at: int, positions: Rows) -> Words:
        """What the column at this place adds to the hash of each of these rows over all columns."""
        return salted(words(take(self.side, self.columns[at], self.rows[positions])), at)

    def hashes(self, columns: Sequence[Column], positions: Rows) -> Words:
        """The hashes of these rows over some columns."""
        total = np.zeros(len(positions), np.uint64)
        for column in columns if len(positions) else []:
            total += self.share(self.columns.index(column), positions)
        return total


def _by_key(left: Rest, right: Rest, hashes: tuple[Words, Words], changed: Pairs, loose: Pairs) -> Settled:
    """Rows out of step belong together by key; those that are equal all through only moved."""
    at, to = match(hashes[0][loose.before], hashes[1][loose.after])
    moved = Pairs(loose.before[at], loose.after[to])
    equal = left.hashes(left.columns, moved.before) == right.hashes(right.columns, moved.after)
    alone = Pairs(np.delete(loose.before, at), np.delete(loose.after, to))
    return Settled(_joined(changed, Pairs(moved.before[~equal], moved.after[~equal])), alone, moved)


def _by_content(left: Rest, right: Rest, cut: Sequence[Column], changed: Pairs, loose: Pairs) -> Settled:
    """Rows that differ in step, or are out of it, first look for an equal one anywhere else."""
    pool = _joined(changed, loose)
    whole = left.hashes(left.columns, pool.before), right.hashes(right.columns, pool.after)
    at, to = match(*whole)
    rest = _without(len(whole[0]), at), _without(len(whole[1]), to)
    # Both halves of a pair in step stand at the same place of the pool.
    both = np.intersect1d(*rest)
    both = both[both < len(changed.before)]
    found = [(both, both)]
    rest = np.setdiff1d(rest[0], both), np.setdiff1d(rest[1], both)
    if cut and len(rest[0]) and len(rest[1]):
        shares = left.hashes(cut, pool.before[rest[0]]), right.hashes(cut, pool.after[rest[1]])
        rest = _extend(found, rest, *shares)
    for place in range(len(left.columns)):
        if not (len(rest[0]) and len(rest[1]) and len(rest[0]) + len(rest[1]) <= ONE_OUT_MOST):
            break
        others = (
            whole[side][rest[side]] - (left, right)[side].share(place, pool[side][rest[side]])
            for side in (0, 1)
        )
        rest = _extend(found, rest, *others)
    pairs = Pairs(*(pool[side][np.concatenate([part[side] for part in found])] for side in (0, 1)))
    moved = Pairs(pool.before[at], pool.after[to])
    return Settled(pairs, Pairs(pool.before[rest[0]], pool.after[rest[1]]), moved)


def _joined(first: Pairs, second: Pairs) -> Pairs:
    return Pairs(*(np.concatenate(parts) for parts in zip(first, second, strict=True)))


def _extend(
    found: list[tuple[Rows, Rows]], rest: tuple[Rows, Rows], left: Words, right: Words
) -> tuple[Rows, Rows]:
    """Pair rows left over by these hashes where unique on both sides; returns what is then left."""
    at, to = match(left, right, unique=True)
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
