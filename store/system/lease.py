"""Leases: what a writer relies on is not swept while it lives (docs/format.md, 4.9).

Invariant: a lease lives while its `flock` is held, never by the clock, and dies with its process. It says
which generation of condemned objects its holder could see when it began.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from struct import Struct

from aq.formats.errors import AqError, Temporary
from aq.store.system import disk

_generation = Struct("<Q")
_SUFFIX = ".lease"


class Lease:
    """The lease of one store object, from its first put until it is closed."""

    def __init__(self, folder: str, generation: Callable[[], int]) -> None:
        self._generation = generation
        disk.mkdir(folder)
        while True:
            self.path = f"{folder}/{os.urandom(8).hex()}{_SUFFIX}"
            self._fd = disk.create(self.path)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            if _is_at(self._fd, self.path):
                break
            os.close(self._fd)  # a collector took it for one that was left behind
        try:
            self.renew()
        except BaseException:
            self.end()  # an empty one would hold back every collector while this process lives
            raise

    def renew(self) -> None:
        """Everything that was relied on so far is published: begin anew."""
        disk.write_at(self._fd, _generation.pack(self._generation()), 0, path=self.path)

    def end(self) -> None:
        """Give it up."""
        if self._fd >= 0:
            with suppress(AqError):
                disk.unlink(self.path)
            os.close(self._fd)
            self._fd = -1

    def after_fork(self) -> None:
        """In the child: the lease is the parent's."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _is_at(fd: int, path: str) -> bool:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(fd)
    return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)


def oldest(folder: str) -> int | None:
    """The lowest generation of a live lease, None without any; files that dead ones left are removed."""
    generations = []
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        path = f"{folder}/{name}"
        if not name.endswith(_SUFFIX):
            continue
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            disk.unlink(path)
        except BlockingIOError:
            data = os.pread(fd, _generation.size, 0)
            generations.append(_generation.unpack(data)[0] if len(data) == _generation.size else 0)
        finally:
            os.close(fd)
    return min(generations, default=None)


@contextmanager
def alone(folder: str) -> Iterator[None]:
    """One collector at a time, and none while somebody checks. Raises Temporary."""
    disk.mkdir(folder)
    with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
        yield


@contextmanager
def undisturbed(folder: str) -> Iterator[None]:
    """No collector meanwhile; waits for one that is at work."""
    if not os.path.isdir(folder):
        yield
        return
    with _locked(folder, fcntl.LOCK_SH):
        yield


@contextmanager
def _locked(folder: str, how: int) -> Iterator[None]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, how)
        except BlockingIOError:
            raise Temporary("another aq gc or aq fsck is at work") from None
        yield
    finally:
        os.close(fd)
