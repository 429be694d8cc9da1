"""Steps in processes of their own: many at once, limited, killed, tried again; the answer is the same."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from aq.formats.errors import AqError, UsageError
from aq.pipeline.records.outcomes import RunDone

from tests.pipeline.repository import create

HEAD = """
import os, pathlib, signal, sys, time
import aq
"""

WIDE = """
    import numpy as np
    import pandas as pd

    def note(text):
        with open(pathlib.Path(__file__).parent / "notes.txt", "a") as file:
            file.write(f"{text} {os.getpid()}\\n")

    @aq.op
    def rows(raw: pd.DataFrame, count: int) -> pd.DataFrame:
        note("rows")
        return pd.concat([raw] * count, ignore_index=True)

    @aq.op
    def part(table: pd.DataFrame, k: int) -> pd.DataFrame:
        note(f"part {k}")
        print("part", k)
        return table.assign(k=k, noise=np.random.rand(len(table)))

    @aq.op(outputs=("first", "second"))
    def halves(tables: list):
        note("halves")
        return [table["x"].sum() for table in tables], np.arange(5)

    @aq.metric(better="higher")
    def mean(sums: list) -> float:
        note("mean")
        return float(np.mean(sums))

    @aq.check
    def enough(mean: float) -> bool:
        note("enough")
        return mean > 0

    @aq.flow
    def wide(count: int = 3, parts: int = 3):
        table = rows(aq.read("a.csv"), count)
        sums, _ = halves([part.named(f"part{k}")(table, k) for k in range(parts)])
        enough(mean(sums))
"""


class Place:
    """A repository with a flow in flow.py."""

    def __init__(self, folder: Path, source: str = WIDE) -> None:
        self.repo = create(folder)
        self.root = self.repo.root
        (self.root / "a.csv").write_text("x,name\n1,a\n2,b\n3,c\n")
        self.write(source)
        self.events: list[dict[str, Any]] = []

    def write(self, source: str) -> None:
        (self.root / "flow.py").write_text(HEAD + dedent(source), "utf-8")

    def run(self, **asked: Any) -> RunDone:
        self.events.clear()
        return self.repo.run("flow.py", on_event=self.events.append, **asked)

    def states(self) -> dict[str, str]:
        return {
            event["step"].partition("/")[2]: event["status"]
            for event in self.events
            if event["event"] == "step"
        }

    def notes(self) -> list[tuple[str, int]]:
        """What ran, and in which process."""
        path = self.root / "notes.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [(line.rpartition(" ")[0], int(line.rpartition(" ")[2])) for line in lines]

    def snapshot(self, done: RunDone) -> dict[str, str]:
        return {one.path: one.id for one in self.repo.ls(done.run) if one.origin == "made"}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path / "r")
    yield found
    found.repo.close()


def children() -> set[int]:
    """The processes that this one has started, dead ones included."""
    found = set()
    for thread in Path("/proc/self/task").iterdir():
        found |= {int(one) for one in (thread / "children").read_text().split()}
    return found


def made(folder: Path, **asked: Any) -> tuple[dict[str, str], list[str], list[tuple[str, int]]]:
    one = Place(folder)
    with one.repo:
        done = one.run(**asked)
        assert done.status == "committed"
        return one.snapshot(done), [step.step for step in one.repo.steps()], one.notes()


def test_however_many_at_once_the_commit_is_the_same(tmp_path: Path) -> None:
    before = children()
    alone, alone_steps, alone_notes = made(tmp_path / "1")
    many, many_steps, many_notes = made(tmp_path / "2", jobs=3)
    assert many == alone and many_steps == alone_steps
    assert {pid for _, pid in alone_notes} == {os.getpid()}
    assert os.getpid() not in {pid for _, pid in many_notes}
    assert sorted(what for what, _ in many_notes) == sorted(what for what, _ in alone_notes)
    assert children() == before


def test_steps_that_do_not_need_each_other_run_at_once(place: Place) -> None:
    place.write("""
        @aq.op
        def meet(k: int) -> int:
            folder = pathlib.Path(__file__).parent
            (folder / f"here{k}").touch()
            for _ in range(1000):
                if all((folder / f"here{other}").exists() for other in range(3)):
                    return k
                time.sleep(.02)
            raise RuntimeError("nobody came")

        @aq.flow
        def meeting():
            for k in range(3):
                meet.named(f"meet{k}")(k)
    """)
    assert place.run(jobs=3).status == "committed"


def test_a_setting_says_how_many_and_what_is_no_number_is_refused(place: Place) -> None:
    place.repo.config("run.jobs", "2")
    assert place.run().status == "committed"
    assert os.getpid() not in {pid for _, pid in place.notes()}
    with pytest.raises(UsageError, match="from 1 on, not 0"):
        place.run(jobs=0)
    place.repo.config("run.jobs", "many")
    with pytest.raises(AqError, match=r"run\.jobs is 'many'"):
        place.run()


def test_what_is_large_goes_through_the_store_and_what_is_small_is_flushed_with_others(place: Place) -> None:
    done = place.run(jobs=2, params={"count": 40_000})
    table = place.repo.get(f"{done.commit}:wide/part2").load()
    assert len(table) == 120_000 and set(table["k"]) == {2}
    again = place.run(jobs=2, params={"count": 40_000})
    assert again.status == "unchanged"
    assert place.repo.logs("part1").text == "part 1\n"
    assert place.repo.fsck(full=True).problems == []


LIMITS = """
    @aq.op
    def first() -> int:
        return 1

    @aq.op(retries=RETRIES, timeout=TIMEOUT, memory=MEMORY)
    def hard(value: int) -> int:
        folder = pathlib.Path(__file__).parent
        tries = len(list(folder.glob("try*")))
        (folder / f"try{tries}").touch()
        print("try", tries, flush=True)
        if tries < FAILING:
            DO
        return value + 1

    @aq.op
    def last(value: int) -> int:
        return value

    @aq.op
    def beside() -> int:
        return 2

    @aq.flow
    def flow():
        last(hard(first()))
        beside()
"""


def limited(
    do: str, *, failing: int = 9, retries: int = 0, timeout: str = "None", memory: str = "None"
) -> str:
    source = LIMITS.replace("DO", do).replace("FAILING", str(failing)).replace("RETRIES", str(retries))
    return source.replace("TIMEOUT", timeout).replace("MEMORY", memory)


HANG = 'os.system("sleep 60")'
GROW = "block = bytearray(b'x') * 500_000_000; time.sleep(60)"
SLOW = pytest.mark.slow
DYING = [
    (HANG, {"timeout": "1.5"}, "timeout", r"took longer than its timeout of 1\.5 s"),
    (GROW, {"memory": '"400 MiB"'}, "memory", r"used .*iB of memory, more than its limit of 400 MiB"),
    (
        "os.kill(os.getpid(), signal.SIGKILL)",
        {},
        "killed",
        r"killed \(SIGKILL\): the system may have run out",
    ),
    pytest.param(
        "os.kill(os.getpid(), signal.SIGSEGV)", {}, "killed", r"its process crashed \(SIGSEGV\)", marks=SLOW
    ),
    pytest.param("os._exit(3)", {}, "killed", r"ended by itself, with exit code 3", marks=SLOW),
]


@pytest.mark.parametrize(("do", "limits", "kind", "message"), DYING)
def test_a_step_that_is_ended_is_told_in_one_line_and_the_rest_is_kept(
    place: Place, do: str, limits: dict[str, str], kind: str, message: str
) -> None:
    before = children()
    place.write(limited(do, **limits))
    done = place.run(jobs=1 if limits else 2, keep_going=True)
    assert done.status == "failed" and done.error is not None
    assert done.error["kind"] == kind and re.search(message, done.error["message"])
    assert "\n" not in done.error["message"]
    expected = {"first": "run", "hard": "failed", "last": "cancelled", "beside": "run"}
    assert place.states() == expected
    log = place.repo.logs(f"{done.run}:hard")
    assert log.text.startswith("try 0\n") and re.search(message, log.text)
    (hard,) = [one for one in place.repo.steps(done.run) if one.step == "flow/hard"]
    assert hard.seconds >= (1.5 if kind == "timeout" else 1e-4), "a lost process cannot tell how long it took"
    assert children() == before
    place.write(limited("pass", **limits))
    assert place.run(jobs=2).status == "committed"
    assert place.states()["first"] == "reused"


@pytest.mark.parametrize(
    ("do", "limits"),
    [pytest.param(HANG, {"timeout": "1.5"}, marks=SLOW), ("os._exit(3)", {"timeout": "60"})],
)
def test_a_step_that_is_ended_is_tried_again_and_its_log_tells_of_every_attempt(
    place: Place, do: str, limits: dict[str, str]
) -> None:
    place.write(limited(do, failing=2, retries=2, **limits))
    assert place.run().status == "committed"
    assert place.states()["hard"] == "run"
    text = place.repo.logs("hard").text
    assert [line for line in text.splitlines() if line.startswith(("try", "attempt"))] == [
        "try 0",
        "attempt 1 of 3 failed",
        "try 1",
        "attempt 2 of 3 failed",
        "try 2",
    ]


def test_an_exception_in_a_worker_is_told_as_here(place: Place) -> None:
    place.write(limited("raise ValueError('too hard')", retries=1))
    done = place.run(jobs=2)
    assert done.error is not None and done.error["message"] == "ValueError: too hard"
    assert "flow.py" in done.error["trace"] and "execute.py" not in done.error["trace"]
    assert place.repo.logs(f"{done.run}:hard").text.count("ValueError: too hard") == 2


@pytest.mark.parametrize("wrong", ["raise KeyboardInterrupt", "sys.exit(0)"])
def test_an_op_that_ends_itself_fails_and_ends_nothing_else(place: Place, wrong: str) -> None:
    place.write(limited(wrong))
    done = place.run(jobs=2, keep_going=True)
    assert place.states() == {"first": "run", "hard": "failed", "last": "cancelled", "beside": "run"}
    assert done.error is not None and done.error["kind"] == "op_failed"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ('timeout="soon"', "timeout='soon' is no time span"),
        ("timeout=0", "timeout=0 is no time span"),
        ("timeout=True", "timeout=True is no time span"),
        ('memory="lots"', "memory='lots' is no size"),
        ("memory=-1", "memory=-1 is no size"),
        ("retries=-1", "retries=-1: use a number"),
        ('retries="2"', "retries='2': use a number"),
    ],
)
def test_limits_that_are_none_are_refused_before_anything_runs(
    place: Place, options: str, message: str
) -> None:
    place.write(f"@aq.op({options})\ndef a(): return 1\n@aq.flow\ndef f(): a()")
    with pytest.raises(UsageError, match=re.escape(message)):
        place.run()


def test_a_flow_that_says_something_else_each_time_runs_where_it_was_read(place: Place) -> None:
    place.write("""
        @aq.op
        def stamp(when: float, where: int) -> float:
            assert where == os.getpid(), "the value of another process"
            return when

        @aq.flow
        def now():
            stamp(time.time(), os.getpid())
    """)
    assert place.run(jobs=2).status == "committed"


def test_a_file_edited_while_a_run_is_under_way_does_not_reach_its_workers(place: Place) -> None:
    place.write("""
        import helper

        @aq.op(retries=1)
        def again(value: int) -> str:
            folder = pathlib.Path(__file__).parent
            if not (folder / "once").exists():
                (folder / "once").touch()
                (folder / "helper.py").write_text("VALUE = 'edited'")
                os.kill(os.getpid(), signal.SIGKILL)
            return helper.VALUE

        @aq.flow
        def f():
            again(1)
    """)
    (place.root / "helper.py").write_text("VALUE = 'as it was'")
    done = place.run(jobs=2)
    assert place.repo.get(f"{done.run}:f/again").load() == "as it was"


def test_a_worker_that_was_killed_while_idle_is_replaced_and_no_step_fails(place: Place) -> None:
    place.write("""
        def meet(k):
            folder = pathlib.Path(__file__).parent
            (folder / k).touch()
            while len(list(folder.glob(k[0] + "?"))) < 2:
                time.sleep(.01)
            return os.getpid()

        @aq.op
        def one(k: str) -> int:
            return meet(k)

        @aq.op
        def shoot(pids: list) -> int:
            (other,) = set(pids) - {os.getpid()}
            os.kill(other, signal.SIGKILL)
            return other

        @aq.op
        def after(shot: int, k: str) -> bool:
            return meet(k) != shot

        @aq.flow
        def f():
            shot = shoot([one.named(k)(k) for k in ("a1", "a2")])
            for k in ("b1", "b2"):
                after.named(k)(shot, k)
    """)
    done = place.run(jobs=2)
    assert done.status == "committed", done.error
    assert place.repo.get(f"{done.commit}:f/b1").load() is True


def test_code_that_kills_whoever_loads_it_is_told(place: Place) -> None:
    place.write("""
        if "worker" in sys.argv[0]:
            os._exit(7)

        @aq.op
        def one() -> int:
            return 1

        @aq.flow
        def f():
            one()
    """)
    done = place.run(jobs=2)
    assert done.error is not None and done.error["message"].endswith("exit code 7 before the op began")
