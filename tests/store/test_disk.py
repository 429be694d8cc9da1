"""The door to the disk: nothing goes around it, and what it refuses is said in the user's terms."""

from __future__ import annotations

import ast
import errno
import os
from pathlib import Path

import pytest
from aq.formats.errors import AqError
from aq.store.system import disk

CHANGES = {
    *(
        "write",
        "pwrite",
        "pwritev",
        "writev",
        "rename",
        "renames",
        "replace",
        "unlink",
        "remove",
        "removedirs",
    ),
    *(
        "mkdir",
        "makedirs",
        "mkfifo",
        "rmdir",
        "fsync",
        "fdatasync",
        "sync",
        "truncate",
        "ftruncate",
        "symlink",
    ),
    *("link", "chmod", "fchmod", "lchmod", "chown", "utime", "copy_file_range", "sendfile"),
}
METHODS = {"write_text", "write_bytes", "touch", "symlink_to", "hardlink_to"}
SOURCES = sorted((Path(__file__).parents[2] / "store").glob("*.py"))


@pytest.mark.parametrize(
    "source", [path for path in SOURCES if path.name != "disk.py"], ids=lambda path: path.name
)
def test_nothing_in_the_store_changes_a_file_by_another_way(source: Path) -> None:
    found = []
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import) and any(alias.name == "shutil" for alias in node.names):
            found.append("shutil")
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        of_os = isinstance(node.func.value, ast.Name) and node.func.value.id == "os"
        if (of_os and node.func.attr in CHANGES) or node.func.attr in METHODS:
            found.append(ast.unparse(node))
    assert found == []


def test_whole_files_are_replaced_and_leave_nothing_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for text in (b"one", b"two"):
        disk.write_whole(str(path), text)
        assert path.read_bytes() == text
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "pieces", [[], [b""], [b"a", bytearray(b"b"), memoryview(b"c")], [b"x" * 10] * 3_000]
)
def test_pieces_are_written_one_after_the_other(tmp_path: Path, pieces: list[bytes]) -> None:
    fd = disk.create(str(tmp_path / "file"))
    try:
        disk.write_at(fd, b"12345", 0, path="file")
        disk.write_pieces_at(fd, pieces, 3, path="file")
    finally:
        os.close(fd)
    expected = b"123" + b"".join(pieces)
    assert (tmp_path / "file").read_bytes() == expected + b"12345"[len(expected) :]


@pytest.mark.parametrize(
    ("code", "said"),
    [(errno.ENOSPC, "no space left"), (errno.EROFS, "cannot be written"), (errno.EIO, "Input/output")],
)
def test_refusals_name_the_file_and_the_reason(tmp_path: Path, code: int, said: str) -> None:
    def refuse(call: str, path: str) -> None:
        raise OSError(code, os.strerror(code))

    path = str(tmp_path / "file")
    with disk.observed(refuse), pytest.raises(AqError, match=said) as caught:
        disk.write_whole(path, b"x")
    assert path in caught.value.message


def test_create_refuses_what_exists(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        disk.create(str(tmp_path / "file"))


def test_missing_files_may_be_removed(tmp_path: Path) -> None:
    disk.unlink(str(tmp_path / "no"))
    disk.remove_tree(str(tmp_path / "no"))
    disk.mkdir(str(tmp_path / "yes"))
    disk.mkdir(str(tmp_path / "yes"))
    (tmp_path / "file").touch()
    with pytest.raises(AqError):
        disk.mkdir(str(tmp_path / "file"))


def test_the_hook_ends_with_its_block(tmp_path: Path) -> None:
    seen: list[str] = []
    with disk.observed(lambda call, path: seen.append(call)):
        disk.write_whole(str(tmp_path / "file"), b"x")
    disk.write_whole(str(tmp_path / "file"), b"y")
    assert seen[-2:] == ["rename", "fsync"] and seen.count("rename") == 1
