"""A breakpoint in an op gets the terminal, and only where there is one."""

from __future__ import annotations

from pathlib import Path

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
    terminal.until('-> print("after", x)')
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
