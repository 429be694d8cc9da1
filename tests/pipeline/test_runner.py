"""Executing a graph against a real store: what runs, what is reused, and why."""

from __future__ import annotations

import os
from typing import Any, cast

import pytest
from aq.pipeline.step.keys import step_key
from aq.store.store import Store

from tests.pipeline.workshop import ALL_RUN, ROWS, Workshop, reasons, states


def test_a_first_run_runs_everything_and_records_it(delays: Workshop) -> None:
    done = delays.run()
    assert states(done) == ALL_RUN
    assert done.metrics == {"delays/mean": 3.0}
    assert done.checks == {"delays/enough": "passed"}
    assert not done.failed and not done.gated and done.error is None
    assert sorted(done.artifacts) == ["delays/clean", "delays/enough", "delays/mean", "delays/total"]
    assert delays.value(done, "delays/total") == 6
    assert delays.record(done, "delays/mean").type == {"better": "higher"}
    assert [(read.path, len(id)) for read, id in done.sources] == [("a.csv", 32)]
    assert reasons(done, "clean") == [("code", "new step")]


def test_a_second_run_reuses_everything(delays: Workshop) -> None:
    first = delays.run()
    again = delays.run()
    assert set(states(again).values()) == {"reused"}
    assert again.counts() == {"total": 4, "run": 0, "reused": 4, "failed": 0, "cancelled": 0}
    assert again.artifacts == first.artifacts
    assert (again.metrics, again.checks) == (first.metrics, first.checks)
    assert again.reused_seconds == pytest.approx(
        sum(one.seconds for one in first.steps if one.role != "parse")
    )


def test_events_are_one_start_and_one_end_a_step(delays: Workshop) -> None:
    delays.run()
    steps = [event for event in delays.events if event["event"] == "step"]
    assert [event["step"] for event in steps] == [f"delays/{name}" for name in ALL_RUN]
    assert {"event", "step", "status", "seconds", "reasons", "error"} <= steps[0].keys()
    assert steps[0]["status"] == "run" and steps[0]["error"] is None and steps[0]["seconds"] > 0
    starts = [event for event in delays.events if event["event"] == "start"]
    why = [{"kind": "code", "detail": "new step"}]
    assert starts[0] == {"event": "start", "step": "delays/clean", "total": 4, "reasons": why}
    delays.run()
    assert [event["status"] for event in delays.events] == ["reused"] * 4


@pytest.mark.parametrize(
    ("old", "new", "ran", "told"),
    [
        ("LIMIT = 100", "LIMIT = 90", {"clean"}, ("code", "LIMIT changed")),
        ("< LIMIT", "<= LIMIT", {"clean"}, ("code", "clean() changed")),
        ("LIMIT = 100", "LIMIT = 3", {"clean", "total", "mean", "enough"}, ("code", "LIMIT changed")),
        ("print(", "# a comment\n    print(", set(), None),
    ],
)
def test_an_edit_runs_what_it_concerns_and_an_equal_output_stops_there(
    delays: Workshop, old: str, new: str, ran: set[str], told: tuple[str, str] | None
) -> None:
    delays.run()
    delays.replace(old, new)
    done = delays.run()
    assert {name for name, state in states(done).items() if state == "run"} == ran
    if told:
        assert reasons(done, "clean") == [told]
    if "total" in ran:
        assert reasons(done, "total") == [("upstream", "delays/clean changed: 2 → 1 row")]


def test_back_to_an_earlier_state_everything_is_known(delays: Workshop) -> None:
    first = delays.run()
    delays.replace("LIMIT = 100", "LIMIT = 3")
    delays.run()
    delays.replace("LIMIT = 3", "LIMIT = 100")
    again = delays.run()
    assert set(states(again).values()) == {"reused"}
    assert again.artifacts == first.artifacts


def test_changed_data_runs_what_reads_it(delays: Workshop) -> None:
    delays.run()
    (delays.root / "a.csv").write_text(ROWS + "7,d\n")
    done = delays.run()
    assert states(done) == ALL_RUN
    assert reasons(done, "clean") == [("data", "a.csv changed: 4 → 5 lines")]


def test_other_rows_that_are_cleaned_away_stop_early(delays: Workshop) -> None:
    delays.run()
    (delays.root / "a.csv").write_text(ROWS + "700,d\n")
    done = delays.run()
    assert states(done) == {"clean": "run", "total": "reused", "mean": "reused", "enough": "reused"}


def test_a_param_runs_the_steps_that_get_it(delays: Workshop) -> None:
    delays.run()
    done = delays.run({"by": "max"})
    assert {name for name, state in states(done).items() if state == "run"} == {"total"}
    assert reasons(done, "total") == [("param", "by: 'sum' → 'max'")]
    assert delays.value(done, "delays/total") == 5


def test_the_plan_says_what_the_run_does(delays: Workshop) -> None:
    def told() -> dict[str, tuple[str, list[tuple[str, str]]]]:
        return {
            one.step: (one.action, [(reason.kind, reason.detail) for reason in one.reasons])
            for one in delays.plan()
        }

    new = ("run", [("code", "new step")])
    assert told() == {f"delays/{name}": new for name in ALL_RUN}
    delays.run()
    assert told() == {f"delays/{name}": ("reuse", []) for name in ALL_RUN}
    delays.replace("< LIMIT", "<= LIMIT")
    assert told() == {
        "delays/clean": ("run", [("code", "clean() changed")]),
        "delays/total": ("run", [("upstream", "delays/clean runs")]),
        "delays/mean": ("run", [("upstream", "delays/clean runs")]),
        "delays/enough": ("run", [("upstream", "delays/mean runs")]),
    }
    delays.run()
    (delays.root / "a.csv").write_text(ROWS + "7,d\n")
    assert told()["delays/clean"] == ("run", [("data", "a.csv changed: 4 → 5 lines")])
    before = len(list((delays.root / ".aq" / "packs").iterdir()))
    delays.plan()
    assert len(list((delays.root / ".aq" / "packs").iterdir())) == before


def test_force_runs_everything_and_keeps_equal_records(delays: Workshop) -> None:
    first = delays.run()
    forced = delays.run(force=True)
    assert states(forced) == ALL_RUN
    assert forced.artifacts == first.artifacts
    assert reasons(forced, "clean") == [("param", "forced")]


class Lossy:
    """A store that has lost one object."""

    def __init__(self, store: Store, gone: bytes) -> None:
        self.store = store
        self.gone = gone

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def has(self, id: bytes) -> bool:
        return id != self.gone and self.store.has(id)


def test_a_result_that_is_gone_from_the_store_is_made_again(delays: Workshop) -> None:
    first = delays.run()
    delays.store = cast("Store", Lossy(delays.store, first.artifacts["delays/total"].artifact))
    done = delays.run()
    assert states(done) == {"clean": "reused", "total": "run", "mean": "reused", "enough": "reused"}
    assert reasons(done, "total") == [("data", "its result is no longer in the store")]


def test_options_that_steer_the_execution_do_not_rerun_and_semantic_ones_do(delays: Workshop) -> None:
    delays.run()
    delays.replace("@aq.op\ndef total", '@aq.op(retries=3, tags=["x"])\ndef total')
    assert set(states(delays.run()).values()) == {"reused"}
    delays.replace('tags=["x"]', "version=2")
    done = delays.run()
    assert reasons(done, "total") == [("code", "version: none → 2")]


def test_cache_never_runs_every_time(delays: Workshop) -> None:
    delays.replace("@aq.op\ndef total", '@aq.op(cache="never")\ndef total')
    delays.run()
    done = delays.run()
    assert states(done) == {"clean": "reused", "total": "run", "mean": "reused", "enough": "reused"}
    assert reasons(done, "total") == [("code", 'declared with cache="never"')]
    assert [one.action for one in delays.plan()] == ["reuse", "run", "reuse", "reuse"]


RANDOM = """
    import random
    import numpy as np

    @aq.op
    def draw():
        return [random.random(), float(np.random.rand()), int(np.random.randint(1 << 30))]

    @aq.flow
    def f(seed: int = 0):
        draw()
        draw.named("other")()
"""


def test_random_numbers_are_the_same_in_every_run_and_differ_by_step_and_seed(shop: Workshop) -> None:
    import random

    shop.write(RANDOM)
    random.seed(1)
    state = random.getstate()
    first = shop.run()
    assert random.getstate() == state
    drawn = shop.value(first, "f/draw")
    assert shop.value(shop.run(force=True), "f/draw") == drawn
    assert shop.value(first, "f/other") != drawn
    shop.replace("def f(", "def g(")
    assert shop.value(shop.run(), "g/draw") != drawn
    shop.replace("def g(", "def f(")
    assert shop.value(shop.run(), "f/draw") == drawn
    seeded = shop.run({"seed": 1})
    assert shop.value(seeded, "f/draw") != drawn
    assert reasons(seeded, "draw") == [("param", "the seed changed")]
    shop.replace("@aq.op", "@aq.op(seed=7)")
    assert shop.value(shop.run({"seed": 1}), "f/draw") == shop.value(shop.run({"seed": 2}), "f/draw")


def test_a_declared_variable_is_part_of_the_key(shop: Workshop) -> None:
    shop.write(
        """
        @aq.op(variables=["REGION"])
        def where():
            return 1

        @aq.flow
        def f():
            where()
        """
    )
    shop.environ = {"REGION": "north", "OTHER": "1"}
    shop.run()
    shop.environ = {"REGION": "north", "OTHER": "2"}
    assert states(shop.run()) == {"where": "reused"}
    shop.environ = {"REGION": "south"}
    done = shop.run()
    assert reasons(done, "where") == [("env", "the variable REGION changed")]
    packs = b"".join(path.read_bytes() for path in (shop.root / ".aq" / "packs").iterdir())
    assert b"south" not in packs


def test_functions_as_arguments_are_followed(shop: Workshop) -> None:
    shop.write(
        """
        from functools import partial

        def scale(x, by):
            return x * by

        @aq.op
        def apply(function, x):
            return function(x)

        @aq.flow
        def f():
            apply(partial(scale, by=2), 3)
            apply.named("lambda_")(lambda x: x + 1, 3)
        """
    )
    done = shop.run()
    assert (shop.value(done, "f/apply"), shop.value(done, "f/lambda_")) == (6, 4)
    assert set(states(shop.run()).values()) == {"reused"}
    shop.replace("x * by", "x * by + 1")
    assert states(shop.run()) == {"apply": "run", "lambda_": "reused"}
    shop.replace("by=2", "by=3")
    done = shop.run()
    assert states(done) == {"apply": "run", "lambda_": "reused"}
    shop.replace("x + 1, 3", "x + 2, 3")
    assert states(shop.run()) == {"apply": "reused", "lambda_": "run"}


MODEL = """
    class Model:
        def __init__(self, factor):
            self.factor = factor
        def predict(self, rows):
            return [row * self.factor for row in rows]

    @aq.op
    def train():
        return Model(2)

    @aq.op
    def predict(model, rows):
        return model.predict(rows)

    @aq.flow
    def f():
        predict(train(), [1, 2])
"""


def test_the_class_of_a_model_is_part_of_the_key_of_what_calls_it(shop: Workshop) -> None:
    shop.write(MODEL)
    assert shop.value(shop.run(), "f/predict") == [2, 4]
    shop.replace("row * self.factor", "row * self.factor + 1")
    done = shop.run()
    assert shop.value(done, "f/predict") == [3, 5]
    assert ("code", "Model.predict() changed") in reasons(done, "predict")


def test_the_library_of_an_input_is_part_of_the_key(delays: Workshop) -> None:
    import pandas as pd

    done = delays.run()
    mean = next(one for one in done.steps if one.name == "delays/mean")
    assert delays.step(mean).packages["pandas"] == pd.__version__


def test_the_folder_is_not_touched_and_no_litter_is_left(delays: Workshop) -> None:
    before = sorted(os.listdir(delays.root))
    delays.run()
    assert sorted(set(os.listdir(delays.root)) - {"__pycache__"}) == before
    assert os.listdir(delays.root / ".aq" / "tmp") == []


def test_what_is_recorded_of_steps_holds_together(delays: Workshop) -> None:
    """Invariants I50 to I53 of docs/format.md."""
    delays.replace('table["delay"].mean()', "1 / 0")
    done = delays.run()
    assert states(done) == {"clean": "run", "total": "run", "mean": "failed", "enough": "cancelled"}
    seen: set[bytes] = {bytes(id) for _, id in done.sources}
    for one in done.steps:
        assert (one.step is not None) == (one.status in ("run", "reused"))
        assert (one.attempt is not None) == (one.status == "failed")
        if one.status == "cancelled":
            continue
        step = delays.step(one)
        assert step_key(step) == step.key
        assert bool(step.outputs) == (one.step is not None)
        assert set(step.inputs.values()) <= seen
        seen |= {bytes(id) for _, id in step.outputs}
        if one.role != "parse" and one.step:
            made = done.artifacts[one.name]
            assert (made.step, made.artifact) == (one.step, step.outputs[0][1])
