"""`blame` beside a reference that looks at every row of every version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from aq.formats.columns.described import described
from aq.formats.errors import NotFound, UsageError
from aq.formats.identity import Digest, Kind
from aq.formats.objects import MemoryObjects, get_record, put_record
from aq.formats.records import Artifact, Commit
from aq.formats.tables import encode_table
from aq.pipeline.look.blame_tables import RowParts, RowTracer, Tables, column_changes
from aq.pipeline.look.blame_walk import Version, walk
from aq.pipeline.repo import Repo
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Entry, Origin
from hypothesis import given, settings, strategies as st

from tests.pipeline.repository import create

Rows = dict[int, tuple[int, str]]
ROW = st.tuples(st.integers(0, 2), st.sampled_from("ab"))
HISTORY = st.lists(
    st.tuples(
        st.lists(st.integers(0, 5), max_size=2, unique=True),
        st.dictionaries(
            st.integers(0, 6), st.one_of(st.none(), st.tuples(st.integers(0, 2), st.sampled_from("ab")))
        ),
    ),
    min_size=1,
    max_size=7,
)


# Each example is a history: fewer of them, but as many as asked for under `make soak`.
EXAMPLES = 40 if settings.default.max_examples <= 100 else settings.default.max_examples


class History:
    """Commits of one table in memory, as versions of {key: row}, with their parents."""

    def __init__(self, steps: list[tuple[list[int], dict[int, tuple[int, str] | None]]]) -> None:
        self.memory = MemoryObjects()
        self.rows: list[Rows] = []
        self.parents: list[list[int]] = []
        self.ids: list[Digest] = []
        for at, (back, edits) in enumerate(steps):
            parents = list(dict.fromkeys(max(0, at - 1 - one) for one in (back or [0]))) if at else []
            rows: Rows = {}
            for parent in reversed(parents):
                rows = {**rows, **self.rows[parent]}
            for key, row in edits.items():
                rows.pop(key, None)
                if row is not None:
                    rows[key] = row
            self.rows.append(rows)
            self.parents.append(parents)
            self.ids.append(self._commit(at, rows))

    def _commit(self, at: int, rows: Rows) -> Digest:
        frame = pd.DataFrame([(key, *row) for key, row in rows.items()], columns=["id", "x", "s"])
        frame = frame.astype({"id": int, "x": int, "s": "str"})
        artifact = put_record(self.memory, encode_table(frame, self.memory, key=["id"]).artifact)
        root = snapshots.edit(self.memory, snapshots.empty(self.memory), {"t": Entry(artifact, Origin.GIVEN)})
        parents = [self.ids[parent] for parent in self.parents[at]]
        return put_record(
            self.memory,
            Commit(snapshot=root, time=at, author="a", message=str(at), parents=list(parents)),
        )

    def tip(self) -> Version:
        entry = snapshots.get_entry(self.memory, get_record(self.memory, Commit, self.ids[-1]).snapshot, "t")
        assert entry is not None
        return Version(self.ids[-1], entry.artifact, get_record(self.memory, Artifact, entry.artifact))

    def origin(self, at: int, key: int, cell: int | None) -> int:
        """The reference: follow the first parent that has the row (or the cell) already."""
        for parent in self.parents[at]:
            row = self.rows[parent].get(key)
            mine = self.rows[at][key]
            if row is not None and (row == mine if cell is None else row[cell] == mine[cell]):
                return self.origin(parent, key, cell)
        return at

    def last_change(self, at: int, cell: int) -> int:
        """The reference for a column, of a history without merges."""
        while self.parents[at]:
            [parent] = self.parents[at]
            shared = self.rows[at].keys() & self.rows[parent].keys()
            if any(self.rows[at][key][cell] != self.rows[parent][key][cell] for key in shared):
                return at
            at = parent
        return at


@settings(max_examples=EXAMPLES, deadline=None)
@given(HISTORY, st.sampled_from([None, "x", "s"]))
def test_every_row_goes_back_to_the_commit_that_brought_it(steps: Any, column: str | None) -> None:
    history = History(steps)
    tip, last = history.tip(), len(history.rows) - 1
    whole = np.array([[0, 0, len(history.rows[last])]], np.int64)
    tables = Tables(history.memory, "t")
    found: dict[int, Digest | None] = {}
    for id, parts in walk(
        history.memory, tip.commit, "t", RowTracer(tables), RowParts(whole[whole[:, 2] > 0], column), None
    ):
        for _, first, length in parts.runs.tolist():
            for row in range(first, first + length):
                assert row not in found
                found[row] = id
    cell = None if column is None else ["x", "s"].index(column)
    wanted = {at: history.ids[history.origin(last, key, cell)] for at, key in enumerate(history.rows[last])}
    assert found == wanted
    if all(len(parents) < 2 for parents in history.parents):
        changes = column_changes(history.memory, tip, "t", tables, None)
        assert {one.name: one.commit for one in changes if one.name != "id"} == {
            name: history.ids[history.last_change(last, at)] for at, name in enumerate(["x", "s"])
        }


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repo]:
    with create(tmp_path / "r") as made:
        yield made


def committed(repo: Repo, message: str, **values: Any) -> str:
    keys = {name: ["id"] for name, value in values.items() if isinstance(value, pd.DataFrame)}
    return repo.commit(values, message=message, keys=keys).id


def frame(rows: int) -> pd.DataFrame:
    return pd.DataFrame({"id": range(rows), "x": np.arange(rows) / 2, "s": ["a", "b"] * (rows // 2)})


def test_columns_and_ranges_of_a_table(repo: Repo) -> None:
    first = frame(10)
    fixed = first.assign(x=first["x"].where(first["id"] != 4, -1.0))
    longer = pd.concat([fixed.iloc[1:], frame(14).iloc[12:]], ignore_index=True).assign(new=1)
    ids = [committed(repo, str(at), t=one) for at, one in enumerate([first, fixed, longer])]
    found = repo.blame("t")
    assert (found.by, found.rows, found.key) == ("rows", 11, ["id"])
    assert [(one.commit, one.first, one.last) for one in found.ranges] == [
        (ids[0], 0, 2), (ids[1], 3, 3), (ids[0], 4, 8), (ids[2], 9, 10)
    ]  # fmt: skip
    assert [one.key for one in found.ranges[::3]] == [
        {"first": {"id": 1}, "last": {"id": 3}}, {"first": {"id": 12}, "last": {"id": 13}}
    ]  # fmt: skip
    assert [(one.name, one.commit, one.change, one.rows) for one in found.columns] == [
        ("id", ids[0], "added", 10), ("x", ids[1], "changed", 1),
        ("s", ids[0], "added", 10), ("new", ids[2], "added", 11),
    ]  # fmt: skip
    assert [one.commit for one in repo.blame("t", column="s").ranges] == [ids[0], ids[2]]
    assert [one.commit for one in repo.blame("t", column="new").ranges] == [ids[2]]
    assert found.commits[ids[1]].message == "1"
    assert repo.blame("HEAD~1:t").revision == ids[1]


def test_a_renamed_or_retyped_column_keeps_its_cells(repo: Repo) -> None:
    first = frame(10)
    ids = [committed(repo, "0", t=first), committed(repo, "1", t=first.rename(columns={"x": "y"}))]
    ids.append(committed(repo, "2", t=first.rename(columns={"x": "y"}).astype({"y": "float32"})))
    assert [one.commit for one in repo.blame("t", column="y").ranges] == [ids[0]]
    assert [(one.commit, one.change) for one in repo.blame("t").columns if one.name == "y"] == [
        (ids[2], "retyped")
    ]


def test_since_leaves_what_is_older_without_a_commit(repo: Repo) -> None:
    first = frame(4)
    committed(repo, "0", t=first, c={"a": 1})
    entry = repo.log()[0]
    second = committed(repo, "1", t=frame(6), c={"a": 1, "b": 2})
    since = entry.time.replace("Z", "")[:-6] + "999999"
    found = repo.blame("t", since=since)
    assert [one.commit for one in found.ranges] == [None, second]
    assert {one.commit for one in found.columns} == {None}
    assert [one.commit for one in repo.blame("c", since=since).items] == [None, second]


def test_lines_keys_files_and_values(repo: Repo) -> None:
    def file(name: str, data: bytes, message: str) -> str:
        (repo.root / name).write_bytes(data)
        repo.add([name])
        return repo.commit(message=message).id

    ids = [file("a.txt", b"one\ntwo\nthree\n", "0"), file("a.txt", b"zero\none\n2\nthree\n", "1")]
    found = repo.blame("a.txt")
    assert [(one.commit, one.text) for one in found.ranges] == [
        (ids[1], ["zero"]), (ids[0], ["one"]), (ids[1], ["2"]), (ids[0], ["three"])
    ]  # fmt: skip
    ids += [
        file("c.json", b'{"a": 1, "b": {"c": 2}}', "2"),
        file("c.json", b'{"b": {"c": 3, "d": 4}, "a": 1}', "3"),
    ]
    assert {one.name: one.commit for one in repo.blame("c.json").items} == {
        "a": ids[2], "b.c": ids[3], "b.d": ids[3]
    }  # fmt: skip
    ids += [file("t.csv", b"id,x\n1,2\n2,3\n", "4"), file("t.csv", b"id,x\n1,2\n2,4\n", "5")]
    assert [(one.commit, one.text) for one in repo.blame("t.csv").ranges] == [
        (ids[4], ["id,x", "1,2"]), (ids[5], ["2,4"])
    ]  # fmt: skip
    assert [(one.commit, one.first) for one in repo.blame("t.csv", column="x").ranges] == [
        (ids[4], 0),
        (ids[5], 1),
    ]
    frame(4).to_parquet(repo.root / "t.parquet")
    repo.add(["t.parquet"])
    ids.append(repo.commit(message="6").id)
    frame(6).to_parquet(repo.root / "t.parquet")
    ids.append(repo.commit(message="7").id)
    assert [(one.commit, one.last) for one in repo.blame("t.parquet").ranges] == [(ids[6], 3), (ids[7], 5)]
    ids += [file("b.bin", b"\0\1", "8")]
    assert [(one.name, one.commit) for one in repo.blame("b.bin").items] == [("", ids[8])]
    ids += [committed(repo, "9", n=3), committed(repo, "10", n=4)]
    assert [(one.commit, one.value) for one in repo.blame("n").items] == [(ids[10], 4)]


def test_a_model_by_its_tensors(repo: Repo) -> None:
    model = {"layers": [np.zeros(5), np.ones((2, 3))], "depth": Digest}
    ids = [committed(repo, "0", m=model)]
    model["layers"][1] += 1  # type: ignore[index]
    ids.append(committed(repo, "1", m=model))
    found = {one.name: one.commit for one in repo.blame("m").items}
    assert {found[name] for name in found if name.endswith("[0]")} == {ids[0]}
    assert {found[name] for name in found if name.endswith("[1]")} == {ids[1]}


def test_a_model_file_by_its_tensors_and_what_has_no_parts_as_a_whole(repo: Repo) -> None:
    commits = []
    for scale in (1.0, 2.0):
        np.savez(repo.root / "w.npz", fixed=np.ones(30), moved=np.ones(30) * scale)
        repo.add(["w.npz"])
        commits.append(repo.commit({"odd": frozenset({scale})}, message=f"values {scale}").id)
        commits.append(repo.commit(message=f"file {scale}").id)
    found = repo.blame("w.npz")
    assert {one.name: one.commit for one in found.items} == {
        "tensor fixed": str(commits[1]),
        "tensor moved": str(commits[3]),
    }
    (whole,) = repo.blame("odd").items
    assert (whole.name, whole.commit) == ("", str(commits[2]))


def test_unchanged_segments_are_not_read(repo: Repo) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"id": range(60_000), "x": rng.normal(size=60_000)})
    for at in range(4):
        table = table.copy()
        table.loc[30_000 + at, "x"] = at
        committed(repo, str(at), t=table)
    chunks: set[bytes] = set()
    get = repo.store.get

    def counted(kind: Kind, id: bytes) -> bytes:
        if kind is Kind.CHUNK:
            chunks.add(bytes(id))
        return get(kind, id)

    repo.store.get = counted  # type: ignore[method-assign]
    found = repo.blame("t")
    assert len(found.ranges) == 5
    assert described(repo.get("t").record).rows == 60_000
    assert len(chunks) <= 8  # the key and one column of the segment, of four versions


def test_what_cannot_be_blamed_is_refused(repo: Repo) -> None:
    committed(repo, "0", t=frame(4), n=1)
    with pytest.raises(NotFound, match="no column 'y'; the table has id, x, s"):
        repo.blame("t", column="y")
    with pytest.raises(UsageError, match="n is no table"):
        repo.blame("n", column="y")
    with pytest.raises(NotFound, match="no path"):
        repo.blame("nothing")
    assert json.dumps([repo.blame("t").path]) == '["t"]'
