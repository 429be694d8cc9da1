"""The folder against HEAD: tracking, status, snapshots, ignores, odd files."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from aq.formats.contents.files import whole_bytes
from aq.formats.errors import NotFound, Unstorable, UsageError
from aq.formats.objects import MemoryObjects, get_record
from aq.formats.records import Artifact
from aq.store.commits import snapshots
from aq.store.commits.refs import Ref
from aq.store.commits.snapshots import Entry, Mode, Origin
from aq.store.folder import content

from tests.store.folder import Bench, bench

__all__ = ["bench"]


def given(bench: Bench, path: str, origin: Origin = Origin.GIVEN) -> None:
    """Commit a value that lies only in the store."""
    artifact = bench.work.look("a") or Entry(bench.store.put(content.Kind.CHUNK, b"v"), Origin.FILE)
    step = artifact.artifact if origin is Origin.MADE else None
    root = snapshots.edit(bench.store, bench.work.head(), {path: Entry(artifact.artifact, origin, step)})
    bench.commit_snapshot(root)


def bytes_of(bench: Bench, entry: Entry) -> bytes:
    return whole_bytes(get_record(bench.store, Artifact, entry.artifact), bench.store)


def test_add_commit_change_remove(bench: Bench) -> None:
    bench.write("data/a.csv", "1")
    bench.write("data/deep/b.csv", "2")
    bench.write("notes.txt", "n")
    assert bench.status().untracked == ["data/", "notes.txt"]
    assert bench.add("data") == ["data/a.csv", "data/deep/b.csv"]
    assert bench.changes() == {"data/a.csv": "added", "data/deep/b.csv": "added"}
    first = bench.files(bench.snapshot_of(bench.commit()))
    assert sorted(first) == ["data/a.csv", "data/deep/b.csv"]
    assert bytes_of(bench, first["data/a.csv"]) == b"1"
    assert bench.changes() == {} and bench.status().untracked == ["notes.txt"]

    bench.write("data/a.csv", "3")
    bench.write("data/new.csv", "4")
    (bench.root / "data/deep/b.csv").unlink()
    assert bench.changes() == {"data/a.csv": "changed", "data/deep/b.csv": "removed"}
    assert bench.status().untracked == ["data/new.csv", "notes.txt"]
    second = bench.files(bench.snapshot_of(bench.commit()))
    assert sorted(second) == ["data/a.csv"] and bytes_of(bench, second["data/a.csv"]) == b"3"
    assert bench.changes() == {}


def test_a_commit_of_the_same_content_is_the_same_snapshot(bench: Bench) -> None:
    bench.write("a", "1")
    bench.add("a")
    first = bench.snapshot_of(bench.commit())
    os.utime(bench.root / "a", ns=(5, 5))
    assert bench.changes() == {}
    assert bench.snapshot_of(bench.commit()) == first


def test_content_is_only_stored_by_a_commit(bench: Bench) -> None:
    bench.write("a", b"x" * 100_000)
    bench.add("a")
    bench.status()
    entry = bench.work.look("a")
    assert entry is not None and not bench.store.has(entry.artifact)
    bench.commit()
    assert bench.store.has(entry.artifact)


def test_tracking_by_file_and_by_folder(bench: Bench) -> None:
    for name in ("a/1", "a/2", "a/b/3", "c"):
        bench.write(name, name)
    assert bench.add("a/1") == ["a/1"]
    assert bench.status().untracked == ["a/2", "a/b/", "c"]
    assert bench.add("a") == ["a/2", "a/b/3"]
    assert bench.add("a", "a/b") == []
    bench.write("a/4", "4")
    assert bench.changes() == dict.fromkeys(["a/1", "a/2", "a/4", "a/b/3"], "added")
    assert bench.remove("a/b") == ["a/b/3"]
    assert bench.status().untracked == ["a/b/", "c"]
    bench.commit()
    assert sorted(bench.files(bench.work.head())) == ["a/1", "a/2", "a/4"]
    bench.write("a/5", "5")
    assert bench.status().untracked == ["a/5", "a/b/", "c"]
    assert bench.add(".") == ["a/5", "a/b/3", "c"]
    assert bench.status().untracked == []


def test_remove_keeps_the_file_and_add_takes_it_back(bench: Bench) -> None:
    for name in ("a/1", "a/2"):
        bench.write(name, name)
    bench.add("a")
    bench.commit()
    assert bench.remove("a/1") == ["a/1"]
    assert bench.changes() == {"a/1": "removed"} and bench.status().untracked == ["a/1"]
    with pytest.raises(UsageError, match="a/1 is not tracked") as caught:
        bench.remove("a/1")
    assert caught.value.hint == "aq add a/1"
    assert bench.add("a/1") == ["a/1"]
    assert bench.changes() == {} and "tracking" not in bench.store.refs()
    bench.remove("a")
    bench.commit()
    assert bench.files(bench.work.head()) == {} and sorted(bench.lying()) == ["a/1", "a/2"]


def test_remove_and_delete_can_be_put_back(bench: Bench) -> None:
    bench.write("d/a", "committed")
    bench.add("d")
    bench.commit()
    bench.write("d/a", "changed since")
    marks = bench.work.remove(["d"], delete=True)
    assert bench.lying() == {} and not (bench.root / "d").exists()
    assert marks.files is not None
    assert bench.work.put_back(marks.files).written == ["d/a"]
    assert bench.lying() == {"d/a": b"changed since"}


def test_a_commit_of_chosen_paths_leaves_the_others(bench: Bench) -> None:
    for name in ("a", "b", "c/d"):
        bench.write(name, "1")
    bench.add(".")
    bench.commit()
    for name in ("a", "b", "c/d"):
        bench.write(name, "2")
    bench.commit("m", "a", "c")
    assert bench.changes() == {"b": "changed"}
    (bench.root / "b").unlink()
    bench.commit("m", "b")
    assert sorted(bench.files(bench.work.head())) == ["a", "c/d"]
    bench.write("new", "n")
    with pytest.raises(UsageError, match="new is not tracked"):
        bench.commit("m", "new")
    with pytest.raises(NotFound, match=r"no path c/dd \(did you mean c/d\?\)"):
        bench.commit("m", "c/dd")


def test_file_and_folder_change_places(bench: Bench) -> None:
    bench.write("a", "file")
    bench.write("b/c", "in a folder")
    bench.add(".")
    bench.commit()
    (bench.root / "a").unlink()
    bench.write("a/x", "now a folder")
    (bench.root / "b/c").unlink()
    (bench.root / "b").rmdir()
    bench.write("b", "now a file")
    assert bench.changes() == {"a": "removed", "b/c": "removed"}
    bench.add("a", "b")
    bench.commit("m", "a", "b")
    assert sorted(bench.files(bench.work.head())) == ["a/x", "b"]
    (bench.root / "b").unlink()
    bench.write("b/d/e", "deeper")
    bench.add("b")
    bench.commit("m", "b/d/e")
    assert sorted(bench.files(bench.work.head())) == ["a/x", "b/d/e"]


def test_order_of_folders_and_files_with_the_same_beginning(bench: Bench) -> None:
    names = ["a", "a-", "a.b/x", "a/b", "a0", "b!", "b/a/c", "b/a-c", "b/a0", "b0"]
    names.remove("a")
    for name in names:
        bench.write(name, name)
    bench.add(".")
    bench.commit()
    assert bench.changes() == {}
    for name in names:
        bench.write(name, name + "!")
        assert bench.changes() == {name: "changed"}
        bench.commit()
        (bench.root / name).unlink()
        assert bench.changes() == {name: "removed"}
        bench.write(name, name)
        bench.commit()


def test_executable_files_and_symbolic_links(bench: Bench, tmp_path: Path) -> None:
    bench.write("run.sh", "#!").chmod(0o755)
    (bench.root / "link").symlink_to("run.sh")
    (bench.root / "dangling").symlink_to("nowhere")
    (bench.root / "loop").symlink_to("loop")
    (bench.root / "folder-link").symlink_to(tmp_path)
    bench.add(".")
    files = bench.files(bench.snapshot_of(bench.commit()))
    modes = {path: entry.mode for path, entry in files.items()}
    links = dict.fromkeys(["link", "dangling", "loop", "folder-link"], Mode.SYMLINK)
    assert modes == {"run.sh": Mode.EXEC, **links}
    assert bytes_of(bench, files["folder-link"]) == os.fsencode(tmp_path)
    assert bench.changes() == {}
    (bench.root / "run.sh").chmod(0o644)
    (bench.root / "link").unlink()
    (bench.root / "link").symlink_to("run.shx")
    assert bench.changes() == {"run.sh": "changed", "link": "changed"}


def test_a_tracked_folder_replaced_by_a_link_to_one_with_the_same_files(bench: Bench, tmp_path: Path) -> None:
    bench.write("d/a", "1")
    bench.add("d")
    bench.commit()
    (bench.root / "d").rename(tmp_path / "elsewhere")
    (bench.root / "d").symlink_to(tmp_path / "elsewhere")
    assert bench.changes() == {"d/a": "removed"} and bench.status().untracked == ["d"]


def test_special_files(bench: Bench) -> None:
    bench.write("d/a", "1")
    os.mkfifo(bench.root / "d/pipe")
    with socket.socket(socket.AF_UNIX) as plug:
        os.chdir(bench.root / "d")
        plug.bind("plug")
        os.chdir("/")
    with pytest.raises(Unstorable, match="d/pipe is a named pipe"):
        bench.add("d/pipe")
    assert bench.add("d") == ["d/a"]
    assert bench.work.add(["d"]).notes == ["d/pipe is a named pipe: skipped", "d/plug is a socket: skipped"]
    assert sorted(bench.files(bench.snapshot_of(bench.commit()))) == ["d/a"]
    with pytest.raises(Unstorable):
        bench.work.store_file("d/pipe")


@pytest.mark.skipif(sys.platform == "darwin", reason="APFS refuses names that are no UTF-8")
def test_odd_names(bench: Bench) -> None:
    names = [b"-rf", b"new\nline", b"\xff\xfe bytes", "e\u0301".encode(), "\u00e9".encode(), b" ", b"CON"]
    names += [
        "\U0001f600".encode(),
        b"x" * 255,
        "\u202egnp.exe".encode(),
        b"a\\b",
        b"*?[",
        b"#c",
        b"UPPER",
        b"upper",
    ]
    for name in names:
        (bench.root / os.fsdecode(name)).write_bytes(name)
    assert len(bench.add(".")) == len(names)
    files = bench.files(bench.snapshot_of(bench.commit()))
    assert sorted(path.encode("utf-8", "surrogateescape") for path in files) == sorted(names)
    assert bench.changes() == {} and bench.status().untracked == []


def test_a_path_that_is_not_there(bench: Bench) -> None:
    bench.write("data/flights.csv", "1")
    bench.add("data")
    bench.commit()
    for wrong in ("data/flight.csv", "data/Flights.csv", "flights.csv"):
        with pytest.raises(NotFound, match=r"did you mean data/flights\.csv"):
            bench.add(wrong)
    with pytest.raises(NotFound, match=r"(?m)no path nothing$"):
        bench.add("nothing")


def test_a_file_cannot_have_the_name_of_a_value(bench: Bench) -> None:
    given(bench, "sales")
    given(bench, "delays/auc", Origin.MADE)
    assert bench.changes() == {}
    bench.write("sales", "1")
    with pytest.raises(UsageError, match="sales is a value in the store"):
        bench.add("sales")
    bench.add(".")
    with pytest.raises(UsageError, match="sales is a value in the store"):
        bench.commit()
    bench.remove("sales")
    bench.commit()
    assert sorted(bench.files(bench.work.head())) == ["delays/auc", "sales"]


def test_store_file_takes_any_file(bench: Bench) -> None:
    bench.write(".env", "secret?")
    entry = bench.work.store_file(".env")
    assert bytes_of(bench, entry) == b"secret?"
    assert bench.work.store_file(".env") == entry == bench.work.look(".env")
    with pytest.raises(NotFound):
        bench.work.store_file("missing")
    with pytest.raises(Unstorable):
        bench.work.store_file("../x")


def test_changes_into_another_snapshot(bench: Bench) -> None:
    bench.write("a", "1")
    bench.write("b", "1")
    bench.add(".")
    first = bench.snapshot_of(bench.commit())
    bench.write("a", "2")
    bench.write("c", "1")
    bench.add("c")
    (bench.root / "b").unlink()
    bench.commit()
    bench.write("c", "in no commit")
    overlay = _Overlay(bench)
    found = bench.work.changes_into(first, overlay)
    assert {path: entry is None for path, entry in found.items()} == {"a": False, "b": True, "c": False}
    changed = found["c"]
    assert changed is not None and not bench.store.has(changed.artifact)
    assert whole_bytes(get_record(overlay, Artifact, changed.artifact), overlay) == b"in no commit"
    assert list(bench.work.changes_into(bench.work.head(), overlay)) == ["c"]


class _Overlay(MemoryObjects):
    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.below = bench.store

    def get(self, kind: content.Kind, id: bytes) -> bytes:
        return super().get(kind, id) if bytes(id) in self.objects else self.below.get(kind, id)


def test_a_detached_head_and_an_unborn_branch(bench: Bench) -> None:
    assert bench.changes() == {}
    bench.write("a", "1")
    bench.add("a")
    id = bench.commit()
    bench.refs({"HEAD": Ref(id)})
    assert bench.changes() == {}
    bench.refs({"HEAD": Ref(target="branch/other")})
    assert bench.work.head() == snapshots.empty(MemoryObjects())
    assert bench.status().untracked == ["a"]


def test_files_are_counted_as_they_are_read_and_written(bench: Bench) -> None:
    done = bench.work.done
    bench.write("a", "123")
    bench.add("a")
    first = bench.commit()
    assert (done.files, done.bytes) == (1, 3)
    bench.write("a", "4")
    bench.settle()
    bench.commit()
    assert (done.files, done.bytes) == (2, 4)
    bench.checkout(first)
    assert (done.files, done.bytes) == (3, 7)


def test_looking_imports_nothing_heavy(bench: Bench) -> None:
    bench.write("a", "1")
    bench.add("a")
    bench.commit()
    code = (
        "import sys; from pathlib import Path; from aq.store.store import Store\n"
        "from aq.store.folder.worktree import Worktree\n"
        "with Store.open(Path(sys.argv[1])) as store:\n"
        "    work = Worktree(store); assert work.status(work.head()).changes == []\n"
        "heavy = {'pandas', 'pyarrow', 'numpy', 'zstandard', 'pyfastcdc', 'pathspec', 'rich', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, bench.root], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
