"""What a failure says where, and what Python hands out."""

from __future__ import annotations

import json
from pathlib import Path

import aq
import pytest
from aq.tests.cli.shell import Shell

FLOW = """
import aq

@aq.op
def broken(text: str):
    return 1 / 0

@aq.op
def whole(text: str):
    return len(text)

@aq.metric
def size(whole):
    return whole

@aq.flow
def bad():
    broken(aq.read("t.txt"))

@aq.flow
def good():
    size(whole(aq.read("t.txt")))

@aq.flow
def empty():
    pass
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path / "work")
    shell.folder.mkdir()
    shell.aq("init")
    shell.write("p.py", FLOW)
    shell.write("t.txt", "text")
    return shell


def test_a_failed_op_is_an_error_with_a_hint_that_works(shell: Shell) -> None:
    lines = shell.aq("run", "p.py:bad", code=1).err.splitlines()
    assert "error: bad/broken: ZeroDivisionError: division by zero" in lines
    (hint,) = [line.removeprefix("hint: ") for line in lines if line.startswith("hint: ")]
    assert "return 1 / 0" in shell.aq(*hint.split()[1:]).out
    assert "error: bad/broken" in shell.aq("run", "-q", "p.py:bad", code=1).err
    told = shell.aq("run", "--json", "p.py:bad", code=1)
    assert (told.error["kind"], told.events[-1]["error"]["step"]) == ("op_failed", "bad/broken")


def test_a_flow_without_ops_says_what_to_read(shell: Shell) -> None:
    assert shell.aq("--json", "run", "p.py:empty", code=2).error["hint"] == "aq help run"
    shell.aq("help", "run")


def test_a_path_that_no_commit_has_is_unknown_to_the_log(shell: Shell) -> None:
    shell.commit("data/a.txt", "a", "first")
    shell.commit("b.txt", "b", "second")
    assert "did you mean data/a.txt" in shell.aq("log", "--", "data/aa.txt", code=2).err
    assert shell.data("log", "HEAD~1..HEAD", "--", "data/a.txt") == []
    assert [entry["message"] for entry in shell.data("log", "--", "data")] == ["first"]


def test_the_records_of_python_are_those_of_the_command_line(shell: Shell) -> None:
    shell.aq("run", "p.py:good")
    shell.write("t.txt", "longer")
    with aq.open(shell.folder) as repo:
        done = repo.run("p.py:good")
        assert (done.status, done.metrics, len(done)) == ("committed", {"good/size": 6}, 1)
        assert (done[0].run, done.commit) == (done.run, repo.log()[0].id)
        log = repo.log()
        assert [one.id for one in log] == [one["id"] for one in shell.data("log")]
        assert (len(log), log[-1].parents, log[:1][0].flow) == (2, [], "good")
        assert not repo.log("HEAD..HEAD")
        assert all(isinstance(one, aq.Commit) for one in (log[0], repo.show(), repo.commit()))
        assert isinstance(repo.diff("HEAD~1..HEAD"), aq.Diff)
        assert (repo.cat("t.txt"), json.loads(repo.cat("good/size"))) == (b"longer", 6)


def test_every_verb_is_a_method_of_repo() -> None:
    from aq.cli.registry import COMMANDS

    outside = {"init", "demo", "help"}
    assert [verb for verb in COMMANDS if verb not in outside and not hasattr(aq.Repo, verb)] == []


def test_a_newer_format_is_told_whatever_else_it_holds(shell: Shell) -> None:
    for text in ('{"version": 99}', '{"version": 99, "hash": 3, "chunker": []}'):
        (shell.folder / ".aq" / "format").write_text(text)
        assert shell.aq("--json", "log", code=1).error["kind"] == "newer_format"
    (shell.folder / ".aq" / "format").write_text("{}")
    assert shell.aq("--json", "log", code=5).error["kind"] == "damaged"


def test_a_source_that_is_gone_says_how_it_comes_back(shell: Shell) -> None:
    shell.aq("run", "p.py:good")
    (shell.folder / "t.txt").unlink()
    told = shell.aq("--json", "run", code=2).error
    assert (told["kind"], told["hint"]) == ("not_found", "aq restore t.txt")
    shell.aq(*told["hint"].split()[1:])
    shell.aq("run")
    shell.write("p.py", FLOW.replace("t.txt", "tt.txt"))
    assert "no path 'tt.txt'" in shell.aq("run", code=2).err
    (shell.folder / "tt.txt").mkdir()
    assert "tt.txt is a folder" in shell.aq("run", code=2).err
