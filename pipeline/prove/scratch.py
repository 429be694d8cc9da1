"""A store on top of a store: what is read comes from either, what is written stays on top.

Invariant: the repository below is never written to, so that a reproduction (or an experiment that
must not count as history) leaves no trace; the folder on top is deleted by whoever made it.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any

from aq.formats.identity import Buffer, Digest, Kind
from aq.store.store import Store


class Scratch:
    """Behaves like `Store` towards whoever executes steps; knows no step recorded before."""

    def __init__(self, below: Store, folder: Path, *, time: int) -> None:
        self._below = below
        self._top = Store.create(folder, time=time, user="")
        self.root = folder
        self.control = self._top.control

    def get(self, kind: Kind, id: bytes) -> bytes:
        """From the top, else from below."""
        return self._top.get(kind, id) if self._top.has(id) else self._below.get(kind, id)

    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Digest:
        """On top, unless it is there already."""
        return self._top.put(kind, data, base=base)

    def has(self, id: bytes) -> bool:
        """Whether either has it."""
        return self._top.has(id) or self._below.has(id)

    def kind_of(self, id: bytes) -> Kind | None:
        """Its kind in either."""
        return self._top.kind_of(id) or self._below.kind_of(id)

    def with_prefix(self, prefix: str, kinds: Container[Kind]) -> list[Digest]:
        """Ids in the repository below."""
        return self._below.with_prefix(prefix, kinds)

    def steps_with_key(self, key: bytes) -> list[Digest]:
        """Only what was executed on top: nothing is taken from history."""
        return self._top.steps_with_key(key)

    def summary(self, id: bytes) -> dict[str, Any] | None:
        """From the top, else from below."""
        found = self._top.summary(id)
        return self._below.summary(id) if found is None else found

    def put_summary(self, id: bytes, value: dict[str, Any]) -> None:
        """On top."""
        self._top.put_summary(id, value)

    def flush(self) -> None:
        """Write what is pending, on top."""
        self._top.flush()

    def new_bytes(self) -> int:
        """Bytes written on top."""
        return self._top.new_bytes()

    def close(self) -> None:
        """Close the top; the store below belongs to the caller."""
        self._top.close()
