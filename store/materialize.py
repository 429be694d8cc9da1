"""Files written into a folder from the store: whole, verified, never through a symbolic link.

Invariant: a file appears under its name only when its content is complete and verified. It is written
into a private folder first; a folder that is missing comes into place as a whole, in another one file
after file is renamed. Deciding what to write is `store.checkout`'s part.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from stat import S_ISGID, S_ISLNK, S_ISREG
from typing import Final, NamedTuple

from aq.formats.errors import AqError, Damaged
from aq.store import disk
from aq.store.filling import Count, File, Filler
from aq.store.folders import join
from aq.store.footing import Footing, clear
from aq.store.staging import Staging
from aq.store.statcache import changed_at, is_same_content, size_of
from aq.store.stats import pack_stat
from aq.store.store import Store

_BATCH: Final = 8_192
_EXCHANGED_FROM: Final = 16 << 20
"""Bytes of a file that changes places with the one in its way: see `disk.exchange_at`."""
_IN_THE_WAY: Final = frozenset((errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST))
Files = Mapping[bytes, Sequence[tuple[bytes, bytes]]]
"""Folder → name and packed entry of each file in it."""


_File = tuple[bytes, bytes, bytes]
"""Name, packed stat, packed entry."""


class Written(NamedTuple):
    """Files of one folder that were written, by ascending name: name, packed stat, packed entry of each."""

    folder: bytes
    files: list[_File]


class _Bundle:
    """The files of one folder on their way; `place` is their subfolder of the staging folder."""

    __slots__ = ("files", "folder", "left", "place", "prefix", "staged")

    def __init__(self, folder: bytes, place: bytes, left: int) -> None:
        self.folder, self.place, self.left = folder, place, left
        self.prefix = folder + b"/" if folder else b""
        self.staged = place + b"/"
        self.files: list[_File] = []


_Item = tuple[_Bundle, bytes, bytes]
"""Where a file belongs, its name, its packed entry."""


class FolderWriter:
    """Writes into the folder `root`, by way of a folder in `temporary`. Use it in a `with` block."""

    def __init__(self, store: Store, root: bytes, temporary: bytes, count: Count | None = None) -> None:
        self._store, self._temporary = store, temporary
        self._count = count or (lambda files, size: None)
        self._copies = 0
        self._stack = ExitStack()
        self._footing = Footing(root)
        self._stack.callback(self._footing.close)

    def __enter__(self) -> FolderWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

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
        if not files:
            return
        staging = self._stack.enter_context(Staging(self._temporary))
        filler = Filler(self._store, staging, sum(map(len, files.values())), self._count)
        self._stack.callback(filler.close)
        ready: list[_Bundle] = []
        for batch in _batches(files, staging):
            done = self._stage(filler, batch)
            yield self._publish(ready, staging)
            ready = done
        yield self._publish(ready, staging)
        if filler.damaged:
            raise _summary(filler.damaged)

    def _stage(self, filler: Filler, batch: list[_Item]) -> list[_Bundle]:
        """Write files under their own names in the staging folder; returns the folders that are complete."""
        stats = filler.fill([File(one.staged + name, one.prefix + name, entry) for one, name, entry in batch])
        done = []
        for (bundle, name, entry), stat in zip(batch, stats, strict=True):
            if stat:
                bundle.files.append((name, stat, entry))
            bundle.left -= 1
            if not bundle.left:
                done.append(bundle)
        return done

    # Putting in place

    def _publish(self, bundles: list[_Bundle], staging: Staging) -> list[Written]:
        """Give files their names. Those written within this tick of the clock could change again unseen."""
        written: list[Written] = []
        if bundles:
            now = staging.clock()
            for bundle in filter(lambda bundle: bundle.files, bundles):
                if not self._is_put_whole(bundle, staging):
                    bundle.files = list(self._put_each(bundle, staging))
                settled = [each for each in bundle.files if changed_at(each[1]) < now]
                written.append(Written(bundle.folder, settled))
                bundle.files = []
        return written

    def _is_put_whole(self, bundle: _Bundle, staging: Staging) -> bool:
        """Move a folder that is missing into place; False where that does not go."""
        if not bundle.folder or self._footing.find(bundle.folder) is not None:
            return False
        above, _, name = bundle.folder.rpartition(b"/")
        fd = self._footing.make(above)
        if _group(fd) != _group(staging.fd):
            return False
        try:
            disk.rename_at(staging.fd, bundle.place, fd, name, path=bundle.folder)
        except AqError as error:
            if _is(error, errno.EXDEV, *_IN_THE_WAY):
                return False
            raise
        return True

    def _put_each(self, bundle: _Bundle, staging: Staging) -> Iterator[_File]:
        """Move file after file into a folder that is there, or is made."""
        folder = self._footing.make(bundle.folder)
        for name, stat, entry in bundle.files:
            staged, path = bundle.staged + name, bundle.prefix + name
            if size_of(stat) < _EXCHANGED_FROM or not _is_exchanged(staging.fd, staged, folder, name, path):
                self._place(staging.fd, staged, folder, name, path)
            with suppress(OSError):  # gone again at once
                after = pack_stat(os.stat(name, dir_fd=folder, follow_symlinks=False))
                if is_same_content(stat, after):
                    yield name, after, entry
        disk.rmdir_at(staging.fd, bundle.place, path=os.path.join(staging.path, bundle.place))

    def _place(self, source: int, staged: bytes, folder: int, name: bytes, path: bytes) -> None:
        try:
            disk.rename_at(source, staged, folder, name, path=path)
        except AqError as error:
            if _is(error, errno.EXDEV):
                self._carry(source, staged, folder, name, path)
                return
            if not _is(error, *_IN_THE_WAY):
                raise
            clear(folder, name)
            disk.rename_at(source, staged, folder, name, path=path)

    def _carry(self, source: int, staged: bytes, folder: int, name: bytes, path: bytes) -> None:
        """Another file system is mounted on this folder: finish the file there."""
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


def _is_exchanged(source: int, staged: bytes, folder: int, name: bytes, path: bytes) -> bool:
    """Put a large file in the place of another, and remove that; False where that does not go."""
    if not _is_file(folder, name) or not disk.exchange_at(source, staged, folder, name, path=path):
        return False
    if not _is_file(source, staged):  # a folder came there meanwhile: it is not ours to remove
        disk.exchange_at(source, staged, folder, name, path=path)
        return False
    disk.unlink_at(source, staged, path=path)
    return True


def _is_file(folder: int, name: bytes) -> bool:
    try:
        return S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _batches(files: Files, staging: Staging) -> Iterator[list[_Item]]:
    """The files folder by folder, parents first, in runs of bounded length."""
    batch: list[_Item] = []
    for folder in sorted(files):
        bundle = _Bundle(folder, staging.subfolder(), len(files[folder]))
        for name, entry in files[folder]:
            batch.append((bundle, name, entry))
            if len(batch) == _BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


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


def _group(folder: int) -> int:
    """The group that a folder hands down to what is made in it, or −1: a renamed one would not have it."""
    found = os.fstat(folder)
    return found.st_gid if found.st_mode & S_ISGID else -1


def _is(error: AqError, *numbers: int) -> bool:
    """Whether the operating system refused for one of these reasons."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in numbers


def _summary(errors: Sequence[AqError]) -> AqError:
    """One error for all files that could not be written."""
    if len(errors) == 1:
        return errors[0]
    first = errors[0]
    return Damaged(f"{first.message}; {len(errors) - 1} more files are damaged", hint="aq fsck --full")
