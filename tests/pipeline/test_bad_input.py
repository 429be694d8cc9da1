"""Bad input to a run: one line that says what is wrong, where and what to do; what had finished is kept."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from aq.formats.errors import AqError, UsageError
from aq.pipeline.repo import Repo

from tests.pipeline.repository import create

BEFORE = {
    "the same name twice": (
        "a(); a()",
        r"flow\.py:\d+ adds f/a a second time \(the first is at flow\.py:\d+\)",
    ),
    "a missing argument": ("b()", r"flow\.py:\d+ calls b\(value\) with wrong arguments: missing .* 'value'"),
    "an argument too many": ("a(1)", r"calls a\(\) with wrong arguments: too many positional arguments"),
    "a branch on data": ("if a(): b(1)", r"asks whether it is true: the data of f/a does not exist yet"),
    "a loop over data": ("for x in a(): b(x)", r"iterates over it: .* move this line into an op"),
    "a step that takes itself": ("v = b(v)", r"the flow f failed at flow\.py:\d+: UnboundLocalError"),
    "no step": ("pass", r"f is a flow with no op: call a function decorated with @aq\.op"),
    "too many outputs taken": ("x, y, z = two()", r"failed at flow\.py:\d+: ValueError: not enough values"),
    "a revision that is not there": ("b(aq.read('v9:f/a'))", r"^flow\.py:\d+: no revision v9"),
    "a file that is not there": ("b(aq.read('nowhere.csv'))", r"flow\.py:\d+: no .*nowhere\.csv"),
}
PLAIN = """
import aq, pathlib, threading

@aq.op
def first():
    return 1

@aq.op
def a():
    return 1

@aq.op
def b(value):
    return value

@aq.op(outputs=("x", "y"))
def two(value=0):
    RESULT

@aq.op
def one(value):
    RESULT

@aq.metric
def number(value):
    RESULT

@aq.check
def holds(value):
    RESULT

@aq.flow
def f():
    BODY
"""
AFTER = {
    "three for two": (
        "two",
        "return 1, 2, 3",
        r"two declares 2 outputs \(x, y\), but returned 3 values: return",
    ),
    "one for two": (
        "two",
        "return 5",
        r"two declares 2 outputs \(x, y\), but returned an int: return a tuple of 2",
    ),
    "a lock deep inside": (
        "one",
        "return {'m': [1, {'lock': threading.Lock()}]}",
        r"the result of one → \['m'\]\[1\]\['lock'\]: a _thread\.lock cannot be stored",
    ),
    "a lock in an output": (
        "two",
        "return 1, [threading.Lock()]",
        r"the output y of two → \[0\]: a _thread\.lock cannot be stored",
    ),
    "a path that is not there": (
        "one",
        "return pathlib.Path('no/file')",
        r"the result of one is the path no/file",
    ),
    "no table at all": (
        "one",
        "yield from ()",
        r"the result of one: it gave no table at all: let it give one",
    ),
    "batches of numbers": ("one", "yield 3", r"the result of one: batch 1: a int is no table"),
    "text for a metric": (
        "number",
        "return 'high'",
        r"the result of number is no number but a str \('high'\)",
    ),
    "a number beyond any float": ("number", "return -(10**400)", "number is larger than any float"),
    "text for a check": (
        "holds",
        "return 'yes'",
        r"the check holds must return a bool or a Series .*, not a str",
    ),
    "nothing for a check": (
        "holds",
        "pass",
        r"the check holds must return a bool or a Series of bool, not None",
    ),
    "a number for a check": ("holds", "return 1", r"the check holds must return a bool .*, not a int"),
    "an exception": ("one", "raise ValueError('first line\\nsecond')", r"ValueError: first line$"),
    "the end of the process": ("one", "raise SystemExit(4)", r"SystemExit: 4"),
}


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repo]:
    with create(tmp_path) as made:
        yield made


def write(repo: Repo, body: str, result: str = "return 1, 2") -> None:
    (repo.root / "flow.py").write_text(dedent(PLAIN).replace("BODY", body).replace("RESULT", result))


@pytest.mark.parametrize("what", BEFORE)
def test_what_is_wrong_with_a_flow_is_told_before_anything_runs(repo: Repo, what: str) -> None:
    body, message = BEFORE[what]
    write(repo, f"first(); {body}" if what != "no step" and ":" not in body else body)
    events: list[Any] = []
    with pytest.raises(AqError) as told:
        repo.run("flow.py", on_event=events.append)
    assert re.search(message, told.value.message), told.value.message
    assert "\n" not in told.value.message and told.value.exit_code in (1, 2)
    assert events == [] and list(repo.store.runs()) == []


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", AFTER)
def test_what_is_wrong_with_a_result_is_told_and_the_rest_is_kept(repo: Repo, what: str, jobs: int) -> None:
    op, result, message = AFTER[what]
    write(repo, f"{op}(first())", result)
    done = repo.run("flow.py", jobs=jobs)
    assert done.error is not None and done.error["step"] == f"f/{op}"
    assert re.search(message, done.error["message"]), done.error["message"]
    assert "\n" not in done.error["message"] and len(repo.log()) == 0
    good = {"two": "return 1, 2", "one": "return 1", "number": "return 1.0", "holds": "return True"}[op]
    write(repo, f"{op}(first())", good)
    again = repo.run("flow.py")
    assert again.status == "committed" and again.steps.reused == 1 and again.steps.run == 1


def test_flows_that_read_each_other_in_a_circle_are_refused(repo: Repo) -> None:
    (repo.root / "flow.py").write_text(
        "import aq\n@aq.op\ndef a(x): return 1\n"
        "@aq.flow\ndef g(): a(aq.read('h/a'))\n@aq.flow\ndef h(): a(aq.read('g/a'))\n"
    )
    with pytest.raises(AqError, match="the flows read one another in a circle: g → h → g"):
        repo.run("flow.py")


def test_python_and_notebooks_show_the_hint_below_the_traceback() -> None:
    error = UsageError("it is wrong", hint=["aq one", "aq two"])
    last = traceback.format_exception(error)[-3:]
    assert [one.strip() for one in last] == [
        "aq.formats.errors.UsageError: it is wrong", "hint: aq one", "hint: aq two"
    ]  # fmt: skip
