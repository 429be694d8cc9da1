"""Rows of operations that the folder has yet to follow: set when one counts, gone when its files lie there.

Invariant: a row goes into the index with the operation itself. It is a hint: a rebuilt index has none, and
the folder then differs from HEAD. What is left to do for one, and doing it, is `store.folder.unfinished`.
"""

from __future__ import annotations

from contextlib import suppress
from struct import Struct
from typing import Final

from aq.formats.errors import AqError
from aq.store.frames.index import Change, Index

_PREFIX: Final = b"rewriting "
_sequence = Struct(">Q")


def begin(change: Change, sequence: int) -> None:
    """Note that the folder has to follow operation `sequence`."""
    change.put("meta", _key(sequence), b"")


def taken_back(change: Change, sequence: int) -> None:
    """The operation never counted."""
    change.delete("meta", _key(sequence))


def sequences(index: Index) -> set[int]:
    """The numbers of operations that the folder has not followed yet."""
    return {_sequence.unpack(key[len(_PREFIX) :])[0] for key, _ in index.items("meta", prefix=_PREFIX)}


def end(index: Index, sequence: int) -> None:
    """All its files lie where they shall. Where the index refuses, the next one finds so and ends it."""
    with suppress(AqError):
        index.put_many("meta", [(_key(sequence), None)])


def drop(index: Index, sequence: int) -> None:
    """Another operation has taken these files back."""
    if index.get("meta", _key(sequence)) is not None:
        end(index, sequence)


def _key(sequence: int) -> bytes:
    return _PREFIX + _sequence.pack(sequence)
