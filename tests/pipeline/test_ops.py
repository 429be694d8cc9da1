"""The decorators: plain functions outside a flow, handles inside one."""

from __future__ import annotations

import os
import pickle
from typing import Any

import pytest
from aq.formats.artifacts.metric_values import Metric
from aq.formats.errors import UsageError
from aq.pipeline.flow import ops
from aq.pipeline.flow.graph import Graph
from aq.pipeline.flow.ops import Op, check, flow, flows_of, metric, op, read
from aq.pipeline.flow.trace import trace


@op
def double(x: int) -> int:
    """Twice."""
    return 2 * x


@op(name="total", outputs=("sum", "count"), retries=2, tags=["slow"], version=3)
def totals(values: list[int]) -> tuple[int, int]:
    return sum(values), len(values)


@metric(better="higher")
def score(x: float) -> float:
    return x / 10


@check(severity="warning")
def positive(x: float) -> bool:
    return x > 0


@flow
def doubling(start: int = 3) -> int:
    return double(double.named("again")(start))


def traced(body: Any, **params: Any) -> Graph:
    return trace(flow(body), params)


def test_outside_a_flow_everything_is_the_plain_function() -> None:
    assert double(4) == 8
    assert double.function(4) == 8
    assert double.__doc__ == "Twice."
    assert totals([1, 2]) == (3, 2)
    assert score(5.0) == 0.5
    assert positive(-1.0) is False
    assert double.named("other")(1) == 2
    assert doubling(5) == 20


def test_decorators_keep_names_roles_and_options() -> None:
    assert (double.name, double.role) == ("double", "op")
    assert (totals.name, totals.options.outputs, totals.options.version) == ("total", ("sum", "count"), "3")
    assert totals.options.tags == ("slow",)
    assert (score.role, score.options.better) == ("metric", "higher")
    assert (positive.role, positive.options.severity) == ("check", "warning")
    assert doubling.name == "doubling"
    renamed = flow(name="nightly")(lambda: double(1))
    assert renamed.name == "nightly"


def test_a_metric_of_a_number_is_a_value_to_commit() -> None:
    assert metric(0.93, better="higher") == Metric(0.93, "higher")
    assert metric({"f1": 0.5}, better={"f1": "higher"}) == Metric({"f1": 0.5}, {"f1": "higher"})


def test_an_op_of_a_module_pickles_by_name() -> None:
    assert pickle.loads(pickle.dumps(double)) is double


@pytest.mark.parametrize(
    ("decorate", "said"),
    [
        (lambda: op(3), "not a int"),
        (lambda: op(dict), "not a class"),
        (lambda: op(lambda x: x), "'<lambda>' cannot name the op"),
        (lambda: op(name="a/b")(double.function), "'a/b' cannot name"),
        (lambda: op(name="..")(double.function), "cannot name"),
        (lambda: op(double), "decorated twice"),
        (lambda: op(better="higher")(double.function), "no argument 'better'"),
        (lambda: check(severity="fatal")(double.function), "severity='fatal'"),
        (lambda: metric(better="up")(double.function), "better='up'"),
        (lambda: op(outputs=("a", "a"))(double.function), "twice"),
        (lambda: op(cache="no")(double.function), "cache='no'"),
        (lambda: double.bound(below=1), "only a metric has bounds"),
        (lambda: score.bound(), "needs below= or above="),
        (lambda: flow(int), "@aq.flow decorates a function"),
    ],
)
def test_a_wrong_declaration_says_so(decorate: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        decorate()
    assert said in caught.value.message


@pytest.mark.parametrize(
    "use",
    [
        lambda h: bool(h),
        lambda h: len(h),
        lambda h: list(h),
        lambda h: h.columns,
        lambda h: h["a"],
        lambda h: h[0],
        lambda h: h + 1,
        lambda h: 1 - h,
        lambda h: h == 1,
        lambda h: h != 1,
        lambda h: h < 1,
        lambda h: -h,
        lambda h: 1 in h,
        lambda h: float(h),
        lambda h: f"{h}",
        lambda h: str(h),
        lambda h: h(),
        lambda h: [1, 2][h],
        lambda h: os.fspath(h),
        lambda h: sum(h),
        lambda h: h.bound(below=1),
        lambda h: h.__setitem__("a", 1),
    ],
)
def test_looking_at_a_handle_names_file_line_and_remedy(use: Any) -> None:
    def body() -> None:
        use(double(1))

    with pytest.raises(UsageError) as caught:
        traced(body)
    message = caught.value.message
    assert "test_ops.py:" in message
    assert "body/double does not exist yet; move this line into an op" in message


def test_a_library_that_looks_at_a_handle_is_told_with_the_line_of_the_flow() -> None:
    import pandas as pd

    def body() -> None:
        pd.DataFrame({"a": double(1)})

    with pytest.raises(UsageError, match=r"test_ops.py:\d+ .*body/double does not exist yet"):
        traced(body)


def test_a_handle_can_be_shown_compared_by_identity_and_kept_in_a_dict() -> None:
    seen: list[str] = []

    def body() -> None:
        handle = double(1)
        assert {handle: 1}[handle] == 1
        seen.append(repr(handle))

    traced(body)
    assert seen == ["<body/double: no data yet>"]


def test_read_outside_a_flow_asks_the_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "outside_reader", lambda path, name, options: (path, name, options))
    assert read("data/a.csv", sep=";") == ("data/a.csv", None, {"sep": ";"})
    monkeypatch.setattr(ops, "outside_reader", None)
    with pytest.raises(UsageError, match="needs a repository"):
        read("data/a.csv")


def test_read_inside_an_op_is_refused() -> None:
    token = ops.executing.set("delays/train")
    try:
        with pytest.raises(UsageError, match="hand it to delays/train"):
            read("data/a.csv")
    finally:
        ops.executing.reset(token)


def test_bounds_hold_or_fail_and_nan_fails() -> None:
    holds = score.bound(below=0.5, above=0.9)
    assert (holds.name, holds.role) == ("score_holds", "check")
    assert [holds(v) for v in (0.4, 0.5, 0.9, 0.95, float("nan"))] == [False, True, True, False, False]
    by_key: Op[..., bool] = score.bound(above=3, key="mae", severity="warning")
    assert by_key.name == "score_mae_holds"
    assert by_key.options.severity == "warning"
    assert by_key({"mae": 2.0}) and not by_key({"mae": 4.0})


def test_the_flows_of_a_module_are_found_by_name() -> None:
    found = flows_of({"a": doubling, "again": doubling, "b": flow(name="other")(doubling.function), "c": 3})
    assert list(found) == ["doubling", "other"]
    twins = {"a": doubling, "b": flow(name="doubling")(lambda: 1)}
    with pytest.raises(UsageError, match="two flows are named doubling"):
        flows_of(twins)
    assert flows_of({"a": doubling}, module="elsewhere") == {}
