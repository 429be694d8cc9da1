"""Three-way merge of a table: what two sides made of a common version, row by row and cell by cell.

Invariant: a cell that only one side changed holds; one that both changed differently is a conflict, and
so is a row that one side changed and the other removed. Clean merges do not depend on which side is
ours. Looking reads the segments that differ, building one side whole; rows belong together as in `diff`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from aq.formats.columns.picking import kept, taken
from aq.formats.columns.rowhash import Words, compared
from aq.formats.columns.sets import common, distinct
from aq.formats.columns.types import arrow_field
from aq.formats.comparing.lineup import line_up
from aq.formats.comparing.merge_columns import Conflict, Facts, Merged, merge_columns, merged_type
from aq.formats.comparing.merge_keys import candidate, declared, doubled, key_of
from aq.formats.comparing.merge_rows import NONE, Added, Order, merged_order
from aq.formats.comparing.sides import Column, Rows, Side, salted, take
from aq.formats.dataframes.columns import Columns
from aq.formats.objects import Like, Sink, Source
from aq.formats.records import Artifact
from aq.formats.tables.table import EncodedTable, encode_columns

CONFLICTS_MOST: Final = 1_000
"""So many conflicts of one table are listed."""
_RUN: Final = 32
"""Rows: runs of so many are cheaper as slices than one by one."""


def merge_tables(
    base: Artifact, ours: Artifact, theirs: Artifact, source: Source
) -> TableMerge | list[Conflict]:
    """Look at a merge: what can be built, or the conflicts, at most `CONFLICTS_MOST` of them.

    A table that has no key, nor columns that name each row, is one conflict of the kind `key`, with a column
    that could be one; so is each key of several rows of which a side touched one.
    """
    given = declared(base, ours, theirs)
    facts = tuple(Facts.of(line_up(base, side, source, key=given)) for side in (ours, theirs))
    assert len(facts) == 2
    columns, conflicts = merge_columns(*facts)
    container = merged_type(columns, (base, ours, theirs))
    key = key_of(facts, given)
    if key is None:
        return [*conflicts, Conflict("key", candidate(facts))]
    if isinstance(container, Conflict):
        return [*conflicts, container]
    rows = _Rows(facts, columns, key)
    conflicts += list(islice(_doubled(facts, key), CONFLICTS_MOST)) or islice(
        rows.conflicts(), CONFLICTS_MOST
    )
    order = None if conflicts else rows.order()
    if order is None:
        return conflicts or [Conflict("table")]
    names = [one.name for at in key for one in columns if one.base == at]
    is_declared = any(one.lineup.after.described.key for one in facts)
    return TableMerge(facts, columns, order, container, names if is_declared else [])


def _doubled(facts: tuple[Facts, Facts], key: list[int]) -> Iterator[Conflict]:
    """A conflict for each key of several rows of which a side touched one."""
    told = []
    for one in doubled(facts, key):
        if one not in told:
            told.append(one)
            yield Conflict("key", None, one)


class _Twins(NamedTuple):
    """Rows with one key that both sides added: their places among the added ones."""

    ours: Rows
    theirs: Rows


@dataclass(frozen=True)
class _Rows:
    """What both sides did to the rows."""

    facts: tuple[Facts, Facts]
    columns: list[Merged]
    key: list[int]

    def conflicts(self) -> Iterator[Conflict]:
        """Rows and cells on which the sides differ."""
        for side, added in enumerate(self._added()):
            if len(distinct(self._key_words(side, added))) < len(added):
                yield Conflict("table")
                return
        yield from self._removed_here_changed_there()
        for one in self.columns:
            if one.base is not None and None not in one.sides:
                yield from self._cells(one, one.base)
        yield from self._added_twice()

    def _added(self) -> tuple[Rows, Rows]:
        found = tuple(np.sort(one.lineup.matching.added) for one in self.facts)
        assert len(found) == 2
        return found

    def _at(self, side: int) -> Rows:
        """For each row of the base its number on a side; -1 where it was removed."""
        lineup = self.facts[side].lineup
        found = np.full(lineup.before.rows, NONE, np.int64)
        for after, before, length in lineup.blocks.tolist():
            found[before : before + length] = np.arange(after, after + length)
        return found

    def _removed_here_changed_there(self) -> Iterator[Conflict]:
        for side in (0, 1):
            parts = [change.before for change in self.facts[1 - side].lineup.changes]
            touched = distinct(np.concatenate([np.empty(0, np.int64), *parts]))
            both = common(touched, distinct(self.facts[side].lineup.matching.removed))
            did = ("removed", "changed") if side == 0 else ("changed", "removed")
            for key in self._keys(both):
                yield Conflict("row", None, key, None, *did)

    def _cells(self, one: Merged, base: int) -> Iterator[Conflict]:
        rows = common(*(distinct(changed_rows(facts, base)) for facts in self.facts))
        if not len(rows):
            return
        places = [self._at(side)[rows] for side in (0, 1)]
        values = [take(self._side(side), own(one, side), places[side]) for side in (0, 1)]
        differ = compared(values[0]) != compared(values[1])
        before = take(self.facts[0].lineup.before, Column(one.name, base, base), rows[differ])
        yield from self._told(one, rows[differ], before, [kept(side, pa.array(differ)) for side in values])

    def _told(
        self, one: Merged, rows: Rows, before: pa.Array, values: Sequence[pa.Array]
    ) -> Iterator[Conflict]:
        side = self._side(0)
        column = own(one, 0)
        for key, *cells in zip(self._keys(rows), before, *values, strict=True):
            yield Conflict("cell", one.name, key, *(side.shown(column, cell) for cell in cells))

    def _added_twice(self) -> Iterator[Conflict]:
        """Rows with one key that both sides added, each with other values."""
        added, twins = self._added(), self._twins()
        rows = [added[side][twins[side]] for side in (0, 1)]
        for one in self.columns if len(rows[0]) else ():
            if None in one.sides:
                continue
            values = [take(self._side(side), own(one, side), rows[side]) for side in (0, 1)]
            for at in np.flatnonzero(compared(values[0]) != compared(values[1])).tolist():
                key = self._shown_key(self._side(0), 0, rows[0][at : at + 1])[0]
                shown = (self._side(0).shown(own(one, 0), side[at]) for side in values)
                yield Conflict("cell", one.name, key, None, *shown)

    def _twins(self) -> _Twins:
        mine, other = (self._key_words(side, rows) for side, rows in enumerate(self._added()))
        _, ours, theirs = np.intersect1d(mine, other, assume_unique=True, return_indices=True)
        return _Twins(ours, theirs)

    def _key_words(self, side: int, rows: Rows) -> Words:
        found = np.zeros(len(rows), np.uint64)
        for place, at in enumerate(self.key):
            found += salted(compared(take(self._side(side), self.facts[side].columns[at], rows)), place)
        return found

    def _keys(self, rows: Rows) -> list[dict[str, Any]]:
        """The keys of rows of the base."""
        return self._shown_key(self.facts[0].lineup.before, None, rows)

    def _shown_key(self, side: Side, number: int | None, rows: Rows) -> list[dict[str, Any]]:
        columns = [
            Column(name, at, at) if number is None else self.facts[number].columns[at]
            for at in self.key
            for name in [self.facts[0].lineup.before.columns[at][0]]
        ]
        shown = [side.show(column, rows) for column in columns]
        return [
            {c.name: cells[at] for c, cells in zip(columns, shown, strict=True)} for at in range(len(rows))
        ]

    def _side(self, side: int) -> Side:
        return self.facts[side].lineup.after

    def order(self) -> Order | None:
        """The merged rows; None where both sides put them into different orders."""
        added, twins = self._added(), self._twins()
        ranks = self._ranks(added)
        return merged_order(
            (self._at(0), self._at(1)),
            (Added(added[0], ranks[: len(added[0])]), Added(added[1], ranks[len(added[0]) :])),
            twins,
        )

    def _ranks(self, added: tuple[Rows, Rows]) -> Rows:
        """The ranks of added rows among those of both sides by key; by a hash where keys have no order."""
        found = np.concatenate(
            [self._key_words(side, rows) for side, rows in zip((0, 1), added, strict=True)]
        )
        if len(added[0]) and len(added[1]):
            columns = {}
            for number, at in enumerate(self.key):
                parts = [take(self._side(s), self.facts[s].columns[at], added[s]) for s in (0, 1)]
                columns[str(number)] = pa.chunked_array([parts[0], parts[1].cast(parts[0].type)])
            try:
                order = pc.sort_indices(
                    pa.table(columns), sort_keys=[(name, "ascending") for name in columns]
                )
            except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError):
                order = pa.array(np.argsort(found, kind="stable"))
            ranks = np.empty(len(found), np.int64)
            ranks[order.to_numpy()] = np.arange(len(found))
            return ranks
        return np.arange(len(found))


@dataclass(frozen=True)
class TableMerge:
    """A clean merge: its columns, its rows, and the sides that they are taken from."""

    facts: tuple[Facts, Facts]
    columns: list[Merged]
    order: Order
    container: dict[str, Any]
    key: list[str]

    def build(self, sink: Sink, source: Source) -> EncodedTable:
        """Store the merged table; ours is what it resembles."""
        values = [self._values(one) for one in self.columns]
        fields = [
            arrow_field(one.name, self.facts[one.typed].kind(place(one))[0], column.type)
            for one, column in zip(self.columns, values, strict=True)
        ]
        names = [one.name for one in self.columns]
        columns = Columns(names, values, len(self.order.base), self.container, fields)
        like = Like(self.facts[0].lineup.after.artifact, source)
        return encode_columns(columns, sink, key=self.key, like=like)

    def _values(self, one: Merged) -> pa.ChunkedArray:
        """A column of the merged rows: each value from the side that has the say in it."""
        is_theirs = self._is_theirs(one)
        rows = np.where(is_theirs, self.order.theirs, self.order.ours)
        index = np.full(len(rows), NONE)
        parts: list[pa.ChunkedArray] = []
        for side, chosen in ((0, ~is_theirs), (1, is_theirs)):
            wanted = chosen & (rows >= 0)
            if one.sides[side] is None or (side != one.typed and not wanted.any()):
                continue
            whole, column = self.facts[side].lineup.after, own(one, side)
            start = sum(len(part) for part in parts)
            if 2 * np.count_nonzero(wanted) > whole.rows:
                index[wanted] = start + rows[wanted]
                parts.append(whole.values(column, whole.content.segments))
            else:
                needed = distinct(rows[wanted])
                index[wanted] = start + np.searchsorted(needed, rows[wanted])
                parts.append(pa.chunked_array([take(whole, column, needed)]))
        kind = parts[-1].type if one.typed == 1 else parts[0].type
        return _picked(pa.chunked_array([c for part in parts for c in part.cast(kind).chunks], kind), index)

    def _is_theirs(self, one: Merged) -> Any:
        """For each row whether theirs has the say."""
        order = self.order
        if None in one.sides:
            return np.full(len(order.base), one.sides[0] is None)
        if one.base is not None and self.facts[0].kind(_known(one.sides[0])) != self.facts[1].kind(
            _known(one.sides[1])
        ):
            return np.full(len(order.base), one.typed == 1)
        found = order.ours < 0
        if one.base is not None:
            found |= np.isin(order.base, changed_rows(self.facts[1], one.base)) & (order.base >= 0)
        return found


def _picked(values: pa.ChunkedArray, index: Rows) -> pa.ChunkedArray:
    """The values at these places, null at -1; runs of places are slices, which cost nothing."""
    if len(index) and index.min() >= 0:
        starts = np.flatnonzero(np.concatenate([[True], np.diff(index) != 1]))
        if _RUN * len(starts) <= len(index):
            lengths = np.diff(np.append(starts, len(index)))
            runs = zip(index[starts].tolist(), lengths.tolist(), strict=True)
            slices = [values.slice(at, length) for at, length in runs]
            return pa.chunked_array([chunk for part in slices for chunk in part.chunks], values.type)
    return taken(values, pa.array(index, mask=index < 0))


def changed_rows(facts: Facts, base: int) -> Rows:
    """The rows of the base in which a side changed this column of it."""
    found = [change.before for change in facts.lineup.changes if change.column.before == base]
    return np.sort(found[0]) if found else np.empty(0, np.int64)


def own(one: Merged, side: int) -> Column:
    """A merged column as one side's own."""
    at = _known(one.sides[side])
    return Column(one.name, at, at)


def place(one: Merged) -> int:
    """Where the column is on the side whose type it has."""
    return _known(one.sides[one.typed])


def _known(at: int | None) -> int:
    assert at is not None
    return at
