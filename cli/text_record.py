"""Text of what changes a repository: init, add, remove, status, commit, switch, restore, undo.

Invariant: pure functions of a result record and a `View`, yielding lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from aq.cli.text import Cell, Row, View, columns, first_line, listed, plural, ref_value, short, size
from aq.pipeline.records.results import (
    CommitResult,
    FlowStatus,
    Moved,
    PathCounts,
    Reason,
    Status,
    Tracked,
    Undone,
)
from aq.store.system.paths import show as shown

MOST: Final = 20
Groups = Sequence[tuple[Cell, Sequence[str]]]
"""Paths, and the word for each group of them."""
_CHANGES: Final = {"added": "good", "changed": "warn", "removed": "bad"}


def init(record: Mapping[str, str], view: View) -> Iterator[str]:
    """Where the repository is."""
    yield f"Repository in {shown(record['path'])}/.aq"


def tracked(record: Tracked, view: View) -> Iterator[str]:
    """What the next commit tracks, and what it does not any more."""
    groups = (Cell("tracked", "dim"), record.added), (Cell("untracked", "dim"), record.removed)
    yield from some_paths(view, groups)
    if not (record.added or record.removed):
        yield "Nothing to change"


def status(record: Status, view: View) -> Iterator[str]:
    """Where HEAD is, what changed, what is untracked, what is stale."""
    where = f"branch {record.branch}" if record.branch else "no branch"
    head = f"at {view.paint(short(record.head), 'id')}" if record.head else "no commits yet"
    yield f"On {where}, {head}"
    stale = [flow for flow in record.flows if flow.stale]
    if record.changes:
        yield from heading(view, "Changes for the next commit")
        yield from columns(
            view, [[Cell(c.change, _CHANGES[c.change]), shown(c.path)] for c in record.changes], indent=2
        )
    if record.untracked:
        yield from heading(view, "Untracked")
        yield from columns(view, [[shown(path)] for path in record.untracked], indent=2)
    if stale:
        yield from heading(view, "Stale")
        yield from columns(view, [row for flow in stale for row in _stale(flow)], indent=2)
    if not (record.changes or record.untracked or stale):
        upto = "every flow is up to date" if record.flows else "no flow has run yet"
        yield f"Nothing changed, {upto}"


def heading(view: View, title: str) -> Iterator[str]:
    """A blank line and a title."""
    yield ""
    yield view.paint(f"{title}:", "bold")


def _stale(flow: FlowStatus) -> Iterator[Row]:
    for one in flow.stale:
        name = one.step or "/".join(filter(None, (flow.flow, flow.partition)))
        doubt = "" if one.exact else "perhaps"
        yield [Cell(name, "warn"), Cell(doubt, "dim"), reasons(one.reasons)]


def reasons(found: Sequence[Reason]) -> str:
    """Why a step runs, in one line."""
    by_kind: dict[str, list[str]] = {}
    for reason in found:
        by_kind.setdefault(reason.kind, []).append(reason.detail)
    return "; ".join(f"{kind}: {', '.join(details)}" for kind, details in by_kind.items())


def commit(record: CommitResult, view: View) -> Iterator[str]:
    """The new commit, what it changed and what it cost."""
    id = view.paint(short(record.id), "id")
    if not record.created:
        yield f"Nothing to commit, HEAD is {id}"
        return
    yield f"[{record.branch or 'no branch'} {id}] {first_line(record.message)}"
    yield f"  {counts(record.paths) or 'no path changed'}, {size(record.bytes.new)} new in the store"


def counts(paths: PathCounts) -> str:
    """`2 added, 1 changed`, or nothing."""
    return listed(((paths.added, "added"), (paths.changed, "changed"), (paths.removed, "removed")))


def switched(record: Moved, view: View) -> Iterator[str]:
    """The branch and what changed in the folder."""
    head = f"at {view.paint(short(record.head), 'id')}" if record.head else "without commits yet"
    yield f"On branch {record.branch or '–'} {head}{_moved(record)}"


def restored(record: Moved, view: View) -> Iterator[str]:
    """The files that were written or deleted."""
    yield from some_paths(view, files(record.written, record.deleted))
    if not record.written and not record.deleted:
        yield "Nothing to restore"


def undone(record: Undone, view: View) -> Iterator[str]:
    """What was taken back, and where the refs are now."""
    yield f"Undid {record.description.removeprefix('undo ') or short(record.undone)}"
    moves: list[Row] = [
        [move.name, Cell(ref_value(move.from_), "dim"), "→", Cell(ref_value(move.to), "id")]
        for move in record.refs
    ]
    yield from columns(view, moves, indent=2)
    yield from some_paths(view, files(record.written, record.deleted), indent=2)


def files(written: Sequence[str], deleted: Sequence[str]) -> Groups:
    """What happened to files of the folder."""
    return (Cell("written", "good"), written), (Cell("deleted", "bad"), deleted)


def some_paths(view: View, groups: Groups, *, indent: int = 0) -> Iterator[str]:
    """Paths behind the word for their group, or the first of very many unless `-v`."""
    count = sum(len(paths) for _, paths in groups)
    rows: Iterator[Row] = ([cell, shown(path)] for cell, paths in groups for path in paths)
    yield from _first(view, rows, count, indent)


def some(view: View, rows: Sequence[Row], *, indent: int = 0) -> Iterator[str]:
    """The rows, or the first of very many unless `-v`."""
    yield from _first(view, iter(rows), len(rows), indent)


def _first(view: View, rows: Iterator[Row], count: int, indent: int) -> Iterator[str]:
    few = count if view.verbose or count <= MOST + 1 else MOST
    yield from columns(view, list(islice(rows, few)), indent=indent)
    if few < count:
        yield f"{'':{indent}}and {count - few:,} more"


def _moved(record: Moved) -> str:
    done = [
        f"{plural(len(record.written), 'file')} written" if record.written else "",
        f"{plural(len(record.deleted), 'file')} deleted" if record.deleted else "",
    ]
    text = ", ".join(part for part in done if part)
    return f": {text}" if text else ""
