"""Folders as they lie on the disk: what is in them.

Invariant: names are bytes and never followed; a folder that vanishes meanwhile is empty, one that
may not be read is an error, because its files would otherwise count as removed.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from aq.formats.errors import AqError
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


def kind_of(full: bytes) -> int:
    """What lies there, as one of `stat`'s S_IF numbers; 0 for nothing."""
    try:
        return stat.S_IFMT(os.lstat(full).st_mode)
    except OSError:
        return 0
