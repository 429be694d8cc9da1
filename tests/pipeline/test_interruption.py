"""Wherever a signal ends a run, its stream ends with `done`, and what that says is so."""

from __future__ import annotations

from collections.abc import Iterator
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


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repo]:
    """A flow of which the second step is interrupted."""
    with create(tmp_path) as made:
        (made.root / "flow.py").write_text(FLOW.replace("return value + 1", "raise KeyboardInterrupt"))
        yield made


def test_a_run_is_recorded_with_what_had_finished(repo: Repo) -> None:
    with pytest.raises(KeyboardInterrupt):
        repo.run("flow.py:f")
    (entry,) = repo.runs()
    assert (entry.status, entry.commit) == ("failed", None)
    assert {one.step: one.status for one in repo.steps("run:last")} == {"f/one": "run", "f/two": "cancelled"}
    (repo.root / "flow.py").write_text(FLOW)
    done: Any = repo.run("flow.py:f")
    assert (done.status, done.steps.run, done.steps.reused) == ("committed", 1, 1)


def test_where_the_store_was_taking_something_in_it_is_told_and_nothing_recorded(repo: Repo) -> None:
    def heard(event: dict[str, Any]) -> None:
        events.append(event)
        if event["event"] == "start" and event["step"] == "f/two":
            repo.store.dropped += 1  # as where the signal comes in the midst of a put

    events: list[dict[str, Any]] = []
    with pytest.raises(KeyboardInterrupt):
        repo.run("flow.py", on_event=heard)
    done = events[-1]
    assert (done["event"], done["run"], done["commit"], done["status"]) == ("done", None, None, "failed")
    assert (done["steps"].run, done["steps"].cancelled) == (1, 1)
    assert repo.runs() == []
