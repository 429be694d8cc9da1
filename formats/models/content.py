"""The bytes of a tracked file at any place, without the rest of it.

Invariant: nothing but the pieces that are asked for is read; equal `place`s hold equal bytes, and neither
needs to be read for it. It writes nothing, and knows no library's format.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Callable
from typing import Any, BinaryIO, Final, NamedTuple, cast
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from aq.formats.contents.files import Piece, pieces, read_piece
from aq.formats.errors import Damaged
from aq.formats.identity import Kind, object_id
from aq.formats.objects import Source
from aq.formats.records import Artifact

INFLATED_MOST: Final = 256 << 20
"""Bytes: more is not decompressed."""
_BEGINNING: Final = 1 << 17
_LOCAL_HEAD: Final = 30


class Content:
    """What an artifact of one part holds."""

    def __init__(self, artifact: Artifact, source: Source) -> None:
        self.size = artifact.size
        self._source = source
        self._data = artifact.data
        self._pieces: list[Piece] = []
        self._starts: list[int] = []
        self._last: tuple[int, bytes] = (-1, b"")
        start = 0
        for piece in pieces(source, artifact.root) if artifact.root is not None else ():
            self._pieces.append(piece)
            self._starts.append(start)
            start += piece.length

    def read(self, start: int, size: int) -> bytes:
        """Exactly these bytes. Raises Damaged where the file ends before."""
        if start < 0 or size < 0 or start + size > self.size:
            raise Damaged("the file ends too early")
        if self._data is not None:
            return self._data[start : start + size]
        found, end = [], start + size
        at = bisect_right(self._starts, start) - 1
        while start < end:
            data, first = self._piece(at), self._starts[at]
            found.append(data[start - first : end - first])
            start, at = first + len(data), at + 1
        return b"".join(found)

    def _piece(self, at: int) -> bytes:
        if self._last[0] != at:
            self._last = at, read_piece(self._source, self._pieces[at])
        return self._last[1]

    def place(self, start: int, size: int) -> Any:
        """What stands for these bytes: what of which pieces they are."""
        if self._data is not None or not size:
            return object_id(Kind.CHUNK, self.read(start, size))
        first = bisect_right(self._starts, start) - 1
        last = bisect_right(self._starts, start + size - 1) - 1
        ids = b"".join(piece.id for piece in self._pieces[first : last + 1])
        return start - self._starts[first], size, ids

    def file(self) -> BinaryIO:
        """The bytes as a file that can be sought in."""
        return cast(BinaryIO, io.BufferedReader(_File(self), 1 << 16))


class _File(io.RawIOBase):
    """Reads a content as a file."""

    def __init__(self, content: Content) -> None:
        self._content, self._at = content, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._content.size}[whence]
        if base + offset < 0:
            raise OSError("a place before the beginning")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        size = max(0, min(len(buffer), self._content.size - self._at))
        buffer[:size] = self._content.read(self._at, size)
        self._at += size
        return size


class Member(NamedTuple):
    """A run of bytes that a tensor lies in: a file, a part of one, or a member of an archive.

    `read` takes start and size; `place` likewise, None where only reading tells what is there.
    """

    size: int
    read: Callable[[int, int], bytes]
    place: Callable[[int, int], Any]


def whole(content: Content) -> Member:
    """The file itself."""
    return Member(content.size, content.read, content.place)


class Archive:
    """A zip file whose members are read one by one. Raises Damaged where it is none."""

    def __init__(self, content: Content) -> None:
        self._content = content
        try:
            self._zip = ZipFile(content.file())
        except (BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise Damaged(f"it is no zip archive: {error}") from None
        self.names = self._zip.namelist()
        self._last: tuple[str, bytes] = ("", b"")

    def member(self, name: str) -> Member:
        """One member: what is stored as it is, is read where it lies. Raises Damaged where there is none."""
        try:
            info = self._zip.getinfo(name)
        except KeyError:
            raise Damaged(f"the archive has no {name}") from None
        if info.compress_type == ZIP_STORED and not info.flag_bits & 1:
            return self._stored(info)
        if info.file_size > INFLATED_MOST:
            raise Damaged(f"{name} would take {info.file_size} bytes")

        def read(start: int, size: int) -> bytes:
            data = self._inflated(info, start + size)
            if start + size > len(data):
                raise Damaged("a member of the archive ends too early")
            return data[start : start + size]

        return Member(info.file_size, read, lambda start, size: None)

    def _stored(self, info: ZipInfo) -> Member:
        head = self._content.read(info.header_offset, _LOCAL_HEAD)
        names = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        first = info.header_offset + _LOCAL_HEAD + names
        size = info.file_size
        self._content.read(first + size, 0)

        def within(start: int, length: int) -> int:
            if start < 0 or length < 0 or start + length > size:
                raise Damaged("a member of the archive ends too early")
            return first + start

        return Member(
            size,
            lambda start, length: self._content.read(within(start, length), length),
            lambda start, length: self._content.place(within(start, length), length),
        )

    def _inflated(self, info: ZipInfo, size: int) -> bytes:
        """The first bytes of a member, all of it where these are many; the last one is kept."""
        if self._last[0] == info.filename:
            return self._last[1]
        try:
            if size <= _BEGINNING:
                with self._zip.open(info) as stream:
                    return stream.read(size)
            self._last = info.filename, self._zip.read(info)
            return self._last[1]
        except Exception as error:  # each way to compress raises its own
            raise Damaged(f"{info.filename} cannot be read: {error}") from None
