"""Finished packs forced to the disk while the next ones are written.

Invariant: `wait` returns only when every pack that was handed over is on the disk, and raises what went
wrong with any of them; after an error no further one is tried. One thread, which ends when there is
nothing to do; packs are forced in the order in which they came.
"""

from __future__ import annotations

from collections import deque
from threading import Lock, Thread

from aq.store.frames.packs import PackWriter


class Sealer:
    """The packs of one transaction on their way to the disk."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: deque[PackWriter] = deque()
        self._thread: Thread | None = None
        self._working = False
        self._error: BaseException | None = None

    def force(self, pack: PackWriter) -> None:
        """Have a pack forced, soon; it must stay open meanwhile. Raises AqError if an earlier one failed."""
        if self._error is not None:
            raise self._error
        with self._lock:
            self._waiting.append(pack)
            if self._working:
                return
            self._working = True
            self._thread = Thread(target=self._work, name="aq sealer", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads are to be had
            self.wait()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._working = False
                    return
                pack = self._waiting.popleft()
            try:
                pack.force()
            except BaseException as error:  # raised where the packs are waited for
                self._error = error
                self.cancel()

    def cancel(self) -> None:
        """Try no further pack."""
        with self._lock:
            self._waiting.clear()

    def stop(self) -> None:
        """Try no further pack, and return when nothing is under way any more, whatever came of it."""
        self.cancel()
        self._join()

    def wait(self) -> None:
        """Return when nothing is under way any more. Raises AqError if a pack could not be forced."""
        self._join()
        self._work()  # what no thread came to take
        if self._error is not None:
            raise self._error

    def _join(self) -> None:
        interrupted: BaseException | None = None
        while self._thread is not None and self._thread.is_alive():
            try:
                self._thread.join()
            except BaseException as error:  # a signal: the file must not be closed under the thread
                interrupted = error
        if interrupted is not None:
            raise interrupted
