"""Rewriting the folder: checkout, restore, undo, as one plan made before the first write.

Invariant: what lies in the folder and is not what the plan expects is a Conflict, or with force is
stored first; `Rewrite.files` holds both states of every path, so that undo is a rewrite too.
Snapshots are taken for hostile: every path is checked before anything is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from aq.formats.errors import Conflict, Damaged, NotFound, UsageError
from aq.formats.identity import Digest
from aq.store import snapshots
from aq.store.content import clock_of, stat_of
from aq.store.folders import CONTROL_FOLDER, is_real_folder, join
from aq.store.materialize import FolderWriter, Written, require_harmless
from aq.store.nearest import did_you_mean
from aq.store.paths import ancestors, decode, encode, from_user, show, twins
from aq.store.snapshots import Entry, Origin, Touched
from aq.store.statcache import size_of

if TYPE_CHECKING:
    from aq.store.worktree import Worktree

_SHOWN = 3
_COMMIT_FIRST = "aq commit -m MSG"


class Step(NamedTuple):
    """One path: what is expected to lie there, and what shall lie there; None is no file."""

    path: bytes
    expected: Entry | None
    after: Entry | None


class PutBack(NamedTuple):
    """What taking back files did: the map of both states, the paths written and deleted."""

    files: Digest | None
    written: list[str]
    deleted: list[str]


class Rewrite:
    """A plan, checked and with everything that it overwrites in the store (durable after a flush).

    `files`: for the operation's field of that name, None where nothing changes. `skipped`: paths left alone
    at the caller's wish. Call `apply` after the operation that names `files` is durable.
    """

    def __init__(self, work: Worktree, changes: dict[bytes, Touched], skipped: list[str]) -> None:
        self._work, self._changes = work, changes
        self.skipped = skipped
        self.files = snapshots.build_touched(work.store, changes)
        self.written = [decode(path) for path in sorted(changes) if changes[path].after is not None]
        self.deleted = [decode(path) for path in sorted(changes) if changes[path].after is None]

    def apply(self) -> None:
        """Write and delete. Paths that are done stay done if a later one fails."""
        work = self._work
        temporary = os.fsencode(work.store.control / "tmp")
        writer = FolderWriter(work.store, work.root, temporary)
        removed = [path for path, change in self._changes.items() if change.after is None]
        for path in sorted(removed):
            writer.remove(path)
        for folder in sorted({path.rpartition(b"/")[0] for path in removed}, reverse=True):
            writer.prune(folder)
        work.cache.forget(removed)
        written = []
        for path in sorted(self._changes):
            after = self._changes[path].after
            if after is not None and (done := writer.write(path, after)):
                written.append(done)
                work.done.count(1, size_of(done.stat))
        self._learn(written)

    def _learn(self, written: Iterable[Written]) -> None:
        """The files are known, unless their last change is so fresh that another could follow unseen."""
        now = clock_of(os.fspath(self._work.store.control / "tmp"))()
        for path, seen, entry in written:
            self._work.cache.learn(path, seen, snapshots.pack(entry), now)
        self._work.keep_cache()


class Rewriter:
    """Makes plans for one folder."""

    def __init__(self, work: Worktree) -> None:
        self._work = work
        self._source = work.store
        work.begin()

    def between(
        self, before: Digest, after: Digest, *, force: bool, skip: Callable[[str], bool] | None
    ) -> Rewrite:
        """See `Worktree.prepare_checkout`."""
        steps, skipped = [], []
        for path, old, new in snapshots.changes(self._source, before, after):
            step = Step(encode(path), _file(old), _file(new))
            if step.expected == step.after:
                continue
            if skip is not None and skip(path):
                skipped.append(path)
            else:
                steps.append(step)
        return self._plan(steps, force=force, skipped=skipped, hints=[_COMMIT_FIRST, "aq switch -f BRANCH"])

    def at(self, root: Digest, chosen: Sequence[str], *, skip: Callable[[str], bool] | None) -> Rewrite:
        """See `Worktree.prepare_restore`. Tracked files of HEAD that `root` lacks are deleted."""
        steps, skipped = [], []
        for path in sorted({path for name in chosen for path in self._chosen(root, name)}):
            if skip is not None and skip(decode(path)):
                skipped.append(decode(path))
            else:
                steps.append(Step(path, None, self._file_at(root, path)))
        return self._plan(steps, force=True, skipped=skipped, hints=[])

    def back(self, files: Digest, *, force: bool) -> Rewrite:
        """See `Worktree.prepare_put_back`."""
        states = snapshots.touched(self._source, files)
        steps = [Step(path, state.after, state.before) for path, state in states]
        return self._plan(steps, force=force, skipped=[], hints=[_COMMIT_FIRST])

    def without(self, chosen: Sequence[bytes]) -> Rewrite:
        """Delete files."""
        return self._plan([Step(path, None, None) for path in chosen], force=True, skipped=[], hints=[])

    def export(self, root: Digest, folder: Path, chosen: Iterable[str] | None) -> None:
        """See `Worktree.export`."""
        steps = []
        if chosen is None:
            found = snapshots.entries(self._source, root)
            steps = [Step(encode(path), None, entry) for path, entry in found if entry.origin is Origin.FILE]
        else:
            for path in chosen:
                entry = self._file_at(root, encode(path))
                if entry is None:
                    raise NotFound(f"no file {show(path)} in this snapshot")
                steps.append(Step(encode(path), None, entry))
        _require_sound(steps)
        writer = FolderWriter(self._source, os.fsencode(folder), os.fsencode(folder))
        for step in steps:
            if step.after is not None:
                writer.write(step.path, step.after)

    def _file_at(self, root: Digest, path: bytes) -> Entry | None:
        return _file(snapshots.get_entry(self._source, root, decode(path)))

    def _chosen(self, root: Digest, name: str) -> set[bytes]:
        """The files at and below a path, in `root` or in HEAD. Raises NotFound, UsageError."""
        place = from_user(name)
        found = set()
        for snapshot in (root, self._work.head()):
            entries = snapshots.packed_entries(self._source, snapshot, prefix=place)
            found |= {path for path, value in entries if snapshots.is_file(value)}
        if found or not place:
            return found
        if snapshots.get_entry(self._source, root, name) is not None:
            raise UsageError(f"{show(name)} lies only in the store", hint=f"aq restore -o FILE {show(name)}")
        known = (decode(path) for path, _ in snapshots.packed_entries(self._source, root))
        raise NotFound(f"no path {show(name)}{did_you_mean(name, known)}", hint="aq ls")

    def _plan(self, steps: list[Step], *, force: bool, skipped: list[str], hints: list[str]) -> Rewrite:
        _require_sound(steps)
        if os.path.lexists(os.path.join(self._work.root, CONTROL_FOLDER.upper())):
            _require_no_twins(steps)
        plan = _Plan(self._work, steps, force=force)
        changes = plan.made()
        if plan.conflicts:
            raise _conflict(sorted(plan.conflicts), hints)
        return Rewrite(self._work, changes, skipped)


class _Plan:
    """The steps against what lies in the folder."""

    def __init__(self, work: Worktree, steps: list[Step], *, force: bool) -> None:
        self._work, self._steps, self._force = work, steps, force
        self._removed = {step.path for step in steps if step.after is None}
        self._folders: dict[bytes, bool] = {b"": True}
        self._changes: dict[bytes, Touched] = {}
        self.conflicts: set[bytes] = set()

    def made(self) -> dict[bytes, Touched]:
        """Both states of every path that is to change; what is in the way goes to `conflicts`."""
        for step in self._steps:
            current = self._current(step)
            if current != step.after:
                self._changes[step.path] = Touched(current, step.after)
        return self._changes

    def _current(self, step: Step) -> Entry | None:
        """What lies there; stored, if it is neither of the two states that the step knows."""
        path = step.path
        if not self._is_folder(path.rpartition(b"/")[0]):
            if step.after is not None:
                self._clear_above(path)
            return None
        full = os.path.join(self._work.root, path)
        stat = stat_of(full)
        if stat is None:
            if step.after is not None and os.path.lexists(full):
                self._clear_below(path)
            return None
        current = self._work.current_at(path, stat)
        if current is None or current in (step.expected, step.after):
            return current
        return self._keep(path)

    def _keep(self, path: bytes) -> Entry | None:
        """Store what is about to be overwritten, or note the conflict."""
        if not self._force:
            self.conflicts.add(path)
            return None
        return self._work.current(path, self._work.store)

    def _is_folder(self, folder: bytes) -> bool:
        """Whether a folder is one, and all above it too: no file, no link."""
        known = self._folders.get(folder)
        if known is None:
            known = self._is_folder(folder.rpartition(b"/")[0]) and is_real_folder(self._work.root, folder)
            self._folders[folder] = known
        return known

    def _clear_above(self, path: bytes) -> None:
        """A file or link where a folder is needed goes, if the plan says so or with force."""
        for folder in ancestors(path):
            if self._is_folder(folder):
                return
            if folder in self._removed or folder in self._changes:
                continue
            if not self._is_folder(folder.rpartition(b"/")[0]):
                continue
            full = os.path.join(self._work.root, folder)
            if stat_of(full) is not None:
                self._drop(folder)
            elif os.path.lexists(full):
                self.conflicts.add(folder)

    def _clear_below(self, path: bytes) -> None:
        """A folder where a file is needed goes, if everything in it does; nothing else may lie there."""
        if not self._is_folder(path):
            self.conflicts.add(path)
            return
        for inside, is_file in _everything(self._work.root, path):
            if inside in self._removed or inside in self._changes:
                continue
            if is_file and CONTROL_FOLDER not in inside.split(b"/"):
                self._drop(inside)
            else:
                self.conflicts.add(inside)

    def _drop(self, path: bytes) -> None:
        before = self._keep(path)
        if before is not None:
            self._changes[path] = Touched(before, None)


def _everything(root: bytes, folder: bytes) -> Iterator[tuple[bytes, bool]]:
    """All that is no folder at any depth, and whether it is a file or link."""
    stack = [folder]
    while stack:
        place = stack.pop()
        for entry in os.scandir(os.path.join(root, place)):
            path = join(place, entry.name)
            if entry.is_dir(follow_symlinks=False):
                stack.append(path)
            else:
                yield path, entry.is_symlink() or entry.is_file(follow_symlinks=False)


def _file(entry: Entry | None) -> Entry | None:
    """The entry if it is of a tracked file: others do not lie in the folder."""
    return entry if entry is not None and entry.origin is Origin.FILE else None


def _require_sound(steps: Sequence[Step]) -> None:
    """Refuse what a hostile snapshot may hold, before anything is written. Raises Damaged."""
    files = {step.path for step in steps if step.after is not None}
    for path in files:
        require_harmless(path)
        for folder in ancestors(path):
            if folder in files:
                raise Damaged(f"the snapshot holds {show(decode(path))} below a file: nothing is written")


def _require_no_twins(steps: Sequence[Step]) -> None:
    """On a file system that ignores case: refuse paths that would overwrite each other. Raises Damaged."""
    found = twins(step.path for step in steps if step.after is not None)
    if found is not None:
        first, second = (show(decode(path)) for path in found)
        raise Damaged(f"{first} and {second} have one name on this file system: nothing is written")


def _conflict(found: Sequence[bytes], hints: Sequence[str]) -> Conflict:
    names = ", ".join(show(decode(path)) for path in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return Conflict(f"this would overwrite what is in no commit: {names}{more}", hint=hints)
