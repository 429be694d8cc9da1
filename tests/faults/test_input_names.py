"""File names that hurt: every command takes them, gives them back as they were, prints each in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from aq.formats.errors import AqError

from tests.store.folder import Bench, bench

__all__ = ["bench"]

NAMES = [
    "café".encode(),
    unicodedata.normalize("NFD", "café").encode(),
    "\u202egpj.exe".encode(),
    "שלום.csv".encode(),
    "a\u2066b\u2069".encode(),
    b"two\nlines",
    b"carriage\rreturn",
    b"tab\there",
    b"\x1b[31mred\x1b[0m",
    b"\x1b]0;title\x07",
    b"-rf",
    b"--json",
    b"x" * 255,
    "é".encode() * 127,
    b"\xff\xfe",
    b"half \xc3",
    b"CON",
    b"aux.txt",
    "\U0001f600\U0001f469\u200d\U0001f4bb".encode(),
    b" leading",
    b"trailing ",
    b"trailing.",
    b"*?[a]",
    b"#comment",
    b"!not",
    b"back\\slash",
    b"$(touch hacked)",
    b"quote'\"`",
    b"a:b",
    b"HEAD~1",
    b"..hidden",
    "line\u2028separator".encode(),
    b"\x7f",
    b"\xc2\x85",
]
FORBIDDEN = {*map(chr, (*range(10), *range(11, 32), *range(127, 160), 0x61C, 0x200E, 0x200F))} | {
    *map(chr, (*range(0x2028, 0x202F), *range(0x2066, 0x206A)))
}


def readable(output: bytes) -> str:
    """Output that is UTF-8 and steers no terminal."""
    text = output.decode()
    assert not FORBIDDEN.intersection(text), text
    return text


def aq(folder: Path, *words: str | bytes, code: int = 0) -> bytes:
    """The standard output of the real command; what it prints steers no terminal."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "aq", *words], cwd=folder, capture_output=True, check=False, timeout=120
    )
    assert done.returncode == code, (words, done.stdout, done.stderr)
    if "cat" not in words:
        readable(done.stdout), readable(done.stderr)
    return done.stdout


def told(data: object) -> set[bytes]:
    """The file names among the paths of a JSON answer."""
    return {os.fsencode(str(path)).removeprefix(b"odd/") for path in data} - {b".aqignore"}  # type: ignore[attr-defined]


def answer(folder: Path, *words: str | bytes) -> object:
    return json.loads(aq(folder, "--json", *words))["data"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All names in one folder, untracked."""
    root = tmp_path_factory.mktemp("names")
    (root / "odd").mkdir()
    for number, name in enumerate(NAMES):
        (root / "odd" / os.fsdecode(name)).write_bytes(b"%d\n" % number)
    aq(root, "init")
    return root


def lines_with_names(text: bytes) -> list[str]:
    """One line for each name, by what stands at its end."""
    return [line for line in text.decode().splitlines() if "odd/" in line]


def test_names_go_through_every_command(repository: Path) -> None:
    root, everything = repository, set(NAMES)
    aq(root, "add", "odd")
    status = answer(root, "status")
    assert told(one["path"] for one in status["changes"]) == everything  # type: ignore[index]
    assert len(lines_with_names(aq(root, "status"))) == len(NAMES)
    assert len(lines_with_names(aq(root, "diff"))) == len(NAMES)
    aq(root, "commit", "-m", "all of them")
    assert told(one["path"] for one in answer(root, "ls")) == everything  # type: ignore[attr-defined]
    for words in (["ls"], ["show"], ["lineage", "HEAD:odd/" + os.fsdecode(NAMES[5])]):
        shown = lines_with_names(aq(root, *words))
        assert len(shown) == (1 if words[0] == "lineage" else len(NAMES))
    before = {name: (root / "odd" / os.fsdecode(name)).read_bytes() for name in NAMES}
    for name in NAMES:
        (root / "odd" / os.fsdecode(name)).unlink()
    aq(root, "restore", "odd")
    assert {os.fsencode(path.name): path.read_bytes() for path in (root / "odd").iterdir()} == before
    aq(root, "switch", "-c", "empty")
    aq(root, "remove", "--delete", "odd")
    aq(root, "commit", "-m", "none")
    assert not (root / "odd").exists()
    assert lines_with_names(aq(root, "diff", "main..empty"))
    aq(root, "switch", "main")
    assert {os.fsencode(path.name): path.read_bytes() for path in (root / "odd").iterdir()} == before
    assert not (root / "hacked").exists()


@pytest.mark.parametrize("name", [NAMES[5], NAMES[8], NAMES[14]], ids=ascii)
def test_one_name_as_an_argument(tmp_path: Path, name: bytes) -> None:
    """Where a name alone is the answer, in an error, in a hint, before and after `--`."""
    (tmp_path / os.fsdecode(name)).write_bytes(b"1\n")
    aq(tmp_path, "init")
    aq(tmp_path, "add", "--", name)
    aq(tmp_path, "commit", "-m", "one")
    assert aq(tmp_path, "cat", b"HEAD:" + name) == b"1\n"
    assert len(aq(tmp_path, "show", b"HEAD:" + name).decode().splitlines()[0]) > 5
    aq(tmp_path, "cat", b"HEAD:" + name + b"\n\x1b", code=2)
    aq(tmp_path, "add", name + b"\n\xff", code=2)


def test_names_that_begin_with_a_dash_need_two_dashes(tmp_path: Path) -> None:
    (tmp_path / "-rf").write_bytes(b"1\n")
    aq(tmp_path, "init")
    aq(tmp_path, "add", "-rf", code=2)
    aq(tmp_path, "add", "./-rf")
    aq(tmp_path, "commit", "-m", "one", "--", "-rf")
    assert aq(tmp_path, "log", "--", "-rf")


def test_a_name_too_long_or_too_deep_is_told_in_one_line(bench: Bench) -> None:
    """A component over NAME_MAX never lies in the folder; one in a request is told of."""
    for path in ("x" * 256, "a/" * 3_000 + "x"):
        with pytest.raises(AqError) as caught:
            bench.add(path)
        assert "\n" not in caught.value.message


def deep(root: Path, name: str, levels: int) -> None:
    """A file in folders inside each other, made step by step: together their path is longer than PATH_MAX."""
    fd = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=fd)
        inner = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)


@pytest.mark.parametrize(
    ("name", "levels"),
    [("d" * 200, 25), pytest.param("d", 5_000, marks=pytest.mark.slow)],
    ids=["25 long", "5,000 short"],
)
def test_folders_nested_beyond_the_longest_path(bench: Bench, name: str, levels: int) -> None:
    """It is told in one line that these cannot be read; everything else stays usable."""
    top = bench.write("deep/top.txt", "a").parent
    deep(top, name, levels)
    bench.write("data/a.txt", "a")
    try:
        assert bench.status().untracked == ["data/", "deep/"]
        with pytest.raises(AqError, match="cannot be read: File name too long") as caught:
            bench.add("deep")
        assert "\n" not in caught.value.message
        bench.add("data", "deep/top.txt")
        assert bench.changes() == {"data/a.txt": "added", "deep/top.txt": "added"}
        bench.commit()
    finally:
        subprocess.run(["rm", "-rf", str(top)], check=True)
    assert bench.changes() == {"deep/top.txt": "removed"}
