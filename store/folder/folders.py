"""Folders as they lie on the disk: what is in them.

Invariant: names are bytes and never followed; a folder that vanishes meanwhile is empty, one that
may not be read is an error, because its files would otherwise count as removed.
"""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_left
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

from aq.formats.errors import AqError
from aq.store.system.lookahead import Piece, split
from aq.store.system.paths import decode, show
from aq.store.system.stats import KIND, PIECE, STAT_SIZE, pack_stat, pack_stats

CONTROL_FOLDER: Final = b".aq"
SPECIAL: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_FORMAT_BITS: Final = 0o170000
_FILES: Final = frozenset((stat.S_IFREG, stat.S_IFLNK))
_GONE: Final = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP))


def join(folder: bytes, name: bytes) -> bytes:
    """The repository path of a name in a folder."""
    return folder + b"/" + name if folder else name


def is_real_folder(root: bytes, folder: bytes) -> bool:
    """Whether a folder lies there; a symbolic link to one does not count."""
    try:
        return stat.S_ISDIR(os.lstat(os.path.join(root, folder)).st_mode)
    except OSError:
        return False


def list_folder(full: bytes) -> list[bytes]:
    """The names in a folder, unsorted."""
    try:
        return os.listdir(full)
    except OSError as error:
        _refuse(full, error)
        return []


class Listed(NamedTuple):
    """What lies in a folder: files and symbolic links with their packed stats, folders, and the rest.

    `others`: names with their kinds, of `stat`'s S_IF numbers. All in ascending order of names.
    """

    files: list[bytes]
    stats: list[bytes]
    folders: list[bytes]
    others: list[tuple[bytes, int]]


def kinds_in(full: bytes) -> Listed:
    """What lies in a folder, with empty stats: a fraction of what they cost."""
    listed = Listed([], [], [], [])
    try:
        with os.scandir(full) as entries:
            found = sorted((entry.name, _kind(entry)) for entry in entries)
    except OSError as error:
        _refuse(full, error)
        return listed
    for name, kind in found:
        if kind in _FILES:
            listed.files.append(name)
        elif kind == stat.S_IFDIR:
            listed.folders.append(name)
        else:
            listed.others.append((name, kind))
    listed.stats.extend([b""] * len(listed.files))
    return listed


def _kind(entry: os.DirEntry[bytes]) -> int:
    if entry.is_symlink():
        return stat.S_IFLNK
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    return stat.S_IFDIR if entry.is_dir(follow_symlinks=False) else kind_of(entry.path)


def stats_in(full: bytes, names: Iterable[bytes]) -> Listed:
    """These of a folder, ascending, as `Listed`; those that are gone are left out."""
    listed = Listed([], [], [], [])
    fd = open_folder(full)
    if fd is None:
        return listed
    look, names = partial(os.stat, dir_fd=fd, follow_symlinks=False), list(names)
    try:
        with suppress(OSError):
            found = list(map(look, names))  # a loop of ours around each call would cost as much as the call
            if {one.st_mode & _FORMAT_BITS for one in found} <= _FILES:
                return Listed(names, pack_stats(found), [], [])
        for name in names:
            _note(listed, full, name, look)
    finally:
        os.close(fd)
    return listed


def stats_beside(full: bytes, names: list[bytes], tail: Callable[[], list[Piece]]) -> Listed:
    """As `stats_in`, while another process looks at the folder from its end: `tail` is what it has by now."""
    listed, begin = Listed([], [], [], []), 0
    while begin < len(names):
        seen = [piece for piece in tail() if piece.names]
        end = min(begin + PIECE, len(names))
        end = min(end, bisect_left(names, seen[-1].names[0], begin)) if seen else end
        if begin < end:
            _append(listed, stats_in(full, names[begin:end]))
            begin = end
            continue
        for piece in reversed(seen):
            at = bisect_left(piece.names, names[begin])
            _append(listed, listed_of(Piece(piece.names[at:], piece.stats[at * STAT_SIZE :])))
        break
    return listed


def _append(listed: Listed, more: Listed) -> None:
    listed.files.extend(more.files)
    listed.stats.extend(more.stats)
    listed.folders.extend(more.folders)
    listed.others.extend(more.others)


def listed_of(seen: Piece) -> Listed:
    """What somebody saw in a folder, told apart."""
    kinds, stats = seen.stats[KIND::STAT_SIZE], split(seen.stats)
    if {kind << 8 & _FORMAT_BITS for kind in set(kinds)} <= _FILES:
        return Listed(seen.names, stats, [], [])
    listed = Listed([], [], [], [])
    for name, packed, upper in zip(seen.names, stats, kinds, strict=True):
        _sort_in(listed, name, upper << 8 & _FORMAT_BITS, packed)
    return listed


def _note(listed: Listed, full: bytes, name: bytes, look: Callable[[bytes], os.stat_result]) -> None:
    """Put one entry of a folder where it belongs."""
    try:
        found = look(name)
    except OSError as error:
        _refuse(os.path.join(full, name), error)
        return
    _sort_in(listed, name, found.st_mode & _FORMAT_BITS, pack_stat(found))


def _sort_in(listed: Listed, name: bytes, kind: int, packed: bytes) -> None:
    if kind in _FILES:
        listed.files.append(name)
        listed.stats.append(packed)
    elif kind == stat.S_IFDIR:
        listed.folders.append(name)
    else:
        listed.others.append((name, kind))


def open_folder(full: bytes) -> int | None:
    """A descriptor of a folder, for calls with `dir_fd`; None where it is gone. Raises AqError."""
    try:
        return os.open(full, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        _refuse(full, error)
        return None


def _refuse(full: bytes, error: OSError) -> None:
    """Raise AqError, unless there merely is no such folder (any more)."""
    if error.errno not in _GONE:
        raise AqError(f"{show(decode(full))} cannot be read: {error.strerror}") from error


def kind_of(full: bytes) -> int:
    """What lies there, as one of `stat`'s S_IF numbers; 0 for nothing."""
    try:
        return stat.S_IFMT(os.lstat(full).st_mode)
    except OSError:
        return 0
