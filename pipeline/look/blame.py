"""`blame`: which commit last changed each row and column, line, key or tensor of a path.

Invariant: every part is named once, and the commit has it while none of its parents does. The path
is not followed over renames. How versions are compared is in `blame_tables` and `blame_texts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from aq.formats.errors import NotFound, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import Source, get_record
from aq.formats.records import Artifact, Commit
from aq.pipeline.look import show
from aq.pipeline.look.blame_texts import ItemTracer, LineTracer, is_document, items, lines
from aq.pipeline.look.blame_walk import P, Tracer, Version, walk
from aq.pipeline.records import times
from aq.pipeline.records.blamed import Author, Blame, ColumnBlame, ItemBlame, Range
from aq.store.commits import history
from msgspec import structs

if TYPE_CHECKING:
    from aq.formats.comparing.sequence import Blocks
    from aq.pipeline.repo import Repo
    from aq.store.store import Store

_KEYS_MOST: Final = 10_000
"""Ranges whose keys are looked up."""


class _Asked(NamedTuple):
    """What is traced: a path as it is at a commit; `spec` is how it was asked for."""

    store: Store
    spec: str
    path: str
    tip: Version
    since: int | None

    def walk(self, tracer: Tracer[P], parts: P) -> Iterator[tuple[Digest | None, P]]:
        """Each commit with the parts that it brought."""
        return walk(self.store, self.tip.commit, self.path, tracer, parts, self.since)


class _Found(NamedTuple):
    """The parts of a path and the commits that they go back to."""

    by: str
    rows: int
    key: list[str]
    ranges: list[Range]
    columns: list[ColumnBlame]
    items: list[ItemBlame]


def blame(repo: Repo, spec: str, *, column: str | None, since: str | None) -> Blame:
    """See `Repo.blame`."""
    store = repo.store
    revision, path, entry = show.find(store, spec)
    if revision.commit is None:
        raise UsageError(f"'{revision.text}' is a run that no commit holds", hint=f"aq lineage {spec}")
    tip = Version(revision.commit, entry.artifact, get_record(store, Artifact, entry.artifact))
    asked = _Asked(store, spec, path, tip, None if since is None else times.parse(since))
    found = _found(asked, column)
    told: list[ColumnBlame | Range | ItemBlame] = [*found.columns, *found.ranges, *found.items]
    return Blame(
        path=path,
        kind=tip.artifact.kind,
        revision=str(revision.commit),
        by=found.by,
        rows=found.rows,
        key=found.key,
        column=column,
        ranges=found.ranges,
        columns=found.columns,
        items=found.items,
        commits=dict(_authors(store, [one.commit for one in told])),
    )


def _authors(store: Source, ids: Iterable[str | None]) -> Iterator[tuple[str, Author]]:
    for id in dict.fromkeys(ids):
        if id is not None:
            commit: Commit = history.commit(store, bytes.fromhex(id))
            yield id, Author(author=commit.author, time=times.text(commit.time), message=commit.message)


def _found(asked: _Asked, column: str | None) -> _Found:
    """The parts of the path, by what it is."""
    from aq.pipeline.look.table_files import is_table_file

    record, store = asked.tip.artifact, asked.store
    if record.kind == "table":
        return _table(asked, column)
    is_table = record.format == "bytes" and is_table_file(asked.path, record, store)
    text = lines(record, store) if record.format == "bytes" else None
    if is_table and (column is not None or text is None):
        return _table(asked, column)
    if column is not None:
        raise UsageError(f"{asked.path} is no table: it has no column '{column}'")
    if text is None or is_document(record, store):
        return _items(asked)
    return _lines(asked, text)


def _table(asked: _Asked, column: str | None) -> _Found:
    from aq.formats.columns.described import described
    from aq.pipeline.look.blame_tables import RowParts, RowTracer, Tables, column_changes

    tables = Tables(asked.store, asked.path)
    table, source = tables.of(asked.tip)
    found = described(table)
    names = [found.names[at] for at in found.shown]
    if column is not None and column not in names:
        hint = f"aq blame {asked.spec}"
        raise NotFound(f"no column {column!r}; the table has {', '.join(names[:20])}", hint=hint)
    runs = RowParts(_whole(found.rows), column)
    ends = list(asked.walk(RowTracer(tables), runs))
    ranges = list(_ranges((id, parts.runs) for id, parts in ends))
    changes = column_changes(asked.store, asked.tip, asked.path, tables, asked.since)
    columns = [
        ColumnBlame(name=one.name, commit=_text(one.commit), change=one.change, rows=one.rows)
        for one in changes
        if column in (None, one.name)
    ]
    return _Found("rows", found.rows, list(found.key), _with_keys(table, source, ranges), columns, [])


def _with_keys(table: Artifact, source: Source, ranges: list[Range]) -> list[Range]:
    """The ranges with the key of their first and last row. Reads the segments that hold these."""
    from aq.formats.comparing.sides import Column, Side

    side = Side(table, source, is_after=True)
    key = side.described.key
    asked = ranges[:_KEYS_MOST]
    if not key or not asked:
        return ranges
    rows = np.unique([row for one in asked for row in (one.first, one.last)])
    places = {name: side.described.names.index(name) for name in key}
    shown = {name: side.show(Column(name, at, at), rows) for name, at in places.items()}
    place = {int(row): at for at, row in enumerate(rows)}

    def at(row: int) -> dict[str, Any]:
        return {name: shown[name][place[row]] for name in key}

    told = [structs.replace(one, key={"first": at(one.first), "last": at(one.last)}) for one in asked]
    return told + ranges[_KEYS_MOST:]


def _lines(asked: _Asked, text: list[str]) -> _Found:
    ends = asked.walk(LineTracer(asked.store), _whole(len(text)))
    return _Found("lines", len(text), [], list(_ranges(ends, text)), [], [])


def _items(asked: _Asked) -> _Found:
    found = items(asked.tip.artifact, asked.store, asked.path)
    owner: dict[str, str | None] = {}
    for id, parts in asked.walk(ItemTracer(asked.store, asked.path), {name: name for name in found}):
        owner.update(dict.fromkeys(parts.values(), _text(id)))
    told = [ItemBlame(name=name, commit=owner[name], value=one.shown) for name, one in found.items()]
    return _Found("items", 0, [], [], [], told)


def _whole(count: int) -> Blocks:
    """All rows or lines as one run."""
    return np.array([[0, 0, count]] if count else [], np.int64).reshape(-1, 3)


def _text(id: Digest | None) -> str | None:
    return None if id is None else str(id)


def _ranges(ends: Iterable[tuple[Digest | None, Blocks]], text: Sequence[str] = ()) -> Iterator[Range]:
    """Runs by their place in the newest version; neighbours of one commit are one."""
    spans = sorted(
        (int(first), int(first) + int(length), id) for id, runs in ends for _, first, length in runs.tolist()
    )
    at = 0
    while at < len(spans):
        first, stop, id = spans[at]
        at += 1
        while at < len(spans) and spans[at][0] == stop and spans[at][2] == id:
            stop = spans[at][1]
            at += 1
        yield Range(commit=_text(id), first=first, last=stop - 1, key={}, text=list(text[first:stop]))
