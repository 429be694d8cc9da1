"""Moving between revisions: what hints say can be typed, and Git's files are Git's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from aq.tests.cli.shell import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path / "work")
    shell.folder.mkdir()
    shell.aq("init")
    return shell


def git(shell: Shell, *words: str) -> str:
    identity = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")
    done = subprocess.run(["git", *identity, *words], cwd=shell.folder, capture_output=True, check=True)
    return done.stdout.decode().strip()


def test_the_hint_of_a_refused_switch_works(shell: Shell) -> None:
    shell.commit("a.txt", "one", "first")
    shell.aq("branch", "add", "old")
    shell.commit("a.txt", "two", "second")
    shell.write("a.txt", "work")
    hints = shell.aq("--json", "switch", "old", code=4).error["hint"].splitlines()
    assert (shell.folder / "a.txt").read_text() == "work"
    assert hints[1] == "aq switch -f old"
    shell.aq(*hints[1].split()[1:])
    assert (shell.folder / "a.txt").read_text() == "one"
    shell.aq("undo")
    assert (shell.folder / "a.txt").read_text() == "work"


@pytest.mark.parametrize("verb", ["switch", "merge"])
def test_the_hint_works_for_a_file_that_nobody_tracks(shell: Shell, verb: str) -> None:
    shell.commit("a.txt", "one", "first")
    shell.aq("switch", "-c", "other")
    shell.commit("new.txt", "theirs", "second")
    shell.aq("switch", "main")
    shell.write("new.txt", "mine")
    hint = shell.aq("--json", verb, "other", code=4).error["hint"].splitlines()[0]
    assert hint == "aq add new.txt && aq commit -m MSG"
    for command in hint.split(" && "):
        shell.aq(*command.split()[1:])
    if verb == "switch":
        shell.aq("switch", "other")
        assert (shell.folder / "new.txt").read_text() == "theirs"
        shell.aq("switch", "main")
    else:
        assert "both sides" in shell.aq("merge", "other", code=4).err
    assert (shell.folder / "new.txt").read_text() == "mine"


def test_what_is_left_to_git_comes_with_the_checkout_to_type(shell: Shell) -> None:
    git(shell, "init", "-q")
    shell.write("code.py", "A = 1\n")
    git(shell, "add", "code.py")
    git(shell, "commit", "-qm", "one")
    first = git(shell, "rev-parse", "HEAD")
    shell.write("data.txt", "one")
    shell.aq("add", ".")
    shell.aq("commit", "-m", "one")
    shell.write("code.py", "A = 2\n")
    shell.write("data.txt", "two")
    git(shell, "commit", "-qam", "two")
    shell.aq("commit", "-m", "two")
    told = shell.aq("restore", "--from", "HEAD~1", ".").err
    assert (shell.folder / "data.txt").read_text() == "one"
    assert (shell.folder / "code.py").read_text() == "A = 2\n"
    command = told[told.index("git checkout") :].splitlines()[0]
    assert command == f"git checkout {first[:12]} -- code.py"
    git(shell, *command.split()[1:])
    assert (shell.folder / "code.py").read_text() == "A = 1\n"
