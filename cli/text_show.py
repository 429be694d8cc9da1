"""Text of `show` and `ls`: a commit or run with its snapshot, one path with its summary, a listing.

Invariant: everything comes from records and summaries; what a summary does not hold is not asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from aq.cli.text import MISSING, Cell, Row, View, columns, cut, duration, number, plural, short, size
from aq.cli.text_check import violations
from aq.cli.text_history import full
from aq.cli.text_record import counts, heading, some
from aq.cli.text_run import RUN_STYLES, params_text, step_counts
from aq.pipeline.records.results import PathEntry, RunInfo, ShowPath, ShowRevision
from aq.store.system.paths import show as shown

_FACTS: Final = ("nulls", "distinct", "min", "max", "mean", "std")
_PLACES: Final = {"name": 0, "digest": 2}
CELL: Final = 24
_NAME: Final = 64
_MODEL: Final = ("class", "library", "format", "hyperparameters", "fitted")
"""Of a model's facts, those that come first."""


def show(record: ShowRevision | ShowPath, view: View) -> Iterator[str]:
    """A commit, a run or a path."""
    if isinstance(record, ShowPath):
        yield from path(record, view)
    else:
        yield from revision(record, view)


def revision(record: ShowRevision, view: View) -> Iterator[str]:
    """A commit or run: facts, message, run, snapshot."""
    kind = "run" if record.run and record.run.id == record.id else "commit"
    yield from full(record, view, kind=kind)
    if record.change_counts and counts(record.change_counts):
        yield ""
        yield f"    {counts(record.change_counts)}"
    if record.run:
        yield from heading(view, "Run")
        yield from run(record.run, view)
    yield from heading(view, f"Paths ({len(record.snapshot)})")
    yield from paths(record.snapshot, view, indent=2)


def _statuses(record: RunInfo) -> Counter[str]:
    """How many steps came to which status, items of maps one by one."""
    found: Counter[str] = Counter()
    for step in record.steps:
        found.update(step.counts or {step.status: 1})
    return found


def run(record: RunInfo, view: View) -> Iterator[str]:
    """A run in a few lines: what, how it ended, with which params, in which environment."""
    python = record.environment.get("python", "")
    packages = record.environment.get("packages", {})
    code = ", ".join(record.code)
    rows: list[tuple[str, str | Cell]] = [
        ("id", Cell(short(record.id), "id")),
        ("flow", f"{record.flow} ({record.file})" if record.file else record.flow),
        ("status", Cell(record.status, RUN_STYLES.get(record.status, ""))),
        ("took", duration(record.seconds)),
        ("params", params_text(record.params)),
        ("steps", step_counts(_statuses(record))),
        ("code", code if view.verbose else cut(code, 72)),
        ("python", f"{python}, {plural(len(packages), 'package')}" if python else ""),
        ("accepted", "; ".join(f"{check}: {why}" for check, why in record.accepted.items())),
        ("error", (record.error or {}).get("message", "")),
    ]
    shown = [row for row in rows if (row[1].text if isinstance(row[1], Cell) else row[1])]
    yield from columns(view, [[Cell(row[0], "dim"), row[1]] for row in shown], indent=2)
    yield from violations(record.violations, dict.fromkeys(record.accepted, "accepted"), view)


def paths(entries: Sequence[PathEntry], view: View, *, indent: int = 0) -> Iterator[str]:
    """Kind, size, id and path of each; where it is not a file of the folder, its origin."""
    rows: list[Row] = [
        [
            Cell(entry.kind, "dim"),
            Cell(size(entry.size), "", right=True),
            Cell(short(entry.id), "id"),
            Cell(entry.origin if entry.origin != "file" else "", "dim"),
            shown(entry.path),
        ]
        for entry in entries
    ]
    yield from columns(view, rows, indent=indent)


def path(record: ShowPath, view: View) -> Iterator[str]:
    """One path: what it is, where it comes from, what its summary says."""
    name = shown(record.path)
    yield view.paint(f"{record.revision}:{name}" if record.revision else name, "bold")
    rows: list[tuple[str, str | Cell]] = [
        ("kind", f"{record.kind} ({record.format})" if record.format != record.kind else record.kind),
        ("id", Cell(record.id, "id")),
        ("size", size(record.size)),
        ("origin", f"{record.origin} by {record.step}" if record.step else record.origin),
    ]
    yield from columns(view, [[Cell(row[0], "dim"), row[1]] for row in rows])
    summary = record.summary
    if "columns" in summary and "rows" in summary:
        yield from table_summary(summary, view)
    elif summary:
        yield ""
        known = {name: summary[name] for name in _MODEL if name in summary}
        yield from facts(known | dict(summary), view)


def table_summary(summary: Mapping[str, Any], view: View) -> Iterator[str]:
    """Rows, then a line a column with what is known of it."""
    found: Sequence[Mapping[str, Any]] = summary["columns"]
    yield from heading(view, f"{plural(summary['rows'], 'row')}, {plural(len(found), 'column')}")
    known = [fact for fact in _FACTS if any(column.get(fact) is not None for column in found)]
    rows: list[Row] = [
        [Cell("column", "dim"), Cell("type", "dim"), *(Cell(fact, "dim", right=True) for fact in known)]
    ]
    for column in found:
        shown = [Cell(value(column.get(fact)), right=True) for fact in known]
        rows.append([str(column["name"]), Cell(str(column.get("type", "")), "dim"), *shown])
    yield from columns(view, rows, indent=2)


def facts(found: Mapping[str, Any], view: View, *, indent: int = 0) -> Iterator[str]:
    """Nested facts as an indented list: a line a name; lists of records as columns."""
    flat = {name: item for name, item in found.items() if not _is_nested(item) and item not in ({}, [])}
    rows: list[Row] = [[Cell(str(name), "dim"), value(item, 200)] for name, item in flat.items()]
    yield from columns(view, rows, indent=indent)
    for name, item in found.items():
        if name == "tensors" and item:
            yield from tensors(item, view, indent=indent)
        elif _is_nested(item):
            yield f"{'':{indent}}{view.paint(str(name), 'dim')}"
            inner = (
                facts(item, view, indent=indent + 2)
                if isinstance(item, dict)
                else records(item, view, indent + 2)
            )
            yield from inner


def tensors(found: Sequence[Mapping[str, Any]], view: View, *, indent: int) -> Iterator[str]:
    """The tensors of a model, a line each."""
    yield f"{'':{indent}}{view.paint('tensors', 'dim')}"
    names = ("name", "dtype", "shape", "norm", "digest")
    rows: list[Row] = [[Cell(name, "dim", right=name == "norm") for name in names]]
    for one in found:
        rows.append(
            [
                cut(str(one["name"]) or "the array", _NAME),
                Cell(dtype(one["dtype"]), "dim"),
                " × ".join(map(str, one["shape"])) or "scalar",
                Cell(value(one.get("norm")), right=True),
                Cell(str(one.get("digest"))[:8], "id"),
            ]
        )
    yield from some(view, rows, indent=indent + 2)


def dtype(described: Any) -> str:
    """A dtype as numpy and torch say it: `float32`, not `<f4`."""
    from aq.formats.models.dtypes import name_of

    if isinstance(described, str):
        return name_of(described) or described
    return f"record of {plural(len(described), 'field')}"


def _is_nested(item: object) -> bool:
    """Whether a fact takes more than a line: a dict with content, a list of dicts."""
    return bool(item) and (isinstance(item, dict) or (isinstance(item, list) and isinstance(item[0], dict)))


def records(items: Sequence[Any], view: View, indent: int) -> Iterator[str]:
    """A line a record, names first and digests, in short, last."""
    found = [item for item in items if isinstance(item, dict)]
    names = sorted({name: 0 for item in found for name in item}, key=lambda name: _PLACES.get(name, 1))
    rows: list[Row] = [[Cell(name, "dim") for name in names]]
    for item in found:
        cells = [
            Cell(str(item.get(n))[:8], "id") if n == "digest" else Cell(value(item.get(n))) for n in names
        ]
        rows.append(cells)
    yield from some(view, rows, indent=indent)


def value(item: object, most: int = CELL) -> str:
    """A value in a cell: numbers short, text cut, none as a dash."""
    if item is None:
        return MISSING
    if isinstance(item, (int, float)) and not isinstance(item, bool):
        return number(item).replace(",", "")  # a year, a key, a code: figures of the user's, no counts
    return cut(str(item).replace("\n", "↵"), most)
