"""What happens behind the back of a step, by the list of cases: files and clocks."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aq.formats.objects import get_record
from aq.formats.records import Commit
from aq.pipeline.change.context import Context
from aq.pipeline.repo import Repo

from tests.cli.shell import Shell

FLOW = """
import aq

@aq.op
def load(text: str) -> str:
    return text * 1000

@aq.op
def hidden() -> str:
    return open("hidden.txt").read()

@aq.op
def last(load: str, hidden: str) -> str:
    return hidden + load

@aq.flow
def f():
    last(load(aq.read("x.txt")), hidden())
"""


def states(events: list[dict[str, str]]) -> dict[str, str]:
    return {one["step"][2:]: one["status"] for one in events if one["event"] == "step"}


def rewritten(path: Path, text: str) -> None:
    """Other bytes of the same size, under the same time of modification."""
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_same_size_and_time_with_other_bytes_run_and_a_touched_file_does_not(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.aq("init")
    shell.write("flow.py", FLOW)
    shell.write("x.txt", "one")
    shell.write("hidden.txt", "red")
    shell.aq("run", "flow.py")
    for name in ("x.txt", "hidden.txt", "flow.py"):
        os.utime(tmp_path / name, (1, 1))
    assert set(states(shell.aq("run", "--json").events).values()) == {"reused"}
    rewritten(tmp_path / "x.txt", "two")
    assert states(shell.aq("run", "--json").events) == {"load": "run", "hidden": "reused", "last": "run"}
    rewritten(tmp_path / "hidden.txt", "tan")
    assert states(shell.aq("run", "--json").events) == {"load": "reused", "hidden": "run", "last": "run"}
    rewritten(tmp_path / "flow.py", FLOW.replace("1000", "1001"))
    assert states(shell.aq("run", "--json").events) == {"load": "run", "hidden": "reused", "last": "run"}
    assert shell.aq("cat", "HEAD:f/last").out.strip().strip('"') == "tan" + "two" * 1001


def test_a_clock_that_steps_back_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock is an hour earlier than the one before."""
    monkeypatch.chdir(tmp_path)
    ticks = count(1_700_000_000 * 10**9, -3600 * 10**9)
    context = Context(
        now=lambda: next(ticks), offset=lambda now: 0, cwd=tmp_path, user="a", author="A <a@b>", argv=("aq",)
    )
    (tmp_path / "flow.py").write_text(FLOW)
    (tmp_path / "hidden.txt").write_text("red")
    repo = Repo.create(tmp_path, context)
    found = []
    for text in ("one", "one", "two", "one"):
        (tmp_path / "x.txt").write_text(text)
        done: Any = repo.run("flow.py")
        found.append((done.status, done.steps.run))
    assert found == [("committed", 3), ("unchanged", 0), ("committed", 2), ("committed", 0)]
    times = [get_record(repo.store, Commit, bytes.fromhex(one.id)).time for one in repo.log()]
    assert times == sorted(times, reverse=True)
