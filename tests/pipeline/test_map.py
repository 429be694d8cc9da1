"""`aq.map`: one step an item, run again only where the item is new."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aq.formats.errors import UsageError
from aq.formats.objects import get_record
from aq.formats.records import Step
from aq.pipeline.step.execution import Execution
from aq.pipeline.step.mapped import items_of
from hypothesis import given, settings, strategies as st

from tests.pipeline.workshop import Workshop

FLOW = """
    @aq.op
    def double(x):
        print("at", x)
        return x * 2

    @aq.op
    def total(parts: list) -> int:
        return sum(parts)

    @aq.flow
    def f():
        total(aq.map(double, ITEMS))

    ITEMS = [1, 2, 3]
"""


@pytest.fixture
def shop(tmp_path: Path) -> Any:
    made = Workshop(tmp_path)
    yield made
    made.store.close()


def ran(shop: Workshop, done: Execution) -> set[str]:
    """The names of what ran, without the flow's."""
    told = [event for event in shop.events if event["event"] == "step" and event["status"] == "run"]
    assert len(told) == done.counts()["run"]
    return {event["step"].partition("/")[2] for event in told}


def keys(shop: Workshop, done: Execution, path: str) -> list[str]:
    step = get_record(shop.store, Step, done.artifacts[path].step)
    return [one.key for one in items_of(shop.store, step)]


def test_each_item_is_a_step_and_the_result_a_list(shop: Workshop) -> None:
    shop.write(FLOW)
    done = shop.run()
    assert ran(shop, done) == {"double/1", "double/2", "double/3", "total"}
    assert shop.value(done, "f/double") == [2, 4, 6]
    assert shop.value(done, "f/total") == 12
    assert done.counts() == {"total": 4, "run": 4, "reused": 0, "failed": 0, "cancelled": 0}


def test_an_item_put_in_between_is_all_that_runs(shop: Workshop) -> None:
    shop.write(FLOW)
    shop.run()
    shop.replace("[1, 2, 3]", "[0, 1, 5, 2, 3]")
    done = shop.run()
    assert ran(shop, done) == {"double/0", "double/5", "total"}
    assert shop.value(done, "f/double") == [0, 2, 10, 4, 6]


def test_items_in_another_order_and_fewer_of_them_run_nothing(shop: Workshop) -> None:
    shop.write(FLOW)
    shop.run()
    shop.replace("[1, 2, 3]", "[3, 1]")
    done = shop.run()
    assert ran(shop, done) == {"total"}
    assert shop.value(done, "f/double") == [6, 2]
    shop.replace("[3, 1]", "[1, 2, 3]")
    assert ran(shop, shop.run()) == set()


def test_the_same_item_twice_is_two_steps(shop: Workshop) -> None:
    shop.write(FLOW.replace("[1, 2, 3]", "['a', 'b', 'a', 'a']"))
    shop.replace("return sum(parts)", "return len(parts)")
    done = shop.run()
    assert keys(shop, done, "f/double") == ["a", "b", "a.2", "a.3"]
    assert shop.value(done, "f/double") == ["aa", "bb", "aa", "aa"]


def test_equal_items_draw_their_own_random_numbers(shop: Workshop) -> None:
    shop.write("""
    import random

    @aq.op
    def draw(x):
        return random.random()

    @aq.flow
    def f():
        aq.map(draw, ["a", "a", "b"])
    """)
    drawn = shop.value(shop.run(), "f/draw")
    assert len(set(drawn)) == 3


def test_changed_code_and_shared_arguments_run_every_item(shop: Workshop) -> None:
    shop.write(FLOW.replace("def double(x)", "def double(x, by=2)").replace("x * 2", "x * by"))
    shop.run()
    shop.replace("aq.map(double, ITEMS)", "aq.map(double, ITEMS, by=3)")
    done = shop.run()
    assert ran(shop, done) == {"double/1", "double/2", "double/3", "total"}
    assert shop.value(done, "f/double") == [3, 6, 9]
    shop.replace("x * by", "x * by + 1")
    assert ran(shop, shop.run()) == {"double/1", "double/2", "double/3", "total"}


def test_a_dict_gives_a_dict(shop: Workshop) -> None:
    shop.write(FLOW.replace("[1, 2, 3]", "{'de': 1, 7: 2}").replace("sum(parts)", "sum(parts.values())"))
    done = shop.run()
    assert shop.value(done, "f/double") == {"de": 2, 7: 4}
    assert keys(shop, done, "f/double") == ["de", "7"]


def test_what_an_op_returned_is_gone_through(shop: Workshop) -> None:
    shop.write("""
    COUNT = 3

    @aq.op
    def months() -> list:
        return [f"2026-{month:02}" for month in range(1, COUNT + 1)]

    @aq.op
    def load(month: str, more: list) -> int:
        return int(month[-2:]) + len(more)

    @aq.op
    def next_(number: int) -> int:
        return number + 1

    @aq.flow
    def f():
        above = months()
        aq.map(next_, aq.map(load, above, more=[1]))
    """)
    done = shop.run()
    assert shop.value(done, "f/next_") == [3, 4, 5]
    assert keys(shop, done, "f/next_") == ["2026-01", "2026-02", "2026-03"]
    shop.replace("COUNT = 3", "COUNT = 4")
    planned = [(one.step, one.action) for one in shop.plan()]
    assert planned == [("f/months", "run"), ("f/load", "run"), ("f/next_", "run")]
    assert ran(shop, shop.run()) == {"months", "load/2026-04", "next_/2026-04"}
    assert all(one.action == "reuse" for one in shop.plan())
    assert len(shop.plan()) == 9


def test_rows_of_a_table_and_a_table_of_all_results(shop: Workshop) -> None:
    (shop.root / "names.csv").write_text("name,age\nann,3\nbob,4\n")
    shop.write("""
    @aq.op
    def one(row: dict) -> pd.DataFrame:
        return pd.DataFrame({"name": [row["name"]], "next": [row["age"] + 1]})

    @aq.op
    def together(table: pd.DataFrame) -> list:
        return [list(table.index), list(table["next"])]

    @aq.flow
    def f():
        together(aq.map(one, aq.read("names.csv")))
    """)
    done = shop.run()
    assert shop.value(done, "f/together") == [[0, 1], [4, 5]]
    assert keys(shop, done, "f/one") == ["name=ann,age=3", "name=bob,age=4"]
    (shop.root / "names.csv").write_text("name,age\nann,3\neve,9\nbob,4\n")
    assert ran(shop, shop.run()) == {"one/name=eve,age=9", "together"}


def test_sources_as_items_keep_their_names(shop: Workshop) -> None:
    for name in ("a", "b"):
        (shop.root / f"{name}.csv").write_text("n\n1\n2\n")
    shop.write("""
    @aq.op
    def count(table: pd.DataFrame) -> int:
        return len(table)

    @aq.flow
    def f():
        aq.map(count, [aq.read("a.csv"), aq.read("b.csv")])
    """)
    done = shop.run()
    assert shop.value(done, "f/count") == [2, 2]
    assert keys(shop, done, "f/count") == ["a.csv", "b.csv"]
    (shop.root / "b.csv").write_text("n\n1\n")
    assert ran(shop, shop.run()) == {"count/b.csv"}


def test_several_outputs_are_lists_of_their_own(shop: Workshop) -> None:
    shop.write("""
    @aq.op(outputs=("half", "rest"))
    def split(x):
        return x // 2, x % 2

    @aq.op
    def show(halves: list, rests: list) -> list:
        return [halves, rests]

    @aq.flow
    def f():
        halves, rests = aq.map(split, [4, 5])
        show(halves, rests)
    """)
    done = shop.run()
    assert shop.value(done, "f/show") == [[2, 2], [0, 1]]


FAILING = """
    @aq.op
    def check(x):
        if x in BAD:
            raise ValueError(f"{x} is bad")
        return x

    @aq.op
    def all_(parts: list) -> int:
        return len(parts)

    @aq.flow
    def f():
        all_(aq.map(check, [1, 2, 3, 4]))

    BAD = (2, 3)
"""


def test_an_item_that_fails_is_named_and_the_others_are_kept(shop: Workshop) -> None:
    shop.write(FAILING)
    done = shop.run(keep_going=True)
    assert done.failed
    assert [failure.step for failure in done.failures] == ["f/check/2", "f/check/3"]
    assert done.counts() == {"total": 5, "run": 2, "reused": 0, "failed": 2, "cancelled": 1}
    (told,) = [one for one in done.steps if one.name == "f/check"]
    assert told.error == "f/check/2: ValueError: 2 is bad (and 1 more items)"
    shop.replace("BAD = (2, 3)", "BAD = (9,)")
    assert ran(shop, shop.run()) == {"check/1", "check/2", "check/3", "check/4", "all_"}


def test_without_keep_going_nothing_new_is_begun(shop: Workshop) -> None:
    shop.write(FAILING)
    done = shop.run()
    assert done.counts() == {"total": 5, "run": 1, "reused": 0, "failed": 1, "cancelled": 3}
    again = shop.run(keep_going=True)
    assert again.counts() == {"total": 5, "run": 1, "reused": 1, "failed": 2, "cancelled": 1}


def test_an_op_that_is_never_reused_runs_for_every_item(shop: Workshop) -> None:
    shop.write(FLOW.replace("@aq.op\n    def double", '@aq.op(cache="never")\n    def double'))
    shop.run()
    assert ran(shop, shop.run()) == {"double/1", "double/2", "double/3"}
    shop.write(FLOW)
    assert ran(shop, shop.run(force=True)) == {"double/1", "double/2", "double/3", "total"}


def test_a_file_that_changed_between_two_items_makes_the_first_run_again(shop: Workshop) -> None:
    (shop.root / "own.txt").write_text("1")
    shop.write("""
    import pathlib

    OWN = pathlib.Path(__file__).parent / "own.txt"

    @aq.op
    def read(x: int) -> int:
        return x + int(OWN.read_text())

    @aq.flow
    def f():
        aq.map(read, [10, 20])
    """)

    class Changing(list[Any]):
        def append(self, event: dict[str, Any]) -> None:
            if event["event"] == "step" and event["step"] == "f/read/10":
                (shop.root / "own.txt").write_text("2")

    shop.events = Changing()
    assert shop.value(shop.run(), "f/read") == [11, 22]
    shop.events = []
    done = shop.run()
    assert ran(shop, done) == {"read/10"}
    assert shop.value(done, "f/read") == [12, 22]
    assert ran(shop, shop.run()) == set()


def test_an_item_that_changes_what_it_was_given_is_told_once(shop: Workshop) -> None:
    shop.write("""
    @aq.op
    def spoil(rows: list, shared: list) -> int:
        shared.append(1)
        return len(shared)

    @aq.op
    def lists() -> list:
        return [[1], [2]]

    @aq.flow
    def f():
        aq.map(spoil, lists(), shared=lists.named("more")())
    """)
    done = shop.run()
    assert shop.value(done, "f/spoil") == [3, 3]
    assert [note for note in done.notes if "changes its input" in note] == [
        "f/spoil changes its input shared in place: later steps get it as it was"
    ]


def test_code_in_items_counts(shop: Workshop) -> None:
    shop.write("""
    def first(x):
        return x + 1

    def second(x):
        return x * 10

    @aq.op
    def apply(function, to: int) -> int:
        return function(to)

    @aq.flow
    def f():
        aq.map(apply, [first, second, lambda x: -x], to=4)
    """)
    done = shop.run()
    assert shop.value(done, "f/apply") == [5, 40, -4]
    assert keys(shop, done, "f/apply") == ["first", "second", "_lambda_"]
    shop.replace("x * 10", "x * 11")
    assert ran(shop, shop.run()) == {"apply/second"}


def test_files_as_results_come_as_paths(shop: Workshop) -> None:
    shop.write("""
    from pathlib import Path

    @aq.op
    def note(x: int):
        path = aq.Path("note.txt")
        path.write_text("n" * x)
        return path

    @aq.op
    def sizes(files: list) -> list:
        return [len(one.read_text()) for one in files]

    @aq.op
    def texts(files: list[str]) -> str:
        return "".join(files)

    @aq.op
    def size(file: Path) -> int:
        return len(file.read_text())

    @aq.flow
    def f():
        files = aq.map(note, [1, 2])
        sizes(files), texts(files), aq.map(size, files)
    """)
    done = shop.run()
    assert shop.value(done, "f/sizes") == [1, 2]
    assert shop.value(done, "f/texts") == "nnn"
    assert shop.value(done, "f/size") == [1, 2]


def test_items_without_a_short_text_are_named_by_their_content(shop: Workshop) -> None:
    shop.write("""
    import numpy as np

    @aq.op
    def size(x) -> int:
        return int(len(x))

    @aq.flow
    def f():
        aq.map(size, [np.arange(COUNT), list(range(20)), "a b/c", ("de", 3), {"depth": 3}])

    COUNT = 3
    """)
    done = shop.run()
    first, second, *plain = keys(shop, done, "f/size")
    assert first.startswith("ndarray-") and second.startswith("list-")
    assert plain == ["a_b_c", "de,3", "depth=3"]
    shop.replace("COUNT = 3", "COUNT = 4")
    assert len(ran(shop, shop.run())) == 1


def test_a_secret_names_nothing(shop: Workshop) -> None:
    shop.write("""
    @aq.op
    def ask(token: str) -> int:
        return len(token)

    @aq.flow
    def f():
        aq.map(ask, ["hunter2", "swordfish"])
    """)
    done = shop.run()
    assert all(one.startswith("str-") for one in keys(shop, done, "f/ask"))
    assert not [one for one in done.steps if "hunter2" in repr(one)]


def test_no_items_make_an_empty_list(shop: Workshop) -> None:
    shop.write(FLOW.replace("[1, 2, 3]", "[]"))
    done = shop.run()
    assert shop.value(done, "f/double") == []
    assert shop.value(done, "f/total") == 0


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("aq.map(len, ITEMS)", "takes a function decorated with @aq.op, not a builtin"),
        ("aq.map(score, ITEMS)", "score is a metric: map an op"),
        ("aq.map(double, 'abc')", "goes through a list, a dict or a table, not a str"),
        ("aq.map(double, {1, 2})", "a set has no order"),
        ("aq.map(double, ITEMS, x=1)", "no parameter left for the items"),
        ("aq.map(double, {None: 1})", "the key None of the items is neither a text nor a whole number"),
    ],
)
def test_what_cannot_be_mapped_is_refused(shop: Workshop, call: str, error: str) -> None:
    shop.write(FLOW.replace("aq.map(double, ITEMS)", call))
    with (shop.root / "flow.py").open("a") as file:
        file.write("\n@aq.metric\ndef score(x):\n    return x\n")
    with pytest.raises(UsageError, match=error):
        shop.run()


def test_a_value_that_is_no_collection_fails_the_map(shop: Workshop) -> None:
    shop.write(FLOW.replace("aq.map(double, ITEMS)", "aq.map(double, double.named('number')(4))"))
    done = shop.run()
    assert done.error is not None
    assert "f/number, which f/double is called for, goes through a list" in done.error.error


def test_outside_a_flow_it_is_a_loop() -> None:
    import aq

    @aq.op
    def double(x: int, by: int = 2) -> int:
        return x * by

    assert aq.map(double, [1, 2], by=3) == [3, 6]
    assert aq.map(double, {"a": 1}) == {"a": 2}


# --- by property


@dataclass(frozen=True)
class Fan:
    """`double` over items, some of them given by an op; then `plus` over what came of them."""

    items: tuple[int, ...]
    by: int = 2
    more: int = 1
    dynamic: bool = False

    def text(self) -> str:
        return "\n".join(
            (
                f"BY = {self.by}",
                f"ITEMS = {list(self.items)!r}",
                "@aq.op\ndef given() -> list:\n    return ITEMS",
                "@aq.op\ndef times(x: int) -> int:\n    return x * BY % 3",
                "@aq.op\ndef plus(x: int, more: int) -> int:\n    return x + more",
                "@aq.op\ndef total(parts: list) -> int:\n    return sum(parts)",
                "@aq.flow\ndef f():",
                f"    a = aq.map(times, {'given()' if self.dynamic else 'ITEMS'})",
                f"    total(aq.map(plus, a, more={self.more}))",
            )
        )

    def results(self) -> tuple[list[int], list[int]]:
        first = [item * self.by % 3 for item in self.items]
        return first, [value + self.more for value in first]


def named(items: tuple[int, ...]) -> list[tuple[int, int]]:
    """Each item with how many equal ones come before it."""
    return [(item, items[:at].count(item)) for at, item in enumerate(items)]


small = st.integers(0, 3)


@st.composite
def edits(draw: st.DrawFn, before: Fan) -> Fan:
    what = draw(st.sampled_from(["put", "put", "drop", "swap", "by", "more", "dynamic", "nothing"]))
    items = list(before.items)
    if what == "put":
        items.insert(draw(st.integers(0, len(items))), draw(st.integers(0, 6)))
    elif what == "drop" and items:
        items.pop(draw(st.integers(0, len(items) - 1)))
    elif what == "swap":
        items.reverse()
    elif what in ("by", "more"):
        return replace(before, **{what: draw(small)})
    elif what == "dynamic":
        return replace(before, dynamic=not before.dynamic)
    return replace(before, items=tuple(items))


@settings(max_examples=8)
@given(st.data())
def test_a_map_equals_a_loop_and_runs_no_item_twice(data: st.DataObject) -> None:
    fan = Fan(tuple(data.draw(st.lists(st.integers(0, 6), max_size=5))))
    seen: set[tuple[Any, ...]] = set()
    with tempfile.TemporaryDirectory() as folder:
        shop = Workshop(Path(folder))
        for _ in range(data.draw(st.integers(2, 6))):
            shop.write(fan.text())
            planned = {one.step for one in shop.plan() if one.action == "run" and one.map}
            done = shop.run()
            first, second = fan.results()
            assert shop.value(done, "f/times") == first
            assert shop.value(done, "f/plus") == second
            assert shop.value(done, "f/total") == sum(second)
            names = named(fan.items)
            # the name is in the seed, so it belongs to what was seen before
            parts = [("times", fan.by, fan.dynamic, *name) for name in names]
            parts += [("plus", fan.more, value, *name) for name, value in zip(names, first, strict=True)]
            paths = [f"f/{part[0]}/{_text(part[-2], part[-1])}" for part in parts]
            new = {path for path, part in zip(paths, parts, strict=True) if part not in seen}
            events = [one for one in shop.events if one["event"] == "step" and one.get("map")]
            assert {one["step"] for one in events if one["status"] == "run"} == new
            assert {one["step"] for one in events} == set(paths)
            assert planned <= new or fan.dynamic or planned <= set(paths)
            seen.update(parts)
            fan = data.draw(edits(fan))
        shop.store.close()


def _text(item: int, before: int) -> str:
    return f"{item}.{before + 1}" if before else str(item)


def test_items_take_their_new_names_along_where_what_they_are_is_as_before(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    for items in ((4,), (), (1,), (4,)):
        shop.write(Fan(items).text())
        done = shop.run()
        told = {one["step"] for one in shop.events if one["event"] == "step" and one.get("map")}
        assert told == {f"f/{op}/{item}" for op in ("times", "plus") for item in items}
        assert shop.value(done, "f/plus") == [3] * len(items)  # 4 and 1 give the same
