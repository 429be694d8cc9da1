"""Names of branches and tags that hurt: refused in one line with a hint, or usable everywhere."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aq
import pytest
from aq.cli.failure import failure, tell
from aq.cli.main import invoke
from aq.cli.session import Session
from aq.formats.errors import UsageError

REFUSED = {
    "empty": "",
    "space": " ",
    "space within": "a b",
    "space around": " a",
    "two dots": "..",
    "one dot": ".",
    "dots within": "a..b",
    "range": "x..y",
    "parent folder": "a/../b",
    "this folder": "a/./b",
    "two slashes": "a//b",
    "leading slash": "/a",
    "trailing slash": "a/",
    "option": "-x",
    "long option": "--json",
    "dashes": "--",
    "dash": "-",
    "newline": "a\nb",
    "return": "a\rb",
    "tab": "a\tb",
    "NUL": "a\0b",
    "escape": "\x1b[31mred",
    "delete": "a\x7f",
    "C1": "a\x85b",
    "line separator": "a\u2028b",
    "right to left": "\u202egpj",
    "zero width": "a\u200bb",
    "double quote": 'a"b',
    "300 characters": "x" * 401,
    "600 bytes": "é" * 300,
    "HEAD": "HEAD",
    "HEAD's other name": "@",
    "a prefix of ids": "run:last",
    "a prefix of Git's ids": "git:abcdef",
    "date": "main@{2026-01-01}",
    "suffix": "a~1",
    "suffix of parents": "a^",
    "path": "x:y",
    "lock": "a.lock",
    "lock of a folder": "a.lock/b",
    "star": "a*",
    "question": "a?",
    "bracket": "a[b",
    "backslash": "a\\b",
    "folder of branches": "branch/a",
    "folder of tags": "tag/a",
    "folder of remotes": "remote/a/b",
    "a folder's name": "refs/../../x",
    "NFD": unicodedata.normalize("NFD", "café"),
}
TAKEN = {
    "slash": "feature/wide",
    "emoji": "\U0001f600",
    "family": "été",
    "other script": "שלום",
    "hyphen": "a-b",
    "dot within": "v1.0",
    "at": "me@home",
    "brace": "a{b}",
    "quote": "it's",
    "shell": "$(touch_hacked)",
    "percent": "100%",
    "hash": "#1",
    "300": "x" * 300,
    "number": "12",
    "word": "defaced",
    "lower case of HEAD": "head",
    "equals": "a=b",
    "markup": "<script>alert(1)</script>",
}


class Told(NamedTuple):
    code: int
    out: str
    err: str


class Bench:
    """The command line in this process."""

    def __init__(self, root: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.root, self.capture = root, capture

    def aq(self, *words: str, code: int = 0) -> Told:
        """One command; standard error and output have one line a thing, and steer no terminal."""
        os.chdir(self.root)
        self.capture.readouterr()
        try:
            ended = invoke(list(words), Session())
        except BaseException as error:
            told = failure(error)
            tell(told, json=False, color=False)
            ended = told.exit_code
        found = Told(ended, *self.capture.readouterr())
        assert ended == code, (words, found)
        assert all(one.isprintable() or one == "\n" for one in found.out + found.err), found
        return found

    def answer(self, *words: str) -> Any:
        return json.loads(self.aq("--json", *words).out)["data"]

    def refuse(self, *words: str) -> None:
        """Exit code 2, one line of error with at least one hint, and the refs as they were."""
        told = self.aq(*words, code=2)
        first, *hints = told.err.splitlines()
        assert first.startswith("error: ") and hints and all(one.startswith("hint: ") for one in hints), told
        assert len(first) < 600 and told.out == ""

    def names(self, noun: str) -> set[str]:
        return {one["name"] for one in self.answer(noun)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two commits."""
    root = tmp_path_factory.mktemp("refs")
    with aq.init(root) as repo:
        for text in ("one\n", "two\n"):
            (root / "a.txt").write_text(text)
            repo.add("a.txt")
            repo.commit(message=text)
    return root


@pytest.fixture
def bench(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.chdir(root)
    yield Bench(root, capsys)
    assert Bench(root, capsys).names("branch") == {"main"}
    assert Bench(root, capsys).names("tag") == set()


@pytest.mark.parametrize("name", REFUSED.values(), ids=REFUSED)
def test_a_name_that_would_confuse_is_refused_everywhere(bench: Bench, name: str) -> None:
    for words in (
        ("branch", "add", "--", name),
        ("tag", "add", "--", name),
        ("switch", "-c", "--", name),
        ("branch", "rename", "--", "main", name),
    ):
        bench.refuse(*words)
    with aq.open(bench.root) as repo:
        for act in (repo.branch, repo.tag):
            with pytest.raises(UsageError):
                act("add", name)


@pytest.mark.parametrize("name", REFUSED.values(), ids=REFUSED)
def test_as_a_revision_it_names_something_or_is_told_of_in_one_line(bench: Bench, name: str) -> None:
    for command in ("log", "show", "ls", "diff", "switch", "merge"):
        os.chdir(bench.root)
        bench.capture.readouterr()
        try:
            code = invoke([command, "--", name], Session())
        except BaseException as error:
            told = failure(error)
            tell(told, json=False, color=False)
            code = told.exit_code
        out, err = bench.capture.readouterr()
        assert code in (0, 2), (command, out, err)
        assert err.count("error: ") == (code == 2) and "Traceback" not in err
        assert all(one.isprintable() or one == "\n" for one in out + err), (command, out, err)
        bench.aq("switch", "main")


@pytest.mark.parametrize("name", TAKEN.values(), ids=TAKEN)
def test_a_name_that_is_taken_works_everywhere(bench: Bench, name: str) -> None:
    bench.aq("branch", "add", name, "HEAD~1")
    assert bench.names("branch") == {"main", name}
    older = bench.answer("show", "HEAD~1")["id"]
    assert bench.answer("show", name)["id"] == older and name in bench.answer("show", name)["branches"]
    assert [one["id"] for one in bench.answer("log", name)] == [older]
    assert len(bench.answer("log", f"{name}..main")) == 1 and bench.answer("log", f"main..{name}") == []
    assert [one["path"] for one in bench.answer("diff", f"{name}..main")["paths"]] == ["a.txt"]
    assert bench.aq("cat", f"{name}:a.txt").out == "one\n"
    assert bench.answer("switch", name)["branch"] == name == bench.answer("status")["branch"]
    assert name in bench.aq("status").out and name in bench.aq("branch").out
    bench.aq("switch", "main")
    bench.aq("branch", "rename", name, f"{name[:200]}-2")
    bench.aq("branch", "rename", f"{name[:200]}-2", name)
    bench.aq("branch", "remove", name)
    bench.aq("tag", "add", name)
    assert bench.names("tag") == {name} and bench.answer("show", f"tag/{name}")["tags"] == [name]
    bench.aq("tag", "remove", name)
    assert name in bench.aq("ops").out


def test_names_that_case_or_unicode_tells_apart_are_two(bench: Bench) -> None:
    for name in ("Main", "été", "Été"):
        bench.aq("branch", "add", name, "HEAD~1")
    assert bench.names("branch") == {"main", "Main", "été", "Été"}
    assert bench.answer("show", "Main")["id"] != bench.answer("show", "main")["id"]
    bench.aq("branch", "remove", "Main", "été", "Été")


def test_a_name_never_hides_an_id(bench: Bench) -> None:
    newest, older = (one["id"] for one in bench.answer("log"))
    for name in (older, older.upper(), older[:8], "0" * 64):
        for words in (("branch", "add", name), ("tag", "add", name), ("switch", "-c", name)):
            bench.refuse(*words)
    assert bench.answer("show", older[:8])["id"] == older != newest


def test_a_branch_and_a_tag_of_one_name_are_told_apart(bench: Bench) -> None:
    bench.aq("branch", "add", "both", "HEAD~1")
    bench.aq("tag", "add", "both")
    told = bench.aq("show", "both", code=2).err
    assert "ambiguous" in told and "hint: aq show branch/both" in told
    assert bench.answer("show", "branch/both")["id"] != bench.answer("show", "tag/both")["id"]
    bench.aq("switch", "both")
    bench.aq("switch", "main")
    bench.aq("branch", "remove", "both")
    bench.aq("tag", "remove", "both")
