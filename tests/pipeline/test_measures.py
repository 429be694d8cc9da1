"""Metrics and checks in a run: values, gates, evidence."""

from __future__ import annotations

from typing import Any

import pytest
from aq.pipeline.flow import presets
from aq.pipeline.flow.ops import within
from aq.pipeline.step.planning import op_text
from blake3 import blake3

from tests.pipeline.workshop import Workshop, reasons, states


def test_a_failing_check_gates_but_fails_nothing(delays: Workshop) -> None:
    delays.replace("mean > 1", "mean > 10")
    done = delays.run()
    assert done.checks == {"delays/enough": "failed"}
    assert done.gated and not done.failed
    assert done.violations == ({"check": "delays/enough", "value": 3.0, "bound": None, "rows": None},)
    again = delays.run()
    assert states(again)["enough"] == "reused" and again.gated
    assert again.violations == done.violations


def test_a_warning_is_told_and_lets_pass(delays: Workshop) -> None:
    delays.replace("mean > 1", "mean > 10")
    delays.replace("@aq.check", '@aq.check(severity="warning")')
    done = delays.run()
    assert done.checks == {"delays/enough": "warning"}
    assert not done.gated and len(done.violations) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [("return None", "must return a bool"), ("return 1", "must return a bool"), ("1/0", "ZeroDiv")],
)
def test_a_check_that_raises_or_is_no_bool_is_an_error_that_gates(
    delays: Workshop, body: str, said: str
) -> None:
    delays.replace("return mean > 1", body)
    done = delays.run()
    assert done.checks == {"delays/enough": "error"}
    assert done.gated and not done.failed
    assert done.error is not None and said in done.error.error
    assert states(done)["enough"] == "failed"


def test_the_failing_rows_are_kept_as_evidence(delays: Workshop) -> None:
    delays.replace("def enough(mean: float) -> bool:", "def enough(table):")
    delays.replace("return mean > 1", 'return table["delay"] < 5')
    delays.replace("enough(mean(table))", "mean(table); enough(table)")
    done = delays.run()
    assert done.checks == {"delays/enough": "failed"}
    assert done.violations == ({"check": "delays/enough", "value": None, "bound": None, "rows": 1},)
    evidence = delays.value(done, "delays/enough/rows")
    assert evidence.to_dict("records") == [{"delay": 5, "name": "b"}]
    assert delays.value(done, "delays/enough") == {"passed": False, "rows": 1, "of": 2}


def test_a_bound_fails_below_its_limit_and_says_so(delays: Workshop) -> None:
    delays.replace("enough(mean(table))", "mean(table).bound(below=5.0, above=9)")
    done = delays.run()
    assert done.checks == {"delays/mean_holds": "failed"}
    (violation,) = done.violations
    assert violation == {
        "check": "delays/mean_holds",
        "value": 3.0,
        "bound": 5.0,
        "rows": None,
    }
    delays.replace("below=5.0", "below=2.0")
    again = delays.run()
    assert again.checks == {"delays/mean_holds": "passed"}
    assert reasons(again, "mean_holds") == [("param", "below: 5.0 → 2.0")]


@pytest.mark.parametrize(
    ("returned", "metrics"),
    [
        ('{"f1": 0.5, "rows": 2}', {"delays/mean.f1": 0.5, "delays/mean.rows": 2}),
        ('float("nan")', {"delays/mean": None}),
        ('__import__("numpy").float32(0.5)', {"delays/mean": 0.5}),
        ('__import__("numpy").int64(3)', {"delays/mean": 3}),
        ('table["delay"].sum()', {"delays/mean": 6}),
    ],
)
def test_metrics_are_numbers_under_full_paths(
    delays: Workshop, returned: str, metrics: dict[str, Any]
) -> None:
    delays.replace('table["delay"].mean()', returned)
    delays.replace("enough(mean(table))", "mean(table)")
    assert delays.run().metrics == metrics
    assert delays.run().metrics == metrics


@pytest.mark.parametrize("returned", ["None", "'0.5'", "True", "[1]", "{}", '{"a": None}', '{"a": {"b": 1}}'])
def test_a_metric_that_is_no_number_fails(delays: Workshop, returned: str) -> None:
    delays.replace('table["delay"].mean()', returned)
    done = delays.run()
    assert states(done)["mean"] == "failed"
    assert done.error is not None and "the result of mean" in done.error.error


def test_what_keys_call_the_checks_of_aq_stays_wherever_their_code_lies() -> None:
    """By digest, so that renaming modules does not rewrite it along: each such step would run again."""
    texts = [op_text(one) for one in (within, presets.rows(at_least=1).function)]
    found = [blake3(one.encode()).hexdigest()[:16] for one in texts]
    assert found == ["0d334811a01bd4f9", "c7ee6ec0c8afa2e4"], texts
