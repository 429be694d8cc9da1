"""Ctrl-C and SIGTERM at any moment of a command: 130 and 143, one line, no process left, nothing lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.faults.cases import CASES as SWEPT, Case, Prepared, aq as typed, lying, noise, prepared, write
from tests.faults.oracle import check_oracle, copy_of
from tests.faults.points import interrupted_at_line, memory, warm_up

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into /proc")
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
FLOW = """
import subprocess
import aq

@aq.op
def first():
    return list(range(1000))

@aq.op
def slow(first):
    subprocess.run(["sleep", "20"], check=True)
    return 1

@aq.flow
def f():
    slow(first())
"""


def many_files(root: Path) -> None:
    for number in range(600):
        write(root, f"old/{number % 7}/{number}.txt", noise(number, 900))
    typed(root, "init", "add .", "commit -m first")
    for number in range(600):
        write(root, f"new/{number % 7}/{number}.txt", noise(9_000 + number, 900))
    for number in range(30):
        write(root, f"large/{number}", noise(number, 700_000))
    typed(root, "add .")


def changed_files(root: Path) -> None:
    many_files(root)
    for path in sorted((root / "old").rglob("*.txt")):
        path.write_bytes(b"changed")


def garbage(root: Path) -> None:
    many_files(root)
    typed(
        root, "commit -m second", "undo", "config set gc.retention 0d", "config set gc.grace 0s", "tag add a"
    )


def flow(root: Path) -> None:
    write(root, "flow.py", FLOW)
    typed(root, "init")


CASES = {
    "commit": Case("commit", many_files, [("commit", "-m", "second")]),
    "restore": Case("restore", changed_files, [("restore", "old")]),
    "gc": Case("gc", garbage, [("gc",)]),
    "run": Case("run", flow, []),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Prepared]:
    known: dict[str, Prepared] = {}

    def make(name: str) -> Prepared:
        if name not in known:
            before = os.getcwd()
            known[name] = prepared(CASES[name], tmp_path_factory.mktemp(name))
            os.chdir(before)
        return known[name]

    return make


def start(root: Path, words: list[str]) -> subprocess.Popen[str]:
    """A command in a session of its own, once it has opened the index."""
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "aq", *words],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while child.poll() is None and not _has_open(child.pid, "data.mdb"):
        time.sleep(0.001)
    return child


def _has_open(pid: int, name: str) -> bool:
    try:
        return any(os.readlink(f"/proc/{pid}/fd/{fd}").endswith(name) for fd in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return False


def left_of(session: int) -> list[str]:
    """Processes of a session that still run."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if entry.isdigit() and int(fields[3]) == session and fields[0] != "Z":
            found.append(Path(f"/proc/{entry}/cmdline").read_text())
    return found


def stop(root: Path, words: list[str], number: signal.Signals, delay: float) -> int:
    """Send the signal after a while; the exit code, after looking at all that may be told."""
    child = start(root, words)
    time.sleep(delay)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    told = f"aq {' '.join(words)}, {number.name} after {delay:.3f} s → {child.returncode}\n{out}{err}"
    assert child.returncode in (0, CODES[number]), told
    assert "Traceback" not in err, told
    if child.returncode:
        word = "interrupted" if number == signal.SIGINT else "terminated"
        assert [line for line in err.splitlines() if "error:" in line] == [f"error: {word}"], told
    assert left_of(child.pid) == [], told
    return child.returncode


def duration(root: Path, words: list[str]) -> float:
    began = time.monotonic()
    child = start(root, words)
    opened = time.monotonic()
    child.communicate(timeout=60)
    assert began <= opened
    return time.monotonic() - opened


def stop_at_random(one: Prepared, root: Path, times: int) -> int:
    """How many of them ended by the signal."""
    words = list(one.case.commands[0])
    longest = duration(copy_of(one.template, root), words)
    stopped = 0
    for turn in range(times):
        number = (signal.SIGINT, signal.SIGTERM)[turn % 2]
        stopped += stop(copy_of(one.template, root), words, number, random.random() * longest) != 0
        one.judge_folder(root, 0)
        before = one.states[0]
        kept = {id: content for id, content in before.commits.items() if id in one.after(0).commits}
        check_oracle(root, acknowledged=kept, fresh=turn == 0)
    return stopped


@pytest.mark.parametrize("name", ["commit", "restore", "gc"])
def test_stopped_at_a_random_time(made: Callable[[str], Prepared], name: str, tmp_path: Path) -> None:
    stop_at_random(made(name), tmp_path / "r", 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["commit", "restore", "gc"])
def test_stopped_at_many_random_times(made: Callable[[str], Prepared], name: str, tmp_path: Path) -> None:
    assert stop_at_random(made(name), tmp_path / "r", 40) > 5


@pytest.mark.parametrize("number", list(CODES))
def test_an_op_is_stopped_with_what_it_has_started(
    made: Callable[[str], Prepared], number: signal.Signals, tmp_path: Path
) -> None:
    """What had finished is kept, and the run is told of."""
    root = copy_of(made("run").template, tmp_path / "r")
    child = start(root, ["run", "flow.py"])
    deadline = time.monotonic() + 30
    while not any("sleep" in command for command in left_of(child.pid)) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)  # until the op waits for it: Python itself loses a child whose start is interrupted
    child.send_signal(number)
    _out, err = child.communicate(timeout=60)
    assert child.returncode == CODES[number] and "Traceback" not in err, err
    assert left_of(child.pid) == []
    assert set(lying(root)) == {"flow.py"}
    runs = subprocess.run(
        [sys.executable, "-P", "-m", "aq", "runs", "--json"], cwd=root, capture_output=True, text=True
    )
    assert '"failed"' in runs.stdout, runs.stdout
    check_oracle(root)


@pytest.fixture(scope="module")
def short() -> Iterator[list[Prepared]]:
    with memory() as folder:
        (folder / "warm").mkdir()
        warm_up(folder / "warm")
        yield [prepared(case, folder) for case in SWEPT if case.name in ("large", "run", "commit", "switch")]


def interrupt_at_lines(cases: Sequence[Prepared], turns: int) -> int:
    """Ctrl-C at random lines of the store, as often for each case; how many of these commands it ended."""
    stopped = 0
    for one in cases:
        root, log = one.template.parent / "r", one.template.parent / "log"
        most = 1
        while interrupted_at_line(one, most, root, log) is not None:
            most *= 2
        for turn in range(turns):
            n = random.randrange(most)
            if (ended := interrupted_at_line(one, n, root, log)) is None:
                continue
            code, done = ended
            told = f"{one.case.name}, line {n}: {code}\n{log.read_text()}"
            assert code in (0, 130) and "Traceback" not in told, told
            try:
                one.judge_folder(root, done)
                one.judge_store(root, done) if turn % 2 else one.go_on(root, done)
            except BaseException as error:
                error.add_note(told)
                raise
            stopped += code == 130
    return stopped


def test_interrupted_at_some_lines(short: list[Prepared]) -> None:
    assert interrupt_at_lines([one for one in short if one.case.name in ("large", "run")], 12) > 5


@pytest.mark.soak
def test_interrupted_at_many_lines(short: list[Prepared]) -> None:
    assert interrupt_at_lines(short, 600) > 600


IN_A_FINALIZER = """
import os, signal, sys, time
from aq.cli import main

class Late:
    def __del__(self):
        os.kill(os.getpid(), signal.SIG{name})
        time.sleep(0.05)

def invoke(arguments, session):
    late = Late()
    del late
    for _ in range(200):
        time.sleep(0.01)
    return 0

main.invoke = invoke
main.main()
"""

IN_A_CLASS = """
import os, signal, time
from aq.cli import main

class Slow:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), signal.SIG{name})
        time.sleep(0.05)

def invoke(arguments, session):
    type("Made", (), {{"slow": Slow()}})
    return 0

main.invoke = invoke
main.main()
"""


@pytest.mark.parametrize("number", list(CODES))
@pytest.mark.parametrize("script", [IN_A_FINALIZER, IN_A_CLASS])
def test_a_signal_is_heeded_where_python_drops_or_wraps_it(number: signal.Signals, script: str) -> None:
    text = script.format(name=number.name.removeprefix("SIG"))
    done = subprocess.run([sys.executable, "-P", "-c", text], capture_output=True, text=True)
    word = "interrupted" if number == signal.SIGINT else "terminated"
    assert (done.returncode, done.stderr) == (CODES[number], f"error: {word}\n")
