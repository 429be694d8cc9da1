"""Workers that a command starts, on this host or another, behind the interface of an executor.

Invariant: a worker that is lost, or has to go, costs no step: its task is done by another one, some times
over. Answers are told by their number, so that one that comes twice counts once. Nothing that was started
outlives the command.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import IO, Final

from aq import __version__
from aq.formats.errors import AqError, Temporary, UsageError
from aq.pipeline.processes import wire
from aq.pipeline.processes.pool import Pool
from aq.pipeline.processes.task import Answer, Code, Task, failed
from msgspec.structs import replace

LOST_MOST: Final = 2
"""How often a task is given to another worker, beside the further attempts of its op."""
PATIENCE: Final = 30.0
"""Seconds in which a worker has to say hello."""
_LEAVE: Final = 5.0


class Gone(Exception):
    """A worker is lost, in one line why; or `is_leaving`: it gave its task back."""

    def __init__(self, why: str, *, is_leaving: bool = False) -> None:
        super().__init__(why)
        self.is_leaving = is_leaving


class Commands:
    """Workers that a command starts, at most `jobs` at once, as a `pool`; `control` holds their words."""

    def __init__(self, command: Sequence[str], jobs: int, control: Path) -> None:
        self._command = list(command)
        self._folder = control / "tmp"
        self._folder.mkdir(exist_ok=True)
        self.pool = Pool[_Connection](jobs, self._do)

    def meet(self) -> None:
        """Start the first worker. Raises UsageError for no program, Temporary where no worker answers."""
        try:
            self.pool.rest(self._take())
        except Gone as gone:
            command = shlex.join(self._command)
            raise Temporary(f"no worker answers: {command}: {gone}", hint=f"{command} < /dev/null") from None

    def _do(self, code: Code, task: Task) -> Answer:
        """One task, by one of the workers; by another where that one is lost."""
        lost = 0
        while True:
            try:
                worker = self._take()
                try:
                    answer = worker.do(code, task)
                except Gone as gone:
                    self._drop(worker, at_once=not gone.is_leaving)
                    raise
            except Gone as gone:
                lost += 1
                if self.pool.is_closed or lost > LOST_MOST + task.trials - 1:
                    times = f" {lost} times" if lost > 1 else ""
                    return failed(task, "killed", f"its worker was lost{times}: {gone}")
            else:
                self.pool.rest(worker)
                return answer

    def _take(self) -> _Connection:
        """A worker that has said hello. Raises Gone, UsageError."""
        worker = self.pool.take(lambda: _Connection(self._command, self._folder))
        if worker is None:
            raise Gone("the run has ended")
        try:
            worker.greet()
        except BaseException:
            self._drop(worker)
            raise
        return worker

    def _drop(self, worker: _Connection, *, at_once: bool = True) -> None:
        if at_once:
            worker.end()
        worker.close()
        self.pool.drop(worker)


class _Connection:
    """One process that was started by the command, and the pipes to it."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._is_known = False
        self._code: Code | None = None
        self._numbers = count(1)
        self._words: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
                process_group=0,  # Ctrl-C is for aq itself, which then ends its workers
            )
        except OSError as error:
            self._words.close()
            hint = "aq run --executor 'cmd:aq worker'"
            raise UsageError(f"{command[0]} cannot be started: {error.strerror}", hint=hint) from None
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout

    def greet(self) -> None:
        """Say hello and hear it, the first time. Raises Gone, and AqError for a worker of another version."""
        if self._is_known:
            return
        self._send(wire.Hello(attends=True))
        ready = select.poll()
        ready.register(self._from, select.POLLIN)
        if not ready.poll(PATIENCE * 1000):
            raise Gone(f"it said nothing for {PATIENCE:.0f} s{self._last_words()}")
        hello = self._next()
        if not isinstance(hello, wire.Hello):
            raise Gone("it did not say hello")
        if (hello.protocol, hello.aq) != (wire.PROTOCOL, __version__):
            found = f"aq {hello.aq} (protocol {hello.protocol})"
            own = f"aq {__version__} (protocol {wire.PROTOCOL})"
            raise AqError(
                f"the worker is {found}, and this is {own}", hint=f"pip install aqstore=={__version__}"
            )
        self._is_known = True

    def do(self, code: Code, task: Task) -> Answer:
        """Do one task. Raises Gone, and whatever the worker met that is no failure of the step."""
        number = next(self._numbers)
        mine = replace(code, root="", path=(), asker="")
        self._send(wire.Give(number, task, None if mine == self._code else mine))
        self._code = mine
        while True:
            message = self._next()
            if isinstance(message, wire.Hello) or getattr(message, "number", number) != number:
                continue  # an answer that came twice
            if isinstance(message, wire.Done):
                return wire.answer(message)
            if isinstance(message, wire.Wrong):
                raise wire.raised(message)
            raise Gone("it had to end, and gave its task back", is_leaving=True)

    def _send(self, message: wire.Message) -> None:
        try:
            self._to.write(wire.line(message))
            self._to.flush()
        except (OSError, ValueError):
            raise Gone(self._cause()) from None

    def _next(self) -> wire.Message:
        """The next message; what a login shell writes before is passed over."""
        while True:
            try:
                text = self._from.readline()
            except (OSError, ValueError):
                text = b""
            if not text.endswith(b"\n"):
                raise Gone(self._cause())
            if text.startswith(b"{"):
                try:
                    return wire.read(text)
                except ValueError as error:
                    raise Gone(f"what it says is no answer: {error}") from None

    def _cause(self) -> str:
        """What became of the process."""
        try:
            code = self._process.wait(_LEAVE)
        except subprocess.TimeoutExpired:
            return f"the connection ended{self._last_words()}"
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        return f"it ended ({how}){self._last_words()}"

    def _last_words(self) -> str:
        """The line of its standard error that says most: an error of aq, else the last one."""
        with suppress(OSError, ValueError):
            self._words.seek(0)
            lines = [one.strip() for one in self._words.read().decode("utf-8", "replace").splitlines()]
            told = [one for one in lines if one.startswith("error:")] or [one for one in lines if one]
            return f": {told[-1][:200]}" if told else ""
        return ""

    def leave(self) -> None:
        """See `Worker`."""
        with suppress(OSError):
            self._to.close()

    def end(self) -> None:
        """See `Worker`."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGTERM)
        self.leave()

    def close(self) -> None:
        """See `Worker`."""
        self.leave()
        try:
            self._process.wait(_LEAVE)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._from.close()
        self._words.close()
