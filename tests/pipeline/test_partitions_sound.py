"""By property: after any sequence of runs of partitions, edits, new data and removals the store holds what a
naive run of each partition gives; no step runs that was seen; nothing is called up to date that is not.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aq.pipeline.repo import Repo
from hypothesis import given, settings, strategies as st

from tests.pipeline.repository import create

PARTS = (1, 2, 10)


@dataclass
class World:
    """What lies in the folder; `ran`: the value of each partition as its last run gave it; `depths`: the
    explicit depths of its last run; `seen`: all that steps were ever called with.
    """

    root: Path
    factor: int = 1
    offset: int = 1
    default: int = 0
    common: int = 1
    data: dict[int, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 1))
    ran: dict[int, int] = field(default_factory=dict)
    depths: dict[int, int | None] = field(default_factory=dict)
    seen: set[tuple[object, ...]] = field(default_factory=set)

    def write(self) -> None:
        (self.root / "flow.py").write_text(f"""
import aq
FACTOR, OFFSET = {self.factor}, {self.offset}

@aq.op
def shared(common: str) -> int:
    return int(common) * OFFSET

@aq.op
def own(text: str, shared: int, depth: int) -> int:
    return int(text) * FACTOR + shared + depth

@aq.metric
def size(own) -> float:
    return float(own)

@aq.flow(partition="part")
def p(part: int, depth: int = {self.default}):
    size(own(aq.read(f"{{part}}.txt"), shared(aq.read("common.txt")), depth))
""")
        (self.root / "report.py").write_text("""
import aq

@aq.op
def total(sizes: dict) -> float:
    return sum(sizes.values())

@aq.flow
def report():
    total(aq.read("p/*/size"))
""")
        (self.root / "common.txt").write_text(str(self.common))
        for part, value in self.data.items():
            (self.root / f"{part}.txt").write_text(str(value))

    def naive(self, part: int) -> int:
        depth = self.default if self.depths.get(part) is None else self.depths[part]
        assert depth is not None
        return self.data[part] * self.factor + self.common * self.offset + depth

    def steps(self, part: int) -> dict[str, tuple[object, ...]]:
        """All that each step of a partition depends on."""
        depth = self.default if self.depths.get(part) is None else self.depths[part]
        shared = self.common * self.offset
        return {
            "shared": ("shared", self.common, self.offset),
            "own": ("own", self.data[part], self.factor, shared, depth),
            "size": ("size", self.naive(part)),
        }


def run(repo: Repo, world: World, parts: list[int], **asked: Any) -> None:
    """One run, of which exactly these partitions may execute something."""
    planned: Any = repo.run(dry_run=True, **asked)
    events: dict[str, str] = {}

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            events[event["step"]] = event["status"]

    repo.run(on_event=hear, **asked)
    plan = {one.step: one.action for one in planned.steps}
    assert set(plan) == set(events)
    assert all(plan[step] == "run" for step, status in events.items() if status == "run")
    touched = [part for part in parts if f"p/part={part}/own" in events]
    for part in touched:
        for name, what in world.steps(part).items():
            state = "reused" if what in world.seen else "run"
            assert events[f"p/part={part}/{name}"] == state, (part, name)
            world.seen.add(what)
    assert {step.split("/")[1] for step in events if step.startswith("p/")} <= {
        f"part={part}" for part in parts
    }
    world.ran.update({part: world.naive(part) for part in parts})


def look(repo: Repo, world: World) -> None:
    """The store against the model, and what is said of it."""
    made = {one.path for one in repo.ls() if one.origin == "made" and one.path.startswith("p/")}
    assert made == {f"p/part={part}/{name}" for part in world.ran for name in ("shared", "own", "size")}
    for part, value in world.ran.items():
        assert repo.get(f"p/part={part}/own").load() == value
    metrics = repo.log()[0].metrics
    assert all(world.ran[int(path.split("/")[1][5:])] == value for path, value in metrics.items())
    for flow in repo.status().flows:
        if flow.flow == "p" and not flow.stale:
            part = int(flow.partition[5:])
            assert world.ran[part] == world.naive(part)
    if world.ran:
        newest = max(world.ran)
        assert repo.log()[0].newest in ({}, {"p/size": world.ran[newest]})


def all_up_to_date(repo: Repo, world: World) -> None:
    """`aq run`: afterwards everything is what a naive run gives, and a second one does nothing."""
    run(repo, world, sorted(world.ran))
    look(repo, world)
    assert not any(flow.stale for flow in repo.status().flows)
    assert {one.status for one in repo.run()} == {"unchanged"}
    assert len(repo.log()[0].metrics) == len(world.ran)
    sizes = {str(part): float(value) for part, value in sorted(world.ran.items())}
    assert list(repo.get("p/*/size").load().items()) == list(sizes.items())
    if any(one.path == "report/total" for one in repo.ls()):
        assert repo.get("report/total").load() == sum(sizes.values())


def act(repo: Repo, world: World, data: st.DataObject) -> None:
    """One step of the sequence."""
    what = data.draw(st.sampled_from(["one", "one", "edit", "data", "common", "all", "remove", "report"]))
    part = data.draw(st.sampled_from(PARTS))
    if what == "one":
        depth = data.draw(st.sampled_from([None, 1, 2]))
        world.depths[part] = depth
        given = {"part": str(part), **({} if depth is None else {"depth": str(depth)})}
        run(repo, world, [part], target="flow.py", params=given)
    elif what == "edit":
        name = data.draw(st.sampled_from(["factor", "offset", "default"]))
        setattr(world, name, data.draw(st.integers(0, 3)))
        world.write()
    elif what in ("data", "common"):
        value = data.draw(st.integers(0, 3))
        world.data[part] = value if what == "data" else world.data[part]
        world.common = value if what == "common" else world.common
        world.write()
    elif what == "remove" and part in world.ran and len(world.ran) > 1:
        repo.remove(f"p/part={part}")
        del world.ran[part]
    elif what == "report" and world.ran:
        repo.run("report.py")
    elif what == "all" and world.ran:
        all_up_to_date(repo, world)


def check(data: st.DataObject, length: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        with create(world.root) as repo:
            world.write()
            run(repo, world, [2], target="flow.py", params={"part": "2"})
            for _ in range(length):
                act(repo, world, data)
                look(repo, world)
            all_up_to_date(repo, world)


@settings(max_examples=2)
@given(st.data())
def test_partitions_are_what_naive_runs_give(data: st.DataObject) -> None:
    check(data, 6)


@pytest.mark.slow
@settings(max_examples=60)
@given(st.data())
def test_partitions_are_what_naive_runs_give_for_long(data: st.DataObject) -> None:
    check(data, 15)
