"""Rows that are known to be equal because one chunk lies as copies of another: nothing is read to know it.

Invariant: what is said to be equal is; what is not said may be equal too. Only columns of one width without
nulls are told about, and only where the store knows how their chunks are made (`objects.Derived`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from aq.formats.columns.layout import HEADER, Layout, layout_of
from aq.formats.columns.physical import width
from aq.formats.columns.types import arrow_type
from aq.formats.comparing.sequence import Blocks, Positions
from aq.formats.comparing.sides import Column, Side
from aq.formats.comparing.spans import overlap, uncovered
from aq.formats.objects import Derived, Origin
from aq.formats.tables.content import Segment
from aq.formats.tables.references import Tag
from pyarrow import types as is_

_PARTNERS_MOST: Final = 4
"""Segments that hold the same chunk: more of them tell little."""
_FLAGS: Final = 4
"""Where in an array's head its layout and validity stand."""


Run = tuple[int, int, int]
"""Equal rows or bytes: the first on the left, the first on the right, how many."""


class _Chunk(NamedTuple):
    """One column of one segment: its id, where its rows begin among all, how many, and how it is made."""

    id: bytes
    start: int
    rows: int
    origin: Origin


def unknown(
    before: Side,
    left: Sequence[Segment],
    after: Side,
    right: Sequence[Segment],
    column: Column,
    blocks: Blocks,
) -> Blocks | None:
    """What of the pairs that the blocks make is not known to be equal in this column; None: all."""
    equal = _known(before, left, after, right, column)
    if not len(equal):
        return None
    turned = blocks[:, [1, 0, 2]]
    pairs = overlap(equal[np.argsort(equal[:, 1], kind="stable")][:, [1, 0, 2]], turned)
    pairs = pairs[pairs[:, 1] == pairs[:, 2]]
    if not len(pairs):  # what both have in common lies elsewhere
        return None
    return uncovered(turned, _joined(pairs[:, 0], pairs[:, 0] + pairs[:, 3]))[:, [1, 0, 2]]


def _joined(starts: Positions, stops: Positions) -> Blocks:
    """Spans as blocks that are free of overlaps."""
    order = np.argsort(starts, kind="stable")
    starts, reached = starts[order], np.maximum.accumulate(stops[order])
    first = np.flatnonzero(np.append(True, starts[1:] > reached[:-1])[: len(starts)])
    last = np.append(first[1:], len(starts)) - 1
    return np.stack((starts[first], starts[first], reached[last] - starts[first]), axis=1)


def _known(
    before: Side, left: Sequence[Segment], after: Side, right: Sequence[Segment], column: Column
) -> Blocks:
    """Runs of rows that are known to be equal in this column, in any order."""
    size, source, found = _size(before, column), before.source, list[Run]()
    if size and isinstance(source, Derived) and source is after.source:
        mine, theirs = _chunks(source, before, left, column), _chunks(source, after, right, column)
        found = list(_equal_rows(source, mine, theirs, size))
    return np.array(found, np.int64).reshape(-1, 3)


def _size(side: Side, column: Column) -> int:
    """Bytes of a value; 0 where nothing is told."""
    if column.cast:
        return 0
    kind = arrow_type(side.columns[side.place(column)][1])
    storage = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    is_told = layout_of(storage) is Layout.FIXED and not is_.is_boolean(storage)
    return width(storage) if is_told else 0


def _chunks(source: Derived, side: Side, segments: Sequence[Segment], column: Column) -> list[_Chunk]:
    place, start = side.place(column), 0
    spans: list[tuple[bytes, int, int]] = []
    for segment in segments:
        rows = segment.stop - segment.start
        reference = b"" if segment.is_packed else side.content.reference(segment, place)
        if reference and reference[0] == Tag.CHUNK:
            spans.append((reference[1:], start, rows))
        start += rows
    origins = source.origins([id for id, _, _ in spans])
    return [_Chunk(*span, origin) for span, origin in zip(spans, origins, strict=True) if origin is not None]


def _equal_rows(source: Derived, left: Sequence[_Chunk], right: Sequence[_Chunk], size: int) -> Iterator[Run]:
    partners: dict[bytes, list[_Chunk]] = defaultdict(list)
    for chunk in left:
        partners[chunk.origin.id].append(chunk)
    for chunk in right:
        for other in partners.get(chunk.origin.id, [])[:_PARTNERS_MOST]:
            if other.id == chunk.id:
                yield other.start, chunk.start, min(other.rows, chunk.rows)
                continue
            runs = _common(other.origin, chunk.origin)
            if _are_plain(source, other, chunk, runs, size):
                yield from _rows(other, chunk, runs, size)


def _common(left: Origin, right: Origin) -> list[Run]:
    """Bytes that both have."""
    if left.runs is None:
        return [(base, at, count) for at, base, count in right.runs or ()]
    if right.runs is None:
        return [(at, base, count) for at, base, count in left.runs]
    found = []
    for at, base, count in right.runs:
        for there, other, many in left.runs:
            first, last = max(base, other), min(base + count, other + many)
            if first < last:
                found.append((there + first - other, at + first - base, last - first))
    return found


def _are_plain(source: Derived, left: _Chunk, right: _Chunk, runs: Sequence[Run], size: int) -> bool:
    """Whether neither has nulls: by one length and the same flags in both heads, or by both lengths."""
    plain = [HEADER.size + chunk.rows * size for chunk in (left, right)]
    plain = [length + -length % 8 for length in plain]
    lengths = [chunk.origin.length for chunk in (left, right)]
    if any(mine == theirs <= _FLAGS and theirs + many >= HEADER.size for mine, theirs, many in runs):
        return plain[0] == lengths[0] or plain[1] == lengths[1]
    return plain == [chunk.origin.length or source.size_of(chunk.id) for chunk in (left, right)]


def _rows(left: _Chunk, right: _Chunk, runs: Sequence[Run], size: int) -> Iterator[Run]:
    """The whole values in runs of bytes."""
    for mine, theirs, many in runs:
        shift, rest = divmod(mine - theirs, size)
        first = max(0, -(-(theirs - HEADER.size) // size), -shift)
        last = min((theirs + many - HEADER.size) // size, right.rows, left.rows - shift)
        if not rest and first < last:
            yield left.start + first + shift, right.start + first, last - first
