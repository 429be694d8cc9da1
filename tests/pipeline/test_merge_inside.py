"""Paths that both sides changed and that are merged inside: tables by key, texts by lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from aq.formats.errors import Conflict
from aq.pipeline.records.results import Merged
from aq.pipeline.repo import Repo

from tests.pipeline.repository import create

TEXT = "".join(f"line {number}\n" for number in range(20))


def frame(rows: int = 6) -> pd.DataFrame:
    return pd.DataFrame({"id": range(rows), "x": [0.5] * rows, "s": list("abcdef")[:rows]})


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repo]:
    """`main` and `dev`, both at a commit with a file and a table."""
    with create(tmp_path / "r") as made:
        file(made, TEXT)
        given(made, frame())
        made.branch("add", "dev")
        yield made


def file(repo: Repo, text: str, name: str = "a.txt") -> str:
    (repo.root / name).write_text(text)
    repo.add([name])
    return repo.commit(message="file").id


def given(repo: Repo, table: Any, key: tuple[str, ...] = ("id",)) -> str:
    return repo.commit({"t": table}, message="table", keys={"t": list(key)} if key else {}).id


def refused(repo: Repo, **answers: Any) -> Merged:
    with pytest.raises(Conflict) as caught:
        repo.merge("dev", **answers)
    assert isinstance(caught.value.result, Merged)
    return caught.value.result


def cell(column: str, row: int, value: Any) -> pd.DataFrame:
    table = frame()
    table.loc[row, column] = value
    return table


def test_a_table_and_a_text_are_merged_at_once(repo: Repo) -> None:
    repo.switch("dev")
    file(repo, TEXT.replace("line 3\n", "three\n"))
    given(repo, cell("x", 1, 7.0))
    repo.switch("main")
    file(repo, TEXT.replace("line 15\n", "fifteen\n"))
    given(repo, cell("s", 1, "new"))
    done = repo.merge("dev")
    assert (done.status, done.written, done.paths.changed) == ("merged", ["a.txt"], 2)
    both = frame().assign(x=[0.5, 7.0, *[0.5] * 4], s=["a", "new", *"cdef"])
    pd.testing.assert_frame_equal(repo.get("t").load(), both)
    text = TEXT.replace("line 3\n", "three\n").replace("line 15\n", "fifteen\n")
    assert (repo.root / "a.txt").read_text() == text
    assert repo.get("t").summary["rows"] == 6
    assert not repo.fsck(full=True).problems
    repo.undo()
    assert (repo.root / "a.txt").read_text() == TEXT.replace("line 15\n", "fifteen\n")


def test_both_machines_make_the_same_table(repo: Repo) -> None:
    repo.switch("dev")
    given(repo, cell("x", 1, 7.0))
    repo.branch("add", "dev2")
    repo.switch("main")
    given(repo, cell("s", 1, "new"))
    repo.branch("add", "main2")
    repo.merge("dev")
    one = repo.get("t").id
    repo.switch("dev2")
    repo.merge("main2")
    assert repo.get("t").id == one
    given(repo, repo.get("t").load().assign(y=1))
    repo.switch("main")
    given(repo, repo.get("t").load().assign(x=9.0))
    assert repo.merge("dev2").status == "merged"  # a criss-cross: the bases merge inside too
    assert repo.get("t").load()[["x", "y"]].values.tolist() == [[9.0, 1]] * 6


def test_cells_in_conflict_are_listed_and_a_side_settles_the_path(repo: Repo) -> None:
    repo.switch("dev")
    theirs = given(repo, cell("x", 2, 7.0))
    repo.switch("main")
    given(repo, cell("x", 2, 8.0))
    [conflict] = refused(repo).conflicts
    [inside] = conflict.inside
    assert (conflict.path, conflict.kind) == ("t", "change/change")
    assert (inside.kind, inside.column, inside.key) == ("cell", "x", {"id": 2})
    assert (inside.base, inside.ours, inside.theirs) == (0.5, 8.0, 7.0)
    assert repo.merge("dev", theirs=["t"]).settled == 1
    assert repo.get("t").id == repo.get(f"{theirs}:t").id


def test_an_answer_for_a_folder_leaves_alone_what_merges_but_one_for_the_path_does_not(repo: Repo) -> None:
    repo.switch("dev")
    given(repo, cell("x", 1, 7.0))
    file(repo, TEXT.replace("line 3\n", "three\n"))
    repo.switch("main")
    given(repo, cell("x", 2, 8.0))
    file(repo, TEXT.replace("line 3\n", "drei\n"))
    [conflict] = refused(repo).conflicts
    assert [(one.kind, one.key, one.base, one.ours, one.theirs) for one in conflict.inside] == [
        ("lines", {"line": 4}, "line 3\n", "drei\n", "three\n")
    ]
    repo.merge("dev", theirs=["."])
    assert repo.get("t").load()["x"].tolist() == [0.5, 7.0, 8.0, 0.5, 0.5, 0.5]
    repo.undo()
    repo.merge("dev", theirs=["."], ours=["t"])
    assert repo.get("t").load()["x"].tolist() == [0.5, 0.5, 8.0, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("name", "base", "ours", "theirs"),
    [
        ("b.bin", "\0one\n\ntwo\n", "\0uno\n\ntwo\n", "\0one\n\ndos\n"),
        ("c.json", '{\n"a": 1,\n\n"b": 2\n}', '{\n"a": 1,\n\n"b": 3,\n"c": 1\n}', '{\n"a": 1}'),
    ],
)
def test_what_no_merge_by_lines_suits_stays_a_conflict(
    repo: Repo, name: str, base: str, ours: str, theirs: str
) -> None:
    file(repo, base, name)
    repo.branch("add", "side")
    file(repo, ours, name)
    repo.switch("side")
    file(repo, theirs, name)
    with pytest.raises(Conflict):
        repo.merge("main")


def test_a_document_that_would_be_none_is_not_merged(repo: Repo) -> None:
    file(repo, '{\n"a": 1,\n\n\n"b": 2\n}\n', "c.json")
    repo.branch("add", "side")
    file(repo, '{\n"a": 1,\n\n\n"b": 2,\n"c": 3\n}\n', "c.json")
    repo.switch("side")
    file(repo, '{\n"a": 1,\n"c": 4,\n\n"b": 2\n}\n', "c.json")
    assert repo.merge("main").status == "merged"
    assert (repo.root / "c.json").read_text().count('"c"') == 2  # as git does: valid, and to be looked at


def test_tables_without_a_key_stay_a_conflict(repo: Repo) -> None:
    given(repo, frame(), ())
    repo.branch("add", "side")
    given(repo, cell("x", 1, 1.0), ())
    repo.switch("side")
    given(repo, cell("s", 4, "q"), ())
    with pytest.raises(Conflict) as caught:
        repo.merge("main")
    assert isinstance(caught.value.result, Merged)
    assert [[cell.kind for cell in one.inside] for one in caught.value.result.conflicts] == [["key"]]
