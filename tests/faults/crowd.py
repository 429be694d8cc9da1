"""Processes that work on one repository at once: started, stopped in the midst of it, waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from aq.formats.errors import Conflict, Temporary
from aq.pipeline.change.context import Context
from aq.pipeline.repo import Repo
from aq.store.store import Store
from aq.store.system import disk

from tests.store.scenario import start

SOURCE = Path(__file__).parents[2]


def context(root: Path, now: Callable[[], int] = time.time_ns) -> Context:
    return Context(now=now, offset=lambda now: 0, cwd=root, user="ada@x", author="Ada")


def opened(root: Path, now: Callable[[], int] = time.time_ns) -> Repo:
    """As another process would see it."""
    return Repo(Store.open(root), context(root, now))


def created(root: Path) -> Path:
    """A new repository with one tracked file."""
    Repo.create(root, context(root)).close()
    (root / "file").write_text("first")
    with opened(root) as repo:
        repo.add("file")
        repo.commit(message="first")
    return root


def ended(pids: Sequence[int]) -> list[int]:
    """Wait for all; their statuses."""
    return [os.waitpid(pid, 0)[1] for pid in pids]


def is_running(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def stops_itself(at: Callable[[str, str], bool]) -> Callable[[str, str], None]:
    """A hook for `disk.observed`: stands still before the first call of which `at` says so."""
    stopped = False

    def hook(call: str, path: str) -> None:
        nonlocal stopped
        if not stopped and at(call, path):
            stopped = True
            os.kill(os.getpid(), signal.SIGSTOP)

    return hook


def start_stopped(body: Callable[[], None], at: Callable[[str, str], bool]) -> int:
    """Run `body` in a child until it is about to make such a change of the disk; there it stands still."""

    def observed() -> None:
        with disk.observed(stops_itself(at)):
            body()

    pid = start(observed)
    _found, status = os.waitpid(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), f"it never came there: {status}"
    return pid


def go_on(pid: int) -> int:
    """Let a stopped process go on to its end; its status."""
    os.kill(pid, signal.SIGCONT)
    return os.waitpid(pid, 0)[1]


def insisting(do: Callable[[], str]) -> str:
    """Again and again while others win."""
    while True:
        try:
            return do()
        except (Conflict, Temporary):
            continue


def aq(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command in a new process."""
    command = [sys.executable, "-P", "-m", "aq", *words]
    return subprocess.run(command, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True)
