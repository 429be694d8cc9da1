"""What is to be run: FILE, FILE:FLOW, a flow object, or every flow of HEAD; in dependency order.

Invariant: loading user code happens here and nowhere else for a run; a flow that reads what another
of the same command makes comes after it.
"""

from __future__ import annotations

import inspect
from collections.abc import Container, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from aq.formats.errors import NotFound, UsageError
from aq.formats.objects import get_record
from aq.formats.partitions import flow_of
from aq.formats.records import Run
from aq.pipeline.code import import_reads
from aq.pipeline.code.load import Project
from aq.pipeline.flow.graph import Graph
from aq.pipeline.flow.ops import Flow, flows_of
from aq.pipeline.flow.params import Bound, bind, parameters
from aq.pipeline.flow.partitions import again, spaces_read
from aq.pipeline.flow.trace import trace
from aq.pipeline.history import facts
from aq.pipeline.history.head import head
from aq.pipeline.step import gathering

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo


class Job(msgspec.Struct, frozen=True):
    """One flow to run: the file that defines it, its bound parameters and its graph."""

    file: str
    flow: Flow[..., Any]
    bound: Bound
    graph: Graph

    @property
    def name(self) -> str:
        """The flow's name."""
        return self.flow.name

    @property
    def space(self) -> str:
        """Where its results lie: the flow's name, and of a partition its values."""
        return self.graph.space


def jobs(
    repo: Repo, project: Project, target: object, params: Mapping[str, Any], rest: Container[str] = ()
) -> list[Job]:
    """The jobs of one command, in dependency order. Raises NotFound, UsageError, OpFailed.

    `rest`: partitions of HEAD that are known to have nothing to do.
    """
    if target is None:
        found = _of_head(repo, project, params, rest)
    elif isinstance(target, Flow):
        file = _file_of(repo, target)
        found = [_job(project, file, _named(_load(project, file), target.name, file), params)]
    else:
        found = _of_file(repo, project, str(target), params)
    _refuse_names_inside(repo, found)
    return _ordered(found)


def _refuse_names_inside(repo: Repo, found: Sequence[Job]) -> None:
    """What a file outside the repository is called may not lie where a flow puts what it makes."""
    at = head(repo.store)
    spaces = {*(job.space for job in found), *(facts.of(repo.store, at.id).flows if at.id else ())}
    flows = {flow_of(space) for space in spaces}
    for job in found:
        for read in job.graph.reads:
            flow = flow_of(repo.worktree.relative(read.name, repo.root)) if read.name else ""
            if flow in flows:
                raise UsageError(
                    f"{read.where}: {read.name} lies in {flow}/, which holds what the flow {flow} makes",
                    hint=f'aq.read("{read.path}", name="data/{Path(read.path).name}")',
                )


def _of_file(repo: Repo, project: Project, target: str, params: Mapping[str, Any]) -> list[Job]:
    file, _, name = target.partition(":")
    path = repo.worktree.relative(file, repo.context.cwd)
    flows = _load(project, path)
    chosen = [_named(flows, name, path)] if name else list(flows.values())
    _require_parameters(chosen, params)
    return [_job(project, path, flow, _known(flow, params)) for flow in chosen]


def _of_head(repo: Repo, project: Project, params: Mapping[str, Any], rest: Container[str]) -> list[Job]:
    """Every flow of HEAD, with the explicit parameters of its last run; an empty text clears one."""
    at = head(repo.store)
    known = facts.of(repo.store, at.id) if at.id else facts.NONE
    if not known.flows:
        raise UsageError("no flow has been run here yet: name a file", hint="aq run FILE.py")
    flows: list[tuple[str, Flow[..., Any], list[Run]]] = []
    for name in sorted({flow_of(space) for space in known.flows}):
        runs = [get_record(repo.store, Run, known.flows[space]) for space in known.ordered(name)]
        file = max(runs, key=lambda run: run.time).file
        flows.append((file, _named(_load(project, file), name, file), runs))
    _require_parameters([flow for _, flow, _ in flows], params)
    found = []
    for file, flow, runs in flows:
        asked = _known(flow, params)
        cleared = {key for key, value in asked.items() if value == ""}
        for explicit in again(flow, [(run, known.explicit(run)) for run in runs], asked, rest):
            given = {**{k: v for k, v in explicit.items() if k in parameters(flow)}, **asked}
            found.append(_job(project, file, flow, {k: v for k, v in given.items() if k not in cleared}))
    return list({job.space: job for job in found}.values())


def _job(project: Project, file: str, flow: Flow[..., Any], given: Mapping[str, Any]) -> Job:
    bound = bind(flow, given)
    with project.beside(file), import_reads.noted(project, flow.name):
        graph = trace(flow, bound.values, root=project.root)
    for read in graph.reads:
        if gathering.is_pattern(read.path):
            gathering.refuse_own(read.path, graph.space, read.where)
    return Job(file, flow, bound, graph)


def _load(project: Project, file: str) -> dict[str, Flow[..., Any]]:
    module = project.load(file)
    flows = flows_of(vars(module), module.__name__)
    if not flows:
        raise UsageError(f"{file} defines no flow: decorate a function with @aq.flow", hint="aq help run")
    return flows


def _named(flows: Mapping[str, Flow[..., Any]], name: str, file: str) -> Flow[..., Any]:
    if name in flows:
        return flows[name]
    near = get_close_matches(name, flows, n=1, cutoff=0.4)
    guess = f" (did you mean {near[0]}?)" if near else f" (there are {', '.join(flows)})"
    raise NotFound(f"{file} has no flow '{name}'{guess}", hint=f"aq run {file}:{(near or list(flows))[0]}")


def _file_of(repo: Repo, flow: Flow[..., Any]) -> str:
    try:
        file = inspect.getsourcefile(flow.function)
    except TypeError:
        file = None
    if file is None or not Path(file).is_file():
        from aq.pipeline.run.cells import written

        return written(repo, flow)
    return repo.worktree.relative(file, repo.context.cwd)


def _require_parameters(flows: Sequence[Flow[..., Any]], params: Mapping[str, Any]) -> None:
    """Raise for a parameter that none of several flows has; one flow's own error says more."""
    if len(flows) == 1:
        bind_names = parameters(flows[0])
        missing = [name for name in params if name not in bind_names]
        if missing:
            bind(flows[0], {missing[0]: params[missing[0]]})
        return
    known = {name for flow in flows for name in parameters(flow)}
    for name in params:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            guess = f" (did you mean {near[0]}?)" if near else ""
            raise NotFound(f"no flow here has a parameter '{name}'{guess}", hint="aq run -n")


def _known(flow: Flow[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    names = parameters(flow)
    return {name: value for name, value in params.items() if name in names}


def _ordered(found: Sequence[Job]) -> list[Job]:
    """Depth first by what each reads of the others. Raises UsageError on a cycle and on a name twice."""
    by_name: dict[str, Job] = {}
    for job in found:
        other = by_name.setdefault(job.name, job)
        if other.flow is not job.flow:
            raise UsageError(f"two flows are named {job.name}: {other.file} and {job.file}")
    by_space = {job.space: job for job in found}
    order: list[Job] = []
    state: dict[str, str] = {}

    def visit(job: Job, trail: tuple[str, ...]) -> None:
        if state.get(job.space) == "done":
            return
        if state.get(job.space) == "open":
            raise UsageError(f"the flows read one another in a circle: {' → '.join((*trail, job.space))}")
        state[job.space] = "open"
        for read in job.graph.reads:
            for space in spaces_read(read.path, by_space):
                if space != job.space:
                    visit(by_space[space], (*trail, job.space))
        state[job.space] = "done"
        order.append(job)

    for job in found:
        visit(job, ())
    return order
