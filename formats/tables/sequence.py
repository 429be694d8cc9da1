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

_STEP: Final = 4_096
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
    for window in _WINDOWS:
        mine, theirs = left[at : at + window], right[to : to + window]
        values, first = np.unique(mine, return_index=True)
        others, other = np.unique(theirs, return_index=True)
        _, a, b = np.intersect1d(values, others, assume_unique=True, return_indices=True)
        if len(a):
            best = int((first[a] + other[b]).argmin())
            return int(first[a[best]]), int(other[b[best]])
    return None


def cells(blocks: Blocks) -> tuple[Blocks, Blocks]:
    """The positions on both sides that the blocks pair, one by one."""
    lengths = blocks[:, 2]
    offsets = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.repeat(blocks[:, 0], lengths) + offsets, np.repeat(blocks[:, 1], lengths) + offsets
