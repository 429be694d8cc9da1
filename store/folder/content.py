"""Files of the folder as artifacts: read without being fooled by what changes meanwhile.

Invariant: an entry returned here describes one state of the file, that of the stat returned with
it; a file that changes while it is read is read again, and given up after three attempts.
Symbolic links are never followed: their target is their content.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from stat import S_ISLNK, S_ISREG
from typing import Final

from aq.formats.errors import AqError, Damaged, Temporary
from aq.formats.identity import Buffer, Digest, Kind, object_id
from aq.formats.objects import Like, Sink, Source, get_record, put_record
from aq.formats.records import Artifact
from aq.store.commits.snapshots import pack_file
from aq.store.folder.statcache import mode_of
from aq.store.system import disk
from aq.store.system.paths import decode, show
from aq.store.system.stats import pack_stat

ATTEMPTS: Final = 3
OPEN_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
SMALL: Final = 64 * 1024
"""Content of fewer bytes lies inline in its artifact (docs/format.md, section 7)."""
_GONE: Final = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ENXIO, errno.EINVAL))
_LINK: Final = frozenset((errno.ELOOP, errno.EMLINK))  # what O_NOFOLLOW says, on BSD too
OnBytes = Callable[[int], None]
State = tuple[bytes, bytes]
"""The packed stat of a file and its packed entry."""


class HashOnly:
    """A sink that keeps nothing: only ids come of it."""

    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Digest:
        """See `Sink`."""
        return object_id(kind, data)


def stat_of(full: bytes) -> bytes | None:
    """The packed stat of a file or symbolic link, or None where there is none (or something else)."""
    try:
        found = os.lstat(full)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise _refused(full, error) from error
    return pack_stat(found) if S_ISREG(found.st_mode) or S_ISLNK(found.st_mode) else None


def earlier(source: Source, entry: bytes | None) -> Like | None:
    """The version of a file that this packed entry tells of; None where there is none that can be read."""
    if entry is None:
        return None
    try:
        return Like(get_record(source, Artifact, entry[3:35]), source)
    except Damaged:
        return None


def read_state(
    root: bytes,
    path: bytes,
    sink: Sink,
    on_bytes: OnBytes | None = None,
    *,
    like: Like | None = None,
) -> State | None:
    """Put a file's content and return its state, or None if there is no file (any more).

    `on_bytes` is told how many bytes went by, of files of at least `SMALL` bytes only;
    `like` is an earlier version of the file.
    Raises Temporary where it changes with every attempt, AqError where it cannot be read.
    """
    full = os.path.join(root, path)
    for _ in range(ATTEMPTS):
        try:
            state = _attempt(full, sink, on_bytes, like)
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise _refused(full, error) from error
        if state is not None:
            stat, artifact = state
            return stat, pack_file(artifact, mode_of(stat))
    raise Temporary(f"{show(decode(path))} changes while it is read")


def _attempt(
    full: bytes, sink: Sink, on_bytes: OnBytes | None, like: Like | None
) -> tuple[bytes, Digest] | None:
    """The packed stat and the artifact of a file, or None if it changed meanwhile."""
    try:
        fd = os.open(full, OPEN_FLAGS)
    except OSError as error:
        if error.errno not in _LINK:
            raise
        before, target = stat_of(full), os.readlink(full)
        artifact = put_record(sink, Artifact(kind="file", format="bytes", size=len(target), data=target))
        return (before, artifact) if before is not None and stat_of(full) == before else None
    try:
        found = os.fstat(fd)
        if not S_ISREG(found.st_mode):
            raise OSError(errno.ENOENT, "not a regular file")
        stat = pack_stat(found)
        artifact = _put(fd, found.st_size, sink, on_bytes, like)
        return (stat, artifact) if pack_stat(os.fstat(fd)) == stat else None
    finally:
        os.close(fd)


def _put(fd: int, size: int, sink: Sink, on_bytes: OnBytes | None, like: Like | None) -> Digest:
    """Put what is left in an open file; a small one is read with one call."""
    if size < SMALL:
        data = os.read(fd, size + 1)
        if len(data) == size:
            return put_record(sink, Artifact(kind="file", format="bytes", size=size, data=data))
        os.lseek(fd, 0, os.SEEK_SET)
    from aq.formats.contents.files import encode_stream  # costs milliseconds that `status` rarely needs

    with open(fd, "rb", buffering=0, closefd=False) as file:
        return put_record(sink, encode_stream(file, sink, on_bytes=on_bytes, like=like))


def _refused(full: bytes, error: OSError) -> AqError:
    return AqError(f"{show(decode(full))} cannot be read: {error.strerror}")


def clock_of(folder: str | None) -> Callable[[], int | None]:
    """The time of the file system that holds `folder` (ns), measured when first asked for.

    None where nothing may be written (no folder given). Taken from a new file, because only the file
    system's own clock, with its granularity, can be compared with the times of files.
    """
    measured: list[int | None] = []

    def clock() -> int | None:
        if not measured:
            measured.append(None if folder is None else _measure(folder))
        return measured[0]

    return clock


def _measure(folder: str) -> int | None:
    path = os.path.join(folder, f"clock-{os.getpid()}")
    try:
        disk.unlink(path)
        fd = disk.create(path)
    except AqError:
        return None
    try:
        return os.fstat(fd).st_mtime_ns
    finally:
        os.close(fd)
        disk.unlink(path)
