"""Which column names the rows of two versions of a table, where no key is declared.

Invariant: no value of it is there twice on either side, most are on both, and rows of one value agree in
another column more often than any two do. Only segments that differ are read, and none of long tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import numpy as np
from aq.formats.columns.rowhash import Words
from aq.formats.columns.sets import distinct
from aq.formats.columns.types import arrow_type
from aq.formats.comparing.match_segments import align_segments, differing_segments
from aq.formats.comparing.sides import Column, Rows, Side, hashes_of_both
from aq.formats.comparing.steady import steadier
from aq.formats.tables.content import Segment
from pyarrow import types as is_

LOOKED_AT_MOST: Final = 200_000
"""Rows that differ, of either side: above, the columns that cut the table serve."""
_COLUMNS_MOST: Final = 50
"""Columns that may name rows, and columns asked about one of them: the first ones of wide tables."""
_SHARED: Final = 0.5
_CLEARER: Final = 0.25
"""By which share rows of one value must agree more often than others in some column."""


class _Shared(NamedTuple):
    """Where the values that both sides have stand."""

    before: Rows
    after: Rows


def identifying(before: Side, after: Side, columns: Sequence[Column]) -> tuple[list[Column], list[Column]]:
    """The columns of the declared key, and those that cut the table; empty where one is missing."""
    by_name = {column.name: column for column in columns}
    for side in (after, before):
        key = side.described.key
        if key and all(name in by_name for name in key):
            return [by_name[name] for name in key], []
    by_place = {column.after: column for column in columns}
    cut = after.described.cut
    return [], [by_place[at] for at in cut] if all(at in by_place for at in cut) else []


def naming(before: Side, after: Side, columns: Sequence[Column]) -> tuple[list[Column], list[Column]]:
    """As `identifying`, with columns that name the rows, or line them up, in place of those that cut."""
    key, cut = identifying(before, after, columns)
    if key:
        return key, cut
    left, right, _ = differing_segments(before, after, columns)
    if not (left and right and columns):
        return key, cut
    cut = _named(before, left, after, right, columns, cut)
    _, left, right = align_segments(before, after, columns, cut, left, right)
    return key, steadier(before, left, after, right, columns, cut) if left and right else cut


def _named(
    before: Side,
    left: Sequence[Segment],
    after: Side,
    right: Sequence[Segment],
    columns: Sequence[Column],
    cut: list[Column],
) -> list[Column]:
    """The column that names the rows of these segments, if they are few and there is one, else `cut`."""
    sizes = [sum(segment.stop - segment.start for segment in side) for side in (left, right)]
    if max(sizes) > LOOKED_AT_MOST:
        return cut
    search = _Search(before, left, after, right, columns)
    best, most = cut, min(sizes) * _SHARED
    if cut and (found := search.shared(cut)) is not None:
        most = max(most, len(found.before))
    for column in search.candidates():
        if most == min(sizes):
            break
        found = None if [column] == best else search.shared([column])
        if found is not None and len(found.before) > most and search.is_told(column, found):
            best, most = [column], len(found.before)
    return best


def may_name(descriptor: Any) -> bool:
    """Whether a column of this type may name rows: integers, texts and times, but no measures."""
    kind = arrow_type(descriptor)
    texts = is_.is_string(kind) or is_.is_binary(kind) or is_.is_fixed_size_binary(kind)
    return bool(texts or is_.is_integer(kind) or is_.is_timestamp(kind) or is_.is_date(kind))


class _Search:
    """The rows that may differ, read a column at a time."""

    def __init__(
        self,
        before: Side,
        left: Sequence[Segment],
        after: Side,
        right: Sequence[Segment],
        columns: Sequence[Column],
    ) -> None:
        self._sides, self._columns = (before, left, after, right), columns
        self._words: dict[Column, tuple[Words, Words]] = {}

    def candidates(self) -> Iterator[Column]:
        """The first columns of integers, texts and times that are of one type on both sides."""
        found = (column for column in self._columns if not column.cast and self._may_name(column))
        return islice(found, _COLUMNS_MOST)

    def _may_name(self, column: Column) -> bool:
        return may_name(self._sides[0].columns[column.before][1])

    def shared(self, columns: Sequence[Column]) -> _Shared | None:
        """The rows whose values are on both sides; None where one is there twice."""
        mine, theirs = hashes_of_both(*self._sides, columns) if len(columns) > 1 else self._of(columns[0])
        if any(len(distinct(side)) < len(side) for side in (mine, theirs)):
            return None
        _, at, to = np.intersect1d(mine, theirs, assume_unique=True, return_indices=True)
        return _Shared(at, to)

    def is_told(self, column: Column, found: _Shared) -> bool:
        """Whether rows of one value belong together: in another column they agree more often than any two."""
        others = [other for other in self._columns[: _COLUMNS_MOST + 1] if other != column]
        if not any(self._may_name(other) for other in others):
            return True
        return any(self._agree_by(other, found) >= _CLEARER for other in others)

    def _agree_by(self, column: Column, found: _Shared) -> float:
        mine, theirs = self._of(column)
        pairs = mine[found.before], theirs[found.after]
        return float(np.mean(pairs[0] == pairs[1]) - np.mean(pairs[0] == np.roll(pairs[1], 1)))

    def _of(self, column: Column) -> tuple[Words, Words]:
        found = self._words.get(column)
        if found is None:
            found = self._words[column] = hashes_of_both(*self._sides, [column])
        return found
