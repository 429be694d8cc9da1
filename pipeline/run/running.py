"""`run`: bring flows up to date, record what happened, and publish what passed.

Invariant: the branch moves once, after every op has ended, by one commit of the flows that passed;
a flow that failed or was gated leaves a run that can be looked into, and HEAD as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import msgspec
from aq.formats.errors import UsageError
from aq.formats.identity import Digest
from aq.formats.records import Git, Run, RunStep, Source
from aq.pipeline.change import git, settings
from aq.pipeline.change.finishing import finishing_all
from aq.pipeline.change.present import file_ids
from aq.pipeline.code.load import Project
from aq.pipeline.flow.graph import Read
from aq.pipeline.flow.typed import typed
from aq.pipeline.history import environment
from aq.pipeline.history.head import Head, head
from aq.pipeline.processes import executors, staffing
from aq.pipeline.processes.crew import Crew
from aq.pipeline.records.outcomes import Plan, PlannedStep, RunDone
from aq.pipeline.run import accepting, dry, published, publishing, runner, selecting, settled
from aq.pipeline.run.publishing import Outcome
from aq.pipeline.run.selecting import Job
from aq.pipeline.run.sources import FolderReader
from aq.pipeline.step import gathering, rowwise
from aq.pipeline.step.execution import Execution, Made
from aq.store.commits import snapshots

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from aq.pipeline.repo import Repo
    from aq.pipeline.run.asked import Asked

OnEvent = Callable[[dict[str, Any]], None]


class Request(msgspec.Struct, frozen=True):
    """What was asked of `run`, see `Repo.run`; `rest`: partitions that have nothing to do."""

    target: object = None
    params: Mapping[str, Any] = {}
    message: str | None = None
    tag: str | None = None
    commit: bool = True
    force: bool = False
    accept: Sequence[str] = ()
    keep_going: bool = False
    verify: bool = False
    jobs: int = 1
    executor: Executor | str | None = None
    rest: frozenset[str] = frozenset()


def request(repo: Repo, target: object, asked: Asked) -> Request:
    """The request of a call. Raises UsageError for a number of jobs that is none."""
    jobs = asked.get("jobs")
    jobs = settings.jobs(repo.settings) if jobs is None else jobs
    if jobs < 1:
        raise UsageError(f"-j takes a number of steps from 1 on, not {jobs}", hint="aq run -j 2")
    plain: dict[str, Any] = {
        **asked,
        "params": dict(asked.get("params") or {}),
        "accept": tuple(asked.get("accept", ())),
    }
    for name in plain["params"]:
        if not isinstance(name, str):
            raise UsageError(f"a param is named by a text, not {name!r}", hint="aq run -n")
    executors.require_valid(asked.get("executor"))
    rest = settled.at_rest(repo, target, asked)
    return Request(**{**plain, "target": target, "jobs": jobs, "rest": rest})


@contextmanager
def crew_of(repo: Repo, request: Request) -> Iterator[Crew]:
    """Who may work beside this process, until the command ends."""
    given = request.executor
    with ExitStack() as stack:
        control = repo.store.control
        where = executors.address(given if isinstance(given, str) else executors.LOCAL)
        opener = partial(executors.opened, where, request.jobs, control, stack)
        executor = (None if where.is_local else opener) if isinstance(given, str) else given
        yield stack.enter_context(closing(Crew(control, request.jobs, executor)))


def project_of(repo: Repo) -> Project:
    """The user's code: what lies in the folder. Raises NotTrusted."""
    repo.store.before_executing()
    project = Project(repo.root)
    project.file_id = file_ids(repo)
    return project


@finishing_all
def run(repo: Repo, request: Request, on_event: OnEvent) -> list[RunDone]:
    """See `Repo.run`."""
    _require_sensible(repo, request)
    at, outcomes = head(repo.store), list[Outcome]()
    try:
        with (
            project_of(repo) as project,
            crew_of(repo, request) as crew,
            rowwise.verified(on=request.verify),
        ):
            jobs = selecting.jobs(repo, project, request.target, request.params, request.rest)
            for flow in dict.fromkeys(job.name for job in jobs):
                published.refuse_files_inside(repo, at, flow)
            _execute(repo, request, at, jobs, project, crew, on_event, outcomes)
        return publishing.publish(repo, request, at, outcomes)
    except KeyboardInterrupt:
        publishing.interrupted(repo, outcomes, on_event)
        raise


def _execute(
    repo: Repo,
    request: Request,
    at: Head,
    jobs: Sequence[Job],
    project: Project,
    crew: Crew,
    on_event: OnEvent,
    outcomes: list[Outcome],
) -> None:
    """Run flows one after the other. A signal ends them all; a flow that it met has an outcome as well."""
    may_fail = accepting.accepted(jobs, request.accept, request.rest)
    working, around = at.snapshot, _Around(repo)
    for job in jobs:
        earlier = {one.job.space: one.run.typed for one in outcomes}
        reader, started = FolderReader(repo, working, job.space, earlier), repo.context.now()
        attempt = _Attempt(repo, project, request, at, working, job, reader, started, crew, around, may_fail)
        try:
            outcomes.append(attempt.execute(on_event))
        except KeyboardInterrupt:
            outcomes += attempt.interrupted()
            raise
        if outcomes[-1].run.status in ("committed", "unchanged", "uncommitted"):
            working = Digest(outcomes[-1].run.snapshot)


def _require_sensible(repo: Repo, request: Request) -> None:
    """Raise for what no run could end with, before any code is loaded."""
    if request.accept and not request.message:
        raise UsageError("--accept needs a reason", hint=_accept_hint(request))
    if request.tag is not None:
        if not request.commit:
            raise UsageError(
                "a tag names a commit: --tag and --no-commit exclude each other", hint="aq help run"
            )
        publishing.require_free_tag(repo, request.tag)


def _accept_hint(request: Request) -> str:
    target = f"{request.target} " if isinstance(request.target, str) else ""
    return f'aq run {target}--accept {request.accept[0]} -m "WHY"'


def plan(repo: Repo, request: Request) -> Plan:
    """What `run` would do. Imports the code, runs no op, moves nothing."""
    _require_sensible(repo, request)
    at = head(repo.store)
    steps: list[PlannedStep] = []
    made: dict[str, Made] = {}
    notes: list[str] = []
    earlier: dict[str, Mapping[str, Any]] = {}
    with project_of(repo) as project:
        jobs = selecting.jobs(repo, project, request.target, request.params, request.rest)
        for flow in dict.fromkeys(job.name for job in jobs):
            published.refuse_files_inside(repo, at, flow)
        accepting.accepted(jobs, request.accept, request.rest)
        for job in jobs:
            project.before = published.code_at(repo, at, job.space)
            with project.beside(job.file):
                steps += dry.plan(
                    job.graph,
                    store=repo.store,
                    project=project,
                    read=_read_after(FolderReader(repo, at.snapshot, job.space, earlier), made, steps),
                    environ=repo.context.environ,
                    previous=published.last_steps(repo.store, at, job.space).get,
                    force=request.force,
                    made=made,
                )
            earlier[job.space] = _typed(job)
            notes += publishing.kept(request, job)
    return Plan(steps=steps, notes=[*notes, *publishing.rested(request.rest)])


def _read_after(
    reader: FolderReader, made: Mapping[str, Made], planned: Sequence[PlannedStep]
) -> Callable[[Read], Digest | None]:
    """Reads of a flow as they will be once those planned before it have run; None where they make it."""
    running = [one.step for one in planned if one.action == "run"]
    reader.also = {path: Digest(one.artifact) for path, one in made.items()}

    def read(wanted: Read) -> Digest | None:
        if any(_is_of(wanted.path, name) for name in running):
            return None
        known = made.get(wanted.path)
        return reader(wanted) if known is None else Digest(known.artifact)

    return read


def _is_of(path: str, step: str) -> bool:
    """Whether what is read at a path is, or holds, something that a step makes."""
    if gathering.is_pattern(path):
        return gathering.means(path, step) or any(gathering.means(one, step) for one in _above(path))
    return path == step or path.startswith(f"{step}/")


def _above(path: str) -> Iterator[str]:
    """The folders of a path, which may be the steps of its outputs."""
    while path := path.rpartition("/")[0]:
        yield path


class _Around:
    """What all flows of one command are run in, looked up once: it costs more than a small flow."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo

    @cached_property
    def environment(self) -> Digest:
        """The packages and the machine, stored."""
        return environment.store(self._repo.store, environment.capture())

    @cached_property
    def git(self) -> Git | None:
        """The state of the Git work tree around, if there is one."""
        return git.state(self._repo.root)

    @cached_property
    def author(self) -> str:
        """Who runs."""
        return self._repo.author()


class _Attempt(msgspec.Struct):
    """One flow on its way: executed, then made into a record. The branch stays where it is."""

    repo: Repo
    project: Project
    request: Request
    at: Head
    working: Digest
    job: Job
    reader: FolderReader
    started: int
    crew: Crew
    around: _Around
    may_fail: Container[str]
    found: Execution | None = None

    def execute(self, on_event: OnEvent) -> Outcome:
        """Run the flow. Ctrl-C passes through, and `interrupted` has what had finished."""
        self.project.before = published.code_at(self.repo, self.at, self.job.space)
        with self.project.beside(self.job.file):
            self.found = runner.execute(
                self.job.graph,
                store=self.repo.store,
                project=self.project,
                read=self.reader,
                clock=lambda: self.repo.context.now() / 1e9,
                environ=self.repo.context.environ,
                previous=published.last_steps(self.repo.store, self.at, self.job.space).get,
                force=self.request.force,
                keep_going=self.request.keep_going,
                staff=runner.Staff(self.crew, self._code()),
                on_event=on_event,
                on_interrupt=self._note,
            )
        return self.outcome(self.found)

    def _note(self, found: Execution) -> None:
        self.found = found

    def _code(self) -> staffing.FlowCode:
        """The flow's code, for other processes."""
        bound = {**self.job.bound.given, **self.job.bound.secrets}
        return staffing.FlowCode(
            self.repo, self.project, self.job.file, self.job.name, bound, self.crew.asker
        )

    def interrupted(self) -> list[Outcome]:
        """A run that failed, if it was begun. Where the signal came while the store took something in, what
        that is has been forgotten, and is no part of it.
        """
        if self.found is None:
            return []
        found = msgspec.structs.replace(self.found, interrupted=True)
        if not self.repo.store.dropped:
            return [self.outcome(found)]
        made = Run(
            flow=self.job.name,
            file=self.job.file,
            time=self.started,
            status="failed",
            snapshot=self.at.snapshot,
            params=self.job.bound.texts,
            steps=list(found.steps),
            partition=self.job.space.partition("/")[2],
            seconds=max(0, self.repo.context.now() - self.started) / 1e9,
            error=_error(found),
        )
        return [Outcome(self.job, made, found, {})]

    def outcome(self, found: Execution) -> Outcome:
        """The record of what happened."""
        repo, job = self.repo, self.job
        former = published.former_spaces(repo.store, self.at, job)
        hidden = published.hidden_of(repo, found)
        edits = published.edits_of(
            repo, self.project, self.working, job, found, hidden, self.reader.edits, former
        )
        snapshot = snapshots.edit(repo.store, self.working, edits)
        why = self.request.message or ""
        checks, accepted = accepting.judged(found, self.may_fail, self.around.author, why)
        sources = self.sources()
        same = published.is_unchanged(repo, self.at, job, self.working, snapshot, sources)
        if same:
            accepting.keep_accepted(repo, self.at, job, checks, accepted)
        made = Run(
            flow=job.name,
            file=job.file,
            time=self.started,
            status=_status(self.request, found, checks, same=same),
            snapshot=snapshot,
            base=self.at.id,
            code=published.code_snapshot(repo, self.project, hidden),
            params=job.bound.texts,
            given=job.bound.given,
            typed=_typed(job),
            environment=self.around.environment,
            git=self.around.git,
            sources=sources,
            steps=[*self.gathered(), *found.steps],
            static=published.static_of(repo, self.project, job, found, hidden, self.reader.sources),
            metrics=dict(found.metrics),
            checks=checks,
            severities={one.name: one.op.options.severity for one in job.graph.steps if one.name in checks},
            violations=list(found.violations),
            accepted=accepted,
            renamed=published.renamed(job),
            partition=job.space.partition("/")[2],
            seconds=max(0, repo.context.now() - self.started) / 1e9,
            error=_error(found),
            author=self.around.author,
        )
        return Outcome(job, made, found, edits)

    def gathered(self) -> list[RunStep]:
        """What brought partitions together for a read."""
        steps = self.reader.gathered.items()
        return [RunStep(name=path, status="reused", role="parse", step=id) for path, id in steps]

    def sources(self) -> list[Source]:
        """What was read, in the order of the flow."""
        known = self.reader.sources
        return [known[read.index] for read in self.job.graph.reads if read.index in known]


def _typed(job: Job) -> dict[str, Any]:
    """The params that JSON has a type for."""
    return typed(job.bound.values, job.bound.texts, job.flow.partition)


def _error(found: Execution) -> dict[str, str]:
    if found.error is not None:
        return found.error.as_dict()
    return {"kind": "interrupted", "message": "interrupted"} if found.interrupted else {}


def _status(request: Request, found: Execution, checks: Mapping[str, str], *, same: bool) -> str:
    """`same`: HEAD holds this very result, whatever its checks said when it was published."""
    if found.failed:
        return "failed"
    if not same and any(state in ("failed", "error") for state in checks.values()):
        return "gated"
    if not request.commit:
        return "uncommitted"
    return "unchanged" if same else "committed"
