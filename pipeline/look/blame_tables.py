"""`blame` of a table: where each row, and each column, got what it holds.

Invariant: a row is inherited while every cell of it (or the one of the column asked for) is equal;
columns that come and go do not change a row. Of each pair of versions the segments that differ are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Final, NamedTuple

import numpy as np
from aq.formats.columns.described import described
from aq.formats.comparing.lineup import line_up
from aq.formats.comparing.sequence import Blocks
from aq.formats.comparing.sides import Rows
from aq.formats.comparing.spans import coalesced, overlap, uncovered, without
from aq.formats.identity import Digest, Kind
from aq.formats.objects import MemoryObjects, Source
from aq.formats.records import Artifact
from aq.pipeline.look.blame_walk import Version, steps
from aq.pipeline.look.table_files import encoded

_PARSED_KEPT: Final = 4


class Links(NamedTuple):
    """What a version of a table has from an earlier one.

    `blocks`: rows that belong together; `changed`: for each column the rows in which it differs; `names`:
    what each column was called before; `retyped`: columns of another type.
    """

    blocks: Blocks
    changed: dict[str, Rows]
    names: dict[str, str]
    retyped: set[str]


class Tables:
    """The versions of a path as tables, and what each has from another; a pair is compared once.

    A file is parsed as `diff` parses it; the last few are kept.
    """

    def __init__(self, store: Source, path: str) -> None:
        self._store = store
        self._path = path
        self._links: dict[tuple[Digest, Digest], Links] = {}
        self._parsed: dict[Digest, tuple[Artifact, Source]] = {}

    def of(self, version: Version) -> tuple[Artifact, Source]:
        """A version as a table, and where its objects are. Raises AqError for a file that is none inside."""
        if version.artifact.kind == "table":
            return version.artifact, self._store
        if version.id not in self._parsed:
            memory = MemoryObjects()
            table = encoded(self._path, version.artifact, self._store, memory)
            while len(self._parsed) >= _PARSED_KEPT:
                del self._parsed[next(iter(self._parsed))]
            self._parsed[version.id] = table, memory
        return self._parsed[version.id]

    def links(self, parent: Version, child: Version) -> Links:
        """What a version has from an earlier one."""
        pair = parent.id, child.id
        if pair not in self._links:
            (old, one), (new, other) = self.of(parent), self.of(child)
            found = line_up(old, new, one if one is other else _Both(one, other))
            names = {column.name: found.before.columns[column.before][0] for column in found.columns}
            changed = {change.column.name: change.after for change in found.changes}
            retyped = {one["name"] for one in found.schema["retyped"]}
            self._links[pair] = Links(found.blocks, changed, names, retyped)
        return self._links[pair]


class _Both:
    """Objects of two places."""

    def __init__(self, one: Source, other: Source) -> None:
        self._one, self._other = one, other

    def get(self, kind: Kind, id: bytes) -> bytes:
        """See `Source`."""
        try:
            return self._one.get(kind, id)
        except KeyError:
            return self._other.get(kind, id)


class RowParts(NamedTuple):
    """Runs of rows: first row in a version, first row in the newest one, length. `column`: its name here."""

    runs: Blocks
    column: str | None = None


@dataclass(frozen=True)
class RowTracer:
    """Traces rows, or the cells of one column."""

    tables: Tables

    def inherited(self, parent: Version, child: Version, parts: RowParts) -> tuple[RowParts, RowParts]:
        """See `Tracer`."""
        found, column = self.tables.links(parent, child), parts.column
        if column is not None and column not in found.names:
            return RowParts(parts.runs[:0], column), parts
        changed = [rows for name, rows in found.changed.items() if column in (None, name)]
        kept = without(found.blocks, reduce(np.union1d, changed, np.empty(0, np.int64)))
        passed = overlap(parts.runs, kept)[:, [2, 1, 3]]
        passed = coalesced(passed[np.argsort(passed[:, 0], kind="stable")])
        earlier = None if column is None else found.names[column]
        return RowParts(passed, earlier), RowParts(uncovered(parts.runs, kept), column)

    def joined(self, one: RowParts, other: RowParts) -> RowParts:
        """See `Tracer`."""
        both = np.concatenate([one.runs, other.runs])
        return RowParts(both[np.argsort(both[:, 0], kind="stable")], one.column)

    def is_empty(self, parts: RowParts) -> bool:
        """See `Tracer`."""
        return not len(parts.runs)


class ColumnChange(NamedTuple):
    """The last change of a column: added | retyped | renamed | changed, and how many rows it touched."""

    name: str
    commit: Digest | None
    change: str
    rows: int


class _Touched(NamedTuple):
    """What one version did to a column of a parent's: the rows, None for all of them; its name there."""

    change: str
    rows: Rows | None
    name: str


def column_changes(
    store: Source, tip: Version, path: str, tables: Tables, since: int | None
) -> list[ColumnChange]:
    """For each column the newest commit that brought or retyped it, or changed cells of rows it found there.

    A merge counts only with what no parent has; of what came from several parents the newest counts.
    """
    newest = described(tables.of(tip)[0])
    names = [newest.names[at] for at in newest.shown]
    waiting: dict[bytes, dict[str, str]] = {bytes(tip.commit): {name: name for name in names}}
    found: dict[str, ColumnChange] = {}
    for step in steps(store, tip.commit, path, waiting):
        for name, final in waiting.pop(step.child.commit).items():
            if final in found:
                continue
            if since is not None and step.commit.time < since:
                found[final] = ColumnChange(final, None, "", 0)
                continue
            touched = [_touched(parent, step.child, name, tables) for parent in step.parents]
            for parent, was in _origins(step.parents, touched):
                waiting.setdefault(parent, {})[was] = final
            own = _own(touched)
            if own is not None:
                rows = described(tables.of(step.child)[0]).rows if own.rows is None else len(own.rows)
                found[final] = ColumnChange(final, step.child.commit, own.change, rows)
        if len(found) == len(names):
            break
    return [found[name] for name in names]


def _touched(parent: Version, child: Version, name: str, tables: Tables) -> _Touched:
    if parent.id == child.id:
        return _Touched("changed", np.empty(0, np.int64), name)
    found = tables.links(parent, child)
    was = found.names.get(name)
    if was is None:
        return _Touched("added", None, name)
    if name in found.retyped or was != name:
        return _Touched("retyped" if name in found.retyped else "renamed", None, was)
    return _Touched("changed", found.changed.get(name, np.empty(0, np.int64)), was)


def _own(touched: list[_Touched]) -> _Touched | None:
    """What a version did to a column that differs from all parents; None where it did nothing."""
    if not touched:
        return _Touched("added", None, "")
    rows = [one.rows for one in touched if one.rows is not None]
    if not rows:
        return touched[0]
    shared = reduce(np.intersect1d, rows)
    return _Touched("changed", shared, "") if len(shared) else None


def _origins(parents: list[Version], touched: list[_Touched]) -> Iterator[tuple[Digest, str]]:
    """The parents that a column may have come from, and its name there: the first equal one, or all."""
    if _own(touched) is not None:
        return
    equal = [at for at, one in enumerate(touched) if one.rows is not None and not len(one.rows)]
    for at in equal[:1] or range(len(parents)):
        if touched[at].change != "added":
            yield parents[at].commit, touched[at].name
