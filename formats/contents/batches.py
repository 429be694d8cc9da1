"""Pieces of a file on their way into a sink, some at a time, beside those of an earlier version.

Invariant: ids, pieces and their order do not depend on the earlier version; it only tells a sink with two
halves what else a piece resembles. Batches are brought into step with it in order, by whatever thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

from aq.formats.contents.earlier import Earlier, Near
from aq.formats.identity import Buffer, Digest, Kind, object_id
from aq.formats.objects import Sink


@runtime_checkable
class Stager(Protocol):
    """A sink whose `put` has two halves: `admit(stage(kind, data))` is `put(kind, data)`.

    Several threads may stage at a time; the data must not change before it is admitted.
    """

    def stage(
        self,
        kind: Kind,
        data: Buffer,
        *,
        base: bytes | None = None,
        near: Near | None = None,
        id: Digest | None = None,
    ) -> Any:
        """The costly half: hash (unless the `id` is known already), look up, compress."""

    def admit(self, staged: Any) -> Digest:
        """The half that keeps order: append."""


class Batches:
    """The pieces of one file, stored in `sink`."""

    def __init__(self, sink: Sink, earlier: Earlier | None = None) -> None:
        self._sink = sink
        self._stager = sink if isinstance(sink, Stager) else None
        self._earlier = earlier if self._stager is not None else None

    def guess(self, offset: int, room: int) -> tuple[int, list[int]]:
        """See `Earlier.guess`; nothing where there is no earlier version."""
        return (0, []) if self._earlier is None else self._earlier.guess(offset, room)

    def holds(self, number: int, ids: Sequence[bytes]) -> bool:
        """Whether the pieces of the earlier version from this number on have these ids."""
        return self._earlier is not None and self._earlier.holds(number, ids)

    def stage(
        self,
        pieces: Sequence[Buffer],
        *,
        ended: bool,
        turn: Callable[[], AbstractContextManager[None]],
        settle: Callable[[Sequence[bytes]], Sequence[Buffer] | None] = lambda ids: None,
    ) -> list[Any]:
        """The costly half of storing some pieces; `turn` is entered where batches keep their order.

        `settle` is told there of the ids, and returns the right pieces if these are not.
        """
        if self._stager is None:
            return [self._sink.put(Kind.CHUNK, piece) for piece in pieces]
        if self._earlier is None:
            return [self._stager.stage(Kind.CHUNK, piece) for piece in pieces]
        ids = [object_id(Kind.CHUNK, piece) for piece in pieces]
        with turn():
            right = settle(ids)
            if right is not None:
                pieces, ids = right, [object_id(Kind.CHUNK, piece) for piece in right]
            near = self._earlier.near(ids, [len(piece) for piece in pieces], ended=ended)
        return [
            self._stager.stage(Kind.CHUNK, piece, near=one, id=id)
            for piece, one, id in zip(pieces, near, ids, strict=True)
        ]

    def admit(self, staged: Any) -> Digest:
        """The half that keeps order, for one piece."""
        return staged if self._stager is None else self._stager.admit(staged)
