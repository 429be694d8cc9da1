"""The files of the index before LMDB opens them: whether they can be mapped, whether somebody died of them.

Invariant: nothing is locked, mapped or changed; not to be asked while this process has them open, as to
close a second descriptor of a file gives up the process's locks on it.
"""

from __future__ import annotations

import os
import sys
from struct import Struct
from typing import Final

from aq.store.frames import pages

READERS: Final = 4_096
"""Places in the table of readers."""
_TRIES: Final = 4
_SLOT: Final = Struct("=QiI48x")  # a reader in lock.mdb: transaction, process, (thread, padding)
_SLOTS_AT: Final = {128: 56, 192: 64}  # where the slots begin on Linux, and their number stands


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
