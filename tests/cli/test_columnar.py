"""A tracked Parquet file costs its own bytes: aq says so when one is tracked, and when a version did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cli.shell import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path)
    shell.aq("init")
    return shell


def write(path: Path, seed: int, rows: int) -> None:
    values = np.random.default_rng(seed).normal(size=rows)
    pd.DataFrame({"x": values}).to_parquet(path, compression="zstd")


def test_it_is_said_when_a_file_is_tracked(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "sales.parquet", 1, 10)
    told = (
        "note: data/sales.parquet is kept as a file: each version costs its own bytes; "
        'a table as a value costs what changed in it: repo.commit({"data/sales": frame})\n'
    )
    assert shell.aq("add", "data").err == told
    assert shell.aq("add", "data").err == ""
    (tmp_path / "more").mkdir()
    write(tmp_path / "more" / "b.parquet", 1, 10)
    write(tmp_path / "more" / "c.PQ", 1, 10)
    (tmp_path / "more" / "d.csv").write_text("a\n1\n")
    assert shell.aq("add", "more").err.startswith("note: more/b.parquet and 1 more are kept as files: each")
    (tmp_path / "e.csv").write_text("a\n1\n")
    assert shell.aq("add", "e.csv").err == ""


def test_it_is_said_when_a_version_cost_them(shell: Shell, tmp_path: Path) -> None:
    for seed in (1, 2):
        write(tmp_path / "sales.parquet", seed, 200_000)
        write(tmp_path / "small.parquet", seed, 10)
        shell.aq("add", "sales.parquet", "small.parquet")
        done = shell.aq("commit", "-m", "all")
    assert done.err == (
        "note: sales.parquet and 1 more are kept as files: this version cost its own bytes again; "
        'a table as a value costs what changed in it: repo.commit({"sales": frame})\n'
    )
    write(tmp_path / "small.parquet", 3, 10)
    assert shell.aq("commit", "-m", "a small one").err == ""
    assert shell.data("commit", "-m", "nothing")["notes"] == []


def test_it_is_said_once_when_a_run_tracks_a_file(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "import aq\nimport pandas as pd\n\n@aq.op\ndef total(sales: pd.DataFrame) -> float:\n"
        '    return float(sales["x"].sum())\n\n@aq.flow\ndef shop():\n    total(aq.read("sales.parquet"))\n'
    )
    write(tmp_path / "sales.parquet", 1, 10)
    told = "note: sales.parquet is kept as a file: each version costs its own bytes; "
    assert told in shell.aq("run", "shop.py").err
    write(tmp_path / "sales.parquet", 2, 10)
    assert told not in shell.aq("run").err
