"""Which columns name the rows of a table that is merged: a declared key, or the columns that cut it.

Invariant: rows are never named by guess. A key that not all three versions declare, and columns that cut
the table, must name each row of all three, or there is no merge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from aq.formats.columns.described import described
from aq.formats.columns.sets import distinct
from aq.formats.comparing.compare import KEY_MOST
from aq.formats.comparing.match_segments import differing_segments
from aq.formats.comparing.merge_columns import Facts
from aq.formats.comparing.naming import LOOKED_AT_MOST, may_name
from aq.formats.comparing.sides import Column, Rows, Side, numbering
from aq.formats.records import Artifact


def declared(base: Artifact, ours: Artifact, theirs: Artifact) -> list[str]:
    """The key that only some of them declare, each of them the same; empty where none or all do."""
    keys = [described(one).key for one in (base, ours, theirs)]
    given = [key for key in keys if key]
    is_one = len(given) in (1, 2) and given[0] == given[-1]
    return list(given[0]) if is_one else []


def key_of(facts: tuple[Facts, Facts], given: Sequence[str]) -> list[int] | None:
    """The places in the base of the columns that name a row; None where there are none on all sides."""
    base = facts[0].lineup.before
    found, names = base.described, base.described.names
    wanted = given or found.key
    if not all(name in names for name in wanted):
        return None
    places = [names.index(name) for name in wanted] or found.cut
    if not 0 < len(places) <= (len(places) if wanted else KEY_MOST):
        return None
    for one in facts:
        columns = [one.columns.get(at) for at in places]
        if any(column is None or column.cast for column in columns):
            return None
        key = one.lineup.after.described.key
        allowed = [[column.name for column in columns if column] if wanted else []]
        if key not in ([*allowed, []] if given or not wanted else allowed):
            return None
    return places if (wanted and not given) or _is_unique(facts, places) else None


def _is_unique(facts: tuple[Facts, Facts], places: Sequence[int]) -> bool:
    """Whether columns of the base tell all rows of the three versions apart."""
    sides = [(one.lineup.after, [one.columns[at] for at in places]) for one in facts]
    for side, columns in [(facts[0].lineup.before, sides[0][1]), *sides]:
        hashes = side.hashes(columns, side.content.segments)
        if len(distinct(hashes)) < len(hashes):
            return False
    return True


def candidate(facts: tuple[Facts, Facts]) -> str | None:
    """A column that could be declared as the key: the first that names each row and that no side touched."""
    base = facts[0].lineup.before
    if (
        len(base.described.shown) < 2
        or max(side.rows for side in (base, *(one.lineup.after for one in facts))) > LOOKED_AT_MOST
    ):
        return None
    for at in base.described.shown:
        columns = [one.columns.get(at) for one in facts]
        name, kind = base.columns[at]
        is_shared = all(one and not one.cast and one.name == name for one in columns)
        is_touched = any(one.touches(at) for one in facts)
        if is_shared and may_name(kind) and not is_touched and _is_unique(facts, [at]):
            return str(name)
    return None


def doubled(facts: tuple[Facts, Facts], places: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Keys of rows that a side touched which several rows have: which of them it touched nobody can say."""
    for one in facts:
        lineup, key = one.lineup, [one.columns[at] for at in places]
        left, right, _ = differing_segments(lineup.before, lineup.after, lineup.columns)
        matching = lineup.matching
        touched = [change.before for change in lineup.changes], [change.after for change in lineup.changes]
        for side, segments, alone, rows in (
            (lineup.before, left, matching.removed, touched[0]),
            (lineup.after, right, matching.added, touched[1]),
        ):
            hashes, numbers = side.hashes(key, segments), numbering(segments)
            _, place, counts = np.unique(hashes, return_inverse=True, return_counts=True)
            several = numbers[counts[place] > 1]
            found = np.intersect1d(several, np.concatenate([alone, *rows]))
            yield from _told(side, key, found)


def _told(side: Side, key: Sequence[Column], rows: Rows) -> Iterator[dict[str, Any]]:
    cells = [side.show(column, rows) for column in key]
    for values in zip(*cells, strict=True):
        yield {column.name: value for column, value in zip(key, values, strict=True)}
