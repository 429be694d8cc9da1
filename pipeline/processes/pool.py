"""A pool: workers that stay warm and do one task at a time each, behind the interface of an executor.

Invariant: no worker is started or taken once the pool is closed, and none is left when it has been shut down.
What a worker is, and what becomes of a task whose worker is lost, is up to whoever has the pool.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, Generic, Protocol, TypeVar

from aq.pipeline.processes.task import Answer, Code, Task, perform


class Worker(Protocol):
    """A process that does tasks."""

    def leave(self) -> None:
        """Tell it that nothing more comes."""

    def end(self) -> None:
        """Have it end now, with all that it has started; who waits for its answer hears of it."""

    def close(self) -> None:
        """Wait for it to be gone."""


W = TypeVar("W", bound=Worker)


class Pool(Executor, Generic[W]):
    """At most `jobs` tasks at once, each by `do` in a thread of its own, which takes a worker for it."""

    def __init__(self, jobs: int, do: Callable[[Code, Task], Answer]) -> None:
        self.is_closed = False
        self._do = do
        self._threads = ThreadPoolExecutor(jobs, thread_name_prefix="aq-worker")
        self._guard = Lock()
        self._idle: list[W] = []
        self._all: set[W] = set()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Only `task.perform` is done here: a worker knows nothing else."""
        if fn is not perform:
            raise TypeError("these workers perform tasks of aq, and nothing else")
        return self._threads.submit(self._do, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Let the workers leave; with `cancel_futures` end them where they are."""
        with self._guard:
            self.is_closed = True
            known = list(self._all)
        for one in known:
            if cancel_futures:
                one.end()
            elif one in self._idle:
                one.leave()
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        for one in known:
            one.close()

    def take(self, start: Callable[[], W], *, anew: bool = False) -> W | None:
        """An idle worker, or one that is started now (`anew`: in any case); None once the pool is closed."""
        with self._guard:
            if self.is_closed:
                return None
            if self._idle and not anew:
                return self._idle.pop()
            worker = start()
            self._all.add(worker)
            return worker

    def rest(self, worker: W) -> None:
        """It has done its task, and can be taken again."""
        self._idle.append(worker)

    def drop(self, worker: W) -> None:
        """It is gone."""
        with self._guard:
            self._all.discard(worker)
