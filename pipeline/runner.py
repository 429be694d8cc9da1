"""Walking a graph: reuse what is known, run the rest, keep every step that finished.

Invariant: what finished is durable as soon as repeating it would cost more than making it so, and
at the end, however that comes: a crash loses at most `FLUSH_SECONDS` of work. A failed step cancels
what needs it, and without `keep_going` everything after it. The branch is not touched here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from aq.formats import values
from aq.formats.errors import AqError, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import get_record, put_record
from aq.formats.records import Artifact, RunStep, Step
from aq.pipeline import measures, parsing, returns
from aq.pipeline.capture import Tee
from aq.pipeline.dry import plan
from aq.pipeline.execute import Executor, Outcome
from aq.pipeline.execution import Execution, Failure, Made, StepStore, made_by
from aq.pipeline.graph import Graph, Node
from aq.pipeline.hidden_reads import Kept
from aq.pipeline.inputs import Input
from aq.pipeline.load import Project
from aq.pipeline.planning import Parse, Planner, Previous, ReadSource
from aq.pipeline.reasons import Reason

__all__ = ["Execution", "Failure", "Made", "execute", "plan"]

FLUSH_SECONDS: Final = 0.05
"""About what two fsyncs cost on a busy disk (docs/decisions/060)."""

OnEvent = Callable[[dict[str, Any]], None]
Clock = Callable[[], float]


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
    on_event: OnEvent = _ignore,
    on_interrupt: Callable[[Execution], None] = _ignore,
    tee: Tee | None = None,
) -> Execution:
    """Bring every step of a graph up to date, in this process.

    `read` finds the artifact of a source; `previous` the id of the step recorded last under
    FLOW/NAME; `environ` holds the environment variables; `clock` gives seconds. `on_event` gets
    `{event: "start", step, total}` and `{event: "step", step, status, seconds, reasons, error, …}`.
    Ctrl-C passes through, after `on_interrupt` was given what had finished. Raises AqError for what
    is wrong before anything runs.
    """
    planner = Planner(graph, store, project, read, dict(environ or {}), previous)
    walk = _Walk(planner, clock, on_event, force=force, keep_going=keep_going, tee=tee)
    with project:
        try:
            return walk.run()
        except KeyboardInterrupt:
            on_interrupt(walk.finished(interrupted=True))
            raise


@dataclass(slots=True)
class _Walk:
    """The state of one execution."""

    planner: Planner
    clock: Clock
    on_event: OnEvent
    force: bool
    keep_going: bool
    tee: Tee | None
    steps: list[RunStep] = field(default_factory=list)
    artifacts: dict[str, Made] = field(default_factory=dict)
    metrics: dict[str, float | None] = field(default_factory=dict)
    checks: dict[str, str] = field(default_factory=dict)
    violations: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    parsed: dict[bytes, Digest] = field(default_factory=dict)
    kept: Kept = field(default_factory=Kept)
    missing: set[str] = field(default_factory=set)
    stopped: bool = False
    unflushed: float = 0.0
    began: float = 0.0

    @property
    def store(self) -> StepStore:
        return self.planner.store

    def run(self) -> Execution:
        """Walk the steps in order."""
        self.began = self.clock()
        self.planner.prepare()
        for node in self.planner.graph.steps:
            self._walk(node)
        return self.finished()

    def finished(self, *, interrupted: bool = False) -> Execution:
        """The record, durable; steps that were not reached are cancelled."""
        self.store.flush()
        told = {one.name for one in self.steps if one.role != "parse"}
        for node in self.planner.graph.steps:
            if node.name not in told:
                self._cancel(node)
        used = {read.index: read for read in self.planner.graph.reads if read.index in self.planner.sources}
        return Execution(
            flow=self.planner.graph.name,
            steps=tuple(self.steps),
            sources=tuple((read, self.planner.sources[index]) for index, read in used.items()),
            artifacts=self.artifacts,
            metrics=self.metrics,
            checks=self.checks,
            violations=tuple(self.violations),
            failures=tuple(sorted(self.failures, key=lambda failure: failure.step in self.checks)),
            fingerprints={name: one.fingerprint for name, one in self.planner.prepared.items()},
            notes=(*self.planner.opaque(), *dict.fromkeys(self.notes)),
            seconds=max(0.0, self.clock() - self.began),  # clocks are set back
            interrupted=interrupted,
        )

    # --- one step

    def _walk(self, node: Node) -> None:
        if self.stopped or node.upstream() & self.missing:
            self._cancel(node)
            return
        try:
            given = self.planner.inputs_of(node, self.artifacts, self._parse)
        except (_Unreadable, UsageError) as error:
            failure = Failure(node.name, error.kind, error.message)
            self._fail(node, Outcome([], failure, None), 0.0, [], None)
            return
        known = {place: one for place, one in given.items() if one is not None}
        step = self.planner.step(node, known)
        found = (
            None if self.force or node.op.options.cache == "never" else self.planner.recorded(step, node.name)
        )
        if found is not None:
            self._reuse(node, *found)
        else:
            self._execute(node, step, known)

    def _reuse(self, node: Node, id: Digest, step: Step) -> None:
        told = self.store.summary(id) or {}
        log = told.get("log")
        if log is not None and not self.store.has(log):
            log = None
        self._take(node, id, step.outputs)
        saved = float(told.get("seconds", 0.0))
        self._tell(RunStep(name=node.name, status="reused", role=node.role, step=id, saved=saved, log=log))

    def _execute(self, node: Node, step: Step, given: Mapping[str, Input]) -> None:
        why = self.planner.why(node, step, force=self.force)
        self.on_event({"event": "start", "step": node.name, "total": len(self.planner.graph.steps)})
        began = self.clock()
        executor = Executor(self.store, self.planner.project.root, self.tee, self.planner.previous)
        outcome = executor.attempt(node, given, step.seed)
        seconds = max(0.0, self.clock() - began)
        self.notes += outcome.notes
        if outcome.failure is not None:
            self._fail(node, outcome, seconds, why, step)
            return
        outputs = [(name, bytes(id)) for name, id in outcome.outputs]
        hidden = self.kept.hidden(step, outcome.seen)
        done = msgspec.structs.replace(step, outputs=outputs, hidden=hidden)
        id = put_record(self.store, done)
        logged = {"log": bytes(outcome.log)} if outcome.log else {}
        self.store.put_summary(id, {"seconds": seconds, **logged})
        self._keep(seconds)
        self._take(node, id, done.outputs)
        self._tell(
            RunStep(
                name=node.name,
                status="run",
                role=node.role,
                step=id,
                reasons=why,
                seconds=seconds,
                log=outcome.log,
            ),
            outcome.notes,
        )

    def _take(self, node: Node, id: Digest, outputs: list[tuple[str, bytes]]) -> None:
        """Enter a step's outputs under their paths, and what a metric or check says."""
        self.artifacts.update(made_by(node, id, outputs))
        if node.role == "op":
            return
        record = get_record(self.store, Artifact, outputs[0][1])
        value: Any = values.decode(record, self.store)
        if node.role == "metric":
            self.metrics |= measures.flat(node.name, getattr(value, "value", value))
        else:
            self._judge(node, msgspec.convert(value, measures.Verdict))

    def _judge(self, node: Node, verdict: measures.Verdict) -> None:
        if verdict.passed:
            self.checks[node.name] = "passed"
            return
        self.checks[node.name] = "warning" if node.op.options.severity == "warning" else "failed"
        plain = {"value": verdict.value, "bound": verdict.bound, "rows": verdict.rows}
        self.violations.append({"check": node.name, **plain})

    def _fail(
        self, node: Node, outcome: Outcome, seconds: float, why: list[Reason], step: Step | None
    ) -> None:
        """Keep the log and the attempt, whose inputs can be looked into; cancel what follows."""
        failure = outcome.failure
        assert failure is not None
        self.failures.append(failure)
        attempt = None if step is None else put_record(self.store, step)
        if node.role == "check":
            self.checks[node.name] = "error"
            self.violations.append({"check": node.name, "value": None, "bound": None, "rows": None})
        else:
            self.stopped = not self.keep_going
        self.missing.add(node.name)
        self._tell(
            RunStep(
                name=node.name,
                status="failed",
                role=node.role,
                reasons=why,
                seconds=seconds,
                log=outcome.log,
                error=failure.error,
                attempt=attempt,
            )
        )

    def _keep(self, seconds: float) -> None:
        """Make what finished durable, as soon as doing it again would cost more than that."""
        self.unflushed += seconds
        if self.unflushed >= FLUSH_SECONDS:
            self.store.flush()
            self.unflushed = 0.0

    def _cancel(self, node: Node) -> None:
        self.missing.add(node.name)
        self._tell(RunStep(name=node.name, status="cancelled", role=node.role))

    def _tell(self, one: RunStep, notes: tuple[str, ...] = ()) -> None:
        self.steps.append(one)
        event: dict[str, Any] = {
            "event": "step",
            "step": one.name,
            "status": one.status,
            "seconds": one.seconds,
            "reasons": one.reasons,
            "error": one.error or None,
            "role": one.role,
            "saved": one.saved,
        }
        self.on_event({**event, "notes": list(notes)} if notes else event)

    # --- parsing

    def _parse(self, wanted: Parse) -> Digest:
        """The table in a file, parsed once: as a step that is no step for events and counts."""
        known = self.parsed.get(wanted.step.key)
        if known is not None:
            return known
        found = self.planner.recorded(wanted.step)
        if found is not None:
            id, step = found
            one = RunStep(name=wanted.label, status="reused", role="parse", step=id)
        else:
            began = self.clock()
            id, step = self._parsed(wanted)
            seconds = max(0.0, self.clock() - began)
            self.store.put_summary(id, {"seconds": seconds})
            self._keep(seconds)
            one = RunStep(name=wanted.label, status="run", role="parse", step=id, seconds=seconds)
        self.steps.append(one)
        self.parsed[wanted.step.key] = Digest(step.outputs[0][1])
        return self.parsed[wanted.step.key]

    def _parsed(self, wanted: Parse) -> tuple[Digest, Step]:
        try:
            table = parsing.parse(
                wanted.record, self.store, wanted.parser, wanted.options, label=wanted.label
            )
            likes = returns.earlier(self.store, self.planner.previous(wanted.label))
            output = returns.put(self.store, table, (), wanted.label, likes.get(""))
        except AqError as error:
            raise _Unreadable(error) from error
        step = msgspec.structs.replace(wanted.step, outputs=[("", bytes(output))])
        return put_record(self.store, step), step


class _Unreadable(Exception):
    """A source that an op wants as a table cannot be parsed: the failure of the step that wants it."""

    def __init__(self, error: AqError) -> None:
        super().__init__(error.message)
        self.kind = error.kind
        self.message = error.message
