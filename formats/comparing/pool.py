"""Rows out of step, and what their columns hold, read only for rows that may have another half.

Invariant: `alike` keeps every row whose hash over the given columns is on the other side too. A column is
read once for a row, whichever search asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from aq.formats.columns.rowhash import Words, compared
from aq.formats.comparing.sides import Column, Pairs, Rows, Side, salted, take

Places = tuple[Rows, Rows]
"""Which rows of a pool, on each side."""


class Pool:
    """Rows of both sides that are to be matched; `columns` are named by their places."""

    def __init__(self, before: Side, after: Side, columns: Sequence[Column], rows: Pairs) -> None:
        self._sides, self._columns, self._rows = (before, after), columns, rows
        self._words: dict[tuple[int, int], tuple[Words, npt.NDArray[np.bool_]]] = {}

    @property
    def all(self) -> Places:
        """Every row."""
        return np.arange(len(self._rows.before)), np.arange(len(self._rows.after))

    def know(self, place: int, side: int, at: Rows, found: Words) -> None:
        """Take over words of one column that are known already."""
        values, known = self._column(place, side)
        values[at], known[at] = found, True

    def alike(self, among: Places, places: Sequence[int]) -> tuple[Places, tuple[Words, Words]]:
        """Of these rows those whose other half may be among them by these columns, and their hashes."""
        sums = np.zeros(len(among[0]), np.uint64), np.zeros(len(among[1]), np.uint64)
        for place in places:
            if not (len(among[0]) and len(among[1])):
                break
            sums = sums[0] + self._share(place, 0, among[0]), sums[1] + self._share(place, 1, among[1])
            kept = _among(sums[0], sums[1]), _among(sums[1], sums[0])
            among = among[0][kept[0]], among[1][kept[1]]
            sums = sums[0][kept[0]], sums[1][kept[1]]
        if not (len(among[0]) and len(among[1])):
            none, nothing = np.empty(0, np.int64), np.empty(0, np.uint64)
            return (none, none), (nothing, nothing)
        return among, sums

    def _share(self, place: int, side: int, at: Rows) -> Words:
        """What a column adds to the hash of these rows."""
        values, known = self._column(place, side)
        new = at[~known[at]]
        if len(new):
            found = take(self._sides[side], self._columns[place], self._rows[side][new])
            values[new], known[new] = compared(found), True
        return salted(values[at], place)

    def _column(self, place: int, side: int) -> tuple[Words, npt.NDArray[np.bool_]]:
        found = self._words.get((place, side))
        if found is None:
            count = len(self._rows[side])
            found = self._words[place, side] = np.zeros(count, np.uint64), np.zeros(count, np.bool_)
        return found


def _among(found: Words, others: Words) -> npt.NDArray[np.bool_]:
    """Which are there among others, of which there is at least one."""
    order, ordered = np.argsort(found), np.sort(others)
    wanted = found[order]  # in order, a search begins where the last one was
    at = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    there = np.empty(len(found), np.bool_)
    there[order] = ordered[at] == wanted
    return there
