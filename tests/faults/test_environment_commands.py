"""Surroundings that lack something: a disk to write on, a home, a reader, a clock that goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aq.pipeline.change.context import Context
from aq.pipeline.repo import Repo

from tests.cli.shell import Shell
from tests.faults.mounting import unshare
from tests.faults.oracle import check_oracle

YEARS = 10 * 365 * 86_400 * 10**9
NOW = 1_790_000_000 * 10**9
AQ = [sys.executable, "-P", "-m", "aq"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("surroundings")
    shell = Shell(folder)
    shell.aq("init")
    shell.commit("données.txt", "eins\n", "first: où")
    shell.write("données.txt", "zwei\n")
    return folder


def test_a_read_only_file_system(root: Path) -> None:
    """Looking works; what would write says in one line that it cannot. Nothing is written."""
    alone = unshare()
    looks = [["log"], ["show"], ["status"], ["diff"], ["fsck", "--full"], ["ls"], ["gc", "-n"], ["du"]]
    writes = [["commit", "-m", "x"], ["add", "."], ["tag", "add", "t"], ["undo"], ["gc"]]
    writes += [["fsck", "--rebuild"]]
    script = 'mount --bind . . && mount -o remount,bind,ro . && cd . && cd "$PWD" || exit 99\n'
    kept = root.parent / f"out-{os.getpid()}"
    for words in looks + writes:
        script += f"'{sys.executable}' -P -m aq {' '.join(words)} >{kept} 2>&1\n"
        script += f"code=$?; printf '%s\\n' \"== $code\"; cat {kept}\n"
    done = subprocess.run([*alone, "sh", "-c", script], cwd=root, capture_output=True, text=True)
    answers = done.stdout.split("== ")[1:]
    assert len(answers) == len(looks + writes), done.stdout + done.stderr
    for words, answer in zip(looks + writes, answers, strict=True):
        code, _, said = answer.partition("\n")
        assert "Traceback" not in said, (words, said)
        if words in looks:
            assert code == "0", (words, said)
        else:
            assert code == "1" and said.startswith("error: ") and said.count("error:") == 1, (
                words,
                code,
                said,
            )
            assert "cannot be written" in said or "Read-only file system" in said, (words, said)
            assert "\nhint: ls -ld /" in said or "the index cannot" in said, (words, said)


FLOW = """
import aq

@aq.op
def words(text):
    return text.read_text().split()

@aq.metric
def size(words) -> int:
    return len(words)

@aq.flow
def texts():
    size(words(aq.read("text.txt")))
"""
BARE = {"PATH": "/usr/bin:/bin", "LANG": "C", "LC_ALL": "C"}


def test_no_home_no_user_no_locale(tmp_path: Path) -> None:
    """Names of files stay what they are; the author is somebody."""
    for number, surroundings in enumerate((BARE, {"HOME": "/nonexistent", "PYTHONUTF8": "0"})):
        root = tmp_path / f"{number}"
        root.mkdir()
        (root / "naïve – 日本.txt").write_text("x")
        for words in (["init"], ["add", "."], ["commit", "-m", "first"], ["status"], ["log"]):
            done = subprocess.run(
                [*AQ, *words], cwd=root, env=surroundings, stdin=subprocess.DEVNULL, capture_output=True
            )
            assert done.returncode == 0 and b"Traceback" not in done.stderr, (words, done.stderr)
        entry = Shell(root).data("log")[0]
        assert entry["author"] and [one["path"] for one in Shell(root).data("ls")] == ["naïve – 日本.txt"]


def test_a_working_directory_that_was_deleted(tmp_path: Path) -> None:
    script = f"mkdir gone && cd gone && rmdir ../gone && '{sys.executable}' -P -m aq "
    for words, code in (("status", 1), ("log", 1), ("init", 1), ("--help", 0), ("--version", 0)):
        done = subprocess.run(
            ["sh", "-c", script + words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code and "Traceback" not in done.stderr, (words, done.stderr)
        assert (done.stderr.count("error:") == 1) == bool(code), (words, done.stderr)
    Shell(tmp_path).aq("-C", str(tmp_path), "init")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("log >&-", 0),
        ("log >&- 2>&- <&-", 0),
        ("log --json | head -c 1", 0),
        ("status | true", 0),
        ("log >/dev/full", 1),
        ("nonsense 2>&-", 2),
        ("commit -m closed >&- 2>&- <&-", 0),
    ],
)
def test_output_that_nobody_takes(root: Path, tmp_path: Path, command: str, code: int) -> None:
    """Nobody reads: no error. What cannot be written: one. A commit counts in any case."""
    folder = Path(shutil.copytree(root, tmp_path / "repo", symlinks=True))
    line = f"set -o pipefail; '{sys.executable}' -P -m aq {command}"
    done = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True)
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    assert len(Shell(folder).data("log")) == 1 + command.startswith("commit")
    check_oracle(folder)


class Clock:
    """Gives these times one after the other, the last one for ever."""

    def __init__(self, *times: int) -> None:
        self.times: Iterator[int] = iter(times)
        self.last = times[0]

    def __call__(self) -> int:
        self.last = next(self.times, self.last)
        return self.last


def at(root: Path, clock: Clock) -> Repo:
    context = Context(now=clock, offset=lambda now: 0, cwd=root, user="ada@test", author="Ada")
    return Repo.create(root, context)


def test_a_clock_that_jumps_by_years(tmp_path: Path) -> None:
    """Commit times never precede a parent's, the log keeps its order, undo and dates go on."""
    ids = []
    for number, time in enumerate((NOW, NOW + YEARS, NOW - YEARS, NOW + 1, 1)):
        with at(tmp_path, Clock(time)) as repo:
            (tmp_path / "file.txt").write_text(f"{number}")
            repo.add("file.txt")
            ids.append(repo.commit(message=f"{number}").id)
    with at(tmp_path, Clock(NOW)) as repo:
        entries = list(repo.log())
        assert [entry.id for entry in entries] == ids[::-1]
        times = [entry.time for entry in entries]
        assert times == sorted(times, reverse=True)
        assert [entry.id for entry in repo.log("main@{2026-12-31}")] == [ids[0]]
        assert [entry.id for entry in repo.log("main@{2100-01-01}")] == ids[::-1]
        repo.undo()
        assert next(iter(repo.log())).id == ids[-2]
        repo.gc()
        repo.undo()
        assert next(iter(repo.log())).id == ids[-1]
        assert repo.fsck(full=True).problems == []
    check_oracle(tmp_path, gc=False)


def test_a_clock_that_goes_backwards_within_a_run(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(FLOW)
    (tmp_path / "text.txt").write_text("one two three\n")
    backwards = Clock(*(NOW - number * YEARS // 100 for number in range(900)))
    with at(tmp_path, backwards) as repo:
        first = repo.run("flow.py")
        assert first.status == "committed"
        assert all(step.seconds is None or step.seconds >= 0 for step in repo.steps())
    with at(tmp_path, Clock(NOW - 5 * YEARS)) as repo:
        assert repo.run("flow.py").status == "unchanged"
        (tmp_path / "text.txt").write_text("one two three four\n")
        assert repo.run("flow.py").status == "committed"
        assert len(list(repo.log())) == 2 and len(repo.runs()) >= 2
        assert repo.fsck(full=True).problems == []
    check_oracle(tmp_path, gc=False)


def test_a_future_that_never_was_frees_nothing_early(tmp_path: Path) -> None:
    """A collector under a clock ten years ahead: what refs and the newest operations need stays."""
    with at(tmp_path, Clock(NOW)) as repo:
        for number in range(3):
            (tmp_path / "file.txt").write_text(f"{number}" * 900)
            repo.add("file.txt")
            repo.commit(message=f"{number}")
    with at(tmp_path, Clock(NOW + YEARS)) as repo:
        repo.gc()
        repo.gc()
    with at(tmp_path, Clock(NOW - YEARS)) as repo:
        repo.gc()
        assert len(list(repo.log())) == 3
        assert [repo.cat(f"HEAD~{number}:file.txt")[:1] for number in range(3)] == [b"2", b"1", b"0"]
        repo.undo()
        assert len(list(repo.log())) == 2
    check_oracle(tmp_path, gc=False)
