"""A second process that looks at many files from the last one on, while its caller begins with the first.

Invariant: what it has seen was so after the scan began; what it has not seen the caller looks at itself.
It is started for many files only, where there is a second processor, and never outlives the scan.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Final, NamedTuple

from aq.store.system import stats
from aq.store.system.stats import STAT_SIZE

WORTH_FROM: Final = 8_000
"""Fewer files are looked at before it has started."""


class Piece(NamedTuple):
    """Some neighbours in a folder, or all that is in it: names ascending, their packed stats joined."""

    names: list[bytes]
    stats: bytes


class Lookahead:
    """The caller's side. Where the process fails, for whatever reason, it has simply seen nothing."""

    def __init__(self, root: bytes) -> None:
        self._whole: dict[bytes, tuple[int, int, int, int]] = {}
        self._tails: dict[bytes, list[Piece]] = {}
        self._pid = 0
        self._answers = os.memfd_create("aq", os.MFD_CLOEXEC)
        self._records, write = os.pipe()
        os.set_blocking(self._records, False)
        try:
            self._pid = _start(root, self._answers, write)
        finally:
            os.close(write)

    def whole(self, folder: bytes) -> Piece | None:
        """All that is in a folder, if it has been looked at as one piece."""
        self._hear()
        place = self._whole.pop(folder, None)
        return None if place is None else self._piece(*place)

    def tail(self, folder: bytes) -> list[Piece]:
        """What has been seen of the end of a folder of very many files, the last names first."""
        self._hear()
        return self._tails.get(folder, [])

    def _hear(self) -> None:
        """Take in what the process has said by now."""
        with suppress(BlockingIOError):
            while data := os.read(self._records, 4096 * stats.record.size):
                for at, size in stats.record.iter_unpack(data[: len(data) // 16 * 16]):
                    self._note(at, size)

    def _note(self, at: int, size: int) -> None:
        head = stats.piece_head.size
        start = os.pread(self._answers, head + 256, at)
        length, packed, is_whole = stats.piece_head.unpack_from(start)
        folder = start[head : head + length]
        if len(folder) < length:
            folder = os.pread(self._answers, length, at + head)
        place = at + head + length, packed, at + head + length + packed, at + size
        if is_whole:
            self._whole[folder] = place
        else:
            self._tails.setdefault(folder, []).append(self._piece(*place))

    def _piece(self, begin: int, packed: int, middle: int, end: int) -> Piece:
        data = os.pread(self._answers, end - begin, begin)
        names = data[middle - begin :].split(b"/") if packed else []
        return Piece(names, data[:packed])

    def close(self) -> None:
        """End it."""
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
            self._pid = 0
            os.close(self._records)
            os.close(self._answers)


def _start(root: bytes, answers: int, records: int) -> int:
    silent = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 2)]
    handed = [(os.POSIX_SPAWN_DUP2, records, 1), (os.POSIX_SPAWN_DUP2, answers, 3)]
    command = [os.fsencode(sys.executable), b"-I", b"-S", os.fsencode(stats.__file__), root]
    return os.posix_spawn(command[0], command, {}, file_actions=silent + handed)


def start(root: bytes, files: int) -> Lookahead | None:
    """Such a process, if it is of use for so many files and can be had."""
    if files < WORTH_FROM or not hasattr(os, "memfd_create") or len(os.sched_getaffinity(0)) < 2:
        return None
    if not os.path.basename(sys.executable or "").startswith("python") or not os.path.isfile(stats.__file__):
        return None
    try:
        return Lookahead(root)
    except OSError:
        return None


def split(joined: bytes) -> list[bytes]:
    """Packed stats one by one."""
    return [joined[at : at + STAT_SIZE] for at in range(0, len(joined), STAT_SIZE)]
