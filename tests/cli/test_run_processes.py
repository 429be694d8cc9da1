"""`aq run` as a process among others: interrupted, killed, twice at once, on a full disk."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.shell import Shell
from tests.faults.mounting import unshare
from tests.faults.oracle import check_oracle

FLOW = """
import os, pathlib, socket, time
import aq

HERE = pathlib.Path(__file__).parent

def note(text):
    with open(HERE.parent / "notes", "a") as file:
        file.write(f"{text} {os.getpid()}\\n")

def hold(name):
    note(name)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with socket.socket(socket.AF_UNIX) as gate:  # a file that it asks for would be an input
            if gate.connect_ex(str(HERE.parent / "go")) == 0:
                return
        time.sleep(.01)

@aq.op
def quick() -> int:
    note("quick")
    time.sleep(.06)
    return 1

@aq.op
def slow(value: int) -> int:
    hold("slow")
    return value + 1

@aq.op
def other(value: int) -> int:
    hold("other")
    return value + 2

@aq.op
def last(a: int, b: int) -> int:
    note("last")
    return a + b

@aq.flow
def f():
    start = quick()
    last(slow(start), other(start))
"""
MANY = [pytest.param("1", marks=pytest.mark.slow), "2"]


class Gate:
    """What the steps wait for."""

    def __init__(self, place: Path) -> None:
        self._place, self._socket = place, socket.socket(socket.AF_UNIX)

    def open(self) -> None:
        """Let them go on."""
        self._socket.bind(str(self._place))
        self._socket.listen(100)

    def close(self) -> None:
        """At the end of the test."""
        self._socket.close()


class Field:
    """A repository, and `aq run` in it as a process."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "r"
        self.folder.mkdir()
        self.shell = Shell(self.folder)
        self.shell.aq("init")
        self.shell.write("flow.py", FLOW)
        self.notes = tmp_path / "notes"
        self.gate = Gate(tmp_path / "go")

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "aq", "--json", "run", "flow.py", *words],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def noted(self) -> list[str]:
        return self.notes.read_text().split()[::2] if self.notes.exists() else []

    def pids(self) -> set[int]:
        return {int(one) for one in self.notes.read_text().split()[1::2]}

    def until(self, is_so: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not is_so():
            assert time.monotonic() < end, self.noted()
            time.sleep(0.01)

    def states(self, out: str) -> dict[str, str]:
        events = [json.loads(line) for line in out.splitlines()]
        return {e["step"].partition("/")[2]: e["status"] for e in events if e["event"] == "step"}


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    made = Field(tmp_path)
    yield made
    made.gate.close()


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("sent", "code", "jobs"),
    [
        (signal.SIGINT, 130, "2"),
        (signal.SIGTERM, 143, "1"),
        pytest.param(signal.SIGINT, 130, "1", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, "2", marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_the_run_and_its_workers_and_keeps_what_finished(
    field: Field, sent: signal.Signals, code: int, jobs: str
) -> None:
    running = field.start("-j", jobs)
    field.until(lambda: len(field.noted()) >= (3 if jobs == "2" else 2))
    running.send_signal(sent)
    out, err = running.communicate(timeout=60)
    assert running.returncode == code, err
    *_, ended, done = map(json.loads, out.splitlines())
    assert (ended["event"], ended["status"]) == ("step", "cancelled")
    assert (done["event"], done["status"], done["commit"]) == ("done", "failed", None)
    assert done["steps"] == {"total": 4, "run": 1, "reused": 0, "failed": 0, "cancelled": 3}
    assert done["error"] == {"kind": "interrupted", "message": "interrupted"}
    assert len(err.splitlines()) == 1 and json.loads(err)["error"]["exit_code"] == code
    field.until(lambda: not any(map(is_alive, field.pids())))
    (run,) = field.shell.data("runs")
    assert (run["run"], run["status"]) == (done["run"], "failed")
    field.gate.open()
    again = field.shell.aq("run", "flow.py", "--json", "-j", jobs)
    assert field.states(again.out)["quick"] == "reused"
    check_oracle(field.folder)


@pytest.mark.parametrize("jobs", MANY)
def test_a_run_that_is_killed_leaves_no_worker_no_turn_and_what_finished(field: Field, jobs: str) -> None:
    running = field.start("-j", jobs)
    field.until(lambda: len(field.noted()) >= (3 if jobs == "2" else 2))
    running.kill()
    running.communicate()
    field.until(lambda: not any(map(is_alive, field.pids())))
    field.gate.open()
    again = field.shell.aq("run", "flow.py", "--json", "-j", jobs)
    assert field.states(again.out) == {"quick": "reused", "slow": "run", "other": "run", "last": "run"}
    check_oracle(field.folder)


@pytest.mark.parametrize("jobs", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_of_two_runs_at_once_each_step_is_executed_by_one(field: Field, jobs: str) -> None:
    first = field.start("-j", jobs)
    field.until(lambda: "slow" in field.noted() or "other" in field.noted())
    second = field.start("-j", jobs)
    time.sleep(0.8)
    field.gate.open()
    outs = [one.communicate(timeout=60) for one in (first, second)]
    assert [one.returncode for one in (first, second)] == [0, 0], outs
    assert sorted(field.noted()) == ["last", "other", "quick", "slow"]
    states = [field.states(out) for out, _ in outs]
    for step in ("quick", "slow", "other", "last"):
        assert sorted(state[step] for state in states) == ["reused", "run"], states
    (commit,) = field.shell.data("log")
    ends = [json.loads(out.splitlines()[-1]) for out, _ in outs]
    assert sorted(end["status"] for end in ends) == ["committed", "unchanged"]
    assert [end["commit"] for end in ends] == [commit["id"]] * 2
    assert sorted(run["status"] for run in field.shell.data("runs")) == ["committed", "unchanged"]
    check_oracle(field.folder)


TWO = """
@aq.op
def held(value: int) -> int:
    hold("held")
    return value

@aq.flow
def later():
    held(quick())
"""


def test_of_several_flows_those_that_another_run_has_published_are_unchanged(field: Field) -> None:
    field.shell.write("flow.py", FLOW.replace('hold("slow")', "").replace('hold("other")', "") + TWO)
    first = field.start()
    field.until(lambda: "held" in field.noted())
    (between,) = [e for e in field.shell.aq("--json", "run", "flow.py:f").events if e["event"] == "done"]
    assert between["status"] == "committed" and between["steps"]["run"] == 0
    field.gate.open()
    out, err = first.communicate(timeout=60)
    f, later = [e for e in map(json.loads, out.splitlines()) if e["event"] == "done"]
    assert (f["flow"], f["status"]) == ("f", "unchanged"), err
    assert (later["flow"], later["status"]) == ("later", "committed")
    newest, older = field.shell.data("log")
    assert (newest["id"], older["id"]) == (later["commit"], between["commit"])
    assert newest["message"].startswith("run later") and newest["flow"] == "later"
    assert field.shell.aq("--json", "run").events[-1]["status"] == "unchanged"
    check_oracle(field.folder)


def test_an_interruption_is_told_of_each_flow_that_was_begun_and_leaves_head(field: Field) -> None:
    later = "@aq.flow\ndef z():\n    held(quick())\n"
    field.shell.write("flow.py", FLOW.replace('hold("slow")', "").replace('hold("other")', "") + TWO + later)
    running = field.start()
    field.until(lambda: "held" in field.noted())
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=60)
    ended = [e for e in map(json.loads, out.splitlines()) if e["event"] == "done"]
    assert [(e["flow"], e["status"], e["commit"]) for e in ended] == [
        ("f", "uncommitted", None), ("later", "failed", None),
    ]  # fmt: skip
    assert field.shell.data("log") == []
    field.shell.aq("commit", "--run", ended[0]["run"], "-m", "what was there")
    assert field.shell.aq("cat", "HEAD:f/last").out.strip() == "5"
    check_oracle(field.folder)


def test_who_waits_for_a_run_that_dies_does_its_step(field: Field) -> None:
    first = field.start()
    field.until(lambda: "slow" in field.noted() or "other" in field.noted())
    second = subprocess.Popen(
        [sys.executable, "-P", "-m", "aq", "run", "flow.py"],
        cwd=field.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert second.stderr is not None
    told = ""
    while "waiting" not in told:
        told += second.stderr.readline()
    assert "another aq run is at it" in told
    first.kill()
    first.communicate()
    field.gate.open()
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, told + err
    assert "4 ran" in out or "3 ran, 1 reused" in out
    check_oracle(field.folder)


FILLING = """
import os, time, aq
@aq.op
def small() -> str:
    time.sleep(.06)  # so long that it is made durable at once
    return os.urandom(100_000).hex()
@aq.op
def large(text: str) -> bytes:
    return os.urandom(30_000_000)
@aq.flow
def f():
    large(small())
"""
ON_A_SMALL_DISK = """
mv .aq aside && mkdir .aq && mount -t tmpfs -o size=16m none .aq && cp -a aside/. .aq && rm -r aside
aq run flow.py --json -j $JOBS; echo "exit $?"
sed -i s/30_000_000/3/ flow.py
aq run flow.py --json -j $JOBS; echo "exit $?"
aq fsck --full > /dev/null; echo "exit $?"
"""


@pytest.mark.parametrize("jobs", MANY)
def test_a_disk_that_fills_up_in_mid_run_is_told_and_what_finished_is_kept(field: Field, jobs: str) -> None:
    field.shell.write("flow.py", FILLING)
    command = field.folder.parent / "aq"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m aq "$@"\n')
    command.chmod(0o755)
    done = subprocess.run(
        [*unshare(), "sh", "-c", ON_A_SMALL_DISK],
        cwd=field.folder,
        env={**os.environ, "JOBS": jobs, "PATH": f"{command.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("exit")] == ["exit 1", "exit 0", "exit 0"], done
    events = [json.loads(line) for line in lines if line.startswith("{")]
    ended = [(e["step"], e["status"]) for e in events if e["event"] == "step"]
    assert ended == [("f/small", "run"), ("f/large", "failed"), ("f/small", "reused"), ("f/large", "run")]
    assert "no space left" in done.stderr.splitlines()[0] and "Traceback" not in done.stderr
