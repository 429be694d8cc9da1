"""The LMDB environment: opened once a process, reopened after a fork, grown when full.

Invariant: no process opens one environment twice, and none maps a data file that is shorter than
its newest meta page says. Knows nothing of what the keys mean: see `store.index`.
"""

from __future__ import annotations

import os
from struct import Struct
from threading import RLock
from typing import Final

import lmdb
from aq.formats.errors import AqError, Damaged, Temporary

MAP_SIZE = 64 << 30
"""Address space, not disk: the file is as long as what is in it."""
MAP_SIZE_LEAST: Final = 16 << 20
READERS: Final = 4_096
REBUILD: Final = "aq fsck --rebuild"
"""The command that makes the index anew from the packs."""
_TRIES: Final = 4
_META_MAGIC: Final = 0xBEEFC0DE
_PAGE_LEAST: Final = 512
_PAGE_MOST: Final = 65_536
_meta = Struct("<II8xQ")  # magic, version, (address), map size; at byte 16 of a meta page
_META_BYTES: Final = 152
_opened: dict[tuple[int, int], Environment] = {}
_opened_lock = RLock()


class Environment:
    """One environment, shared by all stores of this process on the same folder."""

    def __init__(self, folder: str, *, readonly: bool) -> None:
        self.folder = folder
        self.readonly = readonly
        self.map_size = MAP_SIZE
        self.users = 0
        self.key: tuple[int, int] | None = None
        self._lock = RLock()
        self._open()

    def _open(self) -> None:
        self._inherited = False
        self._env = self._map()
        if not self.readonly:
            self._env.reader_check()

    def _map(self) -> lmdb.Environment:
        size = self.map_size
        while True:
            try:
                return lmdb.open(
                    self.folder,
                    map_size=size,
                    readonly=self.readonly,
                    lock=not self.readonly,
                    max_readers=READERS,
                    max_spare_txns=1,
                    create=False,
                )
            except (lmdb.MemoryError, MemoryError):
                size //= 4  # an address-space limit: a smaller map grows when it must
                if size < MAP_SIZE_LEAST:
                    raise
                self.map_size = size

    @property
    def env(self) -> lmdb.Environment:
        """The environment of this very process: one inherited by a fork is closed and opened anew."""
        if self._inherited:
            with self._lock:
                if self._inherited:
                    self._env.close()
                    self._open()
        return self._env

    def after_fork(self) -> None:
        """In the child: a lock that some thread of the parent held would never be freed here."""
        self._lock = RLock()
        self._inherited = True

    def begin(self, *, write: bool = False) -> lmdb.Transaction:
        """Start a transaction, following a map that another process has grown."""
        for _ in range(_TRIES):
            try:
                return self.env.begin(write=write)
            except lmdb.MapResizedError:
                self.env.set_mapsize(0)
                self.map_size = self.env.info()["map_size"]
            except lmdb.BadRslotError:
                continue  # a forked child, closing what it inherited, freed the slot that was kept for us
        return self.env.begin(write=write)

    def grow(self) -> None:
        """Double the map."""
        with self._lock:
            self.map_size = max(self.map_size, self.env.info()["map_size"]) * 2
            self.env.set_mapsize(self.map_size)

    def reset(self) -> None:
        """Open anew after an error that LMDB does not recover from."""
        with self._lock:
            self._env.close()
            self._open()

    def close(self) -> None:
        """Give up one use; the last one closes the environment."""
        with _opened_lock:
            self.users -= 1
            if self.users > 0:
                return
            if self.key is not None and _opened.get(self.key) is self:
                del _opened[self.key]
            self._env.close()


def open_environment(folder: str, *, readonly: bool) -> Environment:
    """The environment in `folder`; the same object for every store on it. Raises Damaged."""
    with _opened_lock:
        key = _file_key(folder)
        found = _opened.get(key) if key else None
        if found is None:
            problem = problem_before_opening(folder)
            if problem:
                raise Damaged(f"the index cannot be used: {problem}", hint=REBUILD)
            found = _open_new(folder, readonly=readonly)
            found.key = _file_key(folder)
            if found.key:
                _opened[found.key] = found
        found.users += 1
        return found


def _open_new(folder: str, *, readonly: bool) -> Environment:
    try:
        return Environment(folder, readonly=readonly)
    except lmdb.Error as error:
        raise explain(error) from error


def is_open(folder: str) -> bool:
    """Whether this process has the environment in `folder` open."""
    with _opened_lock:
        return _file_key(folder) in _opened


def is_current(environment: Environment) -> bool:
    """Whether the files that `environment` has open are still the ones in its folder."""
    return environment.key is None or environment.key == _file_key(environment.folder)


def _after_fork() -> None:
    global _opened_lock
    _opened_lock = RLock()
    for environment in _opened.values():
        environment.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _file_key(folder: str) -> tuple[int, int] | None:
    try:
        found = os.stat(os.path.join(folder, "data.mdb"))
    except OSError:
        return None
    return found.st_dev, found.st_ino


def problem_before_opening(folder: str) -> str:
    """Why the data file must not be mapped, or "". Never to be called while the environment is open here.

    A file shorter than its newest meta page says would kill the process (SIGBUS) when it is read.
    """
    try:
        with open(os.path.join(folder, "data.mdb"), "rb") as file:
            start = file.read(_META_BYTES)
            page = int.from_bytes(start[40:44], "little") if len(start) == _META_BYTES else 0
            if not _PAGE_LEAST <= page <= _PAGE_MOST:
                return "data.mdb has no meta page"
            file.seek(page)
            metas = [start, file.read(_META_BYTES)]
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return "data.mdb is missing"
    except OSError as error:
        return str(error.strerror)
    return _problem_of_metas(metas, page, size)


def _problem_of_metas(metas: list[bytes], page: int, size: int) -> str:
    newest, last_page = -1, 0
    for meta in metas:
        if len(meta) < _META_BYTES or _meta.unpack_from(meta, 16)[:2] != (_META_MAGIC, 1):
            return "a meta page of data.mdb is damaged"
        transaction = int.from_bytes(meta[144:152], "little")
        if transaction > newest:
            newest, last_page = transaction, int.from_bytes(meta[136:144], "little")
    if (last_page + 1) * page > size:
        return f"data.mdb has {size} bytes, its meta page says {(last_page + 1) * page}"
    return ""


def explain(error: lmdb.Error) -> AqError:
    """What an LMDB error means to the user."""
    if isinstance(error, lmdb.ReadersFullError):
        return Temporary("too many processes read this repository at once")
    if isinstance(error, (lmdb.DiskError, lmdb.LockError, lmdb.ReadonlyError)):
        return AqError(f"the index cannot be used: {error}")
    if isinstance(error, (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.PanicError)):
        return Damaged(f"the index is damaged: {error}", hint=REBUILD)
    return AqError(f"the index cannot be used: {error}")
