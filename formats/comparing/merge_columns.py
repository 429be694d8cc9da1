"""Columns of a table that two sides changed: which stay, what they are called, and their types.

Invariant: a column is the same as in the base where `compare_schema` says so, renamed or not. What only
one side did to it holds; what both did differently is a conflict. Symmetric in the sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from aq.formats.columns.described import described
from aq.formats.comparing.lineup import Lineup
from aq.formats.comparing.sides import Column
from aq.formats.records import Artifact

OURS, THEIRS = 0, 1
_NULLABLE: Final = ("float32", "float64", "string", "timestamp", "binary")


class Conflict(NamedTuple):
    """What two sides of a merge cannot both have.

    `kind`: cell, row (changed here, removed there), column, table, key (nothing names the rows, but `column`
    could; or several rows have this `key`). `key` names the row; values as JSON.
    """

    kind: str
    column: str | None = None
    key: dict[str, Any] | None = None
    base: Any = None
    ours: Any = None
    theirs: Any = None


@dataclass(frozen=True)
class Merged:
    """A column of the merged table: its places in base, ours and theirs, None where it is not there.

    `typed` is the side whose type, and pandas dtype, it has.
    """

    name: str
    base: int | None
    sides: tuple[int | None, int | None]
    typed: int


@dataclass(frozen=True)
class Facts:
    """One side against the base: what becomes of each column of the base, and what the side did to rows."""

    lineup: Lineup
    columns: dict[int, Column]

    @classmethod
    def of(cls, lineup: Lineup) -> Facts:
        return cls(lineup, {column.before: column for column in lineup.columns})

    def kind(self, at: int) -> tuple[Any, Any]:
        """Type and dtype of one of the side's own columns."""
        side = self.lineup.after
        return side.columns[at][1], side.described.dtypes.get(at)

    def base_kind(self, at: int) -> tuple[Any, Any]:
        """The same of a column of the base."""
        side = self.lineup.before
        return side.columns[at][1], side.described.dtypes.get(at)

    def touches(self, at: int) -> bool:
        """Whether the side changed a cell of this column of the base."""
        return any(change.column.before == at for change in self.lineup.changes)

    @property
    def adds_rows(self) -> bool:
        return bool(len(self.lineup.matching.added))


def merge_columns(ours: Facts, theirs: Facts) -> tuple[list[Merged], list[Conflict]]:
    """The columns of the merged table in order, or what is in the way."""
    found, conflicts = [], []
    base = ours.lineup.before
    for at in base.described.shown:
        one = _of_base(base.columns[at][0], at, (ours, theirs))
        if isinstance(one, Merged):
            found.append(one)
        elif one is not None:
            conflicts.append(one)
    fresh = [_added(facts, side) for facts, side in ((ours, OURS), (theirs, THEIRS))]
    for name in sorted({one.name for one in fresh[0]} & {one.name for one in fresh[1]}):
        conflicts.append(Conflict("column", name, base=None, ours="added", theirs="added"))
    for side, facts in ((OURS, theirs), (THEIRS, ours)):
        own = (ours, theirs)[side]
        for one in fresh[side]:
            if facts.adds_rows and not _may_be_null(own, one.sides[side]):
                words = ("added", "rows without it added")
                conflicts.append(Conflict("column", one.name, None, None, *_as(side, *words)))
    ordered = _placed(found, fresh)
    names = [one.name for one in ordered]
    for name in sorted({name for name in names if names.count(name) > 1} if not conflicts else ()):
        conflicts.append(Conflict("column", name, None, None, "has this name", "has this name"))
    return ordered, conflicts


def _as(side: int, mine: Any, other: Any) -> tuple[Any, Any]:
    """What one side and the other did, ours first."""
    return (mine, other) if side == OURS else (other, mine)


def _of_base(name: str, at: int, facts: tuple[Facts, Facts]) -> Merged | Conflict | None:
    """What becomes of a column of the base; None where it goes."""
    mine, other = (one.columns.get(at) for one in facts)
    did = [_did(one, at, name) for one in facts]
    if mine is None or other is None:
        stays = THEIRS if mine is None else OURS
        if at in facts[stays].columns and (did[stays] or facts[stays].touches(at)):
            return Conflict("column", name, None, None, *_as(stays, did[stays] or "changed", "removed"))
        return None
    places, names = (mine.after, other.after), (mine.name, other.name)
    kinds = [one.kind(place) for one, place in zip(facts, places, strict=True)]
    retyped = [kind != facts[OURS].base_kind(at) for kind in kinds]
    if names[0] != names[1] and name not in names:
        return Conflict("column", name, None, name, *names)
    if all(retyped) and kinds[0] != kinds[1]:
        return Conflict("column", name, None, None, "retyped", "retyped")
    typed = THEIRS if retyped[THEIRS] and not retyped[OURS] else OURS
    still = facts[1 - typed]
    if any(retyped) and not all(retyped) and (still.touches(at) or still.adds_rows):
        return Conflict("column", name, None, None, *_as(typed, "retyped", "changed"))
    return Merged(names[1] if names[0] == name else names[0], at, places, typed)


def _did(facts: Facts, at: int, name: str) -> str:
    """What a side did to a column apart from its cells."""
    column = facts.columns.get(at)
    if column is None:
        return "removed"
    if column.name != name:
        return f"renamed to {column.name}"
    return "retyped" if facts.kind(column.after) != facts.base_kind(at) else ""


def _added(facts: Facts, side: int) -> list[Merged]:
    side_of = facts.lineup.after
    known = {column.after for column in facts.lineup.columns}
    return [
        Merged(side_of.columns[at][0], None, (at, None) if side == OURS else (None, at), side)
        for at in side_of.described.shown
        if at not in known
    ]


def _may_be_null(facts: Facts, at: int | None) -> bool:
    """Whether rows without a value are no change of the column's kind."""
    assert at is not None
    kind, dtype = facts.kind(at)
    if facts.lineup.after.described.pandas is None or dtype is not None:
        return True
    return str(kind[0] if isinstance(kind, list) else kind).startswith(_NULLABLE)


def _placed(found: Sequence[Merged], fresh: Sequence[Sequence[Merged]]) -> list[Merged]:
    """Columns of the base in its order, or in that of the one side that has another; new ones behind what
    stands before them on their side.
    """
    orders = [sorted(found, key=partial(_place, side=side)) for side in (OURS, THEIRS)]
    result = orders[THEIRS] if orders[OURS] == list(found) else orders[OURS]
    behind: dict[int, list[Merged]] = {}
    for side in (OURS, THEIRS):
        for one in fresh[side]:
            before = [at for at, kept in enumerate(result) if _place(kept, side) < _place(one, side)]
            behind.setdefault(max(before, default=-1), []).append(one)
    merged = sorted(behind.pop(-1, []), key=_by_name)
    for at, one in enumerate(result):
        merged += [one, *sorted(behind.get(at, []), key=_by_name)]
    return merged


def _place(one: Merged, side: int) -> int:
    at = one.sides[side]
    assert at is not None
    return at


def _by_name(one: Merged) -> tuple[str, int]:
    return one.name, one.typed


def merged_type(columns: Sequence[Merged], versions: Sequence[Artifact]) -> dict[str, Any] | Conflict:
    """The container of the merged table: base, ours and theirs merged field by field.

    Positions are those of the merged columns. A table with marker columns is a conflict as a whole.
    """
    types = [described(one) for one in versions]
    if len({one.container for one in types}) > 1 or any(one.hidden for one in types):
        return Conflict("table")
    container = types[0].container
    if container == "arrow":
        return {}
    dtypes = [
        [at, tag]
        for at, one in enumerate(columns)
        for tag in [_tag(versions[1 + one.typed], container, one.sides[one.typed])]
        if tag is not None
    ]
    fields = [_fields(one, container) for one in versions]
    merged: dict[str, Any] = {"dtypes": dtypes} if dtypes else {}
    for name in sorted({*fields[0], *fields[1], *fields[2]} - {"dtypes"}):
        base, ours, theirs = (one.get(name) for one in fields)
        if ours != theirs and base not in (ours, theirs):
            return Conflict("table")
        value = theirs if ours == base else ours
        if value is not None:
            merged[name] = value
    names = [one.name for one in columns]
    if "labels" in merged and any(names != [one.names[at] for at in one.shown] for one in types[1:]):
        return Conflict("table")
    if "index" in merged and "levels" in merged["index"]:
        levels = merged["index"]["levels"]
        if not set(levels) <= set(names):
            return Conflict("table")
        merged["index"] = {**merged["index"], "levels": [names.index(level) for level in levels]}
    return {container: merged}


def _tag(version: Artifact, container: str, at: int | None) -> Any:
    return dict(version.type[container].get("dtypes", [])).get(at)


def _fields(version: Artifact, container: str) -> dict[str, Any]:
    """What the container keeps: levels of the index by name, and no frequencies, which rows decide."""
    found = dict(version.type[container])
    if "index" in found:
        names = described(version).names
        index = {name: value for name, value in found["index"].items() if name not in ("freq", "freqs")}
        if "levels" in index:
            index["levels"] = [names[at] for at in index["levels"]]
        found["index"] = index
    return found
