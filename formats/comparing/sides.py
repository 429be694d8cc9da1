"""One version of a table while it is compared: its columns are read one at a time, where needed.

Invariant: rows are named by their number in that version; nothing is read but the segments asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from aq.formats.columns.described import Described, described
from aq.formats.columns.encodings import whole
from aq.formats.columns.picking import places, taken
from aq.formats.columns.rowhash import Words, compared, mix
from aq.formats.columns.shown import plain, shown
from aq.formats.columns.types import arrow_type
from aq.formats.comparing.casting import Cast, cast_for_comparing
from aq.formats.identity import Kind, object_id
from aq.formats.objects import Source
from aq.formats.records import Artifact
from aq.formats.tables.content import Reader, Segment
from aq.formats.tables.gather import Texts, Wanted, gather, gather_both, gather_rows, gather_texts
from aq.formats.tables.table import reader
from aq.formats.threads import alone

Rows = npt.NDArray[np.int64]

_TAKEN: Final = 64
"""Rows are taken from so many segments at a time: what else was read is forgotten at once."""


class Pairs(NamedTuple):
    """Row numbers before and after: pairs where they are as many, else just two sets."""

    before: Rows
    after: Rows


_MISSING: Final = ("nan", "<NA>", "NaT")


@dataclass(frozen=True)
class Column:
    """A column that both versions have: its place in each, and what to cast to before comparing."""

    name: str
    before: int
    after: int
    cast: Cast | None = None


@dataclass(frozen=True)
class Side:
    """A version of a table, and which of `Column.before` and `Column.after` is its own place."""

    artifact: Artifact
    source: Source
    is_after: bool

    @cached_property
    def content(self) -> Reader:
        return reader(self.artifact, self.source)

    @cached_property
    def described(self) -> Described:
        return described(self.artifact)

    @property
    def rows(self) -> int:
        return self.described.rows

    @property
    def columns(self) -> list[tuple[str, Any]]:
        """Names and types of all columns, hidden ones too."""
        return self.described.columns

    def place(self, column: Column) -> int:
        return column.after if self.is_after else column.before

    def show(self, column: Column, rows: Rows) -> list[Any]:
        """The values of one column in these rows, which ascend, as JSON has them."""
        return [self.shown(column, value) for value in self.take(replace(column, cast=None), rows)]

    def shown(self, column: Column, value: pa.Scalar) -> Any:
        """A value as JSON; as text a Python object that Arrow has no type for, and what is no finite number.

        NaN is null in pandas, where it stands for what is missing.
        """
        if value.is_valid and self._has_objects(column):
            from aq.formats.dataframes.cells import read_cell

            return plain(repr(read_cell(value.as_py())))
        found = shown(value)
        if found is None and value.is_valid:
            found = str(value.as_py())
            return None if found == "nan" and self.described.pandas is not None else found
        return found

    def comparable(self, column: Column, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """Values of a column, cast for comparing; Python objects by their texts."""
        if column.cast is not None and self._has_objects(column):
            values = _objects_as_texts(values)
        return cast_for_comparing(values, column.cast)

    def _has_objects(self, column: Column) -> bool:
        """Whether the cells are Python objects that Arrow has no one type for."""
        return self.described.dtypes.get(self.place(column), [])[:2] == ["object", "cells"]

    @cached_property
    def _starts(self) -> Rows:
        return np.array([segment.start for segment in self.content.segments], np.int64)

    def part_ids(self, segment: Segment, columns: Sequence[Column]) -> tuple[bytes, ...]:
        """For each column of a segment bytes that are equal where the values are."""
        places = [self.place(column) for column in columns]
        if not segment.is_packed:
            found = self.content.chunk_ids(segment)
            return tuple(found[at] for at in places)
        [(_, blobs)] = self.content.read([segment], places)
        return tuple(object_id(Kind.CHUNK, blob) for blob in blobs)

    def values(self, column: Column, segments: Sequence[Segment]) -> pa.ChunkedArray:
        """One column of these segments, in this order, cast for comparing."""
        place = self.place(column)
        [found] = gather(self.content, segments, [place], [self.columns[place][1]])
        return self.comparable(column, found)

    def wanted(self, column: Column, segments: Sequence[Segment]) -> Wanted:
        """One column of these segments, to be gathered."""
        place = self.place(column)
        return self.content, segments, place, self.columns[place][1]

    def words(self, column: Column, segments: Sequence[Segment]) -> Words:
        """The words of one column of these segments."""
        return one_after_the_other([compared(piece) for piece in self.values(column, segments).chunks])

    def hashes(self, columns: Sequence[Column], segments: Sequence[Segment]) -> Words:
        """A hash of each row over some columns."""
        total = np.zeros(sum(segment.stop - segment.start for segment in segments), np.uint64)
        for at, column in enumerate(columns):
            total += salted(self.words(column, segments), at)
        return total

    def take(self, column: Column, rows: Rows) -> pa.Array:
        """The values of one column in these rows, which ascend."""
        return whole(self.comparable(column, self.pick([self.place(column)], rows)[0]))

    def pick(self, places: Sequence[int], rows: Rows) -> list[pa.ChunkedArray]:
        """These rows, which ascend, of the columns at these places; some segments are read at a time."""
        bounds = np.append(np.searchsorted(rows, self._starts), len(rows))
        owners = np.flatnonzero(np.diff(bounds))
        kinds = [self.columns[at][1] for at in places]
        found: list[list[pa.Array]] = [[] for _ in places]
        for first in range(0, len(owners), _TAKEN):
            some = owners[first : first + _TAKEN]
            segments = [self.content.segments[at] for at in some.tolist()]
            chosen = [rows[bounds[one.at] : bounds[one.at + 1]] - one.start for one in segments]
            with alone():  # a second thread saves an eighth of the time, and costs a third of the CPU
                columns = gather_rows(self.content, segments, chosen, places, kinds)
            for pieces, column in zip(found, columns, strict=True):
                pieces += column.chunks
        return [_of_one_type(pieces, kind) for pieces, kind in zip(found, kinds, strict=True)]


def _objects_as_texts(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Python objects as `str` has them, what pandas takes for missing as null."""
    from aq.formats.dataframes.cells import read_cell

    found = [None if cell is None else read_cell(cell) for cell in values.to_pylist()]
    texts = [None if value is None else str(value) for value in found]
    return pa.chunked_array([pa.array([None if text in _MISSING else text for text in texts], pa.string())])


def _of_one_type(pieces: list[pa.Array], kind: Any) -> pa.ChunkedArray:
    """Pieces of a column; texts of more than 2 GiB have a type of their own."""
    usual = arrow_type(kind)
    if any(piece.type != usual for piece in pieces):
        usual = arrow_type(kind, large=True)
        pieces = [piece.cast(usual) for piece in pieces]
    return pa.chunked_array(pieces, usual)


def values_of_both(
    before: Side, left: Sequence[Segment], after: Side, right: Sequence[Segment], column: Column
) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """One column of these segments of both sides, cast for comparing."""
    found = gather_both(before.wanted(column, left), after.wanted(column, right))
    return before.comparable(column, found[0]), after.comparable(column, found[1])


def is_text(side: Side, column: Column) -> bool:
    """Whether a column holds strings or binaries that are compared as they are."""
    return not column.cast and side.columns[side.place(column)][1] in ("string", "binary")


def texts_of_both(
    before: Side, left: Sequence[Segment], after: Side, right: Sequence[Segment], column: Column
) -> tuple[Texts, Texts]:
    """One column of these segments of both sides, both of texts, as they lie."""
    return gather_texts(before.wanted(column, left), after.wanted(column, right))


def hashes_of_both(
    before: Side, left: Sequence[Segment], after: Side, right: Sequence[Segment], columns: Sequence[Column]
) -> tuple[Words, Words]:
    """A hash of each row of both sides over some columns; of one column its words."""
    if len(columns) != 1:
        return before.hashes(columns, left), after.hashes(columns, right)
    found = [
        [compared(piece) for piece in side.chunks]
        for side in values_of_both(before, left, after, right, columns[0])
    ]
    mine, theirs = map(one_after_the_other, found)
    return mine, theirs


def one_after_the_other(parts: Sequence[Words]) -> Words:
    """All of them as one array, which may be the only one."""
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.uint64), *parts])


def take(side: Side, column: Column, rows: Rows) -> pa.Array:
    """The values of one column in these rows, in this order."""
    order = np.argsort(rows, kind="stable")
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    found = side.take(column, rows[order])
    return found if (np.diff(rows) >= 0).all() else taken(found, places(back))


def salted(found: Words, at: int) -> Words:
    """The share of the column at this place in a row's hash."""
    return mix(found ^ mix(np.array([at + 1], np.uint64)))


def numbering(segments: Sequence[Segment]) -> Rows:
    """The row numbers that these segments hold, in order."""
    parts = [np.arange(segment.start, segment.stop) for segment in segments]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def numbered(segments: Sequence[Segment], positions: Rows) -> Rows:
    """The row numbers at these positions among the rows of these segments."""
    if not len(positions):
        return np.empty(0, np.int64)
    starts = np.array([segment.start for segment in segments])
    offsets = np.cumsum([0, *(segment.stop - segment.start for segment in segments)])[:-1]
    return np.asarray(positions + (starts - offsets)[np.searchsorted(offsets, positions, side="right") - 1])
