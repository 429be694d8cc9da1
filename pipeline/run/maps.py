"""The maps of one execution: which items are to be done, and what came of them.

Invariant: an item is a step like any other for whoever does it; a map ends when none of its items is under
way or to be looked at. Nothing is executed here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

import msgspec
from aq.formats.errors import Unstorable, UsageError
from aq.formats.objects import put_record
from aq.formats.records import Step
from aq.pipeline.code.hidden_reads import Kept
from aq.pipeline.flow.graph import Node
from aq.pipeline.processes.work import Result, StepWork
from aq.pipeline.run import ending
from aq.pipeline.run.fanning import Fan
from aq.pipeline.run.tally import Ended, Tally
from aq.pipeline.step.execution import Failure
from aq.pipeline.step.inputs import Input
from aq.pipeline.step.planning import Planner
from aq.pipeline.step.unfolding import Unfolded
from aq.store.commits.snapshots import items_of
from msgspec.structs import replace


class Maps:
    """`open`: those with items that were not looked at. `on_end` hears of a map that ended, `on_failure` of
    an item that failed.
    """

    def __init__(
        self,
        planner: Planner,
        tally: Tally,
        kept: Kept,
        on_end: Callable[[Node, Ended], None],
        on_failure: Callable[[], None],
    ) -> None:
        self.open: deque[Fan] = deque()
        self._planner, self._tally, self._kept = planner, tally, kept
        self._on_end, self._on_failure = on_end, on_failure
        self._fans: dict[int, Fan] = {}

    def reused(self, node: Node, step: Step, how: Ended) -> Ended:
        """The end of a map that was recorded before, and of its items."""
        names = [f"{node.name}/{one.key}" for one in items_of(self._planner.store, step)]
        self._tally.unfold(len(names))
        self._tally.tell_reused(names, node.name)
        return replace(how, step=msgspec.structs.replace(how.step, counts={"reused": len(names)}))

    def unfold(self, index: int, node: Node, given: Mapping[str, Input], step: Step, *, force: bool) -> None:
        """Begin with a map: what of it is known is taken over at once. Raises UsageError, Unstorable."""
        fan = Fan(
            self._planner, index, node, step, Unfolded(self._planner, node, given, self._tally.made), force
        )
        taken = fan.start()
        self._tally.unfold(fan.size)
        self._tally.tell_reused(taken, node.name)
        self._fans[index] = fan
        self.open.append(fan)

    def next(self, is_again: Callable[[Node], bool], *, stopped: bool) -> list[StepWork]:
        """Look at the next item: reuse it, or give it back to be done. `stopped`: no more of them."""
        fan = self.open[0]
        at = None if stopped else fan.next()
        if at is None:
            self.open.popleft()
            self._close(fan)
            return []
        try:
            node, given, step = fan.unfolded.step_of(at, keep=True)
        except (UsageError, Unstorable) as error:
            node = fan.unfolded.node_of(at)
            self._fail(fan, ending.failed(node, Failure(node.name, error.kind, error.message), None, None))
            return []
        work = StepWork(fan.index, node, given, step, [], at, is_again(node))
        if not work.anew and self._reuse(fan, work):
            return []
        fan.under_way += 1
        return [replace(work, why=self._planner.why(node, step, force=fan.force))]

    def _reuse(self, fan: Fan, work: StepWork) -> bool:
        found = self._planner.recorded(work.step, work.node.name)
        if found is None or work.item is None:
            return False
        how = ending.reused(self._planner.store, work.node, *found)
        fan.take(work.item, how)
        self._tally.tell(how, fan.node.name)
        return True

    def was_done(self, work: StepWork) -> bool:
        """Reuse an item that another process has done since it was looked for."""
        fan = self._fans[work.index]
        if not self._reuse(fan, work):
            return False
        fan.under_way -= 1
        self._close(fan)
        return True

    def take(self, work: StepWork, result: Result) -> None:
        """Enter what came of an item."""
        fan, store = self._fans[work.index], self._planner.store
        fan.under_way -= 1
        if result.outcome.failure is not None:
            attempt = put_record(store, work.step)
            self._fail(fan, ending.failed(work.node, result.outcome.failure, result, attempt))
        elif work.item is not None:
            how = ending.ran(store, work, result, self._kept)
            fan.take(work.item, how)
            self._tally.tell(how, fan.node.name)
        self._close(fan)

    def _fail(self, fan: Fan, how: Ended) -> None:
        self._on_failure()
        fan.fail(how)
        self._tally.tell(how, fan.node.name)

    def drop(self, work: StepWork) -> None:
        """Nobody wants an item any more."""
        fan = self._fans[work.index]
        fan.under_way -= 1
        self._close(fan)

    def end(self) -> None:
        """End those that are under way: what they have is kept."""
        self.open.clear()
        for fan in list(self._fans.values()):
            fan.under_way = 0
            self._close(fan)

    def _close(self, fan: Fan) -> None:
        if fan.under_way or fan in self.open:
            return
        del self._fans[fan.index]
        self._on_end(fan.node, fan.end(lambda: self._planner.why(fan.node, fan.step, force=fan.force)))
