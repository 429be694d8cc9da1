"""Text of histories: log, operations, branches and tags.

Invariant: `log` yields a line as soon as it has a commit; `metric_log` needs them all to align
and to tell a drop from noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from aq.cli.text import Cell, Row, View, columns, cut, first_line, number, ref_value, short, when
from aq.formats.partitions import general
from aq.pipeline.records.results import CommitFacts, LogEntry, OperationEntry, Ref

NO_GOOD: Final = {"warning": "warn", "failed": "bad", "error": "bad", "accepted": "warn"}
_TIME = 14


def log(entries: Iterable[LogEntry], view: View) -> Iterator[str]:
    """One line a commit; with `-v` all that is known of each."""
    for entry in entries:
        if view.verbose:
            yield from full(entry, view)
            yield ""
        else:
            lead = f"{short(entry.id)}  {when(view, entry.time):{_TIME}}  "
            subject = first_line(entry.message)
            marks = f"{refs_of(entry, View())}{checks_of(entry, View())}"
            if view.width:
                subject = cut(subject, max(view.width - len(lead) - len(marks), 16))
            yield (
                view.paint(short(entry.id), "id")
                + view.paint(lead[8:], "dim")
                + f"{refs_of(entry, view)}{subject}{checks_of(entry, view)}"
            )


def refs_of(entry: CommitFacts, view: View) -> str:
    """`(main, v1) ` in front of a message, or nothing."""
    names = [*entry.branches, *entry.tags]
    return view.paint(f"({', '.join(names)})", "ref") + " " if names else ""


def checks_of(entry: CommitFacts, view: View) -> str:
    """The checks that did not pass, behind a message."""
    return "".join(
        "  " + view.paint(f"{state}: {name.rpartition('/')[2]}", NO_GOOD[state])
        for name, state in entry.checks.items()
        if state in NO_GOOD
    )


def full(entry: CommitFacts, view: View, *, kind: str = "commit") -> Iterator[str]:
    """A commit, or a run, in several lines: id, author, time, metrics, checks, message."""
    yield f"{view.paint(f'{kind} {entry.id}', 'id')} {refs_of(entry, view)}".rstrip()
    rows = [["parents", " ".join(short(id) for id in entry.parents)] if len(entry.parents) > 1 else []]
    rows.append(["author", entry.author])
    rows.append(["time", f"{when(view, entry.time)} ({entry.time[:19]}Z)" if view.terminal else entry.time])
    if entry.git:
        dirty = ", with uncommitted changes" if entry.git.get("dirty") else ""
        rows.append(["git", f"{short(entry.git.get('commit'), 10)}{dirty}"])
    if entry.metrics:
        rows.append(["metrics", "  ".join(f"{name} {number(v)}" for name, v in entry.metrics.items())])
    if entry.checks:
        rows.append(["checks", "  ".join(f"{name} {state}" for name, state in entry.checks.items())])
    yield from columns(view, [[Cell(row[0], "dim"), row[1]] for row in rows if row])
    yield ""
    yield from (f"    {line}" for line in entry.message.splitlines())


def metric_log(name: str) -> Callable[[Iterable[LogEntry], View], Iterator[str]]:
    """The log with one metric's value beside each commit, steps out of the ordinary marked."""

    def lines(entries: Iterable[LogEntry], view: View) -> Iterator[str]:
        from aq.cli.text_metric import cells

        found = list(entries)
        values = [_value(entry, name) for entry in found]
        marks = list(reversed(list(cells(list(reversed(values))))))
        head = [Cell(word, "dim") for word in ("commit", "time", name, "", "", "message")]
        rows: list[Row] = [head]
        for entry, (value, delta, mark) in zip(found, marks, strict=True):
            message = f"{refs_of(entry, View())}{first_line(entry.message)}{checks_of(entry, View())}"
            lead = [Cell(short(entry.id), "id"), Cell(when(view, entry.time), "dim")]
            rows.append([*lead, value, delta, mark, message])
        yield from columns(view, rows)

    return lines


def _value(entry: LogEntry, name: str) -> tuple[bool, float | None]:
    """Whether the metric is recorded, and its value (None for a NaN), of many partitions in the newest."""
    wanted, is_one = name.replace("/*/", "/"), "=" in name
    for full_name, value in {**entry.metrics, **entry.newest}.items():
        meant = is_one or general(full_name) == full_name
        if full_name == wanted or (meant and full_name.endswith(("/" + wanted, "." + wanted))):
            return True, value
    return False, None


def operations(entries: Iterable[OperationEntry], view: View) -> Iterator[str]:
    """One line an operation: number, time, command, what it moved."""
    rows: list[Row] = []
    for entry in entries:
        moves = ", ".join(f"{move.name} → {ref_value(move.to)}" for move in entry.refs)
        text = entry.description or " ".join(entry.argv) or entry.command
        number = Cell(f"{entry.sequence}", "id", right=True)
        what = Cell(entry.command, "bold")
        rows.append([number, Cell(when(view, entry.time), "dim"), what, Cell(moves, "ref"), text])
    yield from columns(view, rows)


def refs(found: Sequence[Ref], view: View) -> Iterator[str]:
    """Branches or tags with their commits; the current one is starred."""
    rows: list[Row] = [
        [
            Cell("*" if ref.current else " ", "good"),
            Cell(ref.name, "good" if ref.current else ""),
            Cell(short(ref.commit), "id"),
            first_line(ref.message),
        ]
        for ref in found
    ]
    if not any(ref.current for ref in found):
        rows = [row[1:] for row in rows]
    yield from columns(view, rows)
