"""Folders as they lie on the disk: what is in them.

Invariant: names are bytes and never followed; a folder that vanishes meanwhile is empty, one that
may not be read is an error, because its files would otherwise count as removed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from typing import Final

from aq.formats.errors import AqError
from aq.store.paths import decode, show
from aq.store.statcache import pack_stat

CONTROL_FOLDER: Final = b".aq"
SPECIAL: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_FORMAT_BITS: Final = 0o170000
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


def kinds_in(full: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """Name and kind (one of `stat`'s S_IF numbers) of all that lies in a folder, by name; no stats."""
    try:
        with os.scandir(full) as entries:
            found = sorted((entry.name, _kind(entry)) for entry in entries)
    except OSError as error:
        _refuse(full, error)
        return
    for name, kind in found:
        yield name, kind, b""


def _kind(entry: os.DirEntry[bytes]) -> int:
    if entry.is_symlink():
        return stat.S_IFLNK
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    return stat.S_IFDIR if entry.is_dir(follow_symlinks=False) else kind_of(entry.path)


def stats_in(full: bytes, names: Iterable[bytes]) -> Iterator[tuple[bytes, int, bytes]]:
    """Name, kind and packed stat of each of these in a folder; those that are gone are left out."""
    fd = open_folder(full)
    if fd is None:
        return
    look, mask = os.stat, _FORMAT_BITS
    try:
        for name in names:
            try:
                found = look(name, dir_fd=fd, follow_symlinks=False)
            except OSError as error:
                _refuse(os.path.join(full, name), error)
                continue
            yield name, found.st_mode & mask, pack_stat(found)
    finally:
        os.close(fd)


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
