"""What modules read while they are imported: a run with nothing else to do sees that it changed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from aq.pipeline.code.load import Project

from tests.pipeline.test_hidden_reads import aq, ran

FLOW = """
import glob, pathlib
import aq
import pandas as pd, polars as pl, pyarrow.parquet as pq
from importlib.metadata import version
from polars import read_csv

FAR = open(FOLDER + "/far.txt").read()
NATIVE = read_csv(FOLDER + "/far.csv").to_dicts()
NEAR = pl.read_csv("near.csv").to_dicts()
TABLE = pq.read_table(FOLDER + "/far.parquet").to_pydict()
NAMES = sorted(glob.glob(FOLDER + "/many/*"))
try:
    ABSENT = pathlib.Path("settings.txt").read_text()
except FileNotFoundError:
    ABSENT = "none"
VERSION = version("polars")

@aq.op
def everything():
    return FAR, NATIVE, NEAR, TABLE, NAMES, ABSENT, VERSION, read_csv.__name__

@aq.op
def nothing():
    return 1

@aq.flow
def f():
    everything()
    nothing()
"""


def far_files(far: Path) -> dict[str, Path]:
    (far / "many").mkdir(exist_ok=True)
    (far / "far.txt").write_text("1")
    (far / "far.csv").write_text("a\n1\n")
    pd.DataFrame({"a": [1]}).to_parquet(far / "far.parquet")
    return {name: far / name for name in ("far.txt", "far.csv", "far.parquet")}


def test_a_run_with_nothing_else_to_do_sees_what_an_import_reads(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    far = tmp_path_factory.mktemp("far")
    (tmp_path / "flow.py").write_text(FLOW.replace("FOLDER", repr(str(far))))
    (tmp_path / "near.csv").write_text("a\n1\n")
    files = far_files(far)
    aq(tmp_path, "init")
    assert set(ran(aq(tmp_path, "run", "flow.py")).values()) == {"run"}
    assert aq(tmp_path, "run")[-1]["status"] == "unchanged"

    def change(path: Path) -> None:
        if path.suffix == ".parquet":
            pd.DataFrame({"a": [2]}).to_parquet(path)
        else:
            path.write_text("a\n2\n")

    for path in [*files.values(), tmp_path / "near.csv", tmp_path / "settings.txt", far / "many" / "x"]:
        change(path)
        if path in (files["far.txt"], far / "many" / "x"):
            stale = aq(tmp_path, "status")[0]["data"]["flows"][0]["stale"]
            assert [one["step"] for one in stale if one["step"] is None]
        states = ran(aq(tmp_path, "run"))
        assert states == {"everything": "run", "nothing": "reused"}, path
    assert aq(tmp_path, "run")[-1]["status"] == "unchanged"


def test_a_module_keeps_the_reader_itself(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    import polars

    monkeypatch.chdir(tmp_path)

    far = tmp_path_factory.mktemp("far")
    (tmp_path / "flow.py").write_text(FLOW.replace("FOLDER", repr(str(far))))
    (tmp_path / "near.csv").write_text("a\n1\n")
    far_files(far)
    reader = polars.read_csv
    project = Project(tmp_path)
    module = project.load("flow.py")
    assert module.read_csv is reader is polars.read_csv
    outside = {path for path in project.looked if path.startswith("/")}
    assert outside == {f"{far}/far.txt", f"{far}/far.csv", f"{far}/far.parquet", f"{far}/many/"}


CALLED = """
import json
import aq
import pandas as pd, pyarrow.parquet as pq

@aq.op
def scaled(x, reader=None):
    return x if reader is None else reader.__name__

@aq.op
def nothing():
    return 1

@aq.flow
def f():
    with open("settings.json") as file:
        scaled(json.load(file) + pq.read_table("table.parquet")["a"][0].as_py(), pq.read_table)
    nothing()
"""


def test_a_run_with_nothing_else_to_do_sees_what_a_flow_reads(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(CALLED)
    (tmp_path / "settings.json").write_text("1")
    pd.DataFrame({"a": [10]}).to_parquet(tmp_path / "table.parquet")
    aq(tmp_path, "init")
    assert set(ran(aq(tmp_path, "run", "flow.py")).values()) == {"run"}
    assert aq(tmp_path, "run")[-1]["status"] == "unchanged"
    held = {one["path"] for one in aq(tmp_path, "ls")[0]["data"] if one["origin"] == "file"}
    assert held == {"flow.py", "settings.json", "table.parquet"}
    (tmp_path / "settings.json").write_text("2")
    assert aq(tmp_path, "status")[0]["data"]["flows"][0]["stale"]
    assert ran(aq(tmp_path, "run")) == {"scaled": "run", "nothing": "reused"}
    assert aq(tmp_path, "repro", "HEAD")[0]["data"]["verdict"] == "identical"
    pd.DataFrame({"a": [20]}).to_parquet(tmp_path / "table.parquet")
    assert ran(aq(tmp_path, "run")) == {"scaled": "run", "nothing": "reused"}
    assert aq(tmp_path, "run")[-1]["status"] == "unchanged"


def test_a_star_import_counts_with_what_it_offers(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(
        "import aq\nX = 0\nfrom k import *\n@aq.op\ndef one():\n    return X\n@aq.flow\ndef f():\n    one()\n"
    )
    (tmp_path / "k.py").write_text("__all__ = ['X']\nX = 1\n")
    aq(tmp_path, "init")
    aq(tmp_path, "run", "flow.py")
    for text, states in (("__all__ = []\nX = 1\n", {"one": "run"}), ("X = 1\n", {"one": "reused"})):
        (tmp_path / "k.py").write_text(text)
        assert aq(tmp_path, "status")[0]["data"]["flows"][0]["stale"], text
        done = aq(tmp_path, "run")
        assert (ran(done), done[-1]["status"]) == (
            states,
            "committed",
        )  # an empty list hides X; none shows it
