"""A crew: the steps of an execution as tasks for other processes.

Invariant: no more than `jobs` steps are under way. With one job steps run in aq's own process, but for those
with a limit, which always run in one that can be ended. Nothing here decides what runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from io import SEEK_END, BytesIO
from itertools import count
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from aq.formats.artifacts import values
from aq.formats.errors import AqError, Refused
from aq.pipeline.code.frames import one_line
from aq.pipeline.flow.graph import Read
from aq.pipeline.processes.matching import needs
from aq.pipeline.processes.relay import CARRIED_MOST, Packed
from aq.pipeline.processes.task import (
    Answer,
    Code,
    Parsing,
    Task,
    begin_asking,
    end_asking,
    perform,
    turn_of,
)
from aq.pipeline.processes.work import Own, ParseWork, Result, StepWork, Work
from aq.pipeline.step import rowwise
from aq.pipeline.step.execute import Outcome
from aq.pipeline.step.execution import Failure, StepStore
from aq.store.system.turns import Turns
from msgspec.structs import replace

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    Opener = Callable[[], tuple[Executor, int]]

_number = count(1)


class _Begun(NamedTuple):
    """A piece of work that others are at, and since when, by `monotonic`."""

    work: Work
    at: float


class Crew:
    """Who may work beside this process, for one command: own workers, or an executor.

    `executor`: one that was given, which stays open, or what opens one and tells how many steps it does at
    once (0: unknown); it is called when the first step is to be done.
    """

    def __init__(self, control: Path, jobs: int = 1, executor: Executor | Opener | None = None) -> None:
        self.jobs = jobs
        self.has_executor = executor is not None
        self.asker = f"{os.uname().nodename} {os.getpid()} {next(_number)}"
        self._control = control
        self._executor = executor
        self._hired: Executor | None = None
        self._turns: Turns | None = None

    def hire(self) -> Executor:
        """The executor; own workers come when they are first needed. Raises Temporary, UsageError."""
        if self._hired is None:
            if self._executor is None:
                from aq.pipeline.processes.workers import Workers

                self._hired = Workers(self.jobs, self._control).pool
            elif callable(self._executor):
                self._hired, width = self._executor()
                self.jobs = width if width and self.jobs == 1 else self.jobs
            else:
                self._hired = self._executor
            self._begin_asking()
        return self._hired

    def _begin_asking(self) -> None:
        """Let whoever does a task know that somebody waits for it, until this is closed."""
        if self.has_executor:
            self._turns = Turns(self._control)
            self._turns.take(turn_of(self.asker))
            begin_asking(self.asker)

    def close(self, *, at_once: bool = False) -> None:
        """Let own workers go, once they are idle or `at_once`."""
        if self._hired is not None and self._executor is None:
            self._hired.shutdown(cancel_futures=at_once)
        if self._turns is not None:
            end_asking(self.asker, at_once=at_once)
            self._turns.close()
            self._turns = None
        self._hired = None


class Many:
    """A crew: steps as tasks of an executor; `code` stores the flow's code, as far as it is known."""

    def __init__(self, own: Own, crew: Crew, code: Callable[[], Code]) -> None:
        self._own, self._crew, self._make_code = own, crew, code
        self._store: StepStore = own.planner.store
        self._code: Code | None = None
        self._under_way: dict[Future[Answer], _Begun] = {}
        self._loose: dict[bytes, tuple[Packed, ...]] = {}
        self._is_behind = False

    @property
    def has_room(self) -> bool:
        """See `Hands`."""
        return self._own.has_room and len(self._under_way) < self._crew.jobs

    @property
    def is_busy(self) -> bool:
        """See `Hands`."""
        return bool(self._under_way) or self._own.is_busy

    def begin(self, work: Work) -> None:
        """See `Hands`."""
        if self._runs_here(work):
            self._own.begin(work)
            self._is_behind = True
            return
        executor = self._crew.hire()
        code = self._make_code()
        if code is not self._code:
            self._code = code
            self._is_behind = True
        task = self._task(work)
        self._under_way[executor.submit(perform, code, task)] = _Begun(work, monotonic())

    def _runs_here(self, work: Work) -> bool:
        limited = isinstance(work, StepWork) and work.node.op.options.is_limited
        return self._crew.jobs == 1 and not self._crew.has_executor and not limited

    # --- tasks

    def _task(self, work: Work) -> Task:
        if isinstance(work, ParseWork):
            one = work.wanted
            index = one.read.index if isinstance(one.read, Read) else -1
            parsing = Parsing(bytes(one.file), one.parser, index, one.label, one.step.packages)
            last = self._own.planner.previous(one.label)
            return Task(one.label, parsing=parsing, last=last, carried=self._carried([one.file]))
        node, options = work.node, work.node.op.options
        return Task(
            step=node.name,
            inputs=dict(work.given),
            params=dict(work.step.params),
            seed=work.step.seed,
            last=self._own.planner.previous(node.name),
            carried=self._carried(one.artifact for one in work.given.values()),
            trials=options.retries + 1,
            record=work.by_rows,
            timeout=options.timeout,
            memory=options.memory,
            item=work.item,
            needs=needs(work.step, self._own.planner.project),
            verify=rowwise.verifying.get(),
        )

    def _carried(self, artifacts: Iterable[bytes]) -> tuple[Packed, ...]:
        """What of the inputs is not durable yet; if that is much, it is made so."""
        found = [one for id in artifacts for one in self._loose.get(bytes(id), ())]
        if not self._is_behind and sum(len(one.data) for one in found) <= CARRIED_MOST:
            return tuple(found)
        self._store.flush()
        self.flushed()
        return ()

    def behind(self) -> None:
        """See `Hands`."""
        self._is_behind = True

    def flushed(self) -> None:
        """See `Hands`."""
        self._loose.clear()
        self._is_behind = False

    # --- answers

    def results(self, seconds: float | None) -> list[Result]:
        """See `Hands`. In the order of beginning, which is that of a worker that did several."""
        if not self._under_way:
            return self._own.results(seconds)
        from concurrent.futures import FIRST_COMPLETED, wait

        done = wait(self._under_way, timeout=seconds, return_when=FIRST_COMPLETED).done
        begun = [future for future in self._under_way if future in done]
        return [self._result(*self._answer(future)) for future in begun]

    def _answer(self, future: Future[Answer]) -> tuple[Work, Answer]:
        """What came of a task; an executor that was given may have lost it, in ways of its own.

        Where nobody is left who could tell how long it took, that is the time since it was begun.
        """
        work, began = self._under_way.pop(future)
        name = self._name(work)
        try:
            answer = future.result()
            return work, answer if answer.seconds else replace(answer, seconds=monotonic() - began)
        except Refused as error:  # by its own disk, or in its own store: here nothing is lost
            failure = Failure(name, error.kind, error.message)
        except AqError:
            raise
        except Exception as error:
            if not self._crew.has_executor:
                raise
            failure = Failure(name, "killed", f"its executor lost it: {one_line(error)}")
        return work, Answer(Outcome([], failure, None), seconds=monotonic() - began)

    def _name(self, work: Work) -> str:
        return work.node.name if isinstance(work, StepWork) else work.wanted.label

    def _result(self, work: Work, answer: Answer) -> Result:
        outcome = answer.outcome
        if outcome is None:  # the flow says something else each time: only this process knows what it said
            self._own.begin(work)
            self._is_behind = True
            found = self._own.results(None)[0]
            notes = (f"{self._name(work)} ran in this process: {answer.note}",) if answer.note else ()
            return replace(found, outcome=replace(found.outcome, notes=(*found.outcome.notes, *notes)))
        for one in answer.objects:
            self._store.put(one.kind, one.data, base=one.base)
        for id, value in answer.summaries:
            if self._store.summary(id) is None:
                self._store.put_summary(id, value)
        for _, id in outcome.outputs:
            self._loose[bytes(id)] = answer.objects
        return Result(work, self._with_log(outcome, answer), answer.seconds)

    def _with_log(self, outcome: Outcome, answer: Answer) -> Outcome:
        """What a step wrote whose process died."""
        if answer.log is None:
            return outcome
        with BytesIO(answer.log) if isinstance(answer.log, bytes) else answer.log as file:
            size = file.seek(0, SEEK_END)
            if not size:
                return outcome
            file.seek(0)
            stored = values.encode_file(file, size, self._store).id
        failure = outcome.failure and replace(outcome.failure, log=stored)
        return replace(outcome, log=stored, failure=failure)

    def end(self) -> Iterator[Result]:
        """See `Hands`."""
        ended = [future for future in self._under_way if future.done()]
        for future in self._under_way:
            future.cancel()
        self._crew.close(at_once=True)
        yield from self._own.end()
        for future in ended:
            if future.exception() is None:
                yield self._result(self._under_way[future].work, future.result())
        self._under_way.clear()
