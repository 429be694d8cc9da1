"""`merge`: bring what another revision changed into the current branch.

Invariant: refs, merged snapshot and folder move together or not at all; there is no half-merged
state: a merge with conflicts changes nothing and is made again with answers. Work in the folder that
is in no commit is never overwritten. What a merge is, path by path, is `store.commits.merge`'s matter, and
inside a path that of `merge_inside`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from aq.formats.errors import Conflict, NotFound, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import Overlay, get_record, put_record
from aq.formats.partitions import space_of
from aq.formats.records import Commit, Run
from aq.pipeline.change import git
from aq.pipeline.change.finishing import finishing
from aq.pipeline.change.merge_inside import Inside
from aq.pipeline.change.recording import require_text
from aq.pipeline.history import facts, freshness
from aq.pipeline.history.head import Head, head
from aq.pipeline.records.results import InsideConflict, MergeConflict, Merged, PathCounts
from aq.store import revisions
from aq.store.commits import history, merge as three_way, snapshots
from aq.store.commits.merge import Answers, Merge, PathConflict, Side
from aq.store.commits.refs import Ref
from aq.store.commits.snapshots import Entry
from aq.store.folder.unfinished import carry_out
from aq.store.store import Store
from aq.store.system.paths import encode, link_above, show

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo
    from aq.store.folder.checkout import Rewrite

_SHOWN = 3


@finishing(alone=True)
def merge(
    repo: Repo, rev: str, *, message: str | None, answers: Mapping[str, Sequence[str | Path]], code: bool
) -> Merged:
    """See `Repo.merge`."""
    store = repo.store
    at, other = head(store), _other(store, rev)
    assert other.id is not None
    sides = _by_path(repo, answers)
    bases = history.merge_bases(store, at.id, other.id) if at.id is not None else []
    if other.id in bases:
        return Merged(status="unchanged", id=str(at.id), branch=at.branch)
    if at.id is None or at.id in bases:
        _require_used(sides, [], rev)
        return _forward(repo, rev, at, other, code=code)
    overlay = Overlay(store)
    below = Inside(store, overlay)
    base = three_way.common_base(overlay, bases, below)
    flows = _flows(store, at, other, bases)
    inside = Inside(store, below)
    found = three_way.merge(
        overlay,
        base,
        at.snapshot,
        other.snapshot,
        answers=Answers(sides, _looker(repo)),
        made=lambda path: space_of(path) in flows.taken,
        inside=inside,
    )
    _require_used(sides, [*found.open, *found.settled], rev)
    if found.open:
        raise _conflict(repo, at, rev, found, sides, inside)
    inside.hand_over()
    text = message or f"merge {rev} into {at.branch or 'HEAD'}"
    require_text(text)
    return _commit(repo, text, at, other, found, flows, code=code)


def _other(store: Store, rev: str) -> Head:
    """The side that is merged in. Raises UsageError for a run that no commit holds."""
    revision = revisions.resolve(store, rev)
    if revision.commit is None:
        raise UsageError(f"'{rev}' is a run that no commit holds", hint=f"aq commit --run {rev} -m MSG")
    return Head(None, revision.commit, get_record(store, Commit, revision.commit), revision.snapshot)


# Answers


def _by_path(repo: Repo, answers: Mapping[str, Sequence[str | Path]]) -> dict[str, Side]:
    found: dict[str, Side] = {}
    for side, paths in answers.items():
        for path in (repo.worktree.relative(one, repo.context.cwd) for one in paths):
            if found.setdefault(path, Side(side)) != side:
                raise UsageError(f"{show(path) or '.'} is given to --{found[path]} and to --{side}")
    return found


def _require_used(sides: Mapping[str, Side], met: Sequence[PathConflict], rev: str) -> None:
    """Raise for an answer to what is no conflict: it is mistyped, or would be ignored."""
    for path in sides:
        if not any(not path or f"{one.path}/".startswith(f"{path}/") for one in met):
            name = show(path) or "."
            raise NotFound(f"{name} is no conflict of this merge", hint=f"aq merge {quote(rev)}")


def _looker(repo: Repo) -> Callable[[str], Entry | None]:
    """Stores what lies in the folder; nothing lies behind a symbolic link."""

    def look(path: str) -> Entry | None:
        raw = encode(path)
        if link_above(repo.worktree.root, raw) is not None:
            return None
        return repo.worktree.current(raw, repo.store)

    repo.worktree.begin()
    return look


def _conflict(
    repo: Repo, at: Head, rev: str, found: Merge, sides: Mapping[str, Side], inside: Inside
) -> Conflict:
    """The error that lists what is open. Its hint repeats the answers given, since nothing remembers them."""
    paths = [one.path for one in found.open]
    names = ", ".join(show(path) for path in paths[:_SHOWN])
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    first = _typed(repo, paths[0])
    given = "".join(f" --{side} {_typed(repo, path)}" for path, side in sides.items())
    error = Conflict(
        f"both sides changed {names}{more}; nothing was merged",
        hint=[
            _declaring(found.open, inside) or f"aq diff HEAD..{quote(rev)} -- {first}",
            f"aq merge {quote(rev)}{given} --theirs {first}",
        ],
    )
    error.result = Merged(
        status="conflict",
        id=str(at.id),
        branch=at.branch,
        conflicts=[_told(one, inside.clashes.get(one.path, [])) for one in found.open],
        settled=len(found.settled),
    )
    return error


def _declaring(open: Sequence[PathConflict], inside: Inside) -> str:
    """What declares a key for the tables that have none, but a column that could be one."""
    keys = {
        one.path: [clash.column]
        for one in open
        for clash in inside.clashes.get(one.path, [])
        if clash.kind == "key" and clash.column is not None
    }
    if not keys:
        return ""
    values = ", ".join(f"{path!r}: repo.get({path!r}).load()" for path in keys)
    code = f"import aq; repo = aq.open(); repo.commit({{{values}}}, keys={keys!r}, message='declare keys')"
    return f"python -c {quote(code)}"


def _typed(repo: Repo, path: str) -> str:
    """A path as one would type it in the working directory."""
    return quote(os.path.relpath(repo.root / path, repo.context.cwd))


def _told(conflict: PathConflict, clashes: list[InsideConflict]) -> MergeConflict:
    base, ours, theirs = (None if one is None else str(one.artifact) for one in conflict.states)
    if base == str(three_way.NEITHER.artifact):
        base = None
    return MergeConflict(
        path=conflict.path, kind=conflict.kind, ours=ours, theirs=theirs, base=base, inside=clashes
    )


# Flows


@dataclass(frozen=True, slots=True)
class _Flows:
    """The newest run of each flow after the merge; which of them are theirs; params that were combined.

    `waiting`: flows that have not run with their params yet.
    """

    runs: dict[str, bytes]
    waiting: set[str] = field(default_factory=set)
    taken: dict[str, bytes] = field(default_factory=dict)
    params: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def _flows(store: Store, at: Head, other: Head, bases: Sequence[bytes]) -> _Flows:
    """Whose results stand, each flow's as a whole: the side's that ran it since the base, or ours."""
    assert at.id is not None and other.id is not None
    ours, theirs = facts.of(store, at.id), facts.of(store, other.id)
    before = [facts.of(store, id) for id in sorted(bases)]
    merged = _Flows(dict(ours.flows), {*ours.params})
    for flow, run in sorted(theirs.flows.items()):
        mine, old = ours.flows.get(flow), {known.flows.get(flow) for known in before}
        if mine is None or (mine in old and run not in old):
            merged.runs[flow] = merged.taken[flow] = run
        explicit = [_explicit(store, known, flow) for known in (*before[:1], ours, theirs)]
        if mine is not None:
            combined = _params(flow, explicit[0] if before else {}, explicit[-2], explicit[-1], merged.notes)
        else:
            combined = explicit[-1]
        record = get_record(store, Run, merged.runs[flow])
        if combined != (record.given if flow in merged.taken else ours.explicit(record)):
            merged.params[flow] = combined
        (merged.waiting.discard if combined == record.given else merged.waiting.add)(flow)
    return merged


def _explicit(store: Store, known: facts.Facts, flow: str) -> dict[str, str]:
    run = known.flows.get(flow)
    return known.explicit(get_record(store, Run, run)) if run is not None else {}


def _params(
    flow: str, base: Mapping[str, str], ours: Mapping[str, str], theirs: Mapping[str, str], notes: list[str]
) -> dict[str, str]:
    """Params by name, as paths are merged; where both sides set one differently, ours stays and is noted."""
    found = {}
    for name in sorted({*ours, *theirs}):
        old, mine, other = base.get(name), ours.get(name), theirs.get(name)
        value = other if mine == old else mine
        if value is not None:
            found[name] = value
        if len({old, mine, other}) == 3:
            notes.append(
                f"{flow}: {name} stays {mine or 'its default'}, theirs is {other or 'the default'}:"
                f" aq run -p {name}={quote(other) if other else ''}"
            )
    return found


# Moving


def _forward(repo: Repo, rev: str, at: Head, other: Head, *, code: bool) -> Merged:
    """The branch has nothing of its own: it moves to the other commit."""
    assert other.id is not None and other.commit is not None
    done = _moved(repo, rev, at, other.id, other.snapshot, code=code)
    counts = {"added": 0, "changed": 0, "removed": 0}
    for _, old, new in snapshots.changes(repo.store, at.snapshot, other.snapshot):
        counts["added" if old is None else "removed" if new is None else "changed"] += 1
    return Merged(
        status="fast-forward",
        id=str(other.id),
        branch=at.branch,
        parents=[bytes(parent).hex() for parent in other.commit.parents],
        message=other.commit.message,
        paths=PathCounts(**counts),
        written=done.written,
        deleted=done.deleted,
        left=done.skipped,
        notes=_git_note(done.skipped),
    )


def _commit(
    repo: Repo, message: str, at: Head, other: Head, found: Merge, flows: _Flows, *, code: bool
) -> Merged:
    """A commit with both parents. Raises Conflict where the folder is in the way or the branch moved."""
    assert at.id is not None and at.commit is not None and other.id is not None and other.commit is not None
    store = repo.store
    snapshot = snapshots.edit(store, at.snapshot, found.edits)
    time = max(repo.context.now(), at.commit.time, other.commit.time)
    commit = Commit(
        snapshot=snapshot,
        time=time,
        offset=repo.context.offset(time),
        author=repo.author(),
        message=message,
        parents=[at.id, other.id],
        runs=list(flows.taken.values()),
        current=freshness.current_after(
            store, [at, other], snapshot, flows.runs, flows.waiting, repo.context.environ
        ),
        params=flows.params,
        git=git.state(repo.root),
    )
    id = put_record(store, commit)
    known = facts.derive(store, commit, facts.of(store, at.id))
    facts.save(store, id, known)
    done = _moved(repo, message.partition("\n")[0], at, id, snapshot, code=code)
    return Merged(
        status="merged",
        id=str(id),
        branch=at.branch,
        parents=[str(at.id), str(other.id)],
        message=message,
        paths=PathCounts(added=known.added, changed=known.changed, removed=known.removed),
        settled=len(found.settled),
        written=done.written,
        deleted=done.deleted,
        left=done.skipped,
        stale=sorted({*at.commit.current, *other.commit.current} - {*commit.current}),
        notes=[*flows.notes, *_git_note(done.skipped)],
    )


def _moved(repo: Repo, description: str, at: Head, id: Digest, snapshot: Digest, *, code: bool) -> Rewrite:
    """Move the branch and the folder in one operation."""
    theirs = frozenset() if code else git.tracked_files(repo.root)
    try:
        done = repo.worktree.prepare_checkout(
            at.snapshot, snapshot, skip=theirs.__contains__ if theirs else None
        )
    except Conflict as error:
        raise Conflict(error.message, hint=error.hints[:1]) from None
    change = repo.transaction("merge", description)
    change.set(at.ref, Ref(id=id), expect=Ref(id=at.id) if at.id is not None else None)
    if at.branch:
        change.set("HEAD", Ref(target=at.ref), expect=Ref(target=at.ref))
    carry_out(repo.worktree, change, done)
    return done


def _git_note(left: Sequence[str]) -> list[str]:
    if not left:
        return []
    names = " ".join(quote(path) for path in left)
    return [f"left to Git: merge there too, or: aq restore --code {names}"]
