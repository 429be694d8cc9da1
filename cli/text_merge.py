"""Text of `merge`: what it did, or what is in conflict.

Invariant: as in `text_record`; inside a path the cells, rows or lines are listed that both sides changed.
"""

from __future__ import annotations

from collections.abc import Iterator

from aq.cli.text import Cell, Row, View, first_line, plural, short
from aq.cli.text_record import counts, heading, some
from aq.cli.text_show import value
from aq.pipeline.records.results import InsideConflict, Merged
from aq.store.system.paths import show as shown


def merged(record: Merged, view: View) -> Iterator[str]:
    """Where the branch is now and what changed; or what is in conflict, with what each side holds."""
    id = view.paint(short(record.id), "id")
    if record.status == "conflict":
        yield from _conflicts(record, view)
        return
    if record.status == "unchanged":
        yield f"Already up to date, HEAD is {id}"
        return
    where = record.branch or "no branch"
    what = first_line(record.message) if record.status == "merged" else "moved forward, no merge needed"
    yield f"[{where} {id}] {what}"
    settled = f", {plural(record.settled, 'conflict')} settled" if record.settled else ""
    yield f"  {counts(record.paths) or 'no path changed'}{settled}"
    if record.stale:
        yield f"  stale until the next run: {', '.join(record.stale)}"


def _conflicts(record: Merged, view: View) -> Iterator[str]:
    """The paths, each with what inside it both sides changed as far as that was looked at."""
    rows: list[Row] = [
        [
            Cell(one.kind, "warn"),
            shown(one.path),
            "ours",
            Cell(short(one.ours), "id"),
            "theirs",
            Cell(short(one.theirs), "id"),
        ]
        for one in record.conflicts
    ]
    yield from some(view, rows)
    for one in record.conflicts:
        if one.inside:
            yield from heading(view, f"Both changed in {shown(one.path)}")
            yield from some(view, [_inside(cell) for cell in one.inside], indent=2)
    if any(one.inside for one in record.conflicts):
        yield ""
    yield "Choose --ours or --theirs for a path as a whole, or edit the file and --take it"


def _inside(one: InsideConflict) -> Row:
    """One cell, row, column or run of lines: where it is, and what each side has there."""
    where = " ".join(f"{name}={value(item)}" for name, item in (one.key or {}).items())
    if one.kind == "key" and where:
        return [where, "several rows have this key: which of them changed cannot be told"]
    if one.kind == "key":
        could = f"; {one.column!r} could be one" if one.column else ""
        return [
            "no columns name its rows on all sides: tables merge by the key that a commit declares (keys=)"
            + could
        ]
    if one.kind == "lines":
        where = f"line {(one.key or {}).get('line')}"
    base, ours, theirs = (_shown(side) for side in (one.base, one.ours, one.theirs))
    before = [base, "→"] if one.kind in ("cell", "lines") else ["", ""]
    return [where, one.column or "", *before, "ours", ours, "theirs", theirs]


def _shown(side: object) -> str:
    """What a side has; of lines without the end of the last one."""
    return value(side.removesuffix("\n") if isinstance(side, str) else side)
