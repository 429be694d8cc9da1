"""Make a golden repository of tables that grow and change: `python -m tests.golden.make_growing FOLDER`.

Its chunks lie in every way that a pack knows (docs/format.md, 4.2): in full, as byte planes, as words, as
copies of one base or of several pieces, against a dictionary; last nodes of lists as copies of chunks. How a
writer chooses may change, so that it is made once and only ever opened; the ids are the same for ever.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from aq.pipeline.repo import Repo
from blake3 import blake3

from tests.golden.make_product import HERE, context


def noise(name: str, rows: int, below: int) -> np.ndarray:
    """Numbers below a bound, always the same: of no generator that may change."""
    found = np.frombuffer(blake3(name.encode()).digest(length=4 * rows), "<u4")
    return (found % below).astype(np.int64)


def sales(rows: int) -> pd.DataFrame:
    """The first rows of a shop: times, texts that come again, prices of a list, amounts, remarks."""
    at = np.arange(rows)
    product = noise("product", rows, 400) * noise("rare", rows, 9) // 3
    return pd.DataFrame(
        {
            "time": (np.datetime64("2026-01-01", "us") + at * 61_000_000 + noise("time", rows, 60_000_000)),
            "product": pd.array([f"No. {one:04} of the list, blue" for one in product], dtype="str"),
            "price": (product * 7919 % 10_007) / 100,
            "amount": noise("amount", rows, 5),
            "weight": noise("weight", rows, 1 << 12) / 8,
        }
    )


def ticks(rows: int) -> pd.DataFrame:
    """Rows of so many segments that the lists of them have nodes worth a delta."""
    at = np.arange(rows)
    return pd.DataFrame({"id": at * 3, "even": pd.array(np.where(at % 2, "no", "yes"), dtype="str")})


def edited(frame: pd.DataFrame) -> pd.DataFrame:
    """Three rows less, some prices raised."""
    frame = frame.drop(index=[17, 1_234, 4_321]).reset_index(drop=True)
    frame.loc[100:140, "price"] += 1
    return frame


def versions() -> Iterator[dict[str, pd.DataFrame]]:
    """What each commit holds: appends, edits of a table that grew and of one that did not, a new column."""
    for month in range(15):
        long = ticks(300_000 + 1_000 * min(month, 4))
        yield {"sales": sales(4_000 + 1_300 * month), "ticks": long, "whole": sales(9_000)}
    grown = edited(sales(4_000 + 1_300 * 14))
    yield {"sales": grown, "whole": edited(sales(9_000))}
    yield {
        "sales": grown.assign(
            weight=grown["weight"].round(1), amount=grown["amount"] ^ (grown.index % 97 == 0)
        )
    }


def make(folder: Path) -> None:
    """Commit all versions."""
    with Repo.create(folder, context(folder)) as repo:
        for number, tables in enumerate(versions()):
            repo.commit(tables, message=f"version {number}")


def ids(repo: Repo) -> list[dict[str, str]]:
    """The artifacts of each commit, the first one first."""
    return [{entry.path: entry.id for entry in repo.ls(str(commit.id))} for commit in repo.log()][::-1]


def renew() -> None:
    """Make it anew, with the ids of its tables, beside this file."""
    target = HERE / "growing"
    shutil.rmtree(target, ignore_errors=True)
    with TemporaryDirectory() as folder:
        make(Path(folder))
        with Repo.find(Path(folder), context(Path(folder))) as repo:
            (HERE / "growing.json").write_text(json.dumps(ids(repo), indent=1, sort_keys=True) + "\n")
        shutil.copytree(Path(folder) / ".aq" / "packs", target / "packs")
        shutil.copy(Path(folder) / ".aq" / "format", target / "format")


if __name__ == "__main__":
    renew() if len(sys.argv) < 2 else make(Path(sys.argv[1]))
