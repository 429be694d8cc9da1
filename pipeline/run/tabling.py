"""The tables that steps want of files: known, to be parsed first, or not to be had.

Invariant: a file is parsed once for all steps that want it alike; a step is looked at again when the last of
its tables is there.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from aq.formats.identity import Digest
from aq.formats.objects import put_record
from aq.formats.records import RunStep
from aq.pipeline.flow.graph import Node
from aq.pipeline.processes.work import ParseWork, Result
from aq.pipeline.run.tally import Tally
from aq.pipeline.step.execution import Failure
from aq.pipeline.step.planning import Parse, Planner


class Unreadable(Exception):
    """A source that an op wants as a table cannot be parsed: the failure of the step that wants it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error)
        self.failure = failure


class Tables:
    """The parsings of one execution."""

    def __init__(self, planner: Planner, tally: Tally) -> None:
        self._planner = planner
        self._tally = tally
        self._known: dict[bytes, Digest] = {}
        self._unreadable: dict[bytes, Failure] = {}
        self._waiting: dict[bytes, list[int]] = {}
        self._lacking: dict[int, int] = {}

    def find(self, node: Node, wanted: Parse, lacking: list[Parse]) -> Digest | None:
        """The table, or None where it is to be parsed, which `lacking` then says. Raises Unreadable."""
        key = wanted.step.key
        self._tally.want(node, key)
        if key in self._unreadable:
            raise Unreadable(self._unreadable[key])
        if key not in self._known and not self.reuse(wanted):
            if all(one.step.key != key for one in lacking):
                lacking.append(wanted)
            return None
        return self._known[key]

    def reuse(self, wanted: Parse) -> bool:
        """Take a table that was parsed before; False where there is none."""
        found = self._planner.recorded(wanted.step)
        if found is None:
            return False
        id, step = found
        self._enter(wanted, Digest(step.outputs[0][1]))
        one = RunStep(name=wanted.label, status="reused", role="parse", step=id)
        self._tally.parsed.setdefault(wanted.step.key, one)
        return True

    def await_(self, index: int, lacking: Sequence[Parse]) -> list[ParseWork]:
        """A step waits for these; what of them nobody is at yet."""
        self._lacking[index] = len(lacking)
        new = [one for one in lacking if one.step.key not in self._waiting]
        for one in lacking:
            self._waiting.setdefault(one.step.key, []).append(index)
        return [ParseWork(index, one) for one in new]

    def take(self, work: ParseWork, result: Result) -> None:
        """Enter what came of a parsing, and record it."""
        wanted, outcome = work.wanted, result.outcome
        if outcome.failure is not None:
            self._unreadable[work.key] = outcome.failure
            return
        table = outcome.outputs[0][1]
        store = self._planner.store
        id = put_record(store, msgspec.structs.replace(wanted.step, outputs=[("", bytes(table))]))
        store.put_summary(id, {"seconds": result.seconds})
        self._enter(wanted, table)
        one = RunStep(name=wanted.label, status="run", role="parse", step=id, seconds=result.seconds)
        self._tally.parsed[work.key] = one

    def _enter(self, wanted: Parse, table: Digest) -> None:
        self._known[wanted.step.key] = table

    def waiting(self, key: bytes) -> list[int]:
        """The steps whose last table this was; they wait no more."""
        found = []
        for index in self._waiting.pop(key, ()):
            self._lacking[index] -= 1
            if not self._lacking[index]:
                found.append(index)
        return found
