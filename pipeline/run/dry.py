"""A dry run: what an execution would do with each step, and why.

Invariant: nothing is executed, parsed or stored. A step is reused exactly where an execution would
reuse it, unless a step above it runs: whether that gives the same again, only running it can tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aq.formats.identity import Digest
from aq.pipeline.code.load import Project
from aq.pipeline.flow.graph import Graph, Node
from aq.pipeline.records.outcomes import PlannedStep
from aq.pipeline.records.results import Reason
from aq.pipeline.run.fanning import Fan
from aq.pipeline.step.execution import Made, StepStore, made_by
from aq.pipeline.step.planning import Parse, Planner, Previous, ReadSource
from aq.pipeline.step.unfolding import Unfolded, keeps_names
from aq.store.commits.snapshots import items_of


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
        return [one for node in graph.steps for one in _planned(planner, node, made, force=force)]


def _planned(planner: Planner, node: Node, made: dict[str, Made], *, force: bool) -> list[PlannedStep]:
    """One step, or the items of a map; the outputs of what is reused are entered into `made`."""
    given = planner.inputs_of(node, made, lambda wanted: _known(planner, wanted))
    step = planner.step(node, given)
    unknown = {place for place, one in given.items() if one is None}
    again = force or node.op.options.cache == "never"
    found = None if unknown or again else planner.recorded(step, node.name)
    if found is not None and (not node.each or keeps_names(planner.store, node, found[1], made)):
        id, recorded = found
        made.update(made_by(node, id, recorded.outputs))
        if node.each:
            return _reused_items(node.name, (one.key for one in items_of(planner.store, recorded)))
        return [PlannedStep(step=node.name, action="reuse", reasons=[])]
    if node.each and not unknown:
        known = {place: one for place, one in given.items() if one is not None}
        unfolded = Unfolded(planner, node, known, made)
        return _planned_items(Fan(planner, 0, node, step, unfolded, again), force=force)
    why = [Reason(**one) for one in planner.why(node, step, unknown, force=force)]
    return [PlannedStep(step=node.name, action="run", reasons=why)]


def _planned_items(fan: Fan, *, force: bool) -> list[PlannedStep]:
    """The items of a map, in their order."""
    planner, name, running = fan.planner, fan.node.name, {}
    fan.start(keep=False)
    while (at := fan.next()) is not None:
        node, _, step = fan.unfolded.step_of(at, keep=False)
        if fan.force or planner.recorded(step, node.name) is None:
            running[at] = [Reason(**one) for one in planner.why(node, step, force=force)]
    return [
        PlannedStep(
            step=f"{name}/{key}",
            action="run" if at in running else "reuse",
            reasons=running.get(at, []),
            map=name,
        )
        for at, key in enumerate(fan.unfolded.keys)
    ]


def _reused_items(name: str, keys: Iterable[str]) -> list[PlannedStep]:
    """The items of a map of which none runs."""
    return [PlannedStep(step=f"{name}/{key}", action="reuse", reasons=[], map=name) for key in keys]


def _known(planner: Planner, wanted: Parse) -> Digest | None:
    """The table of a file that was parsed before."""
    found = planner.recorded(wanted.step)
    return None if found is None else Digest(found[1].outputs[0][1])
