"""The stat cache: which file of the folder is known to hold which content.

Invariant: a row is trusted only if size, times, inode, device and mode are what they were, and is
kept only if the file was last changed before `clock` (docs/format.md, section 6), so that a second
write within one tick never hides. It is derived: without it everything is merely read again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from stat import S_ISLNK

from aq.store.commits.snapshots import Mode
from aq.store.frames.index import Index
from aq.store.frames.statblocks import ROW_SIZE, Rows, joined, of_folder, row_of
from aq.store.system.stats import STAT_SIZE, mode_of_packed
from blake3 import blake3

_times = struct.Struct("<qq")
_all_times = struct.Struct("<8xqq20x")


def size_of(stat: bytes) -> int:
    """The size in a packed stat."""
    return int.from_bytes(stat[:8], "little", signed=True)


def mode_of(stat: bytes) -> Mode:
    """How the file lies in the folder, by a packed stat."""
    bits = mode_of_packed(stat)
    if S_ISLNK(bits):
        return Mode.SYMLINK
    return Mode.EXEC if bits & 0o100 else Mode.FILE


def is_same_content(a: bytes, b: bytes) -> bool:
    """Whether two packed stats are of one unchanged file; being renamed changes its ctime alone."""
    return a[:16] == b[:16] and a[24:] == b[24:]


def changed_at(stat: bytes) -> int:
    """The later of both times in a packed stat, ns."""
    mtime, ctime = _times.unpack_from(stat, 8)
    return int(mtime if mtime > ctime else ctime)


def changed_before(stats: Sequence[bytes], clock: int) -> Sequence[int]:
    """The numbers of the packed stats whose file was last changed before `clock`."""
    times = _all_times.iter_unpack(b"".join(stats))
    late = [at for at, (mtime, ctime) in enumerate(times) if mtime >= clock or ctime >= clock]
    return sorted(set(range(len(stats))).difference(late)) if late else range(len(stats))


def folder_key(folder: bytes) -> bytes:
    """What the keys of all files directly in a folder begin with."""
    return blake3(folder).digest(length=16)


class StatCache:
    """Rows as they are in the index, and those to be written. `clock` is the file system's time."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._runs: list[Rows] = []
        self._single: dict[bytes, dict[bytes, bytes | None]] = {}

    def rows_in(self, folder: bytes) -> Rows:
        """The rows of all files known directly in a folder."""
        with self._index.look() as look:
            return of_folder(look, folder_key(folder))

    def folder(self, folder: bytes) -> dict[bytes, bytes]:
        """File name → stat ‖ entry, of all files known directly in a folder."""
        return dict(self.rows_in(folder).each())

    def entry(self, path: bytes, stat: bytes) -> bytes | None:
        """The packed entry of a file that still has this stat, or None."""
        row = self.row(path)
        return known(row, stat) if row is not None else None

    def row(self, path: bytes) -> bytes | None:
        """stat ‖ entry of one file as it was last seen, or None."""
        folder, _, name = path.rpartition(b"/")
        with self._index.look() as look:
            return row_of(look, folder_key(folder), name)

    def learn(self, path: bytes, stat: bytes, entry: bytes, clock: int | None) -> None:
        """Note what a file holds, unless it was changed at or after `clock` (or the clock is unknown)."""
        if clock is not None and changed_at(stat) < clock:
            self._note(path, stat + entry)

    def learn_many(
        self,
        folder: bytes,
        names: Sequence[bytes],
        stats: Sequence[bytes],
        entries: Sequence[bytes],
        clock: int | None,
    ) -> None:
        """As `learn`, of files of one folder in ascending order."""
        if clock is None:
            return
        kept = changed_before(stats, clock)
        if len(kept) < len(names):
            names, stats = [names[at] for at in kept], [stats[at] for at in kept]
            entries = [entries[at] for at in kept]
        if names:
            self._runs.append(Rows(folder_key(folder), list(names), b"".join(stats), b"".join(entries)))

    def forget(self, paths: Iterable[bytes]) -> None:
        """Drop rows of files that are gone."""
        for path in paths:
            self._note(path, None)

    def _note(self, path: bytes, row: bytes | None) -> None:
        folder, _, name = path.rpartition(b"/")
        self._single.setdefault(folder_key(folder), {})[name] = row

    def rows(self) -> list[Rows]:
        """What is to be written, and from now on counts as written. Single files count last."""
        runs, single = self._runs, self._single
        self._runs, self._single = [], {}
        for folder, noted in single.items():
            known = sorted((name, row) for name, row in noted.items() if row is not None)
            gone = sorted(name for name, row in noted.items() if row is None)
            runs += [joined(folder, known)] if known else []
            runs += [Rows(folder, gone, b"", b"")] if gone else []
        return runs


def known(row: bytes, stat: bytes) -> bytes | None:
    """The packed entry in a row if it is about this very state of the file."""
    if len(row) == ROW_SIZE and row.startswith(stat):
        return row[STAT_SIZE:]
    return None
