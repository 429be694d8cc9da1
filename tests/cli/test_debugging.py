"""A breakpoint in an op gets the terminal, and only where there is one."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.shell import Shell
from tests.cli.test_waiting import Terminal

FLOW = """
import aq

@aq.op
def one(x):
    print("before")
    breakpoint()
    print("after", x)
    return x

@aq.flow
def f():
    one(41)
"""


def test_a_breakpoint_stops_in_the_op_and_talks_to_the_terminal(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.aq("init")
    shell.write("flow.py", FLOW)
    terminal = Terminal(tmp_path, "run", "flow.py")
    terminal.until("(Pdb) ")
    terminal.type("p x + 1")
    terminal.until("42")
    terminal.type("x = 5")
    terminal.type("c")
    assert terminal.end() == 0, terminal.shown
    assert "after 5" in terminal.shown and "before" not in terminal.shown
    assert shell.aq("cat", "f/one").out == "5\n"
    assert shell.aq("logs", "one").out == "before\n"
    assert shell.aq("run", "--force", PYTHONBREAKPOINT="0").code == 0
    assert shell.aq("cat", "run:last:f/one").out == "41\n"


@pytest.mark.parametrize(
    ("head", "call"),
    [("import pdb", "pdb.set_trace(header='look')"), ("from pdb import set_trace", "set_trace()")],
)
def test_so_does_pdb_called_by_itself(tmp_path: Path, head: str, call: str) -> None:
    shell = Shell(tmp_path)
    shell.aq("init")
    shell.write("flow.py", f"{head}\n{FLOW}".replace("breakpoint()", call))
    terminal = Terminal(tmp_path, "run", "flow.py")
    terminal.until("(Pdb) ")
    terminal.type("p x + 1")
    terminal.until("42")
    terminal.type("c")
    assert terminal.end() == 0, terminal.shown
    assert "after 41" in terminal.shown and "before" not in terminal.shown
    assert ("look" in terminal.shown) == ("header" in call)
    assert [one["action"] for one in shell.data("run", "-n")["steps"]] == ["reuse"]


def test_the_answer_holds_nothing_of_it_and_quitting_fails_the_step(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.aq("init")
    shell.write("flow.py", FLOW.replace("breakpoint()", "import pdb; pdb.set_trace()"))
    ours, theirs = pty.openpty()
    with (tmp_path / "answer").open("w") as answer:
        running = subprocess.Popen(
            [sys.executable, "-P", "-m", "aq", "--json", "run", "flow.py", "-j", "1"],
            cwd=tmp_path, stdin=theirs, stdout=answer, stderr=theirs,
        )  # fmt: skip
    shown = b""
    while b"(Pdb)" not in shown:
        shown += os.read(ours, 65_536)
    os.write(ours, b"q\n")
    assert running.wait(60) == 1
    os.close(ours)
    os.close(theirs)
    step, done = map(json.loads, (tmp_path / "answer").read_text().splitlines())
    assert (step["status"], step["error"], done["status"]) == ("failed", "BdbQuit", "failed")
