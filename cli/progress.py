"""Progress on standard error: one updating line on a terminal, one line a finished step otherwise.

Invariant: on a terminal never silent for over a second; standard output is never touched; what an
op prints or does to the standard streams cannot mix with it (it writes to a descriptor of its own).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread
from typing import Any, TextIO

from aq.cli.session import Session
from aq.cli.text import View, cut, duration, visible
from aq.cli.text_run import SHOWN_FROM, event_line, reasons_of
from aq.cli.waiting import SPIN, TICK, WIPE


class Progress:
    """Called with each event: a dict with `event`, and `step`, `commit`, `done`, `total` where they apply."""

    def __init__(self, stream: TextIO, view: View, *, live: bool, silent: bool, reasons: bool) -> None:
        self._stream, self._view, self._live, self._silent = stream, view, live, silent
        self._reasons = reasons
        self._lock, self._stop = Lock(), Event()
        self._doing, self._since, self._began = "starting", time.monotonic(), time.monotonic()
        self._running: dict[str, tuple[float, str]] = {}
        self._paused = False
        self._done, self._total, self._saved = 0, 0, 0.0
        self._thread = Thread(target=self._tick, daemon=True)
        if live:
            self._thread.start()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take note of an event; print the line of one that ended something."""
        event = event if self._reasons else {**event, "reasons": ()}
        ended = event.get("event") in ("step", "waiting", "map") or not self._live
        line = event_line(event, self._view) if ended and not self._silent else None
        with self._lock:
            self._paused = False
            self._total = int(event.get("total") or self._total)
            self._note(event)
            if line is not None:
                self._write((WIPE if self._live else "") + visible(line) + "\n")

    def _note(self, event: Mapping[str, Any]) -> None:
        kind, now = event.get("event"), time.monotonic()
        if kind == "step":
            self._done += 1
            self._saved += float(event.get("saved") or 0.0)
            self._running.pop(str(event["step"]), None)
            self._doing = "recording" if self._done == self._total else "deciding"
            self._since = now
        elif kind in ("start", "waiting"):
            why = "another aq run is at it" if kind == "waiting" else reasons_of(event)
            self._running[str(event["step"])] = now, why
        elif "commit" in event:
            self._doing, self._since = str(event_line(event, View())), now

    def pause(self) -> None:
        """Leave the terminal to somebody else until the next event."""
        with self._lock:
            self._paused = True
            self._write(WIPE)

    def close(self) -> None:
        """Stop and wipe the updating line."""
        if self._live:
            self._stop.set()
            self._thread.join()
            self._write(WIPE)

    def _tick(self) -> None:
        turn = 0
        while not self._stop.wait(TICK):
            turn += 1
            with self._lock:
                if not self._paused:
                    self._write(WIPE + self._status(SPIN[turn % len(SPIN)]))

    def _status(self, mark: str) -> str:
        """`⠹ delays/train  12.4 s  (4 of 9, 30 s saved, about 30 s left)  code: depth changed`."""
        now = time.monotonic()
        (name, (since, why)), *others = [*self._running.items()] or [(self._doing, (self._since, ""))]
        text = f"{mark} {name}  {duration(now - since)}"
        if others:
            text += f", {others[0][0]}" + (f" and {len(others) - 1} more" if len(others) > 1 else "")
        if self._total:
            left = (now - self._began) / self._done * (self._total - self._done) if self._done else 0.0
            saved = f", {duration(self._saved)} saved" if self._saved >= SHOWN_FROM else ""
            rest = f", about {duration(left)} left" if left > 1 else ""
            text += f"  ({self._done} of {self._total}{saved}{rest})"
        text += f"  {why}" if why and not others else ""
        return cut(visible(text), max(self._view.width - 1, 20))

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


@contextmanager
def progress(session: Session, *, reasons: bool = True) -> Iterator[Progress]:
    """Progress for as long as the block runs; `reasons` says why each step ran."""
    live = sys.stderr.isatty() and not session.quiet
    with os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", errors="replace") as stream:
        view = session.error_view()
        silent = session.quiet or (session.json and not live)
        shown = Progress(stream, view, live=live, silent=silent, reasons=reasons)
        try:
            yield shown
        finally:
            shown.close()
