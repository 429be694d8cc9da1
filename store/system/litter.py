"""What killed processes leave in `.aq` beside packs and index: `aq gc` takes it away.

Invariant: nothing is removed that somebody has locked, or that was changed less than a grace ago by
the file system's own clock. Packs and leases are looked after by `store.upkeep.compact` and
`store.system.lease`.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from stat import S_ISDIR, S_ISREG

from aq.formats.errors import AqError
from aq.store.system import disk
from aq.store.system.staging import Staging

_unfinished = re.compile(r".+\.[0-9]+\.new")  # of `disk.write_stream`


def sweep(control: str, *, grace: int) -> int:
    """Remove litter older than `grace` (ns); returns how many files and folders went.

    The caller holds the lock of the writers: who makes an index anew has it, and works in `tmp/`.
    """
    with Staging(os.fsencode(f"{control}/tmp")) as staging:
        now = staging.clock()
        return sum(_taken(path, now, grace) for path in _candidates(control))


def _candidates(control: str) -> Iterator[str]:
    for name in sorted(os.listdir(f"{control}/tmp")):
        yield f"{control}/tmp/{name}"
    for name in sorted(os.listdir(control)):
        if _unfinished.fullmatch(name):
            yield f"{control}/{name}"


def _taken(path: str, now: int, grace: int) -> bool:
    """Remove one thing if it is litter. A time in the far future is of a clock that was wrong."""
    with suppress(OSError, AqError):  # gone already, or not ours to remove: the next collector sees it again
        found = os.lstat(path)
        if abs(now - max(found.st_mtime_ns, found.st_ctime_ns)) < grace:
            return False
        if not (S_ISDIR(found.st_mode) or S_ISREG(found.st_mode)):
            disk.unlink(path)
            return True
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where its owner lives
            if S_ISDIR(found.st_mode):
                disk.remove_tree(path)
            else:
                disk.unlink(path)
            return True
        finally:
            os.close(fd)
    return False
