"""Turns: of all processes that would do the same piece of work, one does it, the others wait for it.

Invariant: a turn is a lock on one byte of `.aq/turns`, at a place that its key gives (docs/format.md, 4.10).
It ends with its process, however that ends, and nothing is left behind. Two keys that share a place only
wait for each other. Threads of one process are told apart here, which record locks do not do.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Lock
from time import sleep
from typing import Final

from aq.store.system import disk

NAME: Final = "turns"
LOOK: Final = 0.05
"""Seconds between two looks at a turn that another process has."""
_guard = Lock()
_files: dict[str, _File] = {}


class _File:
    """The open file: one a process, since closing any descriptor of it would end all turns."""

    __slots__ = ("fd", "held", "users")

    def __init__(self, path: str) -> None:
        self.fd = _opened(path)
        self.held: set[int] = set()
        self.users = 0


def _opened(path: str) -> int:
    while True:
        try:
            return disk.open_existing(path)
        except FileNotFoundError:
            pass
        try:
            return disk.create(path)
        except FileExistsError:
            continue


class Turns:
    """The turns that one run takes; to be closed."""

    def __init__(self, control: str | os.PathLike[str]) -> None:
        self._path = os.path.join(control, NAME)
        self._mine: set[int] = set()
        with _guard:
            if self._path not in _files:
                _files[self._path] = _File(self._path)
            self._file = _files[self._path]
            self._file.users += 1

    def take(self, key: bytes) -> bool:
        """Whether the work of this key is ours to do now; False while somebody else is at it."""
        place = _place(key)
        with _guard:
            if place in self._file.held:
                return False
            try:
                fcntl.lockf(self._file.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
            except (BlockingIOError, PermissionError):
                return False
            self._file.held.add(place)
            self._mine.add(place)
            return True

    def free(self, key: bytes) -> None:
        """Let others have it. What was done must be visible to them before."""
        self._free(_place(key))

    def _free(self, place: int) -> None:
        with _guard:
            if place in self._mine:
                self._mine.discard(place)
                self._file.held.discard(place)
                fcntl.lockf(self._file.fd, fcntl.LOCK_UN, 1, place)

    def close(self) -> None:
        """Free all that is held."""
        for place in list(self._mine):
            self._free(place)
        with _guard:
            self._file.users -= 1
            if not self._file.users and _files.get(self._path) is self._file:
                del _files[self._path]
                os.close(self._file.fd)


@contextmanager
def alone(control: str | os.PathLike[str], key: bytes) -> Iterator[None]:
    """Within, this turn is ours; whoever has it is waited for."""
    with closing(Turns(control)) as turns:
        while not turns.take(key):
            sleep(LOOK)
        yield


def _place(key: bytes) -> int:
    """An offset that a file can have: 62 bits of the key."""
    return int.from_bytes(key[:8], "little") >> 2


def _after_fork() -> None:
    """In the child: turns are the parent's."""
    global _guard
    _guard = Lock()
    for one in _files.values():
        os.close(one.fd)
    _files.clear()


os.register_at_fork(after_in_child=_after_fork)
