"""Which columns two versions of a table share: added, removed, retyped, and a guess at renamed.

Invariant: a column is matched by name; a rename is guessed only where the values themselves agree.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

import msgspec
import numpy as np
from aq.formats.columns.described import Described
from aq.formats.columns.rowhash import Words
from aq.formats.columns.sets import distinct
from aq.formats.columns.shown import type_text
from aq.formats.columns.types import arrow_type
from aq.formats.comparing.casting import Cast, cast_between, missing_alike
from aq.formats.comparing.match import match
from aq.formats.comparing.sides import Column, Rows, Side

AGREEING: Final = 0.8
_PROBED: Final = 4
_VARIED: Final = 0.25
"""The share of distinct values from which on it is no chance that two columns have the same ones."""
_BEYOND: Final = 0.5
_SHARED_MOST: Final = 20
_LOOKED_AT_MOST: Final = 500
"""Columns that went, and as many that came."""
_TRIED_MOST: Final = 1_000
"""Pairs of columns that are read: hundreds of columns that came and went make far more."""


def compare_schema(before: Side, after: Side) -> tuple[dict[str, Any], list[Column]]:
    """The `schema` of a table's diff, and the columns to compare, in the order of `after`."""
    old = {before.columns[at][0]: at for at in before.described.shown}
    new = {after.columns[at][0]: at for at in after.described.shown}
    renamed = _renamed(
        before, after, [old[n] for n in old if n not in new], [new[n] for n in new if n not in old]
    )
    origin = {place: was for was, place, _ in renamed}
    columns, retyped = [], []
    for name, place in new.items():
        was = old.get(name, origin.get(place))
        if was is None:
            continue
        columns.append(Column(name, was, place, _cast(before, was, after, place)))
        texts = [_shown_type(side, at) for side, at in ((before, was), (after, place))]
        if texts[0] != texts[1]:
            retyped.append({"name": name, "from": texts[0], "to": texts[1]})
    gone = set(origin.values())
    schema = {
        "added": [_described(after, at) for n, at in new.items() if n not in old and at not in origin],
        "removed": [_described(before, at) for n, at in old.items() if n not in new and at not in gone],
        "retyped": retyped,
        "renamed": [
            {
                "from": before.columns[was][0],
                "to": after.columns[at][0],
                "evidence": f"{share:.0%} of values agree",
            }
            for was, at, share in renamed
        ],
    }
    return schema, columns


def _cast(before: Side, was: int, after: Side, place: int) -> Cast | None:
    """What makes the values of a column comparable."""
    sides = (before, was), (after, place)
    old, new = (arrow_type(side.columns[at][1]) for side, at in sides)
    words = [(side.described.container, side.described.dtypes.get(at)) for side, at in sides]
    return missing_alike(old) if old == new and words[0] != words[1] else cast_between(old, new)


def compare_containers(before: Side, after: Side) -> list[str]:
    """What else differs in the type information: columns in order, declared key, container, what it keeps."""
    old, new = before.described, after.described
    found = []
    if _order(before, after) != _order(after, before):
        found.append("the order of the columns")
    if old.key != new.key:
        found.append(f"key: {', '.join(old.key) or 'none'} → {', '.join(new.key) or 'none'}")
    if old.container != new.container:
        return [*found, f"container: {old.container} → {new.container}"]
    shared = {*old.names} & {*new.names}
    kept = _kept(old, shared), _kept(new, shared)
    return found + [text for name, text in _KEPT.items() if kept[0][name] != kept[1][name]]


_KEPT: Final = {
    "series": "a series instead of a frame, or the other way round",
    "index": "the index of pandas",
    "labels": "the labels of the columns",
    "attrs": "attrs",
    "dtypes": "dtypes, categories or missing markers of columns",
    "markers": "missing markers of columns",
}


def _kept(found: Described, shared: set[str]) -> dict[str, Any]:
    """What pandas keeps, by the names of columns that both versions have: positions move."""
    kept = {name: getattr(found.pandas, name, None) for name in _KEPT}
    if found.pandas is None:
        return kept
    names, index = found.names, found.pandas.index
    kept["dtypes"] = {names[at]: dtype for at, dtype in found.pandas.dtypes if names[at] in shared}
    kept["markers"] = {names[at] for at, _ in found.pandas.markers if names[at] in shared}
    if index is not None:
        kept["index"] = msgspec.structs.replace(index, levels=[]), [names[at] for at in index.levels]
    return kept


def _order(side: Side, other: Side) -> list[str]:
    """The columns that the other one has too, in order."""
    there = {other.columns[at][0] for at in other.described.shown}
    return [name for at in side.described.shown if (name := side.columns[at][0]) in there]


def _described(side: Side, at: int) -> dict[str, str]:
    return {"name": side.columns[at][0], "type": _shown_type(side, at)}


def _shown_type(side: Side, at: int) -> str:
    """The type as text; where pandas has several for it, with pandas's own."""
    text = type_text(side.columns[at][1])
    match side.described.dtypes.get(at):
        case ["category", ordered, _]:
            return f"{text} (categories{', ordered' if ordered else ''})"
        case [tag, *_] if tag != "arrow":
            return f"{text} ({tag})"
    return text


def _renamed(before: Side, after: Side, gone: list[int], fresh: list[int]) -> list[tuple[int, int, float]]:
    """Pairs of a removed and an added column whose values agree, best first, with the share that does."""
    found: list[tuple[float, int, int]] = []
    rows, sure, tried = _FirstRows(before, after), (set[int](), set[int]()), 0
    for was, place in _likely(before, after, gone, fresh):
        if was in sure[0] or place in sure[1] or tried == _TRIED_MOST:
            continue
        tried += 1
        share = rows.agreement(Column("", was, place))
        if share >= AGREEING:
            found.append((share, was, place))
        if share == 1:
            sure[0].add(was)
            sure[1].add(place)
    pairs: list[tuple[int, int, float]] = []
    for share, was, place in sorted(found, key=lambda item: -item[0]):
        if all(was != pair[0] and place != pair[1] for pair in pairs):
            pairs.append((was, place, share))
    return pairs


def _likely(before: Side, after: Side, gone: list[int], fresh: list[int]) -> list[tuple[int, int]]:
    """Pairs of columns of one type: those that begin with the same chunk first, then by their order."""
    pairs = [
        (was, place) for was in gone for place in fresh if before.columns[was][1] == after.columns[place][1]
    ]
    if not pairs or not (before.content.segments and after.content.segments):
        return pairs
    firsts = [
        dict(zip(places, side.part_ids(side.content.segments[0], columns), strict=True))
        for side, places in ((before, gone), (after, fresh))
        for columns in [[Column("", at, at) for at in places]]
    ]
    ranks = [{at: rank for rank, at in enumerate(places)} for places in (gone, fresh)]

    def order(pair: tuple[int, int]) -> tuple[bool, int]:
        was, place = pair
        return firsts[0][was] != firsts[1][place], abs(ranks[0][was] - ranks[1][place])

    return sorted(pairs, key=order)


class _FirstRows:
    """The first rows of both versions, and which of them belong together by columns of one name and type."""

    def __init__(self, before: Side, after: Side) -> None:
        self._before, self._after = before, after

    def agreement(self, column: Column) -> float:
        """The share of values of a column that agree, in any order if they are many; 0 for constant ones."""
        left, right = self._words(self._before, column), self._words(self._after, column)
        varied = len(distinct(left))
        if varied < 2:
            return 0.0
        values, counts = np.unique(right, return_counts=True)
        others, other_counts = np.unique(left, return_counts=True)
        _, mine, theirs = np.intersect1d(values, others, assume_unique=True, return_indices=True)
        least = min(len(left), len(right))
        share = float(np.minimum(counts[mine], other_counts[theirs]).sum()) / least
        if share < AGREEING or varied >= _VARIED * len(left):
            return share
        # Of few values as many as before are there in any other column of such: rows must agree.
        chance = float(counts[mine] @ other_counts[theirs]) / (len(left) * len(right))
        found = max((float(np.mean(left[at] == right[to])) for at, to in self._pairs), default=0.0)
        return found if found - chance >= _BEYOND * (1 - chance) else 0.0

    def _words(self, side: Side, column: Column) -> Words:
        return side.words(column, side.content.segments[:_PROBED])

    @cached_property
    def _pairs(self) -> list[tuple[Rows, Rows]]:
        """Rows that may belong together: as they are counted, and those that no others are like."""
        there = {self._after.columns[at][0]: at for at in self._after.described.shown}
        shared = [
            Column(name, at, there[name])
            for at in self._before.described.shown
            for name, kind in [self._before.columns[at]]
            if name in there and self._after.columns[there[name]][1] == kind
        ][:_SHARED_MOST]
        hashes = [
            side.hashes(shared, side.content.segments[:_PROBED]) for side in (self._before, self._after)
        ]
        found = [match(hashes[0], hashes[1], unique=True)] if shared else []
        if self._before.rows == self._after.rows:
            count = min(len(side) for side in hashes)
            found.append((np.arange(count), np.arange(count)))
        return [pairs for pairs in found if len(pairs[0])]
