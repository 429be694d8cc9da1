"""Files written into a folder from the store: whole, verified, never through a symbolic link.

Invariant: a file appears under its name only when its content is complete and verified. It is written
into a private folder first; a folder that is missing comes into place as a whole, in another one file
after file is renamed. Deciding what to write is `store.checkout`'s part.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from stat import S_ISGID, S_ISLNK
from typing import Final, NamedTuple

from aq.formats.errors import AqError, Damaged
from aq.formats.files import INLINE_BELOW
from aq.formats.objects import get_record
from aq.formats.records import Artifact
from aq.store import disk
from aq.store.folders import join
from aq.store.footing import Footing, clear
from aq.store.paths import decode, show
from aq.store.prefetch import Prefetch
from aq.store.snapshots import Mode
from aq.store.staging import Staging
from aq.store.statcache import pack_stat
from aq.store.store import Store
from aq.store.streaming import copy_content

_BATCH: Final = 8_192
_TARGET_MOST: Final = 4_096
_IN_THE_WAY: Final = frozenset((errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST))
_MODES: Final[dict[int, int]] = {Mode.FILE: 0o666, Mode.EXEC: 0o777}
Files = Mapping[bytes, Sequence[tuple[bytes, bytes]]]
"""Folder → name and packed entry of each file in it."""
Count = Callable[[int, int], None]
"""Told of files as they are written or deleted: how many, and their bytes together."""


_File = tuple[bytes, bytes, bytes]


class Written(NamedTuple):
    """Files of one folder that were written, by ascending name: name, packed stat, packed entry of each."""

    folder: bytes
    files: list[_File]


_Staged = tuple[bytes, os.stat_result, bytes]
"""A file under its own name in a subfolder of the staging folder: name, stat, packed entry."""


class _Bundle:
    """The files of one folder on their way; `place` is their subfolder of the staging folder."""

    __slots__ = ("files", "folder", "left", "place", "prefix", "staged")

    def __init__(self, folder: bytes, place: bytes, left: int) -> None:
        self.folder, self.place, self.left = folder, place, left
        self.prefix = folder + b"/" if folder else b""
        self.staged = place + b"/"
        self.files: list[_Staged] = []


_Item = tuple[_Bundle, bytes, bytes]
"""Where a file belongs, its name, its packed entry."""


class FolderWriter:
    """Writes into the folder `root`, by way of a folder in `temporary`. Use it in a `with` block."""

    def __init__(self, store: Store, root: bytes, temporary: bytes, count: Count | None = None) -> None:
        self._store, self._temporary = store, temporary
        self._count = count or (lambda files, size: None)
        self._footing = Footing(root)
        self._staging: Staging | None = None
        self._damaged: list[AqError] = []
        self._copies = 0

    def __enter__(self) -> FolderWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._footing.close()
        if self._staging is not None:
            self._staging.close()

    # Deleting

    def remove(self, folder: bytes, names: Iterable[bytes]) -> None:
        """Delete files of one folder; those that are missing are no error."""
        fd = self._footing.find(folder)
        if fd is not None:
            for name in names:
                disk.unlink_at(fd, name, path=join(folder, name))
                self._count(1, 0)

    def prune(self, folder: bytes) -> None:
        """Remove a folder, and those above it, as long as they are empty."""
        while folder:
            above, _, name = folder.rpartition(b"/")
            fd = self._footing.find(above)
            if fd is not None and not self._is_removed(fd, name, folder):
                return
            folder = above

    def _is_removed(self, above: int, name: bytes, folder: bytes) -> bool:
        """Remove one folder; False where that is not to be done."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        try:
            with os.scandir(fd) as inside:
                if next(inside, None) is not None:
                    return False
        finally:
            os.close(fd)
        disk.rmdir_at(above, name, path=folder)
        return True

    # Writing

    def write(self, files: Files) -> Iterator[list[Written]]:
        """Put files in place, over what is there; yields those whose stat is known to be theirs.

        Raises AqError where the folder refuses, and Damaged, but only after everything else was written.
        """
        ready: list[_Bundle] = []
        with closing(Prefetch(self._store)) as prefetch:
            for batch in self._batches(files):
                done = self._stage(prefetch, batch)
                yield self._publish(ready)
                ready = done
            yield self._publish(ready)
        if self._damaged:
            raise _summary(self._damaged)

    def _batches(self, files: Files) -> Iterator[list[_Item]]:
        """The files folder by folder, parents first, in runs of bounded length."""
        batch: list[_Item] = []
        for folder in sorted(files):
            bundle = _Bundle(folder, self._stage_folder().subfolder(), len(files[folder]))
            for name, entry in files[folder]:
                batch.append((bundle, name, entry))
                if len(batch) == _BATCH:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def _stage_folder(self) -> Staging:
        if self._staging is None:
            self._staging = Staging(self._temporary)
        return self._staging

    def _stage(self, prefetch: Prefetch, batch: list[_Item]) -> list[_Bundle]:
        """Write files under their own names in the staging folder; returns the folders that are complete."""
        done, size = [], 0
        folder = self._stage_folder().fd
        for at, artifact in prefetch.artifacts([entry[3:35] for _bundle, _name, entry in batch]):
            bundle, name, entry = batch[at]
            path = bundle.prefix + name
            try:
                stat = self._write(folder, bundle.staged + name, path, entry, artifact)
                bundle.files.append((name, stat, entry))
                size += stat.st_size if stat.st_size < INLINE_BELOW else 0  # those were counted on their way
            except Damaged as error:
                self._damaged.append(error)
            bundle.left -= 1
            if not bundle.left:
                done.append(bundle)
        self._count(len(batch), size)
        return sorted(done, key=lambda bundle: bundle.folder)

    def _write(
        self, folder: int, name: bytes, path: bytes, entry: bytes, artifact: Artifact | None
    ) -> os.stat_result:
        """One file; returns its stat. Raises Damaged, having written nothing under a final name."""
        if artifact is None:
            artifact = self._artifact(path, entry)
        if artifact.kind != "file" or artifact.format != "bytes":
            raise Damaged(f"{show(decode(path))} is tracked but is a {artifact.kind}, no file")
        mode = _MODES.get(entry[37])
        if mode is None:
            return _link(folder, name, path, artifact)
        data = artifact.data
        if data is None:
            return self._stream(folder, name, path, artifact, mode)
        if len(data) != artifact.size:
            raise _wrong_size(path, len(data), artifact)
        return disk.write_new(folder, name, data, mode=mode, path=path)

    def _artifact(self, path: bytes, entry: bytes) -> Artifact:
        try:
            return get_record(self._store, Artifact, entry[3:35])
        except Damaged as error:
            raise Damaged(f"{show(decode(path))}: {error.message}", hint=error.hints) from None

    def _stream(self, folder: int, name: bytes, path: bytes, artifact: Artifact, mode: int) -> os.stat_result:
        """A file that does not lie inline."""
        fd = disk.create_at(folder, name, mode=mode, path=path)
        try:
            size = self._copy_pieces(artifact, fd, path)
            if size == artifact.size:
                return os.fstat(fd)
        finally:
            os.close(fd)
        disk.unlink_at(folder, name, path=path)
        raise _wrong_size(path, size, artifact)

    def _copy_pieces(self, artifact: Artifact, fd: int, path: bytes) -> int:
        try:
            return copy_content(
                self._store, artifact, fd, os.fsdecode(path), on_bytes=lambda size: self._count(0, size)
            )
        except Damaged as error:
            raise Damaged(f"{show(decode(path))}: {error.message}", hint=error.hints) from None

    # Putting in place

    def _publish(self, bundles: list[_Bundle]) -> list[Written]:
        """Give files their names. Those written within this tick of the clock could change again unseen."""
        written: list[Written] = []
        if bundles:
            now = self._stage_folder().clock()
            for bundle in filter(lambda bundle: bundle.files, bundles):
                bundle.files.sort()
                done = self._put_whole(bundle, now)
                files = self._put_each(bundle, now) if done is None else done
                written.append(Written(bundle.folder, files))
                bundle.files = []
        return written

    def _put_whole(self, bundle: _Bundle, now: int) -> list[_File] | None:
        """Move a folder that is missing into place; None where that does not go."""
        staging = self._stage_folder()
        if not bundle.folder or self._footing.find(bundle.folder) is not None:
            return None
        above, _, name = bundle.folder.rpartition(b"/")
        fd = self._footing.make(above)
        if _group(fd) != _group(staging.fd):
            return None
        try:
            disk.rename_at(staging.fd, bundle.place, fd, name, path=bundle.folder)
        except AqError as error:
            if _is(error, errno.EXDEV, *_IN_THE_WAY):
                return None
            raise
        return [
            (name, pack_stat(stat), entry) for name, stat, entry in bundle.files if stat.st_mtime_ns < now
        ]

    def _put_each(self, bundle: _Bundle, now: int) -> list[_File]:
        """Move file after file into a folder that is there, or is made."""
        written = []
        folder = self._footing.make(bundle.folder)
        for name, stat, entry in bundle.files:
            self._place(bundle.staged + name, folder, name, bundle.prefix + name)
            with suppress(OSError):  # gone again at once
                after = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.st_mtime_ns < now and _is_same(stat, after):
                    written.append((name, pack_stat(after), entry))
        staging = self._stage_folder()
        disk.rmdir_at(staging.fd, bundle.place, path=os.path.join(staging.path, bundle.place))
        return written

    def _place(self, staged: bytes, folder: int, name: bytes, path: bytes) -> None:
        source = self._stage_folder().fd
        try:
            disk.rename_at(source, staged, folder, name, path=path)
        except AqError as error:
            if _is(error, errno.EXDEV):
                self._carry(staged, folder, name, path)
                return
            if not _is(error, *_IN_THE_WAY):
                raise
            clear(folder, name)
            disk.rename_at(source, staged, folder, name, path=path)

    def _carry(self, staged: bytes, folder: int, name: bytes, path: bytes) -> None:
        """Another file system is mounted on this folder: finish the file there."""
        source = self._stage_folder().fd
        self._copies += 1
        near = b".aq-write-%d-%d" % (os.getpid(), self._copies)
        disk.unlink_at(folder, near, path=path)
        try:
            if _is_link(source, staged):
                disk.symlink_at(os.readlink(staged, dir_fd=source), folder, near, path=path)
            else:
                _copy(source, staged, folder, near, path)
            disk.rename_at(folder, near, folder, name, path=path)
        except BaseException:
            with suppress(AqError):
                disk.unlink_at(folder, near, path=path)
            raise
        disk.unlink_at(source, staged, path=path)


def _link(folder: int, name: bytes, path: bytes, artifact: Artifact) -> os.stat_result:
    target = artifact.data or b""
    if not 0 < len(target) <= _TARGET_MOST or b"\0" in target:
        raise Damaged(f"{show(decode(path))} is a symbolic link without a sane target")
    disk.symlink_at(target, folder, name, path=path)
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def _copy(source: int, staged: bytes, folder: int, near: bytes, path: bytes) -> None:
    shown = os.fsdecode(path)
    with open(os.open(staged, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source), "rb") as file:
        fd = disk.create_at(folder, near, mode=os.fstat(file.fileno()).st_mode & 0o777, path=path)
        try:
            while piece := file.read(1 << 20):
                disk.write(fd, piece, path=shown)
        finally:
            os.close(fd)


def _is_link(folder: int, name: bytes) -> bool:
    return S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _is_same(a: os.stat_result, b: os.stat_result) -> bool:
    """Whether nobody has changed a file between two looks; being renamed changes its ctime."""
    return (a.st_ino, a.st_size, a.st_mtime_ns, a.st_mode) == (b.st_ino, b.st_size, b.st_mtime_ns, b.st_mode)


def _group(folder: int) -> int:
    """The group that a folder hands down to what is made in it, or −1: a renamed one would not have it."""
    found = os.fstat(folder)
    return found.st_gid if found.st_mode & S_ISGID else -1


def _is(error: AqError, *numbers: int) -> bool:
    """Whether the operating system refused for one of these reasons."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in numbers


def _wrong_size(path: bytes, size: int, artifact: Artifact) -> Damaged:
    return Damaged(f"{show(decode(path))} has {size} bytes instead of {artifact.size}")


def _summary(errors: Sequence[AqError]) -> AqError:
    """One error for all files that could not be written."""
    if len(errors) == 1:
        return errors[0]
    first = errors[0]
    return Damaged(f"{first.message}; {len(errors) - 1} more files are damaged", hint="aq fsck --full")
