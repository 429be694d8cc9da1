"""Rows of a table that an earlier one has already, wherever they lie: told from ids as far as these go.

Invariant: rows that are said to be equal are, to the bit; hashes only find them. Segments that both tables
hold are never read, and of those with the same rows only columns whose chunks differ.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from aq.formats.columns.described import Described
from aq.formats.columns.layout import Layout, layout_of, write_array
from aq.formats.columns.picking import places, taken
from aq.formats.columns.rowhash import Words, compared
from aq.formats.columns.sets import distinct, without
from aq.formats.columns.types import arrow_type
from aq.formats.comparing.blockwise import differing
from aq.formats.comparing.match_segments import Aligned, align_segments
from aq.formats.comparing.naming import identifying
from aq.formats.comparing.sequence import Blocks, cells
from aq.formats.comparing.sides import Column, Rows, Side, numbered, numbering, salted
from aq.formats.comparing.stepping import in_step
from aq.formats.objects import Source
from aq.formats.records import Artifact
from aq.formats.tables.content import Segment

Mask = npt.NDArray[np.bool_]

FEW: Final = 0.05
"""The share of rows changed in place up to which nobody looks whether one of them came from elsewhere."""

_AT_ONCE: Final = 1 << 18
"""Rows."""
_IN_STEP: Final = 50e-9
_ANYWHERE: Final = 250e-9
"""About the seconds of CPU for each cell of the rows that are looked for, among five million rows."""
_EXACT_BITS: Final = (1, 8, 16, 32, 64)


class Found(NamedTuple):
    """For each row the number of an equal one, −1 for none; whether some were not looked for."""

    rows: Rows
    gave_up: bool


def recurring(old: Artifact, now: Artifact, source: Source, seconds: float = math.inf) -> Found | None:
    """For each row of `now` an equal one in `old`; None where they have other columns, types or containers.

    What would take longer than about so many `seconds` is left out.
    """
    before, after = Side(old, source, is_after=False), Side(now, source, is_after=True)
    if _comparable(before.described) != _comparable(after.described):
        return None
    columns = [Column(name, at, at) for at, (name, _) in enumerate(after.columns)]
    search = _Search(before, after, columns, seconds)
    return Found(search.found, search.gave_up)


def _comparable(found: Described) -> Described:
    """What must be equal for rows to be: all but how many there are, where they are cut, and how often."""
    pandas = found.pandas
    if pandas is not None and pandas.index is not None:
        index = msgspec.structs.replace(pandas.index, freq=None, freqs=[])
        pandas = msgspec.structs.replace(pandas, index=index)
    return msgspec.structs.replace(found, rows=0, cut=[], key=[], pandas=pandas)


class _Search:
    """From what costs nothing to what costs most, each with the rows that are left."""

    def __init__(self, before: Side, after: Side, columns: Sequence[Column], seconds: float) -> None:
        self._before, self._after, self._columns, self._seconds = before, after, columns, seconds
        self.gave_up = False
        self.found = np.full(after.rows, -1, np.int64)
        key, cut = identifying(before, after, columns)
        self._steady = key or cut
        self._cells: Counter[Column] = Counter()
        left, right = self._segments()
        if not (left and right):
            return
        aligned, mine, theirs = align_segments(before, after, columns, self._steady, left, right)
        changed = self._in_place(aligned)
        self._in_step(mine, theirs)
        self._elsewhere(left, changed)

    def _segments(self) -> tuple[list[Segment], list[Segment]]:
        """The segments that only one of them holds."""
        known = {segment.id: segment for segment in self._before.content.segments}
        ids = {segment.id for segment in self._after.content.segments}
        rest = []
        for segment in self._after.content.segments:
            same = known.get(segment.id)
            if same is None:
                rest.append(segment)
            else:
                self.found[segment.start : segment.stop] = np.arange(same.start, same.stop)
        return [one for one in self._before.content.segments if one.id not in ids], rest

    def _in_place(self, aligned: Sequence[Aligned]) -> Rows:
        """Rows of segments in which some columns are equal by their ids; returns those that changed."""
        changed = [np.empty(0, np.int64)]
        for pair in aligned:
            self.found[pair.after.start : pair.after.stop] = np.arange(pair.before.start, pair.before.stop)
        for column in self._columns:
            pairs = [pair for pair in aligned if column in pair.columns]
            if not pairs:
                continue
            left, right = [pair.before for pair in pairs], [pair.after for pair in pairs]
            count = sum(segment.stop - segment.start for segment in right)
            differs = self._differ(left, right, [column], np.array([[0, 0, count]]))
            changed.append(numbered(right, np.flatnonzero(differs)))
        rows = distinct(np.concatenate(changed))
        self.found[rows] = -1
        return rows

    def _is_worth(self, rows: int, each: float) -> bool:
        """Whether there is time to look for so many rows."""
        taken = rows * len(self._columns) * each
        self.gave_up |= taken > self._seconds
        self._seconds -= taken
        return self._seconds >= 0

    def _in_step(self, left: Sequence[Segment], right: Sequence[Segment]) -> None:
        """Rows that follow one another as before, some added or gone between."""
        rows = sum(segment.stop - segment.start for segment in right)
        if not (left and right and self._is_worth(rows, _IN_STEP)):
            return
        blocks = in_step(self._before, left, self._after, right, self._steady or self._columns).blocks
        differs = self._differ(left, right, self._columns, blocks)
        at, to = (side[~differs] for side in cells(blocks))
        self.found[numbered(right, to)] = numbered(left, at)

    def _differ(
        self, left: Sequence[Segment], right: Sequence[Segment], columns: Sequence[Column], blocks: Blocks
    ) -> Mask:
        """Which pairs that the blocks make differ in some column."""
        found, counts = differing(self._before, left, self._after, right, columns, blocks)
        self._cells.update(dict(zip(columns, counts, strict=True)))
        unsure = [column for column in columns if not self._is_exact(column)]
        if len(found) and unsure:
            at, to = (side[~found] for side in cells(blocks))
            sure = self._are_equal(unsure, numbered(left, at), numbered(right, to))
            found[~found] = ~sure
        return found

    def _is_exact(self, column: Column) -> bool:
        """Whether its values are compared as they are, and not by words of 64 bits."""
        kind = arrow_type(self._after.columns[column.after][1])
        storage = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
        return layout_of(storage) is Layout.FIXED and storage.bit_width in _EXACT_BITS

    def _are_equal(self, columns: Sequence[Column], at: Rows, to: Rows) -> Mask:
        """Which of these pairs, equal by their hashes, are equal to the bit: as a rule all.

        Each column is read once on either side, however the rows lie.
        """
        order = np.argsort(at)
        at, to = at[order], to[order]
        back = np.empty_like(order)
        ascending = np.argsort(to)
        back[ascending] = np.arange(len(to))
        sure = np.ones(len(at), bool)
        for column in columns:
            mine = self._before.take(column, at)
            theirs = taken(self._after.take(column, to[ascending]), places(back))
            for start in range(0, len(at), _AT_ONCE):
                part = mine.slice(start, _AT_ONCE), theirs.slice(start, _AT_ONCE)
                if write_array(part[0]) != write_array(part[1]):
                    sure[start : start + _AT_ONCE] &= [
                        write_array(part[0].slice(row, 1)) == write_array(part[1].slice(row, 1))
                        for row in range(len(part[0]))
                    ]
        found = np.empty_like(sure)
        found[order] = sure
        return found

    def _elsewhere(self, segments: Sequence[Segment], changed: Rows) -> None:
        """Look for the rows that are left among those that nobody has taken: fewer with each column."""
        left = np.flatnonzero(self.found < 0)
        if len(changed) <= FEW * self._after.rows:
            left = without(left, changed)
        if not (len(left) and self._is_worth(len(left), _ANYWHERE)):
            return
        used = np.zeros(self._before.rows, bool)
        used[self.found[self.found >= 0]] = True
        mine = numbering(segments)
        free = mine[~used[mine]]
        hashes = np.zeros(len(free), np.uint64), np.zeros(len(left), np.uint64)
        others = [column for column in self._columns if column not in self._steady]
        others.sort(key=lambda column: -self._cells[column])  # what differs most tells first
        columns = [*self._steady, *others]
        for place, column in enumerate(columns):
            if not (len(free) and len(left)):
                return
            for part, side, rows in zip(hashes, (self._before, self._after), (free, left), strict=True):
                part += salted(compared(side.take(column, rows)), place)
            more = place + 1 - len(self._steady)
            if more >= 0 and more & (more - 1) == 0 and column is not columns[-1]:
                kept = _may_be_among(hashes[0], hashes[1]), _may_be_among(hashes[1], hashes[0])
                free, left = free[kept[0]], left[kept[1]]
                hashes = hashes[0][kept[0]], hashes[1][kept[1]]
        orders = np.argsort(hashes[0]), np.argsort(hashes[1])  # what is sought in order is near the last
        known, sought = (found[order] for found, order in zip(hashes, orders, strict=True))
        at = np.minimum(np.searchsorted(known, sought), len(known) - 1)
        is_known = known[at] == sought
        at, to = free[orders[0][at[is_known]]], left[orders[1][is_known]]
        sure = self._are_equal(self._columns, at, to)
        self.found[to[sure]] = at[sure]


def _may_be_among(some: Words, others: Words) -> Mask:
    """Which of some may be among the others: surely those that are, of the rest one in eight."""
    bits = max(8, 3 + len(others).bit_length())
    shift = np.uint64(64 - bits)
    marks = np.zeros(1 << bits, bool)
    marks[others >> shift] = True
    return np.asarray(marks[some >> shift])
