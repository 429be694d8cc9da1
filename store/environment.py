"""The LMDB environment: opened once a process, reopened after a fork, grown when full.

Invariant: no process opens one environment twice, and none maps a data file that is shorter than
its newest meta page says, nor goes on with one whose pages have killed another process.
Knows nothing of what the keys mean: see `store.index`.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from struct import Struct
from threading import RLock
from typing import Final

import lmdb
from aq.formats.errors import AqError, Damaged, Refused, Temporary
from aq.store import pages

MAP_SIZE = 64 << 30
"""Address space, not disk: the file is as long as what is in it."""
MAP_SIZE_LEAST: Final = 16 << 20
READERS: Final = 4_096
REBUILD: Final = "aq fsck --rebuild"
"""The command that makes the index anew from the packs."""
CHECKED_MOST: Final = 64
"""An index of up to so many pages is looked through whenever it is opened: a millisecond."""
_TRIES: Final = 4
_WRITES_PER_CHECK: Final = 64
_SLOT: Final = Struct("=QiI48x")  # a reader in lock.mdb: transaction, process, (thread, padding)
_SLOTS_AT: Final = {128: 56, 192: 64}  # where the slots begin on Linux, and their number stands
_OF_DAMAGE: Final = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.PanicError,
    lmdb.CursorFullError,
    lmdb.PageFullError,
    lmdb.IncompatibleError,
    lmdb.BadValsizeError,
)
_opened: dict[tuple[int, int], Environment] = {}
_opened_lock = RLock()


class DamagedIndex(Damaged):
    """The index is not what aq wrote. The packs are the truth: it can be made anew."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the index is damaged: {why}", hint=REBUILD)


class Environment:
    """One environment, shared by all stores of this process on the same folder."""

    def __init__(self, folder: str, *, readonly: bool) -> None:
        self.folder = folder
        self.readonly = readonly
        self.map_size = MAP_SIZE
        self.users = 0
        self._writes = 0
        self.key: tuple[int, int] | None = None
        self._lock = RLock()
        self._open()
        mode = os.O_RDONLY if readonly else os.O_RDWR
        self._fd = os.open(os.path.join(folder, "data.mdb"), mode | os.O_CLOEXEC)

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
                    max_spare_txns=0,  # a child would free the slot of a spare one that it inherits
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
        """Start a transaction, following a map that another process has grown.

        Readers that died inside a transaction hold freed pages back: writers look for them now and then.
        """
        self._writes += write
        if write and self._writes % _WRITES_PER_CHECK == 0:
            self.env.reader_check()
        for _ in range(_TRIES):
            try:
                return self.env.begin(write=write)
            except lmdb.MapResizedError:
                self.env.set_mapsize(0)
                self.map_size = self.env.info()["map_size"]
            except lmdb.BadRslotError:
                continue  # a forked child, closing what it inherited, freed the slot that was kept for us
        return self.env.begin(write=write)

    def writing(self) -> Writing:
        """Start the one write transaction."""
        return Writing(self)

    def grow(self) -> None:
        """Double the map."""
        with self._lock:
            self.map_size = max(self.map_size, self.env.info()["map_size"]) * 2
            self.env.set_mapsize(self.map_size)

    def reset(self) -> None:
        """Open anew after an error that LMDB does not recover from. Raises DamagedIndex if that is why."""
        with self._lock:
            self._env.close()
            self._open()
        problem = self.problem()
        if problem:
            raise DamagedIndex(problem)

    def close(self) -> None:
        """Give up one use; the last one closes the environment."""
        with _opened_lock:
            self.users -= 1
            if self.users > 0:
                return
            if self.key is not None and _opened.get(self.key) is self:
                del _opened[self.key]
            self._env.close()
            os.close(self._fd)

    def problem(self) -> str:
        """What is wrong with the pages of the data file, or "". Reads all of them that are in use."""
        why = ""
        for _ in range(_TRIES):
            try:
                with self.begin() as txn:  # keeps others from writing on these pages meanwhile
                    found = [meta for meta in pages.metas(self._read) if meta.transaction == txn.id()]
                    if found:  # and not overwritten already by the second transaction since
                        pages.check(self._read, found[0])
                    return ""
            except pages.BadPage as error:
                why = str(error)  # where nothing may be locked, perhaps somebody's half-written page
        return why

    def is_small(self) -> bool:
        """Whether looking at every page takes no time to speak of."""
        return os.fstat(self._fd).st_size <= CHECKED_MOST * 4_096

    def is_short(self) -> bool:
        """Whether the file ends before what its meta page counts: each check before opening reads it all."""
        try:
            return os.fstat(self._fd).st_size < pages.newest(pages.metas(self._read)).size
        except pages.BadPage:
            return False

    def lengthen(self) -> None:
        """Make a short file as long as it says. Only for the holder of the lock on the packs."""
        if hasattr(os, "posix_fallocate"):
            writing = self.writing()  # so that the file grows under nobody else
            try:
                size, wanted = os.fstat(self._fd).st_size, pages.newest(pages.metas(self._read)).size
                with suppress(OSError):  # a full disk: later
                    if size < wanted:
                        os.posix_fallocate(self._fd, size, wanted - size)
            finally:
                writing.abort()

    def _read(self, size: int, offset: int) -> bytes:
        return os.pread(self._fd, size, offset)


class Writing:
    """The write transaction `txn`, with a place in the table of readers.

    It is for whoever comes next: a page that kills this process is looked for then. It holds nothing back
    that the transaction itself does not.
    """

    def __init__(self, environment: Environment) -> None:
        self.txn = environment.begin(write=True)
        try:
            self._witness = environment.begin()
        except BaseException:
            self.txn.abort()
            raise

    def commit(self) -> None:
        """Make it count, durably. Raises lmdb.Error."""
        try:
            self.txn.commit()
        finally:
            self._witness.abort()

    def abort(self) -> None:
        """Take it back, if it has not ended yet."""
        self.txn.abort()
        self._witness.abort()

    def __enter__(self) -> lmdb.Transaction:
        return self.txn

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            self.commit()
        else:
            self.abort()


def open_environment(folder: str, *, readonly: bool) -> Environment:
    """The environment in `folder`; the same object for every store on it. Raises DamagedIndex."""
    with _opened_lock:
        key = _file_key(folder)
        found = _opened.get(key) if key else None
        if found is None:
            problem = problem_before_opening(folder)
            if problem:
                raise DamagedIndex(problem)
            found = _open_new(folder, readonly=readonly)
            found.key = _file_key(folder)
            if found.key:
                _opened[found.key] = found
        found.users += 1
        return found


def _open_new(folder: str, *, readonly: bool) -> Environment:
    suspect = somebody_died(folder)
    try:
        found = Environment(folder, readonly=readonly)
        problem = found.problem() if suspect or found.is_small() else ""
    except lmdb.Error as error:
        raise explain(error) from error
    if problem:
        found.close()
        raise DamagedIndex(problem)
    return found


def somebody_died(folder: str) -> bool:
    """Whether a process ended while it read the index: its pages may have killed it.

    To be asked before the environment is opened here, which may clear the table of readers. What the
    table looks like is known for Linux; elsewhere the answer is no.
    """
    try:
        with open(os.path.join(folder, "lock.mdb"), "rb") as file:
            start = os.fstat(file.fileno()).st_size - READERS * _SLOT.size
            if start not in _SLOTS_AT or sys.platform != "linux":
                return False
            table = file.read(start)
            count = int.from_bytes(table[_SLOTS_AT[start] :][:4], sys.byteorder)
            slots = file.read(min(count, READERS) * _SLOT.size)
    except OSError:
        return False
    owners = {process for _transaction, process, _thread in _SLOT.iter_unpack(slots)}
    return not all(process == 0 or _is_alive(process) for process in owners)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


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

    A page in use behind the file's end would kill the process (SIGBUS) when it is read.
    """
    try:
        with open(os.path.join(folder, "data.mdb"), "rb", buffering=0) as file:
            return _problem_of_file(file.fileno())
    except FileNotFoundError:
        return "data.mdb is missing"
    except OSError as error:
        return str(error.strerror)


def _problem_of_file(fd: int) -> str:
    def read(size: int, offset: int) -> bytes:
        return os.pread(fd, size, offset)

    why = ""
    for _ in range(_TRIES):
        try:
            newest = pages.newest(pages.metas(read))
            if os.fstat(fd).st_size < newest.size:
                pages.check(
                    read, newest
                )  # pages that were freed at once were never written: they may lie behind
            return ""
        except pages.BadPage as error:
            why = str(error)  # perhaps of a page that somebody writes just now
    return why


def explain(error: lmdb.Error) -> AqError:
    """What an LMDB error means to the user."""
    if isinstance(error, lmdb.ReadersFullError):
        return Temporary("too many processes read this repository at once")
    if isinstance(error, _OF_DAMAGE):
        return DamagedIndex(str(error))
    return Refused(f"the index cannot be used: {error}")
