"""Private folders in `.aq/tmp`: for files that have no final name yet, or for one process alone.

Invariant: nobody else can put anything into one, and it is locked (`flock`) while its owner lives, so
that `store.system.litter` never takes it away from under one; what a killed owner left is litter.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import Final, Self

from aq.formats.errors import AqError
from aq.store.system import disk

_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CLOCK: Final = b"clock"


class Staging:
    """A new folder in `place`. `fd` is its descriptor; `close` removes it with whatever is left in it."""

    def __init__(self, place: bytes, prefix: bytes = b"write") -> None:
        self.path = os.path.join(place, b"%s-%d-" % (prefix, os.getpid()) + os.urandom(4).hex().encode())
        self.fd = self._locked(place)
        self._subfolders = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _locked(self, place: bytes) -> int:
        """Make and lock it, again where a collector was faster than the lock."""
        while True:
            if not os.path.isdir(place):
                disk.mkdir(os.fsdecode(place), parents=True)
            disk.mkdir(os.fsdecode(self.path), mode=0o700)
            with suppress(FileNotFoundError):
                fd = os.open(self.path, _FLAGS)
                fcntl.flock(fd, fcntl.LOCK_EX)
                if os.path.isdir(self.path):
                    return fd
                os.close(fd)

    def subfolder(self) -> bytes:
        """Make a folder with the permissions of any folder; returns its name in this one."""
        self._subfolders += 1
        name = b"%d" % self._subfolders
        disk.mkdir_at(self.fd, name, path=os.path.join(self.path, name))
        return name

    def clock(self) -> int:
        """The time of this file system, as files get it that are changed now (ns)."""
        path = os.path.join(self.path, _CLOCK)
        found = disk.write_new(self.fd, _CLOCK, b"", mode=0o600, path=path)
        disk.unlink_at(self.fd, _CLOCK, path=path)
        return found.st_mtime_ns

    def close(self) -> None:
        """Remove it; what cannot be removed now is litter that a collector takes."""
        path = os.fsdecode(self.path)
        try:
            disk.rmdir(path)
        except AqError:
            with suppress(AqError):
                disk.remove_tree(path)
        finally:
            os.close(self.fd)
