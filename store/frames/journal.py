"""The journal: the pack that small transactions append to, one group after the other.

Invariant: only the holder of both locks writes here; a group is one write and one fsync; after a
failure the journal is cut back to where it was. Who may append what is decided in
`store.transactions.publish`.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from types import TracebackType

from aq.formats.errors import AqError
from aq.formats.identity import Buffer
from aq.formats.packing.packs import HEADER_SIZE, Header, Place, encode_header, seed_of
from aq.store.frames.index import State
from aq.store.frames.pack_contents import closing, read_header, walk
from aq.store.frames.packs import PackFiles, read_all
from aq.store.system import disk


class FolderLock:
    """The exclusive `flock` on `packs/`: what keeps writers and rebuilding apart. Freed by death."""

    def __init__(self, folder: str) -> None:
        self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def take(self, *, wait: bool = True) -> bool:
        """Take it; False if it is held and `wait` is not wanted."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def free(self) -> None:
        """Free it, held or not."""
        if self._fd >= 0:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> FolderLock:
        self.take()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.free()


class Journal:
    """The open journal. `end` is where the next group goes."""

    def __init__(self, files: PackFiles, header: Header, fd: int, end: int) -> None:
        self.files = files
        self.name = header.name
        self.ordinal = header.ordinal
        self.seed = seed_of(header.name)
        self.path = files.path(header.name)
        self.fd = fd
        self.end = end
        self.may_stand = False
        """Whether a group stands behind `end`, or may stand there, although its writer has failed."""

    @classmethod
    def begin(cls, files: PackFiles, ordinal: int) -> Journal:
        """Create the journal of this ordinal, durably; or take the one that a crash left behind.

        Of that one nothing is known to be durable, neither header nor name: its fsync may have failed.
        """
        found = find_journal(files, ordinal)
        header = found or Header(os.urandom(8), ordinal)
        path = files.path(header.name)
        fd = disk.open_existing(path) if found else disk.create(path)
        try:
            disk.write_at(fd, encode_header(header), 0, path=path)
            disk.fsync(fd, path=path)
            disk.fsync_folder(files.folder)
        except BaseException:
            os.close(fd)
            raise
        return cls(files, header, fd, HEADER_SIZE)

    @classmethod
    def open(cls, files: PackFiles, state: State) -> Journal | None:
        """The journal that the index follows, or None if its file is missing."""
        try:
            fd = disk.open_existing(files.path(state.journal))
        except FileNotFoundError:
            return None
        return cls(files, Header(state.journal, state.ordinal), fd, state.end)

    def size(self) -> int:
        """Bytes in the file: more than `end` after a crash, fewer after damage."""
        return os.fstat(self.fd).st_size

    def tail(self) -> bytes:
        """What lies behind `end`."""
        return read_all(self.fd, self.size() - self.end, self.end)

    def append(self, pieces: list[Buffer]) -> None:
        """Add a group durably. On failure the file is cut back. Raises AqError."""
        size = sum(map(len, pieces))
        self.may_stand = True
        try:
            disk.write_pieces_at(self.fd, pieces, self.end, path=self.path)
            disk.fsync(self.fd, path=self.path)
        except AqError:
            self._cut_back()
            raise
        self.end += size

    def _cut_back(self) -> None:
        with suppress(
            AqError
        ):  # the next writer deals with what stands there; the first error is the one to report
            disk.truncate(self.fd, self.end, path=self.path)
            self.may_stand = False

    def rewrite(self, tail: bytes) -> None:
        """Write again what a dead writer left whole, cut the rest, force it to the disk.

        Its own fsync may have failed: pages that are only in memory would be taken for durable.
        """
        disk.truncate(self.fd, self.end + len(tail), path=self.path)
        if tail:
            disk.write_at(self.fd, tail, self.end, path=self.path)
        disk.fsync(self.fd, path=self.path)
        self.end += len(tail)

    def seal(self) -> None:
        """Add contents and footer: nothing more will be appended."""
        data = read_all(self.fd, self.end, 0)
        places = [
            (head.id, Place(self.name, offset, head.size, head.kind, head.codec, head.bases))
            for offset, head in walk(self.name, data, resync=True)
        ]
        self.append(closing(self.name, places, self.end))

    def close(self) -> None:
        """Close the file."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def find_journal(files: PackFiles, ordinal: int) -> Header | None:
    """The header of the journal with this ordinal, if there is one."""
    for name in files.names():
        header = read_header(files.path(name))
        if header is not None and header == (name, ordinal):
            return header
    return None
