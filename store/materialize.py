"""Files written into a folder from the store: whole, verified, never through a symbolic link.

Invariant: a file appears under its name only when its content is complete; a path is joined only
to folders that were looked at and are no links. Deciding what to write is `store.checkout`'s part.
"""

from __future__ import annotations

import errno
import os
from stat import S_ISDIR
from typing import Final, NamedTuple

from aq.formats.errors import AqError, Damaged
from aq.formats.files import stream_bytes
from aq.formats.objects import Source, get_record
from aq.formats.records import Artifact
from aq.store import disk
from aq.store.paths import ancestors, decode, problem, show
from aq.store.snapshots import Entry, Mode
from aq.store.statcache import pack_stat

_TARGET_MOST: Final = 4_096


class Written(NamedTuple):
    """A file that was written: its path, its packed stat under its name, its entry."""

    path: bytes
    stat: bytes
    entry: Entry


class FolderWriter:
    """Writes into the folder `root`, preparing files in the folder `temporary` of the same file system."""

    def __init__(self, source: Source, root: bytes, temporary: bytes) -> None:
        self._source, self._root, self._temporary = source, root, temporary
        self._folders = {b""}
        self._count = 0

    def write(self, path: bytes, entry: Entry) -> Written | None:
        """Put a file in place, over one that is there. None where it was changed again at once.

        Raises Damaged on a hostile path or content, AqError where the folder refuses.
        """
        require_harmless(path)
        artifact = get_record(self._source, Artifact, entry.artifact)
        if artifact.kind != "file" or artifact.format != "bytes":
            raise Damaged(f"{show(decode(path))} is tracked but is a {artifact.kind}, no file")
        self._make_folder(path.rpartition(b"/")[0])
        made, before = self._prepare(artifact, entry.mode, path)
        target = os.path.join(self._root, path)
        try:
            self._place(made, target)
        except AqError as error:
            if not _is(error, errno.EISDIR, errno.ENOTDIR):
                raise
            self._clear(path)
            self._place(made, target)
        after = os.lstat(target)
        same = (before.st_ino, before.st_size, before.st_mtime_ns, before.st_mode)
        if same != (after.st_ino, after.st_size, after.st_mtime_ns, after.st_mode):
            return None
        return Written(path, pack_stat(after), entry)

    def remove(self, path: bytes) -> None:
        """Delete a file; one that is missing is no error."""
        disk.unlink(_text(os.path.join(self._root, path)))

    def prune(self, folder: bytes) -> None:
        """Remove a folder, and those above it, as long as they are empty."""
        while folder:
            full = os.path.join(self._root, folder)
            try:
                if os.path.islink(full) or os.listdir(full):
                    return
            except FileNotFoundError:
                folder = folder.rpartition(b"/")[0]
                continue
            except OSError:
                return
            disk.rmdir(_text(full))
            self._folders.discard(folder)
            folder = folder.rpartition(b"/")[0]

    def _clear(self, path: bytes) -> None:
        """Remove a folder that holds only folders, where a file is to be written."""
        for folder, _, _ in os.walk(os.path.join(self._root, path), topdown=False):
            disk.rmdir(_text(folder))
        self._folders.discard(path)

    def _prepare(self, artifact: Artifact, mode: Mode, path: bytes) -> tuple[bytes, os.stat_result]:
        """A finished file under a temporary name."""
        self._count += 1
        made = os.path.join(self._temporary, b"write-%d-%d" % (os.getpid(), self._count))
        if mode is Mode.SYMLINK:
            disk.unlink(_text(made))
            self._link(artifact, made, path)
            return made, os.lstat(made)
        fd = self._create(made, 0o777 if mode is Mode.EXEC else 0o666)
        try:
            size = 0
            for piece in stream_bytes(artifact, self._source):
                disk.write(fd, piece, path=_text(made))
                size += len(piece)
            if size != artifact.size:
                raise Damaged(f"{show(decode(path))} has {size} bytes instead of {artifact.size}")
            return made, os.fstat(fd)
        except BaseException:
            disk.unlink(_text(made))
            raise
        finally:
            os.close(fd)

    def _create(self, made: bytes, mode: int) -> int:
        """A new file; one that a killed process of the same number left is removed."""
        try:
            return disk.create(_text(made), mode=mode)
        except FileExistsError:
            disk.unlink(_text(made))
            return disk.create(_text(made), mode=mode)

    def _link(self, artifact: Artifact, made: bytes, path: bytes) -> None:
        target = artifact.data or b""
        if not 0 < len(target) <= _TARGET_MOST or b"\0" in target:
            raise Damaged(f"{show(decode(path))} is a symbolic link without a sane target")
        disk.symlink(_text(target), _text(made))

    def _place(self, made: bytes, target: bytes) -> None:
        try:
            disk.rename(_text(made), _text(target))
        except AqError as error:
            if _is(error, errno.EISDIR, errno.ENOTDIR):
                raise
            if not _is(error, errno.EXDEV):
                disk.unlink(_text(made))
                raise
            near = os.path.join(os.path.dirname(target), b".aq-" + os.path.basename(made))
            self._copy(made, near)
            disk.rename(_text(near), _text(target))

    def _copy(self, made: bytes, near: bytes) -> None:
        """Another file system is mounted on a folder of the work tree: finish the file there."""
        disk.unlink(_text(near))
        if os.path.islink(made):
            disk.symlink(_text(os.readlink(made)), _text(near))
        else:
            fd = self._create(near, os.lstat(made).st_mode & 0o777)
            try:
                with open(made, "rb") as file:
                    while piece := file.read(1 << 20):
                        disk.write(fd, piece, path=_text(near))
            finally:
                os.close(fd)
        disk.unlink(_text(made))

    def _make_folder(self, folder: bytes) -> None:
        """Make a folder and those above it; refuse to go through anything else."""
        if folder in self._folders:
            return
        for place in reversed([folder, *ancestors(folder)]):
            if place in self._folders:
                continue
            full = os.path.join(self._root, place)
            try:
                is_folder = S_ISDIR(os.lstat(full).st_mode)
            except FileNotFoundError:
                disk.mkdir(_text(full))
                is_folder = True
            if not is_folder:
                raise Damaged(f"{show(decode(place))} is no folder: nothing is written below it")
            self._folders.add(place)


def require_harmless(path: bytes) -> None:
    """Raise Damaged on a path that a sound snapshot does not hold."""
    reason = problem(path)
    if reason:
        raise Damaged(f"the snapshot holds a path {show(decode(path))} that {reason}: nothing is written")


def _is(error: AqError, *numbers: int) -> bool:
    """Whether the operating system refused for one of these reasons."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in numbers


def _text(path: bytes) -> str:
    return os.fsdecode(path)
