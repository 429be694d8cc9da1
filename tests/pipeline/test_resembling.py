"""What a new version of a value or result takes on the disk: about what changed in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import aq
import numpy as np
import pandas as pd
import pytest

ROWS = 200_000


def table(rows: int = ROWS) -> pd.DataFrame:
    source = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "price": source.normal(size=rows),
            "count": source.integers(0, 1000, rows),
            "name": source.choice(["alpha", "beta", "gamma", "delta"], rows),
        }
    )


BASE = table()
THINNED = BASE.drop(index=list(range(50, ROWS, 4001))).reset_index(drop=True)

FLOW = """
import aq, pandas as pd
@aq.op
def doubled(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(price=rows["price"] * 2)
@aq.flow
def prices():
    doubled(aq.read("rows.parquet"))
"""


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[aq.Repo]:
    with aq.init(tmp_path / "r") as repo:
        yield repo


def test_rows_gone_from_a_value_cost_little(repo: aq.Repo) -> None:
    first = repo.commit({"sales": BASE}, message="one")
    second = repo.commit({"sales": THINNED}, message="two")
    assert first.bytes.new > 2_000_000
    assert second.bytes.new < 60_000
    pd.testing.assert_frame_equal(repo.get("sales").load(), THINNED)
    pd.testing.assert_frame_equal(repo.get("main~1:sales").load(), BASE)
    assert repo.fsck(full=True).problems == []


def test_and_from_what_a_flow_reads_and_makes(repo: aq.Repo) -> None:
    (repo.root / "flow.py").write_text(FLOW)
    sizes = []
    for frame in (BASE, THINNED):
        frame.to_parquet(repo.root / "rows.parquet")
        before = repo.store.new_bytes()
        assert repo.run("flow.py").status == "committed"
        sizes.append(repo.store.new_bytes() - before - (repo.root / "rows.parquet").stat().st_size)
    assert sizes[0] > 2_000_000
    assert sizes[1] < 200_000
    assert repo.fsck(full=True).problems == []


def test_versions_in_a_row_stay_small_and_whole(repo: aq.Repo) -> None:
    frame = BASE
    for number in range(6):
        frame = frame.drop(index=[number * 7]).reset_index(drop=True)
        frame.loc[number * 1000, "price"] = 0.5
        done = repo.commit({"sales": frame}, message=str(number))
        assert number == 0 or done.bytes.new < 30_000
    for number in range(6):
        assert len(repo.get(f"main~{number}:sales").load()) == ROWS - 6 + number


def test_rows_appended_cost_themselves_not_the_segment_that_they_join(repo: aq.Repo) -> None:
    source = np.random.default_rng(2)
    noise = pd.DataFrame({"day": np.repeat(np.arange(300), 1_000), "x": source.normal(size=300_000)})
    end = 238_144  # in the middle of a long segment
    repo.commit({"days": noise[:end]}, message="one")
    grown = repo.commit({"days": noise[: end + 3_000]}, message="two")
    assert grown.bytes.new < 3_000 * 8 * 1.5
    pd.testing.assert_frame_equal(repo.get("days").load(), noise[: end + 3_000])
    assert repo.fsck(full=True).problems == []


WRITING = """
from pathlib import Path
import aq
@aq.op
def report(times: int):
    place = Path("report.csv").absolute()
    lines = [f"{number},{number * 7919 % 100_003}" for number in range(40_000) if number % times]
    place.write_text("\\n".join(lines))
    return place
@aq.flow
def reports(times: int = 1_000):
    report(times)
"""


def test_a_file_that_an_op_makes_costs_what_changed(repo: aq.Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo.root)
    (repo.root / "flow.py").write_text(WRITING)
    sizes = []
    for times in (1_000, 1_001):
        before = repo.store.new_bytes()
        assert repo.run("flow.py", params={"times": times}).status == "committed"
        sizes.append(repo.store.new_bytes() - before)
    assert sizes[0] > 150_000 and sizes[1] < 30_000
    assert repo.fsck(full=True).problems == []
