"""Text of `blame`: columns, then ranges of rows; or lines, or entries, each with its commit.

Invariant: the commit stands in front, as in `log`; very many ranges are summed up by commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from aq.cli.text import MISSING, Cell, Row, View, columns, first_line, plural, short, when
from aq.cli.text_record import heading
from aq.cli.text_show import value
from aq.pipeline.records.blamed import Blame, ColumnBlame, Range
from aq.store.system.paths import show as shown

_RANGES: Final = 40
_AUTHOR: Final = 20


def blame(record: Blame, view: View) -> Iterator[str]:
    """All parts of a path with the commits that brought them."""
    if record.by == "lines":
        rows = [
            [*_commit(record, one.commit, view), Cell(f"{one.first + at + 1}", "dim", right=True), line]
            for one in record.ranges
            for at, line in enumerate(one.text)
        ]
        yield from columns(view, rows)
    elif record.by == "items":
        yield from columns(
            view,
            [
                [*_commit(record, one.commit, view), one.name, value(one.value), _subject(record, one.commit)]
                for one in record.items
            ],
        )
    else:
        yield from _table(record, view)


def _table(record: Blame, view: View) -> Iterator[str]:
    key = f", key {', '.join(record.key)}" if record.key else ""
    of = f"column {record.column} of " if record.column else ""
    revision = view.paint(short(record.revision), "id")
    yield f"{of}{shown(record.path)} at {revision}: {plural(record.rows, 'row')}{key}"
    if record.columns:
        yield from heading(view, "Columns")
        groups: dict[tuple[str | None, str], list[str]] = {}
        for one in record.columns:
            groups.setdefault((one.commit, _change(one)), []).append(one.name)
        touched: list[Row] = [
            [*_commit(record, id, view), _subject(record, id), change, ", ".join(names)]
            for (id, change), names in groups.items()
        ]
        yield from columns(view, touched, indent=2)
    if record.ranges:
        yield from heading(view, "Rows")
        few = record.ranges if view.verbose or len(record.ranges) <= _RANGES else []
        if not few:
            yield from _summed(record, view)
        told: list[Row] = [
            [*_commit(record, one.commit, view), _span(one), _count(_rows(one)), _subject(record, one.commit)]
            for one in few
        ]
        yield from columns(view, told, indent=2)


def _change(one: ColumnBlame) -> str:
    return f"changed in {plural(one.rows, 'row')}" if one.change == "changed" else one.change


def _count(rows: int) -> Cell:
    return Cell(plural(rows, "row"), right=True)


def _summed(record: Blame, view: View) -> Iterator[str]:
    """How many rows each commit brought, in place of the ranges."""
    counts: Counter[str | None] = Counter()
    ranges: Counter[str | None] = Counter()
    for one in record.ranges:
        counts[one.commit] += _rows(one)
        ranges[one.commit] += 1
    told: list[Row] = [
        [*_commit(record, id, view), _count(count), f"in {plural(ranges[id], 'range')}", _subject(record, id)]
        for id, count in counts.most_common()
    ]
    yield from columns(view, told, indent=2)
    yield f"  {view.paint(f'all {len(record.ranges):,} ranges: aq blame -v', 'dim')}"


def _rows(one: Range) -> int:
    return one.last - one.first + 1


def _span(one: Range) -> str:
    """The rows of a range: by the table's key, else by number."""
    first, last = (_key(one.key.get(end)) for end in ("first", "last"))
    if not first:
        first, last = str(one.first), str(one.last)
    return first if one.first == one.last else f"{first} … {last}"


def _key(found: Mapping[str, Any] | None) -> str:
    return " ".join(f"{name}={value(item)}" for name, item in (found or {}).items())


def _commit(record: Blame, id: str | None, view: View) -> list[str | Cell]:
    """Commit, time and author."""
    if id is None:
        return [Cell(MISSING, "dim"), Cell("before", "dim"), ""]
    commit = record.commits[id]
    author = commit.author.partition(" <")[0]
    return [
        Cell(short(id), "id"),
        Cell(when(view, commit.time), "dim"),
        author if len(author) <= _AUTHOR else author[: _AUTHOR - 1] + "…",
    ]


def _subject(record: Blame, id: str | None) -> Cell:
    return Cell("" if id is None else first_line(record.commits[id].message), "dim")
