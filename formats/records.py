"""Records: the structured objects (artifact, step, run, commit, operation, node) as msgpack.

Invariant: a record is a map with sorted keys and defaults left out; it is written once and
never re-encoded, so that fields of a newer aq survive; a new one must re-encode to itself.
Decoding hostile bytes raises `Damaged`, whatever they hold.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from aq.formats.errors import Damaged, Unstorable
from aq.formats.identity import Kind

DEPTH_MOST: Final = 64
Id = bytes
"""A digest inside a record: 32 raw bytes."""


class Record(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Base of all records."""


class Artifact(Record, frozen=True, omit_defaults=True, kw_only=True):
    """One value. Its content is inline in `data`, or a tree of parts under `root`.

    `kind`: file | table | model | array | value. `format` names the encoding (docs/format.md).
    `size`: logical bytes. `type`: canonical type information of the format.
    """

    kind: str
    format: str
    size: int
    type: Any = None
    root: Id | None = None
    data: bytes | None = None


class Step(Record, frozen=True, omit_defaults=True, kw_only=True):
    """One op applied to its inputs: every part of its key apart, and its outputs.

    Maps go from a name to the text or digest (hex) that entered the key; `outputs` keep order. `items`, of a
    map, is the root of a list of its items (see `MappedItem`).
    """

    key: Id
    op: str
    role: str = "op"
    seed: int = 0
    python: str = ""
    code: dict[str, str] = {}
    values: dict[str, str] = {}
    params: dict[str, str] = {}
    inputs: dict[str, Id] = {}
    packages: dict[str, str] = {}
    variables: dict[str, str] = {}
    options: dict[str, str] = {}
    hidden: dict[str, str] = {}
    opaque: list[str] = []
    outputs: list[tuple[str, Id]] = []
    items: Id | None = None


class MappedItem(Record, frozen=True, omit_defaults=True, kw_only=True, array_like=True):
    """One item of a map: the last part of its name, its step, the digest of what it was given, its outputs
    with their formats.
    """

    key: str
    step: Id
    digest: Id
    outputs: list[tuple[Id, str]]


class RunStep(Record, frozen=True, omit_defaults=True, kw_only=True):
    """What happened to one step in one run.

    `status`: run | reused | failed | cancelled. `seconds` is what it cost now, `saved` what the
    reuse spared. `log` is an artifact with the captured output; `attempt` a failed step's record.
    Of a map `counts` says how many items came to which status, and `items` is the root of a list of the
    records of those that ran or failed.
    """

    name: str
    status: str
    role: str = "op"
    step: Id | None = None
    reasons: list[dict[str, str]] = []
    seconds: float = 0.0
    saved: float = 0.0
    log: Id | None = None
    error: str = ""
    attempt: Id | None = None
    counts: dict[str, int] = {}
    items: Id | None = None

    @property
    def statuses(self) -> dict[str, int]:
        """How many steps this stands for, by status: none where it parsed a file."""
        if self.role == "parse":
            return {}
        return self.counts if self.role == "map" else {self.status: 1}


class Git(Record, frozen=True, omit_defaults=True, kw_only=True):
    """The Git commit of the surrounding work tree and whether it had uncommitted changes."""

    commit: str
    dirty: bool = False


class Source(Record, frozen=True, omit_defaults=True, kw_only=True):
    """One `aq.read` of a run: where it looked, and what it found there.

    `origin`: file | made | given, as in a snapshot; `pinned` the revision that was asked for;
    `outside` the location of a file that does not lie in the folder.
    """

    path: str
    artifact: Id
    origin: str = "file"
    options: dict[str, str] = {}
    pinned: str = ""
    outside: str = ""


class Run(Record, frozen=True, omit_defaults=True, kw_only=True):
    """What happened once: flow, params, code, environment, each step's fate.

    `status`: committed | unchanged | gated | failed | uncommitted. `code` is a snapshot of the
    project files that the flow reaches; `snapshot` is what the run would commit; `renamed` maps a
    metric to the name that it had before; `typed` holds the params that JSON has a type for, as such, texts
    among those of the partition only; `severities` says of each of the `checks` how much it matters.
    `partition` is the part of its paths behind the flow's name.
    """

    flow: str
    file: str
    time: int
    status: str
    snapshot: Id
    base: Id | None = None
    code: Id | None = None
    params: dict[str, str] = {}
    given: dict[str, str] = {}
    typed: dict[str, Any] = {}
    environment: Id | None = None
    git: Git | None = None
    host: dict[str, str] = {}
    sources: list[Source] = []
    steps: list[RunStep] = []
    static: Id | None = None
    metrics: dict[str, float | None] = {}
    checks: dict[str, str] = {}
    severities: dict[str, str] = {}
    violations: list[dict[str, Any]] = []
    accepted: dict[str, str] = {}
    renamed: dict[str, str] = {}
    partition: str = ""
    seconds: float = 0.0
    error: dict[str, str] = {}
    author: str = ""


class Commit(Record, frozen=True, omit_defaults=True, kw_only=True):
    """One state of everything: a snapshot with its parents, author, time, message and runs.

    `time` is nanoseconds since 1970 UTC, never before a parent's; `offset` minutes east of UTC.
    `current` names the flows whose made paths are what this commit's sources, code and params give;
    `given` the metrics that were committed as values with this very commit, by path.
    A merge names as `runs` those that it takes over from its other parents, and in `params` what it
    combined: {flow: the explicit params of its next run}.
    """

    snapshot: Id
    time: int
    author: str
    message: str
    offset: int = 0
    parents: list[Id] = []
    runs: list[Id] = []
    current: list[str] = []
    given: list[str] = []
    params: dict[str, dict[str, str]] = {}
    git: Git | None = None


class Operation(Record, frozen=True, omit_defaults=True, kw_only=True):
    """What one command did to the refs; `refs` is the root of a map of all of them, afterwards.

    `files` is the root of a map of the folder's files that the command overwrote or deleted,
    as they were before; `undoes` is the sequence number that this operation takes back. What operations
    up to number `horizon` referred to may have been collected.
    """

    sequence: int
    time: int
    command: str
    refs: Id
    parents: list[Id] = []
    argv: list[str] = []
    user: str = ""
    runs: list[Id] = []
    files: Id | None = None
    undoes: int | None = None
    description: str = ""
    horizon: int = 0


class Node(Record, frozen=True, omit_defaults=True, kw_only=True):
    """A node of a prolly tree. A map's node has `keys`; a list's node has none.

    Level 0 holds the entries themselves; above it `values` are child ids, `keys` the last key
    below each child, `counts` the number of entries below each child.
    """

    level: int
    values: list[bytes]
    keys: list[bytes] = []
    counts: list[int] = []


R = TypeVar("R", bound=Record)


def _raw(value: object) -> bytes:
    """msgspec encodes no subclass of bytes by itself: a Digest goes in as its 32 bytes."""
    if isinstance(value, bytes):
        return bytes(value)
    raise Unstorable(f"a record cannot hold a {type(value).__name__}")


_encoder = msgspec.msgpack.Encoder(order="sorted", enc_hook=_raw)
_plain = msgspec.msgpack.Decoder()
_decoders: dict[type[Record], msgspec.msgpack.Decoder[Any]] = {}

TYPES: Final[dict[Kind, type[Record]]] = {
    Kind.NODE: Node,
    Kind.ARTIFACT: Artifact,
    Kind.STEP: Step,
    Kind.RUN: Run,
    Kind.COMMIT: Commit,
    Kind.OPERATION: Operation,
}


def encode(record: Record) -> bytes:
    """The canonical bytes of a record. Raises Unstorable where it nests deeper than `DEPTH_MOST`."""
    try:
        data = _encoder.encode(record)
    except RecursionError:
        raise Unstorable("a record nests without end") from None
    return data


def decode(kind: type[R], data: bytes | memoryview) -> R:
    """Read a record; unknown fields are ignored here and survive in the stored bytes."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.msgpack.Decoder(kind)
    try:
        return decoder.decode(data)  # type: ignore[no-any-return]
    except (msgspec.DecodeError, RecursionError, ValueError, UnicodeDecodeError) as error:
        raise Damaged(f"a {kind.__name__.lower()} record cannot be read: {error}") from None


def require_canonical(kind: Kind, data: bytes | memoryview) -> None:
    """Refuse a new record that is not what `encode` would write. Raises Damaged."""
    if kind not in TYPES:
        return
    decode(TYPES[kind], data)
    try:
        plain = _plain.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Damaged(f"a {kind.name.lower()} record cannot be read: {error}") from None
    if depth(plain) > DEPTH_MOST:
        raise Damaged(f"a {kind.name.lower()} record nests deeper than {DEPTH_MOST}")
    if _encoder.encode(plain) != bytes(data):
        raise Damaged(f"a {kind.name.lower()} record is not in canonical form")


def depth(value: object) -> int:
    """How deep lists and maps nest in a decoded record."""
    deepest, stack = 0, [(value, 1)]
    while stack:
        item, level = stack.pop()
        if isinstance(item, dict):
            stack.extend((child, level + 1) for child in item.values())
        elif isinstance(item, list):
            stack.extend((child, level + 1) for child in item)
        else:
            continue
        deepest = max(deepest, level)
    return deepest
