"""Which columns line rows up where those that cut the table, or name its rows, are what changed.

Invariant: others are taken only if, of the first rows that may differ, clearly more cells agree when these
are lined up by them, which chance does not explain. No more than these rows of some columns are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from aq.formats.columns.rowhash import Words
from aq.formats.columns.sets import distinct
from aq.formats.comparing.sequence import Blocks, align, cells
from aq.formats.comparing.sides import Column, Side, hashes_of_both, salted
from aq.formats.tables.content import Segment

_PROBED: Final = 4_096
"""Rows of each side."""
_COLUMNS_MOST: Final = 50
_CLEARER: Final = 0.25
"""By which share of all cells more must agree."""
_AGREEING: Final = 0.75
_CONSTANT: Final = 0.9
"""Where two cells are equal by chance so often, a column tells nothing."""
_VARIED: Final = 0.25
"""The share of distinct values from which on a column may line rows up alone."""
_RUN: Final = 16
"""Rows: where most runs of so many are there once, rows are where they were, and no pattern is repeated."""
_BITS: Final = 10.0
_ENOUGH: Final = 4
"""Columns that agree, of which the most varied ones serve."""


class _Fit(NamedTuple):
    """Rows lined up in one way: which columns agree, and the share of all cells that agree beyond chance."""

    agreeing: list[Column]
    share: float
    is_told: bool


def steadier(
    before: Side,
    left: Sequence[Segment],
    after: Side,
    right: Sequence[Segment],
    columns: Sequence[Column],
    chosen: Sequence[Column],
) -> list[Column]:
    """The chosen columns, or others by which the rows of these segments, of which both have some, fit better.

    None chosen stands for all of them.
    """
    probe = _Probe(before, left, after, right, [*chosen, *columns])
    if not probe.rows:
        return list(chosen)
    usual = probe.fit(probe.blocks(chosen or columns), chosen)
    if usual.share + _CLEARER > 1:
        return list(chosen)
    needed = usual.share + (_CLEARER if usual.is_told or not chosen else 0)
    best = max((probe.fit(blocks, ()) for blocks in probe.ways(chosen)), key=lambda fit: fit.share)
    return best.agreeing[:_ENOUGH] if best.is_told and best.share >= needed else list(chosen)


class _Probe:
    """The first rows of both sides that may differ, from the first that does."""

    def __init__(
        self,
        before: Side,
        left: Sequence[Segment],
        after: Side,
        right: Sequence[Segment],
        columns: Sequence[Column],
    ) -> None:
        sides = before, _first(left), after, _first(right)
        known = {
            column: hashes_of_both(*sides, [column])
            for column in list(dict.fromkeys(columns))[:_COLUMNS_MOST]
        }
        first = min(_equal(*both) for both in known.values())
        self._words = {
            column: (mine[first : first + _PROBED], theirs[first : first + _PROBED])
            for column, (mine, theirs) in known.items()
        }
        self.rows = min(len(side) for side in next(iter(self._words.values())))
        found = {column: _chance(*both) for column, both in self._words.items()} if self.rows else {}
        self._chance = {column: chance for column, chance in found.items() if chance < _CONSTANT}

    def blocks(self, columns: Sequence[Column]) -> Blocks:
        """Where rows that are equal in some columns run in step."""
        known = [column for column in columns if column in self._words]
        parts = iter([self._hashes(known)])
        return align(lambda: next(parts, (np.empty(0, np.uint64), np.empty(0, np.uint64)))).blocks

    def _hashes(self, columns: Sequence[Column]) -> tuple[Words, Words]:
        sums = [np.zeros(len(side), np.uint64) for side in next(iter(self._words.values()))]
        for at, column in enumerate(columns):
            for total, found in zip(sums, self._words[column], strict=True):
                total += salted(found, at)
        return sums[0], sums[1]

    def ways(self, chosen: Sequence[Column]) -> Iterator[Blocks]:
        """Other ways to line the rows up: as they are counted, and by each column of many values."""
        yield np.array([[0, 0, self.rows]], np.int64)
        for column in self._chance:
            if column not in chosen and self._variety(column) >= _VARIED:
                yield self.blocks([column])

    def _variety(self, column: Column) -> float:
        return min(len(distinct(side)) / len(side) for side in self._words[column])

    def fit(self, blocks: Blocks, given: Sequence[Column]) -> _Fit:
        """How well rows fit that are lined up so; `given` columns agree because they are lined up by them."""
        at, to = cells(blocks)
        covered, share, bits, agreeing = len(at) / self.rows, 0.0, 0.0, []
        for column, chance in self._chance.items():
            mine, theirs = self._words[column]
            equal = float(np.mean(mine[at] == theirs[to])) if len(at) else 0.0
            beyond = (equal - chance) / (1 - chance) * covered
            share += max(beyond, 0.0) / len(self._chance)
            if beyond >= _AGREEING and column not in given:
                agreeing.append(column)
                bits -= np.log2(max(chance, 1 / _PROBED)) * equal * len(at)
        agreeing.sort(key=self._variety, reverse=True)
        return _Fit(agreeing, share, bits >= _BITS and self._is_varied(agreeing[:_ENOUGH]))

    def _is_varied(self, columns: Sequence[Column]) -> bool:
        """Whether rows are told by these columns and what stands next to them."""
        found, _ = self._hashes(columns)
        run = min(_RUN, len(found) // 4 + 1)
        runs = sum(salted(found[at : len(found) - run + at + 1], at) for at in range(run))
        return 2 * len(distinct(np.asarray(runs, np.uint64))) > len(found) - run


def _first(segments: Sequence[Segment]) -> Sequence[Segment]:
    """The segments that hold the rows, though those of the first may be equal."""
    rows = np.cumsum([one.stop - one.start for one in segments])
    return segments[: int(np.searchsorted(rows, rows[0] + _PROBED)) + 1]


def _equal(left: Words, right: Words) -> int:
    """How many are equal from the beginning."""
    most = min(len(left), len(right))
    differs = left[:most] != right[:most]
    return int(differs.argmax()) if differs.any() else most


def _chance(left: Words, right: Words) -> float:
    """How often a value of one side is equal to any of the other."""
    values, counts = np.unique(left, return_counts=True)
    others, other_counts = np.unique(right, return_counts=True)
    _, mine, theirs = np.intersect1d(values, others, assume_unique=True, return_indices=True)
    return float((counts[mine] / len(left)) @ (other_counts[theirs] / len(right)))
