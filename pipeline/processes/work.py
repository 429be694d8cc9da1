"""Work: what an execution has done, and by whose hands.

Invariant: whoever does a step, it finds its inputs and leaves its outputs in the store. By its own hands a
process does one piece of work after the other, when it is begun, where a debugger sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from time import sleep
from typing import Protocol

import msgspec
from aq.formats.records import Step
from aq.pipeline.flow.graph import Node
from aq.pipeline.step import parsed
from aq.pipeline.step.capture import Log, Tee, new_log
from aq.pipeline.step.execute import Executor, Outcome
from aq.pipeline.step.inputs import Input
from aq.pipeline.step.planning import Parse, Planner
from aq.pipeline.step.reasons import Reason


class StepWork(msgspec.Struct, frozen=True):
    """One step to be executed; `index` is its place in the flow. Of an item of a map it is the map's, and
    `item` its own among these. `anew`: nothing that it made before is taken over.
    """

    index: int
    node: Node
    given: Mapping[str, Input]
    step: Step
    why: list[Reason]
    item: int | None = None
    anew: bool = False

    @property
    def key(self) -> bytes:
        """What it is known by."""
        return self.step.key

    @property
    def by_rows(self) -> Step | None:
        """The step, if its op makes row of row and may take over rows that it made before."""
        return self.step if self.node.op.options.rowwise and not self.anew else None


class ParseWork(msgspec.Struct, frozen=True):
    """One file to be parsed, for the step at `index` first."""

    index: int
    wanted: Parse

    @property
    def key(self) -> bytes:
        """What it is known by."""
        return self.wanted.step.key


Work = StepWork | ParseWork


class Result(msgspec.Struct, frozen=True):
    """What came of a piece of work; `seconds` it took where it was done."""

    work: Work
    outcome: Outcome
    seconds: float


class Hands(Protocol):
    """What a walk through a graph needs."""

    @property
    def has_room(self) -> bool:
        """Whether something can be begun."""

    @property
    def is_busy(self) -> bool:
        """Whether something is under way."""

    def begin(self, work: Work) -> None:
        """Begin it."""

    def results(self, seconds: float | None) -> list[Result]:
        """What has ended; waits for something, not longer than `seconds`."""

    def behind(self) -> None:
        """This process has put what others do not find in the store yet."""

    def flushed(self) -> None:
        """All that was put until now is durable, and others find it in the store."""

    def end(self) -> Iterator[Result]:
        """Stop everything at once; gives what had ended."""


class Own(msgspec.Struct):
    """This process: a piece of work is done when it is begun."""

    planner: Planner
    clock: Callable[[], float]
    tee: Tee | None = None
    _done: list[Result] = []
    _log: Log | None = None
    _open: ExitStack = msgspec.field(default_factory=ExitStack)

    @property
    def has_room(self) -> bool:
        """See `Hands`."""
        return not self._done

    @property
    def is_busy(self) -> bool:
        """See `Hands`."""
        return bool(self._done)

    def begin(self, work: Work) -> None:
        """See `Hands`."""
        began = self.clock()
        outcome = self.outcome(work)
        self._done.append(Result(work, outcome, max(0.0, self.clock() - began)))  # clocks are set back

    def outcome(self, work: Work) -> Outcome:
        """Do it now."""
        store, last = self.planner.store, self.planner.previous
        if isinstance(work, StepWork):
            here = Executor(store, self.planner.project.root, self.tee, last)
            log = self._empty_log()
            return here.attempt(work.node, work.given, work.step.seed, log=log, step=work.by_rows)
        one = work.wanted
        return parsed.table(store, one.record, one.parser, one.options, one.label, last(one.label))

    def _empty_log(self) -> Log:
        """One file does for all steps, for making one takes as long as a small step."""
        if self._log is None:
            folder = self.planner.store.control / "tmp"
            folder.mkdir(exist_ok=True)
            self._log = self._open.enter_context(new_log(folder))
        self._log.empty()
        return self._log

    def close(self) -> None:
        """Let go of files."""
        self._open.close()

    def results(self, seconds: float | None) -> list[Result]:
        """See `Hands`."""
        found, self._done = self._done, []
        if not found and seconds:
            sleep(seconds)
        return found

    def behind(self) -> None:
        """See `Hands`."""

    def flushed(self) -> None:
        """See `Hands`."""

    def end(self) -> Iterator[Result]:
        """See `Hands`."""
        yield from self.results(None)
