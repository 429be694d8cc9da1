"""Commands on one folder at once: while one writes into it no other records it, and the other way round."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aq.formats.errors import Conflict, Temporary
from aq.pipeline.repo import Repo
from aq.store.folder import unfinished
from aq.store.system import holding

from tests.faults.crowd import aq, created, ended, go_on, is_running, opened, start_stopped
from tests.faults.oracle import check_oracle

NAMES = [f"{name}.txt" for name in "abcdefgh"]
HERE = {name: f"here {name}" for name in NAMES}
THERE = {name: f"there {name}" for name in NAMES}
FLOW = """
import aq

@aq.op
def both(first: str, last: str) -> str:
    return first + last

@aq.flow
def pair():
    both(aq.read("a.txt"), aq.read("h.txt"))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Branches `main` and `there`; the folder is at main."""
    root = created(tmp_path / "repo")
    with opened(root) as repo:
        for branch, files in (("", HERE), ("there", THERE)):
            if branch:
                repo.switch(branch, create=True)
            write(root, files)
            repo.add(".")
            repo.commit(message=branch)
        repo.switch("main")
    return root


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).write_text(text)


def lying(root: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in root.glob("?.txt")}


def recorded(repo: Repo, rev: str = "HEAD") -> dict[str, str]:
    return {name: repo.get(f"{rev}:{name}").bytes().decode() for name in NAMES}


def in_midst_of(root: Path, do: Callable[[Repo], object], name: str = "d.txt") -> int:
    """Start it in a child that stands still where this file would appear in the folder."""

    def body() -> None:
        with opened(root) as repo:
            do(repo)

    return start_stopped(body, lambda call, path: call == "rename" and path.endswith(name))


@pytest.fixture
def begun() -> Iterator[list[subprocess.Popen[str]]]:
    """Commands that are ended with the test."""
    found: list[subprocess.Popen[str]] = []
    yield found
    for one in found:
        one.kill()
        one.communicate()


def begin(begun: list[subprocess.Popen[str]], root: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "aq", *words]
    pipe = subprocess.PIPE
    begun.append(subprocess.Popen(command, cwd=root, stdout=pipe, stderr=pipe, text=True))
    return begun[-1]


def waits(process: subprocess.Popen[str], root: Path) -> bool:
    """Whether it has come as far as to wait for its turn at the folder, and stands there."""
    control = os.stat(root / ".aq")
    for _ in range(2_000):
        if process.poll() is not None:
            return False
        if control.st_ino in open_folders(process.pid):
            return True
        time.sleep(0.01)
    return False


def open_folders(pid: int) -> set[int]:
    found = set()
    for name in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(name.stat().st_ino)
        except OSError:
            continue
    return found


CHANGES: list[tuple[str, Callable[[Repo], object], dict[str, str]]] = [
    ("switch", lambda repo: repo.switch("there"), THERE),
    ("restore", lambda repo: repo.restore(["."], from_="there"), THERE),
    ("merge", lambda repo: repo.merge("there"), THERE),
    ("undo", lambda repo: repo.undo(), THERE),
]


@pytest.mark.parametrize(("do", "after"), [one[1:] for one in CHANGES], ids=[one[0] for one in CHANGES])
def test_a_commit_waits_for_who_writes_into_the_folder(
    root: Path,
    do: Callable[[Repo], object],
    after: dict[str, str],
    begun: list[subprocess.Popen[str]],
) -> None:
    pid = in_midst_of(root, do)
    assert lying(root) not in (HERE, THERE)
    commit = begin(begun, root, "commit", "-m", "beside it", "--json")
    assert waits(commit, root)
    assert go_on(pid) == 0
    out, err = commit.communicate(timeout=60)
    assert commit.returncode == 0, err
    with opened(root) as repo:
        assert lying(root) == recorded(repo, json.loads(out)["data"]["id"]) == after
    check_oracle(root, acknowledged={})


def test_who_writes_waits_for_a_commit(root: Path, begun: list[subprocess.Popen[str]]) -> None:
    write(root, HERE | {"a.txt": "mine"})

    def commit() -> None:
        with opened(root) as repo:
            repo.commit(message="mine")

    pid = start_stopped(commit, lambda call, path: path.endswith(".pack"))
    switch = begin(begun, root, "switch", "there")
    assert waits(switch, root)
    assert lying(root) == HERE | {"a.txt": "mine"}
    assert go_on(pid) == 0
    _out, err = switch.communicate(timeout=60)
    assert switch.returncode == 0, err
    with opened(root) as repo:
        assert recorded(repo, "main") == HERE | {"a.txt": "mine"} and lying(root) == THERE
        assert repo.status().branch == "there" and not repo.status().changes
    check_oracle(root, acknowledged={})


def test_commits_of_the_folder_do_not_wait_for_each_other(root: Path) -> None:
    (root / "a.txt").write_text("mine")

    def commit() -> None:
        with opened(root) as repo:
            repo.commit(message="one of two")

    pid = start_stopped(commit, lambda call, path: path.endswith(".pack"))
    try:
        with opened(root) as repo, unfinished.turn(repo.worktree, alone=False):
            assert is_running(pid)
    finally:
        assert go_on(pid) == 0


def test_nobody_waits_for_ever(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was stopped (Ctrl-Z) in the midst of it: 75 and one line, and nothing is recorded."""
    monkeypatch.setattr(holding, "PATIENCE", 0.2)
    pid = in_midst_of(root, lambda repo: repo.switch("there"))
    try:
        with opened(root) as repo:
            before = repo.store.refs()
            for do in (
                lambda: repo.commit(message="no"),
                lambda: repo.switch("main"),
                lambda: repo.restore(["a.txt"]),
                lambda: repo.remove(["a.txt"], delete=True),
                lambda: repo.merge("main"),
                repo.undo,
            ):
                with pytest.raises(Temporary, match="another aq"):
                    do()
            assert repo.store.refs() == before
            (note,) = repo.status().notes
            assert note.startswith("switch main to there is at work")
            repo.restore(["a.txt"], from_="main", output=root.parent / "copy")
            assert (root.parent / "copy").read_text() == HERE["a.txt"]
    finally:
        assert go_on(pid) == 0
    with opened(root) as repo:
        assert repo.status().notes == [] and lying(root) == THERE


def test_what_was_waited_for_and_died_is_finished(root: Path, begun: list[subprocess.Popen[str]]) -> None:
    pid = in_midst_of(root, lambda repo: repo.switch("there"))
    commit = begin(begun, root, "commit", "-m", "beside it")
    assert waits(commit, root)
    os.kill(pid, signal.SIGKILL)
    ended([pid])
    _out, err = commit.communicate(timeout=60)
    assert commit.returncode == 0 and "finished what was interrupted: switch main to there" in err
    with opened(root) as repo:
        assert lying(root) == recorded(repo) == THERE and repo.status().branch == "there"
    check_oracle(root, acknowledged={})


def test_a_run_reads_no_half_written_folder(root: Path, begun: list[subprocess.Popen[str]]) -> None:
    (root / "flow.py").write_text(FLOW)
    pid = in_midst_of(root, lambda repo: repo.switch("there"))
    run = begin(begun, root, "run", "flow.py")
    assert waits(run, root)
    assert go_on(pid) == 0
    _out, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    with opened(root) as repo:
        assert repo.get("pair/both").load() == "there a.txtthere h.txt"


def test_a_run_does_not_commit_to_a_branch_that_it_did_not_begin_on(root: Path) -> None:
    """Its op switches: the result is kept as a run, and the branch that it never saw stays as it was."""
    text = FLOW.replace("return first", 'aq.open().switch("there")\n    return first')
    (root / "flow.py").write_text(text)
    done = aq(root, "run", "flow.py")
    assert done.returncode == 4 and "HEAD went from main to there" in done.stderr, done.stderr
    with opened(root) as repo:
        assert [one.status for one in repo.runs()] == ["committed"] and recorded(repo) == THERE
        assert "pair/both" not in [one.path for one in repo.ls()]
        repo.switch("main")
        assert repo.commit(run=repo.runs()[0].run, message="adopted").created


def test_values_do_not_go_to_a_branch_that_they_were_not_meant_for(root: Path) -> None:
    class Switching:
        """A value that takes so long to be encoded that somebody switches meanwhile."""

        def __reduce__(self) -> tuple[type, tuple[()]]:
            with opened(root) as other:
                other.switch("there")
            return (dict, ())

    with opened(root) as repo, pytest.raises(Conflict, match="HEAD went from main to there"):
        repo.commit({"value": Switching()})


def test_a_rule_that_came_during_a_commit_stays(root: Path) -> None:
    """`aq add` beside `aq commit`: the commit takes away the rules that it followed, and no others."""
    (root / "large").write_bytes(os.urandom(2 << 20))
    (root / "new").write_text("new")
    with opened(root) as repo:
        repo.add("large")

    def commit() -> None:
        with opened(root) as repo:
            repo.commit(message="mine")

    pid = start_stopped(commit, lambda call, path: call == "create" and "/packs/" in path)
    with opened(root) as repo:
        repo.add("new")
    assert go_on(pid) == 0
    with opened(root) as repo:
        assert [(one.path, one.change) for one in repo.status().changes] == [("new", "added")]
        assert repo.commit(message="next").created and repo.status().changes == []
