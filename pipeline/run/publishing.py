"""The end of a command that ran flows: one commit of those that passed, and what is said of each.

Invariant: the branch moves once, or not at all; runs that no commit holds are named in the operation log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aq.formats.errors import Conflict
from aq.formats.identity import Digest, Kind, object_id
from aq.formats.objects import put_record
from aq.formats.partitions import flow_of
from aq.formats.records import Run, encode
from aq.pipeline.change import columnar
from aq.pipeline.change.recording import Proposal, record
from aq.pipeline.history.head import Head, head
from aq.pipeline.records.outcomes import RunDone
from aq.pipeline.run import ended, published
from aq.pipeline.run.selecting import Job
from aq.pipeline.step.execution import Execution
from aq.store.commits import snapshots
from aq.store.commits.refs import Ref, check_name
from aq.store.commits.snapshots import Entry
from aq.store.system.turns import alone
from msgspec.structs import replace

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo
    from aq.pipeline.run.running import Request


class Outcome(msgspec.Struct):
    """One flow's run: its record, what it would commit, and how it ended."""

    job: Job
    run: Run
    execution: Execution
    edits: dict[str, Entry | None]


OnEvent = Callable[[dict[str, Any]], None]
PUBLISHING: Final = b"publish a run"
"""The turn of those who publish runs, of which each looks at what the one before has published."""


def publish(repo: Repo, request: Request, at: Head, outcomes: Sequence[Outcome]) -> list[RunDone]:
    """One commit of the flows that passed, and one operation that names the other runs.

    A flow of which another process has published the very same meanwhile is unchanged.
    """
    with alone(repo.store.control, PUBLISHING):
        now = head(repo.store)
        told = [_beside(repo, at, now, one) for one in outcomes]
        passed = [one for one in told if one.run.status == "committed"]
        commit = _commit(repo, request, at, passed, told) if passed else None
    others = [one for one in told if one.run.status != "committed"]
    if others:
        is_tagged = request.tag and now.id and all(one.run.status == "unchanged" for one in told)
        register(repo, others, tags={request.tag: Ref(id=now.id)} if is_tagged and request.tag else {})
    last = {one.job.name: one for one in told}
    return [
        ended.done(
            put_record(repo.store, one.run),
            one.run,
            commit if one.run.status == "committed" else _holder(one.run),
            [
                *_notes(repo, at, request, one),
                *rested(request.rest, one.job.name, last=one is last[one.job.name]),
            ],
        )
        for one in told
    ]


def _holder(run: Run) -> str | None:
    """The commit that held an unchanged run's results already."""
    return str(Digest(run.base)) if run.status == "unchanged" and run.base else None


def _beside(repo: Repo, at: Head, now: Head, one: Outcome) -> Outcome:
    """A flow's run, which began at one HEAD, as it ended at another."""
    if one.run.status != "committed" or now.id == at.id or now.ref != at.ref:
        return one
    snapshot = snapshots.edit(repo.store, now.snapshot, one.edits)
    if not published.is_unchanged(repo, now, one.job, now.snapshot, snapshot, one.run.sources):
        return one
    run = msgspec.structs.replace(one.run, status="unchanged", snapshot=now.snapshot, base=now.id)
    return replace(one, run=run)


def _commit(
    repo: Repo, request: Request, at: Head, passed: Sequence[Outcome], outcomes: Sequence[Outcome]
) -> str | None:
    """Commit what passed; its id. Raises Conflict, with all runs registered."""
    proposal = Proposal(
        command="run",
        base=at.snapshot,
        edits={path: entry for one in passed for path, entry in one.edits.items()},
        message=request.message or ended.messages([one.run for one in passed]),
        author=repo.author(),
        runs=[put_record(repo.store, one.run) for one in passed],
        git=passed[0].run.git,
        tags=[request.tag] if request.tag else [],
        ref=at.ref,
    )
    try:
        recorded = record(repo.store, repo.context, proposal)
    except Conflict:
        register(repo, outcomes)
        raise
    return str(recorded.id) if recorded else None


def _notes(repo: Repo, at: Head, request: Request, one: Outcome) -> list[str]:
    """Params that were taken over from the last run, what the steps noted, and what new files will cost."""
    edits = one.edits if one.run.status == "committed" else {}
    tracked = columnar.told_of_edits(repo.store, at.snapshot, edits)
    return [*kept(request, one.job), *one.execution.notes, *tracked]


def rested(rest: Iterable[str], flow: str = "", *, last: bool = True) -> list[str]:
    """How many partitions had nothing to do: once a flow, of one flow or of all."""
    count = Counter(flow_of(space) for space in rest)
    told = [flow] if flow else sorted(count)
    return [note for one in told if last for note in ended.others_unchanged(one, count[one])]


def kept(request: Request, job: Job) -> list[str]:
    """The note of params that were taken over from the last run."""
    asked = {*request.params, *job.flow.partition}
    taken = {name: text for name, text in job.bound.given.items() if name not in asked}
    return ended.kept_params(job.space, taken)


def register(repo: Repo, outcomes: Sequence[Outcome], *, tags: Mapping[str, Ref] | None = None) -> None:
    """Name runs that no commit holds in the operation log, so that they can be found.

    `tags` are set with them.
    """
    names = ", ".join(f"{one.job.space}: {one.run.status}" for one in outcomes)
    change = repo.transaction("run", names)
    for one in outcomes:
        change.add_run(put_record(repo.store, one.run))
    for name, ref in (tags or {}).items():
        change.set(f"tag/{name}", ref, expect=None)
    change.commit()


def interrupted(repo: Repo, outcomes: Sequence[Outcome], on_event: OnEvent) -> None:
    """A signal ended a command: its runs are recorded, and told as at any end; the branch stays, unless it
    had moved by then. Where what a run made was forgotten with what the store was taking in, it is only told.
    """
    at, is_whole = head(repo.store), not repo.store.dropped
    runs = [one.run if _is_held(at, one.run) else _unpublished(one.run) for one in outcomes]
    others = [
        replace(one, run=run) for one, run in zip(outcomes, runs, strict=True) if run.status != "committed"
    ]
    if is_whole and others:
        register(repo, others)
    for run in runs:
        is_held = run.status == "committed"
        id = put_record(repo.store, run) if is_whole or is_held else None
        commit = str(at.id) if is_held else _holder(run)
        on_event(msgspec.structs.asdict(ended.done(id, run, commit, [])))


def _is_held(at: Head, run: Run) -> bool:
    """Whether HEAD is the commit of a run."""
    return at.commit is not None and object_id(Kind.RUN, encode(run)) in map(bytes, at.commit.runs)


def _unpublished(run: Run) -> Run:
    return msgspec.structs.replace(run, status="uncommitted") if run.status == "committed" else run


def require_free_tag(repo: Repo, name: str) -> None:
    """Raise Conflict for a tag that is there, UsageError for what cannot name one."""
    from aq.pipeline.change.naming import refuse_hidden

    check_name(f"tag/{name}")
    refuse_hidden(repo, "tag", name)
    if f"tag/{name}" in repo.store.refs():
        raise Conflict(f"tag '{name}' is there already", hint=f"aq tag remove {name}")
