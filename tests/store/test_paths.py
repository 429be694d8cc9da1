"""Paths: what a snapshot may hold, and what a user's way of writing one means."""

from __future__ import annotations

from pathlib import Path

import pytest
from aq.formats.errors import Unstorable, UsageError
from aq.store.system import paths
from hypothesis import given, strategies as st


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"/etc/passwd",
        b"..",
        b"../x",
        b"a/../b",
        b"a/..",
        b"./a",
        b"a//b",
        b"a/",
        b"a\0b",
        b".aq",
        b".aq/refs",
        b"sub/.AQ/format",
        b".aQ ",
        b".aq.",
        ".a\u200dq/x".encode(),
        "\uff0eaq/x".encode(),
        b".git/hooks/post-checkout",
        b"sub/.GIT/config",
        b"x" * 256,
    ],
)
def test_paths_that_no_snapshot_may_hold(path: bytes) -> None:
    assert paths.problem(path)
    with pytest.raises(Unstorable):
        paths.require_safe(path)


@pytest.mark.parametrize(
    "path",
    [
        *(b"a", b".aqignore", b"-rf", b"CON", b" a", b"a\nb", b"\xff\xfe", b"...", b"a..b", b"x" * 255),
        *(b".gitignore", b".env", "\U0001f600".encode(), "e\u0301".encode(), "\u202eexe.csv".encode()),
    ],
)
def test_paths_that_are_odd_but_harmless(path: bytes) -> None:
    assert paths.problem(path) == ""
    assert paths.encode(paths.decode(path)) == path


@given(st.binary(max_size=30))
def test_any_bytes_survive_the_way_through_text(path: bytes) -> None:
    assert paths.encode(paths.decode(path)) == path


@given(st.binary(min_size=1, max_size=30))
def test_a_path_without_a_problem_stays_inside(path: bytes) -> None:
    if not paths.problem(path):
        parts = path.split(b"/")
        assert b".." not in parts and b"" not in parts and b".aq" not in [part.lower() for part in parts]


def test_text_that_is_no_path() -> None:
    with pytest.raises(Unstorable):
        paths.check("\ud800")


def test_names_that_some_file_systems_take_for_one() -> None:
    assert paths.twins([b"a", b"b", b"a/b"]) is None
    assert paths.twins([b"data/A.csv", b"x", b"data/a.csv"]) == (b"data/A.csv", b"data/a.csv")
    assert paths.twins([b"a/x", b"A/y"]) == (b"a", b"A"), "one folder would hold the files of both"
    assert paths.twins([b"A", b"a/x"]) == (b"A", b"a"), "a file where a folder is needed"
    assert paths.twins(["\u00e9".encode(), "e\u0301".encode()]) is not None


def test_ancestors_and_outermost() -> None:
    assert list(paths.ancestors(b"a/b/c")) == [b"a/b", b"a"]
    assert list(paths.ancestors(b"a")) == []
    assert paths.outermost([b"a/b", b"a", b"a-b", b"c/d"]) == [b"a", b"a-b", b"c/d"]
    assert paths.outermost([b"a", b""]) == [b""]


def test_relative_to_the_repository(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    (root / "data").mkdir(parents=True)
    assert paths.relative(root, "data/a.csv", root) == "data/a.csv"
    assert paths.relative(root, "../a.csv", root / "data") == "a.csv"
    assert paths.relative(root, root / "x", tmp_path) == "x"
    assert paths.relative(root, ".", root) == "" == paths.relative(root, "..", root / "data")
    for outside in ("..", "../other", "/etc/passwd", "../repo2/x"):
        with pytest.raises(UsageError, match="outside"):
            paths.relative(root, outside, root)
    for control in (".aq", ".aq/packs/x", "data/.AQ/x"):
        with pytest.raises(UsageError, match="leads into"):
            paths.relative(root, control, root)
    for nothing in ("", "a\0b"):
        with pytest.raises(UsageError):
            paths.relative(root, nothing, root)


def test_relative_through_symbolic_links(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    (root / "data").mkdir(parents=True)
    (tmp_path / "door").symlink_to(root)
    (root / "link").symlink_to("data")
    assert paths.relative(root, tmp_path / "door" / "data" / "x", tmp_path) == "data/x"
    assert paths.relative(tmp_path / "door", root / "data" / "x", tmp_path) == "data/x"
    assert paths.relative(root, "link", root) == "link"
    with pytest.raises(UsageError, match="behind the symbolic link link"):
        paths.relative(root, "link/x", root)


def test_show_keeps_a_message_on_one_line() -> None:
    assert paths.show("data/a b.csv") == "data/a b.csv"
    assert paths.show("a\nb") == "'a\\nb'" and "\n" not in paths.show("a\r\n\x1b[31m")
    assert paths.show("\udcff") == "'\\udcff'"
