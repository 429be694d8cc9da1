"""On a terminal a command that is silent for long says that it lives; elsewhere nothing is added."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aq.store.frames.journal import FolderLock

from tests.cli.shell import Shell

SPINNING = "aq commit  1."


class Terminal:
    """A command on a terminal of its own, and everything that it has shown so far."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.environ.update(TERM="xterm", AQ_AUTHOR="Ann Lee", COLUMNS="80", NO_COLOR="1")
            os.execv(sys.executable, [sys.executable, "-P", "-m", "aq", *words])
        self.shown = ""

    def read(self, seconds: float) -> bool:
        """Take what is shown within a time; False at the end."""
        if not select.select([self._fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._fd, 65_536)
        except OSError:
            return False
        self.shown += data.decode()
        return bool(data)

    def until(self, text: str) -> None:
        """Wait for a text."""
        patience = time.monotonic() + 60
        while text not in self.shown:
            assert self.read(1), self.shown
            assert time.monotonic() < patience, self.shown

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self._fd, line.encode() + b"\n")

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self.read(60):
            pass
        os.close(self._fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@contextmanager
def held_up(folder: Path) -> Iterator[None]:
    """Nobody else can write to the repository."""
    with FolderLock(str(folder / ".aq" / "packs")):
        yield


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A repository with a file to commit."""
    shell = Shell(tmp_path)
    shell.aq("init")
    shell.write("a.txt", "one")
    shell.aq("add", "a.txt")
    return shell


def test_a_silent_command_says_how_long_and_how_much(shell: Shell) -> None:
    with held_up(shell.folder):
        terminal = Terminal(shell.folder, "commit", "-m", "one")
        terminal.until("1 file, 3 B")
    assert terminal.end() == 0
    assert SPINNING in terminal.shown
    sign, answer = terminal.shown.rsplit("\r\x1b[K", 1)
    assert "] one" in answer and "] one" not in sign


def test_quiet_and_quick_commands_show_no_sign(shell: Shell) -> None:
    with held_up(shell.folder):
        terminal = Terminal(shell.folder, "-q", "commit", "-m", "one")
        assert terminal.read(1.5)
    assert (terminal.end(), terminal.shown) == (0, "")
    quick = Terminal(shell.folder, "log")
    assert quick.end() == 0
    assert "\r\x1b[K" not in quick.shown


def test_an_error_stands_on_a_line_of_its_own(shell: Shell) -> None:
    with held_up(shell.folder):
        terminal = Terminal(shell.folder, "commit", "-m", "one")
        terminal.until(SPINNING)
        os.kill(terminal.pid, signal.SIGINT)
        assert terminal.end() == 130
    assert terminal.shown.rsplit("\r\x1b[K", 1)[1].strip() == "error: interrupted"
