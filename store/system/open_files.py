"""Room for open files: every pack of a transaction stays open, and so locked, until it is published.

Invariant: the limit is only raised, never above what the system allows this process, and only when it is
nearly reached: with 1,024 files a transaction would end at 64 GiB.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Final

_ROOM: Final = 24


def leave_room(fd: int) -> None:
    """Raise the limit of open files, where that is allowed, if `fd`, the newest one, is near it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or fd + _ROOM < soft:
        return
    more = 2 * soft if hard == resource.RLIM_INFINITY else min(2 * soft, hard)
    if more > soft:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
