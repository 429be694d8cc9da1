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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

Tee = Callable[[str], None]


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
        stack.enter_context(_descriptor(1, log.file.fileno()))
        stack.enter_context(_descriptor(2, log.file.fileno()))
        stack.enter_context(contextlib.redirect_stdout(stream))
        stack.enter_context(contextlib.redirect_stderr(stream))
        yield


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
def _descriptor(number: int, target: int) -> Iterator[None]:
    """Point a file descriptor elsewhere; where there is none (a service without streams), do nothing."""
    _flush()
    try:
        saved = os.dup(number)
    except OSError:
        yield
        return
    os.dup2(target, number)
    try:
        yield
    finally:
        _flush()
        os.dup2(saved, number)
        os.close(saved)


def _flush() -> None:
    """Write out what Python's streams and C's (`printf` keeps its text back) still hold."""
    for known in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            known.flush()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).fflush(None)
