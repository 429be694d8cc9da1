"""What ops return: several outputs, what cannot be stored, inputs changed in place."""

from __future__ import annotations

import pytest

from tests.pipeline.workshop import Workshop, reasons

MANY = """
    @aq.op(outputs=("train", "test"))
    def split(rows):
        return rows[:1], rows[1:]

    @aq.op
    def pair(rows) -> tuple[int, int]:
        return RETURNED

    @aq.op
    def joined(parts, extra):
        return [list(parts), extra]

    @aq.flow
    def f():
        train, test = split([1, 2, 3])
        first, second = pair(test)
        joined([train, test], {"a": first, "b": [second]})
"""


def test_several_outputs_are_artifacts_of_their_own(shop: Workshop) -> None:
    shop.write(MANY.replace("RETURNED", "len(rows), 7"))
    done = shop.run()
    assert sorted(done.artifacts) == ["f/joined", "f/pair/0", "f/pair/1", "f/split/test", "f/split/train"]
    assert shop.value(done, "f/split/test") == [2, 3]
    assert shop.value(done, "f/joined") == [[[1], [2, 3]], {"a": 2, "b": [7]}]
    joined = next(one for one in done.steps if one.name == "f/joined")
    assert sorted(shop.step(joined).inputs) == ["extra['a']", "extra['b'][0]", "parts[0]", "parts[1]"]


@pytest.mark.parametrize(
    ("returned", "said"),
    [("(1, 2, 3)", "returned 3 values"), ("5", "returned an int"), ("(1,)", "returned 1 values")],
)
def test_a_wrong_number_of_outputs_is_told(shop: Workshop, returned: str, said: str) -> None:
    shop.write(MANY.replace("RETURNED", returned))
    done = shop.run()
    assert done.error is not None
    assert "pair declares 2 outputs" in done.error.error and said in done.error.error
    assert done.error.kind == "usage"


def test_the_nesting_of_inputs_is_part_of_the_key(shop: Workshop) -> None:
    shop.write(MANY.replace("RETURNED", "1, 7"))
    shop.run()
    shop.replace("joined([train, test]", "joined((train, test)")
    done = shop.run()
    assert reasons(done, "joined") == [("param", "parts changed")]


def test_what_cannot_be_stored_fails_with_its_place(shop: Workshop) -> None:
    shop.write(
        """
        import threading

        @aq.op
        def bad():
            return {"a": [1, threading.Lock()]}

        @aq.flow
        def f():
            bad()
        """
    )
    done = shop.run()
    assert done.error is not None and done.error.kind == "unstorable"
    assert "the result of bad" in done.error.error


def test_an_upstream_object_returned_unchanged_is_the_same_artifact(shop: Workshop) -> None:
    shop.write(
        """
        @aq.op
        def make():
            return pd.DataFrame({"a": [1, 2]})

        @aq.op
        def same(table):
            return table

        @aq.op
        def nothing(table):
            return None

        @aq.flow
        def f():
            nothing(same(make()))
        """
    )
    done = shop.run()
    assert done.artifacts["f/make"].artifact == done.artifacts["f/same"].artifact
    assert shop.value(done, "f/nothing") is None


def test_an_op_that_changes_its_input_harms_nobody_and_is_told(shop: Workshop) -> None:
    shop.write(
        """
        import numpy as np

        @aq.op
        def spoil_table(table):
            table["b"] = 1
            return len(table)

        @aq.op
        def look(table):
            return list(table.columns)

        @aq.op
        def spoil_plain(plain, array):
            plain["k"].append(2)
            array[0] = 9
            return 1

        @aq.op
        def plain():
            return {"k": [1]}

        @aq.op
        def array():
            return np.arange(3)

        @aq.op
        def table():
            return pd.DataFrame({"a": [1, 2]})

        @aq.flow
        def f():
            t, p, a = table(), plain(), array()
            spoil_table(t)
            spoil_plain(p, a)
            look(t)
        """
    )
    done = shop.run()
    assert shop.value(done, "f/look") == ["a"]
    assert shop.value(done, "f/plain") == {"k": [1]}
    assert [note.partition(" in place")[0] for note in done.notes] == [
        "f/spoil_table changes its input table",
        "f/spoil_plain changes its input plain",
        "f/spoil_plain changes its input array",
    ]
    told = [event for event in shop.events if event.get("notes")]
    assert [event["step"] for event in told] == ["f/spoil_table", "f/spoil_plain"]


def test_async_ops_are_run_to_their_end(shop: Workshop) -> None:
    shop.write(
        """
        import asyncio

        @aq.op
        async def later():
            await asyncio.sleep(0)
            return 5

        @aq.flow
        def f():
            later()
        """
    )
    assert shop.value(shop.run(), "f/later") == 5
