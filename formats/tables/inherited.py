"""Rows that are known to be equal because one chunk lies as copies of another: nothing is read to know it.

Invariant: what is said to be equal is; what is not said may be equal too. Only columns of one width without
nulls are told about, and only where the store knows how their chunks are made (`objects.Derived`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from aq.formats.objects import Derived, Origin
from aq.formats.tables.content import Segment
from aq.formats.tables.layout import HEADER, Layout, layout_of
from aq.formats.tables.physical import width
from aq.formats.tables.references import Tag
from aq.formats.tables.sequence import Blocks
from aq.formats.tables.sides import Column, Side
from aq.formats.tables.types import arrow_type
from pyarrow import types as is_

Mask = npt.NDArray[np.bool_]

_PARTNERS_MOST: Final = 4
"""Segments that hold the same chunk: more of them tell little."""
_FLAGS: Final = 4
"""Where in an array's head its layout and validity stand."""


class Rows(NamedTuple):
    """Equal rows: the first on the left, the first on the right, how many."""

    left: int
    right: int
    many: int


class Run(NamedTuple):
    """Equal bytes: the first on the left, the first on the right, how many."""

    left: int
    right: int
    many: int


class _Chunk(NamedTuple):
    """One column of one segment: its id, where its rows begin among all, how many, and how it is made."""

    id: bytes
    start: int
    rows: int
    origin: Origin


def known_equal(
    before: Side,
    left: Sequence[Segment],
    after: Side,
    right: Sequence[Segment],
    column: Column,
    blocks: Blocks,
) -> Mask:
    """For each pair of rows that the blocks make, whether this column is known to be equal there."""
    found = np.zeros(int(blocks[:, 2].sum()), np.bool_)
    size = _size(before, column)
    if size and isinstance(before.source, Derived) and before.source is after.source:
        chunks = _chunks(before, left, column), _chunks(after, right, column)
        _mark(found, blocks, _equal_rows(*chunks, size))
    return found


def _size(side: Side, column: Column) -> int:
    """Bytes of a value; 0 where nothing is told."""
    if column.cast:
        return 0
    kind = arrow_type(side.columns[side.place(column)][1])
    storage = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    is_told = layout_of(storage) is Layout.FIXED and not is_.is_boolean(storage)
    return width(storage) if is_told else 0


def _chunks(side: Side, segments: Sequence[Segment], column: Column) -> list[_Chunk]:
    place, start = side.place(column), 0
    spans: list[tuple[bytes, int, int]] = []
    for segment in segments:
        rows = segment.stop - segment.start
        reference = b"" if segment.is_packed else side.content.reference(segment, place)
        if reference and reference[0] == Tag.CHUNK:
            spans.append((reference[1:], start, rows))
        start += rows
    assert isinstance(side.source, Derived)
    origins = side.source.origins([id for id, _, _ in spans])
    return [_Chunk(*span, origin) for span, origin in zip(spans, origins, strict=True) if origin is not None]


def _equal_rows(left: Sequence[_Chunk], right: Sequence[_Chunk], size: int) -> Iterator[Rows]:
    partners: dict[bytes, list[_Chunk]] = defaultdict(list)
    for chunk in left:
        partners[chunk.origin.id].append(chunk)
    for chunk in right:
        for other in partners.get(chunk.origin.id, [])[:_PARTNERS_MOST]:
            if other.id == chunk.id:
                yield Rows(other.start, chunk.start, min(other.rows, chunk.rows))
                continue
            runs = list(_common(other.origin, chunk.origin))
            if _are_plain(other, chunk, runs, size):
                for run in runs:
                    yield from _rows(other, chunk, run, size)


def _common(left: Origin, right: Origin) -> Iterator[Run]:
    """Bytes that both have."""
    whole = [(0, 0, 1 << 62)]
    for at, base, count in right.runs if right.runs is not None else whole:
        for there, other, many in left.runs if left.runs is not None else whole:
            first, last = max(base, other), min(base + count, other + many)
            if first < last:
                yield Run(there + first - other, at + first - base, last - first)


def _are_plain(left: _Chunk, right: _Chunk, runs: Sequence[Run], size: int) -> bool:
    """Whether neither has nulls: by the length of one, and by the same flags in both heads."""
    plain = [HEADER.size + chunk.rows * size for chunk in (left, right)]
    lengths = [chunk.origin.length for chunk in (left, right)]
    if not any(size + -size % 8 == length for size, length in zip(plain, lengths, strict=True)):
        return False
    return any(run.left == run.right <= _FLAGS and run.right + run.many >= HEADER.size for run in runs)


def _rows(left: _Chunk, right: _Chunk, run: Run, size: int) -> Iterator[Rows]:
    """The whole values in a run of bytes."""
    shift, rest = divmod(run.left - run.right, size)
    if rest:
        return
    first = max(0, -(-(run.right - HEADER.size) // size), -shift)
    last = min((run.right + run.many - HEADER.size) // size, right.rows, left.rows - shift)
    if first < last:
        yield Rows(left.start + first + shift, right.start + first, last - first)


def _mark(found: Mask, blocks: Blocks, equal: Iterable[Rows]) -> None:
    """Note equal rows where the blocks pair these very rows."""
    firsts, others, counts = (blocks[:, at].tolist() for at in range(3))
    ends = [start + count for start, count in zip(others, counts, strict=True)]
    offsets = list(accumulate(counts, initial=0))
    for rows in equal:
        at, stop = bisect_right(ends, rows.right), rows.right + rows.many
        while at < len(ends) and others[at] < stop:
            if others[at] - firsts[at] == rows.right - rows.left:
                away = offsets[at] - others[at]
                found[max(others[at], rows.right) + away : min(ends[at], stop) + away] = True
            at += 1
