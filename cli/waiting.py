"""A sign of life on a terminal while a command is silent: what it does, for how long, how much is done.

Invariant: nothing is shown within the first second, and what was shown is wiped before anything else
is written. It polls counters: the work itself is not slowed by it. Commands that run steps have
`cli.progress` instead.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Final

from aq.cli.text import cut, duration, size, visible

if TYPE_CHECKING:
    from aq.pipeline.repo import Repo

PATIENCE: Final = 1.0
"""Seconds of silence that need no sign."""
TICK: Final = 0.2
SPIN: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
WIPE: Final = "\r\x1b[K"


class Waiting:
    """The sign; `done` says how much is done by now, "" where that is unknown."""

    def __init__(self, name: str, done: Callable[[], str], *, width: int) -> None:
        self._name, self._done, self._width = name, done, width
        self._lock, self._stop = Lock(), Event()
        self._shown = False
        self._began = time.monotonic()
        self._thread = Thread(target=self._tick, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Wipe it; it does not come back."""
        self._stop.set()
        with self._lock:
            if self._shown:
                self._shown = False
                _write(WIPE)

    def _tick(self) -> None:
        wait, turn = PATIENCE, 0
        while not self._stop.wait(wait):
            wait, turn = TICK, turn + 1
            with self._lock:
                if not self._stop.is_set():
                    self._shown = True
                    _write(WIPE + self._line(SPIN[turn % len(SPIN)]))

    def _line(self, mark: str) -> str:
        """`⠹ commit  12.4 s  123,456 files, 1.2 GiB`."""
        text = f"{mark} {self._name}  {duration(time.monotonic() - self._began)}"
        done = self._done()
        return cut(visible(f"{text}  {done}" if done else text), max(self._width - 1, 20))


def counted(repo: Repo | None) -> str:
    """How many files went by, and how many bytes."""
    done = repo.progress() if repo is not None else None
    if done is None:
        return ""
    if done.waits:
        return done.waits
    if not (done.files or done.bytes):
        return ""
    files = f"{done.files:,} file{'' if done.files == 1 else 's'}, " if done.files else ""
    return files + size(done.bytes)


def _write(text: str) -> None:
    with suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()
