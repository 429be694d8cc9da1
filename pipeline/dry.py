"""A dry run: what an execution would do with each step, and why.

Invariant: nothing is executed, parsed or stored. A step is reused exactly where an execution would
reuse it, unless a step above it runs: whether that gives the same again, only running it can tell.
"""

from __future__ import annotations

from collections.abc import Mapping

from aq.formats.identity import Digest
from aq.pipeline.execution import Made, StepStore, made_by
from aq.pipeline.graph import Graph, Node
from aq.pipeline.load import Project
from aq.pipeline.outcomes import PlannedStep
from aq.pipeline.planning import Parse, Planner, Previous, ReadSource
from aq.pipeline.results import Reason


def plan(
    graph: Graph,
    *,
    store: StepStore,
    project: Project,
    read: ReadSource,
    previous: Previous = lambda name: None,
    environ: Mapping[str, str] | None = None,
    force: bool = False,
    made: dict[str, Made] | None = None,
) -> list[PlannedStep]:
    """What `execute` would do with each step, given the same. Raises AqError as it does.

    Into `made` go the outputs of the steps that are reused, by path.
    """
    planner = Planner(graph, store, project, read, dict(environ or {}), previous)
    made = {} if made is None else made
    with project:
        planner.prepare()
        return [_planned(planner, node, made, force=force) for node in graph.steps]


def _planned(planner: Planner, node: Node, made: dict[str, Made], *, force: bool) -> PlannedStep:
    """One step; the outputs of one that is reused are entered into `made`."""
    given = planner.inputs_of(node, made, lambda wanted: _known(planner, wanted))
    step = planner.step(node, given)
    unknown = {place for place, one in given.items() if one is None}
    again = force or node.op.options.cache == "never"
    found = None if unknown or again else planner.recorded(step, node.name)
    if found is not None:
        id, recorded = found
        made.update(made_by(node, id, recorded.outputs))
        return PlannedStep(step=node.name, action="reuse", reasons=[])
    why = [Reason(**one) for one in planner.why(node, step, unknown, force=force)]
    return PlannedStep(step=node.name, action="run", reasons=why)


def _known(planner: Planner, wanted: Parse) -> Digest | None:
    """The table of a file that was parsed before."""
    found = planner.recorded(wanted.step)
    return None if found is None else Digest(found[1].outputs[0][1])
