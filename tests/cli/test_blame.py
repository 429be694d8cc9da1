"""`aq blame`: what a person reads and what a script gets."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.contract import KEYS, has_keys
from tests.cli.shell import Shell

VALUES = """
import aq, pandas as pd
repo = aq.open()
frame = pd.DataFrame({"id": range(100), "delay": [float(i % 7) for i in range(100)]})
repo.commit({"sales": frame}, message="as it came", keys={"sales": ["id"]})
frame.loc[10:19, "delay"] = -1.0
repo.commit({"sales": frame}, message="fix ten", keys={"sales": ["id"]})
frame.loc[frame["id"] % 2 == 0, "delay"] = 0.0
repo.commit({"odd": frame}, message="another", keys={"odd": ["id"]})
frame.loc[frame["id"] % 4 == 0, "delay"] = 1.0
repo.commit({"odd": frame}, message="many ranges", keys={"odd": ["id"]})
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A file with two commits, and two tables. Read only."""
    shell = Shell(tmp_path_factory.mktemp("blame"))
    shell.aq("init")
    shell.commit("a.txt", "one\ntwo\nthree\n", "first")
    shell.commit("a.txt", "one\nzwei\nthree\n", "second")
    subprocess.run([sys.executable, "-c", VALUES], cwd=shell.folder, check=True)
    return shell


def test_a_table_by_columns_and_ranges_of_its_key(shell: Shell) -> None:
    lines = shell.aq("blame", "sales").out.splitlines()
    assert lines[0].startswith("sales at ") and lines[0].endswith(": 100 rows, key id")
    told = [line.split("  ") for line in lines[lines.index("Columns:") + 1 :][:2]]
    assert [[part.strip() for part in row if part.strip()][-3:] for row in told] == [
        ["as it came", "added", "id"],
        ["fix ten", "changed in 10 rows", "delay"],
    ]
    spans = [line.strip().split("  ")[3:] for line in lines[lines.index("Rows:") + 1 :]]
    assert [[part.strip() for part in span if part] for span in spans] == [
        ["id=0 … id=9", "10 rows", "as it came"],
        ["id=10 … id=19", "10 rows", "fix ten"],
        ["id=20 … id=99", "80 rows", "as it came"],
    ]
    assert (
        shell.aq("blame", "sales", "--column", "id").out.splitlines()[0].startswith("column id of sales at ")
    )


def test_many_ranges_are_summed_up(shell: Shell) -> None:
    text = shell.aq("blame", "odd").out
    assert "75 rows  in 25 ranges  another" in text and "25 rows  in 25 ranges  many ranges" in text
    assert "all 50 ranges: aq blame -v" in text
    assert len(shell.aq("blame", "odd", "-v").out.splitlines()) > 50


def test_text_line_by_line(shell: Shell) -> None:
    ids = [one["id"][:8] for one in shell.data("log", "--", "a.txt")]
    lines = shell.aq("blame", "a.txt").out.splitlines()
    assert [(line[:8], line.split()[-2:]) for line in lines] == [
        (ids[1], ["1", "one"]), (ids[0], ["2", "zwei"]), (ids[1], ["3", "three"])
    ]  # fmt: skip


def test_json(shell: Shell) -> None:
    found = shell.data("blame", "sales")
    has_keys(found, KEYS["blame"])
    assert {one["commit"] for one in found["ranges"]} <= found["commits"].keys()


def test_what_is_unknown_is_said(shell: Shell) -> None:
    unknown = shell.aq("blame", "sales", "--column", "x", code=2).err.splitlines()
    assert unknown[0].startswith("error: no column 'x'; the table has ")
    assert unknown[1:] == ["hint: aq blame sales"]
    assert "did you mean sales" in shell.aq("blame", "sale", code=2).err
