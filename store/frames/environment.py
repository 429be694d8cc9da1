"""The LMDB environment: opened once a process, reopened after a fork, grown when full.

Invariant: no process opens one environment twice, and none maps a data file that is shorter than
its newest meta page says, nor goes on with one whose pages have killed another process.
Knows nothing of what the keys mean: see `store.frames.index`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from threading import RLock
from typing import Final

import lmdb
from aq.formats.errors import AqError, Damaged, Refused, Temporary
from aq.store.frames import pages, sums
from aq.store.frames.unopened import READERS, problem_before_opening, somebody_died

MAP_SIZE = 64 << 30
"""Address space, not disk: the file is as long as what is in it."""
MAP_SIZE_LEAST: Final = 16 << 20
REBUILD: Final = "aq fsck --rebuild"
"""The command that makes the index anew from the packs."""
CHECKED_MOST: Final = 64
"""An index of up to so many pages without checksums is looked through when it is opened: a millisecond."""
_SMALL: Final = CHECKED_MOST * 4_096
_TRIES: Final = 4
_WRITES_PER_CHECK: Final = 64
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
_SPARE: Final = b"spare"
_PAGE_HEAD: Final = 16
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
            if self._writes and not self._inherited and is_current(self):
                self._write_sums()
            self._env.close()
            os.close(self._fd)

    def problem(self, *, suspected: bool = True) -> str:
        """What is wrong with the pages of the data file, or "".

        Each page in use is looked into where damage is `suspected`, where a checksum differs, or where
        there are none and only a few pages.
        """
        why = ""
        for _ in range(_TRIES):
            try:
                with self.begin() as txn:  # keeps others from writing on these pages meanwhile
                    differing = self._differing(txn.id())
                    if suspected or differing or (differing is None and self._size() <= _SMALL):
                        self._look_into(txn.id(), differing or ())
                    return ""
            except pages.BadPage as error:
                why = str(error)  # where nothing may be locked, perhaps somebody's half-written page
        return why

    def _look_into(self, transaction: int, differing: Iterable[int]) -> None:
        """Look into every page in use; those that differ from their sums are damaged. Raises BadPage."""
        for meta in pages.metas(self._read):
            if meta.transaction == transaction:  # and not yet overwritten by the second one since
                uses = pages.check(self._read, meta)
                for number in differing:  # free ones may have been written by somebody who then died
                    if number < len(uses) and uses[number] == pages.USED:
                        raise pages.BadPage(f"page {number} of data.mdb is not what was written")

    def _differing(self, transaction: int) -> list[int] | None:
        """The pages that are not what was written, free ones too; None where nobody can tell."""
        if self._size() > sums.BYTES_MOST:
            return None
        then = sums.load(self.folder)
        if then is None or then.transaction != transaction:
            return None
        return sums.differing(then, sums.take(self._fd, transaction, then.page))

    def _write_sums(self) -> None:
        """For whoever opens it next. Without them damage is only found later, so nothing is to fail here."""
        if self._size() <= sums.BYTES_MOST:
            with suppress(Refused, OSError, lmdb.Error), self.begin() as txn:
                page = self._env.stat()["psize"]
                sums.store(self.folder, sums.take(self._fd, txn.id(), page))

    def _size(self) -> int:
        return os.fstat(self._fd).st_size

    def is_short(self) -> bool:
        """Whether the file ends before what its meta page counts: each check before opening reads it all."""
        try:
            return os.fstat(self._fd).st_size < pages.newest(pages.metas(self._read)).size
        except pages.BadPage:
            return False

    def set_aside(self, count: int) -> None:
        """Have `count` free pages in the file, as far as there is room: LMDB writes over no page that one of
        the last two states needs. Only for the holder of the lock on the packs. Raises lmdb.Error, OSError.
        """
        with self.begin() as txn:
            stat = txn.stat()
        used = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        missing = count - (self.env.info()["last_pgno"] - used)
        if missing > 0:
            with self.writing() as txn:
                txn.put(_SPARE, bytes(missing * stat["psize"] - _PAGE_HEAD))
                txn.delete(_SPARE)
            if self.is_short():  # pages that are freed at once may not have been written
                self.lengthen()

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
        problem = found.problem(suspected=suspect)
    except lmdb.Error as error:
        raise explain(error) from error
    if problem:
        found.close()
        raise DamagedIndex(problem)
    return found


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


def explain(error: lmdb.Error) -> AqError:
    """What an LMDB error means to the user."""
    if isinstance(error, lmdb.ReadersFullError):
        return Temporary("too many processes read this repository at once")
    if isinstance(error, _OF_DAMAGE):
        return DamagedIndex(str(error))
    if isinstance(error, lmdb.ReadonlyError):
        return Refused("the index cannot be written")
    return Refused(f"the index cannot be used: {error}")
