"""Without power at any moment: what was acknowledged is there, whatever of the rest has reached the disk."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.faults.cases import CASES, Prepared, prepared
from tests.faults.oracle import copy_of
from tests.faults.points import memory
from tests.faults.power import FAILED, Disk, Event, record

MANY = 2_000
NAMES = [case.name for case in CASES]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with memory() as folder:
        yield folder


@pytest.fixture(scope="module")
def tries(folder: Path) -> Iterator[_Tries]:
    yield _Tries(folder)


class _Tries:
    """Cases played on a recorded disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: dict[str, Prepared] = {}

    def prepared(self, name: str) -> Prepared:
        if name not in self.known:
            place = self.folder / name
            shutil.rmtree(place, ignore_errors=True)
            self.known[name] = prepared(next(case for case in CASES if case.name == name), place)
        return self.known[name]

    def record(
        self, name: str, *, fsync: bool = True, failing: str = ""
    ) -> tuple[Prepared, Disk, list[Event]]:
        """The case, a disk that has what was there before it, what happened."""
        one = self.prepared(name)
        disk = Disk(copy_of(one.template, one.template.parent / "r"))
        return one, disk, record(name, one.template.parent / "r", fsync=fsync, failing=failing)


def lose_power(one: Prepared, disk: Disk, events: Sequence[Event], *, share: float, states: int) -> int:
    """At each fsync and rename, and at a share of the other calls; returns the number of points.

    Each time with only what was forced to the disk, and `states` times with some of the rest.
    """
    seed = random.randrange(1_000_000)
    chance, done, points = random.Random(seed), 0, 0
    for number, event in enumerate(events):
        disk.do(event)
        done = event.number if event.call == "done" else done
        if event.call not in ("fsync", "done", "rename") and chance.random() >= share:
            continue
        for luck in [None, *[chance] * states]:
            points += 1
            try:
                examine(one, disk, done, luck)
            except BaseException as error:
                kind = "only what was forced" if luck is None else "some of the rest"
                error.add_note(f"{one.case.name}, seed {seed}: after call {number} {event[:3]}, {kind}")
                raise
    return points


def examine(one: Prepared, disk: Disk, done: int, chance: random.Random | None) -> None:
    after = one.template.parent / "after"
    shutil.rmtree(after, ignore_errors=True)
    disk.lose_power(after, chance)
    one.judge_store(after, done)


@pytest.mark.parametrize("name", ["commit", "gc"])
def test_without_power_at_some_moments(name: str, tries: _Tries) -> None:
    assert lose_power(*tries.record(name), share=0.1, states=1) > 10


@pytest.mark.soak
def test_without_power_at_any_moment(tries: _Tries, capsys: pytest.CaptureFixture[str]) -> None:
    points = sum(lose_power(*tries.record(name), share=1.0, states=5) for name in NAMES)
    with capsys.disabled():
        print(f"\nwithout power at {points} points: no violation")
    assert points >= MANY


@pytest.mark.parametrize(
    "name", ["commit", *(pytest.param(name, marks=pytest.mark.slow) for name in ("large", "gc"))]
)
def test_the_test_has_teeth(name: str, tries: _Tries) -> None:
    """Where the store does not force its packs to the disk, this very test finds that something is lost."""
    one, disk, events = tries.record(name, fsync=False)
    with pytest.raises(BaseException) as found:
        lose_power(one, disk, events, share=1.0, states=3)
    assert "only what was forced" in str(found.value.__notes__) or "some of the rest" in str(
        found.value.__notes__
    )


def fail_an_fsync(tries: _Tries, name: str, call: str, n: int) -> bool:
    """Let the n-th one fail, once; the command is given again, then power is lost. Whether there was an n-th.

    What it was to write is clean in memory from then on: a second fsync would succeed and write nothing.
    """
    one, disk, events = tries.record(name, failing=f"{call}:error=EIO:when={n}")
    if not any(event.call == "lose" for event in events):
        return False
    done = failed = 0
    for event in events:
        disk.do(event)
        if event.call == "done" and not failed:
            failed, done = divmod(event.number, FAILED)
            examine(one, disk, done, None)
        elif event.call == "done":
            done = event.number
    assert done == len(one.case.commands)
    after = one.template.parent / "after"
    shutil.rmtree(after, ignore_errors=True)
    disk.lose_power(after)
    one.judge_content(after)
    return True


def test_a_failed_fsync_is_not_tried_again_and_trusted(tries: _Tries) -> None:
    assert fail_an_fsync(tries, "commit", "fdatasync", random.randrange(1, 4))


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
def test_no_failed_fsync_is_tried_again_and_trusted(tries: _Tries, name: str, call: str) -> None:
    n = 1
    while fail_an_fsync(tries, name, call, n):
        n += 1
    assert n > 1 or call == "fsync"
