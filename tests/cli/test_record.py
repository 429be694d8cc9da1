"""init, add, remove, status, commit, undo, ops, config: what changes a repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli.contract import KEYS, has_keys
from tests.cli.shell import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A new repository."""
    shell = Shell(tmp_path)
    shell.aq("init")
    return shell


def test_init_makes_a_repository_once(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    assert shell.data("init", "new/inner") == {"path": str(tmp_path / "new" / "inner")}
    assert shell.aq("init", "new/inner").out == f"Repository in {tmp_path}/new/inner/.aq\n"
    assert shell.aq("-C", "new/inner", "init", "-q").out == ""


def test_init_keeps_aq_out_of_git(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    Shell(tmp_path).aq("init")
    said = subprocess.run(
        ["git", "status", "--porcelain"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert said.stdout == ""


def test_status_before_the_first_commit(shell: Shell) -> None:
    assert shell.aq("status").out == "On branch main, no commits yet\nNothing changed, no flow has run yet\n"
    data = shell.data("status")
    has_keys(data, KEYS["status"])
    assert (data["branch"], data["head"]) == ("main", None)
    assert "hint: aq add .\n" in shell.aq("status").err
    shell.write("a.txt", "a")
    shell.aq("add", "a.txt")
    assert shell.aq("status").err == 'hint: aq commit -m "first data"\n'


def test_an_option_without_its_value_leads_to_the_help_of_its_command(shell: Shell) -> None:
    said = shell.aq("commit", "-m", code=2).err
    assert said == "error: option '-m' requires an argument\nhint: aq commit --help\n"


@pytest.mark.parametrize(
    ("command", "said"),
    [("log", "No commits"), ("runs", "No runs"), ("metrics", "No metrics"), ("tag", "No tags")],
)
def test_a_list_of_nothing_says_so_beside_the_answer(shell: Shell, command: str, said: str) -> None:
    done = shell.aq(command)
    assert (done.out, done.err) == ("", f"{said}\n")
    assert not shell.data(command) and shell.aq("-q", command).err == ""


def test_from_untracked_to_committed(shell: Shell) -> None:
    shell.write("data/a.csv", "x\n1\n")
    shell.write("notes.txt", "n")
    assert shell.data("status")["untracked"] == ["data/", "notes.txt"]
    assert shell.data("add", "data")["added"] == ["data/a.csv"]
    assert shell.data("status")["changes"] == [{"path": "data/a.csv", "change": "added"}]
    text = shell.aq("status").out
    assert "\nChanges for the next commit:\n  added  data/a.csv\n" in text
    assert "\nUntracked:\n  notes.txt\n" in text
    data = shell.data("commit", "-m", "data\n\nwith a body")
    has_keys(data, KEYS["commit"])
    assert data["message"] == "data\n\nwith a body" and data["author"] == "Ann Lee" and data["parents"] == []
    assert data["paths"] == {"added": 1, "changed": 0, "removed": 0}
    assert len(data["id"]) == 64 and data["time"].endswith("Z") and data["bytes"]["total"] >= 4
    assert data["bytes"]["new"] > 0
    assert shell.data("status")["head"] == data["id"]


def test_commit_says_what_it_did(shell: Shell) -> None:
    id = shell.commit("a.txt", "one", "first")
    assert shell.aq("commit", "-m", "nothing").out == f"Nothing to commit, HEAD is {id[:8]}\n"
    shell.write("a.txt", "two")
    lines = shell.aq("commit", "-m", "second").out.splitlines()
    assert lines[0].startswith("[main ") and lines[0].endswith("] second")
    assert lines[1].startswith("  1 changed, ") and lines[1].endswith(" new in the store")
    shell.write("a.txt", "three")
    assert shell.aq("commit", "-m", "third", "-q").out == ""


def test_nothing_to_commit_gives_head(shell: Shell) -> None:
    id = shell.commit("a.txt", "one", "first")
    data = shell.data("commit", "-m", "again")
    assert data["id"] == id and data["created"] is False


def test_commit_of_some_paths_leaves_the_others(shell: Shell) -> None:
    for name in ("a.txt", "b.txt"):
        shell.commit(name, "one", name)
    for name in ("a.txt", "b.txt"):
        shell.write(name, "two")
    assert shell.data("commit", "-m", "only a", "a.txt")["paths"]["changed"] == 1
    assert shell.data("status")["changes"] == [{"path": "b.txt", "change": "changed"}]


def test_commit_with_a_time(shell: Shell) -> None:
    shell.write("a.txt", "one")
    shell.aq("add", "a.txt")
    data = shell.data("commit", "-m", "old", "--time", "2013-01-31T12:00:00Z")
    assert data["time"].startswith("2013-01-31T12:00:00")
    assert shell.aq("commit", "-m", "x", "--time", "yesterday", "--json", code=2).error["kind"] == "usage"


def test_remove_untracks_and_deletes_only_when_told(shell: Shell) -> None:
    for name in ("a.txt", "b.txt"):
        shell.commit(name, "one", name)
    assert shell.data("remove", "a.txt")["removed"] == ["a.txt"]
    assert shell.data("remove", "--delete", "b.txt")["removed"] == ["b.txt"]
    assert (shell.folder / "a.txt").exists() and not (shell.folder / "b.txt").exists()
    changes = shell.data("status")["changes"]
    assert changes == [{"path": "a.txt", "change": "removed"}, {"path": "b.txt", "change": "removed"}]
    assert shell.data("commit", "-m", "gone")["paths"]["removed"] == 2
    assert shell.aq("undo").code == 0 and len(shell.data("ls")) == 2


def test_adding_what_is_not_there_or_outside(shell: Shell) -> None:
    assert shell.aq("add", "nothing.txt", "--json", code=None).code in (1, 2)
    assert shell.aq("add", "/etc/hostname", "--json", code=2).error["message"]


def test_ignored_paths(shell: Shell) -> None:
    shell.write(".aqignore", "*.log\n")
    shell.write("x.log", "x")
    shell.write(".env", "SECRET=1")
    shell.write(".venv/pyvenv.cfg", "")
    assert shell.data("status")["untracked"] == [".aqignore"]
    assert shell.data("add", ".")["added"] == [".aqignore"]
    assert shell.data("add", "--force", "x.log")["added"] == ["x.log"]


def test_undo_takes_back_and_redoes(shell: Shell) -> None:
    first = shell.commit("a.txt", "one", "first")
    shell.commit("a.txt", "two", "second")
    text = shell.aq("undo").out
    assert text.startswith("Undid commit: second\n") and f"→  {first[:8]}" in text
    assert shell.data("log")[0]["id"] == first
    shell.aq("undo")
    assert shell.data("log")[0]["message"] == "second"


def test_undo_with_nothing_to_undo_is_told(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.aq("init")
    done = shell.aq("undo", "--json", code=None)
    assert done.code in (1, 2) and done.error["message"]


def test_ops_list_what_commands_did(shell: Shell) -> None:
    id = shell.commit("a.txt", "one", "first")
    shell.aq("tag", "add", "v1")
    found = shell.data("ops")
    assert [one["command"] for one in found][:2] == ["tag add", "commit"]
    assert [one["sequence"] for one in found] == sorted((one["sequence"] for one in found), reverse=True)
    assert found[0]["refs"] == [{"name": "tag/v1", "from": None, "to": id}]
    assert found[1]["argv"][1:] == ["--json", "commit", "-m", "first"]
    lines = shell.aq("ops", "--limit", "2").out.splitlines()
    assert len(lines) == 2 and f"tag/v1 → {id[:8]}" in lines[0]


def test_the_author_is_configured_or_given_or_guessed(shell: Shell) -> None:
    shell.write("a.txt", "1")
    shell.aq("add", "a.txt")
    shell.aq("config", "set", "author.name", "Bea Ray")
    shell.aq("config", "set", "author.email", "bea@example.org")
    assert shell.data("commit", "-m", "x")["author"] == "Bea Ray <bea@example.org>"
    shell.aq("config", "set", "author.name", "")
    shell.aq("config", "set", "author.email", "")
    shell.write("a.txt", "2")
    assert shell.data("commit", "-m", "x")["author"] == "Ann Lee"
    shell.write("a.txt", "3")
    guessed = shell.aq(
        "commit", "-m", "x", "--json", AQ_AUTHOR="", HOME=str(shell.folder), GIT_CONFIG_NOSYSTEM="1"
    )
    assert "@" in guessed.data["author"]


def test_config_lists_gets_and_sets(shell: Shell) -> None:
    assert shell.data("config") == {} and shell.aq("config").out == ""
    assert shell.aq("config", "get", "author.name", code=1).out == ""
    assert shell.aq("config", "set", "author.name", 'Bea "B" Ray').out == 'author.name  Bea "B" Ray\n'
    assert shell.aq("config", "get", "author.name").out == 'Bea "B" Ray\n'
    assert shell.data("config", "list") == {"author.name": 'Bea "B" Ray'}
    wrong = shell.aq("config", "set", "author.nam", "x", "--json", code=2)
    assert wrong.error["hint"] == "aq config get author.name"


NAMES = ["-x.txt", "a b\tc.txt", "ünï–🦆.txt", "new\nline.txt", "\udcff\udcfe.txt", "CON", "'\"$(x)"]


def test_any_name_can_be_recorded_and_shown(shell: Shell) -> None:
    for name in NAMES:
        (shell.folder / name).write_text(f"in {name!r}")
    assert sorted(shell.data("add", "--", *NAMES)["added"]) == sorted(NAMES)
    message = "odd names: \udcff"
    data = shell.data("commit", "-m", message)
    assert data["paths"]["added"] == len(NAMES) and data["message"] == "odd names: \\xff"
    assert sorted(one["path"] for one in shell.data("ls")) == sorted(NAMES)
    for words in (["status"], ["ls"], ["show"], ["log"], ["ops"], ["diff"]):
        done = shell.aq(*words)
        assert done.err == "" and "\x1b" not in done.out, words
    for name in NAMES:
        assert shell.aq("cat", f"HEAD:{name}").out == f"in {name!r}"


def test_a_newer_format_is_refused_with_exit_code_1(shell: Shell) -> None:
    path = shell.folder / ".aq" / "format"
    path.write_text(
        path.read_text()
        .replace('"required":[]', '"required":["time-travel"]')
        .replace('"required": []', '"required": ["time-travel"]')
    )
    assert "time-travel" in path.read_text()
    done = shell.aq("log", "--json", code=1)
    assert done.error["kind"] == "newer_format" and "time-travel" in done.error["message"]
