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
from aq.formats.tables.content import Segment
from aq.formats.tables.rowhash import Words, mix
from aq.formats.tables.sides import Column, Rows, Side, numbering, salted

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


class Pairs(NamedTuple):
    """Positions on both sides that belong together, and whether these rows are equal."""

    before: Rows
    after: Rows
    equal: npt.NDArray[np.bool_]


def match_rows(
    before: Side, after: Side, columns: Sequence[Column], key: Sequence[Column], cut: Sequence[Column]
) -> Matching:
    """Pair the rows of two versions; `cut` serves where no key is declared."""
    left, right, is_reordered = _differing(before, after, columns)
    aligned, left, right = _align(before, after, columns, key or cut, left, right, is_keyed=bool(key))
    sides = Rest(before, left, columns), Rest(after, right, columns)
    pairs = _by_key(*sides, key) if key else _by_content(*sides, cut)
    mine, theirs = numbering(left), numbering(right)
    free = np.ones(len(mine), bool), np.ones(len(theirs), bool)
    free[0][pairs.before] = free[1][pairs.after] = False
    at, to = pairs.before[~pairs.equal], pairs.after[~pairs.equal]
    order = np.argsort(to, kind="stable")
    moved = bool((np.diff(pairs.before[np.argsort(pairs.after, kind="stable")]) < 0).any())
    return Matching(
        aligned,
        mine[at[order]],
        theirs[to[order]],
        mine[free[0]],
        theirs[free[1]],
        is_reordered or moved,
    )


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


@dataclass(frozen=True)
class Rest:
    """The segments of one side that are neither equal to one of the other side nor aligned."""

    side: Side
    segments: list[Segment]
    columns: Sequence[Column]

    def hashes(self, columns: Sequence[Column]) -> Words:
        return self.side.hashes(columns, self.segments)

    def share(self, at: int) -> Words:
        """What the column at this place adds to each row's hash over all columns."""
        return salted(self.side.words(self.columns[at], self.segments), at)


def _by_key(left: Rest, right: Rest, key: Sequence[Column]) -> Pairs:
    at, to = match(left.hashes(key), right.hashes(key))
    return Pairs(at, to, left.hashes(left.columns)[at] == right.hashes(right.columns)[to])


def _by_content(left: Rest, right: Rest, cut: Sequence[Column]) -> Pairs:
    """Equal rows; then rows that only the cut columns identify; then rows that differ in one column."""
    whole = left.hashes(left.columns), right.hashes(right.columns)
    at, to = match(*whole)
    found = [(at, to)]
    rest = _without(len(whole[0]), at), _without(len(whole[1]), to)
    if cut and len(rest[0]) and len(rest[1]):
        rest = _extend(found, rest, left.hashes(cut), right.hashes(cut))
    for place in range(len(left.columns)):
        if not 0 < len(rest[0]) + len(rest[1]) <= ONE_OUT_MOST or not len(rest[0]) or not len(rest[1]):
            break
        rest = _extend(found, rest, whole[0] - left.share(place), whole[1] - right.share(place))
    equal = np.arange(sum(len(part) for part, _ in found)) < len(at)
    return Pairs(
        np.concatenate([part for part, _ in found]), np.concatenate([part for _, part in found]), equal
    )


def _extend(
    found: list[tuple[Rows, Rows]], rest: tuple[Rows, Rows], left: Words, right: Words
) -> tuple[Rows, Rows]:
    """Pair rows left over by these hashes where unique on both sides; returns what is then left."""
    at, to = match(left[rest[0]], right[rest[1]], unique=True)
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
