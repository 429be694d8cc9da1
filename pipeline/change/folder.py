"""The folder: tracking its files, and comparing it with what is committed.

Invariant: looking (`status`, `diff`) stores nothing and imports no user code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from aq.formats import partitions
from aq.formats.errors import NotFound, UsageError
from aq.formats.objects import Overlay, get_record
from aq.formats.records import Run
from aq.pipeline.change import columnar
from aq.pipeline.change.finishing import finishing
from aq.pipeline.change.present import present, sources
from aq.pipeline.history import facts, freshness
from aq.pipeline.history.head import Head, head
from aq.pipeline.look import show
from aq.pipeline.look.compare import Side, compare, run_side
from aq.pipeline.records.results import Change, Diff, FlowStatus, Status, Tracked
from aq.store import revisions
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Entry, Origin
from aq.store.folder import unfinished
from aq.store.folder.unfinished import carry_out

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo


_NAMED: Final = 3


def add(repo: Repo, paths: Sequence[str | Path], *, force: bool) -> Tracked:
    """See `Repo.add`."""
    at = head(repo.store)
    wanted = [repo.worktree.relative(path, repo.context.cwd) for path in paths]
    _refuse_made(repo, at, wanted)
    change = repo.worktree.add(wanted, force=force)
    _refuse_made(repo, at, change.paths)
    if change.ref != change.expect:
        move = repo.transaction("add", " ".join(wanted))
        move.set("tracking", change.ref, expect=change.expect)
        move.commit()
    return Tracked(added=change.paths, notes=[*change.notes, *columnar.told_of_new(change.paths)])


def _refuse_made(repo: Repo, at: Head, wanted: Sequence[str]) -> None:
    """A file inside a flow's namespace would hide what the flow makes."""
    flows = {partitions.flow_of(space) for space in facts.of(repo.store, at.id).flows} if at.id else set()
    for path in wanted:
        flow = partitions.flow_of(path)
        if flow in flows:
            raise UsageError(
                f"{path} lies in {flow}/, which holds what the flow {flow} makes: move it elsewhere",
                hint=f"mv {path} {path.replace(flow, flow + '_files', 1)}",
            )


@finishing(alone=True)
def remove(repo: Repo, paths: Sequence[str | Path], *, delete: bool) -> Tracked:
    """See `Repo.remove`. A partition, or a given value, is dropped by a commit of its own."""
    at = head(repo.store)
    wanted = [repo.worktree.relative(path, repo.context.cwd) for path in paths]
    dropped = {path: _partitions(repo, at, path) for path in wanted if "=" in path or "*" in path}
    gone = [space for spaces in dropped.values() for space in spaces]
    if gone:
        _drop_partitions(repo, at, gone)
        at = head(repo.store)
        wanted = [path for path in wanted if not dropped.get(path)]
    given = [path for path in wanted if _origin(repo, at, path) is Origin.GIVEN]
    for path in wanted:
        if _origin(repo, at, path) is Origin.MADE:
            raise UsageError(f"{path} is made by a flow: it goes when its op goes", hint=f"aq lineage {path}")
    if given:
        _drop_given(repo, at, given)
    files = [path for path in wanted if path not in given]
    if not files:
        return Tracked(removed=[*gone, *given])
    move = repo.transaction("remove", " ".join(files))
    change = repo.worktree.remove(files, delete=delete, apply=False)
    move.set("tracking", change.ref, expect=change.expect)
    if change.rewrite is not None:
        carry_out(repo.worktree, move, change.rewrite)
    else:
        move.commit()
    return Tracked(removed=[*gone, *given, *change.paths], notes=change.notes)


def _partitions(repo: Repo, at: Head, path: str) -> list[str]:
    """The partitions of HEAD that a path means: one, those below it, or those of a pattern with *."""
    known = facts.of(repo.store, at.id).spaces() if at.id else []
    return [
        space
        for space in known
        if partitions.names(space)
        and (space == path or space.startswith(path + "/") or partitions.matches(space, path))
    ]


def _drop_partitions(repo: Repo, at: Head, spaces: Sequence[str]) -> None:
    """A commit without what was made in these partitions; its runs stay, and so do older commits."""
    edits: dict[str, Entry | None] = {
        path: None
        for space in spaces
        for path, entry in snapshots.entries(repo.store, at.snapshot, prefix=space + "/")
        if entry.origin is Origin.MADE
    }
    _commit_without(repo, at, edits, spaces)


def _origin(repo: Repo, at: Head, path: str) -> Origin | None:
    entry = snapshots.get_entry(repo.store, at.snapshot, path)
    return entry.origin if entry else None


def _drop_given(repo: Repo, at: Head, given: Sequence[str]) -> None:
    _commit_without(repo, at, dict.fromkeys(given), given)


def _commit_without(repo: Repo, at: Head, edits: Mapping[str, Entry | None], names: Sequence[str]) -> None:
    from aq.pipeline.change.recording import Proposal, record

    message = f"remove {', '.join(names[:_NAMED])}{' and more' if len(names) > _NAMED else ''}"
    proposal = Proposal(
        command="remove", base=at.snapshot, edits=edits, message=message, author=repo.author()
    )
    record(repo.store, repo.context, proposal)


def status(repo: Repo) -> Status:
    """See `Repo.status`."""
    at = head(repo.store)
    found = repo.worktree.status(at.snapshot)
    return Status(
        branch=at.branch,
        head=str(at.id) if at.id else None,
        changes=[Change(path=path, change=change) for path, change in found.changes],
        untracked=list(found.untracked),
        flows=flow_states(repo, at),
        notes=[*found.notes, *unfinished.warnings(repo.worktree)],
    )


def flow_states(repo: Repo, at: Head) -> list[FlowStatus]:
    """Each flow of HEAD and what of it is stale in the folder."""
    if at.id is None:
        return []
    states = []
    known = facts.of(repo.store, at.id)
    for space in known.spaces():
        if not facts.holds(repo.store, at.snapshot, space):
            continue
        run = get_record(repo.store, Run, known.flows[space])
        stale = freshness.stale_params(run, known.explicit(run))
        stale += freshness.stale_steps(repo.store, run, present(repo, sources(repo, at), run))
        inexact = any(not step.exact for step in stale)
        hint = "aq run -n" if inexact else None
        states.append(FlowStatus(flow=run.flow, partition=run.partition, stale=stale, hint=hint))
    return states


def diff(
    repo: Repo, a: str | None, b: str | None, wanted: Sequence[str | Path], output: str | Path | None
) -> Diff:
    """See `Repo.diff`."""
    store = repo.store
    paths = [repo.worktree.relative(path, repo.context.cwd) for path in wanted]
    if a is not None and b is None and ".." in a:
        first, second = revisions.resolve_range(store, a)
        before, after = _side(repo, first or second), _side(repo, second)
    elif a is not None and b is not None:
        before, after = _side(repo, revisions.resolve(store, a)), _side(repo, revisions.resolve(store, b))
    else:
        before = _side(repo, revisions.resolve(store, a)) if a is not None else _head_side(repo)
        after = _folder_side(repo, before)
    found = compare(store, before, after, paths)
    if paths and not found.paths:
        _require_known(repo, before, after, paths)
    if output is not None:
        from aq.pipeline.look import rowdiff

        range_ = f"{a}..{b}" if b is not None else a
        asked = " ".join(["aq diff", *([range_] if range_ else []), f"-o {output}"])
        written = rowdiff.save(before, after, paths, repo.context.cwd / output, asked)
        found = msgspec.structs.replace(found, written=written)
    return found


def _side(repo: Repo, revision: revisions.Revision) -> Side:
    if revision.commit is None:
        assert revision.run is not None
        base = get_record(repo.store, Run, revision.run).base
        return run_side(repo.store, revision.run, facts.of(repo.store, base) if base else facts.NONE)
    return Side(revision.commit, revision.snapshot, repo.store, facts.of(repo.store, revision.commit))


def _head_side(repo: Repo) -> Side:
    at = head(repo.store)
    return Side(at.id, at.snapshot, repo.store, facts.of(repo.store, at.id) if at.id else facts.NONE)


def _folder_side(repo: Repo, before: Side) -> Side:
    """The folder as it would be committed on top of `before`, in memory."""
    overlay = Overlay(repo.store)
    edits: Mapping[str, Entry | None] = repo.worktree.changes_into(before.root, overlay)
    root = snapshots.edit(overlay, before.root, edits)
    return Side(None, root, overlay, before.facts)


def _require_known(repo: Repo, before: Side, after: Side, paths: Sequence[str]) -> None:
    """Raise NotFound for a path that neither side has."""
    for path in paths:
        for side in (before, after):
            if path in ("", "."):
                break
            if snapshots.get_entry(side.source, side.root, path) is not None:
                break
            below = snapshots.entries(side.source, side.root, prefix=path.rstrip("/") + "/")
            if next(below, None) is not None:
                break
        else:
            text = str(before.id) if before.id else "HEAD"
            if before.id is None:
                raise NotFound(f"no path {path!r} here", hint="aq status")
            show.locate(repo.store, revisions.resolve(repo.store, text), path)
