"""A second process that does small pieces of its caller's work, while the caller does others.

Invariant: it helps and no more. It ends with its caller, and where it fails, for whatever reason, it has
simply done nothing: what it did not answer for its caller does. Which work that is the program says.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from struct import Struct
from typing import IO, Final, Generic, TypeVar

from aq.store.system import disk

_AHEAD: Final = 2
"""Pieces of work that are given at a time: one that is done, one that follows without a pause."""
_size = Struct("<Q")
Work = TypeVar("Work")


class Helper(Generic[Work]):
    """The caller's side: `give` pieces of work as long as it `is_free`, and `hear` what came of them.

    `program`: a module that calls `serve`; `handed`: descriptors for it. Call `begin` before the rest.
    """

    def __init__(self, program: str, handed: tuple[int, ...] = ()) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=handed,
        )
        self._is_ready = self._failed = False
        self._given: deque[Work] = deque()

    def __del__(self) -> None:
        if hasattr(self, "_given"):
            self.close()

    @property
    def pid(self) -> int:
        """The process."""
        return self._child.pid

    @property
    def is_free(self) -> bool:
        """Whether it has started, and has little to do."""
        if not self._is_ready and not self._failed and self._has_said():
            self._is_ready = self._receive() == b"ready"
            self._failed = not self._is_ready
        return self._is_ready and not self._failed and len(self._given) < _AHEAD

    def begin(self, setup: bytes) -> None:
        """Tell it what it needs to know for all of its work."""
        self._tell(setup)

    def give(self, work: Work, message: bytes) -> None:
        """Give it something to do; `work` is what `hear` will return for it."""
        self._given.append(work)
        self._tell(message)

    def hear(self, *, wait: bool) -> tuple[Work, bytes] | None:
        """The oldest work given and the answer, b"" where it failed; None if there is none (yet)."""
        if not self._given or not (wait or self._failed or self._has_said()):
            return None
        answer = b"" if self._failed else self._receive()
        if not answer:
            self.end()
        return self._given.popleft(), answer

    def end(self) -> None:
        """Have it do nothing more from now on; what it was given counts as failed."""
        self._failed = True
        self._child.kill()
        self._child.wait()

    def close(self) -> None:
        """End it, and let go of it."""
        self.end()
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                with suppress(OSError):  # what was not sent yet
                    stream.close()

    def _has_said(self) -> bool:
        assert self._child.stdout is not None
        readable, _, _ = select.select([self._child.stdout], [], [], 0)
        return bool(readable)

    def _tell(self, message: bytes) -> None:
        assert self._child.stdin is not None
        with suppress(OSError):
            _send(self._child.stdin, message)

    def _receive(self) -> bytes:
        assert self._child.stdout is not None
        with suppress(OSError):
            return _receive(self._child.stdout)
        return b""


def is_of_use() -> bool:
    """Whether there is a second processor, a Python to start, and nobody who counts changes."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    is_python = os.path.basename(sys.executable or "").startswith("python")
    return usable > 1 and is_python and not disk.is_observed()


def serve(begin: Callable[[bytes], Callable[[bytes], bytes]]) -> None:
    """The other side: `begin` gets the first message and returns what answers the others, until they end."""
    with open(0, "rb") as work, open(1, "wb") as answers:
        _send(answers, b"ready")
        done = begin(_receive(work))
        while message := _receive(work):
            _send(answers, done(message))


def _send(stream: IO[bytes], data: bytes) -> None:
    stream.write(_size.pack(len(data)) + data)
    stream.flush()


def _receive(stream: IO[bytes]) -> bytes:
    """One message; b"" at the end of the stream."""
    head = stream.read(_size.size)
    return stream.read(_size.unpack(head)[0]) if len(head) == _size.size else b""
