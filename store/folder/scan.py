"""One ordered pass over the folder beside HEAD's snapshot: what is not known to be unchanged.

Invariant: both are walked in the order of path bytes, a few thousand files at a time, so that neither is
held in memory; a file whose stat and entry are in the stat cache costs one lstat, and neighbours that are
all unchanged one comparison. Nothing is read, written or followed.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterator
from functools import partial
from typing import Final, NamedTuple

from aq.formats.objects import Source
from aq.formats.trees.prolly import map_count, map_get, map_runs
from aq.store.commits.snapshots import are_files, is_file
from aq.store.folder.content import stat_of
from aq.store.folder.folders import (
    CONTROL_FOLDER,
    SPECIAL,
    Listed,
    is_real_folder,
    join,
    kinds_in,
    list_folder,
    listed_of,
    stats_beside,
    stats_in,
)
from aq.store.folder.ignore import CONTROL, Scope, Scopes, holds_data, is_environment
from aq.store.folder.statcache import StatCache, known
from aq.store.folder.tracking import ADD, FORCE, REMOVE, Rule, Tracking
from aq.store.frames.statblocks import ENTRY_SIZE, Rows, differing, joined
from aq.store.system import lookahead
from aq.store.system.lookahead import Lookahead
from aq.store.system.paths import decode, show
from aq.store.system.stats import STAT_SIZE

_RUN: Final = 4_096


class Found(NamedTuple):
    """A path that may differ from HEAD. `stat` is None where no file lies there or it is not tracked.

    `head`: HEAD's packed entry, None if it has none. `entry`: what the stat cache knows it holds.
    """

    path: bytes
    head: bytes | None
    stat: bytes | None
    entry: bytes | None


class Batch(NamedTuple):
    """Paths directly in one folder, in order."""

    folder: bytes
    found: list[Found]


class _Run(NamedTuple):
    """Neighbouring files of one folder, with the cache's rows about them."""

    folder: bytes
    scope: Scope
    names: list[bytes]
    stats: list[bytes]
    known: Rows


class _Head:
    """The tracked files of HEAD in order, with a look ahead."""

    def __init__(self, source: Source, root: bytes, prefix: bytes, values: set[bytes]) -> None:
        self._others = values
        self._runs = _runs(source, root, prefix)
        self._keys: list[bytes] = []
        self._values: list[bytes] = []
        self._at = 0
        self._fill()

    def _fill(self) -> None:
        """Have an entry ahead, unless there are no more."""
        while self._at == len(self._keys):
            run = next(self._runs, None)
            if run is None:
                return
            self._at = 0
            self._keys, self._values = run if are_files(run[1]) else self._files(*run)

    def _files(self, keys: list[bytes], values: list[bytes]) -> tuple[list[bytes], list[bytes]]:
        """The tracked files among entries; the paths of the others are noted."""
        kept = [number for number, value in enumerate(values) if is_file(value)]
        self._others.update(key for key, value in zip(keys, values, strict=True) if not is_file(value))
        return [keys[number] for number in kept], [values[number] for number in kept]

    def until(self, last: bytes | None) -> tuple[list[bytes], list[bytes]]:
        """Take paths and entries up to a path, or (None) all that are left."""
        keys: list[bytes] = []
        values: list[bytes] = []
        while self._at < len(self._keys):
            end = len(self._keys) if last is None else bisect_right(self._keys, last, self._at)
            keys += self._keys[self._at : end]
            values += self._values[self._at : end]
            self._at = end
            if end < len(self._keys):
                break
            self._fill()
        return keys, values

    def is_in(self, folder: bytes) -> bool:
        """Whether the entry ahead lies in a folder."""
        return self._at < len(self._keys) and self._keys[self._at].startswith(folder + b"/")


def _runs(source: Source, root: bytes, prefix: bytes) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Entries at and below a path, a node at a time."""
    if prefix:
        own = map_get(source, root, prefix)
        if own is not None:
            yield [prefix], [own]
        prefix += b"/"
    yield from map_runs(source, root, prefix=prefix)


class Scan:
    """The pass. Iterate `batches()` or `found()`; afterwards the lists are filled.

    Without `cache` every tracked path is found, and `stat` says only whether there is a file.
    `untracked`: paths and folders (ending in a slash); `notes`: what was skipped, and why; `gone`: paths
    that the stat cache need not know any more; `values`: HEAD's paths that are made or given.
    """

    def __init__(
        self,
        source: Source,
        head: bytes,
        root: bytes,
        cache: StatCache | None,
        tracking: Tracking,
        *,
        untracked: bool,
    ) -> None:
        self._source, self._head_root, self._root = source, head, root
        self._cache, self._tracking, self._wants_untracked = cache, tracking, untracked
        self._scopes = Scopes(root)
        self._real_folders: dict[bytes, bool] = {b"": True}
        self._ahead: Lookahead | None = None
        self.untracked: list[bytes] = []
        self.notes: list[str] = []
        self.gone: list[bytes] = []
        self.values: set[bytes] = set()

    def found(self, path: bytes = b"") -> Iterator[Found]:
        """Paths at and below `path` that are not known to hold HEAD's content, roughly in order."""
        for batch in self.batches(path):
            yield from batch.found

    def batches(self, path: bytes = b"") -> Iterator[Batch]:
        """As `found`, a few thousand neighbours at a time."""
        self._head = _Head(self._source, self._head_root, path, self.values)
        missing: dict[bytes, bytes] = {}
        above, _, name = path.rpartition(b"/")
        stat = stat_of(os.path.join(self._root, path)) if path else None
        if stat is not None:
            row = None if self._cache is None else self._cache.row(path)
            rows = Rows(b"", [], b"", b"") if row is None else joined(b"", [(name, row)])
            yield from self._run(_Run(above, self._scopes.at(above), [name], [stat], rows), missing)
        elif os.path.isdir(os.path.join(self._root, path)):
            yield from self._walk_in_two(path, missing)
        missing.update(zip(*self._head.until(None), strict=True))
        for place, head in missing.items():
            yield from self._unseen(place, head)

    def _walk_in_two(self, start: bytes, missing: dict[bytes, bytes]) -> Iterator[Batch]:
        """As `_walk`, with a second process ahead where there are many files."""
        if self._cache is not None and not start:
            self._ahead = lookahead.start(self._root, map_count(self._source, self._head_root))
        try:
            yield from self._walk(start, missing)
        finally:
            if self._ahead is not None:
                self._ahead.close()
                self._ahead = None

    def _walk(self, start: bytes, missing: dict[bytes, bytes]) -> Iterator[Batch]:
        """Everything in a folder, in order; HEAD's entries that were passed by go to `missing`."""
        scope = self._scopes.at(start)
        stack: list[Iterator[_Run | tuple[bytes, Scope]]] = [self._list(start, scope)]
        while stack:
            item = next(stack[-1], None)
            if item is None:
                stack.pop()
            elif isinstance(item, _Run):
                yield from self._run(item, missing)
            else:
                folder, scope = item
                missing.update(zip(*self._head.until(folder + b"/"), strict=True))
                entered = self._entered(folder, scope)
                if entered is not None:
                    stack.append(self._list(folder, entered))

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

    def _list(self, folder: bytes, scope: Scope) -> Iterator[_Run | tuple[bytes, Scope]]:
        """The runs of files and the folders directly in a folder, in the order of their paths."""
        full = os.path.join(self._root, folder)
        seen = None if self._ahead is None else self._ahead.whole(folder)
        names = list_folder(full) if seen is None else seen.names
        if folder and CONTROL_FOLDER in names:
            self.notes.append(f"{show(decode(folder))} is a repository of its own: skipped")
            return
        if folder and is_environment(names) and not scope.allows_environment(folder):
            if self._tracking.rule(folder) != FORCE and not self._tracking.has_below(folder):
                return
            scope = scope.darkened()
        scope = scope.within(folder, names)
        files, stats, folders, others = self._kinds(folder, names) if seen is None else listed_of(seen)
        for name, kind in others:
            what = SPECIAL.get(kind, "no file")
            self.notes.append(f"{show(decode(join(folder, name)))} is {what}: skipped")
        rows = self._known(folder, files)
        begin = 0
        for name in sorted(folders, key=lambda name: name + b"/"):
            end = bisect_left(files, name + b"/", begin)
            yield from _sliced(_Run(folder, scope, files, stats, rows), begin, end)
            begin = end
            yield join(folder, name), scope
        yield from _sliced(_Run(folder, scope, files, stats, rows), begin, len(files))

    def _kinds(self, folder: bytes, names: list[bytes]) -> Listed:
        """What the names in a folder are; with their stats, where there is a cache to compare them with."""
        full = os.path.join(self._root, folder)
        if self._cache is None:
            return kinds_in(full)
        if self._ahead is None:
            return stats_in(full, sorted(names))
        return stats_beside(full, sorted(names), partial(self._ahead.tail, folder))

    def _known(self, folder: bytes, files: list[bytes]) -> Rows:
        """What the cache knows of a folder, by ascending name; files that are gone are noted."""
        if self._cache is None:
            return Rows(b"", [], b"", b"")
        rows = self._cache.rows_in(folder)
        if rows.names == files:
            return rows
        each = dict(rows.each())
        self.gone += [join(folder, name) for name in each.keys() - set(files)]
        return joined(b"", sorted(each.items()))

    def _run(self, run: _Run, missing: dict[bytes, bytes]) -> Iterator[Batch]:
        start = run.folder + b"/" if run.folder else b""
        keys, values = self._head.until(start + run.names[-1])
        rules = self._tracking
        rule, same = rules.rule(run.folder), not rules.has_below(run.folder)
        if rule is None and same and _is_aligned(run, start, keys):
            found = list(_touched(run, keys, values))
        else:
            found = self._compared(run, start, dict(zip(keys, values, strict=True)), missing)
        if found:
            yield Batch(run.folder, found)

    def _compared(
        self, run: _Run, start: bytes, head: dict[bytes, bytes], missing: dict[bytes, bytes]
    ) -> list[Found]:
        """The files of a run file by file; entries of HEAD that are about none of them go to `missing`."""
        rules, cache = self._tracking, dict(run.known.each())
        rule, same = rules.rule(run.folder), not rules.has_below(run.folder)
        ignored = run.scope.ignored(run.folder, run.names)
        if same and rule == ADD and not head and not cache:  # all of them are new: the first commit
            files = zip(run.names, run.stats, strict=True)
            return [Found(start + name, None, stat, None) for name, stat in files if name not in ignored]
        found: list[Found] = []
        for name, stat in zip(run.names, run.stats, strict=True):
            path = start + name
            value, row = head.pop(path, None), cache.get(name)
            if value is not None and rule is None and same and row == stat + value:
                continue
            entry = None if row is None else known(row, stat)
            one = Found(path, value, stat, entry)
            kept = self._file(one, rule if same else rules.rule(path), name, ignored)
            if kept is not None:
                found.append(kept)
        missing.update(head)
        return found

    def _file(self, found: Found, rule: Rule | None, name: bytes, ignored: Container[bytes]) -> Found | None:
        """What one file of the folder means; None if it is as in HEAD, or not tracked."""
        head = found.head
        if rule == FORCE or (head is not None and rule != REMOVE):
            return None if head is not None and found.entry == head else found
        if rule == ADD:
            return None if name in ignored else found
        if self._wants_untracked and name not in ignored:
            self.untracked.append(found.path)
        return None if head is None else Found(found.path, head, None, None)

    def _unseen(self, path: bytes, head: bytes) -> Iterator[Batch]:
        """A tracked path that the walk did not meet: removed, or in a folder that is ignored."""
        folder, _, name = path.rpartition(b"/")
        stat = stat_of(os.path.join(self._root, path)) if self._is_real(folder) else None
        if stat is None:
            self.gone.append(path)
            found: Found | None = Found(path, head, None, None)
        else:
            entry = None if self._cache is None else self._cache.entry(path, stat)
            found = self._file(Found(path, head, stat, entry), self._tracking.rule(path), name, (name,))
        if found is not None:
            yield Batch(folder, [found])

    def _is_real(self, folder: bytes) -> bool:
        """Whether a folder is reached without following a symbolic link."""
        real = self._real_folders.get(folder)
        if real is None:
            real = self._is_real(folder.rpartition(b"/")[0]) and is_real_folder(self._root, folder)
            self._real_folders[folder] = real
        return real


def _is_aligned(run: _Run, start: bytes, keys: list[bytes]) -> bool:
    """Whether the folder, HEAD and the cache have exactly the same files."""
    names = run.names
    return len(keys) == len(names) and run.known.names == names and keys == [start + name for name in names]


def _touched(run: _Run, keys: list[bytes], values: list[bytes]) -> Iterator[Found]:
    """The files of an aligned run that are not known to hold what HEAD says."""
    rows = run.known
    stats = differing(rows.stats, b"".join(run.stats), STAT_SIZE)
    for at in sorted({*stats, *differing(rows.entries, b"".join(values), ENTRY_SIZE)}):
        yield Found(keys[at], values[at], run.stats[at], known(rows.row(at), run.stats[at]))


def _sliced(run: _Run, begin: int, end: int) -> Iterator[_Run]:
    """A run in pieces of a few thousand files."""
    for first in range(begin, end, _RUN):
        names, stats = run.names[first : min(first + _RUN, end)], run.stats[first : min(first + _RUN, end)]
        rows = run.known.between(names[0], names[-1])
        yield _Run(run.folder, run.scope, names, stats, rows)
