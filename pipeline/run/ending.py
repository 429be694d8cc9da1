"""The ways in which a step ends: it ran, was reused, failed or was cancelled.

Invariant: a step that has outputs is recorded with its key before its end is told; a metric and a check
say what their outputs say, so that a reused one says what it said when it ran.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aq.formats.artifacts import values
from aq.formats.identity import Digest
from aq.formats.objects import get_record, put_record
from aq.formats.records import Artifact, RunStep, Step
from aq.pipeline.code.hidden_reads import Kept
from aq.pipeline.flow import measures
from aq.pipeline.flow.graph import Node
from aq.pipeline.processes.work import Result, StepWork
from aq.pipeline.run.tally import Ended
from aq.pipeline.step.execution import Failure, StepStore, made_by


def ran(store: StepStore, work: StepWork, result: Result, kept: Kept) -> Ended:
    """A step that was executed: recorded with its outputs, and with what its op read by itself."""
    node, outcome = work.node, result.outcome
    outputs = [(name, bytes(id)) for name, id in outcome.outputs]
    hidden = kept.hidden(work.step, outcome.seen)
    step = msgspec.structs.replace(work.step, outputs=outputs, hidden=hidden)
    id = put_record(store, step)
    logged = {"log": bytes(outcome.log)} if outcome.log else {}
    whole = {"whole": outcome.whole} if outcome.whole is not None else {}
    store.put_summary(id, {"seconds": result.seconds, **whole, **logged})
    one = RunStep(
        name=node.name,
        status="run",
        role=node.role,
        step=id,
        reasons=work.why,
        seconds=result.seconds,
        log=outcome.log,
    )
    return _with_outputs(store, node, one, step, outcome.notes)


def reused(store: StepStore, node: Node, id: Digest, step: Step) -> Ended:
    """A step that was executed before."""
    told = store.summary(id) or {}
    log = told.get("log")
    one = RunStep(
        name=node.name,
        status="reused",
        role=node.role,
        step=id,
        saved=float(told.get("seconds", 0.0)),
        log=log if log is not None and store.has(log) else None,
    )
    return _with_outputs(store, node, one, step)


def _with_outputs(
    store: StepStore, node: Node, one: RunStep, step: Step, notes: tuple[str, ...] = ()
) -> Ended:
    assert one.step is not None
    made = made_by(node, Digest(one.step), step.outputs)
    if node.role in ("op", "map"):
        return Ended(one, made, notes=notes, hidden=step.hidden)
    record = get_record(store, Artifact, step.outputs[0][1])
    value: Any = values.decode(record, store)
    if node.role == "metric":
        numbers = measures.flat(node.name, getattr(value, "value", value))
        return Ended(one, made, numbers, notes=notes, hidden=step.hidden)
    verdict = msgspec.convert(value, measures.Verdict)
    if verdict.passed:
        return Ended(one, made, check="passed", notes=notes, hidden=step.hidden)
    state = "warning" if node.op.options.severity == "warning" else "failed"
    violation = {"check": node.name, "value": verdict.value, "bound": verdict.bound, "rows": verdict.rows}
    return Ended(one, made, check=state, violation=violation, notes=notes, hidden=step.hidden)


def failed(node: Node, failure: Failure, result: Result | None, attempt: bytes | None) -> Ended:
    """A step that has no outputs; of a check that raised, that is a violation too. `attempt`: its record."""
    one = RunStep(
        name=node.name,
        status="failed",
        role=node.role,
        reasons=result.work.why if result and isinstance(result.work, StepWork) else [],
        seconds=result.seconds if result else 0.0,
        log=result.outcome.log if result else None,
        error=failure.error,
        attempt=attempt,
    )
    if node.role != "check":
        return Ended(one, failure=failure)
    violation = {"check": node.name, "value": None, "bound": None, "rows": None}
    return Ended(one, check="error", violation=violation, failure=failure)


def cancelled(node: Node) -> Ended:
    """A step that was not begun, or not finished."""
    return Ended(RunStep(name=node.name, status="cancelled", role=node.role))
