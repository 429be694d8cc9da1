"""Workers: processes that stay warm and do one task after the other, behind the interface of an executor.

Invariant: a worker that dies, takes too long or too much memory costs its own task alone, which is told in
one line and tried again where its op allows; what it wrote is kept. No worker outlives the pool, nor (on
Linux) its owner.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from struct import Struct
from time import monotonic
from typing import Any, BinaryIO, Final, cast

from aq.pipeline.flow import limits
from aq.pipeline.processes.pool import Pool
from aq.pipeline.processes.task import Answer, Code, Task
from aq.pipeline.step.execute import Outcome
from aq.pipeline.step.execution import Failure
from msgspec.structs import replace

length: Final = Struct("<Q")
LOOK: Final = 0.02
"""Seconds between two looks at the memory of a worker whose op has a limit."""
ASK: Final = 1.0
"""Seconds between two looks whether somebody still waits for a task of another process."""
SPARED_MOST: Final = 2
"""How often a task is given to another worker when one dies before the op has begun."""
_LEAVE: Final = 5.0
_GONE: Final = "its process ended before it could answer"


class Lost(Exception):
    """A worker is gone: `kind` of the failure (killed | timeout | memory | unwanted), and why in one line."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind, self.why = kind, why


class Workers:
    """Processes of this very Python, at most `jobs` at once, as a `pool`; `control` holds their logs.

    `is_wanted` tells, of what a task's step is part of, whether somebody still waits for it.
    """

    def __init__(self, jobs: int, control: Path, is_wanted: Callable[[Code], bool] | None = None) -> None:
        self._is_wanted = is_wanted
        self._folder = control / "tmp"
        self._folder.mkdir(exist_ok=True)
        self.pool = Pool[_Worker](jobs, self._do)

    def _do(self, code: Code, task: Task) -> Answer:
        """One task, in one of the workers; in another where that one is lost and it may be tried again."""
        log: BinaryIO | None = None
        spared = 0
        while True:
            worker = self._take(log)
            wanted = None if self._is_wanted is None else partial(self._is_wanted, code)
            try:
                answer = worker.do(code, task, wanted)
            except Lost as lost:
                log = self._drop(worker)
                if lost.kind == "unwanted":
                    return Answer(Outcome([], Failure(task.step, "killed", lost.why), None), log=log)
                if not worker.trial and spared < SPARED_MOST and not self.pool.is_closed:
                    spared += 1  # it had died before, or while it loaded the code
                    continue
                tried = max(worker.trial, task.tried + 1)
                _note(log, lost.why, tried, task.trials)
                if tried >= task.trials or self.pool.is_closed:
                    why = lost.why if worker.trial else f"{lost.why} before the op began{_last_words(log)}"
                    failure = Failure(task.step, lost.kind, why)
                    return Answer(Outcome([], failure, None), log=log)
                task = replace(task, tried=tried)
            else:
                self.pool.rest(worker)
                return answer

    def _take(self, log: BinaryIO | None) -> _Worker:
        """A worker, a new one that goes on with the log of one that was lost. Raises Lost."""

        def start() -> _Worker:
            return _Worker(log or cast("BinaryIO", tempfile.TemporaryFile(dir=self._folder)))

        worker = self.pool.take(start, anew=log is not None)
        if worker is None:
            raise Lost("killed", _GONE)
        return worker

    def _drop(self, worker: _Worker) -> BinaryIO:
        worker.end()
        worker.forget()
        self.pool.drop(worker)
        return worker.log


def _note(log: BinaryIO, why: str, tried: int, trials: int) -> None:
    with suppress(OSError):
        log.seek(0, os.SEEK_END)
        log.write(
            f"{why}\n".encode() + (f"attempt {tried} of {trials} failed\n".encode() if trials > 1 else b"")
        )
        log.flush()


def _last_words(log: BinaryIO) -> str:
    """The last line that a process wrote of its own."""
    log.seek(0)
    lines = [line for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return f": {lines[-2]}" if len(lines) > 1 else ""


class _Worker:
    """One process, and the socket to it. `trial` is the attempt that it is at."""

    def __init__(self, log: BinaryIO) -> None:
        self.log = log
        self.trial = 0
        self._code: Code | None = None
        self._is_wanted: Callable[[], bool] | None = None
        self._socket, theirs = socket.socketpair()
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    *flags,
                    "-P",
                    "-m",
                    "aq.pipeline.processes.worker",
                    str(theirs.fileno()),
                    str(os.getpid()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                process_group=0,  # Ctrl-C is for aq itself, which then ends its workers
            )

    def do(self, code: Code, task: Task, is_wanted: Callable[[], bool] | None = None) -> Answer:
        """Do one task. Raises Lost, and whatever the worker met that is no failure of the step."""
        self.trial = 0
        self._is_wanted = is_wanted
        try:
            self._send((None if code is self._code else code, task))
            self._code = code
            while True:
                kind, what = self._receive(task)
                if kind == "trial":
                    self.trial = what
                elif kind == "error":
                    raise what
                else:
                    return cast("Answer", what)
        except (OSError, EOFError, pickle.UnpicklingError):
            raise Lost("killed", self._cause()) from None

    def _send(self, what: object) -> None:
        data = pickle.dumps(what, pickle.HIGHEST_PROTOCOL)
        self._socket.sendall(length.pack(len(data)) + data)

    def _receive(self, task: Task) -> tuple[str, Any]:
        self._await(task)
        message: tuple[str, Any] = receive(self._socket)
        return message

    def _await(self, task: Task) -> None:
        """Until there is something to receive. Raises Lost where a limit is passed before."""
        end = None if task.timeout is None or not self.trial else monotonic() + task.timeout
        asked = monotonic()
        ready = select.poll()
        ready.register(self._socket, select.POLLIN)
        while True:
            left = None if end is None else max(0.0, end - monotonic())
            waits = [left, None if task.memory is None else LOOK, None if self._is_wanted is None else ASK]
            wait = min((one for one in waits if one is not None), default=None)
            if ready.poll(None if wait is None else wait * 1000):
                return
            if left == 0.0:
                raise Lost(
                    "timeout", f"took longer than its timeout of {limits.shown_seconds(task.timeout or 0)}"
                )
            if self.trial and task.memory is not None:
                self._look(task.memory)
            if self._is_wanted is not None and monotonic() - asked >= ASK:
                asked = monotonic()
                if not self._is_wanted():
                    raise Lost("unwanted", "nobody waits for it any more")

    def _look(self, most: int) -> None:
        used = limits.resident(self._process.pid)
        if used > most:
            told = (
                f"used {limits.shown_size(used)} of memory, more than its limit of {limits.shown_size(most)}"
            )
            raise Lost("memory", told)

    def _cause(self) -> str:
        """What became of the process."""
        try:
            code = self._process.wait(_LEAVE)
        except subprocess.TimeoutExpired:
            return _GONE
        if code >= 0:
            return f"its process ended by itself, with exit code {code}"
        name = signal.Signals(-code).name
        if name == "SIGKILL":
            return "its process was killed (SIGKILL): the system may have run out of memory"
        return f"its process crashed ({name})"

    def end(self) -> None:
        """See `Worker`; it is gone then."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def leave(self) -> None:
        """See `Worker`."""
        with suppress(OSError):  # it is gone already
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """See `Worker`."""
        self.leave()
        try:
            self._process.wait(_LEAVE)
        except subprocess.TimeoutExpired:
            self.end()
        self.forget()
        self.log.close()

    def forget(self) -> None:
        """Let go of the socket of a process that is gone."""
        self._socket.close()


def receive(stream: socket.socket) -> Any:
    """The next message. Raises EOFError where the other side is gone."""
    return pickle.loads(_exactly(stream, length.unpack(_exactly(stream, length.size))[0]))


def _exactly(stream: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = stream.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return data
