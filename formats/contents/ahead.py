"""Objects stored by two threads: while the caller makes the next ones, another hashes and compresses.

Invariant: objects are admitted in the order in which they were given, by the caller's thread alone; a
caller that would wait for one does another meanwhile. Nothing runs on when the context is left.
"""

from __future__ import annotations

from collections import deque
from threading import Condition
from types import TracebackType
from typing import Any, Final

from aq.formats.contents.batches import Stager
from aq.formats.identity import Buffer, Digest, Kind
from aq.formats.objects import Sink
from aq.formats.threads import SecondThread

WAITING, TAKEN, DONE = range(3)
BEHIND_MOST: Final = 8 << 20
"""Bytes that may be given and not stored yet."""


class Job:
    """One object on its way; its `data` is let go once it is staged."""

    __slots__ = ("base", "data", "error", "kind", "size", "staged", "state")

    def __init__(self, kind: Kind, data: Buffer, base: bytes | None) -> None:
        self.kind, self.data, self.base = kind, data, base
        self.size = len(data)
        self.state = WAITING
        self.staged: Any = None
        self.error: BaseException | None = None


class Ahead:
    """A sink whose ids come later: `put` gives a job, `settle` its id. To be used as a context.

    Jobs are settled in the order in which they were put. A sink without two halves is called at once.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._stager = sink if isinstance(sink, Stager) else None
        self._changed = Condition()
        self._waiting: deque[Job] = deque()
        self._ended = False
        self._second: SecondThread | None = None
        self.behind = 0
        """Bytes that were given and are not settled yet."""

    def __enter__(self) -> Ahead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._second is not None:
            self._second.__exit__(kind, error, trace)

    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Job:
        """Give an object; its bytes must not change before it is settled."""
        job = Job(kind, data, base)
        self.behind += job.size
        if self._stager is None:
            job.staged, job.state = self._sink.put(kind, data, base=base), DONE
            return job
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()
        if self._second is None and self.behind >= BEHIND_MOST // 4:
            self._second = SecondThread(self._help, self._stop).__enter__()
        return job

    def settle(self, job: Job) -> Digest:
        """The id of the oldest job that is not settled yet, once it is stored."""
        self.behind -= job.size
        if self._stager is None:
            return Digest(job.staged)
        while (mine := self._claim(job)) is not None:
            self._stage(mine)
        if job.error is not None:
            raise job.error
        staged, job.staged = job.staged, None
        return self._stager.admit(staged)

    def _claim(self, wanted: Job) -> Job | None:
        """What the caller does next: `wanted`, or another while somebody has that; None once it is done."""
        with self._changed:
            self._changed.wait_for(lambda: wanted.state != TAKEN or self._waiting)
            if wanted.state == DONE:
                return None
            if wanted.state == WAITING:
                self._waiting.remove(wanted)
            else:
                wanted = self._waiting.popleft()
            wanted.state = TAKEN
            return wanted

    def _help(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._waiting)
                if self._ended:
                    return
                job = self._waiting.popleft()
                job.state = TAKEN
            self._stage(job)

    def _stage(self, job: Job) -> None:
        assert self._stager is not None
        try:
            job.staged = self._stager.stage(job.kind, job.data, base=job.base)
        except BaseException as error:
            job.error = error
        with self._changed:
            job.state = DONE
            self._changed.notify_all()

    def _stop(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
