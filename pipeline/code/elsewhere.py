"""Which files outside the folder are data that an op reads, and which Python's or the system's.

Invariant: what the user's own code asks for counts wherever it lies, except for what is no file on a
disk (`/proc`, devices), time zones and aq's own. Of places where libraries and the system keep what is theirs
nothing else counts.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from functools import lru_cache
from typing import Final

_NEVER: Final = ("/proc/", "/sys/", "/dev/", "/run/", "/var/run/")
_SYSTEM: Final = ("/etc/", "/usr/", "/lib/", "/lib64/", "/bin/", "/sbin/", "/System/", "/Library/")
_INSTALLED: Final = ("/site-packages/", "/dist-packages/", "/node_modules/", "/__pycache__/")


def counts(place: str, asked: Callable[[], bool], *, is_name: bool) -> bool:
    """Whether an absolute path is an input. `asked`: whether the user's own code asks for it;
    `is_name`: it stands for the names in its folder.
    """
    if place.startswith(_NEVER) or "/.aq/" in place or "/zoneinfo/" in place:
        return False
    if is_name:
        return os.path.dirname(place) != tempfile.gettempdir() and asked()
    if not os.path.lexists(place):
        return asked()
    return os.path.isfile(place) and (not _is_of_others(place) or asked())


def _is_of_others(place: str) -> bool:
    """Whether a file lies where Python, the system and libraries keep theirs, hidden folders among it."""
    if "/." in place or any(part in place for part in _INSTALLED):
        return True
    return place.startswith((*_SYSTEM, *_prefixes()))


@lru_cache(maxsize=1)
def _prefixes() -> tuple[str, ...]:
    """Where Python is installed, and its environments."""
    found = {sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.__file__)}
    return tuple(one.rstrip(os.sep) + os.sep for one in found if one != os.sep)
