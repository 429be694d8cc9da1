"""Wherever a signal ends a run, its stream ends with `done`, and what that says is so."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aq.pipeline.repo import Repo
from msgspec.structs import replace

from tests.pipeline.repository import START, context, create

FLOW = """
import aq

@aq.op
def one() -> int:
    return 1

@aq.op
def two(value: int) -> int:
    return value + 1

@aq.flow
def f():
    two(one())

@aq.flow
def g():
    one()
"""


def interrupted_at(repo: Repo, nth: int) -> list[dict[str, Any]] | None:
    """Run, and be interrupted when the clock is looked at for the nth time; None where it never is."""
    looks = count()

    def now() -> int:
        look = next(looks)
        if look == nth:
            raise KeyboardInterrupt
        return START + look

    events: list[dict[str, Any]] = []
    repo.context = replace(context(repo.root), now=now)
    try:
        repo.run("flow.py", on_event=events.append)
    except KeyboardInterrupt:
        return events
    return None


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_that_was_begun_is_told_to_its_end(tmp_path: Path, every: int) -> None:
    told: list[tuple[str, ...]] = []
    for nth in count(0, every):
        folder = tmp_path / str(nth)
        repo = create(folder)
        with repo:
            (folder / "flow.py").write_text(FLOW)
            events = interrupted_at(repo, nth)
            if events is None:
                break
            steps = [event for event in events if event["event"] == "step"]
            ended = [event for event in events if event["event"] == "done"]
            assert events[len(events) - len(ended) :] == ended and bool(ended) >= bool(steps)
            repo.context = context(folder)
            runs = {one.run: one for one in repo.runs()}
            for one in ended:
                known = runs[one["run"]]
                assert (one["status"], one["commit"]) == (known.status, known.commit)
            told.append(tuple(one["status"] for one in ended))
            assert [one.status for one in repo.run("flow.py")][0] in ("committed", "unchanged")
    assert {("failed",), ("uncommitted", "failed")} <= set(told)
    if every == 1:
        assert ("uncommitted", "uncommitted") in told
