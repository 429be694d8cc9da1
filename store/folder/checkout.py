"""Rewriting the folder: checkout, restore, undo, as one plan made before the first write.

Invariant: what lies in the folder and is not what the plan expects is a Conflict, or with force is
stored first; `Rewrite.files` holds both states of every path, so that undo is a rewrite too.
Snapshots are taken for hostile: every path is checked before anything is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence, Set
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from aq.formats.errors import Conflict, NotFound, UsageError
from aq.formats.identity import Digest
from aq.formats.trees.prolly import map_diff
from aq.store.commits import snapshots
from aq.store.commits.nearest import did_you_mean
from aq.store.commits.snapshots import Entry, Origin, PackedTouched
from aq.store.folder import second_writer
from aq.store.folder.content import clock_of
from aq.store.folder.filling import Piece
from aq.store.folder.folders import CONTROL_FOLDER
from aq.store.folder.materialize import Column, FolderWriter, Written
from aq.store.folder.plan import Plan, Step, require_no_twins, require_sound
from aq.store.folder.second import Helper
from aq.store.system.paths import decode, encode, from_user, show

if TYPE_CHECKING:
    from aq.store.folder.worktree import Worktree

_SHOWN: Final = 3
_LEARN_AT: Final = 65_536
"""Files whose stat is held in memory before it is written to the index."""
_COMMIT_FIRST: Final = "aq commit -m MSG"


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

    def __init__(self, work: Worktree, changes: dict[bytes, PackedTouched], skipped: list[str]) -> None:
        self._work, self._changes = work, sorted(changes.items())
        self._helper: Helper[Piece] | None = second_writer.start(
            sum(after is not None for _, after in changes.values())
        )
        self.skipped = skipped
        self.files = snapshots.build_touched(work.store, changes)
        self.written = [decode(path) for path, (_, after) in self._changes if after is not None]
        self.deleted = [decode(path) for path, (_, after) in self._changes if after is None]

    def apply(self) -> None:
        """Write and delete. Paths that are done stay done if a later one fails."""
        work = self._work
        removed = [path for path, (_, after) in self._changes if after is None]
        temporary = os.fsencode(work.store.control / "tmp")
        helper, self._helper = self._helper, None
        with FolderWriter(work.store, work.root, temporary, work.done.count, helper) as writer:
            self._remove(writer, removed)
            written: list[Written] = []
            for some in writer.write(_by_folder((path, after) for path, (_, after) in self._changes)):
                written += some
                if sum(len(each.names) for each in written) >= _LEARN_AT:
                    self._learn(written)
                    written = []
            self._learn(written)

    def _remove(self, writer: FolderWriter, removed: list[bytes]) -> None:
        gone: dict[bytes, list[bytes]] = {}
        for path in removed:
            folder, _, name = path.rpartition(b"/")
            gone.setdefault(folder, []).append(name)
        for folder, names in gone.items():
            writer.remove(folder, names)
        for folder in sorted(gone, reverse=True):
            writer.prune(folder)
        self._work.cache.forget(removed)

    def _learn(self, written: Iterable[Written]) -> None:
        """The files are known, unless their last change is so fresh that another could follow unseen."""
        now = clock_of(os.fspath(self._work.store.control / "tmp"))()
        for folder, names, stats, entries in written:
            self._work.cache.learn_many(folder, names, stats, entries, now)
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
        for path, old, new in map_diff(self._source, before, after):
            step = Step(path, _file(old), _file(new))
            if step.expected == step.after:
                continue
            if skip is not None and skip(decode(path)):
                skipped.append(decode(path))
            else:
                steps.append(step)
        return self._plan(steps, force=force, skipped=skipped, hints=[_COMMIT_FIRST, "aq switch -f BRANCH"])

    def at(self, root: Digest, chosen: Sequence[str], *, skip: Callable[[str], bool] | None) -> Rewrite:
        """See `Worktree.prepare_restore`. Tracked files of HEAD that `root` lacks are deleted."""
        found: dict[bytes, bytes | None] = {}
        for name in chosen:
            found |= self._chosen(root, name)
        skipped = [decode(path) for path in sorted(found) if skip(decode(path))] if skip else []
        for name in skipped:
            del found[encode(name)]
        steps = [Step(path, None, after) for path, after in sorted(found.items())]
        return self._plan(steps, force=True, skipped=skipped, hints=[])

    def one(self, path: str, artifact: Digest) -> Rewrite:
        """See `Worktree.prepare_copy`."""
        after = snapshots.pack(Entry(artifact, Origin.FILE))
        return self._plan([Step(encode(path), None, after)], force=True, skipped=[], hints=[])

    def back(self, files: Digest, *, force: bool) -> Rewrite:
        """See `Worktree.prepare_put_back`."""
        states = snapshots.touched(self._source, files)
        steps = [Step(path, after, before) for path, (before, after) in states]
        return self._plan(steps, force=force, skipped=[], hints=[_COMMIT_FIRST])

    def without(self, chosen: Sequence[bytes]) -> Rewrite:
        """Delete files."""
        return self._plan([Step(path, None, None) for path in chosen], force=True, skipped=[], hints=[])

    def export(self, root: Digest, folder: Path, chosen: Iterable[str] | None) -> None:
        """See `Worktree.export`."""
        found = {path: _file(value) for path, value in snapshots.packed_entries(self._source, root)}
        if chosen is not None:
            found = {encode(path): found.get(encode(path)) for path in chosen}
            for path, entry in found.items():
                if entry is None:
                    raise NotFound(f"no file {show(decode(path))} in this snapshot")
        target = os.fsencode(folder)
        require_sound(target, [Step(path, None, entry) for path, entry in found.items()])
        with FolderWriter(self._source, target, target) as writer:
            for _ in writer.write(_by_folder(sorted(found.items()))):
                pass

    def _chosen(self, root: Digest, name: str) -> dict[bytes, bytes | None]:
        """The files at and below a path, in `root` or in HEAD, as in `root`. Raises NotFound, UsageError."""
        place = from_user(name)
        found: dict[bytes, bytes | None] = {}
        if root != self._work.head():
            for keys, _ in snapshots.file_runs(self._source, self._work.head(), place):
                found.update(zip(keys, repeat(None)))
        for keys, values in snapshots.file_runs(self._source, root, place):
            found.update(zip(keys, values, strict=True))
        if found or not place:
            return found
        if snapshots.get_entry(self._source, root, name) is not None:
            raise UsageError(f"{show(name)} lies only in the store", hint=f"aq restore -o FILE {show(name)}")
        known = (decode(path) for path, _ in snapshots.packed_entries(self._source, root))
        raise NotFound(f"no path {show(name)}{did_you_mean(name, known)}", hint="aq ls")

    def _plan(self, steps: list[Step], *, force: bool, skipped: list[str], hints: list[str]) -> Rewrite:
        require_sound(self._work.root, steps)
        if os.path.lexists(os.path.join(self._work.root, CONTROL_FOLDER.upper())):
            require_no_twins(steps)
        plan = Plan(self._work, steps, force=force)
        changes = plan.made()
        if plan.conflicts:
            untracked = {step.path for step in steps if step.expected is None}
            raise _conflict(sorted(plan.conflicts), hints, untracked)
        return Rewrite(self._work, changes, skipped)


def _by_folder(files: Iterable[tuple[bytes, bytes | None]]) -> dict[bytes, Column]:
    """Folder → names and entries of the files to be written in it."""
    found: dict[bytes, Column] = {}
    for path, entry in files:
        if entry is not None:
            folder, _, name = path.rpartition(b"/")
            column = found.get(folder)
            if column is None:
                column = found[folder] = [], []
            column[0].append(name)
            column[1].append(entry)
    return found


def _file(entry: bytes | None) -> bytes | None:
    """The packed entry if it is of a tracked file: others do not lie in the folder. Raises Damaged."""
    if entry is None or snapshots.is_file(entry):
        return entry
    snapshots.unpack(entry)
    return None


def _conflict(found: Sequence[bytes], hints: Sequence[str], untracked: Set[bytes]) -> Conflict:
    from shlex import quote

    if new := [quote(decode(path)) for path in found if path in untracked]:
        which = " ".join(new) if len(new) <= _SHOWN else "."
        hints = [one.replace("aq commit", f"aq add {which} && aq commit") for one in hints]
    names = ", ".join(show(decode(path)) for path in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return Conflict(f"this would overwrite what is in no commit: {names}{more}", hint=hints)
