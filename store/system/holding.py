"""Who holds the folder: any number of commands that record it, or one that writes into it.

Invariant: it is held by a `flock` on the folder `.aq`, shared or exclusive, which ends with its process;
nobody waits for it without end. Who only looks does not hold it. Nothing in the store is ordered by it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Final

from aq.formats.errors import Temporary

PATIENCE = 60.0
"""Seconds that a command waits for the others."""
_PAUSE: Final = 0.05
_ALONE: Final = fcntl.LOCK_EX, "records this folder or writes into it"
_BESIDE: Final = fcntl.LOCK_SH, "writes into this folder"


@contextmanager
def held(control: str, *, alone: bool, waits: Callable[[str], None]) -> Iterator[None]:
    """Hold the folder for as long as the block runs: by oneself (`alone`) or beside others who record it.

    `waits` is told what is waited for, and "" when that has ended. Raises Temporary where it takes too long.
    """
    how, whom = _ALONE if alone else _BESIDE
    fd = os.open(control, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not _taken(fd, how):
            waits(f"waiting for another aq, which {whom}")
            try:
                _wait(fd, how, whom)
            finally:
                waits("")
        yield
    finally:
        os.close(fd)


def is_held_alone(control: str) -> bool:
    """Whether somebody is writing into the folder, or about to."""
    fd = os.open(control, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return not _taken(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _wait(fd: int, how: int, whom: str) -> None:
    """Try again and again: `flock` itself cannot be told when to give up."""
    pause = Event()
    for _ in range(int(PATIENCE / _PAUSE)):
        pause.wait(_PAUSE)
        if _taken(fd, how):
            return
    raise Temporary(f"another aq {whom}: not done after {PATIENCE:.0f} s", hint="aq status")


def _taken(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
