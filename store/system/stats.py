"""Packed stats of files; run as a program, a look at all files below a folder, beginning with the last.

Invariant: it needs nothing but the standard library, so that as a program it has started after ten
milliseconds; it changes nothing, follows no link, and what it cannot look at it leaves out.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import IO, Final

STAT_SIZE: Final = 44
PIECE: Final = 4_096
"""So many files of one folder are looked at in one go."""
KIND: Final = 41
"""The byte of a packed stat whose upper half is the kind of the file, as in `st_mode`."""
_stat = struct.Struct("<qqqQQI")
_only_size = struct.Struct("<q36x")
_MASK: Final = (1 << 63) - 1
_FOLDER: Final = 0x40
_SKIPPED: Final = frozenset((b".aq", b".git", b"node_modules", b"__pycache__", b".venv"))
_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
piece_head = struct.Struct("<II?")
"""Of a piece: the sizes of its folder's path and of its packed stats, and whether it is the whole folder."""
record = struct.Struct("<QQ")
"""Where a piece lies in the file of answers, and how many bytes it has."""


def pack_stat(found: os.stat_result) -> bytes:
    """What identifies a state of a file, as 44 bytes: size, mtime and ctime (ns), inode, device, mode."""
    try:
        return _stat.pack(
            found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev, found.st_mode
        )
    except struct.error:  # times beyond the year 2262
        times = found.st_mtime_ns & _MASK, found.st_ctime_ns & _MASK
        return _stat.pack(found.st_size, *times, found.st_ino & _MASK, found.st_dev & _MASK, found.st_mode)


def pack_stats(found: Iterable[os.stat_result]) -> list[bytes]:
    """As `pack_stat`, of many files."""
    found, pack = list(found), _stat.pack
    try:
        return [
            pack(one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino, one.st_dev, one.st_mode)
            for one in found
        ]
    except struct.error:
        return [pack_stat(one) for one in found]


def sizes_of(stats: Iterable[bytes]) -> list[int]:
    """The sizes in packed stats, b"" left out."""
    return [size for (size,) in _only_size.iter_unpack(b"".join(stats))]


def mode_of_packed(stat: bytes) -> int:
    """`st_mode` in a packed stat."""
    return int(_stat.unpack(stat)[5])


def pieces(root: bytes) -> Iterator[tuple[bytes, list[bytes], bytes, bool]]:
    """The folders at and below `root`, the last first, in pieces of a few thousand names, the last first.

    Each: the folder's path below `root`, names ascending, their packed stats joined, whether these are all.
    """
    stack = [b""]
    while stack:
        folder = stack.pop()
        below = []
        for names, stats, is_whole in _looked(os.path.join(root, folder), is_top=not folder):
            yield folder, names, stats, is_whole
            kinds = stats[KIND::STAT_SIZE]
            if any(kind & 0xF0 == _FOLDER for kind in set(kinds)):
                below += [name for name, kind in zip(names, kinds, strict=True) if kind & 0xF0 == _FOLDER]
        inside = folder + b"/" if folder else b""
        stack += [
            inside + name for name in sorted(below, key=lambda name: name + b"/") if name not in _SKIPPED
        ]


def _looked(full: bytes, *, is_top: bool) -> Iterator[tuple[list[bytes], bytes, bool]]:
    try:
        names = sorted(os.listdir(full))
        fd = os.open(full, _FLAGS)
    except OSError:
        return
    try:
        if is_top or b".aq" not in names:
            look = partial(os.stat, dir_fd=fd, follow_symlinks=False)
            for end in range(len(names), -1 if not names else 0, -PIECE):
                some = names[max(end - PIECE, 0) : end]
                yield *_packed(some, look), len(names) <= PIECE
    finally:
        os.close(fd)


def _packed(names: list[bytes], look: Callable[[bytes], os.stat_result]) -> tuple[list[bytes], bytes]:
    try:
        return names, b"".join(pack_stats(map(look, names)))
    except OSError:  # something vanished
        kept = []
        for name in names:
            try:
                kept.append((name, pack_stat(look(name))))
            except OSError:
                continue
        return [name for name, _ in kept], b"".join([stat for _, stat in kept])


def main(root: bytes, answers: IO[bytes], records: IO[bytes]) -> None:
    """Append each piece to the file `answers`, then say where in the pipe `records`."""
    at = 0
    for folder, names, stats, is_whole in pieces(root):
        piece = piece_head.pack(len(folder), len(stats), is_whole) + folder + stats + b"/".join(names)
        answers.write(piece)
        answers.flush()
        records.write(record.pack(at, len(piece)))
        records.flush()
        at += len(piece)


if __name__ == "__main__":
    with suppress(OSError), open(3, "wb") as answers, open(1, "wb") as records:
        main(os.fsencode(sys.argv[1]), answers, records)
