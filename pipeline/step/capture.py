"""Capture: what an op writes to its standard streams goes into one log, in order.

Invariant: the file descriptors 1 and 2 are redirected too, so that neither a C library nor a child
process can write into aq's own answer; who shows progress meanwhile writes to a copy of them.
The streams are put back whatever happens.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, cast

Tee = Callable[[str], None]
_capturing: list[contextlib.ExitStack] = []


class Log:
    """The captured output of one step, in a file without a name."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return os.fstat(self.file.fileno()).st_size

    def write(self, text: str) -> None:
        """Append a note of aq's own, such as the traceback."""
        self.file.seek(0, os.SEEK_END)
        self.file.write(text.encode("utf-8", "backslashreplace"))
        self.file.flush()

    def empty(self) -> None:
        """Begin anew."""
        self.file.seek(0)
        self.file.truncate()

    def reader(self) -> BinaryIO:
        """The file, at its start."""
        self.file.seek(0)
        return self.file


class _Stream(io.TextIOWrapper):
    """`sys.stdout` while an op runs: into the log, and to a listener."""

    tee: Tee | None = None

    def write(self, text: str) -> int:
        """See `io.TextIOBase.write`."""
        if self.tee is not None:
            self.tee(text)
        return super().write(text)


@contextlib.contextmanager
def new_log(folder: Path) -> Iterator[Log]:
    """An empty log whose file lies in `folder` and is gone at the end."""
    with tempfile.TemporaryFile(dir=folder) as file:
        yield Log(cast("BinaryIO", file))


@contextlib.contextmanager
def captured(log: Log, *, tee: Tee | None = None) -> Iterator[None]:
    """Send standard output and standard error into the log; `tee` hears each text as it comes."""
    log.file.flush()
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(_stream(log, tee))
        stack.enter_context(_descriptors((1, 2), log.file.fileno()))
        stack.enter_context(contextlib.redirect_stdout(stream))
        stack.enter_context(contextlib.redirect_stderr(stream))
        _capturing.append(stack)
        try:
            yield
        finally:
            _capturing.remove(stack)


def release() -> None:
    """Put the streams back before the op has ended: a debugger wants the terminal."""
    for stack in _capturing:
        stack.close()


@contextlib.contextmanager
def _stream(log: Log, tee: Tee | None) -> Iterator[_Stream]:
    raw = os.fdopen(os.dup(log.file.fileno()), "ab", buffering=0)
    stream = _Stream(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
    stream.tee = tee
    try:
        yield stream
    finally:
        with contextlib.suppress(ValueError):  # the op may have closed it
            stream.close()


@contextlib.contextmanager
def _descriptors(numbers: Sequence[int], target: int) -> Iterator[None]:
    """Point file descriptors elsewhere, where they exist (a service may have no streams)."""
    _flush()
    saved: dict[int, int] = {}
    try:
        for number in numbers:
            with contextlib.suppress(OSError):
                saved[number] = os.dup(number)
                os.dup2(target, number)
        yield
    finally:
        _flush()
        for number, before in saved.items():
            os.dup2(before, number)
            os.close(before)


def _flush() -> None:
    """Write out what Python's streams and C's (`printf` keeps its text back) still hold."""
    for known in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            known.flush()
    fflush = _fflush()
    if fflush is not None:
        fflush(None)


@cache
def _fflush() -> Any:
    """C's own, None where it cannot be had."""
    with contextlib.suppress(OSError, AttributeError):
        return ctypes.CDLL(None).fflush
    return None
