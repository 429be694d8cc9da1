"""run, runs, steps, logs, checks, lineage, metrics, repro, bisect: a small flow through its life."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.cli.contract import KEYS, has_keys
from tests.cli.shell import Shell

FLOW = """
import aq

FACTOR = 1

@aq.op
def numbers(text: str) -> list:
    print("reading", len(text), "characters")
    return [float(word) * FACTOR for word in text.split()]

@aq.op
def largest(numbers: list) -> float:
    return max(numbers)

@aq.op(name="predictions")
def predict(numbers: list, largest: float, scale: float) -> list:
    return [x / largest * scale for x in numbers]

@aq.metric(better="higher")
def score(predictions: list) -> float:
    return sum(predictions) / len(predictions)

@aq.check(severity="error")
def positive(score: float) -> bool:
    return score > 0

@aq.flow
def small(scale: float = 1.0):
    found = numbers(aq.read("data.txt"))
    predictions = predict(found, largest(found), scale)
    positive(score(predictions))
"""
SERIES = ["1 2 3 4", "2 2 3 4", "2 3 3 4", "2 3 4 4", "1 1 1 9", "1 1 2 9"]


def statuses(events: list[dict[str, object]]) -> dict[str, object]:
    return {str(one["step"]): one["status"] for one in events if one["event"] == "step"}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Six runs over six versions of the data; the score falls at the fifth. Read only."""
    shell = Shell(tmp_path_factory.mktemp("run"))
    shell.aq("init")
    shell.write("flow.py", FLOW)
    for number, text in enumerate(SERIES):
        shell.write("data.txt", text)
        shell.aq(
            "run", *(["flow.py"] if number == 0 else []), "-m", f"delivery {number}", "--tag", f"t{number}"
        )
    return shell


def test_a_run_streams_a_line_a_step_and_the_done_line(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.aq("init")
    shell.write("flow.py", FLOW)
    shell.write("data.txt", "1 2 4")
    events = shell.aq("run", "flow.py:small", "-p", "scale=2", "--json").events
    *steps, done = events
    has_keys(steps, [KEYS["step event"]])
    has_keys(done, KEYS["done event"])
    names = ["small/numbers", "small/largest", "small/predictions", "small/score", "small/positive"]
    assert [one["step"] for one in steps] == names and set(statuses(events).values()) == {"run"}
    assert done["status"] == "committed" and len(done["commit"]) == len(done["run"]) == 64
    assert done["steps"] == {"total": 5, "run": 5, "reused": 0, "failed": 0, "cancelled": 0}
    assert (
        done["checks"] == {"small/positive": "passed"} and done["violations"] == [] and done["error"] is None
    )
    assert done["metrics"] == {"small/score": pytest.approx(7 / 6)}
    log = shell.data("log")
    assert [one["id"] for one in log] == [done["commit"]] and log[0]["run"] == done["run"]
    assert log[0]["message"].startswith("run small: 5 ran, ") and "score 1.1" in log[0]["message"]
    assert [one["path"] for one in shell.data("ls")][:2] == ["data.txt", "flow.py"]
    unchanged = shell.aq("run", "--json").events
    assert set(statuses(unchanged).values()) <= {"reused"}
    assert unchanged[-1]["status"] == "unchanged" and unchanged[-1]["commit"] == done["commit"]
    text = shell.aq("run")
    assert text.out.startswith("small: unchanged")


def test_text_of_a_run_keeps_answer_and_progress_apart(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.aq("init")
    shell.write("flow.py", FLOW)
    shell.write("data.txt", "1 2 4")
    done = shell.aq("run", "flow.py")
    commit = shell.data("log")[0]["id"]
    assert done.out.startswith(f"small: committed as {commit[:8]} · 5 ran · score 0.5833 · ")
    lines = [line.split() for line in done.err.splitlines()]
    assert [line[:2] for line in lines][:2] == [["small/numbers", "ran"], ["small/largest", "ran"]]
    shell.write("flow.py", FLOW.replace("x / largest * scale", "x / largest * scale + 1"))
    stale = shell.data("status")
    has_keys(stale, KEYS["status"])
    assert {one["step"] for one in stale["flows"][0]["stale"]} >= {"small/predictions"}
    assert "\nStale:\n" in shell.aq("status").out
    again = shell.aq("run")
    ran = {line.split()[0]: line for line in again.err.splitlines()}
    assert "reused" in ran["small/numbers"] and "code:" in ran["small/predictions"]
    assert shell.aq("run", "-q", "--force").out == ""
    assert shell.aq("run", "-q").err == ""


def test_a_dry_run_tells_what_would_run(shell: Shell) -> None:
    data = shell.data("run", "-n", "-p", "scale=3")
    has_keys(data, KEYS["plan"])
    actions = {one["step"]: one["action"] for one in data["steps"]}
    assert actions["small/numbers"] == "reuse" and actions["small/predictions"] == "run"
    reasons = {one["step"]: one["reasons"] for one in data["steps"]}["small/predictions"]
    assert [one["kind"] for one in reasons] == ["param"] and "3" in reasons[0]["detail"]
    text = shell.aq("run", "-n", "-p", "scale=3").out
    assert any(
        line.split()[:2] == ["small/predictions", "run"] and "param:" in line for line in text.splitlines()
    )
    assert shell.aq("run", "-n").out.endswith("Nothing to run, everything is up to date\n")


def test_runs_steps_logs_and_checks(shell: Shell) -> None:
    runs = shell.data("runs")
    has_keys(runs, KEYS["runs"])
    committed = [one for one in runs if one["status"] == "committed"]
    assert len(committed) == len(SERIES) and committed[0]["metrics"].keys() == {"small/score"}
    assert shell.data("runs", "--status", "failed") == [] and len(
        shell.data("runs", "--flow", "small")
    ) == len(runs)
    lines = shell.aq("runs", "--status", "committed").out.splitlines()
    assert lines[0].split()[:4] == ["run", "time", "flow", "status"] and len(lines) == len(SERIES) + 1
    steps = shell.data("steps")
    assert steps[0]["step"] == "small/numbers" and all("status" in one for one in steps)
    tree = shell.aq("steps").out.splitlines()
    assert [re.split(r"(?<=[\w)])  ", line)[0] for line in tree] == [
        "small/numbers",
        "└─ small/largest",
        "   └─ small/predictions",
        "      └─ small/score (metric)",
        "         └─ small/positive (check)",
    ]
    assert (
        "reading" in shell.aq("logs", "numbers").out
        and "characters" in shell.data("logs", "t0:numbers")["text"]
    )
    assert shell.aq("logs", "nmbers", "--json", code=2).error["kind"] == "not_found"
    checks = shell.data("checks")
    assert [(one["check"], one["state"]) for one in checks] == [("small/positive", "passed")]
    assert shell.aq("checks").out.startswith("passed  small/positive")


def test_show_of_a_run_and_of_its_commit(shell: Shell) -> None:
    data = shell.data("show", "t0")
    has_keys(data, KEYS["show"])
    has_keys(data["run"], KEYS["show run"])
    assert data["run"]["flow"] == "small" and data["tags"] == ["t0"]
    text = shell.aq("show", "t0").out
    assert "\nRun:\n" in text and "small (flow.py)" in text and "scale=1" in text
    path = shell.data("show", "t0:predictions")
    has_keys(path, KEYS["show path"])
    assert (path["path"], path["step"], path["origin"]) == ("small/predictions", "small/predictions", "made")
    last = shell.data("runs")[0]["run"]
    assert shell.aq("show", "run:last").out.startswith(f"run {last}\n")


def test_lineage_both_ways(shell: Shell) -> None:
    data = shell.data("lineage", "small/predictions")
    has_keys(data, KEYS["lineage"])
    lines = shell.aq("lineage", "predictions").out.splitlines()
    names = [line.replace("├─ ", "").replace("└─ ", "").replace("│", " ").split()[0] for line in lines]
    assert names[0] == "small/predictions" and {"small/numbers", "small/largest", "data.txt"} <= set(names)
    down = shell.data("lineage", "t0:data.txt", "--downstream")
    has_keys(down, KEYS["downstream"])
    assert {"small/predictions", "small/score"} <= {one["path"] for one in down["used_by"]}
    made = shell.data("lineage", "t0:small/numbers", "--downstream")["used_by"]
    follow = {"small/largest", "small/predictions", "small/score", "small/positive"}
    assert {one["path"] for one in made} == follow
    assert f"{down['used_by'][0]['commit'][:8]}  " in shell.aq("lineage", "t0:data.txt", "--downstream").out


def test_metrics_are_series_oldest_first(shell: Shell) -> None:
    data = shell.data("metrics", "score")
    assert data.keys() == {"small/score"} and len(data["small/score"]) == len(SERIES)
    has_keys(data["small/score"], [KEYS["metrics point"]])
    times = [one["time"] for one in data["small/score"]]
    assert times == sorted(times)
    assert len(shell.data("metrics", "score", "t1..t3")["small/score"]) == 3
    assert shell.data("metrics", "t1..t3").keys() == {"small/score"}
    text = shell.aq("metrics", "score").out.splitlines()
    assert text[0].split() == ["small/score", "▅▆▇█▁▁"] and sum("▼" in line for line in text) == 1
    series = data["small/score"]
    assert [one["jump"] for one in series] == [None, None, None, None, "down", None]
    assert [one["change"] for one in series[1:]] == [
        now["value"] - before["value"] for before, now in pairwise(series)
    ]
    assert shell.aq("metrics", "scoer", "--json", code=2).error["kind"] == "not_found"


def test_log_with_a_metric_of_a_flow(shell: Shell) -> None:
    lines = shell.aq("log", "--metric", "score").out.splitlines()[1:]
    assert [("▼" in line) for line in lines] == [False, True, False, False, False, False]


def test_bisect_names_the_delivery(shell: Shell) -> None:
    data = shell.data("bisect", "score")
    has_keys(data, KEYS["bisect"])
    commits = {one["tags"][0]: one["id"] for one in shell.data("log")}
    assert data["culprit"]["commit"] == commits["t4"] and data["culprit"]["message"] == "delivery 4"
    assert data["evaluations"]["computed"] == 0 and data["metric"] == "small/score"
    text = shell.aq("bisect", "score").out
    assert text.startswith(f"{commits['t4']} delivery 4\n") and "← culprit" in text
    ranged = shell.data("bisect", "score", "t0..t5")
    assert ranged["culprit"]["commit"] == commits["t4"]
    assert shell.aq("bisect", "score", "t0..t1", "--worse-by", "0.5", "--json", code=3).code == 3
    assert shell.aq("bisect", "scoer", "--json", code=2).error["kind"] == "not_found"


def test_repro_gives_the_same_again(shell: Shell) -> None:
    data = shell.data("repro", "t1")
    has_keys(data, KEYS["repro"])
    assert data["verdict"] == "identical" and data["first_difference"] is None
    assert {"small/predictions"} <= {one["path"] for one in data["artifacts"]}
    text = shell.aq("repro", "t1:predictions")
    assert text.out.startswith("identical: ")
    assert "source, nothing to re-run" in shell.aq("repro", "t1:data.txt").out


@pytest.fixture
def fresh(tmp_path: Path) -> Shell:
    """A repository with one run."""
    shell = Shell(tmp_path)
    shell.aq("init")
    shell.write("flow.py", FLOW)
    shell.write("data.txt", "1 2 4")
    shell.aq("run", "flow.py")
    return shell


def test_a_failing_check_gates_the_branch(fresh: Shell) -> None:
    head = fresh.data("log")[0]["id"]
    fresh.write("data.txt", "-5 1")
    done = fresh.aq("run", "--json", code=3).events[-1]
    has_keys(done, KEYS["done event"])
    assert done["status"] == "gated" and done["checks"] == {"small/positive": "failed"}
    assert [one["check"] for one in done["violations"]] == ["small/positive"]
    assert fresh.data("log")[0]["id"] == head
    text = fresh.aq("run", code=3)
    assert "gated" in text.out and "  violated: small/positive: −2\n" in text.out
    assert text.err.endswith("hint: aq run --accept small/positive -m WHY\n")
    assert (
        fresh.aq("run", "--accept", "positive", "--json", code=2).error["hint"].startswith("aq run --accept")
    )
    accepted = fresh.aq("run", "--accept", "positive", "-m", "agreed", "--json").events[-1]
    assert accepted["status"] == "committed" and accepted["checks"] == {"small/positive": "accepted"}
    assert "accepted: positive" in fresh.aq("log", "--limit", "1").out
    assert (
        "  accepted: small/positive: −2\n"
        in fresh.aq("run", "--force", "--accept", "positive", "-m", "again").out
    )
    assert fresh.data("checks")[0]["state"] == "accepted" and "agreed" in fresh.aq("checks").out


def test_an_op_that_raises_shows_the_users_trace_and_where_to_look(fresh: Shell) -> None:
    head = fresh.data("log")[0]["id"]
    fresh.write("data.txt", "1 x")
    events = fresh.aq("run", "--json", code=1).events
    assert statuses(events)["small/numbers"] == "failed" and statuses(events)["small/score"] == "cancelled"
    done = events[-1]
    has_keys(done, KEYS["done event"])
    assert done["status"] == "failed"
    assert {"step", "kind", "message", "log"} <= done["error"].keys() and done["error"][
        "step"
    ] == "small/numbers"
    assert "could not convert string to float: 'x'" in done["error"]["message"]
    text = fresh.aq("run", code=1)
    assert "failed: small/numbers: " in text.out and "flow.py" in text.out + text.err
    assert "aq/pipeline" not in text.out + text.err and "/pipeline/" not in text.out + text.err
    assert fresh.data("log")[0]["id"] == head
    log = fresh.aq("logs", "run:last:numbers").out
    assert "reading 3 characters" in log and "ValueError" in log and "line 9" in log
    assert fresh.data("runs")[0]["status"] == "failed"


def test_a_run_that_was_not_committed_can_be_adopted(fresh: Shell) -> None:
    done = fresh.aq("run", "--no-commit", "-p", "scale=2", "--json").events[-1]
    assert done["status"] == "uncommitted"
    assert len(fresh.data("log")) == 1
    assert fresh.data("show", done["run"][:12])["metrics"]["small/score"] == pytest.approx(7 / 6)
    assert fresh.data("diff", f"HEAD..{done['run'][:12]}")["metrics"][0]["name"] == "small/score"
    fresh.aq("commit", "--run", done["run"][:12], "-m", "twice")
    assert fresh.data("log")[0]["metrics"] == {"small/score": pytest.approx(7 / 6)}


@pytest.mark.parametrize(
    ("words", "source", "code"),
    [
        (["flow.py:smal"], FLOW, 2),
        (["flow.py", "-p", "scal=2"], FLOW, 2),
        (["flow.py", "-p", "scale=much"], FLOW, 2),
        (["nothing.py"], FLOW, 2),
        (["flow.py"], "x = 1\n", 2),
        (["flow.py"], "import aq\n@aq.flow\ndef empty():\n    pass\n", 2),
        (["flow.py"], "import aq\ndef broken(:\n", 1),
        (["flow.py"], "raise ValueError('no')\n", 1),
        ([], "", 2),
    ],
)
def test_bad_calls_are_told_in_a_line(words: list[str], source: str, code: int, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.aq("init")
    shell.write("flow.py", source)
    shell.write("data.txt", "1 2 4")
    done = shell.aq("run", *words, "--json", code=None)
    assert done.code == code or (code == 1 and done.code == 2), done
    assert done.error["message"] and "\n" not in done.error["message"]
    assert ("line 1" in done.error.get("trace", "")) is (source.startswith("raise"))
    assert shell.data("log") == []


def test_a_reader_who_goes_does_not_stop_a_run(fresh: Shell) -> None:
    import os
    import subprocess
    import sys

    fresh.write("data.txt", "3 4 5")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "aq", "run", "--json"],
        cwd=fresh.folder,
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"") and len(fresh.data("log")) == 2


def test_whatever_is_typed_wrongly_is_told_with_what_to_type(shell: Shell) -> None:
    wrong = [
        ("run", "nope.py"),
        ("run", "data.txt"),
        ("run", "flow.py:nope"),
        ("run", "flow.py", "-p", "scale=abc"),
        ("run", "flow.py", "-p", "size=3"),
        ("run", "flow.py", "-p", "scale"),
        ("run", "-j", "0"),
        ("run", "--accept", "nope", "-m", "why"),
        ("run", "--accept", "positive"),
        ("run", "--executor", "spark://x", "-f"),
        ("runs", "--status", "nope"),
        ("runs", "--flow", "nope"),
        ("runs", "--metric", "nope"),
        ("runs", "--sort", "nope"),
        ("steps", "nope"),
        ("logs", "nope"),
        ("logs", "nope:numbers"),
        ("checks", "nope"),
        ("metrics", "nope"),
        ("metrics", "score", "nope..HEAD"),
        ("lineage", "nope"),
        ("repro", "nope"),
        ("repro", "HEAD:nope"),
        ("commit", "--run", "nope", "-m", "x"),
    ]
    for words in wrong:
        done = shell.aq(*words, "--json", code=2)
        hints = (done.error["hint"] or "").splitlines()
        assert not [one for one in done.events if one["event"] != "step"] and done.error["message"], words
        assert 1 <= len(hints) <= 2 and all(one.startswith("aq ") for one in hints), (words, done.err)
