"""`switch` and `restore`: the folder follows a revision.

Invariant: work that is in no commit is never lost: `switch` refuses to overwrite it, `restore`
stores it first, and both leave it to `undo` in their operation. A copy (`-o`) goes by the same rule.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from aq.formats.artifacts import values
from aq.formats.errors import Conflict, NotFound, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import get_record
from aq.formats.records import Commit
from aq.pipeline.change import git
from aq.pipeline.change.finishing import finishing
from aq.pipeline.history.head import head
from aq.pipeline.look import show
from aq.pipeline.look.face import Artifact
from aq.pipeline.look.outputs import form_of
from aq.pipeline.records.results import Moved
from aq.store import revisions
from aq.store.commits import snapshots
from aq.store.commits.refs import Ref, check_name
from aq.store.commits.snapshots import Origin
from aq.store.folder.unfinished import carry_out
from aq.store.system.staging import Staging

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo


@finishing(alone=True)
def switch(repo: Repo, name: str, *, create: bool, code: bool, force: bool) -> Moved:
    """Go to a branch, new (`create`) or not, or to any other revision, detached."""
    refs = repo.store.refs()
    at = head(repo.store)
    full = f"branch/{name}"
    if create:
        return _create(repo, name)
    if full in refs:
        goal, target = refs[full], Ref(target=full)
    elif refs["HEAD"].target == full:
        return Moved(branch=name, head=None, notes=[f"already on {name}, which has no commit yet"])
    else:
        revision = _revision(repo, name)
        goal = target = Ref(id=revision.commit)
    root = revisions.resolve(repo.store, str(goal.id)).snapshot
    left = _left_to_git(repo, code=code)
    try:
        done = repo.worktree.prepare_checkout(at.snapshot, root, force=force, skip=left)
    except Conflict as error:
        hint = [*error.hints[:1], f"aq switch -f {quote(name)}"]
        raise Conflict(error.message, hint=hint) from None
    change = repo.transaction("switch", f"{at.branch or 'detached'} to {name}")
    change.set("HEAD", target, expect=refs["HEAD"])
    carry_out(repo.worktree, change, done)
    return Moved(
        branch=name if full in refs else None,
        head=str(goal.id),
        written=done.written,
        deleted=done.deleted,
        left=done.skipped,
        notes=_git_note(repo, goal.id, done.skipped),
    )


def _create(repo: Repo, name: str) -> Moved:
    """A new branch at HEAD: no file moves. Before the first commit the unborn branch is renamed."""
    from aq.pipeline.change.naming import refuse_hidden

    full = f"branch/{name}"
    check_name(full)
    refuse_hidden(repo, "branch", name)
    refs = repo.store.refs()
    if full in refs:
        raise Conflict(f"branch '{name}' is there already", hint=f"aq switch {name}")
    at = head(repo.store)
    change = repo.transaction("switch", f"create {name}")
    if at.id is not None:
        change.set(full, Ref(id=at.id), expect=None)
    change.set("HEAD", Ref(target=full), expect=refs["HEAD"])
    change.commit()
    return Moved(branch=name, head=str(at.id) if at.id else None)


def _revision(repo: Repo, name: str) -> revisions.Revision:
    try:
        revision = revisions.resolve(repo.store, name)
    except NotFound as error:
        raise NotFound(error.message, hint=[*error.hints[:1], *_creation(name)]) from None
    if revision.commit is None:
        raise UsageError(f"'{name}' is a run that no commit holds", hint=f"aq commit --run {name} -m MSG")
    return revision


def _creation(name: str) -> list[str]:
    """The command that makes a branch of this name, if there can be one."""
    try:
        check_name(f"branch/{name}")
    except UsageError:
        return []
    return [f"aq switch -c {quote(name)}"]


def _left_to_git(repo: Repo, *, code: bool) -> Callable[[str], bool] | None:
    """Which files Git looks after in this work tree; None where it looks after none."""
    theirs = frozenset() if code else git.tracked_files(repo.root)
    return theirs.__contains__ if theirs else None


def _git_note(repo: Repo, commit: Digest | None, left: Sequence[str]) -> list[str]:
    """What was left to Git, and the `git checkout` that brings it to where the commit was recorded."""
    if not left:
        return []
    recorded = get_record(repo.store, Commit, commit).git if commit is not None else None
    names = " ".join(quote(path) for path in left)
    if recorded is None:
        return [f"left to Git, at no commit of which this was recorded: {names}; --code moves it too"]
    return [f"left to Git; to move it too (or use --code): git checkout {recorded.commit[:12]} -- {names}"]


def restore(
    repo: Repo,
    paths: Sequence[str | Path],
    *,
    from_: str | None,
    output: str | Path | None,
    code: bool,
    force: bool,
) -> Moved:
    """See `Repo.restore`."""
    revision = revisions.resolve(repo.store, from_ or "HEAD")
    if output is not None:
        return _copy(repo, revision, paths, Path(output), force=force)
    return _restored(repo, revision, paths, code=code)


@finishing(alone=True)
def _restored(repo: Repo, revision: revisions.Revision, paths: Sequence[str | Path], *, code: bool) -> Moved:
    wanted = [repo.worktree.relative(path, repo.context.cwd) for path in paths]
    for path in wanted:
        _require_file(repo, revision, path)
    left = _left_to_git(repo, code=code)
    done = repo.worktree.prepare_restore(revision.snapshot, wanted, skip=left)
    if done.files is not None:
        change = repo.transaction("restore", f"{' '.join(wanted)} from {revision.text}")
        carry_out(repo.worktree, change, done)
    at = head(repo.store)
    notes = _git_note(repo, revision.commit, done.skipped)
    return Moved(
        branch=at.branch,
        head=str(at.id) if at.id else None,
        written=done.written,
        deleted=done.deleted,
        left=done.skipped,
        notes=notes,
    )


def _require_file(repo: Repo, revision: revisions.Revision, path: str) -> None:
    """Raise NotFound for what the revision lacks, UsageError for what is only in the store."""
    entry = snapshots.get_entry(repo.store, revision.snapshot, path)
    if entry is not None and entry.origin is Origin.FILE:
        return
    below = None
    prefix = "" if path in ("", ".") else path.rstrip("/") + "/"
    for name, found in snapshots.entries(repo.store, revision.snapshot, prefix=prefix):
        if found.origin is Origin.FILE:
            return
        below = below or name
    if entry is not None or below is not None:
        raise UsageError(
            f"{path} lies only in the store: give it a place with -o",
            hint=f"aq restore --from {revision.text} -o FILE {path if entry is not None else below}",
        )
    show.locate(repo.store, revision, path)


def _copy(
    repo: Repo, revision: revisions.Revision, paths: Sequence[str | Path], output: Path, *, force: bool
) -> Moved:
    """A copy in a file. One that is there is stored first; outside the folder, where no undo reaches, only
    `force` overwrites it.
    """
    if len(paths) != 1:
        raise UsageError("-o writes one path: name just one", hint="aq restore -o FILE PATH")
    target = output if output.is_absolute() else repo.context.cwd / output
    artifact = show.get(repo.store, f"{revision.text}:{paths[0]}")
    again = f"--from {revision.text} -o {{}} {quote(artifact.path)}"
    if target.is_dir():
        inside = quote(str(output / Path(artifact.path).name))
        raise UsageError(f"{output} is a folder", hint=f"aq restore {again.format(inside)}")
    is_inside = target.resolve().is_relative_to(repo.root.resolve())
    if target.resolve().is_relative_to(repo.store.control.resolve()):
        raise UsageError(f"{output} lies in {repo.store.control}", hint="aq restore --help")
    if is_inside and target.is_file():
        return _overwritten(repo, artifact, repo.worktree.relative(target, repo.context.cwd), output)
    if target.is_file() and not force and not _holds(target, artifact):
        hint = f"aq restore -f {again.format(quote(str(output)))}"
        raise Conflict(f"{output} is there, and lies where `aq undo` cannot bring it back", hint=hint)
    artifact.save(target)
    at = head(repo.store)
    return Moved(branch=at.branch, head=str(at.id) if at.id else None, written=[str(output)])


@finishing(alone=True)
def _overwritten(repo: Repo, artifact: Artifact, path: str, output: Path) -> Moved:
    """Write over a file of the folder, so that `undo` brings back what it was."""
    with Staging(os.fsencode(repo.store.control / "tmp"), b"restore") as staging:
        place = artifact.save(Path(os.fsdecode(staging.path), output.name))
        with place.open("rb") as stream:
            copy = values.encode_file(stream, None, repo.store).id
    done = repo.worktree.prepare_copy(path, copy)
    if done.files is not None:
        change = repo.transaction("restore", f"{artifact.path} from {artifact.revision} to {path}")
        carry_out(repo.worktree, change, done)
    at = head(repo.store)
    notes = ["nothing differs"] if done.files is None else []
    head_id = str(at.id) if at.id else None
    return Moved(branch=at.branch, head=head_id, written=done.written, notes=notes)


def _holds(target: Path, artifact: Artifact) -> bool:
    """Whether a file holds just what would be written into it."""
    with target.open("rb") as stream:
        same = all(
            stream.read(len(piece)) == piece for piece in artifact.chunks(form_of(artifact.record, target))
        )
        return same and not stream.read(1)
