"""Nothing to do: told from what the last runs recorded, before any code of the user is imported.

Invariant: it answers only where running would reuse every step and leave HEAD as it is; wherever
anything may differ it says nothing, and the flows are loaded and run as always.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from os.path import isdir
from typing import TYPE_CHECKING, Any, NamedTuple

from aq.formats.identity import Digest
from aq.formats.objects import get_record, put_record
from aq.formats.partitions import agreeing, flow_of
from aq.formats.records import Run, RunStep
from aq.pipeline.change import settings
from aq.pipeline.change.present import present, sources
from aq.pipeline.flow.partitions import of_run, run_values, spaces_read
from aq.pipeline.flow.redacted import recorded
from aq.pipeline.history import facts, freshness
from aq.pipeline.history.head import Head, head
from aq.pipeline.processes import executors
from aq.pipeline.records.outcomes import Plan, PlannedStep, RunDone
from aq.store.folder import unfinished
from aq.store.listed import are_listed
from msgspec.structs import replace

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo

OnEvent = Callable[[dict[str, Any]], None]
_STEERING = frozenset({"params", "message", "keep_going", "jobs", "executor", "commit"})
"""What may be asked of a run that has nothing to do without making it do something."""


class Settled(NamedTuple):
    """A flow with nothing to do: its newest run, and the params that it takes over from there.

    Of a flow in partitions it is the largest one's; `others`: how many more there are.
    """

    run: Run
    kept: dict[str, str]
    others: int = 0

    def notes(self) -> list[str]:
        """What is said of what was not asked for."""
        from aq.pipeline.run.ended import kept_params, others_unchanged

        return [*kept_params(of_run(self.run), self.kept), *others_unchanged(self.run.flow, self.others)]


def unchanged(
    repo: Repo, target: object, asked: Mapping[str, Any], on_event: OnEvent
) -> list[RunDone] | None:
    """What `running.run` would return where nothing is to be done; None where it has to look itself."""
    started = repo.context.now()
    found = _settled(repo, target, asked)
    if found is None:
        return None
    at = head(repo.store)
    made = [_record(repo, at, one, started) for one in found]
    for run in made:
        for step in run.steps:
            for event in _events(repo, step):
                on_event(event)
    return _done(repo, at, made, found)


def plan(repo: Repo, target: object, asked: Mapping[str, Any]) -> Plan | None:
    """What `running.plan` would return where nothing is to be done; None where it has to look itself."""
    found = _settled(repo, target, asked)
    if found is None:
        return None
    steps = [planned for one in found for step in one.run.steps for planned in _planned(repo, step)]
    return Plan(steps=steps, notes=[note for one in found for note in one.notes()])


# --- the decision


def _settled(repo: Repo, target: object, asked: Mapping[str, Any]) -> list[Settled] | None:
    """Each flow that was asked for, in the order of running; None where one may not be settled."""
    look = _look(repo, target, asked)
    if look is None or not look.runs or look.begun:
        return None
    found: list[Settled] = []
    for run in look.runs:
        settled = look.at_run(run)
        if settled is None:
            return None
        found.append(settled)
    repo.worktree.keep_cache()
    return _told(found)


def at_rest(repo: Repo, target: object, asked: Mapping[str, Any]) -> frozenset[str]:
    """The partitions that have nothing to do while something else has: a run can leave them out.

    Of a flow that is at rest as a whole the largest one is not among them: it stands for the flow.
    """
    look = _look(repo, target, asked)
    if look is None or all(not run.partition for run in look.runs):
        return frozenset()
    resting: dict[str, list[str]] = {}
    moving: set[str] = set(look.begun)
    for run in look.runs:
        space = of_run(run)
        if look.reads_any(run, moving) or look.at_run(run) is None:
            moving.add(space)
        elif run.partition:
            resting.setdefault(run.flow, []).append(space)
    flows = {flow_of(space) for space in moving}
    return frozenset(
        space
        for flow, spaces in resting.items()
        for space in (spaces if flow in flows else look.known.ordered(flow)[:-1])
        if space in spaces
    )


def _told(found: Iterable[Settled]) -> list[Settled]:
    """One a flow: of partitions the largest, which comes last, with the number of the others."""
    told: dict[str, Settled] = {}
    for one in found:
        before = told.pop(one.run.flow, None)
        told[one.run.flow] = one._replace(others=before.others + 1) if before else one
    return list(told.values())


class _Look(NamedTuple):
    """What was asked for: the newest runs of flows and partitions, in the order of running.

    `begun`: flows of which a partition is asked for that is not there yet.
    """

    repo: Repo
    at: Head
    known: facts.Facts
    runs: list[Run]
    begun: list[str]
    params: Mapping[str, str]
    lookup: freshness.Lookup
    is_of_head: bool

    def at_run(self, run: Run) -> Settled | None:
        """A run that has nothing to do; None where it may have."""
        explicit = self.known.explicit(run) if self.is_of_head else {}
        asked = recorded(self.params)
        given = {name: text for name, text in {**explicit, **asked}.items() if text != ""}
        if any(name not in run.params for name in self.params):
            return None
        if not _is_settled(self.repo, self.at, run, given, self.lookup):
            return None
        return Settled(run, {k: v for k, v in given.items() if k not in {*self.params, *run_values(run)}})

    def reads_any(self, run: Run, spaces: Iterable[str]) -> bool:
        """Whether a run read what is made in one of these spaces, or in a flow."""
        made = [source.path for source in run.sources if source.origin == "made" and not source.pinned]
        return any(space == flow_of(path) or spaces_read(path, [space]) for path in made for space in spaces)


def _look(repo: Repo, target: object, asked: Mapping[str, Any]) -> _Look | None:
    """What is to be looked at; None where something is asked for that only running can do."""
    params = _plain_params(repo, asked)
    if params is None or not (target is None or isinstance(target, str)):
        return None
    at = head(repo.store)
    if at.id is None or unfinished.warnings(repo.worktree):
        return None
    known = facts.of(repo.store, at.id)
    runs, begun = _chosen(repo, known, target, params)
    lookup = sources(repo, at, strict=True)
    return _Look(repo, at, known, runs, begun, params, lookup, target is None)


def _plain_params(repo: Repo, asked: Mapping[str, Any]) -> Mapping[str, str] | None:
    """The params, all of them texts; None where something is asked for that makes a run do more."""
    params: Mapping[str, Any] = asked.get("params") or {}
    jobs = asked.get("jobs")
    if asked.get("commit") is False or (jobs is not None and jobs < 1):
        return None
    settings.jobs(repo.settings)  # one that is none is refused whether or not there is something to do
    executors.require_valid(asked.get("executor"))
    if any(value and name not in _STEERING for name, value in asked.items()):
        return None
    return params if all(isinstance(value, str) for value in params.values()) else None


def _chosen(
    repo: Repo, known: facts.Facts, target: str | None, params: Mapping[str, str]
) -> tuple[list[Run], list[str]]:
    """The newest runs of the flows and partitions that are meant, in dependency order, and the flows of
    which another partition is meant; none where all that is unknown.
    """
    runs = {space: get_record(repo.store, Run, known.flows[space]) for space in known.spaces()}
    if target is not None:
        file, _, name = target.partition(":")
        path = repo.worktree.relative(file, repo.context.cwd)
        runs = {space: run for space, run in runs.items() if run.file == path and name in ("", run.flow)}
        one_of_each = {run.flow: run for run in runs.values()}
        if not name and not all(_holds_all(repo, run, one_of_each) for run in one_of_each.values()):
            return [], []
        if any(not set(run_values(run)) <= params.keys() for run in runs.values()):
            return [], []
    meant = {space: runs[space] for space in agreeing(runs, params)}
    begun = {run.flow for run in runs.values()} - {run.flow for run in meant.values()}
    if begun and target is not None:
        return [], []
    return _ordered(meant), sorted(begun)


def _holds_all(repo: Repo, run: Run, runs: Mapping[str, Run]) -> bool:
    """Whether every flow of the run's file has a newest run; only the very file of then tells which."""
    from aq.pipeline.code.static import code_digest_of

    static = freshness.load_static(repo.store, run)
    if static is None or not static.flows or not set(static.flows) <= runs.keys():
        return False
    file = repo.root / run.file
    known = static.code["files"].get(run.file)
    return known is not None and file.is_file() and code_digest_of(file.read_bytes()) == known["bytes"]


def _ordered(runs: Mapping[str, Run]) -> list[Run]:
    """A flow, or partition, that reads what another made comes after it."""
    order: dict[str, Run] = {}

    def visit(space: str) -> None:
        if space not in order:
            for source in runs[space].sources:
                if source.origin == "made":
                    for above in spaces_read(source.path, runs):
                        if above != space:
                            visit(above)
            order[space] = runs[space]

    for space in runs:
        visit(space)
    return list(order.values())


def _is_settled(repo: Repo, at: Head, run: Run, given: Mapping[str, str], lookup: freshness.Lookup) -> bool:
    """Whether a flow is current at HEAD, and everything that its run depended on is as it was."""
    current = at.commit.current if at.commit else []
    if of_run(run) not in current or dict(run.given) != dict(given) or isdir(repo.root / run.flow):
        return False
    if any(step.status not in ("run", "reused") for step in run.steps):
        return False
    static = freshness.load_static(repo.store, run)
    if static is None or static.always or static.flows == []:
        return False
    if freshness.stale_steps(repo.store, run, present(repo, lookup)):
        return False
    return _is_there(repo, run)


def _is_there(repo: Repo, run: Run) -> bool:
    """Whether the store lists each step; it forgets one of which something was lost with a damaged pack,
    so that it is made again.
    """
    steps = [one.step for one in run.steps if one.step is not None]
    return len(steps) == len(run.steps) and are_listed(repo.store, steps)


# --- the record of it


def _record(repo: Repo, at: Head, one: Settled, started: int) -> Run:
    """What happened: every step reused."""
    from aq.pipeline.change import git

    return replace(
        one.run,
        time=started,
        status="unchanged",
        snapshot=bytes(at.snapshot),
        base=None if at.id is None else bytes(at.id),
        git=git.state(repo.root),
        steps=[_reused(step) for step in one.run.steps],
        seconds=max(0, repo.context.now() - started) / 1e9,
        author=repo.author(),
    )


def _reused(step: RunStep) -> RunStep:
    saved = step.seconds if step.status == "run" else step.saved
    if step.role == "map":
        counts = {"reused": sum(step.counts.values())}
        saved = step.seconds + step.saved
        return RunStep(
            name=step.name, status="reused", role="map", step=step.step, saved=saved, counts=counts
        )
    return RunStep(name=step.name, status="reused", role=step.role, step=step.step, saved=saved, log=step.log)


def _planned(repo: Repo, step: RunStep) -> list[PlannedStep]:
    """As of what a run reuses: none where it parsed a file, of a map its items."""
    if step.role == "map":
        names = [f"{step.name}/{key}" for key in _keys(repo, step)]
        return [PlannedStep(step=name, action="reuse", reasons=[], map=step.name) for name in names]
    return [PlannedStep(step=step.name, action="reuse", reasons=[])] if step.role != "parse" else []


def _keys(repo: Repo, step: RunStep) -> Iterator[str]:
    """The items of a map."""
    from aq.formats.records import Step
    from aq.store.commits.snapshots import items_of

    if step.step is not None:
        yield from (one.key for one in items_of(repo.store, get_record(repo.store, Step, step.step)))


def _events(repo: Repo, step: RunStep) -> Iterator[dict[str, Any]]:
    """As of what a run reuses: of a map those of its items, and its own."""
    if step.role == "map":
        item = _event(RunStep(name="", status="reused"))
        total = sum(step.counts.values())
        for key in _keys(repo, step):
            yield {**item, "step": f"{step.name}/{key}", "map": step.name, "total": total}
        yield {**_event(step), "event": "map", "counts": dict(step.counts)}
    elif step.role != "parse":
        yield _event(step)


def _event(step: RunStep) -> dict[str, Any]:
    """As of a step that a run reuses."""
    return {
        "event": "step",
        "step": step.name,
        "status": step.status,
        "seconds": 0.0,
        "reasons": [],
        "error": None,
        "role": step.role,
        "saved": step.saved,
    }


def _done(repo: Repo, at: Head, made: Iterable[Run], found: Iterable[Settled]) -> list[RunDone]:
    """Name the runs in the operation log, as those that no commit holds."""
    from aq.pipeline.run.ended import done

    runs = [(put_record(repo.store, run), run) for run in made]
    change = repo.transaction("run", ", ".join(f"{of_run(run)}: unchanged" for _, run in runs))
    for id, _ in runs:
        change.add_run(id)
    change.commit()
    commit = str(Digest(at.id)) if at.id else None
    return [done(id, run, commit, one.notes()) for (id, run), one in zip(runs, found, strict=True)]
