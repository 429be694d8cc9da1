"""Points at which a command is cut off: the n-th change that the store makes, or the n-th system call.

A point is played in a child that is forked from a process with everything imported, on a copy of the
case's repository in memory. System calls are counted by strace, for each process on its own: a child
comes to its n-th call as to the last of `FAR` by making the others on `/dev/null` first.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from aq import store
from aq.store.system import disk

from tests.faults.cases import CASES, Case, Prepared
from tests.faults.oracle import copy_of

FAR = 900
_number = struct.Struct("<q")


class Told:
    """A number that a child tells its parent, whatever ends it."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)

    def __call__(self, number: int) -> None:
        self._memory[:8] = _number.pack(number)

    def number(self) -> int:
        found: int = _number.unpack(self._memory[:8])[0]
        return found


def in_child(body: Callable[[], int], log: Path | None = None) -> int:
    """Run `body` in a forked child whose standard streams go to `log` or nowhere; its wait status."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    code = 99
    try:
        out = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        code = body()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def at(n: int, act: Callable[[str, str], None], *, calls: str = "") -> disk.Hook:
    """A hook that lets n changes pass (of `calls`, if any are named) and acts at the next, in any thread."""
    seen, lock, chosen = 0, threading.Lock(), calls.split()

    def hook(call: str, path: str) -> None:
        nonlocal seen
        if chosen and call not in chosen:
            return
        with lock:
            seen += 1
            now = seen == n + 1
        if now:
            act(call, path)

    return hook


def kill(call: str, path: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_at_change(prepared: Prepared, n: int, root: Path) -> int | None:
    """Play the case on a copy at `root`, killed at its n-th change: commands done; None if it has fewer."""
    copy_of(prepared.template, root)
    told = Told()

    def body() -> int:
        with disk.observed(at(n, kill)):
            return prepared.case.play(root, told)

    status = in_child(body)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return told.number()
    assert status == 0, f"{prepared.case.name} ends with {status}"
    return None


def interrupted_at_line(prepared: Prepared, n: int, root: Path, log: Path) -> tuple[int, int] | None:
    """Play the case on a copy at `root`, Ctrl-C at the n-th line of `store/`. Exit code, commands done."""
    copy_of(prepared.template, root)
    done, reached = Told(), Told()
    here = str(Path(store.__file__).parent)

    def body() -> int:
        seen = 0

        def step(frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
            nonlocal seen
            if not frame.f_code.co_filename.startswith(here) or frame.f_code.co_name == "__del__":
                return None
            if event == "line":
                seen += 1
                if seen == n + 1:
                    reached(1)
                    sys.settrace(None)
                    raise KeyboardInterrupt
            return step

        sys.settrace(step)
        return prepared.case.play(root, done)

    status = in_child(body, log)
    assert os.WIFEXITED(status), f"{prepared.case.name} ends with {status}"
    return (os.WEXITSTATUS(status), done.number()) if reached.number() else None


SYSCALLS = (
    "pwrite64", "pwritev", "write", "writev", "fdatasync", "fsync", "ftruncate", "rename", "renameat",
    "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "symlink", "symlinkat", "msync", "flock",
)  # fmt: skip


def _idle(syscall: str, count: int) -> None:
    """Make a system call so many times to no effect."""
    fd = os.open(os.devnull, os.O_RDWR)
    folder = os.open("/", os.O_RDONLY)
    page = mmap.mmap(-1, mmap.PAGESIZE) if syscall == "msync" else None
    nowhere = "/dev/null/nowhere"
    calls: dict[str, Callable[[], object]] = {
        "pwrite64": lambda: os.pwrite(fd, b"x", 0),
        "pwritev": lambda: os.pwritev(fd, [b"x"], 0),
        "write": lambda: os.write(fd, b"x"),
        "writev": lambda: os.writev(fd, [b"x"]),
        "fdatasync": lambda: os.fdatasync(fd),
        "fsync": lambda: os.fsync(fd),
        "ftruncate": lambda: os.ftruncate(fd, 0),
        "rename": lambda: os.rename(nowhere, nowhere),
        "renameat": lambda: os.rename(nowhere, nowhere, src_dir_fd=folder, dst_dir_fd=folder),
        "unlink": lambda: os.unlink(nowhere),
        "unlinkat": lambda: os.unlink(nowhere, dir_fd=folder),
        "mkdir": lambda: os.mkdir(nowhere),
        "mkdirat": lambda: os.mkdir(nowhere, dir_fd=folder),
        "rmdir": lambda: os.rmdir(nowhere),
        "symlink": lambda: os.symlink(nowhere, nowhere),
        "symlinkat": lambda: os.symlink(nowhere, nowhere, dir_fd=folder),
        "flock": lambda: fcntl.flock(folder, fcntl.LOCK_SH),
        "msync": lambda: page is not None and page.flush(),
    }
    for _ in range(count):
        with suppress(OSError):
            calls[syscall]()
    os.close(fd)
    os.close(folder)


def killed_at_syscall(prepared: Prepared, traced: Server, n: int, root: Path) -> int | None:
    """The same for the n-th system call (from 1) of the one that the server traces."""
    copy_of(prepared.template, root)
    status, done = traced.play(prepared.case, root, n)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return done
    assert status == 0, f"{prepared.case.name} ends with {status}"
    return None


@dataclass
class Server:
    """A traced process that plays cases in children which do not live through their `FAR`-th call."""

    process: subprocess.Popen[str]
    syscall: str

    def play(self, case: Case, root: Path, n: int) -> tuple[int, int]:
        """Play on `root`, killed or refused at the n-th call (from 1). Wait status, commands done."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([case.name, str(root), self.syscall, FAR - n]) + "\n")
        self.process.stdin.flush()
        status, done = json.loads(self.process.stdout.readline())
        return status, done


def strace() -> list[str]:
    """The command that traces, or skip."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    if subprocess.run(["strace", "-f", "-o", os.devnull, "true"], capture_output=True).returncode:
        pytest.skip("strace may not trace here")
    return ["strace", "-f", "-o", os.devnull]


@contextmanager
def server(syscall: str, action: str = "signal=KILL") -> Iterator[Server]:
    """Start one; `action` is strace's."""
    command = [*strace(), "-e", f"trace={syscall}", "-e", f"inject={syscall}:{action}:when={FAR}"]
    source = Path(__file__).parents[2]
    with subprocess.Popen(
        [*command, sys.executable, "-c", "from tests.faults.points import serve; serve()"],
        cwd=source,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Server(process, syscall)
        assert process.stdin is not None
        process.stdin.close()


def serve() -> None:
    """In the traced process: a case a line."""
    cases = {case.name: case for case in CASES}
    with tempfile.TemporaryDirectory() as folder:
        warm_up(Path(folder))
    for line in sys.stdin:
        name, root, syscall, idle = json.loads(line)
        told = Told()

        def body(
            name: str = name, root: str = root, syscall: str = syscall, idle: int = idle, told: Told = told
        ) -> int:
            _idle(syscall, idle)
            return cases[name].play(Path(root), told)

        print(json.dumps([in_child(body), told.number()]), flush=True)


def warm_up(folder: Path) -> None:
    """Import what commands import."""
    from tests.faults.cases import flow, silent

    with silent():
        flow(folder)
        assert CASES[2].play(folder, lambda number: None) == 0


@contextmanager
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: nothing is waited for, and processes alone are killed."""
    shared = Path("/dev/shm")
    before = os.getcwd()
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as name:
        yield Path(name)
        os.chdir(before)
