"""Files written into a folder from the store: whole, verified, never through a symbolic link.

Invariant: a file appears under its name only when its content is complete and verified. It is written
into a private folder first; a folder that is missing comes into place as a whole, in another one file
after file is renamed. Deciding what to write is `store.folder.checkout`'s part.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from stat import S_ISGID, S_ISLNK, S_ISREG
from typing import Final, NamedTuple

from aq.formats.errors import AqError, Damaged
from aq.store.folder import second_writer
from aq.store.folder.filling import Batch, Count, Filler, Piece
from aq.store.folder.folders import join
from aq.store.folder.second import Helper
from aq.store.folder.statcache import changed_before, is_same_content, size_of
from aq.store.store import Store
from aq.store.system import disk
from aq.store.system.footing import Footing, clear
from aq.store.system.staging import Staging
from aq.store.system.stats import pack_stat

_BATCH: Final = 8_192
_EXCHANGED_FROM: Final = 16 << 20
"""Bytes of a file that changes places with the one in its way: see `disk.exchange_at`."""
_IN_THE_WAY: Final = frozenset((errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST))
Column = tuple[list[bytes], list[bytes]]
"""Names of files in one folder, ascending, and the packed entry of each."""
Files = Mapping[bytes, Column]
"""Folder → the files in it."""


class Written(NamedTuple):
    """Files of one folder that were written, by ascending name: names, packed stats, packed entries."""

    folder: bytes
    names: list[bytes]
    stats: list[bytes]
    entries: list[bytes]


class _Bundle:
    """The files of one folder on their way; `place` is their subfolder of the staging folder."""

    __slots__ = ("done", "folder", "left", "place", "prefix", "staged")

    def __init__(self, folder: bytes, place: bytes, left: int) -> None:
        self.folder, self.place, self.left = folder, place, left
        self.prefix = folder + b"/" if folder else b""
        self.staged = place + b"/"
        self.done = Written(folder, [], [], [])

    def add(self, names: list[bytes], stats: list[bytes], entries: list[bytes]) -> None:
        """These are written; b"" for the stat of those that are not, and never will be."""
        self.left -= len(names)
        if not all(stats):
            kept = [at for at, stat in enumerate(stats) if stat]
            names, stats, entries = ([column[at] for at in kept] for column in (names, stats, entries))
        self.done.names.extend(names)
        self.done.stats.extend(stats)
        self.done.entries.extend(entries)


_Part = tuple[_Bundle, list[bytes], list[bytes]]
"""Some files of one folder: names and packed entries."""


class FolderWriter:
    """Writes into the folder `root`, by way of a folder in `temporary`. Use it in a `with` block.

    `helper`: a process that writes too; `write` starts one where it is of use.
    """

    def __init__(
        self,
        store: Store,
        root: bytes,
        temporary: bytes,
        count: Count | None = None,
        helper: Helper[Piece] | None = None,
    ) -> None:
        self._store, self._temporary, self._helper = store, temporary, helper
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
        helper = self._helper or second_writer.start(sum(map(len, files.values())))
        filler = Filler(self._store, staging, self._count, helper)
        self._stack.callback(filler.close)
        ready: list[_Bundle] = []
        begun: tuple[list[_Part], Batch] | None = None
        for parts in _batches(files, staging):
            before, begun = begun, (parts, _begun(parts, filler))
            if before is not None:
                done = _complete(*before, filler)
                yield self._publish(ready, staging)
                ready = done
        if begun is not None:
            done = _complete(*begun, filler)
            yield self._publish(ready, staging)
            yield self._publish(done, staging)
        if filler.damaged:
            raise _summary(filler.damaged)

    # Putting in place

    def _publish(self, bundles: list[_Bundle], staging: Staging) -> list[Written]:
        """Give files their names. Those written within this tick of the clock could change again unseen."""
        written: list[Written] = []
        if bundles:
            now = staging.clock()
            for bundle in filter(lambda bundle: bundle.done.names, bundles):
                done = bundle.done
                if not self._is_put_whole(bundle, staging):
                    done = _kept(done, *self._put_each(bundle, staging))
                kept = changed_before(done.stats, now)
                written.append(done if len(kept) == len(done.names) else _kept(done, kept, done.stats))
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

    def _put_each(self, bundle: _Bundle, staging: Staging) -> tuple[list[int], list[bytes]]:
        """Move file after file into a folder that is there, or is made.

        The numbers of those that lie there now as they were written; the packed stats of all.
        """
        folder = self._footing.make(bundle.folder)
        kept, stats = [], bundle.done.stats.copy()
        for at, (name, stat) in enumerate(zip(bundle.done.names, bundle.done.stats, strict=True)):
            staged, path = bundle.staged + name, bundle.prefix + name
            if size_of(stat) < _EXCHANGED_FROM or not _is_exchanged(staging.fd, staged, folder, name, path):
                self._place(staging.fd, staged, folder, name, path)
            with suppress(OSError):  # gone again at once
                stats[at] = pack_stat(os.stat(name, dir_fd=folder, follow_symlinks=False))
                if is_same_content(stat, stats[at]):
                    kept.append(at)
        disk.rmdir_at(staging.fd, bundle.place, path=os.path.join(staging.path, bundle.place))
        return kept, stats

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


def _begun(parts: list[_Part], filler: Filler) -> Batch:
    names = [one.staged + name for one, some, _ in parts for name in some]
    paths = [one.prefix + name for one, some, _ in parts for name in some]
    return filler.begin(names, paths, [entry for _, _, entries in parts for entry in entries])


def _complete(parts: list[_Part], batch: Batch, filler: Filler) -> list[_Bundle]:
    """Have files written under their names in the staging folder; returns the complete folders."""
    stats, begin = filler.end(batch), 0
    for bundle, names, entries in parts:
        bundle.add(names, stats[begin : begin + len(names)], entries)
        begin += len(names)
    return [bundle for bundle, _, _ in parts if not bundle.left]


def _kept(done: Written, kept: Iterable[int], stats: list[bytes]) -> Written:
    """Some of the files, by their numbers, with their stats as they are now."""
    some = list(kept)
    names, entries = [done.names[at] for at in some], [done.entries[at] for at in some]
    return Written(done.folder, names, [stats[at] for at in some], entries)


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


def _batches(files: Files, staging: Staging) -> Iterator[list[_Part]]:
    """The files folder by folder, parents first, in runs of bounded length."""
    batch: list[_Part] = []
    room = _BATCH
    for folder in sorted(files):
        names, entries = files[folder]
        bundle = _Bundle(folder, staging.subfolder(), len(names))
        begin = 0
        while begin < len(names):
            end = begin + room
            batch.append((bundle, names[begin:end], entries[begin:end]))
            room -= len(batch[-1][1])
            begin = end
            if not room:
                yield batch
                batch, room = [], _BATCH
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
