"""A second thread that shares the caller's work for a while.

Invariant: it runs only inside the context, whatever happens there: an error, a signal, or no thread to
be had; what goes wrong in it is raised in the caller. Who shares work already works alone below that: four
threads would wait for each other. It knows nothing of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread, local
from types import TracebackType

_sharing = local()


class Stopped(Exception):
    """The other thread has failed, and what it was is known: there is nothing more to do."""


@contextmanager
def alone() -> Iterator[None]:
    """Within, this thread works alone: two that make many short calls wait too much for each other."""
    before = getattr(_sharing, "now", False)
    _sharing.now = True
    try:
        yield
    finally:
        _sharing.now = before


class SecondThread:
    """Calls `work` in a thread; `stop` makes the work of both threads end soon, from any thread."""

    def __init__(self, work: Callable[[], None], stop: Callable[[], None]) -> None:
        self._work, self._stop = work, stop
        self._error: BaseException | None = None
        self._is_inner = getattr(_sharing, "now", False)
        self._thread: Thread | None = None
        if not self._is_inner:
            self._thread = Thread(target=self._run, name="aq second", daemon=True)

    def _run(self) -> None:
        _sharing.now = True
        try:
            self._work()
        except Stopped:
            pass
        except BaseException as error:
            self._error = error
            self._stop()

    def __enter__(self) -> SecondThread:
        if self._thread is None:
            return self
        try:
            self._thread.start()
        except RuntimeError:  # no more threads are to be had: alone it takes longer
            self._thread = None
        except BaseException:
            self._end()
            raise
        _sharing.now = True
        return self

    def finish(self) -> None:
        """Wait until the thread has done its share. Raises what went wrong in it."""
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._end()
        if self._error is not None and isinstance(error, Stopped):
            raise self._error

    def _end(self) -> None:
        """Have it stop and wait for that, however often a signal interrupts us meanwhile."""
        if not self._is_inner:
            _sharing.now = False
        self._stop()
        interrupted: BaseException | None = None
        while self._thread is not None and self._thread.is_alive():
            try:
                self._thread.join()
            except BaseException as error:
                interrupted = error
        if interrupted is not None:
            raise interrupted
