"""Text of graphs: the steps of a run and the lineage of an artifact, drawn as trees.

Invariant: every step is drawn once, under the deepest of its inputs; its other inputs are named
beside it. A lineage is drawn from the artifact down to its sources; what was shown is not repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aq.cli.text import Cell, Row, View, columns, duration, short
from aq.cli.text_record import reasons
from aq.cli.text_run import STEP_STYLES, STEP_WORDS, step_counts
from aq.pipeline.records.outcomes import Downstream, Lineage
from aq.pipeline.records.results import StepEntry
from aq.store.system.paths import show as shown


def steps(found: Sequence[StepEntry], view: View) -> Iterator[str]:
    """The steps of a run as an aligned tree."""
    found = list(found)
    parents = _parents(found)
    rows: list[Row] = []
    for lead, step in _walk(found, parents, None, ""):
        others = [name for name in _makers(step, found) if name != parents[step.step]]
        plus = f"+ {', '.join(_short(name) for name in others)}" if others else ""
        state = Cell(STEP_WORDS.get(step.status, step.status), STEP_STYLES.get(step.status, ""))
        took = step.seconds if step.status in ("run", "failed") else 0.0
        name = step.step if step.role == "op" else f"{step.step} ({step.role})"
        spent = Cell(duration(took) if took else "", "dim", right=True)
        told = step.error or reasons(step.reasons)
        if step.counts:
            told = "  ".join(part for part in (step_counts(step.counts), told) if part)
        rows.append([f"{lead}{name}", state, spent, Cell(plus, "dim"), told])
    yield from columns(view, rows)


def _short(path: str) -> str:
    return path.rpartition("/")[2]


def _makers(step: StepEntry, found: Sequence[StepEntry]) -> list[str]:
    """The steps that a step waited for, in their order."""
    return [
        other.step
        for other in found
        if other.step != step.step
        and any(given in other.outputs or _under(given, other.step) for given in step.inputs)
    ]


def _under(path: str, step: str) -> bool:
    return path == step or path.startswith(step + "/")


def _parents(found: Sequence[StepEntry]) -> dict[str, str | None]:
    """For each step the one under which it is drawn: its deepest maker, the last one on a tie."""
    depth: dict[str, int] = {}
    chosen: dict[str, str | None] = {}
    for step in found:
        makers = [name for name in _makers(step, found) if name in depth]
        best = max(reversed(makers), key=lambda name: depth[name], default=None)
        chosen[step.step] = best
        depth[step.step] = 0 if best is None else depth[best] + 1
    return chosen


def _walk(
    found: Sequence[StepEntry], parents: dict[str, str | None], under: str | None, lead: str
) -> Iterator[tuple[str, StepEntry]]:
    children = [step for step in found if parents[step.step] == under]
    for position, step in enumerate(children):
        last = position == len(children) - 1
        here = "" if under is None else lead + ("└─ " if last else "├─ ")
        below = "" if under is None else lead + ("   " if last else "│  ")
        yield here, step
        yield from _walk(found, parents, step.step, below)


def lineage(record: Lineage, view: View) -> Iterator[str]:
    """An artifact and, under it, what it was made from."""
    seen: set[tuple[str, str]] = set()
    rows: list[Row] = []
    stack: list[tuple[Lineage, str, str]] = [(record, "", "")]
    while stack:
        node, here, below = stack.pop()
        again = bool(node.inputs) and (node.path, node.artifact) in seen
        seen.add((node.path, node.artifact))
        made = "as above" if again else f"by {node.step}" if node.step and node.step != node.path else ""
        rows.append([f"{here}{shown(node.path)}", Cell(short(node.artifact), "id"), Cell(made, "dim")])
        children = [] if again else node.inputs
        for position, child in reversed(list(enumerate(children))):
            last = position == len(children) - 1
            branch, trunk = ("└─ ", "   ") if last else ("├─ ", "│  ")
            stack.append((child, below + branch, below + trunk))
    yield from columns(view, rows)


def used_by(record: Downstream, view: View) -> Iterator[str]:
    """Where an artifact went, a line a commit and path."""
    yield from columns(view, [[Cell(short(use.commit), "id"), shown(use.path)] for use in record.used_by])
    if not record.used_by:
        yield "Nothing was made from it"
