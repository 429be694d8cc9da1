"""`aq worker`: does the tasks that come in, one after the other, and answers, until nothing more comes.

Invariant: each task is answered, or given back, or (where who asked is gone) ended. Ops run in a process of
their own, so that the death of one is an answer like any other. Standard output carries answers alone.
"""

from __future__ import annotations

from concurrent.futures import Executor, Future, wait
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO

from aq.formats.errors import UsageError
from aq.pipeline.processes import wire
from aq.pipeline.processes.task import Answer, Code, perform
from aq.pipeline.processes.workers import Workers
from aq.store.frames.layout import CONTROL
from msgspec.structs import replace

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo


def serve(repo: Repo, incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Do the tasks of one who asks. Raises UsageError for a line that is no message.

    Ctrl-C and SIGTERM give back what is under way, and pass through.
    """
    repo.store.before_executing()
    workers = Workers(1, repo.root / CONTROL).pool
    service = _Service(repo.root, outgoing, workers)
    try:
        service.say(wire.Hello())
        for text in incoming:
            service.hear(text)
        if not service.is_attended:
            service.finish()
        workers.shutdown(cancel_futures=True)
    except BaseException:
        service.give_back()
        workers.shutdown(cancel_futures=True)
        raise


class _Service:
    """The state of one connection; answers come from another thread."""

    def __init__(self, root: Path, outgoing: BinaryIO, workers: Executor) -> None:
        self.is_attended = False
        self._root, self._outgoing, self._workers = root, outgoing, workers
        self._code: Code | None = None
        self._open: set[int] = set()
        self._begun: list[Future[Answer]] = []
        self._guard = Lock()

    def hear(self, text: bytes) -> None:
        """Heed one line."""
        try:
            message = wire.read(text)
        except ValueError as error:
            raise UsageError(f"a line on standard input is no task: {error}", hint="aq help worker") from None
        if isinstance(message, wire.Hello):
            self.is_attended = message.attends
        elif isinstance(message, wire.Give):
            self._begin(message)

    def _begin(self, given: wire.Give) -> None:
        if given.code is not None:
            self._code = replace(given.code, root=str(self._root))
        if self._code is None:
            raise UsageError("the first task says no code", hint="aq help worker")
        with self._guard:
            self._open.add(given.number)
        future: Future[Answer] = self._workers.submit(perform, self._code, given.task)
        self._begun = [one for one in self._begun if not one.done()] + [future]
        future.add_done_callback(partial(self._ended, given.number))

    def finish(self) -> None:
        """Nothing more comes in: do what did."""
        wait(self._begun)

    def _ended(self, number: int, future: Future[Any]) -> None:
        error = None if future.cancelled() else future.exception()
        with self._guard:
            if number not in self._open or future.cancelled():
                return
            self._open.discard(number)
            if error is not None:
                self._write(wire.wrong(number, error))
                return
            answer: Answer = future.result()
            self._write(wire.done(number, answer))
        if answer.log is not None and not isinstance(answer.log, bytes):
            answer.log.close()

    def give_back(self) -> None:
        """What is under way is somebody else's to do."""
        with self._guard:
            for number in sorted(self._open):
                self._write(wire.Back(number))
            self._open.clear()

    def say(self, message: wire.Message) -> None:
        """Write one line."""
        with self._guard:
            self._write(message)

    def _write(self, message: wire.Message) -> None:
        with suppress(BrokenPipeError):  # nobody listens: then nothing more comes in either
            self._outgoing.write(wire.line(message))
            self._outgoing.flush()
