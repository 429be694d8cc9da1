"""Folders held by descriptors, reached part by part from one root and never through a symbolic link.

Invariant: whatever another process puts in place of a folder meanwhile, a descriptor from here is of
a folder that lay below the root when it was opened. Files in it are changed through `store.system.disk`.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from aq.formats.errors import AqError, Damaged
from aq.store.system import disk
from aq.store.system.paths import decode, show

_HELD_MOST: Final = 32
_ROOT: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_FOLDER: Final = _ROOT | os.O_NOFOLLOW
_ELSE: Final = frozenset((errno.ENOTDIR, errno.ELOOP, errno.EMLINK))


class Footing:
    """The folders below `root`. A descriptor is valid until the next call; close it all in the end."""

    def __init__(self, root: bytes) -> None:
        try:
            self._held = [(b"", os.open(root, _ROOT))]
        except OSError as error:
            disk.refuse(error, show(decode(root)))

    def close(self) -> None:
        """Let go of all folders."""
        while self._held:
            os.close(self._held.pop()[1])

    def find(self, folder: bytes) -> int | None:
        """The folder, b"" for the root; None where it is missing, or it or one above is anything else."""
        place, fd = self._closest(folder)
        while place != folder:
            place = _next(place, folder)
            opened = _open(fd, place)
            if opened is None or opened < 0:
                return None
            fd = self._hold(place, opened)
        return fd

    def make(self, folder: bytes) -> int:
        """The folder, made with those above where they are missing. Raises Damaged on anything else there."""
        place, fd = self._closest(folder)
        while place != folder:
            place = _next(place, folder)
            opened = _open(fd, place)
            if opened is None:
                disk.mkdir_at(fd, _name(place), path=place)
                opened = _open(fd, place)
            if opened is None or opened < 0:
                raise Damaged(f"{show(decode(place))} is no folder: nothing is written below it")
            fd = self._hold(place, opened)
        return fd

    def forget(self, folder: bytes) -> None:
        """The folder is about to be removed or to change its place."""
        while len(self._held) > 1 and (self._held[-1][0] + b"/").startswith(folder + b"/"):
            os.close(self._held.pop()[1])

    def _closest(self, folder: bytes) -> tuple[bytes, int]:
        """The innermost held folder that is this one or above it; others are let go."""
        below = folder + b"/"
        while len(self._held) > 1 and not below.startswith(self._held[-1][0] + b"/"):
            os.close(self._held.pop()[1])
        return self._held[-1]

    def _hold(self, place: bytes, fd: int) -> int:
        self._held.append((place, fd))
        if len(self._held) > _HELD_MOST:
            os.close(self._held.pop(1)[1])
        return fd


def _next(place: bytes, folder: bytes) -> bytes:
    """The folder one part further on the way from `place` to `folder`."""
    cut = folder.find(b"/", len(place) + 1 if place else 0)
    return folder if cut < 0 else folder[:cut]


def _name(place: bytes) -> bytes:
    return place.rpartition(b"/")[2]


def _open(above: int, place: bytes) -> int | None:
    """A folder in an open one; None where nothing is there, −1 where something else is."""
    try:
        return os.open(_name(place), _FOLDER, dir_fd=above)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        if error.errno in _ELSE:
            return -1
        raise AqError(f"{show(decode(place))} cannot be entered: {error.strerror}") from error


def clear(above: int, place: bytes) -> None:
    """Remove a folder that holds nothing but folders. Raises AqError, having removed no file."""
    try:
        for inside, folders, _files, fd in os.fwalk(_name(place), topdown=False, dir_fd=above):
            for name in folders:
                disk.rmdir_at(fd, name, path=os.path.join(os.path.dirname(place), inside, name))
    except OSError as error:
        disk.refuse(error, show(decode(place)))
    disk.rmdir_at(above, _name(place), path=place)
