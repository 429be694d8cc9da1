"""Two sequences of hashes side by side: where they run in step, after rows were inserted or deleted.

Invariant: blocks ascend on both sides and hold equal hashes. It is greedy, not minimal: what it
leaves out is matched by `match` in other ways. It costs a pass over both, and searches in proportion to what
they find; at hand are only the rows around the place that is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from aq.formats.columns.rowhash import Words

Blocks = npt.NDArray[np.int64]
"""One row a block: first position on the left, first position on the right, length."""

Positions = npt.NDArray[np.int64]

_STEP: Final = 4_096
_NEAR: Final = 5
_WINDOWS: Final = (32, 1_024, 32_768, 262_144)
_CALL: Final = 1_024
"""Rows that could be looked through while a search begins."""
_LOOKED_FREE: Final = 1 << 20
_LOOKED_MOST: Final = 64
"""Rows looked through in searches: so many in any case, and for each row that is in step."""


More = Callable[[], tuple[Words, Words]]
"""Gives the next hashes of both sides; none of either once there are no more."""


class Aligned(NamedTuple):
    """Blocks of equal hashes, in order, and the hashes that are in none, in order on each side."""

    blocks: Blocks
    left: Words
    right: Words


def align(more: More) -> Aligned:
    """Find the blocks. Gives up where there are edits every few rows."""
    found = _Alignment(more)
    found.run()
    return found.result()


class _Alignment:
    """Both sides from where they are looked at: what lies behind is forgotten."""

    def __init__(self, more: More) -> None:
        self._more = more
        self._left = self._right = np.empty(0, np.uint64)
        self._at = self._to = 0  # where the arrays at hand begin
        self._ended = [False, False]
        self._blocks: list[list[int]] = []
        self._alone: tuple[list[Words], list[Words]] = [], []

    def run(self) -> None:
        covered = looked = 0
        while self._fill() and looked < _LOOKED_FREE + _LOOKED_MOST * covered:
            length = _run(self._left, self._right)
            if length:
                covered += length
                self._note(length)
                self._go(length, length)
                continue
            step, rows = _next(self._left, self._right)
            if step is None:
                return
            looked += _CALL + rows
            self._skip(*step)

    def _fill(self) -> bool:
        """Have as much at hand as is ever looked at; False once a side has no more."""
        most = _WINDOWS[-1]
        while (len(self._left) < most and not self._ended[0]) or (
            len(self._right) < most and not self._ended[1]
        ):
            self._read()
        return bool(len(self._left) and len(self._right))

    def _read(self) -> None:
        left, right = self._more()
        self._ended = [not len(left), not len(right)]
        self._left = np.concatenate((self._left, left))
        self._right = np.concatenate((self._right, right))

    def _note(self, length: int) -> None:
        last = self._blocks[-1] if self._blocks else None
        if last is not None and last[0] + last[2] == self._at and last[1] + last[2] == self._to:
            last[2] += length
        else:
            self._blocks.append([self._at, self._to, length])

    def _go(self, left: int, right: int) -> None:
        self._left, self._right = self._left[left:], self._right[right:]
        self._at, self._to = self._at + left, self._to + right

    def _skip(self, left: int, right: int) -> None:
        self._alone[0].append(self._left[:left].copy())
        self._alone[1].append(self._right[:right].copy())
        self._go(left, right)

    def result(self) -> Aligned:
        """All blocks; what was not looked at is in none."""
        self._skip(len(self._left), len(self._right))
        while not all(self._ended):
            self._read()
            self._skip(len(self._left), len(self._right))
        blocks = np.array(self._blocks, np.int64).reshape(-1, 3)
        return Aligned(blocks, *(np.concatenate(side) for side in self._alone))


def _run(left: Words, right: Words) -> int:
    """How many hashes are equal from the beginning."""
    at, size, most = 0, 64, min(len(left), len(right))
    while at < most:
        stop = min(at + size, most)
        differs = left[at:stop] != right[at:stop]
        first = int(differs.argmax())
        if differs[first]:
            return at + first
        at, size = stop, min(2 * size, _STEP)
    return most


def _next(left: Words, right: Words) -> tuple[tuple[int, int] | None, int]:
    """The nearest place ahead where both are in step again, as distances; None if there is none near.

    And how many rows were looked through.
    """
    near = _at_once(left[:_NEAR].tolist(), right[:_NEAR].tolist())
    if near is not None:
        return near, _NEAR
    for window in _WINDOWS:
        mine, theirs = left[:window], right[:window]
        values, first = np.unique(mine, return_index=True)
        others, other = np.unique(theirs, return_index=True)
        _, a, b = np.intersect1d(values, others, assume_unique=True, return_indices=True)
        if len(a):
            best = int((first[a] + other[b]).argmin())
            return (int(first[a[best]]), int(other[b[best]])), window
    return None, _WINDOWS[-1]


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
