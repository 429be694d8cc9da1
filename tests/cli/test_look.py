"""log, show, diff, ls, cat, restore, branch, switch, tag: files and values, by revision."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.contract import KEYS, has_keys
from tests.cli.shell import Shell

VALUES = """
import aq, pandas as pd
repo = aq.open()
frame = pd.DataFrame({"id": range(100), "delay": [float(i % 7) for i in range(100)], "who": ["a", "b"] * 50})
repo.commit({"sales": frame, "score": aq.metric(0.951, better="higher"), "config": {"depth": 6, "b": [1, 2]}},
            message="values", keys={"sales": ["id"]})
frame.loc[frame["id"] >= 50, "delay"] /= 60
repo.commit({"sales": frame, "score": aq.metric(0.849, better="higher"), "config": {"depth": 8, "b": [1, 2]}},
            message="in hours", keys={"sales": ["id"]})
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Four commits: two of a file, two of values. Read only."""
    shell = Shell(tmp_path_factory.mktemp("look"))
    shell.aq("init")
    shell.commit("a.txt", "one\ntwo\nthree\n", "first")
    shell.commit("a.txt", "one\nzwei\nthree\n", "second")
    subprocess.run([sys.executable, "-c", VALUES], cwd=shell.folder, check=True)
    shell.aq("tag", "add", "v1", "HEAD~1")
    shell.aq("branch", "add", "other", "HEAD~2")
    return shell


def test_log_json(shell: Shell) -> None:
    found = shell.data("log")
    has_keys(found, KEYS["log"])
    assert [one["message"] for one in found] == ["in hours", "values", "second", "first"]
    assert found[0]["parents"] == [found[1]["id"]]
    assert [one["metrics"] for one in found] == [{"score": 0.849}, {"score": 0.951}, {}, {}]
    assert (
        found[0]["branches"] == ["main"] and found[1]["tags"] == ["v1"] and found[2]["branches"] == ["other"]
    )
    assert all(one["run"] is None and one["flow"] is None for one in found)


def test_log_text_is_a_line_a_commit(shell: Shell) -> None:
    found, lines = shell.data("log"), shell.aq("log").out.splitlines()
    assert [line[:8] for line in lines] == [one["id"][:8] for one in found]
    assert lines[0].endswith("  (main) in hours") and lines[1].endswith("  (v1) values")
    assert all(line[10:30] == f"{one['time'][:19]}Z" for line, one in zip(lines, found, strict=True))
    full = shell.aq("log", "-v", "--limit", "1").out
    assert f"commit {found[0]['id']} (main)" in full and "author   Ann Lee" not in full.replace("Ann Lee", "")


def test_log_with_a_metric_marks_the_drop(shell: Shell) -> None:
    lines = shell.aq("log", "--metric", "score").out.splitlines()
    assert lines[0].split() == ["commit", "time", "score", "message"]
    assert "  0.8490  −0.102  ▼  (main) in hours" in lines[1]
    assert "  0.9510" in lines[2] and "▼" not in lines[2]
    assert lines[3].split()[2] == "–"
    assert (
        len({line.index("in hours") - len("(main) ") for line in lines[1:2]} | {lines[0].index("message")})
        == 1
    )


def test_log_of_ranges_paths_dates_and_limits(shell: Shell) -> None:
    def messages(*words: str) -> list[str]:
        return [one["message"] for one in shell.data("log", *words)]

    assert messages("v1..main") == ["in hours"] and messages("other") == ["second", "first"]
    assert messages("--limit", "1") == ["in hours"] and messages("--since", "2100-01-01") == []
    assert messages("--until", "2100-01-01")[0] == "in hours"
    path = Shell(shell.folder).aq("log", "--json", "--", "a.txt")
    assert [one["message"] for one in path.data] == ["second", "first"]


def test_what_does_not_exist_is_named_with_what_was_meant(shell: Shell) -> None:
    for words in (["log", "mian"], ["show", "mian"], ["diff", "mian"], ["ls", "mian"], ["cat", "mian:a.txt"]):
        done = shell.aq(*words, "--json", code=2)
        assert done.error["kind"] == "not_found" and "mian" in done.error["message"], words
        assert "main" in done.error["message"] + (done.error["hint"] or ""), words
    path = shell.aq("show", "HEAD:a.tx", "--json", code=2).error
    assert "a.txt" in path["message"] + path["hint"]
    metric = shell.aq("log", "--metric", "scor", "--json", code=2).error
    assert "score" in metric["message"] + metric["hint"]
    assert shell.aq("log", "0000", "--json", code=2).error["kind"] == "not_found"


def test_a_path_in_the_place_of_a_revision_gets_its_dashes(shell: Shell) -> None:
    assert "hint: aq log -- a.txt\n" in shell.aq("log", "a.txt", code=2).err
    assert "hint: aq diff -- a.txt\n" in shell.aq("diff", "a.txt", code=2).err


def test_show_of_a_commit(shell: Shell) -> None:
    data = shell.data("show", "v1")
    has_keys(data, KEYS["show"])
    assert data["message"] == "values" and data["run"] is None
    kinds = {one["path"]: (one["kind"], one["origin"]) for one in data["snapshot"]}
    assert kinds == {
        "a.txt": ("file", "file"),
        "config": ("value", "given"),
        "sales": ("table", "given"),
        "score": ("value", "given"),
    }
    text = shell.aq("show", "v1").out
    assert (
        text.startswith(f"commit {data['id']} (v1)\n")
        and "\n    values\n" in text
        and "\nPaths (4):\n" in text
    )


def test_show_of_a_table_tells_its_columns(shell: Shell) -> None:
    data = shell.data("show", "v1:sales")
    has_keys(data, KEYS["show path"])
    assert (data["kind"], data["origin"], data["summary"]["rows"]) == ("table", "given", 100)
    columns = {one["name"]: one for one in data["summary"]["columns"]}
    assert list(columns) == ["id", "delay", "who"] and all(
        {"name", "type", "nulls"} <= c.keys() for c in columns.values()
    )
    text = shell.aq("show", "v1:sales").out
    assert "100 rows, 3 columns:" in text
    assert all(any(line.split()[:1] == [name] for line in text.splitlines()) for name in columns)


def test_ls_lists_and_filters(shell: Shell) -> None:
    assert [one["path"] for one in shell.data("ls")] == ["a.txt", "config", "sales", "score"]
    assert [one["path"] for one in shell.data("ls", "v1", "--kind", "table")] == ["sales"]
    assert shell.aq("ls", "--kind", "video", code=2).err.startswith("error: ")
    line = shell.aq("ls", "other").out.splitlines()
    assert len(line) == 1 and line[0].startswith("file  15 B  ") and line[0].endswith("  a.txt")


def test_cat_gives_bytes_csv_and_json(shell: Shell) -> None:
    assert (
        shell.aq("cat", "other~1:a.txt").out
        == "one\ntwo\nthree\n"
        == shell.aq("cat", "other~1:a.txt", "-q").out
    )
    assert shell.aq("cat", "v1:sales").out.splitlines()[:2] == ["id,delay,who", "0,0.0,a"]
    assert json.loads(shell.aq("cat", "v1:config").out) == {"depth": 6, "b": [1, 2]}
    assert json.loads(shell.aq("cat", "score").out) == 0.849
    assert len(json.loads(shell.aq("cat", "v1:sales", "--format", "json").out)) == 100
    assert shell.aq("cat", "v1:sales", "--columns", "who,id", "--rows", "-2:").out == "who,id\na,98\nb,99\n"
    assert shell.aq("cat", "v1:sales", "--columns", "id", "--rows", "5").out == "id\n5\n"
    unknown = shell.aq("cat", "v1:sales", "--columns", "x", code=2).err
    assert unknown == "error: no column 'x'; the table has id, delay, who\nhint: aq show v1:sales\n"
    assert "hint: aq cat v1:sales --rows 0:100" in shell.aq("cat", "v1:sales", "--rows", "ten", code=2).err


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_cat_gives_a_table_in_other_forms(form: str, shell: Shell) -> None:
    import io

    import pandas as pd

    done = subprocess.run(
        [sys.executable, "-P", "-m", "aq", "cat", "v1:sales", "--format", form],
        cwd=shell.folder, capture_output=True, check=True,
    )  # fmt: skip
    read = pd.read_parquet if form == "parquet" else pd.read_feather
    assert read(io.BytesIO(done.stdout))["id"].tolist() == list(range(100))


def test_diff_of_a_text_file(shell: Shell) -> None:
    data = shell.data("diff", "other~1..other")
    has_keys(data, KEYS["diff"])
    assert [(one["path"], one["change"]) for one in data["paths"]] == [("a.txt", "changed")]
    lines = shell.aq("diff", "other~1..other").out.splitlines()
    assert "    -two" in lines and "    +zwei" in lines and lines.index("    -two") < lines.index("    +zwei")
    assert shell.aq("diff", "other~1..other", "--color", "always").out.count("\x1b[31m") >= 1


def test_diff_of_a_table_guesses_the_unit(shell: Shell) -> None:
    data = shell.data("diff", "v1..main")
    detail = {one["path"]: one["detail"] for one in data["paths"]}["sales"]
    has_keys(detail, KEYS["table detail"])
    assert detail["rows"]["changed"] == 43 and detail["rows"]["from"] == detail["rows"]["to"] == 100
    changed = {one["name"]: one for one in detail["columns"]}["delay"]
    assert changed["changed_rows"] == 43 and "0.0167" in changed["guess"]
    text = shell.aq("diff", "v1..main").out
    assert "rows: 43 changed (of 100)" in text and "hours?" in text
    assert data["metrics"] == [{"name": "score", "from": 0.951, "to": 0.849}]
    assert "  score  0.9510  →  0.8490  (−0.102)" in text
    assert "\n    value.depth  6  →  8  (+2)\n" in text


def test_diff_exit_code(shell: Shell) -> None:
    assert shell.aq("diff", "--exit-code", "-q", "other~1..other", code=3).out == ""
    assert shell.aq("diff", "--exit-code", "v1..v1").out.endswith(": no difference\n")


def test_diff_with_the_folder(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.aq("init")
    shell.commit("a.txt", "one\n", "first")
    assert shell.data("diff")["paths"] == []
    shell.write("a.txt", "one\ntwo\n")
    data = shell.data("diff")
    assert data["to"] is None and [one["path"] for one in data["paths"]] == ["a.txt"]
    assert "    +two" in shell.aq("diff").out.splitlines()


@pytest.fixture
def branches(tmp_path: Path) -> Shell:
    """Two branches whose file differs; on main."""
    shell = Shell(tmp_path)
    shell.aq("init")
    shell.commit("a.txt", "one\n", "first")
    shell.aq("switch", "-c", "other")
    shell.commit("a.txt", "two\n", "second")
    shell.aq("switch", "main")
    return shell


def test_switch_goes_there_and_keeps_work(branches: Shell) -> None:
    assert (branches.folder / "a.txt").read_text() == "one\n"
    assert branches.aq("switch", "other").out.startswith("On branch other at ")
    assert (branches.folder / "a.txt").read_text() == "two\n"
    branches.write("a.txt", "unsaved\n")
    done = branches.aq("switch", "main", "--json", code=4)
    assert done.error["kind"] == "conflict" and "a.txt" in done.error["message"]
    assert (branches.folder / "a.txt").read_text() == "unsaved\n"
    assert branches.aq("switch", "othr", "--json", code=2).error["kind"] == "not_found"


def test_branches_are_listed_added_renamed_and_removed(branches: Shell) -> None:
    assert [(one["name"], one["current"]) for one in branches.data("branch")] == [
        ("main", True),
        ("other", False),
    ]
    assert branches.aq("branch").out == branches.aq("branch", "list").out
    assert branches.aq("branch").out.splitlines()[0].startswith("*  main   ")
    branches.aq("branch", "add", "third", "other")
    branches.aq("branch", "rename", "third", "fourth")
    assert [one["name"] for one in branches.data("branch")] == ["fourth", "main", "other"]
    branches.aq("branch", "remove", "fourth")
    assert branches.aq("branch", "remove", "fourth", "--json", code=2).error["kind"] == "not_found"
    assert branches.aq("branch", "add", "other", "--json", code=None).code in (1, 2, 4)
    assert branches.aq("branch", "add", "../x", "--json", code=2).error["message"]


def test_tags_are_listed_added_renamed_and_removed(branches: Shell) -> None:
    assert branches.aq("tag").out == "" and branches.data("tag") == []
    branches.aq("tag", "add", "v1")
    branches.aq("tag", "add", "v2", "other")
    found = {one["name"]: one["commit"] for one in branches.data("tag", "list")}
    assert found["v2"] == branches.data("log", "other")[0]["id"] and list(found) == ["v1", "v2"]
    branches.aq("tag", "rename", "v1", "v0")
    branches.aq("tag", "remove", "v0", "v2")
    assert branches.data("tag") == []


def test_restore_brings_back_and_undo_too(branches: Shell) -> None:
    branches.write("a.txt", "spoilt\n")
    assert branches.data("restore", "a.txt")["written"] == ["a.txt"]
    assert (branches.folder / "a.txt").read_text() == "one\n"
    branches.aq("undo")
    assert (branches.folder / "a.txt").read_text() == "spoilt\n"
    assert branches.aq("restore", "--from", "other", "a.txt").out == "written  a.txt\n"
    assert (branches.folder / "a.txt").read_text() == "two\n"
    branches.aq("restore", "--from", "other", "-o", "copy.txt", "a.txt")
    refused = branches.aq("restore", "--from", "other", "-o", ".", "a.txt", code=2).err
    assert refused == "error: . is a folder\nhint: aq restore --from other -o a.txt a.txt\n"
    assert (branches.folder / "copy.txt").read_text() == "two\n"
    assert branches.aq("restore", "b.txt", "--json", code=2).error["kind"] == "not_found"


def test_a_copy_over_a_file_can_be_undone_or_is_refused(branches: Shell) -> None:
    branches.write("notes.txt", "mine\n")
    assert branches.aq("restore", "--from", "other", "-o", "notes.txt", "a.txt").out == "written  notes.txt\n"
    assert (branches.folder / "notes.txt").read_text() == "two\n"
    again = branches.aq("restore", "--from", "other", "-o", "notes.txt", "a.txt")
    assert again.err == "note: nothing differs\n"
    branches.aq("undo")
    assert (branches.folder / "notes.txt").read_text() == "mine\n"
    outside = branches.folder.parent / "outside.txt"
    outside.write_text("theirs\n")
    for inside in ".aq/config", ".aq/format":
        refused = branches.aq("restore", "-o", inside, "a.txt", code=2).err
        assert refused.startswith(f"error: {inside} lies in ")
    assert not (branches.folder / ".aq" / "config").exists()
    refused = branches.aq("restore", "-o", "../outside.txt", "a.txt", code=4).err
    assert "where `aq undo` cannot bring it back" in refused
    assert refused.endswith("hint: aq restore -f --from HEAD -o ../outside.txt a.txt\n")
    assert outside.read_text() == "theirs\n"
    for words in (["-f"], []):  # what holds it already is no loss
        branches.aq("restore", *words, "-o", "../outside.txt", "a.txt")
        assert outside.read_text() == "one\n"


def test_nothing_that_is_shown_unpickles(shell: Shell, tmp_path: Path) -> None:
    """A pickle that leaves a trace when opened is shown, listed, compared and logged without one."""
    evil = Shell(tmp_path)
    evil.aq("init")
    code = """
import aq
class Evil:
    def __reduce__(self):
        return (open, ("opened", "w"))
repo = aq.open()
repo.commit({"model": Evil()}, message="one")
repo.commit({"model": [Evil(), 2]}, message="two")
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    for words in (["log"], ["show"], ["show", "HEAD:model"], ["ls"], ["diff", "HEAD~1..HEAD"], ["status"]):
        evil.aq(*words)
    evil.aq("cat", "HEAD:model", code=None)
    assert not (tmp_path / "opened").exists()


def test_a_path_that_is_not_there_is_told_so_that_the_hint_can_be_pasted(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.aq("init")
    shell.write("two words/a b.txt", "x")
    shell.aq("add", ".")
    shell.aq("commit", "-m", "one")
    head = shell.data("log")[0]["id"][:12]
    assert "hint: aq show 'HEAD:two words/a b.txt'\n" in shell.aq("show", "HEAD:a c.txt", code=2).err
    assert "hint: aq ls 'HEAD:two words'\n" in shell.aq("show", "HEAD:two words", code=2).err
    assert f"error: no path 'q' at {head}\nhint: aq ls {head}\n" in shell.aq("diff", "--", "q", code=2).err
