"""A folder as one stream of bytes: a tar archive in which nothing but names, contents and modes counts.

Invariant: equal folders give equal bytes: members in order of their names, without times, owners and other
modes than those of files, executables and folders. The disk is the caller's.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

if TYPE_CHECKING:
    import tarfile

TYPE: Final = {"folder": "tar"}
"""The type of a file that is a folder (docs/format.md, section 7)."""
_BLOCK: Final = 512
_PIECE: Final = 1 << 20


class Member(NamedTuple):
    """One entry: `path` from the folder, `/`-separated. `size` bytes from `open`, or the target of a link."""

    path: str
    kind: str
    size: int = 0
    open: Callable[[], BinaryIO] | None = None
    link: str = ""


_KINDS: Final = {"file": (b"0", 0o644), "exec": (b"0", 0o755), "folder": (b"5", 0o755), "link": (b"2", 0o777)}
"""How tar calls a kind, and its mode."""


def is_folder(kind: Any) -> bool:
    """Whether an artifact's type says that its bytes are a folder's."""
    return bool(kind == TYPE)


def written(members: Iterable[Member]) -> Iterator[bytes]:
    """The archive piece by piece. Raises ValueError where a file has another length than it said."""
    import tarfile

    for member in sorted(members, key=lambda one: one.path.encode("utf-8", "surrogateescape")):
        head = tarfile.TarInfo(member.path)
        head.type, head.mode = _KINDS[member.kind]
        head.size, head.linkname = member.size, member.link
        yield head.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        if member.open is not None:
            yield from _content(member)
            yield bytes(-member.size % _BLOCK)
    yield bytes(2 * _BLOCK)


def _content(member: Member) -> Iterator[bytes]:
    assert member.open is not None
    left = member.size
    with member.open() as stream:
        while piece := stream.read(_PIECE):
            left -= len(piece)
            yield piece
    if left:
        raise ValueError(f"{member.path} changed while it was stored")


def opened(pieces: Iterable[bytes]) -> tarfile.TarFile:
    """The archive for reading, from its pieces."""
    import tarfile

    return tarfile.open(fileobj=io.BufferedReader(Pieces(pieces)), mode="r|")


class Pieces(io.RawIOBase):
    """A stream to read of pieces that come one by one."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """See `io.RawIOBase`."""
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._left))
        view[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
