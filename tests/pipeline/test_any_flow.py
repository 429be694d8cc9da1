"""Any flow, run by any number of hands, in any order of endings: the same results and the same record."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.pipeline.repository import create

HEAD = """
import time, aq
"""
OP = """
@aq.{role}{options}
def {name}({names}):
    time.sleep({sleep})
    {body}
"""
BODIES = [
    "return sum(map(len, map(str, [{names}])))",
    "return [{names}]",
    "return 'x' * {size}",
    "raise ValueError({size})",
]


@st.composite
def flows(draw: Any) -> str:
    """The source of a flow of up to six steps, each of which takes some of those before it."""
    ops, calls, names = [], [], []
    for index in range(draw(st.integers(1, 6))):
        taken = draw(st.lists(st.sampled_from(names), unique=True, max_size=3)) if names else []
        fails = draw(st.integers(0, 9)) == 0
        body = BODIES[3] if fails else draw(st.sampled_from(BODIES[:3]))
        size = draw(st.sampled_from([1, 100, 300_000]))
        inner = body.format(names=", ".join(f"a{n}" for n in range(len(taken))), size=size)
        options = draw(st.sampled_from(["", "(cache='never')", "(retries=1)"]))
        ops.append(
            OP.format(
                role="op",
                options=options,
                name=f"op{index}",
                names=", ".join(f"a{n}" for n in range(len(taken))),
                sleep=draw(st.sampled_from([0, 0, 0.01])),
                body=inner,
            )
        )
        calls.append(f"    v{index} = op{index}({', '.join(taken)})")
        names.append(f"v{index}")
    return HEAD + "".join(ops) + "\n@aq.flow\ndef f():\n" + "\n".join(calls) + "\n"


def outcome(source: str, **asked: Any) -> Any:
    """What a run in a new repository made, step by step, and how it ended."""
    with TemporaryDirectory() as folder, create(Path(folder)) as repo:
        (repo.root / "flow.py").write_text(source)
        done = repo.run("flow.py", keep_going=True, **asked)
        steps = [(one.step, one.status) for one in repo.steps(done.run)]
        snapshot = repo.show(done.run).snapshot
        again = repo.run("flow.py", keep_going=True, **asked)
        return done.status, steps, [(one.path, one.id) for one in snapshot], again.steps, again.status


def examples(count: int) -> Any:
    return settings(
        max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), derandomize=count < 50
    )


@examples(3)
@given(source=flows())
def test_many_hands_make_what_one_makes(source: str) -> None:
    assert outcome(source, jobs=3) == outcome(source)


@pytest.mark.soak
@examples(150)
@given(source=flows(), jobs=st.integers(2, 5))
def test_any_number_of_hands_makes_what_one_makes(source: str, jobs: int) -> None:
    assert outcome(source, jobs=jobs) == outcome(source)


@pytest.mark.slow
def test_hands_that_were_given_make_what_own_ones_make() -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:

        @examples(20)
        @given(source=flows())
        def check(source: str) -> None:
            assert outcome(source, jobs=2, executor=executor) == outcome(source)

        check()
