"""The stat cache: which file of the folder is known to hold which content.

Invariant: a row is trusted only if size, times, inode, device and mode are what they were, and is
kept only if the file was last changed before `clock` (docs/format.md, section 6), so that a second
write within one tick never hides. It is derived: without it everything is merely read again.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from stat import S_ISLNK
from typing import Final, Protocol

from aq.store.snapshots import FILE_ENTRY_SIZE, Mode
from blake3 import blake3

STAT_SIZE: Final = 44
DATABASE: Final = "stat"
_stat = struct.Struct("<qqqQQI")
_MASK: Final = (1 << 63) - 1
Row = tuple[bytes, bytes | None]


class StatIndex(Protocol):
    """The part of the index that is used here."""

    def get(self, database: str, key: bytes) -> bytes | None:
        """One value, or None."""

    def items(self, database: str, *, prefix: bytes = b"") -> Iterable[tuple[bytes, bytes]]:
        """Keys and values in order."""


def pack_stat(found: os.stat_result) -> bytes:
    """What identifies a state of a file, as 44 bytes."""
    try:
        return _stat.pack(
            found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev, found.st_mode
        )
    except struct.error:  # times beyond the year 2262
        times = found.st_mtime_ns & _MASK, found.st_ctime_ns & _MASK
        return _stat.pack(found.st_size, *times, found.st_ino & _MASK, found.st_dev & _MASK, found.st_mode)


def size_of(stat: bytes) -> int:
    """The size in a packed stat."""
    return int(_stat.unpack(stat)[0])


def mode_of(stat: bytes) -> Mode:
    """How the file lies in the folder, by a packed stat."""
    bits = _stat.unpack(stat)[5]
    if S_ISLNK(bits):
        return Mode.SYMLINK
    return Mode.EXEC if bits & 0o100 else Mode.FILE


def changed_at(stat: bytes) -> int:
    """The later of both times in a packed stat, ns."""
    _size, mtime, ctime, *_ = _stat.unpack(stat)
    return int(max(mtime, ctime))


def key(path: bytes) -> bytes:
    """The key of a file: where its folder's keys begin, then its name."""
    folder, _, name = path.rpartition(b"/")
    return folder_key(folder) + name


def folder_key(folder: bytes) -> bytes:
    """What the keys of all files directly in a folder begin with."""
    return blake3(folder).digest(length=16)


class StatCache:
    """Rows as they are in the index, and those to be written. `clock` is the file system's time."""

    def __init__(self, index: StatIndex) -> None:
        self._index = index
        self._new: dict[bytes, bytes | None] = {}

    def folder(self, folder: bytes) -> dict[bytes, bytes]:
        """File name → stat ‖ entry, of all files known directly in a folder."""
        start = folder_key(folder)
        return {k[16:]: value for k, value in self._index.items(DATABASE, prefix=start)}

    def entry(self, path: bytes, stat: bytes) -> bytes | None:
        """The packed entry of a file that still has this stat, or None."""
        row = self.row(path)
        return known(row, stat) if row is not None else None

    def row(self, path: bytes) -> bytes | None:
        """stat ‖ entry of one file as it was last seen, or None."""
        return self._index.get(DATABASE, key(path))

    def learn(self, path: bytes, stat: bytes, entry: bytes, clock: int | None) -> None:
        """Note what a file holds, unless it was changed at or after `clock` (or the clock is unknown)."""
        if clock is not None and changed_at(stat) < clock:
            self._new[key(path)] = stat + entry

    def forget(self, paths: Iterable[bytes]) -> None:
        """Drop rows of files that are gone."""
        for path in paths:
            self._new[key(path)] = None

    def rows(self) -> Iterator[Row]:
        """What is to be written, and from now on counts as written."""
        new, self._new = self._new, {}
        yield from new.items()


def known(row: bytes, stat: bytes) -> bytes | None:
    """The packed entry in a row if it is about this very state of the file."""
    if len(row) == STAT_SIZE + FILE_ENTRY_SIZE and row.startswith(stat):
        return row[STAT_SIZE:]
    return None
