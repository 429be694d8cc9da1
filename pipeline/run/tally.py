"""What came of the steps of one execution, in whatever order they ended, as the record of it.

Invariant: the record is in the order of the flow, a parsed file before the first step that wants it: how many
steps ran at once, and which ended first, leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
from aq.formats.records import RunStep
from aq.pipeline.flow.graph import Node
from aq.pipeline.step.execution import Execution, Failure, Made
from aq.pipeline.step.planning import Planner

OnEvent = Callable[[dict[str, Any]], None]


class Ended(msgspec.Struct, frozen=True):
    """How one step ended. `check` is the state of a check; `violation` what did not hold; `failures` are
    those of a map's items; `hidden` is what its op read by itself.
    """

    step: RunStep
    made: Mapping[str, Made] = {}
    metrics: Mapping[str, float | None] = {}
    check: str = ""
    violation: Mapping[str, Any] | None = None
    failure: Failure | None = None
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    hidden: Mapping[str, str] = {}


class Tally:
    """The steps of a graph that have ended, and the files that were parsed for them."""

    def __init__(self, planner: Planner, on_event: OnEvent) -> None:
        self.planner = planner
        self.on_event = on_event
        self.made: dict[str, Made] = {}
        self.ended: dict[str, Ended] = {}
        self.parsed: dict[bytes, RunStep] = {}
        self.wanted: dict[str, list[bytes]] = {}
        self.total = len(planner.graph.steps)

    def add(self, one: Ended) -> None:
        """A step has ended."""
        self.ended[one.step.name] = one
        self.made.update(one.made)
        self.on_event({**_event(one), **({"event": "map"} if one.step.role == "map" else {})})

    def unfold(self, size: int) -> None:
        """A map turns out to have so many steps."""
        self.total += size - 1

    def tell(self, one: Ended, above: str = "") -> None:
        """A step has ended that has no place of its own in the record, as one of a map."""
        more = {"map": above, "total": self.total} if above else {}
        self.on_event({**_event(one), **more})

    def tell_reused(self, names: Iterable[str], above: str) -> None:
        """Steps of a map are what they were."""
        for name in names:
            self.on_event({**reused_event(name), "map": above, "total": self.total})

    def want(self, node: Node, key: bytes) -> None:
        """A step wants the table of this parsing."""
        known = self.wanted.setdefault(node.name, [])
        if key not in known:
            known.append(key)

    def execution(self, *, seconds: float, interrupted: bool) -> Execution:
        """The record. Every step has ended, at least by being cancelled."""
        planner = self.planner
        ended = [self.ended[node.name] for node in planner.graph.steps]
        failures = [one.failure for one in ended if one.failure is not None]
        failures += [failure for one in ended for failure in one.failures]
        used = {read.index: read for read in planner.graph.reads if read.index in planner.sources}
        checks = {one.step.name: one.check for one in ended if one.check}
        return Execution(
            flow=planner.graph.name,
            steps=tuple(self._steps()),
            sources=tuple((read, planner.sources[index]) for index, read in used.items()),
            artifacts={path: made for one in ended for path, made in one.made.items()},
            metrics={name: value for one in ended for name, value in one.metrics.items()},
            checks=checks,
            hidden={one.step.name: one.hidden for one in ended if one.hidden},
            violations=tuple(dict(one.violation) for one in ended if one.violation is not None),
            failures=tuple(sorted(failures, key=lambda failure: failure.step in checks)),
            fingerprints={name: one.fingerprint for name, one in planner.prepared.items()},
            notes=(*planner.opaque(), *dict.fromkeys(note for one in ended for note in one.notes)),
            seconds=seconds,
            interrupted=interrupted,
        )

    def _steps(self) -> Iterator[RunStep]:
        told: set[bytes] = set()
        for node in self.planner.graph.steps:
            for key in self.wanted.get(node.name, ()):
                if key in self.parsed and key not in told:
                    told.add(key)
                    yield self.parsed[key]
            yield self.ended[node.name].step


def reused_event(name: str) -> dict[str, Any]:
    """Of a step that was not even looked at by itself."""
    return _event(Ended(RunStep(name=name, status="reused")))


def _event(one: Ended) -> dict[str, Any]:
    step = one.step
    event: dict[str, Any] = {
        "event": "step",
        "step": step.name,
        "status": step.status,
        "seconds": step.seconds,
        "reasons": step.reasons,
        "error": step.error or None,
        "role": step.role,
        "saved": step.saved,
    }
    if step.counts:
        event["counts"] = dict(step.counts)
    return {**event, "notes": list(one.notes)} if one.notes and step.status == "run" else event
