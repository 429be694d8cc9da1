"""Runs of row numbers that count up together: joined, laid over each other, taken away from each other.

Invariant: `Blocks` in, `Blocks` out, by their first number in order; nothing is done for each row.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from aq.formats.comparing.sequence import Blocks
from aq.formats.comparing.sides import Pairs, Rows

_FIRST: Final = np.iinfo(np.int64).min // 4
_LAST: Final = np.iinfo(np.int64).max // 4


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
