"""Tracked files are compared as what they hold: tables, JSON keys, lines, or bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aq
import pandas as pd
import pytest

FRAME = pd.DataFrame({"id": range(50), "hours": [float(n) for n in range(50)], "name": list("ab") * 25})


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[aq.Repo]:
    """An empty repository."""
    with aq.init(tmp_path / "r") as repo:
        yield repo


def detail(repo: aq.Repo, name: str, before: bytes, after: bytes) -> Any:
    """The detail of the diff of one file."""
    for data in (before, after):
        (repo.root / name).write_bytes(data)
        repo.add([name])
        repo.commit(message="next")
    (path,) = repo.diff("main~1", "main").paths
    assert path.path == name
    return path.detail


def parquet(frame: pd.DataFrame) -> bytes:
    stream = io.BytesIO()
    frame.to_parquet(stream)
    return stream.getvalue()


WRITERS: dict[str, Callable[[pd.DataFrame], bytes]] = {
    "t.csv": lambda frame: frame.to_csv(index=False).encode(),
    "t.tsv": lambda frame: frame.to_csv(index=False, sep="\t").encode(),
    "t.jsonl": lambda frame: frame.to_json(orient="records", lines=True).encode(),
    "T.PARQUET": parquet,
}


@pytest.mark.parametrize("name", WRITERS)
def test_table_files_are_compared_as_tables(repo: aq.Repo, name: str) -> None:
    changed = FRAME.assign(hours=FRAME["hours"] * 60 + 0.5).drop(index=[3, 4])
    found = detail(repo, name, WRITERS[name](FRAME), WRITERS[name](changed))
    assert (found["rows"]["from"], found["rows"]["to"]) == (50, 48)
    assert [one["name"] for one in found["columns"]] == ["hours"]
    assert found["size"]["from"] == len(WRITERS[name](FRAME))
    assert found["parsed"]


def test_a_changed_row_of_a_file_says_which_one_it_is(repo: aq.Repo) -> None:
    before = FRAME.to_csv(index=False).encode()
    found = detail(repo, "t.csv", before, before.replace(b"17,17.0", b"17,18.0"))
    (row,) = found["sample"]
    assert (row["row"], row["key"]) == (17, {"id": 17})
    assert (row["from"], row["to"]) == ({"hours": 17.0}, {"hours": 18.0})


def test_a_row_that_nothing_names_shows_what_stayed(repo: aq.Repo) -> None:
    before = FRAME.drop(columns="id").to_csv(index=False).encode()
    found = detail(repo, "t.csv", before, before.replace(b"\n17.0,", b"\n18.5,"))
    (row,) = found["sample"]
    assert (row["row"], row["key"], row["same"]) == (17, {}, {"name": "b"})


def test_what_is_no_table_inside_is_compared_as_lines(repo: aq.Repo) -> None:
    found = detail(repo, "t.csv", b"a,b\n1,2\n", b'a,b\n"1,2\n')
    assert found["lines"] == {"added": 1, "removed": 1}


def test_a_broken_parquet_file_is_bytes(repo: aq.Repo) -> None:
    assert detail(repo, "t.parquet", parquet(FRAME), b"PAR1\0\0")["binary"] is True


def test_json_keys(repo: aq.Repo) -> None:
    before = b'{"model": {"depth": 6, "rate": 0.1}, "seed": 1, "gone": null, "same": [1]}'
    after = b'{"model": {"depth": 8, "rate": 0.1}, "seed": true, "new": "x", "same": [1]}'
    assert detail(repo, "conf.json", before, after)["keys"] == [
        {"name": "model.depth", "change": "changed", "from": 6, "to": 8},
        {"name": "seed", "change": "changed", "from": 1, "to": True},
        {"name": "gone", "change": "removed", "from": None, "to": None},
        {"name": "new", "change": "added", "from": None, "to": "x"},
    ]


@pytest.mark.parametrize(
    ("before", "after"), [("[1]", "[1.0]"), ("[1]", "[true]"), ('[{"a": 0}]', '[{"a": null}]')]
)
def test_json_values_differ_at_any_depth(repo: aq.Repo, before: str, after: str) -> None:
    sides = [f'{{"a": {text}, "n": NaN}}'.encode() for text in (before, after)]
    assert [key["name"] for key in detail(repo, "conf.json", *sides)["keys"]] == ["a"]


def test_a_json_object_of_objects_is_no_table(repo: aq.Repo) -> None:
    found = detail(repo, "conf.json", b'{"a": {"x": 1}, "b": {"x": 2}}', b'{"a": {"x": 1}, "b": {"x": 3}}')
    assert found["keys"] == [{"name": "b.x", "change": "changed", "from": 2, "to": 3}]


def test_a_json_array_of_objects_is_a_table(repo: aq.Repo) -> None:
    found = detail(repo, "rows.json", b'[{"x": 1}, {"x": 2}]', b'[{"x": 1}, {"x": 3}]')
    assert found["rows"]["to"] == 2


@pytest.mark.parametrize("after", [b"[1, 2]", b"{", b'{"a":' * 5000])
def test_json_that_is_no_object_is_compared_as_lines(repo: aq.Repo, after: bytes) -> None:
    assert "lines" in detail(repo, "conf.json", b'{"a": 1}', after)


def test_text_and_bytes(repo: aq.Repo) -> None:
    found = detail(repo, "notes.txt", b"one\ntwo\n", b"one\n2\nthree\n")
    assert found["lines"] == {"added": 2, "removed": 1}
    assert detail(repo, "blob", b"\0\1", b"\0\2") == {"size": {"from": 2, "to": 2}, "binary": True}


@pytest.mark.parametrize("separator", [";", "\t", "|", ";,"])
def test_a_csv_file_may_have_another_separator(repo: aq.Repo, separator: str) -> None:
    """As spreadsheets write them where the comma is in numbers; two versions may have two."""
    separator, decimal = separator[0], separator[1:] or "."
    changed = FRAME.drop(index=7).replace({"hours": {3.0: 99.5}})
    old, new = (
        frame.to_csv(index=False, sep=separator, decimal=decimal).encode() for frame in (FRAME, changed)
    )
    found = detail(repo, "t.csv", old, new)
    assert found["rows"] | {"by": "", "reordered": False} == {
        "added": 0,
        "removed": 1,
        "changed": 1,
        "from": 50,
        "to": 49,
        "by": "",
        "reordered": False,
    }
    assert [column["name"] for column in found["columns"]] == ["hours"]
    summary = repo.show("main:t.csv").summary
    assert [column["name"] for column in summary["columns"]] == ["id", "hours", "name"]
    if decimal == ".":
        found = detail(repo, "t.csv", FRAME.to_csv(index=False).encode(), old)
        assert found["rows"]["changed"] == found["rows"]["added"] == found["rows"]["removed"] == 0
    assert [line.name for line in repo.blame("t.csv", column="hours").columns] == ["hours"]


def test_one_column_stays_one(repo: aq.Repo) -> None:
    found = detail(repo, "t.csv", b"a;b\n1\n2\n", b"a;b\n1\n3\n")
    assert found["rows"]["from"] == found["rows"]["to"] == 2
