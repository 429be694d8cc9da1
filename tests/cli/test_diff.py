"""`aq diff --stat` and `-o`: how much differs, and the very rows."""

from __future__ import annotations

from pathlib import Path

import aq
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tests.cli.shell import Shell

ROWS = pd.DataFrame({"id": range(20), "x": [float(n) for n in range(20)]})


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Two commits: a value, a CSV file, a JSON file, and a text that differ."""
    changed = ROWS.drop(index=[3]).replace({"x": {7.0: 0.5}}).reset_index(drop=True)
    with aq.init(tmp_path) as repo:
        for frame, rate in ((ROWS, 1), (changed, 2)):
            frame.to_csv(tmp_path / "t.csv", index=False)
            (tmp_path / "conf.json").write_text(f'{{"rate": {rate}, "seed": 1}}')
            repo.add(["t.csv", "conf.json"])
            repo.commit(message="files")
            repo.commit({"sales": frame}, message="value", keys={"sales": ["id"]})
    return Shell(tmp_path)


def test_stat_is_a_line_a_path(shell: Shell) -> None:
    assert shell.aq("diff", "--stat", "main~2..main").out.splitlines() == [
        "changed  conf.json  file   keys: 1 changed",
        "changed  sales      table  rows: 1 removed, 1 changed",
        "changed  t.csv      file   rows: 1 removed, 1 changed",
        "3 changed",
    ]
    assert shell.aq("diff", "--stat", "main..main").out == "no difference\n"


@pytest.mark.parametrize("path", ["sales", "t.csv"])
def test_the_rows_go_to_a_file(shell: Shell, path: str) -> None:
    done = shell.aq("diff", "main~2..main", "-o", "rows.parquet", "--", path)
    assert "3 rows written to rows.parquet" in done.err
    found = pd.read_parquet(shell.folder / "rows.parquet")
    assert list(found["aq_change"]) == ["removed", "before", "after"]
    assert list(found["x"]) == [3.0, 7.0, 0.5]
    assert shell.data("diff", "main~2..main", "-o", "rows.csv", "--", path)["written"] == 3
    assert (shell.folder / "rows.csv").read_text().startswith("aq_change,aq_row,id,x\n")


def test_rows_of_several_tables_or_of_none(shell: Shell) -> None:
    done = shell.aq("diff", "main~2..main", "-o", "rows.parquet", code=2)
    assert done.err.startswith(
        "error: 2 tables differ: name one\nhint: aq diff main~2..main -o rows.parquet -- sales\n"
    )
    done = shell.aq("diff", "main~2..main", "-o", "rows.parquet", "--", "conf.json", code=2)
    assert done.err.startswith("error: no table differs in its rows\n")
    assert not (shell.folder / "rows.parquet").exists()


def test_a_folder_that_is_missing_is_named(shell: Shell) -> None:
    done = shell.aq("diff", "main~2..main", "-o", "none/rows.parquet", "--", "sales", code=2)
    assert done.err.startswith(f"error: no folder {shell.folder}/none\nhint: mkdir -p ")


def test_a_sampled_row_says_which_one_it_is(shell: Shell) -> None:
    for path in ("t.csv", "sales"):
        lines = shell.aq("diff", "main~2..main", "--", path).out.splitlines()
        (line,) = [one for one in lines if "x: 7 → 0.5" in one]
        assert line.split() == ["changed", "id=7", "x:", "7", "→", "0.5"]


def test_null_is_told_from_a_key_that_is_missing(tmp_path: Path) -> None:
    with aq.init(tmp_path) as repo:
        for text in ('{"a": null, "b": 1, "c": null}', '{"b": null, "c": 2, "d": null}'):
            (tmp_path / "conf.json").write_text(text)
            repo.add(["conf.json"])
            repo.commit(message="files")
    lines = Shell(tmp_path).aq("diff", "main~1..main").out.splitlines()
    assert [line.split() for line in lines[-4:]] == [
        ["a", "null", "→", "–"], ["b", "1", "→", "null"], ["c", "null", "→", "2"], ["d", "–", "→", "null"],
    ]  # fmt: skip


def test_where_rows_are_to_be_had_is_a_command(tmp_path: Path) -> None:
    with aq.init(tmp_path) as repo:
        for step in (1.0, 2.0):
            repo.commit({name: ROWS.assign(x=ROWS["x"] * step) for name in "abcd"}, message="m")
        ids = [str(entry.id)[:8] for entry in repo.log()]
    shell = Shell(tmp_path)
    command = f"aq diff {ids[1]}..{ids[0]} -- a"
    assert f"rows of a table: {command}" in shell.aq("diff", "main~1..main").out
    assert "sample" in shell.aq(*command.split()[1:]).out


def test_what_ends_a_line_is_part_of_it(tmp_path: Path) -> None:
    with aq.init(tmp_path) as repo:
        for end, last in (("\n", "\n"), ("\r\n", "\r\n"), ("\r\n", "")):
            (tmp_path / "a.txt").write_bytes(f"x{end}y{last}".encode())
            repo.add(["a.txt"])
            repo.commit(message="text")
    shell = Shell(tmp_path)
    assert "a.txt  file  lines: 2 added, 2 removed" in shell.aq("diff", "--stat", "main~2..main~1").out
    detail = shell.data("diff", "main~2..main~1")["paths"][0]["detail"]
    assert detail["diff"].splitlines(keepends=False) == ["@@ -1,2 +1,2 @@", "-x", "-y", "+x", "+y"]
    assert detail["diff"].endswith("+x\r\n+y\r")
    last = shell.aq("diff", "main~1..main").out.splitlines()[-3:]
    assert [line.strip() for line in last] == ["-y\\r", "+y", "\\ No newline at end of file"]


def test_no_line_is_taken_for_a_heading(tmp_path: Path) -> None:
    with aq.init(tmp_path) as repo:
        for text in ("-- a comment\n", "++ another\n"):
            (tmp_path / "q.sql").write_text(text)
            repo.add(["q.sql"])
            repo.commit(message="text")
    lines = Shell(tmp_path).aq("diff", "main~1..main").out.splitlines()
    assert [line.strip() for line in lines[-2:]] == ["--- a comment", "+++ another"]


def test_columns_and_bytes_that_differ_where_no_row_does(tmp_path: Path) -> None:
    with aq.init(tmp_path) as repo:
        for frame, text, keys in (
            (ROWS, "id,x\n1,1.5\n", "{}"),
            (ROWS.rename(columns={"x": "y"}).assign(z=1), "id,x\n1,1.50\n", "{ }"),
            (ROWS.rename(columns={"x": "y"}).assign(z=1)[::-1].reset_index(drop=True), "x,id\n1.5,1\n", "{}"),
        ):
            (tmp_path / "t.csv").write_text(text)
            (tmp_path / "c.json").write_text(keys)
            repo.add(["t.csv", "c.json"])
            repo.commit(message="files")
            repo.commit({"sales": frame}, message="m", keys={"sales": ["id"]})
    shell = Shell(tmp_path)
    lines = shell.aq("diff", "--stat", "main~4..main~2").out.splitlines()
    assert [line.split("  ")[-1].strip() for line in lines[:3]] == [
        "keys: the same", "columns: 1 added, 1 renamed", "rows: the same",
    ]  # fmt: skip
    assert "sales   table  rows: in another order" in shell.aq("diff", "--stat", "main~2..main").out


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["main~1", "main"], "aq diff main~1..main"),
        (["main~1..main", "t.csv"], "aq diff main~1..main -- t.csv"),
        (["t.csv", "conf.json"], "aq diff -- t.csv conf.json"),
        (["main~1:t.csv", "main:t.csv"], "aq diff main~1..main -- t.csv"),
        (["main~1:t.csv..main:t.csv"], "aq diff main~1..main -- t.csv"),
        (["main~1:sales"], "aq diff main~1 -- sales"),
        (["main~1", "main", "--", "a b.csv"], "aq diff main~1..main -- 'a b.csv'"),
    ],
)
def test_words_in_the_order_of_git_are_put_right(shell: Shell, words: list[str], meant: str) -> None:
    assert f"\nhint: {meant}\n" in shell.aq("diff", *words, code=2).err


def test_words_of_log_are_put_right(shell: Shell) -> None:
    assert "\nhint: aq log main -- t.csv\n" in shell.aq("log", "main", "t.csv", code=2).err


def test_a_table_in_a_file_is_shown_by_its_columns(shell: Shell) -> None:
    said = shell.aq("show", "main:t.csv").out
    assert "19 rows, 2 columns:" in said and "float64" in said
    summary = shell.data("show", "main:t.csv")["summary"]
    assert summary["rows"] == 19 and [column["name"] for column in summary["columns"]] == ["id", "x"]
    assert summary["text"] is True and summary["parsed"] == "pandas.read_csv"
    assert "rows" not in shell.data("show", "main:conf.json")["summary"]
    shell.commit("broken.parquet", "PAR1", "no table")
    summary = shell.data("show", "HEAD:broken.parquet")["summary"]
    assert summary["text"] is True and "Parquet file size is 4 bytes" in summary["unreadable"]


def test_what_is_neither_a_column_nor_a_row_is_told_too(tmp_path: Path) -> None:
    """A key no longer declared, another order, another container: each was a change without a word."""
    frame = pd.DataFrame({"id": [1, 2], "x": [1.0, 2.0]})
    versions = [frame, frame, frame[["x", "id"]], frame[["x", "id"]][::-1].reset_index(drop=True)]
    with aq.init(tmp_path) as repo:
        repo.commit({"t": frame}, keys={"t": ["id"]})
        for version in versions[1:]:
            repo.commit({"t": version})
        repo.commit({"t": pl.from_pandas(versions[-1])})
    shell = Shell(tmp_path)
    for back, said in (
        (4, "also: key: id → none"),
        (3, "also: the order of the columns"),
        (2, "rows: in another order"),
        (1, "also: container: pandas → polars"),
    ):
        span = f"main~{back}..main~{back - 1}"
        assert shell.aq("diff", span).out.splitlines()[3:] == ["  changed     t  table", f"    {said}"]
        assert shell.aq("diff", "--stat", span).out.splitlines()[0] == f"changed  t  table  {said}"


def test_sides_of_a_cell_never_look_alike(tmp_path: Path) -> None:
    with aq.init(tmp_path) as repo:
        for cells in ([0.1234567, 0.0, None, 1.0], [0.1234568, -0.0, float("nan"), float("inf")]):
            repo.commit({"t": pa.table({"id": range(4), "x": cells})}, message="x", keys={"t": ["id"]})
    told = Shell(tmp_path).aq("diff", "HEAD~1..HEAD").out
    for cell in ("0.1234567 → 0.1234568", "0.0 → −0.0", "– → nan", "1 → inf"):
        assert f"x: {cell}" in told


def test_texts_and_means_that_look_alike_when_cut_do_not(tmp_path: Path) -> None:
    long = "a note of more than eighty characters, which is about what a customer writes on a good day"
    sides = (
        ["same", "", "a" * 30 + "b", long + " with tea"],
        ["same ", "x", "a" * 30 + "c", long + " with milk"],
    )
    with aq.init(tmp_path) as repo:
        for texts, number in zip(sides, (281.2079432854466, 281.2074710661167), strict=True):
            frame = pd.DataFrame({"id": range(4), "x": texts, "y": number})
            repo.commit({"t": frame}, message="x", keys={"t": ["id"]})
    shell = Shell(tmp_path)
    told = shell.aq("diff", "HEAD~1..HEAD").out
    for cell in (
        "x: “same” → “same ”", "x: “” → “x”", "…aaaaaaab → …aaaaaaac", "…y with tea → …y with milk",
    ):  # fmt: skip
        assert cell in told
    assert "281.208 → 281.207" in told
    cells = shell.data("diff", "HEAD~1..HEAD")["paths"][0]["detail"]["sample"][-1]
    assert cells["from"]["x"].endswith("day with tea") and cells["to"]["x"].endswith("day with milk")
    assert max(len(side["x"]) for side in (cells["from"], cells["to"])) <= 80


def test_a_file_that_is_no_table_any_more_says_why(tmp_path: Path) -> None:
    versions = [b"id,x\n1,2\n3,4\n", b"id,x\r\n1,2\r\n3,4\r\n", b"id,x\n1,2\n3,4,5\n", b"", b"id,x\n1,\xff\n"]
    with aq.init(tmp_path) as repo:
        for content in versions:
            (tmp_path / "t.csv").write_bytes(content)
            repo.add(["t.csv"])
            repo.commit(message="files")
    shell = Shell(tmp_path)
    assert shell.aq("diff", "HEAD~4..HEAD~3").out.splitlines()[-1] == "    rows: the same"
    lines = shell.aq("diff", "HEAD~3..HEAD~2").out.splitlines()
    assert lines[4].startswith("    no longer a table: cannot be read with pandas.read_csv: ")
    assert lines[4].endswith("Expected 2 fields in line 3, saw 3") and "    +3,4,5" in lines
    stat = shell.aq("diff", "--stat", "HEAD~3..HEAD~2").out
    assert stat.startswith("changed  t.csv  file  lines: 3 added, 3 removed, no longer a table\n")
    why = shell.data("diff", "HEAD~2..HEAD~4")["paths"][0]["detail"]["unreadable"]
    assert why["to"] is None and "Expected 2 fields" in why["from"]
    assert "    no table: cannot be read with" in shell.aq("diff", "HEAD~1..HEAD").out
    assert "    a table now, which it was not: " in shell.aq("diff", "HEAD..HEAD~4").out
