"""Make a golden repository with the whole product: `python -m tests.golden.make_product FOLDER`.

What it holds depends on the Python and the libraries that make it (a run records them), so it is made
once per format version, committed, and only ever opened afterwards.
"""

from __future__ import annotations

import json
import shutil
import sys
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from aq.pipeline.change.context import Context
from aq.pipeline.look.face import Artifact
from aq.pipeline.records.results import ShowRevision
from aq.pipeline.repo import Repo

HERE = Path(__file__).parent
FLOW = """
import aq
import pandas as pd


@aq.op(key=["id"])
def load(raw: pd.DataFrame) -> pd.DataFrame:
    print("rows", len(raw))
    return raw.assign(double=raw["x"] * 2)


@aq.op(outputs=("low", "high"))
def split(frame: pd.DataFrame, at: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    return frame[frame["x"] < at], frame[frame["x"] >= at]


@aq.metric(better="lower")
def share(low: pd.DataFrame, high: pd.DataFrame) -> dict[str, float]:
    return {"low": len(low) / (len(low) + len(high)), "rows": len(low) + len(high)}


@aq.check
def enough(share: dict) -> bool:
    return share["rows"] >= 3


@aq.flow
def shop(at: float = 2.5):
    low, high = split(load(aq.read("data/x.csv")), at)
    enough(share(low, high))
"""


def context(folder: Path) -> Context:
    """A clock that begins with 2026 and ticks a second a look."""
    ticks = count(1_767_225_600_000_000_000, 1_000_000_000)
    author = "Ada Lovelace <ada@example.org>"
    return Context(
        now=lambda: next(ticks), offset=lambda now: 60, cwd=folder, user="ada@golden", author=author
    )


def frame() -> pd.DataFrame:
    """A table with most kinds of columns."""
    return pd.DataFrame(
        {
            "id": [1, 2, 3],
            "x": [0.5, None, -0.0],
            "name": ["a", None, "ü"],
            "when": pd.to_datetime(["2026-01-01", None, "2026-01-03"]).tz_localize("Europe/Paris"),
            "kind": pd.Categorical(["p", "q", "p"], categories=["q", "p"], ordered=True),
            "many": pd.array([1, None, 3], dtype="Int64"),
            "ok": [True, False, True],
        },
        index=pd.Index([10, 20, 30], name="key"),
    )


def values() -> dict[str, Any]:
    """Values that need no library of a certain version to be read again."""
    return {
        "table": frame(),
        "array": np.arange(6, dtype="<f4").reshape(2, 3),
        "plain": {"b": [1, 1.0, None, True], "a": "ü"},
        "raw": b"\x00\xff",
        "text": "line\n",
    }


def make(folder: Path) -> None:
    """Fill a folder: files, values, two runs, a failed and a gated one, a branch, a tag, an undo."""
    repo = Repo.create(folder, context(folder))
    (folder / "data").mkdir()
    (folder / "data" / "x.csv").write_text("id,x\n1,1\n2,2\n3,3\n4,4\n")
    (folder / "big.bin").write_bytes(bytes(range(256)) * 1200)
    (folder / "flow.py").write_text(FLOW)
    repo.add(["big.bin"])
    repo.commit(message="a file of several chunks")
    repo.commit(values(), message="values", keys={"table": ["id"]})
    repo.run("flow.py", tag="v1")
    (folder / "data" / "x.csv").write_text("id,x\n1,1\n2,9\n3,3\n5,5\n")
    repo.run("flow.py", params={"at": 4})
    repo.branch("add", "kept")
    (folder / "data" / "x.csv").write_text("id,x\n1,1\n")
    repo.run()
    (folder / "data" / "x.csv").write_text("id,y\n1,1\n")
    repo.run()
    repo.remove(["raw"])
    repo.undo()
    repo.close()


def told(repo: Repo) -> dict[str, Any]:
    """What the repository says of itself."""
    from aq.cli.render import encode

    shown = repo.show("HEAD")
    assert isinstance(shown, ShowRevision)
    plain = {
        "log": list(repo.log()),
        "ls": repo.ls(),
        "runs": repo.runs(),
        "steps": repo.steps("v1"),
        "metrics": repo.metrics(),
        "lineage": repo.lineage("shop/share"),
        "summaries": {entry.path: repo.show(f"HEAD:{entry.path}") for entry in repo.ls()},
        "params": shown.run.params if shown.run else None,
    }
    found: dict[str, Any] = json.loads(encode(plain))
    return found


def same(artifact: Artifact, value: Any) -> bool:
    """Whether an artifact loads as this value."""
    found = artifact.load()
    if isinstance(value, pd.DataFrame):
        pd.testing.assert_frame_equal(found, value)
        return True
    if isinstance(value, np.ndarray):
        return bool(found.dtype == value.dtype and (found == value).all())
    return bool(found == value and type(found) is type(value))


def renew() -> None:
    """Make it anew, with what it says, beside this file."""
    target = HERE / "product"
    shutil.rmtree(target, ignore_errors=True)
    with TemporaryDirectory() as folder:
        make(Path(folder))
        with Repo.find(Path(folder), context(Path(folder))) as repo:
            (HERE / "product.json").write_text(json.dumps(told(repo), indent=1, sort_keys=True) + "\n")
        shutil.copytree(Path(folder) / ".aq" / "packs", target / "packs")
        shutil.copy(Path(folder) / ".aq" / "format", target / "format")


if __name__ == "__main__":
    renew() if len(sys.argv) < 2 else make(Path(sys.argv[1]))
