"""The records of recording and looking, as the Python API returns and the command line renders them.

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
        from aq.pipeline.records.html import table

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


class Commit(Result, frozen=True, kw_only=True):
    """What every record of a commit holds."""

    id: str
    parents: list[str]
    message: str
    author: str
    time: str


class CommitResult(Commit, frozen=True, kw_only=True):
    """What `commit` did; with nothing to commit, `id` is HEAD and `created` is false."""

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
    partition: str = ""


class Status(Result, frozen=True, kw_only=True):
    """The folder against HEAD. `head` is None before the first commit."""

    branch: str | None
    head: str | None
    changes: list[Change]
    untracked: list[str]
    flows: list[FlowStatus]
    notes: list[str] = []


class CommitFacts(Commit, frozen=True, kw_only=True):
    """What `log` and `show` tell of a commit. `metrics` holds recorded values only; a NaN is None.

    `newest`: those of partitioned flows as they are in the newest partition, under a name without it.
    """

    flow: str | None
    tags: list[str]
    branches: list[str]
    metrics: dict[str, float | None]
    checks: dict[str, str]
    git: dict[str, Any] | None = None
    flows: list[str] = []
    runs: list[str] = []
    newest: dict[str, float | None] = {}


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
    """One step of a run, and what became of it. `status`: run | reused | failed | cancelled.

    Of a map `counts` says how many of its items came to which status.
    """

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
    counts: dict[str, int] = {}


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
    bound: float | str | None = None
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
    written: int | None = None


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


class InsideConflict(Result, frozen=True, kw_only=True):
    """What inside a path both sides of a merge changed.

    `kind`: cell, row (changed on one side, removed on the other), column, lines; key: several rows that a
    side touched have this `key`, or, without one, no columns name the rows on all sides (`column` could), so
    that nothing was looked at. `key` names the row by the table's key, or the `line` of ours. A side is a
    value, or what it did; `base` None where nothing was.
    """

    kind: str
    column: str | None
    key: dict[str, Any] | None
    base: Any
    ours: Any
    theirs: Any


class MergeConflict(Result, frozen=True, kw_only=True):
    """A path that both sides of a merge changed; the ids of what each holds, None for nothing.

    `kind`, what ours / theirs did: change/change, add/add, change/delete, delete/change; file/folder and
    folder/file (of all at and below the path); made: one side's flow makes it.
    """

    path: str
    kind: str
    ours: str | None
    theirs: str | None
    base: str | None
    inside: list[InsideConflict] = []


class Merged(Result, frozen=True, kw_only=True):
    """What `merge` did. `status`: merged | fast-forward | unchanged | conflict (nothing was done).

    `id` is HEAD afterwards, `paths` what changed in its snapshot, `settled` how many conflicts were
    answered; `stale` names flows that were current on a side and are not any more.
    """

    status: str
    id: str | None
    branch: str | None
    parents: list[str] = []
    message: str = ""
    paths: PathCounts = PathCounts()
    conflicts: list[MergeConflict] = []
    settled: int = 0
    written: list[str] = []
    deleted: list[str] = []
    left: list[str] = []
    stale: list[str] = []
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
