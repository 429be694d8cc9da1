"""merge: the answer, the list of conflicts, exit codes and hints."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import aq
import pandas as pd
import pytest

from tests.cli.contract import KEYS, has_keys
from tests.cli.shell import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A file on `main` and `dev`, changed on both, and one that only dev has."""
    shell = Shell(tmp_path)
    shell.aq("init")
    shell.commit("a.txt", "one", "first")
    shell.aq("switch", "-c", "dev")
    shell.commit("b.txt", "theirs", "other")
    shell.aq("switch", "main")
    return shell


def conflicting(shell: Shell) -> None:
    shell.aq("switch", "dev")
    shell.commit("a.txt", "theirs", "theirs")
    shell.aq("switch", "main")
    shell.commit("a.txt", "ours", "ours")


def test_forward_then_nothing_to_do(shell: Shell) -> None:
    head = shell.data("log", "dev")[0]["id"]
    assert shell.aq("merge", "dev").out == f"[main {head[:8]}] moved forward, no merge needed\n  1 added\n"
    assert shell.aq("merge", "dev").out == f"Already up to date, HEAD is {head[:8]}\n"
    found = shell.data("merge", "dev")
    assert (found["status"], found["id"], found["conflicts"]) == ("unchanged", head, [])


def test_a_merge_commit(shell: Shell) -> None:
    shell.commit("c.txt", "ours", "ours")
    lines = shell.aq("merge", "dev").out.splitlines()
    assert lines[0].startswith("[main ") and lines[0].endswith("] merge dev into main")
    assert lines[1] == "  1 added"
    assert len(shell.data("log")[0]["parents"]) == 2
    shell.aq("undo")
    found = shell.data("merge", "dev", "-m", "both")
    has_keys(found, KEYS["merge"])
    assert (found["message"], found["status"]) == ("both", "merged")
    assert (shell.folder / "b.txt").read_text() == "theirs"


def test_conflicts_are_an_answer_and_an_error(shell: Shell) -> None:
    conflicting(shell)
    done = shell.aq("--json", "merge", "dev", code=4)
    has_keys(done.data, KEYS["merge"])
    (one,) = done.data["conflicts"]
    has_keys(one, KEYS["merge conflict"])
    ids = [shell.data("show", f"{rev}:a.txt")["id"] for rev in ("main", "dev", "main~1")]
    assert (one["path"], one["kind"]) == ("a.txt", "change/change")
    assert [one["ours"], one["theirs"], one["base"]] == ids
    assert done.error["kind"] == "conflict" and "nothing was merged" in done.error["message"]
    told = shell.aq("merge", "dev", code=4)
    first, *inside, second = told.out.splitlines()
    assert first == f"change/change  a.txt  ours  {ids[0][:8]}  theirs  {ids[1][:8]}"
    assert inside == ["", "Both changed in a.txt:", "  line 1  one  →  ours  ours  theirs  theirs", ""]
    assert "--take" in second
    assert told.err == (
        "error: both sides changed a.txt; nothing was merged\n"
        "hint: aq diff HEAD..dev -- a.txt\nhint: aq merge dev --theirs a.txt\n"
    )
    assert shell.data("status")["changes"] == [] and shell.data("log")[0]["message"] == "ours"


def test_the_hints_work_and_answers_settle(shell: Shell) -> None:
    conflicting(shell)
    assert "a.txt" in shell.aq("diff", "HEAD..dev", "--", "a.txt").out
    assert shell.aq("merge", "dev", "--theirs", "a.txt").out.endswith(
        "\n  1 added, 1 changed, 1 conflict settled\n"
    )
    assert (shell.folder / "a.txt").read_text() == "theirs"
    shell.aq("undo")
    shell.write("a.txt", "ours and theirs")
    shell.aq("merge", "dev", "--take", "a.txt")
    assert shell.aq("cat", "HEAD:a.txt").out == "ours and theirs"
    shell.aq("merge", "nothing", code=2)


def test_quiet_still_lists_conflicts(shell: Shell) -> None:
    conflicting(shell)
    assert shell.aq("-q", "merge", "dev", code=4).out.startswith("change/change")
    assert shell.aq("-q", "merge", "dev", "--ours", ".").out == ""


def test_work_in_the_way_is_named(shell: Shell) -> None:
    shell.write("b.txt", "mine")
    told = shell.aq("merge", "dev", code=4)
    assert "b.txt" in told.err and told.out == "" and (shell.folder / "b.txt").read_text() == "mine"


VALUES = """
import aq, pandas as pd, sys
repo = aq.open()
frame = pd.DataFrame({"id": range(5), "x": [0.5] * 5})
for row, value in zip(sys.argv[1::2], sys.argv[2::2]):
    frame.loc[int(row), "x"] = float(value)
repo.commit({"sales": frame}, message="values", keys={"sales": ["id"]})
"""


def given(shell: Shell, *cells: str) -> None:
    subprocess.run([sys.executable, "-c", VALUES, *cells], cwd=shell.folder, check=True)


def test_cells_that_both_changed_are_listed_and_others_merge(shell: Shell) -> None:
    given(shell)
    shell.aq("switch", "-c", "side")
    given(shell, "1", "7", "2", "1")
    shell.aq("switch", "main")
    given(shell, "1", "8")
    lines = shell.aq("merge", "side", code=4).out.splitlines()
    assert lines[0].startswith("change/change  sales  ours ")
    assert "Both changed in sales:" in lines
    assert "  id=1  x  0.5  →  ours  8  theirs  7" in lines
    (inside,) = shell.aq("--json", "merge", "side", code=4).data["conflicts"][0]["inside"]
    assert inside == {
        "kind": "cell",
        "column": "x",
        "key": {"id": 1},
        "base": 0.5,
        "ours": 8.0,
        "theirs": 7.0,
    }
    given(shell, "3", "4")
    shell.aq("merge", "side")
    assert shell.aq("cat", "sales").out.splitlines()[1:] == ["0,0.5", "1,7.0", "2,1.0", "3,4.0", "4,0.5"]


def test_a_table_without_a_key_says_so(tmp_path: Path) -> None:
    with aq.init(tmp_path) as repo:
        repo.commit({"t": pd.DataFrame({"x": [1, 2, 3]})}, message="base")
        repo.branch("add", "dev")
        repo.commit({"t": pd.DataFrame({"x": [9, 2, 3]})}, message="ours")
        repo.switch("dev")
        repo.commit({"t": pd.DataFrame({"x": [1, 2, 7]})}, message="theirs")
        repo.switch("main")
    shell = Shell(tmp_path)
    assert "Both changed in t:\n  no columns name its rows" in shell.aq("merge", "dev", code=4).out
    (conflict,) = shell.aq("--json", "merge", "dev", code=4).data["conflicts"]
    assert [one["kind"] for one in conflict["inside"]] == ["key"]


def test_a_table_without_a_key_says_how_to_declare_one(shell: Shell) -> None:
    def commit(*cells: str) -> None:
        code = VALUES.replace(', keys={"sales": ["id"]}', "")
        subprocess.run([sys.executable, "-c", code, *cells], cwd=shell.folder, check=True)

    commit()
    shell.aq("switch", "-c", "side")
    commit("1", "7")
    shell.aq("switch", "main")
    commit("3", "4")
    refused = shell.aq("merge", "side", code=4)
    assert "  no columns name its rows" in refused.out and "'id' could be one" in refused.out
    hint = next(line for line in refused.err.splitlines() if "python -c" in line)
    command = shlex.split(hint.partition("hint: ")[2])
    subprocess.run([sys.executable, *command[1:]], cwd=shell.folder, check=True)
    shell.aq("merge", "side")
    assert shell.aq("cat", "sales").out.splitlines()[1:] == ["0,0.5", "1,7.0", "2,0.5", "3,4.0", "4,0.5"]
