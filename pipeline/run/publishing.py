"""The end of a command that ran flows: one commit of those that passed, and what is said of each.

Invariant: the branch moves once, or not at all; runs that no commit holds are named in the operation log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aq.formats.errors import Conflict
from aq.formats.identity import Digest
from aq.formats.partitions import flow_of
from aq.formats.records import Run
from aq.pipeline.change.recording import Proposal, record
from aq.pipeline.history.head import Head
from aq.pipeline.records.outcomes import RunDone
from aq.pipeline.run import ended
from aq.pipeline.run.selecting import Job
from aq.pipeline.step.execution import Execution
from aq.store.commits.refs import check_name
from aq.store.commits.snapshots import Entry

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo
    from aq.pipeline.run.running import Request


@dataclass(slots=True)
class Outcome:
    """One flow's run: its record, what it would commit, and how it ended."""

    job: Job
    run: Run
    execution: Execution
    edits: dict[str, Entry | None]
    id: Digest


def publish(repo: Repo, request: Request, at: Head, outcomes: Sequence[Outcome]) -> list[RunDone]:
    """One commit of the flows that passed, and one operation that names the other runs."""
    passed = [one for one in outcomes if one.run.status == "committed"]
    others = [one for one in outcomes if one.run.status != "committed"]
    commit = None
    if passed:
        edits = {path: entry for one in passed for path, entry in one.edits.items()}
        message = request.message or ended.messages([one.run for one in passed])
        proposal = Proposal(
            command="run",
            base=at.snapshot,
            edits=edits,
            message=message,
            author=repo.author(),
            runs=[one.id for one in passed],
            git=passed[0].run.git,
            tags=[request.tag] if request.tag else [],
            ref=at.ref,
        )
        try:
            recorded = record(repo.store, repo.context, proposal)
        except Conflict:
            register(repo, outcomes)
            raise
        commit = str(recorded.id) if recorded else None
    if others:
        register(repo, others)
    commits = {"committed": commit, "unchanged": str(at.id) if at.id else None}
    last = {one.job.name: one.id for one in outcomes}
    return [
        ended.done(
            one.id,
            one.run,
            commits.get(one.run.status),
            [*_notes(request, one), *rested(request.rest, one.job.name, last=one.id == last[one.job.name])],
        )
        for one in outcomes
    ]


def _notes(request: Request, one: Outcome) -> list[str]:
    """What the steps noted, and the params that were taken over from the last run."""
    return [*kept(request, one.job), *one.execution.notes]


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


def register(repo: Repo, outcomes: Sequence[Outcome]) -> None:
    """Name runs that no commit holds in the operation log, so that they can be found."""
    names = ", ".join(f"{one.job.space}: {one.run.status}" for one in outcomes)
    change = repo.transaction("run", names)
    for one in outcomes:
        change.add_run(one.id)
    change.commit()


def require_free_tag(repo: Repo, name: str) -> None:
    """Raise Conflict for a tag that is there, UsageError for what cannot name one."""
    from aq.pipeline.change.naming import refuse_hidden

    check_name(f"tag/{name}")
    refuse_hidden(repo, "tag", name)
    if f"tag/{name}" in repo.store.refs():
        raise Conflict(f"tag '{name}' is there already", hint=f"aq tag remove {name}")
