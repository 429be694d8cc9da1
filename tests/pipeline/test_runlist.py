"""Runs in the order of a metric or a param, and checks with how they ended before, gated runs included."""

from __future__ import annotations

from pathlib import Path

import pytest
from aq.formats.errors import NotFound
from aq.formats.objects import get_record, put_record
from aq.formats.records import Run
from aq.pipeline.look.checklist import checks
from aq.pipeline.repo import Repo
from msgspec.structs import replace

from tests.pipeline.repository import create

FLOW = """
import aq

@aq.metric(better="lower")
def loss(depth: int, data: str) -> float:
    return abs(depth - 4) + float(data)

@aq.check(severity="error")
def small(loss: float) -> bool:
    return loss < 10

@aq.flow
def f(depth: int = 1, label: str | None = None):
    small(loss(depth, aq.read("x.txt")))
"""


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    (tmp_path / "flow.py").write_text(FLOW)
    (tmp_path / "x.txt").write_text("0")
    return create(tmp_path)


def test_runs_are_sorted_the_best_or_the_smallest_first(repo: Repo) -> None:
    for params in ({"depth": 10}, {"depth": 2, "label": "a"}, {"depth": 4}):
        repo.run("flow.py", params=params)
    assert [one.params["depth"] for one in repo.runs()] == [4, 2, 10]
    assert [one.params["depth"] for one in repo.runs(sort="loss")] == [4, 2, 10]
    assert [one.metrics["f/loss"] for one in repo.runs(sort="f/loss")] == [0, 2, 6]
    assert [one.params["depth"] for one in repo.runs(sort="depth")] == [2, 4, 10]
    assert [one.params["label"] for one in repo.runs(sort="label")] == ["a", None, None]
    assert [one.params["depth"] for one in repo.runs(sort="time")] == [4, 2, 10]
    with pytest.raises(NotFound):
        repo.runs(sort="nope")


def test_where_nothing_was_ever_committed_runs_are_sorted_all_the_same(repo: Repo) -> None:
    repo.run("flow.py", params={"depth": 20})
    repo.run("flow.py", params={"depth": 30})
    assert {one.status for one in repo.runs()} == {"gated"}
    assert len(repo.runs(sort="loss")) == 2


def test_the_history_of_a_check_has_the_runs_that_it_gated(repo: Repo) -> None:
    def history(revision: str) -> list[tuple[str, bool]]:
        (one,) = repo.checks(revision)
        return [(point.state, point.commit is not None) for point in one.history]

    repo.run("flow.py")
    (repo.root / "x.txt").write_text("50")
    repo.run("flow.py")
    gated = [("passed", True), ("failed", False)]
    assert history("run:last") == gated
    assert history("HEAD") == gated[:1], "what came after the commit's own run is no history of it"
    repo.run("flow.py", accept=["small"], message="agreed")
    assert history("HEAD") == [*gated, ("accepted", True)]
    assert history("HEAD~1") == gated[:1]
    (repo.root / "x.txt").write_text("1")
    repo.run("flow.py", commit=False)
    repo.run("flow.py")
    assert history("HEAD") == [*gated, ("accepted", True), ("passed", True)]


def test_a_check_says_what_it_judged_whether_it_held_or_not(repo: Repo) -> None:
    (repo.root / "flow.py").write_text(
        FLOW.replace(
            "    small(",
            "    loss.bound(above=10, severity='warning')(loss(depth, aq.read('x.txt')))\n    small(",
            1,
        ).replace(
            'small(loss(depth, aq.read("x.txt")))',
            "loss.bound(below=1, above=20, name='both')(loss.named('again')(depth, '8'))",
        )
    )
    repo.run("flow.py", params={"depth": 2})
    seen = {one.check: (one.state, one.value, one.bound, one.rows) for one in repo.checks()}
    assert seen == {"f/loss_holds": ("passed", 2.0, 10.0, None), "f/both": ("passed", 10.0, 1.0, None)}
    repo.run("flow.py", params={"depth": 30})
    seen = {one.check: (one.state, one.value, one.bound, one.rows) for one in repo.checks("run:last")}
    assert seen == {"f/loss_holds": ("warning", 26.0, 10.0, None), "f/both": ("failed", 34.0, 20.0, None)}
    severities = {"f/loss_holds": "warning", "f/both": "error"}
    for revision in ("HEAD", "run:last"):
        assert {one.check: one.severity for one in repo.checks(revision)} == severities


def test_another_severity_is_told_though_every_step_is_reused(repo: Repo) -> None:
    repo.run("flow.py")
    assert [one.severity for one in repo.checks()] == ["error"]
    (repo.root / "flow.py").write_text(FLOW.replace('severity="error"', 'severity="warning"'))
    assert repo.status().flows
    repo.run("flow.py")
    assert [(one.state, one.severity) for one in repo.checks()] == [("passed", "warning")]


def test_a_severity_that_an_older_aq_did_not_record_is_unknown_or_follows_from_the_state(repo: Repo) -> None:
    run = get_record(repo.store, Run, bytes.fromhex(repo.run("flow.py").run))
    old = dict.fromkeys(["passed", "warning", "failed", "error", "accepted"])
    for state in old:
        id = put_record(repo.store, replace(run, severities={}, checks={"f/small": state}))
        (one,) = checks(repo.store, str(id))
        old[state] = one.severity
    assert old == {"passed": None, "warning": "warning", "failed": "error", "error": None, "accepted": None}


def test_a_step_that_never_began_is_drawn_where_it_waited(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(
        "import aq\n\n@aq.op\ndef a():\n    return 1\n\n@aq.op\ndef b(a):\n    raise ValueError('x')\n\n"
        "@aq.op\ndef c(a, b, text):\n    return 1\n\n@aq.op\ndef d(c):\n    return 1\n\n"
        "@aq.flow\ndef f():\n    x = a()\n    d(c(x, b(x), aq.read('x.txt')))\n"
    )
    (tmp_path / "x.txt").write_text("x")
    repo = create(tmp_path)
    assert repo.run("flow.py").status == "failed"
    assert {one.step: one.inputs for one in repo.steps("run:last")} == {
        "f/a": [],
        "f/b": ["f/a"],
        "f/c": ["x.txt", "f/a", "f/b"],
        "f/d": ["f/c"],
    }
