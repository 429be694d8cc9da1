"""The records of keeping a repository in order: checks, disk usage, collections.

Invariant: as in `pipeline.records.results`: field names are the JSON keys, ids full hexadecimal. Records hold
no behaviour.
"""

from __future__ import annotations

from aq.pipeline.records.results import Result


class Problem(Result, frozen=True, kw_only=True):
    """One thing that is damaged.

    `kind`: that of an object, or pack, index, ref, file. `path`: where the newest of `commits` (those that
    need it, at most ten, newest first) has it. `repair`: a command to type; empty where none can help.
    """

    kind: str
    id: str | None
    path: str | None
    detail: str
    repair: str
    commits: list[str] = []


class Checked(Result, frozen=True, kw_only=True):
    """What `fsck` looked at and found. `unreferenced`: bytes that nothing needs, which is no damage."""

    objects: int
    bytes: int
    problems: list[Problem]
    unreferenced: int = 0
    full: bool = False
    rebuilt: bool = False


class Usage(Result, frozen=True, kw_only=True):
    """Bytes on disk of one branch, tag, flow, kind or folder. `own`: what nothing else of its sort needs."""

    name: str
    objects: int
    bytes: int
    own: int


class DiskUsage(Result, frozen=True, kw_only=True):
    """Where the bytes of `.aq` are. `unreferenced`: of these, what nothing needs any more."""

    bytes: int
    objects: int
    unreferenced: int
    index: int
    refs: list[Usage]
    paths: list[Usage]
    flows: list[Usage]
    kinds: list[Usage]


class KeptFreed(Result, frozen=True, kw_only=True):
    """How much of something was kept, and how much freed."""

    kept: int
    freed: int


class Counts(Result, frozen=True, kw_only=True):
    """A number of objects and their bytes on disk."""

    objects: int
    bytes: int


class Because(Result, frozen=True, kw_only=True):
    """How much is kept for a reason and for none that stands before it."""

    reason: str
    objects: int
    bytes: int


class Collected(Result, frozen=True, kw_only=True):
    """What `gc` did, or with `dry_run` would do.

    `waiting`: what nothing needs, but which the grace or a live writer holds back; `because`: why the
    rest is kept (of a dry run); `expired`: operations that can no longer be taken back.
    """

    objects: KeptFreed
    bytes: KeptFreed
    waiting: Counts
    because: list[Because] = []
    expired: int = 0
    dry_run: bool = False
