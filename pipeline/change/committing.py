"""The three ways to commit: the folder's tracked paths, values from Python, the results of a run.

Invariant: each makes a proposal of edits against HEAD's snapshot and hands it to
`pipeline.change.recording`; nothing else moves a branch forward.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aq.formats.errors import NotFound, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import Like, get_record
from aq.formats.partitions import flow_of
from aq.formats.records import Artifact, Commit, Run
from aq.formats.trees.prolly import map_diff
from aq.pipeline.change import columnar, git
from aq.pipeline.change.finishing import finishing
from aq.pipeline.change.recording import Proposal, Recorded, Taken, record
from aq.pipeline.flow.partitions import of_run
from aq.pipeline.history import facts, freshness
from aq.pipeline.history.head import Head, head
from aq.pipeline.records import times
from aq.pipeline.records.results import ByteCounts, CommitResult, PathCounts
from aq.store import revisions
from aq.store.commits import snapshots
from aq.store.commits.refs import TRACKING, Ref
from aq.store.commits.snapshots import Entry, Mode, Origin
from aq.store.system import paths as path_rules
from msgspec.structs import replace

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo

Edits = dict[str, Entry | None]


@finishing(alone=False)
def folder(
    repo: Repo, paths: Sequence[str | Path] | None, message: str | None, time: str | int | None
) -> CommitResult:
    """Snapshot the tracked paths, or only some of them."""
    before = repo.store.new_bytes()
    at = head(repo.store)
    wanted = None if paths is None else [repo.worktree.relative(p, repo.context.cwd) for p in paths]
    rules = repo.store.refs().get(TRACKING) if wanted is None else None
    root, tally = repo.worktree.take(at.snapshot, paths=wanted)
    text = message or _default(path for path, _, _ in map_diff(repo.store, at.snapshot, root))
    done = _propose(repo, at, Taken(root, tally), text, time, before, followed=rules)
    notes = columnar.told_of_changed(repo.store, at.snapshot, root, done.bytes.new)
    return replace(done, notes=[*done.notes, *notes]) if notes else done


def values(
    repo: Repo,
    given: Mapping[str, Any],
    message: str | None,
    keys: Mapping[str, Sequence[str]],
    time: str | int | None,
) -> CommitResult:
    """Commit exactly these values on top of HEAD. `keys`: the columns that identify a table's rows."""
    before = repo.store.new_bytes()
    unnamed = [path for path in given if not isinstance(path, str)]
    if unnamed:
        raise UsageError(f"the path of a value is a text, not {unnamed[0]!r}")
    unknown = sorted(set(keys) - set(given))
    if unknown:
        raise UsageError(f"keys= names '{unknown[0]}', which is not among the values")
    at = head(repo.store)
    edits: Edits = {path: _given(repo, at, path, value, keys.get(path, ())) for path, value in given.items()}
    changed: Edits = {
        path: entry
        for path, entry in edits.items()
        if snapshots.get_entry(repo.store, at.snapshot, path) != entry
    }
    metrics = [path for path, entry in edits.items() if _is_metric(repo, entry)]
    text = message or _default(map(path_rules.encode, edits))
    return _propose(repo, at, changed, text, time, before, given=metrics)


def _is_metric(repo: Repo, entry: Entry | None) -> bool:
    return entry is not None and get_record(repo.store, Artifact, entry.artifact).format == "metric"


def _given(repo: Repo, at: Head, path: str, value: object, key: Sequence[str]) -> Entry:
    from aq.formats.artifacts import values as codec

    path_rules.check(path)
    present = snapshots.get_entry(repo.store, at.snapshot, path)
    if present is not None and present.origin is not Origin.GIVEN:
        what = "a tracked file" if present.origin is Origin.FILE else "made by a flow"
        raise UsageError(f"{path} is {what}: choose another path for the value")
    flow = flow_of(path)
    if at.id and flow in map(flow_of, facts.of(repo.store, at.id).flows):
        raise UsageError(
            f"{path} lies in {flow}/, which holds what the flow {flow} makes: choose another path"
        )
    like = Like(get_record(repo.store, Artifact, present.artifact), repo.store) if present else None
    encoded = codec.encode(value, repo.store, key=key, at=f"value '{path}'", like=like)
    repo.store.put_summary(encoded.id, encoded.summary)
    return Entry(encoded.id, Origin.GIVEN, None, Mode.FILE)


def adopt(repo: Repo, run: str, message: str | None, time: str | int | None) -> CommitResult:
    """Commit what a gated, failed or uncommitted run would have committed."""
    before = repo.store.new_bytes()
    revision = revisions.resolve(repo.store, run)
    if revision.run is None:
        raise NotFound(f"'{run}' is no run", hint="aq runs")
    found = get_record(repo.store, Run, revision.run)
    if found.status == "failed":
        raise UsageError(f"run {run} failed: there is nothing whole to commit", hint=f"aq show {run}")
    base = snapshots.empty(repo.store)
    if found.base is not None:
        base = Digest(get_record(repo.store, Commit, found.base).snapshot)
    edits = {path: after for path, _, after in snapshots.changes(repo.store, base, found.snapshot)}
    at = Head(None, None, None, base)
    text = message or f"adopt run {revision.run.short()} of {of_run(found)}"
    adopted = [*_beside(repo, found, base), (revision.run, found)]
    runs = [id for id, one in adopted if not _is_newest(repo, one, id)]
    return _propose(repo, at, edits, text, time, before, runs=runs)


def _beside(repo: Repo, run: Run, base: Digest) -> list[tuple[Digest, Run]]:
    """The runs of other flows, begun at the same commit, whose uncommitted results a run holds; in order."""
    found: dict[str, tuple[Digest, Run]] = {}
    for id in repo.store.runs():
        one = get_record(repo.store, Run, id)
        space = of_run(one)
        if one.time > run.time or space == of_run(run) or space in found:
            continue
        if one.base != run.base:
            break
        is_open, made = one.status in ("uncommitted", "gated"), freshness.made_paths_match
        if is_open and made(repo.store, one, run.snapshot) and not made(repo.store, one, base):
            found[space] = id, one
    return list(found.values())[::-1]


def _is_newest(repo: Repo, run: Run, id: Digest) -> bool:
    """Whether HEAD's results of a flow, or partition, come from this run, or one that it only repeated."""
    at, space = head(repo.store), of_run(run)
    newest = facts.of(repo.store, at.id).flows.get(space) if at.id is not None else None
    if newest is None or newest == id:
        return newest == id
    last = get_record(repo.store, Run, newest)
    repeated = run.status == "unchanged" and (run.params, run.given) == (last.params, last.given)
    return repeated and freshness.made_paths_match(repo.store, run, at.snapshot)


def _propose(
    repo: Repo,
    at: Head,
    edits: Mapping[str, Entry | None] | Taken,
    message: str,
    time: str | int | None,
    before: int,
    *,
    followed: Ref | None = None,
    runs: Sequence[Digest] = (),
    given: Sequence[str] = (),
) -> CommitResult:
    proposal = Proposal(
        command="commit",
        base=at.snapshot,
        edits=edits,
        message=message,
        author=repo.author(),
        runs=runs,
        given=given,
        git=git.state(repo.root),
        time=times.parse(time) if isinstance(time, str) else time,
        followed=followed,
        ref=at.ref if at.branch or at.id else None,
    )
    recorded = record(repo.store, repo.context, proposal)
    if recorded is None:
        raise UsageError("nothing to commit: no path is tracked yet", hint="aq add .")
    return result(repo, recorded, before)


def result(repo: Repo, recorded: Recorded, before: int) -> CommitResult:
    """What `commit` answers. `before`: bytes that this process had stored when the commit began."""
    commit, known = recorded.commit, recorded.facts
    counts = PathCounts(added=known.added, changed=known.changed, removed=known.removed)
    return CommitResult(
        id=str(recorded.id),
        parents=[bytes(parent).hex() for parent in commit.parents],
        message=commit.message,
        author=commit.author,
        time=times.text(commit.time),
        paths=counts if recorded.created else PathCounts(),
        bytes=ByteCounts(new=repo.store.new_bytes() - before, total=known.total),
        created=recorded.created,
        branch=head(repo.store).branch,
    )


def _default(paths: Iterable[bytes]) -> str:
    """A message for a commit from Python that gave none, by the paths that it changes."""
    changed = sorted(paths)
    if not changed:
        return "no changes"
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    return f"update {path_rules.decode(changed[0])}{more}"
