"""Large files stored by two threads, window by window: while one is cut, another is hashed or written.

Invariant: pieces, ids and their order are those of `chunking.cut_stream`: windows are cut in order, each
after what its predecessor left over, and admitted in order. Nothing runs on when the context is left.
It reads a file that was opened by somebody else, and decides nothing about what is stored.
"""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from stat import S_ISREG
from threading import Condition, Lock
from types import TracebackType
from typing import BinaryIO, Final, NamedTuple

from aq.formats.batches import Batches
from aq.formats.chunking import LONGEST, Readable, settled
from aq.formats.identity import Buffer, Digest
from aq.formats.threads import SecondThread, Stopped

WINDOW: Final = 4 << 20
"""Bytes that one thread reads, cuts and stores at a time."""
PARALLEL_FROM: Final = 16 << 20
"""Shorter files are not worth a thread."""

_spare: list[bytearray] = []
"""Memory that no file uses now: fresh pages cost more than reading into used ones."""


class Stored(NamedTuple):
    """A piece that the sink has: its id and its length in bytes."""

    id: Digest
    length: int


class _Gate:
    """Lets window 0 in, then window 1, and so on; nobody any more once one of them has failed in there."""

    def __init__(self) -> None:
        self._condition = Condition(Lock())
        self._next = 0
        self._shut = False

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """The turn of one window. Raises Stopped."""
        with self._condition:
            self._condition.wait_for(lambda: self._shut or self._next == number)
            if self._shut:
                raise Stopped
        try:
            yield
        except BaseException:
            self.shut()
            raise
        with self._condition:
            self._next += 1
            self._condition.notify_all()

    def shut(self) -> None:
        """Turn away all who wait and all who come."""
        with self._condition:
            self._shut = True
            self._condition.notify_all()


class Windows:
    """The pieces of `head` and of what an open file holds from `start` on, stored in batches as they are met.

    To be used as a context, and iterated once inside it. The batches are stored by both threads.
    """

    def __init__(self, fd: int, start: int, head: Buffer, batches: Batches) -> None:
        self._fd, self._from, self._carry = fd, start, bytes(head)
        self._batches = batches
        self._claim = Lock()
        self._claimed = 0
        self._cutting, self._comparing, self._storing = _Gate(), _Gate(), _Gate()
        self._done: deque[Stored] = deque()
        self._ended = False
        self._second = SecondThread(self._help, self._stop)
        self.end = start
        """Where the file ended, once all pieces are out."""

    def __enter__(self) -> Windows:
        self._second.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._second.__exit__(kind, error, trace)

    def __iter__(self) -> Iterator[Stored]:
        for _ in self._work():
            while self._done:
                yield self._done.popleft()
        self._second.finish()
        while self._done:
            yield self._done.popleft()

    def _help(self) -> None:
        for _ in self._work():
            pass

    def _stop(self) -> None:
        self._cutting.shut()
        self._comparing.shut()
        self._storing.shut()

    def _work(self) -> Iterator[None]:
        """Do one window after the other, until the file ends."""
        size = LONGEST + WINDOW
        memory = _spare.pop() if _spare else bytearray()
        if len(memory) != size:
            memory = bytearray(size)
        try:
            while self._one(memoryview(memory)):
                yield
        finally:
            _spare.append(memory)

    def _one(self, view: memoryview) -> bool:
        """Do the next window that nobody has; whether there may be another one. The carry comes in front."""
        with self._claim:
            number, self._claimed = self._claimed, self._claimed + 1
        if self._ended:
            return False
        at = self._from + number * WINDOW
        filled = _read(self._fd, view[LONGEST:], at)
        with self._cutting.turn(number):
            if self._ended:
                return False  # and the file grew before this window was read
            first = LONGEST - len(self._carry)
            view[first:LONGEST] = self._carry
            self._ended = filled < WINDOW
            pieces = list(settled(view[first : LONGEST + filled], ended=self._ended))
            left = first + sum(map(len, pieces))
            self._carry = bytes(view[left : LONGEST + filled])
            if self._ended:
                self.end = at + filled
            ended = self._ended
        staged = self._batches.stage(pieces, ended=ended, turn=lambda: self._comparing.turn(number))
        with self._storing.turn(number):
            self._done += [*map(Stored, map(self._batches.admit, staged), map(len, pieces))]
        return True


def _read(fd: int, buffer: memoryview, at: int) -> int:
    filled = 0
    while filled < len(buffer):
        count = os.preadv(fd, [buffer[filled:]], at + filled)
        if not count:
            break
        filled += count
    return filled


def large_file(stream: Readable | BinaryIO) -> tuple[int, int] | None:
    """Descriptor and position of a stream that is a large file and nothing else, else None.

    Only plain files: what wraps one (a decompressor, say) has its descriptor too, but other bytes.
    """
    raw = stream.raw if isinstance(stream, io.BufferedReader) else stream
    if type(raw) is not io.FileIO:
        return None
    found = os.fstat(raw.fileno())
    at = stream.tell()  # type: ignore[union-attr]  # both kinds know it
    return (raw.fileno(), at) if S_ISREG(found.st_mode) and found.st_size - at >= PARALLEL_FROM else None
