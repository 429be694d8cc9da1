"""Folders as they lie on the disk: what is in them, what may be data.

Invariant: names are bytes and never followed; a folder that vanishes meanwhile is empty, one that
may not be read is an error, because its files would otherwise count as removed.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from aq.formats.errors import AqError
from aq.store.ignore import Scope, ignores_folder
from aq.store.paths import decode, show

CONTROL_FOLDER: Final = b".aq"
SPECIAL: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


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
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return []
        raise AqError(f"{show(decode(full))} cannot be read: {error.strerror}") from error


def holds_data(folder: bytes, scope: Scope) -> bool:
    """Whether anything in a folder could be tracked: a file that is not ignored."""
    stack = [(folder, scope)]
    while stack:
        place, scope = stack.pop()
        full = os.path.join(scope.root, place)
        names = list_folder(full)
        if CONTROL_FOLDER in names or ignores_folder(scope, place, names):
            continue
        inside = scope.within(place, names)
        for name in names:
            path, kind = join(place, name), _kind(os.path.join(full, name))
            if kind == stat.S_IFDIR:
                stack.append((path, inside))
            elif kind in (stat.S_IFREG, stat.S_IFLNK) and not inside.ignores(path, name, is_folder=False):
                return True
    return False


def _kind(full: bytes) -> int:
    try:
        return stat.S_IFMT(os.lstat(full).st_mode)
    except OSError:
        return 0
