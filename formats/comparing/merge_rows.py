"""The rows of a merged table, in order: rows of the base, and what either side added.

Invariant: symmetric in the sides. New rows stand behind the row that they stood behind on their side;
where both sides have some in one place, by the key if each side's are, else side by side as blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from aq.formats.columns.sets import common, distinct, without
from aq.formats.comparing.sides import Rows

NONE = -1


class Order(NamedTuple):
    """The merged rows: row number in the base, in ours and in theirs; -1 where it is not there."""

    base: Rows
    ours: Rows
    theirs: Rows


class Added(NamedTuple):
    """Rows that one side added, ascending, and the rank of their keys among those of both sides."""

    rows: Rows
    ranks: Rows


def merged_order(at: tuple[Rows, Rows], added: tuple[Added, Added], same: tuple[Rows, Rows]) -> Order | None:
    """Bring the rows into an order; None where both sides put the same rows into different ones.

    `at`: for each row of the base its number on either side. `same`: places in `added` of rows that both
    sides added alike; they are taken once.
    """
    kept = np.flatnonzero((at[0] >= 0) & (at[1] >= 0))
    orders = [np.argsort(side[kept], kind="stable") for side in at]
    plain = [bool((np.diff(side[kept]) > 0).all()) for side in at]
    if not any(plain) and not np.array_equal(orders[0], orders[1]):
        return None
    rank = np.arange(len(at[0])) if all(plain) else at[1] if plain[0] else at[0]
    anchors = [_anchors(rank, side, new.rows) for side, new in zip(at, added, strict=True)]
    anchors[0][same[0]] = np.minimum(anchors[0][same[0]], anchors[1][same[1]])
    twins = np.full(len(added[0].rows), NONE)
    twins[same[0]] = added[1].rows[same[1]]
    rest = without(np.arange(len(added[1].rows)), distinct(same[1]))
    gap = np.concatenate([anchors[0], anchors[1][rest]])
    ours = np.concatenate([added[0].rows, np.full(len(rest), NONE)])
    theirs = np.concatenate([twins, added[1].rows[rest]])
    ranks = np.concatenate([added[0].ranks, added[1].ranks[rest]])
    inside = _within_gaps(gap, ours, theirs, ranks)
    order = np.lexsort(
        (
            np.concatenate([np.zeros(len(kept), np.int64), inside]),
            np.repeat([0, 1], [len(kept), len(gap)]),
            np.concatenate([rank[kept], gap]),
        )
    )
    columns = (kept, np.full(len(gap), NONE)), (at[0][kept], ours), (at[1][kept], theirs)
    return Order(*(np.concatenate(parts)[order] for parts in columns))


def _anchors(rank: Rows, at: Rows, rows: Rows) -> Rows:
    """For added rows of a side the rank of the nearest row before them that has one; -1 at the beginning."""
    base = np.flatnonzero((at >= 0) & (rank >= 0))
    base = base[np.argsort(at[base], kind="stable")]
    before = np.searchsorted(at[base], rows) - 1
    found = np.full(len(rows), NONE, np.int64)
    found[before >= 0] = rank[base[before[before >= 0]]]
    return found


def _within_gaps(gap: Rows, ours: Rows, theirs: Rows, ranks: Rows) -> Rows:
    """A number for each added row by which those of one gap are to be ordered."""
    inside = np.maximum(ours, theirs)
    mixed = common(distinct(gap[ours >= 0]), distinct(gap[theirs >= 0]))
    order = np.argsort(gap, kind="stable")
    first, last = (np.searchsorted(gap[order], mixed, side=side) for side in ("left", "right"))
    for start, stop in zip(first.tolist(), last.tolist(), strict=True):
        rows = order[start:stop]
        inside[rows] = _both(ours[rows], theirs[rows], ranks[rows])
    return inside


def _both(ours: Rows, theirs: Rows, ranks: Rows) -> Rows:
    """The order of rows that both sides put into one place."""
    sides = [rows[np.argsort(side[rows])] for side in (ours, theirs) for rows in [np.flatnonzero(side >= 0)]]
    blocks = [ranks[rows] for rows in sides]
    shared = bool(((ours >= 0) & (theirs >= 0)).any())
    if shared or all((np.diff(block) > 0).all() for block in blocks):
        return ranks
    first = 0 if blocks[0][0] < blocks[1][0] else 1
    found = np.empty_like(ranks)
    found[np.concatenate([sides[first], sides[1 - first]])] = np.arange(len(ranks))
    return found
