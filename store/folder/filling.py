"""Files written under temporary names: whole, verified, read in the order of the packs.

Invariant: a file that has a stat here has its complete, verified content; one that is damaged has none,
and keeps no other back. Names and places are the caller's business.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
from aq.formats.contents.files import INLINE_BELOW
from aq.formats.errors import AqError, Damaged
from aq.formats.objects import get_record
from aq.formats.records import Artifact
from aq.store.commits.snapshots import Mode
from aq.store.folder.prefetch import Prefetch, Row, find_places
from aq.store.folder.second import Helper
from aq.store.folder.second_writer import Task, answered, written
from aq.store.frames.streaming import copy_content
from aq.store.store import Store
from aq.store.system import disk
from aq.store.system.paths import decode, show
from aq.store.system.staging import Staging
from aq.store.system.stats import pack_stat, sizes_of

_AT_A_TIME: Final = 256
_TARGET_MOST: Final = 4_096
_MODES: Final[dict[int, int]] = {Mode.FILE: 0o666, Mode.EXEC: 0o777}


Count = Callable[[int, int], None]
"""Told of files as they are written or deleted: how many, and their bytes; of large ones as they go by."""


class Batch:
    """Files on their way: columns of names below the staging folder, paths for messages, packed entries.

    `stats`: packed stats as far as the files are written; `open`: how many pieces of the work are not done;
    `left`: files that the index does not know to lie in a pack.
    """

    __slots__ = ("entries", "left", "modes", "names", "open", "paths", "stats")

    def __init__(self, names: Sequence[bytes], paths: Sequence[bytes], entries: Sequence[bytes]) -> None:
        self.names, self.paths, self.entries = names, paths, entries
        self.modes = [_MODES.get(entry[37], 0) for entry in entries]
        self.stats = [b""] * len(names)
        self.left: list[int] = []
        self.open = 0


class Piece(NamedTuple):
    """Some neighbours in the packs."""

    batch: Batch
    rows: list[Row]


class Filler:
    """Writes files into a staging folder. Close it before the folder.

    `helper`: a second process, which is closed with this. It takes pieces from the end of what was begun,
    while this one takes them from the start.
    """

    def __init__(self, store: Store, staging: Staging, count: Count, helper: Helper[Piece] | None) -> None:
        packs = f"{store.control}/packs"
        self.damaged: list[AqError] = []
        self._store, self._folder, self._count = store, staging.fd, count
        self._prefetch = Prefetch(packs)
        self._pieces: deque[Piece] = deque()
        self.helper = helper
        if helper is not None:
            helper.begin(msgspec.msgpack.encode((packs, staging.path)))

    def close(self) -> None:
        """Let go of the packs; nothing more is written."""
        self._prefetch.close()
        if self.helper is not None:
            self.helper.close()

    def begin(self, names: Sequence[bytes], paths: Sequence[bytes], entries: Sequence[bytes]) -> Batch:
        """Find files in the packs, and have the helper begin with them if it has nothing else to do."""
        batch = Batch(names, paths, entries)
        rows, batch.left = find_places(self._store, [entry[3:35] for entry in entries])
        for first in range(0, len(rows), _AT_A_TIME):
            self._pieces.append(Piece(batch, rows[first : first + _AT_A_TIME]))
            batch.open += 1
        self._share()
        return batch

    def end(self, batch: Batch) -> list[bytes]:
        """Write what is left of a batch, in the order of `begin`; packed stats, b"" for what is `damaged`."""
        while batch.open:
            self._share()
            if self._pieces and self._pieces[0].batch is batch:
                self._write_piece(self._pieces.popleft())
            else:
                self._hear(wait=True)
        for at in batch.left:
            batch.stats[at] = self._written(batch, at, None)
        sizes = sizes_of(batch.stats)
        self._count(len(batch.names), sum([size for size in sizes if size < INLINE_BELOW]))
        return batch.stats

    def _share(self) -> None:
        """Keep the helper busy."""
        if self.helper is None:
            return
        self._hear(wait=False)
        while self._pieces and self.helper.is_free:
            batch, rows = piece = self._pieces.pop()
            task = Task(rows, [batch.names[row[3]] for row in rows], [batch.modes[row[3]] for row in rows])
            self.helper.give(piece, msgspec.msgpack.encode(task))

    def _hear(self, *, wait: bool) -> None:
        """Take in what the helper has done, and do what it has not."""
        while self.helper is not None and (heard := self.helper.hear(wait=wait)) is not None:
            (batch, rows), answer = heard
            for row, stat in zip(rows, answered(answer, len(rows)), strict=True):
                batch.stats[row[3]] = stat or self._written_again(batch, row[3])
            batch.open -= 1
            wait = False

    def _write_piece(self, piece: Piece) -> None:
        batch, rows = piece
        columns = batch.names, batch.modes, batch.paths
        for at, stat, artifact in written(self._prefetch, self._folder, rows, *columns):
            batch.stats[at] = stat or self._written(batch, at, artifact)
        batch.open -= 1

    def _written_again(self, batch: Batch, at: int) -> bytes:
        disk.unlink_at(self._folder, batch.names[at], path=batch.paths[at])
        return self._written(batch, at, None)

    def _written(self, batch: Batch, at: int, artifact: Artifact | None) -> bytes:
        name, path, entry = batch.names[at], batch.paths[at], batch.entries[at]
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


def _link(folder: int, name: bytes, path: bytes, artifact: Artifact) -> os.stat_result:
    target = artifact.data or b""
    if not 0 < len(target) <= _TARGET_MOST or b"\0" in target:
        raise Damaged(f"{show(decode(path))} is a symbolic link without a sane target")
    disk.symlink_at(target, folder, name, path=path)
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def _wrong_size(path: bytes, size: int, artifact: Artifact) -> Damaged:
    return Damaged(f"{show(decode(path))} has {size} bytes instead of {artifact.size}")
