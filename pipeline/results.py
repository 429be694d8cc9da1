"""The records that the Python API returns and the command line renders, as text or as JSON.

Invariant: field names are the JSON keys of docs/commands.md (`from_` is `from`); ids are full
lowercase hexadecimal, times RFC 3339 in UTC, sizes bytes. Records hold no behaviour but the way
notebooks show them.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Result(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Base of all results."""

    def _repr_html_(self) -> str:
        from aq.pipeline.html import table

        return table(type(self).__name__, self)


class PathCounts(Result, frozen=True, kw_only=True):
    """How many paths a commit added, changed and removed against its first parent."""

    added: int = 0
    changed: int = 0
    removed: int = 0


class ByteCounts(Result, frozen=True, kw_only=True):
    """Bytes appended to the store by a command, and the logical bytes of the snapshot."""

    new: int = 0
    total: int = 0


class CommitResult(Result, frozen=True, kw_only=True):
    """What `commit` did; with nothing to commit, `id` is HEAD and `created` is false."""

    id: str
    parents: list[str]
    message: str
    author: str
    time: str
    paths: PathCounts
    bytes: ByteCounts
    created: bool = True
    branch: str | None = None
    notes: list[str] = []


class Change(Result, frozen=True, kw_only=True):
    """One path of the folder that differs from HEAD. `change`: added | changed | removed."""

    path: str
    change: str


class Reason(Result, frozen=True, kw_only=True):
    """Why a step must run. `kind`: code | data | param | env | upstream."""

    kind: str
    detail: str


class StaleStep(Result, frozen=True, kw_only=True):
    """A step that would run; `step` is None where only importing the code could tell which."""

    step: str | None
    exact: bool
    reasons: list[Reason]


class FlowStatus(Result, frozen=True, kw_only=True):
    """A flow of HEAD and its stale steps; empty where it is up to date."""

    flow: str
    stale: list[StaleStep]
    hint: str | None = None


class Status(Result, frozen=True, kw_only=True):
    """The folder against HEAD. `head` is None before the first commit."""

    branch: str | None
    head: str | None
    changes: list[Change]
    untracked: list[str]
    flows: list[FlowStatus]
    notes: list[str] = []


class CommitFacts(Result, frozen=True, kw_only=True):
    """What `log` and `show` tell of a commit. `metrics` holds recorded values only; a NaN is None."""

    id: str
    parents: list[str]
    message: str
    author: str
    time: str
    flow: str | None
    tags: list[str]
    branches: list[str]
    metrics: dict[str, float | None]
    checks: dict[str, str]
    git: dict[str, Any] | None = None
    flows: list[str] = []
    runs: list[str] = []


class LogEntry(CommitFacts, frozen=True, kw_only=True):
    """One commit; `run` is the run that made its results."""

    run: str | None


class PathEntry(Result, frozen=True, kw_only=True):
    """One path of a snapshot. `kind`: file | table | model | array | value; `origin`: file | made | given."""

    path: str
    kind: str
    id: str
    size: int
    origin: str
    step: str | None = None
    mode: str = "file"


class StepEntry(Result, frozen=True, kw_only=True):
    """One step of a run, and what became of it. `status`: run | reused | failed | cancelled."""

    step: str
    status: str
    role: str = "op"
    seconds: float = 0.0
    saved: float = 0.0
    reasons: list[Reason] = []
    inputs: list[str] = []
    outputs: list[str] = []
    error: str | None = None
    log: str | None = None


class RunInfo(Result, frozen=True, kw_only=True):
    """The run that made a commit's results. `git` is None outside a Git work tree."""

    id: str
    flow: str
    status: str
    time: str
    params: dict[str, Any]
    steps: list[StepEntry]
    environment: dict[str, Any]
    code: dict[str, str]
    git: dict[str, Any] | None
    seconds: float = 0.0
    file: str = ""
    error: dict[str, str] | None = None
    violations: list[Violation] = []
    accepted: dict[str, str] = {}


class Violation(Result, frozen=True, kw_only=True):
    """A check that did not hold. `rows` counts the failing rows where it looked at rows."""

    check: str
    value: Any
    bound: str | None = None
    rows: int | None = None


class ShowRevision(CommitFacts, frozen=True, kw_only=True):
    """A commit, or a run that was not committed, with its snapshot. `id` is the run's then."""

    snapshot: list[PathEntry]
    run: RunInfo | None = None
    change_counts: PathCounts | None = None


class ShowPath(Result, frozen=True, kw_only=True):
    """One path at one revision. `summary` is what is known of the value without loading it."""

    path: str
    kind: str
    id: str
    size: int
    origin: str
    format: str
    summary: dict[str, Any]
    step: str | None
    revision: str = ""


class PathDiff(Result, frozen=True, kw_only=True):
    """One path that differs. `change`: added | changed | removed | provenance; `detail` by kind."""

    path: str
    kind: str
    change: str
    detail: dict[str, Any] = {}
    origin: str = "file"


class CodeDiff(Result, frozen=True, kw_only=True):
    """A definition that differs: `op` is FLOW/NAME or module:qualname, `diff` a unified diff."""

    op: str
    change: str
    diff: str


class ParamDiff(Result, frozen=True, kw_only=True):
    """A flow parameter that differs; None where one side has none."""

    name: str
    from_: Any
    to: Any


class PackageDiff(Result, frozen=True, kw_only=True):
    """A package (or Python itself) whose version differs."""

    package: str
    from_: str | None
    to: str | None


class MetricDiff(Result, frozen=True, kw_only=True):
    """A metric whose recorded value differs; None where it is missing."""

    name: str
    from_: float | None
    to: float | None


class Diff(Result, frozen=True, kw_only=True):
    """Everything that differs between two revisions, or between one and the folder (`to` None)."""

    from_: str | None
    to: str | None
    paths: list[PathDiff]
    code: list[CodeDiff]
    params: list[ParamDiff]
    environment: list[PackageDiff]
    metrics: list[MetricDiff]


class StepCounts(Result, frozen=True, kw_only=True):
    """How many steps a run had, and what became of them."""

    total: int = 0
    run: int = 0
    reused: int = 0
    failed: int = 0
    cancelled: int = 0


class RunDone(Result, frozen=True, kw_only=True):
    """How a run ended. `status`: committed | unchanged | gated | failed | uncommitted."""

    run: str
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
    seconds: float = 0.0
    message: str | None = None
    params: dict[str, str] = {}
    notes: list[str] = []


class PlannedStep(Result, frozen=True, kw_only=True):
    """What a run would do with a step. `action`: run | reuse."""

    step: str
    action: str
    reasons: list[Reason]


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
    """One recorded value of a series."""

    commit: str
    time: str
    value: float | None


class CheckEntry(Result, frozen=True, kw_only=True):
    """One check at a revision. `state`: passed | warning | failed | error | accepted."""

    check: str
    state: str
    severity: str = "error"
    value: Any = None
    bound: str | None = None
    rows: int | None = None
    accepted: str | None = None


class Ref(Result, frozen=True, kw_only=True):
    """A branch or a tag."""

    name: str
    commit: str | None
    current: bool = False
    message: str = ""


class Moved(Result, frozen=True, kw_only=True):
    """What `switch`, `restore` and `undo` did to the folder; `left` names Git-tracked files left alone."""

    branch: str | None
    head: str | None
    written: list[str] = []
    deleted: list[str] = []
    left: list[str] = []
    notes: list[str] = []


class Tracked(Result, frozen=True, kw_only=True):
    """What `add` and `remove` did."""

    added: list[str] = []
    removed: list[str] = []
    notes: list[str] = []


class OperationEntry(Result, frozen=True, kw_only=True):
    """One entry of the operation log; `refs` lists what it moved."""

    id: str
    sequence: int
    time: str
    user: str
    command: str
    description: str
    argv: list[str]
    refs: list[RefMove]
    undoes: int | None = None


class RefMove(Result, frozen=True, kw_only=True):
    """A ref's value before and after; None where it did not exist."""

    name: str
    from_: str | None
    to: str | None


class Undone(Result, frozen=True, kw_only=True):
    """What `undo` took back."""

    operation: str
    undone: str
    description: str
    refs: list[RefMove]
    written: list[str] = []
    deleted: list[str] = []


class LogText(Result, frozen=True, kw_only=True):
    """The captured output of one step of one run."""

    run: str
    step: str
    status: str
    text: str
    error: str | None = None
    inputs: list[PathEntry] = []
