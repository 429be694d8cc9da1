"""Two versions of a table side by side: schema, rows, columns, a guess, a sample.

Invariant: the cost follows the segments that differ; equal ones are known by id and not read.
Every value in the result fits in JSON. How rows are matched is in `match`, guesses in `units`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from aq.formats.columns.sets import distinct
from aq.formats.columns.shown import TEXT_MOST
from aq.formats.comparing.changes import Change, changed_cells, describe_added, describe_change
from aq.formats.comparing.compare_schema import compare_containers, compare_schema
from aq.formats.comparing.match import Matching, match_rows
from aq.formats.comparing.naming import naming
from aq.formats.comparing.sides import Column, Rows, Side
from aq.formats.objects import Source
from aq.formats.records import Artifact
from aq.formats.showing import apart

KEY_MOST: Final = 4
"""Without a declared key, more cut columns than these say nothing about which row it is."""


def compare_tables(a: Artifact, b: Artifact, source: Source, *, sample: int = 5) -> dict[str, Any]:
    """The `detail` of a table's diff.

    `{"schema": {"added", "removed", "retyped", "renamed"}, "rows": {"added", "removed", "changed",
    "from", "to", "by", "reordered"}, "columns": [{"name", "changed_rows", "before", "after", "guess"}],
    "other": [text], "sample": [{"change", "row", "key", "from", "to"}]}`; columns with something to tell. A
    sampled row that changed and has no key has its first cells that did not change as `same`.
    """
    before, after = Side(a, source, is_after=False), Side(b, source, is_after=True)
    schema, columns = compare_schema(before, after)
    key, cut = naming(before, after, columns)
    matching = match_rows(before, after, columns, key, cut)
    changes = changed_cells(before, after, columns, matching)
    changed = _union(change.after for change in changes)
    entries = [describe_change(before, after, change) for change in changes]
    named = {entry["name"] for entry in entries if entry["guess"]}
    added = [
        entry for entry in describe_added(before, after, columns, matching) if entry["name"] not in named
    ]
    return {
        "schema": schema,
        "rows": {
            "added": len(matching.added),
            "removed": len(matching.removed),
            "changed": len(changed),
            "from": before.rows,
            "to": after.rows,
            "by": "key" if key else "content",
            "reordered": matching.is_reordered,
        },
        "columns": _merged(entries, added),
        "other": compare_containers(before, after),
        "sample": _sample(before, after, columns, key or cut, matching, changes, sample),
    }


def _merged(entries: list[dict[str, Any]], added: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry a column: what new rows tell stands in for a guess that changed rows did not give."""
    fresh = {entry["name"]: entry for entry in added}
    merged = [entry | _guess_of(fresh.pop(entry["name"], {})) for entry in entries]
    return merged + list(fresh.values())


def _guess_of(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("guess", "rows", "factor", "offset") if name in entry}


def _sample(
    before: Side,
    after: Side,
    columns: Sequence[Column],
    key: Sequence[Column],
    matching: Matching,
    changes: Sequence[Change],
    most: int,
) -> list[dict[str, Any]]:
    """Changed rows side by side, then added and removed ones whole, at most `most` of each."""
    key = key if len(key) <= KEY_MOST else []
    found = _changed_sample(before, after, key, changes, most)
    if not key:
        _tell_apart(after, columns, found)
    for name, side, rows in (("added", after, matching.added), ("removed", before, matching.removed)):
        chosen = rows[:most]
        own = [Column(side.columns[at][0], at, at) for at in side.described.shown] if len(chosen) else []
        cells = {column.name: side.show(column, chosen) for column in own}
        keys = {column.name: side.show(column, chosen) for column in key}
        for at, row in enumerate(chosen.tolist()):
            values, named = ({column: shown[at] for column, shown in each.items()} for each in (cells, keys))
            sides = {"from": None, "to": values} if name == "added" else {"from": values, "to": None}
            found.append({"change": name, "row": row, "key": named} | sides)
    return found


def _changed_sample(
    before: Side, after: Side, key: Sequence[Column], changes: Sequence[Change], most: int
) -> list[dict[str, Any]]:
    rows = _union(change.after[:most] for change in changes)[:most]
    found: list[dict[str, Any]] = [
        {"change": "changed", "row": row, "key": {}, "from": {}, "to": {}} for row in rows.tolist()
    ]
    for column in key:
        for entry, value in zip(found, after.show(column, rows), strict=True):
            entry["key"][column.name] = value
    for change in changes:
        for entry in found:
            at = int(np.searchsorted(change.after, entry["row"]))
            if at < len(change.after) and change.after[at] == entry["row"]:
                old, new = _cells(before, after, change, slice(at, at + 1))
                entry["from"] |= {change.column.name: old}
                entry["to"] |= {change.column.name: new}
    return found


def _cells(before: Side, after: Side, change: Change, one: slice) -> tuple[Any, Any]:
    """A cell that differs, on both sides; of long texts what surrounds the first difference."""
    sides = (before, change.before[one]), (after, change.after[one])
    old, new = (side.show(change.column, rows)[0] for side, rows in sides)
    if isinstance(old, str) and old == new:
        texts = [side.take(replace(change.column, cast=None), rows)[0].as_py() for side, rows in sides]
        if all(isinstance(text, str) for text in texts):
            return apart(texts[0], texts[1], TEXT_MOST)
    return old, new


def _tell_apart(after: Side, columns: Sequence[Column], found: Sequence[dict[str, Any]]) -> None:
    """Add the first cells of each row that did not change, by which a reader knows it."""
    rows = np.array([entry["row"] for entry in found], np.int64)
    for column in columns[:KEY_MOST] if len(rows) else ():
        for entry, value in zip(found, after.show(column, rows), strict=True):
            same = entry.setdefault("same", {})
            if column.name not in entry["to"]:
                same[column.name] = value


def _union(parts: Iterable[Rows]) -> Rows:
    """All row numbers in the parts, each once, ascending."""
    return distinct(np.concatenate([np.empty(0, np.int64), *parts]))
