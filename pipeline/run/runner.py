"""Walking a graph: reuse what is known, have the rest done, keep every step that finished.

Invariant: what finished is durable as soon as repeating it would cost more than making it so, and
at the end, however that comes: a crash loses at most `FLUSH_SECONDS` of work. A failed step cancels
what needs it, and without `keep_going` all that is not under way. The branch is not touched here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Final, NamedTuple

from aq.formats.errors import Refused, Unstorable, UsageError
from aq.formats.objects import put_record
from aq.formats.records import Step
from aq.pipeline.code.hidden_reads import Kept
from aq.pipeline.code.load import Project
from aq.pipeline.flow.graph import Graph, Node
from aq.pipeline.processes.crew import Crew, Many
from aq.pipeline.processes.task import Code
from aq.pipeline.processes.work import Hands, Own, ParseWork, Result, StepWork, Work
from aq.pipeline.run import ending
from aq.pipeline.run.dry import plan
from aq.pipeline.run.maps import Maps
from aq.pipeline.run.tabling import Tables, Unreadable
from aq.pipeline.run.tally import Ended, Tally
from aq.pipeline.step.capture import Tee
from aq.pipeline.step.execution import Execution, Failure, Made, StepStore
from aq.pipeline.step.inputs import Input
from aq.pipeline.step.planning import Parse, Planner, Previous, ReadSource
from aq.pipeline.step.unfolding import keeps_names
from aq.store.system.turns import LOOK, Turns
from msgspec.structs import replace

__all__ = ["Execution", "Failure", "Made", "Staff", "execute", "plan"]

FLUSH_SECONDS: Final = 0.05
"""About what two fsyncs cost on a busy disk (docs/decisions/060)."""

OnEvent = Callable[[dict[str, Any]], None]
Clock = Callable[[], float]


class Staff(NamedTuple):
    """Who executes beside this process, and what stores the flow's code for it."""

    crew: Crew
    code: Callable[[], Code]


def _ignore(_: Any) -> None:
    return


def _nothing(_: str) -> None:
    return


def execute(
    graph: Graph,
    *,
    store: StepStore,
    project: Project,
    read: ReadSource,
    clock: Clock,
    previous: Previous = _nothing,
    environ: Mapping[str, str] | None = None,
    force: bool = False,
    keep_going: bool = False,
    staff: Staff | None = None,
    on_event: OnEvent = _ignore,
    on_interrupt: Callable[[Execution], None] = _ignore,
    tee: Tee | None = None,
) -> Execution:
    """Bring every step of a graph up to date: in this process, or with the help of `staff`.

    `read` finds the artifact of a source; `previous` the id of the step recorded last under
    FLOW/NAME; `environ` holds the environment variables; `clock` gives seconds. `on_event` gets
    `{event: "start", step, total, reasons}`, `{event: "waiting", step, total}` for one that another
    run is at, and `{event: "step", step, status, seconds, reasons, error, …}`. Without staff no op has
    a limit, and other runs are not heeded.
    Ctrl-C passes through, after `on_interrupt` was given what had finished. Raises AqError for what
    is wrong before anything runs.
    """
    planner = Planner(graph, store, project, read, dict(environ or {}), previous)
    own = Own(planner, clock, tee)
    hands: Hands = own if staff is None else Many(own, staff.crew, staff.code)
    turns = None if staff is None else Turns(store.control)
    tally = Tally(planner, on_event)
    tables = Tables(planner, tally)
    walk = _Walk(planner, clock, hands, turns, tally, tables, force=force, keep_going=keep_going)
    with project:
        try:
            return walk.run()
        except KeyboardInterrupt:
            on_interrupt(walk.interrupted())
            raise
        finally:
            own.close()
            if turns is not None:
                turns.close()


@dataclass(slots=True)
class _Walk:
    """The state of one execution: steps that are `ready`, work that is `queued`, what others are at."""

    planner: Planner
    clock: Clock
    hands: Hands
    turns: Turns | None
    tally: Tally
    tables: Tables
    force: bool
    keep_going: bool
    ready: list[int] = field(default_factory=list)
    queued: deque[Work] = field(default_factory=deque)
    elsewhere: dict[bytes, Work] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    lacking: list[int] = field(default_factory=list)
    followers: dict[str, list[int]] = field(default_factory=dict)
    maps: Maps = field(init=False)
    kept: Kept = field(default_factory=Kept)
    finished_turns: list[bytes] = field(default_factory=list)
    stopped: bool = False
    unflushed: float = 0.0
    began: float = 0.0

    def __post_init__(self) -> None:
        self.maps = Maps(self.planner, self.tally, self.kept, self._map_ended, self._item_failed)

    @property
    def store(self) -> StepStore:
        return self.planner.store

    @property
    def nodes(self) -> tuple[Node, ...]:
        return self.planner.graph.steps

    def run(self) -> Execution:
        """Walk the graph: each step when all that it needs has ended."""
        self.began = self.clock()
        self.planner.prepare()
        for index, node in enumerate(self.nodes):
            above = node.upstream()
            self.lacking.append(len(above))
            for name in above:
                self.followers.setdefault(name, []).append(index)
            if not above:
                self.ready.append(index)
        while True:
            self._begin_what_can_be()
            if not self.hands.is_busy and not self.elsewhere:
                return self.finished()
            for result in self.hands.results(LOOK if self.elsewhere else None):
                self._take(result)
            self._look_elsewhere()

    def finished(self, *, interrupted: bool = False) -> Execution:
        """The record, durable; steps that were not reached are cancelled."""
        self.maps.end()
        self._flush()
        for node in self.nodes:
            if node.name not in self.tally.ended:
                self.tally.add(ending.cancelled(node))
        seconds = max(0.0, self.clock() - self.began)  # clocks are set back
        return self.tally.execution(seconds=seconds, interrupted=interrupted)

    def interrupted(self) -> Execution:
        """The record of a walk that a signal ended: what had ended by then is kept."""
        for result in self.hands.end():
            self._take(result)
        return self.finished(interrupted=True)

    # --- beginning

    def _begin_what_can_be(self) -> None:
        while self.hands.has_room and (self.queued or self.maps.open or self.ready):
            if self.queued:
                self._begin(self.queued.popleft())
            elif self.maps.open:
                self.queued += self.maps.next(self._is_again, stopped=self.stopped)
            else:
                self._visit(heappop(self.ready))

    def _visit(self, index: int) -> None:
        """Reuse a step, or queue it, or what is to be parsed for it."""
        node = self.nodes[index]
        if self.stopped or node.upstream() & self.missing:
            self._cancel(index)
            return
        lacking: list[Parse] = []
        try:
            given = self.planner.inputs_of(
                node, self.tally.made, lambda one: self.tables.find(node, one, lacking)
            )
        except Unreadable as unreadable:
            self._fail(index, replace(unreadable.failure, step=node.name))
            return
        except UsageError as error:
            self._fail(index, Failure(node.name, error.kind, error.message))
            return
        if lacking:
            self.queued += self.tables.await_(index, lacking)
            return
        known = {place: one for place, one in given.items() if one is not None}
        step = self.planner.step(node, known)
        if not self._is_again(node) and self._reuse(index, step):
            return
        if node.each:
            self._unfold(index, node, known, step)
            return
        why = self.planner.why(node, step, force=self.force)
        self.queued.append(StepWork(index, node, known, step, why, anew=self._is_again(node)))

    def _unfold(self, index: int, node: Node, given: Mapping[str, Input], step: Step) -> None:
        """Begin with a map."""
        try:
            self.maps.unfold(index, node, given, step, force=self._is_again(node))
            self.hands.behind()
        except (UsageError, Unstorable) as error:
            self._fail(index, Failure(node.name, error.kind, error.message))

    def _map_ended(self, node: Node, how: Ended) -> None:
        if how.step.step is None:
            self.missing.add(node.name)
        self.hands.behind()
        self._end(node, how)

    def _item_failed(self) -> None:
        self.stopped |= not self.keep_going

    def _is_again(self, node: Node) -> bool:
        """Whether a step runs whatever is known."""
        return self.force or node.op.options.cache == "never"

    def _reuse(self, index: int, step: Step) -> bool:
        """Take what was recorded for a step's key; False where there is nothing."""
        node = self.nodes[index]
        found = self.planner.recorded(step, node.name)
        if found is None or (node.each and not keeps_names(self.store, node, found[1], self.tally.made)):
            return False
        how = ending.reused(self.store, node, *found)
        self._end(node, self.maps.reused(node, found[1], how) if node.each else how)
        return True

    def _begin(self, work: Work, *, is_known: bool = False) -> None:
        """Have a piece of work done, unless another process is at it, or it is not wanted any more."""
        again = isinstance(work, StepWork) and self._is_again(work.node)
        if self.stopped:
            self._drop(work)
        elif self.turns is not None and not again and not self.turns.take(work.key):
            if not is_known:
                self._announce("waiting", work)
            self.elsewhere[work.key] = work
        elif self.turns is not None and not again and self._was_done(work):
            self.turns.free(work.key)
        else:
            if isinstance(work, StepWork):
                self._announce("start", work, reasons=work.why)
            self._hand_over(work)

    def _hand_over(self, work: Work) -> None:
        """Have it done. Where the store was refused a write, what others had put may be gone: all ends."""
        try:
            self.hands.begin(work)
        except Refused as error:
            if isinstance(work, StepWork):
                failure = Failure(work.node.name, error.kind, error.message)
                self.tally.tell(ending.failed(work.node, failure, None, None))
            raise

    def _announce(self, event: str, work: Work, **more: object) -> None:
        node, above = self.nodes[work.index], {}
        if isinstance(work, StepWork) and work.item is not None:
            node, above = work.node, {"map": node.name}
        self.tally.on_event({"event": event, "step": node.name, "total": self.tally.total, **above, **more})

    def _drop(self, work: Work) -> None:
        """Nobody wants it any more."""
        if isinstance(work, StepWork) and work.item is not None:
            self.maps.drop(work)
            return
        waiting = [work.index] if isinstance(work, StepWork) else self.tables.waiting(work.key)
        for index in waiting:
            self._cancel(index)

    def _look_elsewhere(self) -> None:
        """What others were at: reuse it where they have done it, do it where they are gone."""
        if self.elsewhere:
            self._flush()  # whoever waits for us shall not wait because we wait
        known, self.elsewhere = self.elsewhere, {}
        for key, work in known.items():
            if self.stopped or self.hands.has_room:
                self._begin(work, is_known=True)
            else:
                self.elsewhere[key] = work

    def _was_done(self, work: Work) -> bool:
        """Reuse what another process has done since it was looked for."""
        if isinstance(work, StepWork):
            if work.item is not None:
                return self.maps.was_done(work)
            return self._reuse(work.index, work.step)
        if not self.tables.reuse(work.wanted):
            return False
        self._have_table(work)
        return True

    # --- ending

    def _take(self, result: Result) -> None:
        """Enter what came of a piece of work."""
        work, outcome = result.work, result.outcome
        self.finished_turns.append(work.key)
        if isinstance(work, ParseWork):
            self.tables.take(work, result)
            self._have_table(work)
        elif work.item is not None:
            self.maps.take(work, result)
        elif outcome.failure is not None:
            self._fail(work.index, outcome.failure, result, put_record(self.store, work.step))
        else:
            self._end(work.node, ending.ran(self.store, work, result, self.kept))
        self._keep(result.seconds)

    def _have_table(self, work: ParseWork) -> None:
        """Those who waited for it are looked at again, for they may want others."""
        for index in self.tables.waiting(work.key):
            heappush(self.ready, index)

    def _fail(
        self, index: int, failure: Failure, result: Result | None = None, attempt: bytes | None = None
    ) -> None:
        """Keep the log and the attempt, whose inputs can be looked into; cancel what follows."""
        node = self.nodes[index]
        self.stopped |= node.role != "check" and not self.keep_going
        self.missing.add(node.name)
        self._end(node, ending.failed(node, failure, result, attempt))

    def _cancel(self, index: int) -> None:
        node = self.nodes[index]
        self.missing.add(node.name)
        self._end(node, ending.cancelled(node))

    def _end(self, node: Node, how: Ended) -> None:
        """A step has ended, somehow: what waited for it last is ready."""
        self.tally.add(how)
        for index in self.followers.get(node.name, ()):
            self.lacking[index] -= 1
            if not self.lacking[index]:
                heappush(self.ready, index)

    def _keep(self, seconds: float) -> None:
        """Make what finished durable, as soon as doing it again would cost more than that."""
        self.unflushed += seconds
        if self.unflushed >= FLUSH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        """Make what finished durable, and only then let others have it."""
        self.store.flush()
        self.hands.flushed()
        self.unflushed = 0.0
        if self.turns is not None:
            for key in self.finished_turns:
                self.turns.free(key)
        self.finished_turns.clear()
