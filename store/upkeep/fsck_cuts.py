"""Whether parts are cut where docs/format.md, section 7, cuts them (I31).

Invariant: where a piece ends depends on it, on the byte behind it and on how much is left, so each pair
of neighbours is looked at once, however many versions of a file share it. Memory: 5 MiB, and 100
bytes for each pair that was met.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from aq.formats.contents.chunking import LONGEST, lengths
from aq.formats.contents.files import WHOLE_BELOW, Piece, pieces, read_piece
from aq.formats.objects import Source

_NOWHERE: Final = "it is not cut where its content says so"


class CutCheck:
    """One check of many artifacts."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._met: set[bytes] = set()

    def problem(self, root: bytes, *, buffer: bool = False, text_first: bool = False) -> str:
        """What is wrong with the parts under a root, or "". `buffer`: they are buffers, but for the
        first where that is text. Raises Damaged on what cannot be read.
        """
        part = _Part(is_buffer=buffer and not text_first)
        for piece in pieces(self._source, root):
            part.add(piece)
            if not piece.goes_on:
                if not self._is_well(part):
                    return "a buffer is cut that is short enough for one piece" if part.is_short else _NOWHERE
                part = _Part(is_buffer=buffer)
            elif not self._leave(part, part.most):
                return _NOWHERE
        return ""

    def _is_well(self, part: _Part) -> bool:
        """Whether a part that has ended is cut as it should be."""
        if part.is_whole or part.is_short:
            return part.is_whole
        return self._leave(part, LONGEST) and self._ends_well(list(part.window))

    def _leave(self, part: _Part, keep: int) -> bool:
        """Look at pieces behind which more than `keep` bytes are left, and let go of them."""
        while part.held > keep and len(part.window) > 1:
            piece = part.leave()
            if not self._ends_here(piece, part.window[0]):
                return False
        return True

    def _ends_well(self, window: list[Piece]) -> bool:
        """Whether the last pieces of a part, of at most 1 MiB together, are those of their bytes."""
        found = [piece.length for piece in window]
        if sum(found) > LONGEST or found == [0]:
            return found == [0]
        return self._is_known(window) or found == list(lengths(self._read(window)))

    def _ends_here(self, piece: Piece, following: Piece) -> bool:
        """Whether a piece ends at this very byte, given that more than 1 MiB is left from its beginning."""
        if piece.length > LONGEST:
            return False
        if self._is_known([piece, following]):
            return True
        data = bytearray(LONGEST + 2)
        data[: piece.length] = read_piece(self._source, piece)
        data[piece.length : piece.length + 1] = read_piece(self._source, following)[:1]
        return next(lengths(data)) == piece.length

    def _is_known(self, window: list[Piece]) -> bool:
        key = b"".join(piece.id for piece in window)
        if key in self._met:
            return True
        self._met.add(key)
        return False

    def _read(self, window: list[Piece]) -> bytes:
        return b"".join(read_piece(self._source, piece) for piece in window)


class _Part:
    """The pieces of one part that are still to be looked at, and how much there was of it."""

    def __init__(self, *, is_buffer: bool) -> None:
        self.window: deque[Piece] = deque()
        self.held = self.size = self.count = 0
        self.most = WHOLE_BELOW if is_buffer else LONGEST
        self._is_buffer = is_buffer

    def add(self, piece: Piece) -> None:
        self.window.append(piece)
        self.held += piece.length
        self.size += piece.length
        self.count += 1

    def leave(self) -> Piece:
        piece = self.window.popleft()
        self.held -= piece.length
        return piece

    @property
    def is_whole(self) -> bool:
        """Whether it is a buffer in one piece, as short ones are."""
        return self._is_buffer and self.count == 1 and self.size <= WHOLE_BELOW

    @property
    def is_short(self) -> bool:
        """Whether it is a buffer in several pieces that should have one."""
        return self._is_buffer and self.count > 1 and self.size <= WHOLE_BELOW
