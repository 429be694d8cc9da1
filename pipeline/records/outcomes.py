"""The records of running and explaining: runs, plans, reproductions, bisections, lineage, series.

Invariant: as in `pipeline.records.results`: field names are the JSON keys, ids full hexadecimal, times
RFC 3339 in UTC. Records hold no behaviour.
"""

from __future__ import annotations

from typing import Any

from aq.pipeline.records.results import PackageDiff, PathEntry, Reason, Result, Violation


class StepCounts(Result, frozen=True, kw_only=True):
    """How many steps a run had, and what became of them."""

    total: int = 0
    run: int = 0
    reused: int = 0
    failed: int = 0
    cancelled: int = 0


class RunDone(Result, frozen=True, kw_only=True):
    """How a run ended. `status`: committed | unchanged | gated | failed | uncommitted.

    `run` is None where a signal came while the store took in what the run had made: nothing tells of it then.
    """

    run: str | None
    commit: str | None
    status: str
    steps: StepCounts
    metrics: dict[str, float | None]
    checks: dict[str, str]
    violations: list[Violation]
    reused_seconds: float
    error: dict[str, Any] | None
    event: str = "done"
    flow: str = ""
    partition: str = ""
    seconds: float = 0.0
    message: str | None = None
    params: dict[str, Any] = {}
    notes: list[str] = []


class PlannedStep(Result, frozen=True, kw_only=True):
    """What a run would do with a step. `action`: run | reuse.

    Items of a map are steps, which name it as `map`; where only a run can tell them, the map stands for them.
    """

    step: str
    action: str
    reasons: list[Reason]
    map: str | None = None


class Plan(Result, frozen=True, kw_only=True):
    """What `run -n` says."""

    steps: list[PlannedStep]
    notes: list[str] = []


class RunEntry(Result, frozen=True, kw_only=True):
    """One line of `runs`; `commit` is None where the run was not committed."""

    run: str
    flow: str
    time: str
    status: str
    commit: str | None
    params: dict[str, Any]
    metrics: dict[str, float | None]
    checks: dict[str, str]
    seconds: float
    partition: str = ""


class ArtifactVerdict(Result, frozen=True, kw_only=True):
    """One path of a reproduction. `verdict`: identical | equal | different | source."""

    path: str
    verdict: str
    detail: str = ""


class FirstDifference(Result, frozen=True, kw_only=True):
    """The first step, in order of execution, whose output differs."""

    step: str
    path: str
    detail: str


class Repro(Result, frozen=True, kw_only=True):
    """Whether a run gives the same again. `verdict`: identical | equal | different."""

    commit: str
    verdict: str
    environment: list[PackageDiff]
    artifacts: list[ArtifactVerdict]
    first_difference: FirstDifference | None
    seconds: float = 0.0


class CommitValue(Result, frozen=True, kw_only=True):
    """A metric's value at a commit."""

    commit: str
    value: float | None


class Culprit(Result, frozen=True, kw_only=True):
    """A commit where the metric turned, with its value and its parent's."""

    commit: str
    message: str
    value: float | None
    parent_value: float | None


class Evaluations(Result, frozen=True, kw_only=True):
    """How many values a bisect read, computed and could not get."""

    recorded: int = 0
    computed: int = 0
    skipped: int = 0


class Probe(Result, frozen=True, kw_only=True):
    """One value that bisect looked at. `source`: recorded | computed | skipped."""

    commit: str
    value: float | None
    source: str
    detail: str = ""


class Shift(Result, frozen=True, kw_only=True):
    """A change of level in the recorded series: first commit after it, mean before and after."""

    commit: str
    from_: float
    to: float


class Bisect(Result, frozen=True, kw_only=True):
    """What bisect found. `verdict`: proved | confirmed | inconclusive."""

    metric: str | None
    good: CommitValue | None
    bad: CommitValue | None
    culprit: Culprit | None
    verdict: str
    confidence: float
    evaluations: Evaluations
    path: list[Probe]
    shifts: list[Shift]
    unprobed: list[str]
    why: dict[str, Any] | None = None
    reason: str = ""


class Lineage(Result, frozen=True, kw_only=True):
    """What made an artifact, down to its sources."""

    path: str
    artifact: str
    step: str | None
    inputs: list[Lineage]


class Use(Result, frozen=True, kw_only=True):
    """A path at a commit that an artifact went into."""

    commit: str
    path: str


class Downstream(Result, frozen=True, kw_only=True):
    """Where an artifact was used."""

    used_by: list[Use]


class MetricPoint(Result, frozen=True, kw_only=True):
    """One recorded value of a series.

    `change`: from the value before, None where there is none; `jump`: "up" or "down" where that stands out.
    """

    commit: str
    time: str
    value: float | None
    change: float | None = None
    jump: str | None = None


class CheckPoint(Result, frozen=True, kw_only=True):
    """How a check ended in one run; `commit` is None where the run was not published."""

    commit: str | None
    run: str
    time: str
    state: str


class CheckEntry(Result, frozen=True, kw_only=True):
    """One check at a revision. `state`: passed | warning | failed | error | accepted.

    `severity`: error | warning, None where an older aq ran it and its state does not tell; `history`: the
    last runs of its flow up to this one, oldest first.
    """

    check: str
    state: str
    severity: str | None
    value: Any = None
    bound: float | str | None = None
    rows: int | None = None
    accepted: str | None = None
    history: list[CheckPoint] = []


class LogText(Result, frozen=True, kw_only=True):
    """The captured output of one step of one run."""

    run: str
    step: str
    status: str
    text: str
    error: str | None = None
    inputs: list[PathEntry] = []
