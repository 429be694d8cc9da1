"""Large files stored by two threads, window by window: while one is cut, another is hashed or written.

Invariant: pieces, ids and their order are those of `chunking.cut_stream`: windows are cut in order, each
after what its predecessor left over, and admitted in order. Beside an earlier version they are cut as that
was, which their ids prove or disprove. Nothing runs on when the context is left, and nothing is decided here.
"""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from stat import S_ISREG
from threading import Condition, Lock
from types import TracebackType
from typing import BinaryIO, Final, NamedTuple

from aq.formats.contents.batches import Batches
from aq.formats.contents.chunking import LONGEST, Readable, settled
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

    def wait(self, number: int) -> None:
        """Until all windows before this one were let in and are out again. Raises Stopped."""
        with self._condition:
            self._condition.wait_for(lambda: self._shut or self._next >= number)
            if self._shut:
                raise Stopped

    def shut(self) -> None:
        """Turn away all who wait and all who come."""
        with self._condition:
            self._shut = True
            self._condition.notify_all()


class _Window:
    """What a thread has read; in front of it is room for what the window before left over.

    `start`: the offset in the file at which its pieces begin, `end`: at which they end; `left`: the bytes
    behind that. The first `expected` pieces might be cut as the old ones from the number `old` on; the first
    `guessed` of them are.
    """

    def __init__(self, number: int, view: memoryview) -> None:
        self.number, self._view = number, view
        self.start = self.end = self.old = self.expected = self.guessed = 0
        self.pieces: list[memoryview] = []
        self.left = b""

    def cut(self, start: int, carry: bytes, lengths: Sequence[int], *, ended: bool) -> None:
        """Cut what was left over and what was read; `lengths` are those that the first pieces are to have."""
        self._view[LONGEST - len(carry) : LONGEST] = carry
        data, at = self._view[LONGEST - len(carry) :], 0
        self.pieces = []
        for length in lengths:
            self.pieces.append(data[at : at + length])
            at += length
        cut = list(settled(data[at:], ended=ended))
        if not cut:  # nothing vouches for the byte behind the last of these
            self.pieces, at, cut, lengths = [], 0, list(settled(data, ended=ended)), ()
        self.pieces += cut
        at += sum(map(len, cut))
        self.start, self.end, self.guessed, self.left = start, start + at, len(lengths), bytes(data[at:])


class Windows:
    """The pieces of `head` and of what an open file holds from `start` on, stored in batches as they are met.

    To be used as a context, and iterated once inside it. The batches are stored by both threads.
    """

    def __init__(self, fd: int, start: int, head: Buffer, batches: Batches) -> None:
        self._fd, self._from = fd, start
        self._batches = batches
        self._cut = self._sure = start - len(head), bytes(head)
        """Where the next window to be cut begins, and the next one to be compared; what is left for it."""
        self._trust = 1
        """From -2 to 1, as in a predictor of branches: whether the last windows were cut as the old ones."""
        self._doubtful = -1
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
        window, ended = _Window(number, view[: LONGEST + filled]), filled < WINDOW
        with self._cutting.turn(number):
            if self._ended:
                return False  # and the file grew before this window was read
            self._ended = ended
            if number <= self._doubtful:
                self._comparing.wait(number)
                self._cut = self._sure
            start, carry = self._cut
            window.old, lengths = self._batches.guess(start, len(carry) + filled - LONGEST)
            window.expected = len(lengths)
            window.cut(start, carry, lengths if self._trust >= 0 else (), ended=ended)
            self._cut = window.end, window.left
            if ended:
                self.end = at + filled
        staged = self._batches.stage(
            window.pieces,
            ended=ended,
            turn=lambda: self._comparing.turn(number),
            settle=lambda ids: self._settled(window, ids, ended=ended),
        )
        with self._storing.turn(number):
            self._done += [*map(Stored, map(self._batches.admit, staged), map(len, window.pieces))]
        return True

    def _settled(self, window: _Window, ids: Sequence[bytes], *, ended: bool) -> Sequence[Buffer] | None:
        """In the turn of a window: its pieces where they are others than was guessed, else None.

        Guessed pieces are right if they and the one behind them are the old ones: where a piece ends depends
        on its bytes and the next one. Of the windows behind a wrong one the next may be cut already, and
        finds here that it begins elsewhere; the one after that waits for it.
        """
        start, carry = self._sure
        is_like = self._batches.holds(window.old, ids[: window.expected + 1])
        if window.expected:
            self._trust = min(self._trust + 1, 1) if is_like else max(self._trust - 1, -2)
        is_right = window.start == start and (is_like or not window.guessed)
        if not is_right:
            window.cut(start, carry, (), ended=ended)
            self._doubtful = window.number + 2
        self._sure = window.end, window.left
        return None if is_right else window.pieces


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
