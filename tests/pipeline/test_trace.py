"""Tracing a flow: names, order, arguments, several outputs, and what is refused."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from aq.formats.errors import OpFailed, UsageError
from aq.pipeline.flow.graph import Constant, Graph, Group, Output, Read
from aq.pipeline.flow.ops import flow, metric, op, read
from aq.pipeline.flow.trace import trace
from hypothesis import given, strategies as st

if TYPE_CHECKING:
    from decimal import Decimal


@op
def load(path: Any) -> list[int]:
    return [1]


@op
def join(left: Any, right: Any = None, *more: Any, how: str = "inner", **extra: Any) -> list[int]:
    return [1]


@op
def split(rows: Any) -> tuple[list[int], list[int]]:
    return [1], [2]


@op
def split_by_text(rows: Any) -> tuple[Decimal, tuple[int, ...]]:
    raise NotImplementedError


@op(outputs=("train", "test"))
def cut(rows: Any) -> Any:
    return [1], [2]


@op
def rows_of_any_length(rows: Any) -> tuple[int, ...]:
    return (1, 2)


@metric
def size(rows: Any) -> int:
    return 3


def traced(body: Any, **params: Any) -> Graph:
    return trace(flow(body), params)


def arguments(graph: Graph, step: str) -> Any:
    return {node.name: node for node in graph.steps}[step].arguments


def test_steps_are_named_after_flow_and_op_in_order_of_calls() -> None:
    def nightly() -> None:
        table = load("a")
        size(join(table, load.named("other")("b")))

    graph = traced(nightly)
    assert [node.name for node in graph.steps] == [
        "nightly/load",
        "nightly/other",
        "nightly/join",
        "nightly/size",
    ]
    assert [node.role for node in graph.steps] == ["op", "op", "op", "metric"]
    assert graph.steps[2].upstream() == {"nightly/load", "nightly/other"}


def test_nothing_of_an_op_runs() -> None:
    def body() -> None:
        split_by_text(1)

    assert len(traced(body).steps) == 1


def test_arguments_are_bound_and_defaults_filled_in() -> None:
    def by_position() -> None:
        join(1, 2, 3, 4, how="left", z=5)

    def by_name() -> None:
        join(left=1)

    assert arguments(traced(by_position), "by_position/join") == {
        "left": Constant(1),
        "right": Constant(2),
        "more": Constant((3, 4)),
        "how": Constant("left"),
        "extra": Constant({"z": 5}),
    }
    assert arguments(traced(by_name), "by_name/join")["how"] == Constant("inner")


def test_an_argument_can_be_called_again_as_it_was_given() -> None:
    def body() -> None:
        join(1, load("x"), 3, load.named("l2")("y"), how="left", z=[load.named("l3")("z")])

    node = traced(body).steps[-1]
    args, kwargs = node.call(lambda place, leaf: f"<{place}={leaf.path}>")
    assert args == (1, "<right=body/load>", 3, "<more[1]=body/l2>")
    assert kwargs == {"how": "left", "z": ["<extra['z'][0]=body/l3>"]}


def test_handles_inside_containers_are_inputs_under_their_place() -> None:
    def body() -> None:
        a, b = load("a"), load.named("b")("b")
        join([a, 1], {"x": (b,), "y": 2})

    node = traced(body).steps[-1]
    assert dict(node.leaves()) == {"left[0]": Output("body/load"), "right['x'][0]": Output("body/b")}
    assert node.arguments["left"] == Group(list, (0, 1), (Output("body/load"), Constant(1)))


def test_a_constant_changed_later_in_the_flow_stays_what_the_op_was_given() -> None:
    def body() -> None:
        columns = ["a"]
        load({"columns": columns})
        columns.append("b")

    node = traced(body).steps[0]
    assert node.arguments["path"] == Constant({"columns": ["a"]})
    first, _ = node.call(lambda place, leaf: None)
    first[0]["columns"].append("c")
    again, _ = node.call(lambda place, leaf: None)
    assert again == ({"columns": ["a"]},)


@pytest.mark.parametrize(
    ("many", "names"),
    [(split, ("0", "1")), (cut, ("train", "test")), (split_by_text, ("0", "1"))],
)
def test_several_outputs_unpack_to_paths_of_their_own(many: Any, names: tuple[str, str]) -> None:
    def body() -> None:
        first, second = many(1)
        join(first, second)

    graph = traced(body)
    step = graph.steps[0].name
    assert graph.steps[0].outputs == names
    assert [leaf.path for _, leaf in graph.steps[1].leaves()] == [f"{step}/{names[0]}", f"{step}/{names[1]}"]


def test_several_outputs_can_be_taken_by_name_position_or_all_at_once() -> None:
    def body() -> None:
        parts = cut(1)
        assert len(parts) == 2
        join(parts["test"], parts[0], parts)

    leaves = dict(traced(body).steps[1].leaves())
    assert leaves["left"] == Output("body/cut", "test")
    assert leaves["right"] == Output("body/cut", "train")
    assert leaves["more[0][1]"] == Output("body/cut", "test")


def test_a_tuple_of_any_length_is_one_output() -> None:
    def body() -> None:
        rows_of_any_length(1)

    assert traced(body).steps[0].outputs == ("",)


def test_reads_become_sources_and_the_same_read_is_one() -> None:
    def body() -> None:
        table = read("data/a.csv", sep=";")
        join(table, read("data/a.csv", sep=";"))
        load(read("data/a.csv", sep=","))
        load.named("given")(read(Path("data") / "b.csv", name="data/c"))

    graph = traced(body)
    assert [(r.path, r.name, dict(r.options)) for r in graph.reads] == [
        ("data/a.csv", None, {"sep": ";"}),
        ("data/a.csv", None, {"sep": ","}),
        ("data/b.csv", "data/c", {}),
    ]
    assert graph.reads[2].label == "data/c"
    assert isinstance(graph.steps[0].arguments["left"], Read)
    assert graph.steps[0].arguments["left"] == graph.steps[0].arguments["right"]


def test_params_reach_the_flow_and_may_steer_it() -> None:
    def body(deep: bool, depth: int) -> None:
        load(depth)
        if deep:
            size(load.named("more")(depth))

    assert len(traced(body, deep=True, depth=2).steps) == 3
    assert arguments(traced(body, deep=False, depth=2), "body/load") == {"path": Constant(2)}


class Pair(NamedTuple):
    left: Any
    right: Any


@pytest.mark.parametrize(
    "hide",
    [
        lambda handle: {handle},
        lambda handle: frozenset([handle]),
        lambda handle: Pair(1, handle),
        lambda handle: OrderedDict(a=handle),
        lambda handle: partial(print, handle),
        lambda handle: partial(print, end=handle),
        lambda handle: [Pair(handle, 1)],
    ],
)
def test_a_handle_where_it_would_be_missed_is_refused(hide: Any) -> None:
    def body() -> None:
        join(hide(load("a")))

    with pytest.raises(UsageError, match=r"body/load inside a .* does not exist yet: hand it over itself"):
        traced(body)


def test_a_flow_inside_a_flow_adds_its_steps_to_the_outer_one() -> None:
    @flow
    def inner() -> Any:
        return load("a")

    def outer() -> None:
        size(inner())

    assert [node.name for node in traced(outer).steps] == ["outer/load", "outer/size"]


def test_the_part_of_a_graph_that_a_step_needs() -> None:
    def body() -> None:
        table = load(read("a"))
        other = load.named("other")(read("b"))
        join(table, other)
        size(table)

    part = traced(body).up_to(["body/size"])
    assert [node.name for node in part.steps] == ["body/load", "body/size"]
    assert [r.path for r in part.reads] == ["a"]


def twice() -> None:
    load("a")
    load("b")


def nothing() -> None:
    read("a")


def wrong() -> None:
    size("a", "b")


def raises() -> None:
    load("a")
    {}["missing"]


def unused_bound() -> None:
    size.bound(below=3)
    size("a")


def late_option() -> None:
    load(read("a.csv", nrows=size("a")))


@pytest.mark.parametrize(
    ("body", "said", "hint"),
    [
        (
            twice,
            r"test_trace.py:\d+ adds twice/load a second time \(the first is at .*test_trace.py:\d+\)",
            "named",
        ),
        (nothing, "nothing is a flow with no op", ""),
        (wrong, r"test_trace.py:\d+ calls size\(rows: .* with wrong arguments: too many positional", ""),
        (unused_bound, r"test_trace.py:\d+ declares size_holds but never calls it", "size.bound"),
        (late_option, r"test_trace.py:\d+ reads 'a.csv' with an option that does not exist yet", ""),
    ],
)
def test_a_flow_that_is_none_says_why_and_where(body: Any, said: str, hint: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        traced(body)
    assert caught.value.exit_code == 2
    assert hint in (caught.value.hint or "")


def test_an_exception_of_the_flow_itself_is_told_with_its_line_and_trace() -> None:
    with pytest.raises(OpFailed, match=r"the flow raises failed at .*test_trace.py:\d+: KeyError") as caught:
        traced(raises)
    assert '{}["missing"]' in caught.value.trace
    assert "pipeline/flow/trace.py" not in caught.value.trace


def test_messages_show_files_relative_to_the_root() -> None:
    root = Path(__file__).parent
    with pytest.raises(UsageError, match=r"^test_trace.py:\d+ adds"):
        trace(flow(twice), {}, root=root)


def test_after_a_failed_trace_ops_are_plain_functions_again() -> None:
    with pytest.raises(UsageError):
        traced(twice)
    assert size.function("a") == size("a") == 3


def test_a_bound_can_be_put_on_the_value_of_a_metric() -> None:
    def body() -> None:
        join(size("a").bound(below=1, name="enough"))

    graph = traced(body)
    assert [node.name for node in graph.steps] == ["body/size", "body/enough", "body/join"]
    assert graph.steps[1].arguments["below"] == Constant(1)
    assert graph.steps[1].arguments["value"] == Output("body/size")


@given(st.lists(st.lists(st.integers(0, 100), max_size=3), min_size=1, max_size=12))
def test_every_step_comes_after_what_it_takes(wiring: list[list[int]]) -> None:
    def body() -> None:
        made: list[Any] = []
        for number, sources in enumerate(wiring):
            inputs = [made[s % len(made)] for s in sources] if made else []
            made.append(join.named(f"s{number}")(number, *inputs))

    graph = traced(body)
    seen: set[str] = set()
    for node in graph.steps:
        assert node.upstream() <= seen
        seen.add(node.name)
    assert len(seen) == len(wiring)
