"""The seam between what bytes mean and where they lie: a source and a sink of objects.

Invariant: `get` returns bytes whose hash is the id that was asked for; `put` returns the id
of exactly the bytes given. Formats know objects only through these two protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from aq.formats.identity import Buffer, Digest, Kind, object_id
from aq.formats.records import TYPES, Artifact, Record, decode, encode

R = TypeVar("R", bound=Record)
_kind_of = {record: kind for kind, record in TYPES.items()}


class Source(Protocol):
    """Anything that objects can be read from."""

    def get(self, kind: Kind, id: bytes) -> bytes:
        """The canonical bytes. Raises Damaged where they are missing or do not match the id."""


@runtime_checkable
class Visited(Protocol):
    """A source that shows many objects faster than it gives them one by one."""

    def visit(self, kind: Kind, ids: Sequence[bytes], see: Callable[[int, Buffer], None]) -> None:
        """Call `see` with the position of each id and its bytes, in any order and from two threads.

        The bytes are right only until `see` returns. Raises Damaged as `get` does.
        """


class Origin(NamedTuple):
    """How an object is made: of which other one, and what it has in common with that, without reading either.

    `length`: its bytes, where known. `runs`: first byte here, first byte there, how many; None: all of it.
    """

    id: bytes
    length: int | None
    runs: list[tuple[int, int, int]] | None


@runtime_checkable
class Derived(Protocol):
    """A source that knows of its objects what they are made from."""

    def origins(self, ids: Sequence[bytes]) -> list[Origin | None]:
        """Of each chunk; of one that lies in full itself; None where that is not known."""

    def size_of(self, id: bytes) -> int | None:
        """The length of an object's canonical bytes, which are not read; None if it is not there."""


class Sink(Protocol):
    """Anything that objects can be written to."""

    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Digest:
        """Store the bytes once and return their id; `base` is an object that they resemble.

        For a chunk of new rows others follow it whose values may come again, or 32 zero bytes for none; for a
        node no bytes at all say that others will resemble it.
        """


class SourceAndSink(Source, Sink, Protocol):
    """Both directions."""


class Like(NamedTuple):
    """An earlier artifact that a new one probably resembles, and where its parts are."""

    artifact: Artifact
    source: Source


def get_record(source: Source, record: type[R], id: bytes) -> R:
    """Read and decode one record."""
    return decode(record, source.get(_kind_of[record], id))


def visit(source: Source, kind: Kind, ids: Sequence[bytes], see: Callable[[int, Buffer], None]) -> None:
    """Show many objects: as `Visited` says where the source can, else one after the other."""
    if len(ids) > 1 and isinstance(source, Visited):
        source.visit(kind, ids, see)
    else:
        for at, id in enumerate(ids):
            see(at, source.get(kind, id))


def put_record(sink: Sink, record: Record) -> Digest:
    """Encode and store one record."""
    return sink.put(_kind_of[type(record)], encode(record))


class MemoryObjects:
    """Objects in a dict: what a quarantine or a test needs."""

    def __init__(self) -> None:
        self.objects: dict[bytes, tuple[Kind, bytes]] = {}

    def get(self, kind: Kind, id: bytes) -> bytes:
        """See `Source`. Raises KeyError on an unknown id."""
        found, data = self.objects[bytes(id)]
        if found is not kind:
            raise KeyError(f"{id.hex()} is a {found.name}, not a {kind.name}")
        return data

    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Digest:
        """See `Sink`."""
        digest = object_id(kind, data)
        self.objects[digest] = (kind, bytes(data))
        return digest


class Overlay:
    """A source with some objects in memory on top of it, which are never stored."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._memory = MemoryObjects()

    def get(self, kind: Kind, id: bytes) -> bytes:
        """See `Source`."""
        if bytes(id) in self._memory.objects:
            return self._memory.get(kind, id)
        return self._source.get(kind, id)

    def summary(self, id: bytes) -> dict[str, Any] | None:
        """What the source below knows of an artifact."""
        known = getattr(self._source, "summary", None)
        found: dict[str, Any] | None = None if known is None else known(id)
        return found

    def before_executing(self) -> None:
        """As the source below says."""
        if (ask := getattr(self._source, "before_executing", None)) is not None:
            ask()

    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Digest:
        """See `Sink`."""
        return self._memory.put(kind, data, base=base)
