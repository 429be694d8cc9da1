"""What a pickle names beside itself: its buffers, and artifacts of their own (docs/format.md, section 9).

Invariant: opcodes are read one after the other, never executed; memory is bounded by the longest text
in them, whatever they say of their lengths.
"""

from __future__ import annotations

import pickletools
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from aq.formats.errors import Damaged
from aq.formats.python.pickle_reading import is_written

_TAKEN_MOST: Final = 16 << 20
"""A longer text or number inside opcodes ends the reading."""
_MARK: Final = "artifact"
_ID_SIZE: Final = 32
_KEPT: Final = 4
_BROKEN: Final = (ValueError, IndexError, TypeError, AttributeError, KeyError, EOFError, OverflowError)


class Named(NamedTuple):
    """How many buffers the opcodes name, and the ids of artifacts in order of appearance."""

    buffers: int
    artifacts: list[bytes]


def named_in(opcodes: Iterator[bytes]) -> Named | None:
    """What opcodes, given in pieces, name; None where they hold a text too long to look at.

    Raises Damaged on what aq does not write.
    """
    machine = _Names()
    try:
        for opcode, argument, _ in pickletools.genops(_Stream(opcodes)):  # type: ignore[arg-type]
            if not is_written(opcode.name):
                raise Damaged(f"its opcodes hold {opcode.name}, which aq does not write")
            machine.step(opcode.name, argument)
    except _TooLong:
        return None
    except _BROKEN as error:
        raise Damaged(f"its opcodes cannot be read: {error}") from None
    return Named(machine.buffers, list(machine.artifacts))


class _TooLong(Exception):
    """A text that is not to be held in memory."""


class _Stream:
    """As much of a file as `pickletools` uses, over pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._data = b""
        self._at = 0

    def read(self, size: int) -> bytes:
        """The next bytes, fewer at the end."""
        if size > _TAKEN_MOST:
            raise _TooLong
        while len(self._data) - self._at < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._data, self._at = self._data[self._at :] + piece, 0
        found = self._data[self._at : self._at + size]
        self._at += len(found)
        return found

    def readline(self) -> bytes:
        """Opcodes with lines are none that aq writes."""
        raise ValueError("they hold a line of text")


class _Names:
    """The last few values on the stack, as far as they can name an artifact."""

    def __init__(self) -> None:
        self.buffers = 0
        self.artifacts: dict[bytes, None] = {}
        self._recent: deque[Any] = deque(maxlen=_KEPT)
        self._memo: dict[int, Any] = {}
        self._count = 0

    def step(self, name: str, argument: Any) -> None:
        """One opcode."""
        if name == "MEMOIZE":
            self._memoise()
        elif name in ("BINGET", "LONG_BINGET"):
            self._recent.append(self._memo.get(argument))
        elif name == "BINPERSID":
            self._name()
        elif name == "TUPLE2":
            pair = tuple(self._recent)[-2:]
            self._recent.clear()
            self._recent.append(pair if _is_name(pair) else None)
        elif name == "NEXT_BUFFER":
            self.buffers += 1
            self._recent.append(None)
        elif argument == _MARK or (isinstance(argument, bytes) and len(argument) == _ID_SIZE):
            self._recent.append(argument)
        else:
            self._recent.clear()

    def _memoise(self) -> None:
        if self._recent and self._recent[-1] is not None:
            self._memo[self._count] = self._recent[-1]
        self._count += 1

    def _name(self) -> None:
        pair: Any = self._recent[-1] if self._recent else None
        if not _is_name(pair):
            raise Damaged("its opcodes name something outside that is no artifact")
        self.artifacts[bytes(pair[1])] = None
        self._recent.append(None)


def _is_name(pair: Any) -> bool:
    return isinstance(pair, tuple) and len(pair) == 2 and pair[0] == _MARK and isinstance(pair[1], bytes)
