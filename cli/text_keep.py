"""Text of what keeps a repository in order: checks and disk usage.

Invariant: every problem has a line of its own that begins with its kind and id.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aq.cli.text import Cell, Row, View, columns, plural, short, size
from aq.pipeline.records.inventory import Checked, Collected, DiskUsage, Problem, Usage
from aq.store.system.paths import show as shown


def checked(found: Checked, view: View) -> Iterator[str]:
    """Each problem with who needs it and what to type, then the count."""
    for problem in found.problems:
        yield from _problem(problem, view)
    how = "read" if found.full else "looked at"
    unneeded = f", {size(found.unreferenced)} of it unreferenced" if found.unreferenced else ""
    yield f"{plural(found.objects, 'object')} {how}, {size(found.bytes)}{unneeded}"
    if found.problems:
        yield view.paint(f"{plural(len(found.problems), 'problem')} found", "bad")
    else:
        yield view.paint("No damage found", "good")


def _problem(problem: Problem, view: View) -> Iterator[str]:
    name = problem.id or ""
    yield f"{view.paint(problem.kind, 'bad')} {view.paint(name, 'id')}: {problem.detail}".replace(" :", ":")
    if problem.commits:
        commits = ", ".join(short(commit) for commit in problem.commits)
        more = ", …" if len(problem.commits) == 10 else ""
        yield f"  needed by {shown(problem.path) if problem.path else 'the commit itself'} in {commits}{more}"
    if problem.repair:
        yield f"  repair: {problem.repair}"


def usage(found: DiskUsage, view: View) -> Iterator[str]:
    """The total, then a table for each way to divide it."""
    yield f"{size(found.bytes)} in packs, {plural(found.objects, 'object')}; {size(found.index)} of index"
    if found.unreferenced:
        yield f"{size(found.unreferenced)} of it unreferenced"
    sorts = (("Kinds", found.kinds), ("Folders", found.paths), ("Flows", found.flows), ("Refs", found.refs))
    for title, shares in sorts:
        if shares:
            yield ""
            yield view.paint(f"{title}:", "bold")
            yield from columns(view, _rows(shares), indent=2)


def _rows(shares: Sequence[Usage]) -> list[Row]:
    most = 40 if len(shares) > 41 else len(shares)
    rows: list[Row] = [
        [Cell(size(one.bytes), right=True), Cell(f"{size(one.own)} own", "dim", right=True), shown(one.name)]
        for one in shares[:most]
    ]
    if shares[most:]:
        rest = sum(one.own for one in shares[most:])
        rows.append([Cell(""), Cell(f"{size(rest)} own", "dim", right=True), f"{len(shares) - most} more"])
    return rows


def collected(found: Collected, view: View) -> Iterator[str]:
    """What was freed, what waits, what is kept and why."""
    verb = "Would free" if found.dry_run else "Freed"
    yield f"{verb} {plural(found.objects.freed, 'object')}, {size(found.bytes.freed)}"
    if found.waiting.objects:
        waits = f"{plural(found.waiting.objects, 'object')}, {size(found.waiting.bytes)}"
        yield f"Marked {waits}: a later gc frees them, if nothing needs them by then"
    if found.expired:
        verb = "would be" if found.dry_run else "are"
        yield f"{plural(found.expired, 'operation')} {verb} too old to be taken back"
    yield f"Keeps {plural(found.objects.kept, 'object')}, {size(found.bytes.kept)}"
    rows: list[Row] = [
        [Cell(f"{one.objects:,}", right=True), Cell(size(one.bytes), right=True), one.reason]
        for one in found.because
    ]
    yield from columns(view, rows, indent=2)
