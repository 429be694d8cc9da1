"""Rows that run in step on both sides: which of them differ, at the speed of memory.

Invariant: a row is told different if and only if a column's value differs. Fixed-width values and
texts are compared as bytes; hashes only where neither serves. What is known to be equal is not read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from threading import Lock
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from aq.formats.tables import physical
from aq.formats.tables.content import Segment
from aq.formats.tables.encodings import plain
from aq.formats.tables.gather import Texts
from aq.formats.tables.inherited import known_equal
from aq.formats.tables.layout import Layout, layout_of
from aq.formats.tables.rowhash import words
from aq.formats.tables.sequence import Blocks, Positions, paired
from aq.formats.tables.sides import Column, Side, texts_of_both, values_of_both
from aq.formats.threads import SecondThread

Mask = npt.NDArray[np.bool_]

_PARALLEL_FROM: Final = 100_000
"""Fewer rows are not worth a thread."""


def differing(
    before: Side,
    left: Sequence[Segment],
    after: Side,
    right: Sequence[Segment],
    columns: Sequence[Column],
    blocks: Blocks,
) -> Mask:
    """For each pair that the blocks make of the rows of these segments, whether any column differs."""
    total = int(blocks[:, 2].sum())
    found = np.zeros(total, bool)
    left_over, lock = iter(columns if total else ()), Lock()

    def work() -> None:
        while True:
            with lock:
                column = next(left_over, None)
            if column is None:
                return
            rows, differs = _differing(before, left, after, right, column, blocks)
            with lock:
                found[rows] |= differs

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
) -> tuple[Positions | slice, Mask]:
    """The pairs that may differ in one column, and whether they do."""
    unknown = np.flatnonzero(~known_equal(before, left, after, right, column, blocks))
    if len(unknown) == int(blocks[:, 2].sum()):
        return slice(None), _column(before, left, after, right, column, blocks)
    if not len(unknown):
        return unknown, np.zeros(0, np.bool_)
    at, to = paired(blocks, unknown)
    mine, theirs = _part(left, at), _part(right, to)
    pairs = _blocks_of(mine[1], theirs[1])
    return unknown, _column(before, mine[0], after, theirs[0], column, pairs)


def _part(segments: Sequence[Segment], positions: Positions) -> tuple[list[Segment], Positions]:
    """The segments that hold these rows, and where the rows stand among those of the chosen segments."""
    counts = np.array([segment.stop - segment.start for segment in segments])
    ends = np.cumsum(counts)
    owner = np.searchsorted(ends, positions, side="right")
    chosen, place = np.unique(owner, return_inverse=True)
    starts = np.cumsum(counts[chosen]) - counts[chosen]
    return [segments[at] for at in chosen], positions - (ends - counts)[owner] + starts[place]


def _blocks_of(at: Positions, to: Positions) -> Blocks:
    """Pairs of rows as blocks."""
    first = np.flatnonzero(np.concatenate(([True], (np.diff(at) != 1) | (np.diff(to) != 1))))
    return np.stack((at[first], to[first], np.diff(np.append(first, len(at)))), axis=1)


def _column(
    before: Side,
    left: Sequence[Segment],
    after: Side,
    right: Sequence[Segment],
    column: Column,
    blocks: Blocks,
) -> Mask:
    texts = texts_of_both(before, left, after, right, column)
    if texts is not None:
        return _texts(_Text(texts[0]), _Text(texts[1]), blocks)
    return _values(*values_of_both(before, left, after, right, column), blocks)


def _values(left: pa.ChunkedArray, right: pa.ChunkedArray, blocks: Blocks) -> Mask:
    kind = left.type
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    layout = layout_of(kind)
    if layout is Layout.NULL:
        return np.zeros(int(blocks[:, 2].sum()), bool)
    if layout is Layout.FIXED and kind.bit_width in (1, 8, 16, 32, 64):
        return _fixed(left, right, blocks)
    mine, theirs = (np.concatenate([words(piece) for piece in side.chunks]) for side in (left, right))
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
        return words(pa.Array.from_buffers(pa.large_binary(), size, buffers))


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
