"""Text of what keeps a repository in order: checks and disk usage.

Invariant: every problem has a line of its own that begins with its kind and id.
"""

from __future__ import annotations

from collections.abc import Iterator

from aq.cli.text import View, plural, short, size
from aq.pipeline.results import Checked, Problem


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
        yield f"  needed by {problem.path or 'the commit itself'} in {commits}{more}"
    if problem.repair:
        yield f"  repair: {problem.repair}"
