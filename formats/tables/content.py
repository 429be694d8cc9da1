"""The rows of a table as objects: segments, chunks and the lists that name them.

Invariant: the content follows from columns and cut alone; some segments at a time are in memory.
Types, names and what a container needs beside the columns stand in the artifact's `type`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import pyarrow as pa
from aq.formats.contents.ahead import BEHIND_MOST, Ahead
from aq.formats.errors import Damaged
from aq.formats.identity import Buffer, Digest, Kind, object_id
from aq.formats.objects import Sink, Source, visit
from aq.formats.records import Artifact
from aq.formats.tables import references
from aq.formats.tables.cut import LONGEST
from aq.formats.tables.grouped import Observe, groups, write_group
from aq.formats.tables.leading import Leading
from aq.formats.tables.references import ROWS, Tag
from aq.formats.trees.prolly import build_list, build_map, list_items, list_last, map_get
from aq.formats.trees.prolly_nodes import NEW, Last

if TYPE_CHECKING:
    from aq.formats.tables.resemble import Pairing

INLINE_MOST: Final = 64 * 1024
_SEGMENTS: Final = b"s"
_COLUMN: Final = b"c"

See = Callable[[int, int, Buffer], None]
"""Told which of the segments, which of the columns, and the canonical bytes."""


class Content(NamedTuple):
    """What `write_content` stored: the canonical size, and where it lies."""

    size: int
    data: bytes | None
    root: Digest | None


def write_content(
    names: Sequence[str],
    columns: Sequence[pa.ChunkedArray],
    ends: Sequence[int],
    sink: Sink,
    observe: Observe,
    earlier: Pairing | None = None,
) -> Content:
    """Store all segments; `observe` sees all values of each column once, as arrays.

    `earlier` tells what each chunk resembles.
    Raises Unstorable naming the column and the rows of what the layout cannot hold.
    """
    with Ahead(sink) as ahead:
        writer = _Writer(sink, ahead, len(columns), earlier)
        for start, stops in groups(columns, ends or [0]):
            for stop, blobs in zip(stops, write_group(names, columns, start, stops, observe), strict=True):
                if len(ends) <= 1 and references.is_small(list(map(len, blobs))):
                    packed = references.pack(stop, blobs)
                    if len(packed) < INLINE_MOST or not ends:
                        return Content(sum(map(len, blobs)), packed, None)
                writer.add(start, stop, blobs)
                start = stop
        return writer.close()


class Part(NamedTuple):
    """Rows `start` to `stop` of a table that comes in pieces, which are a segment of it."""

    start: int
    stop: int
    columns: Sequence[pa.ChunkedArray]


def write_stream(
    names: Sequence[str],
    parts: Iterable[Part],
    sink: Sink,
    observe: Observe,
    earlier: Pairing | None = None,
) -> Content:
    """As `write_content`, of several segments that come one after the other, each forgotten when stored."""
    with Ahead(sink) as ahead:
        writer = _Writer(sink, ahead, len(names), earlier)
        for start, stop, columns in parts:
            [blobs] = write_group(names, columns, 0, [stop - start], observe)
            writer.add(start, stop, blobs)
        return writer.close()


class Kept(NamedTuple):
    """Segments of a table with the same columns that are the new one's too, and their canonical bytes."""

    content: Reader
    segments: Sequence[Segment]
    size: int


class Made(NamedTuple):
    """A new segment: where it begins and ends in the table, and the canonical bytes of its columns."""

    start: int
    stop: int
    blobs: list[bytes]


def write_mixed(
    width: int, parts: Iterable[Kept | Made], sink: Sink, earlier: Pairing | None = None
) -> Content:
    """As `write_content`, of several segments, some of which the store has already: these are only named."""
    with Ahead(sink) as ahead:
        writer = _Writer(sink, ahead, width, earlier)
        for part in parts:
            if isinstance(part, Made):
                writer.add(*part)
            else:
                writer.keep(part)
        return writer.close()


class _Waiting(NamedTuple):
    """A segment whose chunks are on their way; all columns in one chunk, or one each."""

    rows: int
    chunks: list[references.Pending]
    is_packed: bool


class _Writer:
    """Collects the references of all segments."""

    def __init__(self, sink: Sink, ahead: Ahead, columns: int, earlier: Pairing | None) -> None:
        self.sink, self.ahead, self.earlier = sink, ahead, earlier
        self.leading = Leading()
        self.size = 0
        self.waiting: deque[_Waiting | Kept] = deque()
        self.segments: list[bytes] = []
        self.columns: list[list[bytes]] = [[] for _ in range(columns)]

    def add(self, start: int, stop: int, blobs: list[bytes]) -> None:
        sizes = list(map(len, blobs))
        self.size += sum(sizes)
        if references.is_small(sizes):
            base = self.earlier.packed(start) if self.earlier else None
            chunks = [references.put_chunk(self.ahead, references.pack(stop - start, blobs), base)]
            self.waiting.append(_Waiting(stop - start, chunks, is_packed=True))
        else:
            like = self.earlier or self.leading
            bases = like.bases(start, blobs)
            chunks = [references.put_chunk(self.ahead, *pair) for pair in zip(blobs, bases, strict=True)]
            self.waiting.append(_Waiting(stop - start, chunks, is_packed=False))
        while self.ahead.behind > BEHIND_MOST or (self.waiting and self.leading.is_needed):
            self._settle()
        self.leading.is_needed = False

    def keep(self, kept: Kept) -> None:
        """Take over segments of an earlier table."""
        self.size += kept.size
        self.waiting.append(kept)

    def _settle(self) -> None:
        """Note the references of the oldest segment, once it is stored."""
        oldest = self.waiting.popleft()
        if isinstance(oldest, Kept):
            for known in oldest.segments:
                self._note(*oldest.content.references(known))
            return
        rows, chunks, is_packed = oldest
        found = [references.settle(self.ahead, pending, self.sink) for pending in chunks]
        if is_packed:
            segment, found = found[0], [bytes((Tag.NOTHING,))] * len(self.columns)
        else:
            segment = bytes((Tag.NOTHING,)) + object_id(Kind.CHUNK, b"".join(found))
        self._note(ROWS.pack(rows) + segment, found)

    def _note(self, segment: bytes, found: Sequence[bytes]) -> None:
        """The element of a segment in the list of all, and the reference of each column."""
        self.segments.append(segment)
        for column, reference in zip(self.columns, found, strict=True):
            column.append(reference)

    def close(self) -> Content:
        while self.waiting:
            self._settle()
        entries = []
        if any(segment[ROWS.size] == Tag.NOTHING for segment in self.segments):
            for at, found in enumerate(self.columns):
                entries.append((_column_key(at), found[0] if len(found) == 1 else self._list(found, at)))
        entries.append((_SEGMENTS, self._list(self.segments, None)))
        return Content(self.size, None, build_map(self.sink, entries))

    def _list(self, elements: list[bytes], column: int | None) -> bytes:
        """A list of the references of a column, or of the segments."""
        last = self.earlier.last(column) if self.earlier else NEW
        return bytes((Tag.LIST,)) + build_list(self.sink, elements, last=last)


def _column_key(at: int) -> bytes:
    return _COLUMN + at.to_bytes(4, "big")


class Segment(NamedTuple):
    """Rows `start` to `stop`; segments with the same `id` hold the same rows (of the same types)."""

    at: int
    start: int
    stop: int
    id: bytes
    is_packed: bool


@dataclass(frozen=True)
class Reader:
    """The content of one table: its segments, and the canonical bytes of their columns."""

    source: Source
    artifact: Artifact
    width: int
    length: int

    @cached_property
    def segments(self) -> list[Segment]:
        """All segments in order. Reads their list, no chunk."""
        if self.artifact.data is not None:
            rows, _ = references.unpack(self.artifact.data)
            self._check_rows([rows] if rows else [])
            digest = object_id(Kind.CHUNK, self.artifact.data)
            return [Segment(0, 0, rows, digest, True)] if rows else []
        found = list(self._items(self._root(_SEGMENTS)))
        if any(len(element) != ROWS.size + 33 for element in found):
            raise Damaged("a table's list of segments cannot be read")
        counts = [ROWS.unpack_from(element)[0] for element in found]
        self._check_rows(counts)
        ends = accumulate(counts, initial=0)
        return [
            Segment(at, start, stop, element[ROWS.size + 1 :], element[ROWS.size] != Tag.NOTHING)
            for at, (element, (start, stop)) in enumerate(zip(found, pairwise(ends), strict=True))
        ]

    def _check_rows(self, counts: list[int]) -> None:
        if sum(counts) != self.length or not all(0 < rows <= LONGEST for rows in counts):
            raise Damaged("a table's segments have other rows than the table")

    def rows(self, start: int, stop: int) -> list[Segment]:
        """The segments that hold rows `start` to `stop`."""
        starts = [segment.start for segment in self.segments]
        first = max(0, bisect_right(starts, start) - 1)
        return [segment for segment in self.segments[first:] if segment.start < stop and segment.stop > start]

    def read(
        self, wanted: Sequence[Segment], columns: Sequence[int]
    ) -> Iterator[tuple[Segment, list[bytes | memoryview]]]:
        """For each wanted segment the canonical bytes of these columns."""
        for segment in wanted:
            if segment.is_packed:
                yield segment, self._packed(segment, columns)
            else:
                found = (self._references(at)[segment.at] for at in columns)
                yield segment, [references.read(self.source, reference) for reference in found]

    def visit(self, wanted: Sequence[Segment], columns: Sequence[int], see: See) -> None:
        """Show `see` which segment, which column, and its canonical bytes: all of them, each once.

        In any order and from two threads; the bytes are right only until it returns.
        """
        ids, uses = self.noted(wanted, columns, see)
        visit(self.source, Kind.CHUNK, ids, lambda at, data: uses[at](data))

    def noted(
        self, wanted: Sequence[Segment], columns: Sequence[int], see: See
    ) -> tuple[list[bytes], list[Callable[[Buffer], None]]]:
        """What `visit` has to show, and what is to be done with each; what is no chunk is seen at once."""
        ids: list[bytes] = []
        uses: list[Callable[[Buffer], None]] = []
        for at, segment in enumerate(wanted):
            for reference, use in self._uses(at, segment, columns, see):
                tag, digest = references.parse(reference)
                if tag is Tag.CHUNK:
                    ids.append(digest)
                    uses.append(use)
                else:
                    use(references.read(self.source, reference))
        return ids, uses

    def _uses(
        self, at: int, segment: Segment, columns: Sequence[int], see: See
    ) -> Iterator[tuple[bytes, Callable[[Buffer], None]]]:
        """The references that lead to these columns of a segment, and what to do with the bytes of each."""
        if not segment.is_packed:
            for place, column in enumerate(columns):
                yield self._references(column)[segment.at], partial(see, at, place)
        elif (held := self._held.get(segment.at)) is not None:
            for place, column in enumerate(columns):
                see(at, place, held[column])
        elif self.artifact.data is None:
            yield self._segment_reference(segment), partial(self._see_packed, at, segment, columns, see)
        else:
            self._see_packed(at, segment, columns, see, self.artifact.data)

    def _see_packed(self, at: int, segment: Segment, columns: Sequence[int], see: See, data: Buffer) -> None:
        for place, blob in enumerate(self._unpacked(segment, columns, data)):
            see(at, place, blob)

    def chunk_ids(self, segment: Segment) -> list[bytes]:
        """The reference of each column of a segment: equal ones hold equal values. Not if packed."""
        return [self._references(at)[segment.at] for at in range(self.width)]

    def references(self, segment: Segment) -> tuple[bytes, list[bytes]]:
        """A segment's element in the list of all, and what the lists of the columns have for it."""
        rows = ROWS.pack(segment.stop - segment.start)
        if not segment.is_packed:
            return rows + bytes((Tag.NOTHING,)) + segment.id, self.chunk_ids(segment)
        return rows + self._segment_reference(segment), [bytes((Tag.NOTHING,))] * self.width

    def reference(self, segment: Segment, at: int) -> bytes:
        """The reference of one of them."""
        return self._references(at)[segment.at]

    def last(self, column: int | None) -> Last:
        """The end of the list of a column's references, or of the segments."""
        reference = self._root(_SEGMENTS if column is None else _column_key(column))
        return list_last(self.source, reference[1:]) if reference[0] == Tag.LIST else NEW

    def _packed(self, segment: Segment, columns: Sequence[int]) -> list[bytes | memoryview]:
        data = self.artifact.data
        if data is None:
            data = references.read(self.source, self._segment_reference(segment))
        return self._unpacked(segment, columns, data)

    def _unpacked(self, segment: Segment, columns: Sequence[int], data: Buffer) -> list[bytes | memoryview]:
        is_part = len(columns) < self.width
        rows, blobs = references.unpack(bytes(data) if is_part else data)
        if rows != segment.stop - segment.start or len(blobs) != self.width:
            raise Damaged("a packed table segment has other rows or columns than its table")
        if is_part:
            self._held.clear()
            self._held[segment.at] = blobs
        return [blobs[at] for at in columns]

    def _segment_reference(self, segment: Segment) -> bytes:
        element = next(self._items(self._root(_SEGMENTS), segment.at))
        return element[ROWS.size :]

    def _references(self, at: int) -> list[bytes]:
        found = self._loaded.get(at)
        if found is None:
            root = self._root(_column_key(at))
            found = self._loaded[at] = list(self._items(root)) if root[0] == Tag.LIST else [root]
            if len(found) != len(self.segments):
                raise Damaged("a table's column has another number of chunks than the table has segments")
        return found

    @cached_property
    def _loaded(self) -> dict[int, list[bytes]]:
        return {}

    @cached_property
    def _held(self) -> dict[int, list[memoryview]]:
        """All columns of the packed segment that some were last asked of: the others mostly follow."""
        return {}

    def _root(self, key: bytes) -> bytes:
        reference = None
        if self.artifact.root is not None:
            reference = map_get(self.source, self.artifact.root, key)
        if not reference:
            raise Damaged("a table's content lacks an entry")
        return reference

    def _items(self, reference: bytes, start: int = 0) -> Iterator[bytes]:
        tag, digest = references.parse(reference)
        if tag is not Tag.LIST:
            raise Damaged("a table's reference leads to no list")
        return list_items(self.source, digest, start=start)
