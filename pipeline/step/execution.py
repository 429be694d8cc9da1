"""What came of executing a graph: the record that publishing, reproduction and bisection build on.

Invariant: frozen; everything it names lies in the store, durable, whether or not it is ever
published. Nothing here decides what becomes of the branch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from aq.formats.identity import Buffer, Digest, Kind
from aq.formats.records import RunStep

if TYPE_CHECKING:
    from aq.pipeline.code.fingerprint import Fingerprint
    from aq.pipeline.flow.graph import Node, Read


class StepStore(Protocol):
    """What executing steps needs of a store; `control` is a folder for temporary files."""

    control: Path

    def get(self, kind: Kind, id: bytes) -> bytes: ...
    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Digest: ...
    def has(self, id: bytes) -> bool: ...
    def steps_with_key(self, key: bytes) -> list[Digest]: ...
    def summary(self, id: bytes) -> dict[str, Any] | None: ...
    def put_summary(self, id: bytes, value: dict[str, Any]) -> None: ...
    def flush(self) -> None: ...


class Made(msgspec.Struct, frozen=True):
    """An artifact under a path, and the step that made it."""

    artifact: Digest
    step: Digest


def made_by(node: Node, step: Digest, outputs: Sequence[tuple[str, bytes]]) -> dict[str, Made]:
    """A step's outputs under their paths."""
    return {
        f"{node.name}/{output}" if output else node.name: Made(Digest(artifact), step)
        for output, artifact in outputs
    }


class Failure(msgspec.Struct, frozen=True):
    """Why a step failed. `error` is one line, `trace` the traceback trimmed to the user's frames.

    `kind`: op_failed, or that of the AqError. `log` is the artifact with what the step wrote.
    """

    step: str
    kind: str
    error: str
    trace: str = ""
    log: Digest | None = None

    def as_dict(self) -> dict[str, str]:
        """The form of a run record: `{step, kind, message, log, trace}`, empty parts left out."""
        found = {"step": self.step, "kind": self.kind, "message": self.error, "trace": self.trace}
        found["log"] = str(self.log) if self.log else ""
        return {name: text for name, text in found.items() if text}


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """One walk through a graph.

    `steps`: in order; those of role `parse` are named after their source, and are no steps for
    events and counts. `artifacts`: by path FLOW/NAME[/OUTPUT], of every step that has a result.
    `metrics`: by full path, a NaN as None. `checks`: passed | warning | failed | error.
    `violations`: `{check, value, bound, rows}` of every check that did not hold. `failures`: of
    ops and metrics, then of checks that raised; `failed` counts only the former. `hidden`: what the op of
    a step read by itself, by step.
    """

    flow: str
    steps: tuple[RunStep, ...] = ()
    sources: tuple[tuple[Read, Digest], ...] = ()
    artifacts: Mapping[str, Made] = {}
    metrics: Mapping[str, float | None] = {}
    checks: Mapping[str, str] = {}
    hidden: Mapping[str, Mapping[str, str]] = {}
    violations: tuple[dict[str, Any], ...] = ()
    failures: tuple[Failure, ...] = ()
    fingerprints: Mapping[str, Fingerprint] = {}
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def failed(self) -> bool:
        """Whether an op or a metric failed, or the run was interrupted: there is nothing to publish."""
        return self.interrupted or any(
            one.status in ("failed", "cancelled") and one.role != "check" for one in self.steps
        )

    @property
    def gated(self) -> bool:
        """Whether a check of severity `error` failed, or a check raised."""
        return any(state in ("failed", "error") for state in self.checks.values())

    @property
    def error(self) -> Failure | None:
        """The failure to tell: an op's before a check's."""
        return self.failures[0] if self.failures else None

    @property
    def reused_seconds(self) -> float:
        """What the reused steps had cost when they ran."""
        return sum(one.saved for one in self.steps)

    def counts(self) -> dict[str, int]:
        """`{total, run, reused, failed, cancelled}`, parsing left out."""
        found = {"total": 0, "run": 0, "reused": 0, "failed": 0, "cancelled": 0}
        for one in self.steps:
            for status, count in one.statuses.items():
                found["total"] += count
                found[status] += count
        return found
