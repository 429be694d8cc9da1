"""A stored file as a stream that seeks: only the pieces that are read are fetched.

Invariant: reads what `files.stream_bytes` yields, from any place; holds one piece in memory.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

from aq.formats.contents.files import Piece, pieces, read_piece
from aq.formats.identity import Buffer
from aq.formats.objects import Source
from aq.formats.records import Artifact

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class StoredFile(io.RawIOBase):
    """The bytes of an artifact of one part; read-only. Wrap it in `io.BufferedReader` for small reads."""

    def __init__(self, artifact: Artifact, source: Source) -> None:
        self._artifact = artifact
        self._source = source
        self._at = 0
        self._held: tuple[int, Buffer] = (-1, b"")

    @cached_property
    def _pieces(self) -> list[Piece]:
        return [] if self._artifact.root is None else list(pieces(self._source, self._artifact.root))

    @cached_property
    def _starts(self) -> list[int]:
        """Where each piece begins."""
        return list(accumulate((piece.length for piece in self._pieces[:-1]), initial=0))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.IOBase`. Raises ValueError before the beginning."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._artifact.size}[whence]
        if start + offset < 0:
            raise ValueError(f"a file has no byte {start + offset}")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        """As much as is wanted of the piece at this place; 0 at the end."""
        view = memoryview(buffer).cast("B")
        if self._at >= self._artifact.size:
            return 0
        start, data = self._piece()
        part = memoryview(data)[self._at - start : self._at - start + len(view)]
        view[: len(part)] = part
        self._at += len(part)
        return len(part)

    def _piece(self) -> tuple[int, Buffer]:
        """Where the piece begins that holds this place, and its bytes."""
        if self._artifact.root is None:
            return 0, self._artifact.data or b""
        at = bisect_right(self._starts, self._at) - 1
        if self._held[0] != at:
            self._held = at, read_piece(self._source, self._pieces[at])
        return self._starts[at], self._held[1]
