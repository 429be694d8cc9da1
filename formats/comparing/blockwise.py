"""Rows that run in step on both sides: which of them differ, at the speed of memory.

Invariant: a row is told different if and only if a column's value differs. Fixed-width values and
texts are compared as bytes; hashes only where neither serves. What is known to be equal is not read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from aq.formats.columns import physical
from aq.formats.columns.encodings import plain
from aq.formats.columns.layout import Layout, layout_of
from aq.formats.columns.rowhash import compared
from aq.formats.comparing.inherited import unknown
from aq.formats.comparing.sequence import Blocks, Positions, paired
from aq.formats.comparing.sides import Column, Side, is_text, texts_of_both, values_of_both
from aq.formats.tables.content import Segment
from aq.formats.tables.gather import Texts
from aq.formats.threads import SecondThread

Mask = npt.NDArray[np.bool_]

_PARALLEL_FROM: Final = 100_000
"""Fewer rows are not worth a thread."""
_BATCH: Final = 16
"""Segments that are compared at a time: they stay in the processor, and in memory that is used again."""


class Differing(NamedTuple):
    """Of each pair of rows whether any column differs; of each column in how many of them it does."""

    rows: Mask
    cells: list[int]


def differing(
    before: Side,
    left: Sequence[Segment],
    after: Side,
    right: Sequence[Segment],
    columns: Sequence[Column],
    blocks: Blocks,
) -> Differing:
    """What differs in the pairs that the blocks make of the rows of these segments."""
    total = int(blocks[:, 2].sum())
    found = Differing(np.zeros(total, bool), [0] * len(columns))
    left_over, lock = iter(enumerate(columns) if total else ()), Lock()

    def work() -> None:
        while True:
            with lock:
                at, column = next(left_over, (0, None))
            if column is None:
                return
            rows = _differing(before, left, after, right, column, blocks)
            found.cells[at] = len(rows)
            with lock:
                found.rows[rows] = True

    def stop() -> None:
        with lock:
            deque(left_over, 0)

    if total < _PARALLEL_FROM:
        work()
    else:
        with SecondThread(work, stop) as second:
            work()
            second.finish()
    return found


def _differing(
    before: Side,
    left: Sequence[Segment],
    after: Side,
    right: Sequence[Segment],
    column: Column,
    blocks: Blocks,
) -> Positions:
    """The pairs that differ in one column."""
    pairs = unknown(before, left, after, right, column, blocks)
    if pairs is None:
        return np.flatnonzero(_column(before, left, after, right, column, blocks))
    if not len(pairs):
        return np.empty(0, np.int64)
    (mine, at), (theirs, to) = (
        _part(one, pairs[:, side], pairs[:, 2]) for side, one in enumerate((left, right))
    )
    differs = _column(before, mine, after, theirs, column, np.stack((at, to, pairs[:, 2]), axis=1))
    return _numbers(pairs, blocks, np.flatnonzero(differs))


def _numbers(pairs: Blocks, blocks: Blocks, chosen: Positions) -> Positions:
    """Which of all pairs that the blocks make the chosen ones of these are."""
    block = np.searchsorted(blocks[:, 1], pairs[:, 1], side="right") - 1
    first = pairs[:, 1] - blocks[block, 1] + (np.cumsum(blocks[:, 2]) - blocks[:, 2])[block]
    return paired(np.stack((first, first, pairs[:, 2]), axis=1), chosen)[0]


def _part(
    segments: Sequence[Segment], firsts: Positions, lengths: Positions
) -> tuple[list[Segment], Positions]:
    """The segments that hold these runs of rows, and where these begin among the rows of the segments."""
    counts = np.array([segment.stop - segment.start for segment in segments])
    ends = np.cumsum(counts)
    low, high = (np.searchsorted(ends, rows, side="right") for rows in (firsts, firsts + lengths - 1))
    steps = np.zeros(len(segments) + 1, np.int64)
    np.add.at(steps, low, 1)
    np.add.at(steps, high + 1, -1)
    chosen = np.flatnonzero(np.cumsum(steps[:-1]))
    starts = np.zeros(len(segments), np.int64)
    starts[chosen] = np.cumsum(counts[chosen]) - counts[chosen]
    return [segments[at] for at in chosen.tolist()], firsts - (ends - counts)[low] + starts[low]


def _column(
    before: Side,
    left: Sequence[Segment],
    after: Side,
    right: Sequence[Segment],
    column: Column,
    blocks: Blocks,
) -> Mask:
    are_texts = is_text(before, column) and is_text(after, column)
    parts = []
    for mine, theirs, pairs in _batches(left, right, blocks):
        if are_texts:
            texts = texts_of_both(before, mine, after, theirs, column)
            parts.append(_texts(_Text(texts[0]), _Text(texts[1]), pairs))
        else:
            parts.append(_values(*values_of_both(before, mine, after, theirs, column), pairs))
    return np.concatenate(parts)


def _batches(
    left: Sequence[Segment], right: Sequence[Segment], blocks: Blocks
) -> Iterator[tuple[Sequence[Segment], Sequence[Segment], Blocks]]:
    """The blocks, cut where some segments on the right end, and the segments that they are about."""
    starts, others = (
        np.cumsum([0, *(segment.stop - segment.start for segment in side)]) for side in (left, right)
    )
    for first in range(0, len(right), _BATCH):
        low, high = others[first], others[min(first + _BATCH, len(right))]
        inside = blocks[(blocks[:, 1] + blocks[:, 2] > low) & (blocks[:, 1] < high)]
        if not len(inside):
            continue
        front = np.maximum(low - inside[:, 1], 0)
        lengths = np.minimum(inside[:, 1] + inside[:, 2], high) - inside[:, 1] - front
        at, to = inside[:, 0] + front, inside[:, 1] + front
        begin = int(np.searchsorted(starts, at[0], "right")) - 1
        end = int(np.searchsorted(starts, at[-1] + lengths[-1]))
        pairs = np.stack((at - starts[begin], to - low, lengths), axis=1)
        yield left[begin:end], right[first : first + _BATCH], pairs


def _values(left: pa.ChunkedArray, right: pa.ChunkedArray, blocks: Blocks) -> Mask:
    kind = left.type
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    layout = layout_of(kind)
    if layout is Layout.NULL:
        return np.zeros(int(blocks[:, 2].sum()), bool)
    if layout is Layout.FIXED and kind.bit_width in (1, 8, 16, 32, 64):
        return _fixed(left, right, blocks)
    mine, theirs = (np.concatenate([compared(piece) for piece in side.chunks]) for side in (left, right))
    return np.asarray(_on(mine, blocks, 0) != _on(theirs, blocks, 1))


def _on(values: npt.NDArray[Any], blocks: Blocks, side: int) -> npt.NDArray[Any]:
    """The values that the blocks cover on this side, in order."""
    starts, lengths = blocks[:, side].tolist(), blocks[:, 2].tolist()
    return np.concatenate([values[at : at + size] for at, size in zip(starts, lengths, strict=True)])


def _fixed(left: pa.ChunkedArray, right: pa.ChunkedArray, blocks: Blocks) -> Mask:
    found = np.asarray(_on(_raw(left), blocks, 0) != _on(_raw(right), blocks, 1))
    if left.null_count or right.null_count:
        found |= _on(_validity(left), blocks, 0) != _on(_validity(right), blocks, 1)
    return found


def _raw(values: pa.ChunkedArray) -> npt.NDArray[Any]:
    parts = []
    for piece in values.chunks:
        array = plain(piece)
        raw = physical.fixed_values(array, physical.validity(array))
        parts.append(raw.view(f"<u{physical.width(array.type)}"))
    return np.concatenate(parts)


def _validity(values: pa.ChunkedArray) -> Mask:
    parts = [(physical.validity(piece), len(piece)) for piece in values.chunks]
    return np.concatenate([np.ones(size, bool) if valid is None else valid for valid, size in parts])


class _Text:
    """The lengths, ends and bytes of a text column."""

    def __init__(self, found: Texts) -> None:
        self.bytes = found.data
        self.ends = np.zeros(len(found.lengths) + 1, np.int64)
        np.cumsum(found.lengths, dtype=np.int64, out=self.ends[1:])
        # A null and an empty text have no bytes both: the length tells them apart.
        self.lengths: npt.NDArray[Any] = found.lengths
        if found.valid is not None:
            self.lengths = np.where(found.valid, found.lengths.astype(np.int64), -1)

    def hashes(self, first: int, size: int) -> npt.NDArray[np.uint64]:
        """Of each text; of a null as of an empty one."""
        ends = self.ends[first : first + size + 1]
        buffers = [None, pa.py_buffer(ends - ends[0]), pa.py_buffer(self.bytes[ends[0] : ends[-1]])]
        return compared(pa.Array.from_buffers(pa.large_binary(), size, buffers))


def _texts(mine: _Text, theirs: _Text, blocks: Blocks) -> Mask:
    found = np.asarray(_on(mine.lengths, blocks, 0) != _on(theirs.lengths, blocks, 1))
    at = 0
    for first, other, size in blocks.tolist():
        part = found[at : at + size]
        a = mine.bytes[mine.ends[first] : mine.ends[first + size]]
        b = theirs.bytes[theirs.ends[other] : theirs.ends[other + size]]
        if part.any():
            part |= mine.hashes(first, size) != theirs.hashes(other, size)
        elif len(a):
            unequal = np.flatnonzero(a != b)
            if len(unequal):
                ends = mine.ends[first : first + size + 1] - mine.ends[first]
                part[np.searchsorted(ends, unequal, "right") - 1] = True
        at += size
    return found
