"""`Repo.run`: what a run does, publishes, reuses and refuses; real files, one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aq.formats.errors import NotFound, UsageError
from aq.pipeline.records.outcomes import Plan, RunDone
from aq.pipeline.records.results import ShowRevision
from aq.pipeline.repo import Repo

from tests.pipeline.repository import create

FLOW = '''
import aq
import pandas as pd

FACTOR = 2


def scale(values):
    return values * FACTOR


@aq.op
def load(raw: pd.DataFrame) -> pd.DataFrame:
    """Read."""
    print("rows:", len(raw))
    return raw.assign(y=scale(raw["x"]))


@aq.op
def total(frame: pd.DataFrame, power: int) -> float:
    return float((frame["y"] ** power).sum())


@aq.metric(better="lower")
def score(total: float) -> float:
    return total / 10


@aq.check
def score_small(score: float) -> bool:
    return score < 100


@aq.flow
def demo(power: int = 1):
    value = score(total(load(aq.read("data/x.csv")), power))
    score_small(value)
'''


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repo]:
    with create(tmp_path / "r") as made:
        (made.root / "data").mkdir()
        (made.root / "data" / "x.csv").write_text("x\n1\n2\n3\n")
        (made.root / "flow.py").write_text(FLOW)
        yield made


def run(repo: Repo, target: Any = "flow.py", **arguments: Any) -> RunDone:
    found = repo.run(target, **arguments)
    assert isinstance(found, list)
    return found[-1]


def edit(repo: Repo, before: str, after: str, path: str = "flow.py") -> None:
    text = (repo.root / path).read_text()
    assert before in text
    (repo.root / path).write_text(text.replace(before, after))


def statuses(repo: Repo, **arguments: Any) -> dict[str, str]:
    seen: dict[str, str] = {}

    def note(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            seen[event["step"].partition("/")[2]] = event["status"]

    run(repo, on_event=note, **arguments)
    return seen


def test_the_first_run_commits_results_and_what_it_read(repo: Repo) -> None:
    done = run(repo)
    assert done.status == "committed"
    assert (done.steps.total, done.steps.run, done.steps.reused) == (4, 4, 0)
    assert done.metrics == {"demo/score": 1.2}
    assert done.checks == {"demo/score_small": "passed"}
    assert {entry.path: entry.origin for entry in repo.ls()} == {
        "data/x.csv": "file",
        "demo/load": "made",
        "demo/score": "made",
        "demo/score_small": "made",
        "demo/total": "made",
        "flow.py": "file",
    }
    entry = repo.log()[0]
    assert (entry.id, entry.flow, entry.run) == (done.commit, "demo", done.run)
    assert entry.message == "run demo: 4 ran, 0 reused, score 1.2"
    assert entry.metrics == {"demo/score": 1.2}
    assert repo.get("demo/total").load() == 12.0
    status = repo.status()
    assert (status.changes, status.untracked, [flow.stale for flow in status.flows]) == ([], [], [[]])


def test_a_second_run_is_unchanged(repo: Repo) -> None:
    first = run(repo)
    again = run(repo)
    assert (again.status, again.commit) == ("unchanged", first.commit)
    assert (again.steps.run, again.steps.reused) == (0, 4)
    assert run(repo, None).status == "unchanged"
    assert len(list(repo.log())) == 1


def test_only_what_changed_runs_and_the_past_is_remembered(repo: Repo) -> None:
    run(repo)
    edit(repo, "total / 10", "total / 5")
    assert statuses(repo) == {"load": "reused", "total": "reused", "score": "run", "score_small": "run"}
    edit(repo, "total / 5", "total / 10")
    assert set(statuses(repo).values()) == {"reused"}
    assert repo.log()[0].metrics == {"demo/score": 1.2}


def test_equal_results_cut_off_what_follows(repo: Repo) -> None:
    run(repo)
    edit(repo, "return values * FACTOR", "return FACTOR * values")
    assert statuses(repo) == {"load": "run", "total": "reused", "score": "reused", "score_small": "reused"}


def test_a_comment_is_no_change_of_a_run(repo: Repo) -> None:
    first = run(repo)
    edit(repo, "FACTOR = 2", "FACTOR = 2  # twice")
    status = repo.status()
    assert [change.path for change in status.changes] == ["flow.py"]
    assert status.flows[0].stale == []
    assert (run(repo).status, run(repo).commit) == ("unchanged", first.commit)
    repo.commit(message="comment")
    assert repo.log()[0].metrics == {"demo/score": 1.2}


def test_status_says_what_is_stale_without_importing(repo: Repo) -> None:
    run(repo)
    edit(repo, "total / 10", "total / 5")
    (flow,) = repo.status().flows
    exact = {step.step: step.exact for step in flow.stale}
    assert exact == {"demo/score": True, "demo/score_small": False}
    (repo.root / "data" / "x.csv").write_text("x\n9\n")
    stale = {step.step: [reason.kind for reason in step.reasons] for step in repo.status().flows[0].stale}
    assert stale["demo/load"] == ["data"]


def test_new_data_makes_the_metric_missing_until_the_next_run(repo: Repo) -> None:
    run(repo)
    (repo.root / "data" / "x.csv").write_text("x\n10\n")
    repo.commit(message="new data")
    assert repo.log()[0].metrics == {}
    assert run(repo).metrics == {"demo/score": 2.0}
    assert [point.value for point in repo.metrics("score")["demo/score"]] == [1.2, 2.0]


def test_a_metric_is_computed_where_it_is_missing(repo: Repo) -> None:
    good = run(repo).commit
    assert good is not None
    ids = []
    for value in (3, 4, 500, 600):
        (repo.root / "data" / "x.csv").write_text(f"x\n{value}\n")
        ids.append(repo.commit(message=f"data {value}").id)
    found = repo.bisect("score", f"{good}..{ids[-1]}")
    assert found.culprit is not None
    assert (found.culprit.commit, found.culprit.value, found.culprit.parent_value) == (ids[2], 100.0, 0.8)
    assert found.evaluations.computed >= 2
    again = repo.bisect("score", f"{good}..{ids[-1]}")
    assert again.culprit == found.culprit
    assert list(repo.log())[0].metrics == {}


def test_repro_proves_a_run_in_a_clean_folder(repo: Repo) -> None:
    first = run(repo).commit
    edit(repo, "FACTOR = 2", "FACTOR = 3")
    run(repo)
    before = repo.store.new_bytes()
    found = repo.repro(str(first))
    assert (found.verdict, found.first_difference) == ("identical", None)
    assert {one.path for one in found.artifacts} == {
        "demo/load",
        "demo/total",
        "demo/score",
        "demo/score_small",
    }
    assert repo.store.new_bytes() == before
    part = repo.repro(f"{first}:demo/total")
    assert [one.path for one in part.artifacts] == ["demo/total"]
    source = repo.repro(f"{first}:data/x.csv")
    assert source.artifacts[0].detail == "source, nothing to re-run"


def test_repro_finds_what_is_not_deterministic(repo: Repo) -> None:
    edit(repo, "return total / 10", "import os; return total / 10 + int.from_bytes(os.urandom(4), 'big')")
    run(repo, accept=["score_small"], message="noise")
    found = repo.repro("HEAD")
    assert found.verdict == "different"
    assert found.first_difference is not None
    assert found.first_difference.step == "demo/score"
    assert repo.runs()[0].status == "committed"


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_check_that_is_not_there_is_told_whether_or_not_there_is_something_to_do(
    repo: Repo, *, dry_run: bool
) -> None:
    for _ in range(2):
        with pytest.raises(
            NotFound, match=r"no check 'typo' in what is to run \(there is demo/score_small\)"
        ):
            repo.run("flow.py", accept=["typo"], message="x", dry_run=dry_run)
        with pytest.raises(UsageError, match="needs a reason"):
            repo.run("flow.py", accept=["score_small"], dry_run=dry_run)
        run(repo)


def test_a_gate_keeps_the_branch_and_can_be_accepted(repo: Repo) -> None:
    first = run(repo)
    (repo.root / "data" / "x.csv").write_text("x\n5000\n")
    gated = run(repo)
    assert (gated.status, gated.commit) == ("gated", None)
    assert repo.log()[0].id == first.commit
    assert gated.checks == {"demo/score_small": "failed"}
    assert [one.check for one in gated.violations] == ["demo/score_small"]
    shown = repo.show(gated.run)
    assert isinstance(shown, ShowRevision)
    assert repo.get(f"{gated.run}:demo/total").load() == 10000.0
    assert repo.runs(status="gated")[0].run == gated.run
    with pytest.raises(UsageError, match="reason"):
        run(repo, accept=["score_small"])
    with pytest.raises(NotFound, match="score_smal"):
        run(repo, accept=["score_smal"], message="x")
    accepted = run(repo, accept=["score_small"], message="known outlier")
    assert accepted.status == "committed"
    assert accepted.checks == {"demo/score_small": "accepted"}
    assert repo.log()[0].checks == {"demo/score_small": "accepted"}
    (check,) = repo.checks()
    assert check.accepted == "Ada <ada@example.org>: known outlier"
    assert [(one.commit, one.state) for one in check.history] == [
        (first.commit, "passed"),
        (None, "failed"),
        (accepted.commit, "accepted"),
    ]
    (before,) = repo.checks(gated.run)
    assert (before.state, before.history[-1].run, before.history[-1].commit) == ("failed", gated.run, None)


def test_a_warning_does_not_gate(repo: Repo) -> None:
    edit(repo, "@aq.check\n", '@aq.check(severity="warning")\n')
    edit(repo, "score < 100", "score < 0")
    done = run(repo)
    assert (done.status, done.checks) == ("committed", {"demo/score_small": "warning"})


def test_a_failed_op_keeps_its_log_its_inputs_and_the_branch(repo: Repo) -> None:
    first = run(repo)
    edit(repo, "return total / 10", "print('about to fail'); return total / 0")
    failed = run(repo)
    assert (failed.status, failed.commit) == ("failed", None)
    assert failed.error is not None
    assert failed.error["step"] == "demo/score"
    assert "ZeroDivisionError" in failed.error["message"]
    log = repo.logs(f"{failed.run}:score")
    assert "about to fail" in log.text
    assert [one.path for one in log.inputs] == ["demo/total"]
    assert (failed.steps.failed, failed.steps.cancelled, failed.steps.reused) == (1, 1, 2)
    assert repo.log()[0].id == first.commit


def test_an_uncommitted_run_can_be_adopted(repo: Repo) -> None:
    first = run(repo)
    wide = run(repo, params={"power": "2"}, commit=False)
    assert (wide.status, wide.commit) == ("uncommitted", None)
    assert repo.get(f"{wide.run}:demo/total").load() == 56.0
    diff = repo.diff(str(first.commit), wide.run)
    assert [(one.name, one.from_, one.to) for one in diff.params] == [("power", 1, 2)]
    assert [(one.name, one.from_, one.to) for one in diff.metrics] == [("demo/score", 1.2, 5.6)]
    adopted = repo.commit(run=wide.run, message="wider")
    assert repo.log()[0].run == wide.run
    assert repo.log()[0].metrics == {"demo/score": 5.6}
    assert adopted.created
    assert run(repo, None).status == "unchanged"


def test_params_of_the_last_run_are_kept_without_a_file(repo: Repo) -> None:
    run(repo, params={"power": 2})
    again = run(repo, None)
    assert (again.status, again.params) == ("unchanged", {"power": 2})
    assert run(repo, None, params={"power": ""}).metrics == {"demo/score": 1.2}
    assert run(repo, None).params == {}
    run(repo, params={"power": 2})
    assert run(repo).metrics == {"demo/score": 1.2}


@pytest.mark.parametrize(("name", "value"), [("powr", "1"), ("power", "two")])
def test_bad_params(repo: Repo, name: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        run(repo, params={name: value})
    assert "power" in f"{caught.value.message} {caught.value.hint}"


def test_a_renamed_op_leaves_no_zombie(repo: Repo) -> None:
    run(repo)
    edit(repo, "def total(", "def summed(")
    edit(repo, "score(total(load", "score(summed(load")
    run(repo)
    paths = [entry.path for entry in repo.ls() if entry.origin == "made"]
    assert paths == ["demo/load", "demo/score", "demo/score_small", "demo/summed"]


def test_other_changes_stay_uncommitted(repo: Repo) -> None:
    (repo.root / "notes.txt").write_text("1")
    repo.add(["notes.txt"])
    repo.commit(message="notes")
    (repo.root / "notes.txt").write_text("2")
    run(repo)
    assert [change.path for change in repo.status().changes] == ["notes.txt"]


def test_helpers_in_other_modules_are_tracked_and_count(repo: Repo) -> None:
    (repo.root / "tools.py").write_text("def scale(values):\n    return values * 2\n")
    edit(repo, "def scale(values):\n    return values * FACTOR\n", "from tools import scale\n")
    run(repo)
    assert "tools.py" in [entry.path for entry in repo.ls()]
    edit(repo, "* 2", "* 3", path="tools.py")
    stale = [step.step for step in repo.status().flows[0].stale if step.exact]
    assert stale == ["demo/load"]
    assert run(repo).metrics == {"demo/score": 1.8}


def test_plan_says_what_run_does(repo: Repo) -> None:
    run(repo)
    edit(repo, "total / 10", "total / 5")
    plan = repo.run("flow.py", dry_run=True)
    assert isinstance(plan, Plan)
    assert {one.step: one.action for one in plan.steps} == {
        "demo/load": "reuse",
        "demo/total": "reuse",
        "demo/score": "run",
        "demo/score_small": "run",
    }
    assert len(repo.runs()) == 1


def test_two_flows_one_commit_in_the_order_of_what_they_read(repo: Repo) -> None:
    (repo.root / "two.py").write_text(
        "import aq\n"
        "@aq.op\ndef double(model: float) -> float:\n    return model * 2\n"
        "@aq.op\ndef train(raw: str) -> float:\n    return float(len(raw))\n"
        "@aq.flow\ndef scoring():\n    double(aq.read('training/train'))\n"
        "@aq.flow\ndef training():\n    train(aq.read('data/x.csv'))\n"
    )
    found = repo.run("two.py")
    assert isinstance(found, list)
    assert [one.flow for one in found] == ["training", "scoring"]
    assert len({one.commit for one in found}) == 1
    assert repo.get("scoring/double").load() == 16.0
    (repo.root / "data" / "x.csv").write_text("x\n")
    again = repo.run()
    assert isinstance(again, list)
    assert [one.status for one in again] == ["committed", "committed"]
    assert repo.get("scoring/double").load() == 4.0
    assert repo.log()[0].flows == ["training", "scoring"]


def test_a_pin_reads_an_old_revision(repo: Repo) -> None:
    run(repo, tag="v1")
    (repo.root / "pin.py").write_text(
        "import aq\n"
        "@aq.op\ndef keep(old: float) -> float:\n    return old\n"
        "@aq.flow\ndef pinned():\n    keep(aq.read('v1:demo/total'))\n"
    )
    (repo.root / "data" / "x.csv").write_text("x\n7\n")
    run(repo)
    run(repo, "pin.py")
    assert repo.get("pinned/keep").load() == 12.0
    (total,) = repo.lineage("pinned/keep").inputs  # type: ignore[union-attr]
    (load,) = total.inputs
    (source,) = load.inputs
    assert (total.step, load.step, source.path) == ("demo/total", "demo/load", "data/x.csv")
    assert source.artifact == repo.lineage("v1:data/x.csv").artifact  # type: ignore[union-attr]


def test_a_file_from_outside_needs_a_name(repo: Repo, tmp_path: Path) -> None:
    outside = tmp_path / "far.csv"
    outside.write_text("x\n5\n")
    edit(repo, 'aq.read("data/x.csv")', f'aq.read("{outside}")')
    with pytest.raises(UsageError, match="needs a name"):
        run(repo)
    edit(repo, f'"{outside}"', f'"{outside}", name="data/far.csv"')
    done = run(repo)
    assert done.metrics == {"demo/score": 1.0}
    assert repo.get("data/far.csv").entry.origin.name == "GIVEN"
    assert run(repo).status == "unchanged"
    assert repo.status().flows[0].stale == []
    outside.write_text("x\n6\n")
    assert [step.step for step in repo.status().flows[0].stale if step.exact] == ["demo/load"]
    assert repo.repro(str(done.commit)).verdict == "identical"


def test_given_values_are_read_from_head(repo: Repo) -> None:
    import pandas as pd

    repo.commit({"sales": pd.DataFrame({"x": [1.0, 2.0]})})
    edit(repo, "data/x.csv", "sales")
    assert run(repo).metrics == {"demo/score": 0.6}
    assert {entry.path: entry.origin for entry in repo.ls()}["sales"] == "given"


def test_a_file_inside_a_flows_namespace_is_refused(repo: Repo) -> None:
    (repo.root / "demo").mkdir()
    (repo.root / "demo" / "x").write_text("1")
    repo.add(["demo/x"])
    repo.commit(message="m")
    with pytest.raises(UsageError, match="demo/"):
        run(repo)
    repo.remove(["demo/x"])
    repo.commit(message="untracked")
    with pytest.raises(UsageError, match="demo/"):
        run(repo)
    (repo.root / "demo" / "x").unlink()
    run(repo)
    (repo.root / "demo" / "x").write_text("1")
    with pytest.raises(UsageError, match="demo/"):
        repo.add(["demo/x"])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("flo.py", "flo.py"),
        ("flow.py:dmeo", "did you mean demo"),
        ("data/x.csv", "Python"),
        ("empty.py", "no flow"),
        ("noop.py", "no op"),
        ("broken.py", "not valid Python"),
        ("raises.py", "ValueError"),
    ],
)
def test_targets_that_are_no_flow(repo: Repo, target: str, message: str) -> None:
    (repo.root / "empty.py").write_text("x = 1\n")
    (repo.root / "noop.py").write_text("import aq\n@aq.flow\ndef f():\n    pass\n")
    (repo.root / "broken.py").write_text("def f(:\n")
    (repo.root / "raises.py").write_text("raise ValueError('no')\n")
    from aq.formats.errors import AqError

    with pytest.raises(AqError, match=message):
        run(repo, target)


def test_without_any_flow(repo: Repo) -> None:
    with pytest.raises(UsageError, match="name a file"):
        run(repo, None)


def test_force_runs_everything(repo: Repo) -> None:
    run(repo)
    assert set(statuses(repo, force=True).values()) == {"run"}


def test_lineage_both_ways(repo: Repo) -> None:
    commit = run(repo).commit
    tree = repo.lineage("demo/score")
    assert tree.step == "demo/score"  # type: ignore[union-attr]
    (total,) = tree.inputs  # type: ignore[union-attr]
    (load,) = total.inputs
    assert (total.step, load.path, [one.path for one in load.inputs]) == (
        "demo/total",
        "demo/load",
        ["data/x.csv"],
    )
    used = repo.lineage("data/x.csv", downstream=True).used_by  # type: ignore[union-attr]
    assert {one.path for one in used} == {"demo/load", "demo/total", "demo/score", "demo/score_small"}
    assert {one.commit for one in used} == {commit}


def test_a_tag_of_a_run(repo: Repo) -> None:
    done = run(repo, tag="v1")
    assert repo.tag()[0].commit == done.commit
    from aq.formats.errors import Conflict

    with pytest.raises(Conflict):
        run(repo, tag="v1")


def test_git_is_recorded(repo: Repo) -> None:
    import subprocess

    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(repo.root), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("add", "flow.py")
    git("commit", "-q", "-m", "x")
    done = run(repo)
    sha = git("rev-parse", "HEAD")
    shown = repo.show("HEAD")
    assert isinstance(shown, ShowRevision)
    assert shown.run is not None
    assert shown.run.git == {"commit": sha, "dirty": False}
    assert repo.log(f"git:{sha[:10]}")[0].id == done.commit
    assert ".aq" not in git("status", "--porcelain")


def test_a_renamed_metric_keeps_its_series(repo: Repo) -> None:
    run(repo)
    edit(repo, '@aq.metric(better="lower")\ndef score(', '@aq.metric(better="lower", was="score")\ndef loss(')
    edit(repo, "value = score(", "value = loss(")
    edit(repo, "total / 10", "total / 5")
    run(repo)
    assert [point.value for point in repo.metrics("loss")["demo/loss"]] == [1.2, 2.4]
    assert [entry.metrics for entry in repo.log()] == [{"demo/loss": 2.4}, {"demo/loss": 1.2}]
    found = repo.bisect("loss")
    assert found.culprit is not None
    assert found.culprit.parent_value == 1.2


def test_reading_outside_a_flow_gives_the_value(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    import aq

    run(repo)
    (repo.root / "sub").mkdir()
    monkeypatch.chdir(repo.root / "sub")
    assert list(aq.read("data/x.csv")["x"]) == [1, 2, 3]
    assert aq.read("demo/total") == 12.0
    assert aq.read("HEAD:demo/total") == 12.0
    (repo.root / "notes.txt").write_text("hello")
    assert aq.read("notes.txt") == repo.root / "notes.txt"
    with pytest.raises(NotFound, match=r"did you mean data/x\.csv"):
        aq.read("data/y.csv")


def test_a_link_is_followed_to_the_file_that_is_tracked(repo: Repo, tmp_path: Path) -> None:
    (repo.root / "newest.csv").symlink_to("data/x.csv")
    edit(repo, 'aq.read("data/x.csv")', 'aq.read("newest.csv")')
    assert run(repo).metrics == {"demo/score": 1.2}
    assert "data/x.csv" in [entry.path for entry in repo.ls()]
    (tmp_path / "far.csv").write_text("x\n1\n")
    (repo.root / "newest.csv").unlink()
    (repo.root / "newest.csv").symlink_to(tmp_path / "far.csv")
    with pytest.raises(UsageError, match="link out of the repository"):
        run(repo)
