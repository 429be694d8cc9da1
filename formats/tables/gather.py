"""Whole columns out of many segments: each chunk is copied to its place while it is at hand.

Invariant: the values are those that `layout_read.read_array` gives segment by segment, and what it refuses
is refused. Columns of plain values and of texts come as one array, others as one piece a segment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from threading import Lock
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from aq.formats.columns.layout import HEADER, Layout, layout_of
from aq.formats.columns.layout_read import LARGE, check_texts, read_array
from aq.formats.columns.physical import width
from aq.formats.columns.picking import places as at_places, taken
from aq.formats.columns.types import arrow_type
from aq.formats.errors import Damaged
from aq.formats.identity import Buffer, Kind
from aq.formats.objects import Source, visit
from aq.formats.tables.content import Reader, Segment
from pyarrow import types as is_

_NUMBERS: Final = (1, 2, 4, 8)
_WIDEST: Final = 32
"""Bytes of a value: what is wider is nothing to be made room for before it was seen."""


Chosen = Sequence[npt.NDArray[np.int64]] | None
"""Rows of each segment by their places in it; None: all."""


def gather(
    content: Reader,
    segments: Sequence[Segment],
    places: Sequence[int],
    kinds: Sequence[Any],
    told: Callable[[int], None] | None = None,
) -> list[pa.ChunkedArray]:
    """The columns at these places, of these types, of these segments in this order. Raises Damaged.

    `told` hears how many canonical bytes each column of each segment has, maybe in two threads.
    """
    ends = _ends(segments)
    columns = [_column(kind, ends) for kind in kinds]

    def see(at: int, place: int, blob: Buffer) -> None:
        columns[place].add(at, blob)
        if told is not None:
            told(len(blob))

    content.visit(segments, places, see)
    return [column.result() for column in columns]


def gather_rows(
    content: Reader,
    segments: Sequence[Segment],
    chosen: Chosen,
    places: Sequence[int],
    kinds: Sequence[Any],
) -> list[pa.ChunkedArray]:
    """The same of some rows of each segment, `chosen` by their places in it: nothing else is kept."""
    ends = _ends(segments)
    columns = [_column(kind, ends, chosen) for kind in kinds]
    content.visit(segments, places, lambda at, place, blob: columns[place].add(at, blob))
    return [column.result() for column in columns]


class Texts(NamedTuple):
    """A column of texts as it lies: lengths (0 for null), which are valid (None: all), all bytes in a run."""

    lengths: npt.NDArray[np.uint32]
    valid: npt.NDArray[np.bool_] | None
    data: npt.NDArray[np.uint8]


Wanted = tuple[Reader, Sequence[Segment], int, Any]
"""A table, some of its segments, the place of a column, and its type."""


def gather_both(left: Wanted, right: Wanted) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """A column of two tables: chunks that are made from each other are unpacked once. Raises Damaged."""
    columns = _column(left[3], _ends(left[1])), _column(right[3], _ends(right[1]))
    _visit_both((left, right), columns)
    return columns[0].result(), columns[1].result()


def gather_texts(left: Wanted, right: Wanted) -> tuple[Texts, Texts]:
    """The same of strings or binaries, for who needs no Arrow array of them."""
    columns = _Texts(left[3], _ends(left[1])), _Texts(right[3], _ends(right[1]))
    _visit_both((left, right), columns)
    return columns[0].texts(), columns[1].texts()


def _visit_both(wanted: tuple[Wanted, Wanted], columns: Sequence[_Column]) -> None:
    ids: list[bytes] = []
    uses: list[Callable[[Buffer], None]] = []
    for (content, segments, place, _), column in zip(wanted, columns, strict=True):
        more = content.noted(segments, [place], _adder(column))
        ids, uses = ids + more[0], uses + more[1]
        if content.source is not wanted[1][0].source:
            _show(content.source, ids, uses)
            ids, uses = [], []
    _show(wanted[1][0].source, ids, uses)


def _show(source: Source, ids: list[bytes], uses: list[Callable[[Buffer], None]]) -> None:
    visit(source, Kind.CHUNK, ids, lambda at, data: uses[at](data))


def _adder(column: _Column) -> Callable[[int, int, Buffer], None]:
    return lambda at, _place, blob: column.add(at, blob)


def _ends(segments: Sequence[Segment]) -> list[int]:
    return list(accumulate((segment.stop - segment.start for segment in segments), initial=0))


class _Column(Protocol):
    """A column in the making."""

    def add(self, at: int, blob: Buffer) -> None:
        """The canonical bytes of a segment, which are right only until this returns."""

    def result(self) -> pa.ChunkedArray:
        """All segments in order, once each was added."""


def _column(kind: Any, ends: Sequence[int], chosen: Chosen = None) -> _Column:
    wanted = arrow_type(kind)
    storage = wanted.storage_type if isinstance(wanted, pa.BaseExtensionType) else wanted
    layout = layout_of(storage)
    if layout is Layout.FIXED and 0 < width(storage) <= _WIDEST:
        return _Fixed(wanted, storage, ends, chosen)
    if layout is Layout.VARIABLE and chosen is None:
        return _Texts(kind, ends)
    return _Pieces(kind, ends, chosen)


class _Flat:
    """What columns of values and of texts share: rows at their places, and which of them are null."""

    def __init__(self, ends: Sequence[int], chosen: Chosen = None) -> None:
        self.ends, self.chosen = ends, chosen
        self.to = ends if chosen is None else list(accumulate(map(len, chosen), initial=0))
        self.rows = self.to[-1]
        self._valid: dict[int, npt.NDArray[np.bool_]] = {}

    def begin(self, at: int, blob: Buffer, layout: Layout, name: object) -> tuple[int, int]:
        """Check the head of a segment's array; its rows, and where its body begins."""
        rows = self.ends[at + 1] - self.ends[at]
        if len(blob) < HEADER.size:
            raise Damaged("a table chunk is cut short")
        count, found, has_nulls, _ = HEADER.unpack_from(blob)
        if count != rows:
            raise Damaged(f"a table chunk has {count} values where {rows} belong")
        if found != layout or has_nulls > 1:
            raise Damaged(f"a table chunk does not hold {name}")
        if not has_nulls:
            return rows, HEADER.size
        if len(blob) < HEADER.size + rows:
            raise Damaged("a table chunk is cut short")
        valid = np.frombuffer(blob, np.uint8, rows, HEADER.size) != 0
        self._valid[at] = valid if self.chosen is None else valid[self.chosen[at]]
        return rows, HEADER.size + rows + -rows % 8

    def valid(self) -> npt.NDArray[np.bool_] | None:
        """Which rows are not null; None: all."""
        if not self._valid:
            return None
        valid = np.ones(self.rows, np.bool_)
        for at, found in self._valid.items():
            valid[self.to[at] : self.to[at + 1]] = found
        return valid

    def bits(self) -> tuple[pa.Buffer | None, int]:
        """Arrow's bitmap of what is valid, and how many are null."""
        valid = self.valid()
        if valid is None:
            return None, 0
        return pa.py_buffer(np.packbits(valid, bitorder="little")), self.rows - int(np.count_nonzero(valid))


class _Fixed(_Flat):
    """Values of one width."""

    def __init__(self, kind: pa.DataType, storage: pa.DataType, ends: Sequence[int], chosen: Chosen) -> None:
        super().__init__(ends, chosen)
        self._kind, self._storage, self._width = kind, storage, width(storage)
        self._buffer, self._values = _room(self.rows * self._width, np.uint8)

    def add(self, at: int, blob: Buffer) -> None:
        """See `_Column`."""
        rows, start = self.begin(at, blob, Layout.FIXED, self._kind)
        size = rows * self._width
        _check_length(blob, start + size)
        first, stop = (row * self._width for row in self.to[at : at + 2])
        if self.chosen is None:
            self._values[first:stop] = np.frombuffer(blob, np.uint8, size, start)
        else:
            dtype = f"<u{self._width}" if self._width in _NUMBERS else f"V{self._width}"
            self._values[first:stop] = np.frombuffer(blob, dtype, rows, start)[self.chosen[at]].view(np.uint8)

    def result(self) -> pa.ChunkedArray:
        """See `_Column`."""
        bits, nulls = self.bits()
        is_bool = is_.is_boolean(self._storage)
        values = pa.py_buffer(np.packbits(self._values, bitorder="little")) if is_bool else self._buffer
        array = pa.Array.from_buffers(self._storage, self.rows, [bits, values], nulls)
        if self._storage is not self._kind:
            array = pa.ExtensionArray.from_storage(self._kind, array)
        return pa.chunked_array([array] if self.rows else [], self._kind)


class _Texts(_Flat):
    """Strings or binaries: lengths at their places, bytes one after the other."""

    def __init__(self, kind: Any, ends: Sequence[int]) -> None:
        super().__init__(ends)
        self._kind = kind
        self._buffer, self._offsets = _room(4 * (self.rows + 1), "<u4")
        self._bytes = _Bytes(len(ends) - 1)

    def add(self, at: int, blob: Buffer) -> None:
        """See `_Column`."""
        rows, start = self.begin(at, blob, Layout.VARIABLE, self._kind)
        body = start + 4 * rows + -4 * rows % 8
        if len(blob) < body:
            raise Damaged("a table chunk is cut short")
        lengths = np.frombuffer(blob, "<u4", rows, start)
        size = int(lengths.sum(dtype=np.int64))
        _check_length(blob, body + size)
        self._offsets[1 + self.ends[at] : 1 + self.ends[at + 1]] = lengths
        self._bytes.add(at, memoryview(blob)[body : body + size])

    def texts(self) -> Texts:
        """All segments in order, once each was added."""
        return Texts(self._offsets[1:], self.valid(), self._bytes.view())

    def result(self) -> pa.ChunkedArray:
        """See `_Column`."""
        bits, nulls = self.bits()
        kind = arrow_type(self._kind, large=self._bytes.size > LARGE)
        storage = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
        ends, data = self._ends(), self._bytes.buffer()
        if not (self._bytes.is_ascii or is_.is_binary(storage) or is_.is_large_binary(storage)):
            check_texts(np.frombuffer(ends, "<i8" if self._bytes.size > LARGE else "<u4", self.rows), data)
        array = pa.Array.from_buffers(storage, self.rows, [bits, ends, data], nulls)
        if storage is not kind:
            array = pa.ExtensionArray.from_storage(kind, array)
        return pa.chunked_array([array] if self.rows else [], kind)

    def _ends(self) -> pa.Buffer:
        """Where each text ends, after a zero: lengths no more."""
        self._offsets[0] = 0
        if self._bytes.size > LARGE:
            return pa.py_buffer(np.cumsum(self._offsets, dtype="<i8"))
        np.cumsum(self._offsets, dtype="<u4", out=self._offsets)
        return self._buffer


class _Bytes:
    """The bytes of all segments in a run. The next ones go to their place at once, others wait for them."""

    def __init__(self, count: int) -> None:
        self.size = 0
        self.is_ascii = True
        self._count = count
        self._next = 0
        self._waiting: dict[int, bytes] = {}
        self._buffer = pa.allocate_buffer(0, resizable=True)
        self._all = np.empty(0, np.uint8)
        self._lock = Lock()

    def add(self, at: int, part: memoryview) -> None:
        """Those of one segment, from any thread."""
        is_ascii = not len(part) or int(np.frombuffer(part, np.uint8).max()) < 128
        with self._lock:
            self.is_ascii &= is_ascii
            if at != self._next:
                self._waiting[at] = bytes(part)
                return
            self._append(part)
            while (held := self._waiting.pop(self._next, None)) is not None:
                self._append(held)

    def _append(self, part: Buffer) -> None:
        size = self.size + len(part)
        self._next += 1
        if size > len(self._all):
            # Segments are alike: so much in all, and a tenth more.
            guess = size if self._next == self._count else size * self._count // self._next * 11 // 10
            self._buffer.resize(max(guess, len(self._all) * 3 // 2))
            self._all = np.frombuffer(self._buffer, np.uint8)
        if size > self.size:
            self._all[self.size : size] = np.frombuffer(part, np.uint8)
            self.size = size

    def buffer(self) -> pa.Buffer:
        """All of them."""
        return self._buffer.slice(0, self.size)

    def view(self) -> npt.NDArray[np.uint8]:
        """The same."""
        return self._all[: self.size]


class _Pieces:
    """Any other column: read segment by segment."""

    def __init__(self, kind: Any, ends: Sequence[int], chosen: Chosen) -> None:
        self._kind, self._ends, self._chosen = kind, ends, chosen
        self._blobs: list[bytes] = [b""] * (len(ends) - 1)

    def add(self, at: int, blob: Buffer) -> None:
        """See `_Column`."""
        self._blobs[at] = bytes(blob)

    def result(self) -> pa.ChunkedArray:
        """See `_Column`."""
        kind = arrow_type(self._kind, large=any(len(blob) > LARGE for blob in self._blobs))
        rows = [stop - start for start, stop in pairwise(self._ends)]
        pieces = [read_array(blob, kind, count) for blob, count in zip(self._blobs, rows, strict=True)]
        if self._chosen is not None:
            pairs = zip(pieces, self._chosen, strict=True)
            pieces = [taken(piece, at_places(rows)) for piece, rows in pairs]
        return pa.chunked_array(pieces, kind)


def _room(size: int, dtype: Any) -> tuple[pa.Buffer, npt.NDArray[Any]]:
    """Memory of Arrow's, which comes in large pages and is used again once it is free; and as an array."""
    buffer = pa.allocate_buffer(size)
    return buffer, np.frombuffer(buffer, dtype) if size else np.empty(0, dtype)


def _check_length(blob: Buffer, size: int) -> None:
    if len(blob) != size + -size % 8:
        few = len(blob) < size
        raise Damaged("a table chunk is cut short" if few else "a table chunk has bytes too many")
