"""Files written under temporary names: whole, verified, read in the order of the packs.

Invariant: a file that has a stat here has its complete, verified content; one that is damaged has none,
and keeps no other back. Names and places are the caller's business.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final, NamedTuple

from aq.formats.errors import AqError, Damaged
from aq.formats.files import INLINE_BELOW
from aq.formats.objects import get_record
from aq.formats.records import Artifact
from aq.store import disk, second
from aq.store.paths import decode, show
from aq.store.prefetch import Prefetch, Row, find_places
from aq.store.second import Helper, Task
from aq.store.snapshots import Mode
from aq.store.staging import Staging
from aq.store.statcache import size_of
from aq.store.stats import pack_stat
from aq.store.store import Store
from aq.store.streaming import copy_content

_TARGET_MOST: Final = 4_096
_MODES: Final[dict[int, int]] = {Mode.FILE: 0o666, Mode.EXEC: 0o777}


Count = Callable[[int, int], None]
"""Told of files as they are written or deleted: how many, and their bytes; of large ones as they go by."""


class File(NamedTuple):
    """A file to be written: its name below the staging folder, its path for messages, its packed entry."""

    name: bytes
    path: bytes
    entry: bytes


class Filler:
    """Writes files into a staging folder; `total` says how many there will be. Close it before the folder.

    `helper`: the second process, where there is one.
    """

    def __init__(self, store: Store, staging: Staging, total: int, count: Count) -> None:
        packs = f"{store.control}/packs"
        self.damaged: list[AqError] = []
        self._store, self._folder, self._count = store, staging.fd, count
        self._prefetch = Prefetch(packs)
        self.helper = Helper(packs, staging.path) if second.is_of_use(total) else None

    def close(self) -> None:
        """Let go of the packs; nothing more is written."""
        self._prefetch.close()
        if self.helper is not None:
            self.helper.close()

    def fill(self, files: Sequence[File]) -> list[bytes]:
        """Write files; their packed stats, b"" for those that went to `damaged`."""
        ids = [entry[3:35] for _name, _path, entry in files]
        stats = [b""] * len(files)
        rows, left = find_places(self._store, ids)
        shared = self._shared(rows, files)
        mine = rows[len(shared) :]
        task = _task(shared, files, ids)
        if self.helper is not None and shared:
            self.helper.begin(task)
        for at, artifact in chain(self._prefetch.artifacts(mine, ids), ((at, None) for at in left)):
            stats[at] = self._written(files[at], artifact)
        if self.helper is not None and shared:
            for (_pack, _offset, _size, at), stat in zip(shared, self.helper.finish(task), strict=True):
                stats[at] = stat or self._written_again(files[at])
        sizes = map(size_of, filter(None, stats))
        self._count(len(files), sum(size for size in sizes if size < INLINE_BELOW))
        return stats

    def _shared(self, rows: list[Row], files: Sequence[File]) -> list[Row]:
        """The part that the helper does: half, once it has started; no symbolic links."""
        if self.helper is None or not self.helper.is_ready:
            return []
        half = rows[: len(rows) // 2]
        return [] if any(files[row[3]].entry[37] not in _MODES for row in half) else half

    def _written_again(self, file: File) -> bytes:
        disk.unlink_at(self._folder, file.name, path=file.path)
        return self._written(file, None)

    def _written(self, file: File, artifact: Artifact | None) -> bytes:
        name, path, entry = file
        try:
            if artifact is None:
                artifact = self._artifact(path, entry)
            return pack_stat(self._write(name, path, entry[37], artifact))
        except Damaged as error:
            self.damaged.append(error)
            return b""

    def _write(self, name: bytes, path: bytes, mode: int, artifact: Artifact) -> os.stat_result:
        if artifact.kind != "file" or artifact.format != "bytes":
            raise Damaged(f"{show(decode(path))} is tracked but is a {artifact.kind}, no file")
        if mode not in _MODES:
            return _link(self._folder, name, path, artifact)
        data = artifact.data
        if data is None:
            return self._stream(name, path, _MODES[mode], artifact)
        if len(data) != artifact.size:
            raise _wrong_size(path, len(data), artifact)
        return disk.write_new(self._folder, name, data, mode=_MODES[mode], path=path)

    def _artifact(self, path: bytes, entry: bytes) -> Artifact:
        try:
            return get_record(self._store, Artifact, entry[3:35])
        except Damaged as error:
            raise Damaged(f"{show(decode(path))}: {error.message}", hint=error.hints) from None

    def _stream(self, name: bytes, path: bytes, mode: int, artifact: Artifact) -> os.stat_result:
        """A file that does not lie inline."""
        fd = disk.create_at(self._folder, name, mode=mode, path=path)
        try:
            size = self._copy_pieces(artifact, fd, path)
            if size == artifact.size:
                return os.fstat(fd)
        finally:
            os.close(fd)
        disk.unlink_at(self._folder, name, path=path)
        raise _wrong_size(path, size, artifact)

    def _copy_pieces(self, artifact: Artifact, fd: int, path: bytes) -> int:
        try:
            return copy_content(
                self._store, artifact, fd, os.fsdecode(path), on_bytes=lambda size: self._count(0, size)
            )
        except Damaged as error:
            raise Damaged(f"{show(decode(path))}: {error.message}", hint=error.hints) from None


def _task(rows: Sequence[Row], files: Sequence[File], ids: Sequence[bytes]) -> Task:
    return Task(
        rows=[(pack, offset, size, number) for number, (pack, offset, size, _) in enumerate(rows)],
        files=[(ids[row[3]], files[row[3]].name, _MODES[files[row[3]].entry[37]]) for row in rows],
    )


def _link(folder: int, name: bytes, path: bytes, artifact: Artifact) -> os.stat_result:
    target = artifact.data or b""
    if not 0 < len(target) <= _TARGET_MOST or b"\0" in target:
        raise Damaged(f"{show(decode(path))} is a symbolic link without a sane target")
    disk.symlink_at(target, folder, name, path=path)
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def _wrong_size(path: bytes, size: int, artifact: Artifact) -> Damaged:
    return Damaged(f"{show(decode(path))} has {size} bytes instead of {artifact.size}")
