"""What a rewrite of the folder meets there: both states of each path, and what is in the way.

Invariant: nothing is written into the folder here. Content that no snapshot holds and that is to be
overwritten is stored, with force, or named as a conflict; steps are taken for hostile until checked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterator, Sequence
from contextlib import closing
from stat import S_ISLNK, S_ISREG
from typing import TYPE_CHECKING, Final, NamedTuple

from aq.formats.errors import AqError, Damaged
from aq.store.commits.snapshots import PackedTouched, pack
from aq.store.folder.content import stat_of
from aq.store.folder.folders import CONTROL_FOLDER, is_real_folder, join
from aq.store.folder.statcache import known
from aq.store.system.footing import Footing
from aq.store.system.paths import PART_MOST, ancestors, decode, problem, show, twins
from aq.store.system.stats import pack_stat

if TYPE_CHECKING:
    from aq.store.folder.worktree import Worktree

_FEW: Final = 8
_PATH_MOST: Final = 4_095
_odd = re.compile(rb"/[^A-Za-z0-9_=,+@-]").search  # where a part begins, or two slashes meet


class Step(NamedTuple):
    """One path: what is expected to lie there and what shall, as packed entries; None is no file."""

    path: bytes
    expected: bytes | None
    after: bytes | None


class _Here(NamedTuple):
    """A step whose path has a file: its packed stat, and its packed entry as far as it is known."""

    step: Step
    stat: bytes
    entry: bytes | None


class Plan:
    """The steps against what lies in the folder."""

    def __init__(self, work: Worktree, steps: Sequence[Step], *, force: bool) -> None:
        self._work, self._force = work, force
        self._groups: dict[bytes, list[Step]] = {}
        for step in steps:
            self._groups.setdefault(step.path.rpartition(b"/")[0], []).append(step)
        self._removed = {step.path for step in steps if step.after is None}
        self._folders: dict[bytes, bool] = {b"": True}
        self._changes: dict[bytes, PackedTouched] = {}
        self.conflicts: set[bytes] = set()

    def made(self) -> dict[bytes, PackedTouched]:
        """Both states of every path that is to change; what is in the way goes to `conflicts`."""
        with closing(Footing(self._work.root)) as footing:
            for folder, steps in sorted(self._groups.items()):
                fd = footing.find(folder)
                if fd is not None:
                    self._in_folder(fd, folder, steps)
                    continue
                new = [step for step in steps if step.after is not None]
                if new:
                    self._clear_above(folder)
                self._changes.update((step.path, (None, step.after)) for step in new)
        return self._changes

    def _in_folder(self, fd: int, folder: bytes, steps: list[Step]) -> None:
        found = list(self._files(fd, folder, steps))
        safe = self._stored(found)
        for step, stat, entry in found:
            current = entry
            if current is None:
                read = self._work.current_at(step.path, stat)
                current = None if read is None else pack(read)
            self._meet(step, current, safe)

    def _stored(self, found: Sequence[_Here]) -> set[bytes]:
        """Known entries that are to be overwritten, as far as their content is in the store already."""
        if not self._force:
            return set()
        wanted = {entry for step, _, entry in found if entry is not None and entry not in step[1:]}
        with self._work.store.index.look() as look:
            return {entry for entry in wanted if look.get("objects", entry[3:35]) is not None}

    def _files(self, fd: int, folder: bytes, steps: list[Step]) -> Iterator[_Here]:
        """The steps with a file at their path; the others are dealt with at once."""
        cache = self._work.cache
        rows = cache.folder(folder) if len(steps) > _FEW else None
        cut = len(folder) + 1 if folder else 0
        for step in steps:
            name = step.path[cut:]
            try:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                self._meet(step, None)
                continue
            except OSError as error:
                raise AqError(f"{show(decode(step.path))} cannot be read: {error.strerror}") from error
            if not (S_ISREG(found.st_mode) or S_ISLNK(found.st_mode)):
                if step.after is not None:
                    self._clear_below(step.path)
                self._meet(step, None)
                continue
            stat = pack_stat(found)
            entry = cache.entry(step.path, stat) if rows is None else known(rows.get(name, b""), stat)
            yield _Here(step, stat, entry)

    def _meet(self, step: Step, current: bytes | None, safe: Container[bytes] = ()) -> None:
        """Note what lies there; stored, if it is neither `safe` nor a state that the step knows."""
        if current is not None and current not in step[1:] and current not in safe:
            current = self._keep(step.path)
        if current != step.after:
            self._changes[step.path] = current, step.after

    def _keep(self, path: bytes) -> bytes | None:
        """Store what is about to be overwritten, or note the conflict."""
        if not self._force:
            self.conflicts.add(path)
            return None
        entry = self._work.current(path, self._work.store)
        return None if entry is None else pack(entry)

    def _is_folder(self, folder: bytes) -> bool:
        """Whether a folder is one, and all above it too: no file, no link."""
        known = self._folders.get(folder)
        if known is None:
            known = self._is_folder(folder.rpartition(b"/")[0]) and is_real_folder(self._work.root, folder)
            self._folders[folder] = known
        return known

    def _clear_above(self, needed: bytes) -> None:
        """A file or link where a folder is needed goes, if the plan says so or with force."""
        for folder in (needed, *ancestors(needed)):
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
            self._changes[path] = before, None


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


def require_sound(root: bytes, steps: Sequence[Step]) -> None:
    """Refuse what a hostile snapshot may hold, before anything is written below `root`. Raises Damaged."""
    paths = [step.path for step in steps if step.after is not None]
    files = set(paths)
    for path in _doubtful(paths, _PATH_MOST - len(root)):
        _require_harmless(root, path)
    folders = {path.rpartition(b"/")[0]: path for path in paths}
    for folder, path in folders.items():
        if folder:
            _require_harmless(root, path)
            if folder in files or not files.isdisjoint(ancestors(folder)):
                raise Damaged(f"the snapshot holds {show(decode(path))} below a file: nothing is written")


def _doubtful(paths: Sequence[bytes], longest: int) -> list[bytes]:
    """Those that are due to a closer look. Mostly there are none, which is seen from all of them at once."""
    most = min(longest, PART_MOST)

    def is_doubtful(path: bytes) -> bool:
        return len(path) >= most or b"\0" in path or _odd(b"/%b/" % path) is not None

    joined = b"/%b/" % b"/".join(paths)
    if max(map(len, paths), default=0) < most and b"\0" not in joined and not _odd(joined):
        return []
    return [path for path in paths if is_doubtful(path)]


def _require_harmless(root: bytes, path: bytes) -> None:
    """Raise Damaged on a path that a sound snapshot does not hold, AqError on one that has no place here."""
    reason = problem(path)
    if reason:
        raise Damaged(f"the snapshot holds a path {show(decode(path))} that {reason}: nothing is written")
    if len(root) + len(path) >= _PATH_MOST:
        raise AqError(f"{show(decode(path))} is too long for this file system: nothing is written")


def require_no_twins(steps: Sequence[Step]) -> None:
    """On a file system that ignores case: refuse paths that would overwrite each other. Raises Damaged."""
    found = twins(step.path for step in steps if step.after is not None)
    if found is not None:
        first, second = (show(decode(path)) for path in found)
        raise Damaged(f"{first} and {second} have one name on this file system: nothing is written")
