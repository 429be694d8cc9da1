"""One ordered pass over the folder beside HEAD's snapshot: what is not known to be unchanged.

Invariant: both are walked in the order of path bytes, so that neither is held in memory; a file
whose stat and entry are in the stat cache costs one lstat. Nothing is read, written or followed.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator
from stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from typing import NamedTuple

from aq.formats.objects import Source
from aq.store.content import stat_of
from aq.store.folders import CONTROL_FOLDER, SPECIAL, is_real_folder, join, list_folder
from aq.store.ignore import CONTROL, Scope, Scopes, holds_data, is_environment
from aq.store.paths import decode, show
from aq.store.snapshots import is_file, packed_entries
from aq.store.statcache import StatCache, known, pack_stat
from aq.store.tracking import ADD, FORCE, Rule, Tracking


class Found(NamedTuple):
    """A path that may differ from HEAD. `stat` is None where no file lies there or it is not tracked.

    `head`: HEAD's packed entry, None if it has none. `entry`: what the stat cache knows it holds.
    """

    path: bytes
    head: bytes | None
    stat: bytes | None
    entry: bytes | None


class _Run(NamedTuple):
    """Neighbouring files of one folder, with the cache's rows for it."""

    folder: bytes
    scope: Scope
    names: list[bytes]
    stats: list[bytes]
    cache: dict[bytes, bytes]


class _Head:
    """The tracked files of HEAD in order, with a look ahead."""

    def __init__(self, source: Source, root: bytes, prefix: bytes, values: set[bytes]) -> None:
        self._items = _files(packed_entries(source, root, prefix=prefix), values)
        self._ahead = next(self._items, None)

    def until(self, last: bytes) -> dict[bytes, bytes]:
        """Take the entries up to a path."""
        taken: dict[bytes, bytes] = {}
        ahead = self._ahead
        if ahead is None or ahead[0] > last:
            return taken
        taken[ahead[0]] = ahead[1]
        for item in self._items:
            if item[0] > last:
                self._ahead = item
                return taken
            taken[item[0]] = item[1]
        self._ahead = None
        return taken

    def is_in(self, folder: bytes) -> bool:
        """Whether the entry ahead lies in a folder."""
        return self._ahead is not None and self._ahead[0].startswith(folder + b"/")

    def rest(self) -> dict[bytes, bytes]:
        """Take everything that is left."""
        taken = dict([self._ahead]) if self._ahead else {}
        taken.update(self._items)
        return taken


def _files(entries: Iterator[tuple[bytes, bytes]], values: set[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """The tracked files among entries; the paths of the others go to `values`."""
    for item in entries:
        if is_file(item[1]):
            yield item
        else:
            values.add(item[0])


class Scan:
    """The pass. Iterate `found()`; afterwards the lists are filled.

    `untracked`: paths and folders (ending in a slash); `notes`: what was skipped, and why; `gone`: paths
    that the stat cache need not know any more; `values`: HEAD's paths that are made or given.
    """

    def __init__(
        self,
        source: Source,
        head: bytes,
        root: bytes,
        cache: StatCache,
        tracking: Tracking,
        *,
        untracked: bool,
    ) -> None:
        self._source, self._head_root, self._root = source, head, root
        self._cache, self._tracking, self._wants_untracked = cache, tracking, untracked
        self._scopes = Scopes(root)
        self._real_folders: dict[bytes, bool] = {b"": True}
        self.untracked: list[bytes] = []
        self.notes: list[str] = []
        self.gone: list[bytes] = []
        self.values: set[bytes] = set()

    def found(self, path: bytes = b"") -> Iterator[Found]:
        """Paths at and below `path` that are not known to hold HEAD's content, roughly in order."""
        self._head = _Head(self._source, self._head_root, path, self.values)
        missing: dict[bytes, bytes] = {}
        above, _, name = path.rpartition(b"/")
        stat = stat_of(os.path.join(self._root, path)) if path else None
        if stat is not None:
            row = self._cache.row(path)
            rows = {} if row is None else {name: row}
            yield from self._run(_Run(above, self._scopes.at(above), [name], [stat], rows), missing)
        elif os.path.isdir(os.path.join(self._root, path)):
            yield from self._walk(path, missing)
        missing |= self._head.rest()
        for place, head in missing.items():
            yield from self._unseen(place, head)

    def _walk(self, start: bytes, missing: dict[bytes, bytes]) -> Iterator[Found]:
        """Everything in a folder, in order; HEAD's entries that were passed by go to `missing`."""
        scope = self._scopes.at(start)
        stack: list[_Run | tuple[bytes, Scope]] = list(reversed(self._list(start, scope)))
        while stack:
            item = stack.pop()
            if isinstance(item, _Run):
                yield from self._run(item, missing)
                continue
            folder, scope = item
            missing |= self._head.until(folder + b"/")
            entered = self._entered(folder, scope)
            if entered is not None:
                stack.extend(reversed(self._list(folder, entered)))

    def _entered(self, folder: bytes, scope: Scope) -> Scope | None:
        """The rules inside a folder, or None if nothing in it can be tracked."""
        name = folder.rpartition(b"/")[2]
        if name in CONTROL:
            return None
        rule, below = self._tracking.rule(folder), self._tracking.has_below(folder)
        if scope.ignores(folder, name, is_folder=True):
            return scope.darkened() if below or rule == FORCE else None
        if rule in (ADD, FORCE) or below or self._head.is_in(folder):
            return scope
        if self._wants_untracked and holds_data(folder, scope):
            self.untracked.append(folder + b"/")
        return None

    def _list(self, folder: bytes, scope: Scope) -> list[_Run | tuple[bytes, Scope]]:
        """The runs of files and the folders directly in a folder, in the order of their paths."""
        names = list_folder(os.path.join(self._root, folder))
        if folder and CONTROL_FOLDER in names:
            self.notes.append(f"{show(decode(folder))} is a repository of its own: skipped")
            return []
        if folder and is_environment(names) and not scope.allows_environment(folder):
            if self._tracking.rule(folder) != FORCE and not self._tracking.has_below(folder):
                return []
            scope = scope.darkened()
        scope = scope.within(folder, names)
        files, folders = self._stats(folder, names)
        cache = self._cache.folder(folder)
        if len(cache) > len(files):
            self.gone += [join(folder, name) for name in cache if name not in files]
        if not folders:
            return [_Run(folder, scope, list(files), list(files.values()), cache)] if files else []
        return list(_ordered(folder, scope, files, folders, cache))

    def _stats(self, folder: bytes, names: list[bytes]) -> tuple[dict[bytes, bytes], list[bytes]]:
        """Files with their packed stats, in order, and folders."""
        files: dict[bytes, bytes] = {}
        folders: list[bytes] = []
        start, lstat = os.path.join(self._root, folder, b""), os.lstat
        for name in sorted(names):
            try:
                found = lstat(start + name)
            except FileNotFoundError:
                continue
            kind = S_IFMT(found.st_mode)
            if kind in (S_IFREG, S_IFLNK):
                files[name] = pack_stat(found)
            elif kind == S_IFDIR:
                folders.append(name)
            else:
                self.notes.append(
                    f"{show(decode(join(folder, name)))} is {SPECIAL.get(kind, 'no file')}: skipped"
                )
        return files, folders

    def _run(self, run: _Run, missing: dict[bytes, bytes]) -> Iterator[Found]:
        start = run.folder + b"/" if run.folder else b""
        head, cache, scope = self._head.until(start + run.names[-1]), run.cache, run.scope
        rules = self._tracking
        single = not rules.has_below(run.folder)
        rule = rules.rule(run.folder)
        for name, stat in zip(run.names, run.stats, strict=True):
            path = start + name
            value, row = head.pop(path, None), cache.get(name)
            if value is not None and row == stat + value and rule is None and single:
                continue
            entry = known(row, stat) if row is not None else None
            yield from self._file(
                Found(path, value, stat, entry), scope, rule if single else rules.rule(path)
            )
        missing |= head

    def _file(self, found: Found, scope: Scope | None, rule: Rule | None) -> Iterator[Found]:
        """What one file of the folder means: `scope` is None if it cannot be untracked."""
        path, head, _stat, entry = found
        if rule == FORCE or (rule is None and head is not None):
            if head is None or entry != head:
                yield found
            return
        ignored = scope is None or scope.ignores(path, path.rpartition(b"/")[2], is_folder=False)
        if rule == ADD:
            if (head is not None or not ignored) and (head is None or entry != head):
                yield found
            return
        if head is not None:
            yield Found(path, head, None, None)
        if self._wants_untracked and not ignored:
            self.untracked.append(path)

    def _unseen(self, path: bytes, head: bytes) -> Iterator[Found]:
        """A tracked path that the walk did not meet: removed, or in a folder that is ignored."""
        stat = stat_of(os.path.join(self._root, path)) if self._is_real(path.rpartition(b"/")[0]) else None
        if stat is None:
            self.gone.append(path)
            yield Found(path, head, None, None)
        else:
            found = Found(path, head, stat, self._cache.entry(path, stat))
            yield from self._file(found, None, self._tracking.rule(path))

    def _is_real(self, folder: bytes) -> bool:
        """Whether a folder is reached without following a symbolic link."""
        real = self._real_folders.get(folder)
        if real is None:
            real = self._is_real(folder.rpartition(b"/")[0]) and is_real_folder(self._root, folder)
            self._real_folders[folder] = real
        return real


def _ordered(
    folder: bytes, scope: Scope, files: dict[bytes, bytes], folders: list[bytes], cache: dict[bytes, bytes]
) -> Iterator[_Run | tuple[bytes, Scope]]:
    """Runs of files between the folders, as the slash behind a folder's name sorts it."""
    names = list(files)
    begin = 0
    for name in sorted(folders, key=lambda name: name + b"/"):
        end = bisect_left(names, name + b"/", begin)
        if end > begin:
            some = names[begin:end]
            yield _Run(folder, scope, some, [files[each] for each in some], cache)
        begin = end
        yield join(folder, name), scope
    if begin < len(names):
        some = names[begin:]
        yield _Run(folder, scope, some, [files[each] for each in some], cache)
