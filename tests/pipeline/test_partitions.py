"""Partitions of a flow: what each run replaces, what is run again, and what all of them are together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from aq.formats.errors import NotFound, UsageError
from aq.pipeline.flow.ops import Flow
from aq.pipeline.repo import Repo

from tests.pipeline.repository import create

FLOW = """
import aq
import pandas as pd

@aq.op
def rates() -> dict:
    return {"x": 2}

@aq.op
def clean(rows: pd.DataFrame, month: str) -> pd.DataFrame:
    return rows[rows["m"] == month]

@aq.op
def predictions(rows: pd.DataFrame, rates, depth: int) -> pd.DataFrame:
    return rows[["v"]].reset_index(drop=True) * rates["x"] * depth

@aq.metric(better="higher")
def auc(predictions) -> float:
    return float(predictions["v"].sum())

@aq.check
def enough(auc: float) -> bool:
    return auc > 0

@aq.flow(partition="month")
def delays(month: str, depth: int = 1):
    rows = clean(aq.read("data.csv"), month)
    enough(auc(predictions(rows, rates(), depth)))
"""
REPORT = """
import aq
import pandas as pd

@aq.op
def mean(rows: pd.DataFrame) -> float:
    return float(rows["v"].mean())

@aq.op
def best(aucs: dict) -> str:
    return max(aucs, key=aucs.get)

@aq.flow
def report():
    mean(aq.read("delays/*/predictions"))
    best(aq.read("delays/*/auc"))
"""
ROWS = "m,v\n2026-02,1\n2026-03,5\n2026-03,6\n2026-10,3\n"


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    (tmp_path / "flow.py").write_text(FLOW)
    (tmp_path / "data.csv").write_text(ROWS)
    monkeypatch.chdir(tmp_path)
    return create(tmp_path)


def run(repo: Repo, target: str | None = None, **asked: Any) -> dict[str, str]:
    """{step: what became of it} of one `aq run`."""
    events: dict[str, str] = {}

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            events[event["step"]] = event["status"]

    repo.run(target, on_event=hear, **asked)
    return events


def months(repo: Repo, *names: str) -> None:
    for name in names:
        run(repo, "flow.py", params={"month": name})


def ran(events: dict[str, str]) -> list[str]:
    return [step for step, status in events.items() if status == "run"]


def edit(repo: Repo, old: str, new: str, file: str = "flow.py") -> None:
    text = (repo.root / file).read_text()
    assert old in text
    (repo.root / file).write_text(text.replace(old, new))


def made(repo: Repo, rev: str = "HEAD") -> list[str]:
    return [one.path for one in repo.ls(rev) if one.origin == "made"]


def test_a_run_replaces_its_partition_alone_and_shares_what_does_not_depend_on_it(repo: Repo) -> None:
    months(repo, "2026-02")
    before = {one.path: one.id for one in repo.ls() if one.origin == "made"}
    events = run(repo, "flow.py", params={"month": "2026-03"})
    assert events["delays/month=2026-03/rates"] == "reused"
    assert events["delays/month=2026-03/clean"] == "run"
    now = {one.path: one.id for one in repo.ls() if one.origin == "made"}
    assert {path: now[path] for path in before} == before
    assert {path.split("/")[1] for path in now} == {"month=2026-02", "month=2026-03"}
    assert repo.log()[0].metrics == {"delays/month=2026-02/auc": 2.0, "delays/month=2026-03/auc": 22.0}
    assert repo.log()[0].checks["delays/month=2026-02/enough"] == "passed"


def test_a_run_without_a_file_runs_what_changed_and_tells_how_many_rest(repo: Repo) -> None:
    months(repo, "2026-02", "2026-03", "2026-10")
    plan: Any = repo.run("flow.py", params={"month": "2026-12"}, dry_run=True)
    assert [one.detail for one in plan.steps[0].reasons] == ["new partition"]
    (repo.root / "data.csv").write_text(ROWS.replace("2026-02,1", "2026-02,9"))
    stale = {one.partition: bool(one.stale) for one in repo.status().flows}
    assert stale == {"month=2026-02": True, "month=2026-03": True, "month=2026-10": True}
    events = run(repo)
    assert [step for step in ran(events) if not step.endswith("/clean")] == [
        f"delays/month=2026-02/{name}" for name in ("predictions", "auc", "enough")
    ]
    [done] = repo.run()
    assert (done.status, done.partition) == ("unchanged", "month=2026-10")
    assert done.notes == ["2 other partitions of delays had nothing to do"]
    plan = repo.run(dry_run=True)
    assert {one.action for one in plan.steps} == {"reuse"} and plan.notes == done.notes


def test_params_are_kept_by_partition_and_what_is_at_rest_is_left_out(repo: Repo) -> None:
    months(repo, "2026-02", "2026-03")
    run(repo, params={"month": "2026-02", "depth": "4"})
    assert repo.get("delays/month=2026-02/auc").load() == 8
    events = run(repo, params={"month": "2026-10"})
    assert {step.split("/")[1] for step in events} == {"month=2026-10"}
    edit(repo, "* depth", "* depth * 2")
    plan: Any = repo.run(dry_run=True)
    assert [one.step for one in plan.steps if one.action == "run"][0] == "delays/month=2026-02/predictions"
    run(repo)
    assert [value.load() for value in _each(repo, "auc")] == [16, 44, 12]
    assert [one.params["depth"] for one in repo.runs()[:3]] == [1, 1, 4]


def _each(repo: Repo, name: str) -> list[Any]:
    return [repo.get(path) for path in made(repo) if path.endswith("/" + name)]


def test_a_new_partition_runs_though_all_else_with_that_param_is_settled(repo: Repo) -> None:
    plain = "import aq\n\n@aq.op\ndef text(month: str) -> str:\n    return month\n\n"
    (repo.root / "plain.py").write_text(f"{plain}@aq.flow\ndef plain(month: str):\n    text(month)\n")
    months(repo, "2026-02")
    run(repo, "plain.py", params={"month": "2026-03"})
    events = run(repo, params={"month": "2026-03"})
    assert "delays/month=2026-03/auc" in events


def test_one_partition_that_is_stale_runs_alone(repo: Repo) -> None:
    edit(repo, 'aq.read("data.csv")', 'aq.read(f"{month}.csv")')
    for month in ("2026-02", "2026-03"):
        (repo.root / f"{month}.csv").write_text(ROWS)
    months(repo, "2026-02", "2026-03")
    (repo.root / "2026-02.csv").write_text(ROWS.replace("2026-02,1", "2026-02,9"))
    done: Any = repo.run()
    assert [(one.partition, one.status) for one in done] == [("month=2026-02", "committed")]
    assert done[0].notes == ["1 other partition of delays had nothing to do"]
    assert repo.log()[0].metrics["delays/month=2026-03/auc"] == 22.0


def test_all_partitions_at_once(repo: Repo) -> None:
    months(repo, "2026-10", "2026-02", "2026-03")
    table = repo.get("delays/*/predictions")
    expected = pd.DataFrame({"v": [2, 10, 12, 6], "month": ["2026-02", "2026-03", "2026-03", "2026-10"]})
    pd.testing.assert_frame_equal(table.load(), expected)
    assert table.to_arrow().column_names == ["v", "month"]
    assert (
        repo.cat("HEAD:delays/month=2026-0*/predictions") == b"v,month\n2,2026-02\n10,2026-03\n12,2026-03\n"
    )
    assert repo.get("delays/*/auc").load() == {"2026-02": 2.0, "2026-03": 22.0, "2026-10": 6.0}
    with pytest.raises(NotFound, match="no partition has"):
        repo.get("delays/*/nothing")


ZIPS = """
import aq
import enum
import pandas as pd

class Size(enum.Enum):
    true = 1
    false = 2

@aq.op
def rows(zip: str, year: int, day: str, size: Size) -> pd.DataFrame:
    return pd.DataFrame({"v": [len(zip)]})

@aq.flow(partition=("zip", "year", "day", "size"))
def by_zip(zip: str, year: int, day: str = "2026-03-01", size: Size = Size.true):
    rows(zip, year, day, size)
"""
ALL_ZIPS = """
import aq
import pandas as pd

@aq.op
def kinds(rows: pd.DataFrame) -> dict:
    return {name: str(column.dtype) for name, column in rows.items()}

@aq.flow
def zips():
    kinds(aq.read("by_zip/*/rows"))
"""


def test_a_param_that_is_a_text_is_one_in_all_partitions_whatever_it_looks_like(repo: Repo) -> None:
    (repo.root / "flow.py").write_text(ZIPS)
    (repo.root / "zips.py").write_text(ALL_ZIPS)
    run(repo, "flow.py", params={"zip": "10115", "year": 2025})
    run(repo, "zips.py")
    run(repo, "flow.py", params={"zip": "20095", "year": "2026", "size": "false"})
    table = repo.get("by_zip/*/rows").load()
    assert list(table["zip"]) == ["10115", "20095"] and list(table["year"]) == [2025, 2026]
    assert list(table["day"]) == ["2026-03-01"] * 2 and list(table["size"]) == ["true", "false"]
    kinds = dict(table.dtypes.astype(str))
    assert repo.get("zips/kinds").load() == kinds and kinds["year"] == "int64"
    assert any(one.stale for one in repo.status().flows if one.flow == "zips")
    run(repo)
    assert not any(one.stale for one in repo.status().flows)
    assert {one.status for one in repo.run()} == {"unchanged"}
    edit(repo, "[len(zip)]", "[year]")
    run(repo)
    assert repo.get("zips/kinds").load() == kinds, "by the runs of the same command"
    assert repo.get("run:last:zips/kinds").load() == kinds
    assert list(repo.get("HEAD~1:by_zip/*/rows").load()["zip"]) == ["10115", "20095"]
    assert list(repo.get("run:last:by_zip/*/rows").load()["zip"]) == ["10115", "20095"]
    assert repo.repro("HEAD:zips/kinds").verdict == "identical"
    assert [one.params["zip"] for one in repo.runs(flow="by_zip")][:1] == ["20095"]
    assert repo.fsck(full=True).problems == []


def test_another_flow_reads_all_partitions_and_comes_after_them(repo: Repo) -> None:
    (repo.root / "report.py").write_text(REPORT)
    months(repo, "2026-02", "2026-03")
    run(repo, "report.py")
    assert repo.get("report/mean").load() == 8.0 and repo.get("report/best").load() == "2026-03"
    assert not any(one.stale for one in repo.status().flows)
    assert {one.status for one in repo.run()} == {"unchanged"}
    plan: Any = repo.run(params={"month": "2026-10"}, dry_run=True)
    assert [one.action for one in plan.steps if one.step.startswith("report/")] == ["run", "run"]
    events = run(repo, params={"month": "2026-10"})
    assert list(events)[-1].startswith("report/") and events["report/mean"] == "run"
    assert repo.get("report/mean").load() == 7.5
    tree: Any = repo.lineage("report/mean")
    assert [one.path for one in tree.inputs[0].inputs] == [
        f"delays/month={month}/predictions" for month in ("2026-02", "2026-03", "2026-10")
    ]
    used: Any = repo.lineage("delays/month=2026-02/predictions", downstream=True)
    assert "report/mean" in {one.path for one in used.used_by}
    assert repo.log()[0].id and repo.show().snapshot
    assert repo.repro("HEAD:report/mean").verdict == "identical"


def test_a_removed_partition_is_gone_and_comes_back_with_undo(repo: Repo) -> None:
    (repo.root / "report.py").write_text(REPORT)
    months(repo, "2026-02", "2026-03")
    run(repo, "report.py")
    assert repo.remove("delays/month=2026-03").removed == ["delays/month=2026-03"]
    assert not [path for path in made(repo) if "2026-03" in path]
    assert repo.log()[0].metrics == {"delays/month=2026-02/auc": 2.0}
    assert [one.flow for one in repo.status().flows if one.stale] == ["report"]
    repo.undo()
    assert [path for path in made(repo) if "2026-03" in path]
    assert not any(one.stale for one in repo.status().flows)
    repo.remove("delays/month=*-03")
    events = run(repo)
    assert "delays/month=2026-03/clean" not in events and repo.get("report/best").load() == "2026-02"
    run(repo, params={"month": "2026-03"})
    assert repo.get("report/best").load() == "2026-03"


@pytest.mark.parametrize("now", ["", '(partition=("country", "month"))'])
def test_another_declaration_leaves_no_zombies(repo: Repo, now: str) -> None:
    months(repo, "2026-02", "2026-03")
    edit(repo, '@aq.flow(partition="month")', f"@aq.flow{now}")
    edit(repo, "month: str, depth: int = 1", 'month: str, depth: int = 1, country: str = "de"')
    run(repo)
    wanted = {"delays/country=de/month=2026-02", "delays/country=de/month=2026-03"} if now else {"delays"}
    assert {path.rpartition("/")[0] for path in made(repo)} == wanted
    assert {one.status for one in repo.run()} == {"unchanged"}
    assert len(repo.status().flows) == len(wanted)
    edit(repo, f"@aq.flow{now}", '@aq.flow(partition="month")')
    run(repo, "flow.py", params={"month": "2026-03"})
    assert {path.rpartition("/")[0] for path in made(repo)} == {"delays/month=2026-03"}


def test_a_declaration_that_changes_in_a_constant_is_seen(repo: Repo) -> None:
    edit(repo, '@aq.flow(partition="month")', 'PARTS = "month"\n\n@aq.flow(partition=PARTS)')
    months(repo, "2026-02")
    assert not any(one.stale for one in repo.status().flows)
    edit(repo, 'PARTS = "month"', "PARTS = ()")
    assert all(one.stale for one in repo.status().flows)
    run(repo)
    assert {path.split("/")[1] for path in made(repo)} == {"rates", "clean", "predictions", "auc", "enough"}


def test_a_failing_check_of_one_partition_moves_nothing(repo: Repo) -> None:
    months(repo, "2026-02")
    head = repo.log()[0].id
    [done] = repo.run("flow.py", params={"month": "2026-05"})
    assert done.status == "gated" and repo.log()[0].id == head
    assert made(repo) == [path for path in made(repo) if "2026-02" in path]
    assert repo.get("run:last:delays/month=2026-05/auc").load() == 0
    repo.commit(run="run:last")
    assert {path.split("/")[1] for path in made(repo)} == {"month=2026-02", "month=2026-05"}
    assert repo.run("flow.py", params={"month": "2026-06"}, accept=["enough"], message="new")
    assert repo.log()[0].checks["delays/month=2026-06/enough"] == "accepted"
    assert {one.status for one in repo.run()} == {"unchanged"}


def gated(repo: Repo, *months: str) -> None:
    """Partitions of HEAD whose check `enough` now fails: there is nothing in them."""
    text = "".join(f"{month},1\n" for month in months)
    (repo.root / "data.csv").write_text(f"m,v\n2026-12,1\n{text}")
    for month in months:
        run(repo, "flow.py", params={"month": month})
    (repo.root / "data.csv").write_text("m,v\n2026-12,1\n")


@pytest.mark.parametrize(
    ("names", "accepted"),
    [
        (["enough"], ["2026-02", "2026-03"]),
        (["delays/month=2026-03/enough"], ["2026-03"]),
        (["month=2026-02/enough"], ["2026-02"]),
        (["delays/*2/enough"], ["2026-02"]),
    ],
)
def test_a_check_is_accepted_in_all_partitions_or_in_the_one_that_is_named(
    repo: Repo, names: list[str], accepted: list[str]
) -> None:
    gated(repo, "2026-02", "2026-03")
    done: Any = repo.run(accept=names, message="no flights")
    assert {one.partition[6:]: one.status for one in done} == {
        month: "committed" if month in accepted else "gated" for month in ("2026-02", "2026-03")
    }
    state = {f"delays/month={month}/enough": "accepted" for month in accepted}
    assert {k: v for k, v in repo.log()[0].checks.items() if v != "passed"} == state
    assert {one.check: one.accepted for one in repo.checks() if one.accepted} == {
        f"delays/month={month}/enough": "Ada <ada@example.org>: no flights" for month in accepted
    }


def test_a_name_that_means_no_check_or_two_is_told_before_anything_runs(repo: Repo) -> None:
    (repo.root / "other.py").write_text(
        "import aq\n\n@aq.check\ndef enough() -> bool:\n    return False\n\n"
        "@aq.flow\ndef other():\n    enough()\n"
    )
    (repo.root / "third.py").write_text(
        "import aq\n\n@aq.check\ndef own() -> bool:\n    return False\n\n@aq.flow\ndef third():\n    own()\n"
    )
    run(repo, "other.py", accept=["enough"], message="known")
    run(repo, "third.py", accept=["own"], message="known")
    gated(repo, "2026-02")
    edit(repo, "return False", "return not True", "other.py")
    before = len(repo.runs())
    for wrong, words in (
        ("enough", "'enough' could be delays/enough, other/enough"),
        (
            "delays/month=2026-07/enough",
            "no check .*did you mean delays/month=2026-02/enough",
        ),
        ("nearly_enough", "no check"),
    ):
        with pytest.raises(NotFound, match=words):
            repo.run(accept=[wrong], message="x")
    assert len(repo.runs()) == before
    done: Any = repo.run(accept=["delays/enough"], message="x")
    statuses = {"delays": "committed", "other": "gated", "third": "unchanged"}
    assert {one.flow: one.status for one in done} == statuses


def test_metrics_log_and_bisect_take_the_newest(repo: Repo) -> None:
    months(repo, "2026-02", "2026-03")
    edit(repo, '"x": 2', '"x": 1')
    run(repo)
    series = repo.metrics("auc")
    assert {path: [point.value for point in points] for path, points in series.items()} == {
        "delays/month=2026-02/auc": [2.0, 2.0, 1.0],
        "delays/month=2026-03/auc": [22.0, 11.0],
    }
    assert list(repo.metrics("month=2026-02/auc")) == ["delays/month=2026-02/auc"]
    assert [one.newest for one in repo.log()] == [{"delays/auc": v} for v in (11.0, 22.0, 2.0)]
    found = repo.bisect("auc", "HEAD~1..HEAD")
    assert found.metric == "delays/auc" and found.culprit is not None
    assert (found.culprit.value, found.culprit.parent_value) == (11.0, 22.0)
    assert repo.bisect("delays/month=2026-02/auc", "HEAD~1..HEAD").culprit is not None


def test_a_missing_value_is_that_of_the_newest_partition(repo: Repo) -> None:
    months(repo, "2026-02", "2026-03")
    edit(repo, '"x": 2', '"x": 1')
    repo.commit(message="weaker rates")
    run(repo, params={"month": "2026-02"})
    assert repo.log()[0].newest == {} and list(repo.log()[0].metrics) == ["delays/month=2026-02/auc"]
    found = repo.bisect("auc", "HEAD~2..HEAD")
    assert found.culprit is not None and found.culprit.message == "weaker rates"
    assert (found.culprit.value, found.culprit.parent_value) == (11.0, 22.0)


def test_partitions_of_two_branches_come_together(repo: Repo) -> None:
    months(repo, "2026-02")
    repo.switch("other", create=True)
    months(repo, "2026-03")
    repo.switch("main")
    months(repo, "2026-10")
    assert repo.merge("other").status == "merged"
    assert {path.split("/")[1] for path in made(repo)} == {f"month=2026-{one}" for one in ("02", "03", "10")}
    assert len(repo.log()[0].metrics) == 3
    assert {one.status for one in repo.run()} == {"unchanged"}


def test_a_renamed_metric_keeps_its_series_in_partitions_that_did_not_run(repo: Repo) -> None:
    months(repo, "2026-02", "2026-03")
    edit(repo, 'better="higher")\ndef auc', 'better="higher", was="auc")\ndef score')
    edit(repo, "enough(auc(", "enough(score(")
    run(repo, params={"month": "2026-03"})
    series = repo.metrics("score")
    assert {path: len(points) for path, points in series.items()} == {
        "delays/month=2026-02/score": 2,
        "delays/month=2026-03/score": 2,
    }


def test_a_chain_of_partitions_runs_in_order(repo: Repo) -> None:
    (repo.root / "chain.py").write_text(
        "import aq\n\n@aq.op\ndef total(day: int, before) -> int:\n    return day * 10 + before\n\n"
        '@aq.flow(partition="day")\ndef chain(day: int):\n'
        '    total(day, aq.read(f"chain/day={day - 1}/total") if day > 1 else 0)\n'
    )
    for day in ("1", "2", "3"):
        run(repo, "chain.py", params={"day": day})
    edit(repo, "* 10", "* 100", "chain.py")
    assert ran(run(repo)) == [f"chain/day={day}/total" for day in (1, 2, 3)]
    assert repo.get("chain/*/total").load() == {"1": 100, "2": 300, "3": 600}
    edit(repo, 'aq.read(f"chain/day={day - 1}/total")', 'aq.read("chain/*/total")', "chain.py")
    with pytest.raises(UsageError, match="holds what is made here"):
        run(repo)


@pytest.mark.parametrize(
    ("partition", "match"),
    [("mnth", "did you mean month"), (("month", "month"), "twice"), ("rest", "no parameter"), (3, "3")],
)
def test_what_is_no_parameter_partitions_nothing(partition: str | Sequence[str], match: str) -> None:
    def delays(month: str, **rest: str) -> None: ...

    with pytest.raises(UsageError, match=match):
        Flow(delays, partition=partition)


@pytest.mark.parametrize(
    ("declared", "given", "match"),
    [
        ("month: list", ["a"], "cannot name a partition"),
        ("month: float", float("nan"), "cannot name a partition"),
        ("month: str", "x" * 300, "too long"),
        ("month: int", "March", "is no int"),
    ],
)
def test_what_names_no_partition(repo: Repo, declared: str, given: Any, match: str) -> None:
    edit(repo, "month: str, depth", f"{declared}, depth")
    with pytest.raises(UsageError, match=match):
        repo.run("flow.py", params={"month": given})
    with pytest.raises(UsageError, match="cannot be cleared"):
        edit(repo, f"{declared}, depth", "month: str, depth")
        months(repo, "2026-02")
        repo.run(params={"month": ""})


def test_a_secret_names_no_partition(repo: Repo) -> None:
    edit(
        repo,
        'partition="month")\ndef delays(month: str',
        'partition="token")\ndef delays(token: str, month="2026-02"',
    )
    with pytest.raises(UsageError, match="token of delays is a secret"):
        repo.run("flow.py", params={"token": "abc", "month": "2026-02"})


def test_hostile_values_stay_inside(repo: Repo) -> None:
    values = ["../../x", "a/b=c", "", ".", "é\n%2F", "v1:*"]
    months_before = ROWS
    for value in values:
        (repo.root / "data.csv").write_text(months_before)
        repo.run("flow.py", params={"month": value}, accept=["enough"], message="no rows")
    found = repo.get("delays/*/auc").load()
    assert set(found) == set(values)
    assert all(path.startswith("delays/month=") for path in made(repo))
    run(repo)
    assert {one.status for one in repo.run()} == {"unchanged"}
    assert repo.fsck(full=True).problems == []


def test_a_dry_run_takes_a_param_for_a_text_where_its_annotation_says_so(repo: Repo) -> None:
    (repo.root / "areas.py").write_text(
        "import aq\nimport pandas as pd\n\n@aq.op\ndef homes() -> pd.DataFrame:\n"
        "    return pd.DataFrame({'v': [1]})\n\n@aq.flow(partition='zip')\ndef areas(zip: str):\n"
        "    homes()\n\n"
        "@aq.op\ndef kinds(rows: pd.DataFrame) -> str:\n    return rows['zip'].dtype.kind\n\n"
        "@aq.flow\ndef ends():\n    kinds(aq.read('areas/*/homes'))\n"
    )
    params = {"zip": "10115"}
    done: Any = repo.run("areas.py", params=params, commit=False)
    assert [one.status for one in done] == ["uncommitted", "uncommitted"]
    plan: Any = repo.run("areas.py", params=params, dry_run=True)
    assert {one.step: one.action for one in plan.steps} == {
        "areas/zip=10115/homes": "reuse",
        "ends/kinds": "reuse",
    }
