"""Two sequences of hashes side by side: where they run in step, after rows were inserted or deleted.

Invariant: blocks ascend on both sides and hold equal hashes. It is greedy, not minimal: what it
leaves out is matched by `match` in other ways. It costs a pass over both, and a search an edit.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from aq.formats.tables.rowhash import Words

Blocks = npt.NDArray[np.int64]
"""One row a block: first position on the left, first position on the right, length."""

Positions = npt.NDArray[np.int64]

_STEP: Final = 4_096
_NEAR: Final = 5
_WINDOWS: Final = (32, 1_024, 32_768)
_EDITS_FREE: Final = 1_000
_SHORT: Final = 16


def align(left: Words, right: Words) -> Blocks:
    """Blocks of equal hashes, in order. Gives up where there are edits every few rows."""
    blocks: list[tuple[int, int, int]] = []
    at = to = covered = 0
    while at < len(left) and to < len(right):
        length = _run(left, right, at, to)
        if length:
            blocks.append((at, to, length))
            covered, at, to = covered + length, at + length, to + length
        elif len(blocks) > _EDITS_FREE and covered < _SHORT * len(blocks):
            break
        else:
            step = _next(left, right, at, to)
            if step is None:
                break
            at, to = at + step[0], to + step[1]
    return np.array(blocks, np.int64).reshape(-1, 3)


def _run(left: Words, right: Words, at: int, to: int) -> int:
    """How many hashes from here on are equal."""
    start, most = at, min(len(left) - at, len(right) - to)
    size = 64
    while at - start < most:
        size = min(size, most - (at - start))
        differs = left[at : at + size] != right[to : to + size]
        first = int(differs.argmax())
        if differs[first]:
            return at - start + first
        at, to, size = at + size, to + size, min(2 * size, _STEP)
    return most


def _next(left: Words, right: Words, at: int, to: int) -> tuple[int, int] | None:
    """The nearest place ahead where both are in step again, as distances; None if there is none near."""
    near = _at_once(left[at : at + _NEAR].tolist(), right[to : to + _NEAR].tolist())
    if near is not None:
        return near
    for window in _WINDOWS:
        mine, theirs = left[at : at + window], right[to : to + window]
        values, first = np.unique(mine, return_index=True)
        others, other = np.unique(theirs, return_index=True)
        _, a, b = np.intersect1d(values, others, assume_unique=True, return_indices=True)
        if len(a):
            best = int((first[a] + other[b]).argmin())
            return int(first[a[best]]), int(other[b[best]])
    return None


def _at_once(mine: list[int], theirs: list[int]) -> tuple[int, int] | None:
    """The same for a few rows, without sorting them: most edits are of one."""
    for distance in range(1, len(mine) + len(theirs) - 1):
        for step in range(max(0, distance - len(theirs) + 1), min(distance, len(mine) - 1) + 1):
            if mine[step] == theirs[distance - step]:
                return step, distance - step
    return None


def paired(blocks: Blocks, chosen: npt.NDArray[np.int64]) -> tuple[Positions, Positions]:
    """The positions on both sides of the chosen ones among all pairs that the blocks make, in order."""
    ends = np.cumsum(blocks[:, 2])
    block = np.searchsorted(ends, chosen, side="right")
    offset = chosen - (ends - blocks[:, 2])[block]
    return blocks[block, 0] + offset, blocks[block, 1] + offset


def outside(blocks: Blocks, side: int, count: int) -> Positions:
    """The positions of this side, which has `count`, that no block covers."""
    starts = np.append(blocks[:, side], count)
    ends = np.concatenate(([0], blocks[:, side] + blocks[:, 2]))
    gaps = [
        np.arange(end, start)
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        if start > end
    ]
    return np.concatenate([np.empty(0, np.int64), *gaps])


def cells(blocks: Blocks) -> tuple[Blocks, Blocks]:
    """The positions on both sides that the blocks pair, one by one."""
    lengths = blocks[:, 2]
    offsets = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.repeat(blocks[:, 0], lengths) + offsets, np.repeat(blocks[:, 1], lengths) + offsets
