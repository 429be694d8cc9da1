"""Files and settings that hurt: sizes at every border, files that become folders, rules that are none."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

import pytest
from aq.formats.errors import AqError, UsageError
from aq.store.commits.refs import Ref

from tests.faults.test_hostile_history import open_repo
from tests.store.folder import Bench, bench

__all__ = ["bench"]

KIB = 1_024
BORDERS = [64 * KIB, 256 * KIB, 1_024 * KIB]
SIZES = [0, 1, *(border + off for border in BORDERS for off in (-1, 0, 1))]


def test_sizes_at_every_border_come_back(bench: Bench) -> None:
    """Inline limit, shortest, normal and longest piece; noise, zeros, and both."""
    wanted = {}
    for size in SIZES:
        for kind, data in (("noise", random.Random(size).randbytes(size)), ("zeros", bytes(size))):
            bench.write(f"data/{kind}-{size}", data)
            wanted[f"data/{kind}-{size}"] = data
    bench.add("data")
    bench.commit()
    for path in wanted:
        (bench.root / path).unlink()
    bench.work.restore(bench.work.head(), ["data"])
    assert bench.lying() == wanted and bench.changes() == {}


@pytest.mark.slow
def test_a_sparse_file_of_5_gib_takes_little_room(bench: Bench) -> None:
    with bench.write("data/sparse").open("r+b") as file:
        file.truncate(5 << 30)
    bench.add("data")
    bench.commit()
    assert bench.store.bytes_on_disk() < 5 << 20
    (bench.root / "data/sparse").unlink()
    bench.work.restore(bench.work.head(), ["data"])
    assert (bench.root / "data/sparse").stat().st_size == 5 << 30


def test_what_was_added_and_is_something_else_at_the_commit(bench: Bench) -> None:
    bench.write("a", "file")
    bench.write("b/inside", "file")
    bench.write("c", "file")
    bench.add("a", "b", "c")
    (bench.root / "a").unlink()
    bench.write("a/inside", "now a folder")
    (bench.root / "b/inside").unlink()
    (bench.root / "b").rmdir()
    bench.write("b", "now a file")
    (bench.root / "c").unlink()
    os.mkfifo(bench.root / "c")
    bench.commit()
    assert set(bench.files(bench.work.head())) <= {"a/inside", "b"}
    (bench.root / "c").unlink()
    bench.reopen()
    bench.status()


def test_what_is_no_file_is_passed_over_and_named(bench: Bench) -> None:
    folder = bench.write("data/file", "x").parent
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "up").symlink_to("..")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(folder / "s"))
        bench.add("data")
        bench.commit()
        notes = " ".join(bench.status().notes)
    assert "pipe" in notes and "socket" in notes
    assert set(bench.files(bench.work.head())) == {
        f"data/{name}" for name in ("file", "loop", "dangling", "up")
    }
    for name in ("loop", "dangling", "up"):
        (folder / name).unlink()
    bench.work.restore(bench.work.head(), ["data"])
    assert os.readlink(folder / "loop") == "loop" and os.readlink(folder / "up") == ".."


RULES = [
    b"\xff\xfe\0\n*.tmp\n",
    b"[z-a]\n",
    b"***\n",
    b"!" * 300 + b"\n",
    b"a" * 100_000,
    b"x\n" * 5_000,
    b"\\\n",
    b"[\n",
]


@pytest.mark.parametrize("rules", RULES, ids=range(len(RULES)))
def test_odd_rules_are_taken_or_told_in_one_line(bench: Bench, rules: bytes) -> None:
    bench.write(".aqignore", rules)
    bench.write("data/kept.csv", "1")
    try:
        bench.add("data")
        bench.commit()
    except AqError as error:
        assert "\n" not in error.message and (".aqignore" in error.message or "is ignored" in error.message)
    else:
        assert "data/kept.csv" in bench.files(bench.work.head())


CONFIGS = [
    b"= = =",
    b"\xff\xfe",
    b"[gc]\nretention = []",
    b"gc = 3",
    b"a" * 100_000,
    b"[" * 5_000,
    b"author = 1",
]


@pytest.mark.parametrize("text", CONFIGS, ids=range(len(CONFIGS)))
def test_a_configuration_that_is_none_is_told_in_one_line(tmp_path: Path, text: bytes) -> None:
    bench = Bench(tmp_path)
    bench.store.close()
    (tmp_path / ".aq/config").write_bytes(text)
    try:
        repo = open_repo(tmp_path)
        try:
            repo.status()
            repo.gc(dry_run=True)
        finally:
            repo.close()
    except AqError as error:
        assert "\n" not in error.message


NAMES = [
    "../../x",
    "",
    "a/../b",
    "a//b",
    "-f",
    "a\nb",
    "a\x1b[2J",
    "a@{1}",
    "a..b",
    "x" * 500,
    "a b",
    "\udcff",
    "a\u202eb",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_of_branches_that_could_confuse_are_refused(bench: Bench, name: str) -> None:
    commit = bench.commit()
    for folder in ("branch", "tag"):
        with pytest.raises(UsageError) as caught:
            bench.refs({f"{folder}/{name}": Ref(commit)})
        assert caught.value.exit_code == 2 and "\n" not in caught.value.message
