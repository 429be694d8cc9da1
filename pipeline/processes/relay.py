"""The store as a worker sees it: what is small travels back with the answer, what is large is stored here.

Invariant: when a step has ended, all that it put is either in `made`, or durable in the store below. So
a step with small results costs no flush of its own: the coordinator makes those of many durable at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from aq.formats.identity import Buffer, Digest, Kind, object_id
from aq.formats.objects import Origin
from aq.store.store import Store

CARRIED_MOST: Final = 256 << 10
"""Bytes beyond which results go through the store: a flush costs about what a pipe takes for them."""


class Packed(NamedTuple):
    """One object on its way between processes."""

    kind: Kind
    data: bytes
    base: bytes | None = None


class Relay:
    """Behaves like `Store` towards who executes one step after the other; `begin` each of them."""

    def __init__(self, below: Store) -> None:
        self._below = below
        self.control: Path = below.control
        self.begin(())

    def begin(self, carried: Iterable[Packed]) -> None:
        """The next step; `carried` are objects that may not be in the store yet."""
        self.made: list[Packed] = []
        self.summaries: list[tuple[bytes, dict[str, Any]]] = []
        self._carried = {bytes(object_id(one.kind, one.data)): one for one in carried}
        self._new: dict[bytes, Packed] = {}
        self._size = 0
        self._is_large = False

    def finish(self) -> None:
        """The step has ended: nothing of it is only here."""
        if self._is_large:
            self._below.flush()
        self.made = list(self._new.values())

    def get(self, kind: Kind, id: bytes) -> bytes:
        """What was put or carried here, else from below."""
        found = self._new.get(id) or self._carried.get(id)
        return self._below.get(kind, id) if found is None else found.data

    def visit(self, kind: Kind, ids: Sequence[bytes], see: Callable[[int, Buffer], None]) -> None:
        """See `Visited`: what is here one by one, what is below together."""
        below = []
        for at, id in enumerate(ids):
            if id in self._new or id in self._carried:
                see(at, self.get(kind, id))
            else:
                below.append(at)
        self._below.visit(kind, [ids[at] for at in below], lambda at, data: see(below[at], data))

    def origins(self, ids: Sequence[bytes]) -> list[Origin | None]:
        """See `Derived`: of what is below."""
        return self._below.origins(ids)

    def size_of(self, id: bytes) -> int | None:
        """See `Derived`."""
        found = self._new.get(id) or self._carried.get(id)
        return self._below.size_of(id) if found is None else len(found.data)

    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Digest:
        """Keep the bytes for the way back, until they are too many."""
        if self._is_large:
            return self._below.put(kind, data, base=base)
        digest = object_id(kind, data)
        if digest in self._new or self._below.has(digest):
            return digest
        self._new[digest] = Packed(kind, bytes(data), base)
        self._size += len(data)
        if self._size > CARRIED_MOST:
            self._store_all()
        return digest

    def _store_all(self) -> None:
        """Too much to carry: this, and all that follows in this step, goes below."""
        for one in (*self._carried.values(), *self._new.values()):
            self._below.put(one.kind, one.data, base=one.base)
        self._new.clear()
        self._is_large = True

    def has(self, id: bytes) -> bool:
        """Whether it is here or below."""
        return id in self._new or id in self._carried or self._below.has(id)

    def steps_with_key(self, key: bytes) -> list[Digest]:
        """From below."""
        return self._below.steps_with_key(key)

    def summary(self, id: bytes) -> dict[str, Any] | None:
        """What was put here, else from below."""
        here = next((value for known, value in self.summaries if known == id), None)
        return self._below.summary(id) if here is None else here

    def put_summary(self, id: bytes, value: dict[str, Any]) -> None:
        """It travels back with the answer, whatever the results do."""
        self.summaries.append((bytes(id), value))

    def flush(self) -> None:
        """Nothing: see `finish`."""
