"""fsck, du: what keeps a repository in order, as typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.shell import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A repository of two commits."""
    shell = Shell(tmp_path)
    shell.aq("init")
    shell.commit("data/a.txt", "first\n", "one")
    shell.commit("data/a.txt", "second\n", "two")
    return shell


def harm(shell: Shell, text: bytes) -> None:
    """Flip a bit where these bytes lie in a pack."""
    for pack in (shell.folder / ".aq" / "packs").iterdir():
        data = bytearray(pack.read_bytes())
        at = data.find(text)
        if at >= 0:
            data[at] ^= 1
            pack.write_bytes(data)


def test_fsck_says_that_nothing_is_wrong(shell: Shell) -> None:
    for words in (["fsck"], ["fsck", "--full"], ["fsck", "--rebuild"]):
        assert shell.aq(*words).out.endswith("No damage found\n")
    data = shell.data("fsck", "--full")
    assert {"objects", "bytes", "problems"} <= data.keys()
    assert data["problems"] == [] and data["objects"] > 5 and data["full"] is True


def test_fsck_names_damage_and_what_to_type(shell: Shell) -> None:
    commits = [entry["id"] for entry in shell.data("log")]
    harm(shell, b"first\n")
    (problem,) = shell.data("fsck", "--full", code=5)["problems"]
    assert {"kind", "id", "path", "detail", "repair"} <= problem.keys()
    assert (problem["kind"], problem["path"], problem["commits"]) == ("artifact", "data/a.txt", commits[1:])
    text = shell.aq("fsck", "--full", code=5).out
    assert f"needed by data/a.txt in {commits[1][:8]}\n" in text
    assert "  repair: aq fsck --rebuild\n" in text and "1 problem found" in text
    assert shell.aq("status").code == 0 and shell.aq("cat", "data/a.txt").out == "second\n"
    assert problem["id"] in shell.aq("cat", "HEAD~1:data/a.txt", code=5).err


def test_fsck_stores_what_still_lies_in_the_folder(shell: Shell) -> None:
    harm(shell, b"second\n")
    assert len(shell.data("fsck", "--full", code=5)["problems"]) == 1
    data = shell.data("fsck", "--rebuild", "--full")
    assert data["problems"] == [] and data["rebuilt"] is True
    assert shell.aq("cat", "data/a.txt").out == "second\n"
    assert shell.data("fsck", "--full")["problems"] == []


def test_fsck_brings_back_a_repository_that_cannot_be_opened(shell: Shell) -> None:
    (shell.folder / ".aq" / "index" / "data.mdb").write_bytes(b"")
    for path in ("format", ".gitignore"):
        (shell.folder / ".aq" / path).unlink()
    assert shell.aq("fsck", "--rebuild").out.endswith("No damage found\n")
    assert [entry["message"] for entry in shell.data("log")] == ["two", "one"]


def test_fsck_tells_of_operations_that_are_lost(shell: Shell) -> None:
    (journal,) = (shell.folder / ".aq" / "packs").iterdir()
    journal.write_bytes(journal.read_bytes()[:-10])
    (problem,) = shell.data("fsck", "--rebuild", code=5)["problems"]
    assert problem["kind"] == "operation" and "the last operation is lost" in problem["detail"]
    assert shell.data("fsck", "--full")["problems"] == []
    assert [entry["message"] for entry in shell.data("log")] == ["one"]


def test_fsck_outside_a_repository(tmp_path: Path) -> None:
    assert Shell(tmp_path).aq("fsck", code=6).err.startswith("error: no aq repository")
    assert Shell(tmp_path).aq("fsck", "--rebuild", code=6).err.startswith("error: no aq repository")


def test_du_divides_the_bytes(shell: Shell) -> None:
    shell.aq("tag", "add", "v1")
    data = shell.data("du")
    assert {"bytes", "objects", "unreferenced", "refs", "paths", "flows", "kinds"} <= data.keys()
    assert {share["name"] for share in data["refs"]} == {"branch/main", "tag/v1"}
    assert [share["name"] for share in data["paths"]] == ["data/"]
    text = shell.aq("du").out
    assert "in packs" in text and "\nFolders:\n" in text and text.rstrip().endswith("tag/v1")


def test_gc_frees_what_nothing_needs(shell: Shell) -> None:
    foreseen = shell.data("gc", "-n")
    assert foreseen["objects"]["freed"] == 0 and foreseen["dry_run"] is True
    assert [one["reason"] for one in foreseen["because"]][0] == "branches and tags"
    assert {"objects", "bytes"} <= foreseen.keys() and foreseen["bytes"].keys() == {"kept", "freed"}
    shell.aq("branch", "add", "gone")
    shell.aq("switch", "gone")
    shell.write("large.txt", "".join(f"{number} " for number in range(100_000)))
    shell.aq("add", "large.txt")
    shell.aq("commit", "-m", "to be dropped")
    shell.aq("switch", "main")
    shell.aq("branch", "remove", "gone")
    assert shell.data("gc")["objects"]["freed"] == 0, "it can be taken back for 30 days"
    for setting in ("gc.retention", "gc.grace"):
        shell.aq("config", "set", setting, "0s")
    shell.aq("tag", "add", "x")
    assert "Would free" in shell.aq("gc", "-n").out
    done = shell.data("gc")
    assert done["objects"]["freed"] > 3 and done["bytes"]["freed"] > 50_000 and done["expired"] > 0
    assert shell.data("fsck", "--full")["problems"] == []
    assert shell.aq("cat", "data/a.txt").out == "second\n"
    assert "Freed 0 objects" in shell.aq("gc").out
    assert shell.data("fsck", "--rebuild")["problems"] == []


def test_gc_refuses_a_time_span_that_is_none(shell: Shell) -> None:
    shell.aq("config", "set", "gc.grace", "soon")
    assert "no time span" in shell.aq("gc", code=1).err
