"""One suite for all executors: own workers, a command's, Dask, pools of processes and of threads."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from aq.formats.errors import Temporary, UsageError

from tests.pipeline.test_workers import SLOW, WIDE, Place, children, limited

WORKER = f"cmd:{shlex.quote(sys.executable)} -P -m aq worker"
KINDS = ["command", *(pytest.param(kind, marks=SLOW) for kind in ("own", "pool", "threads", "dask"))]


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def executor(kind: str) -> Iterator[Any]:
    """What is given to `run`: nothing, an executor, an address."""
    if kind == "own":
        yield None
    elif kind == "pool":
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            yield pool
    elif kind == "threads":
        with ThreadPoolExecutor(2) as threads:
            yield threads
    elif kind == "command":
        yield WORKER
    else:
        distributed = pytest.importorskip("distributed")
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, dashboard_address=None, processes=True
        ) as cluster:
            yield cluster.scheduler_address.replace("tcp://", "dask://")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path / "r")
    yield found
    found.repo.close()


def at(place: Place, executor: Any) -> Any:
    """A command's workers begin in the repository."""
    return executor.replace("aq worker", f"aq -C {place.root} worker") if executor == WORKER else executor


@pytest.mark.slow
def test_results_are_those_of_this_process(place: Place, executor: Any, tmp_path: Path) -> None:
    done = place.run(jobs=3, executor=at(place, executor), params={"count": 10_000})
    assert done.status == "committed"
    alone = Place(tmp_path / "alone")
    with alone.repo:
        assert alone.snapshot(alone.run(params={"count": 10_000})) == place.snapshot(done)
    assert place.run(jobs=3, executor=at(place, executor)).steps.run > 0
    assert place.run(jobs=3, executor=at(place, executor)).status == "unchanged"
    assert place.repo.logs("part1").text == "part 1\n"


@pytest.mark.slow
def test_an_edit_reaches_warm_processes(place: Place, executor: Any) -> None:
    assert place.run(jobs=2, executor=at(place, executor)).status == "committed"
    place.write(WIDE.replace("table.assign(k=k,", "table.assign(k=k + 1,"))
    assert place.run(jobs=2, executor=at(place, executor)).status == "committed"
    assert place.states()["part0"] == "run" and place.states()["rows"] == "reused"


@pytest.mark.parametrize(
    ("do", "limits", "failure"),
    [
        pytest.param("raise ValueError", {}, "op_failed", marks=SLOW),
        pytest.param("os.kill(os.getpid(), signal.SIGKILL)", {"timeout": "60"}, "killed", marks=SLOW),
        pytest.param('os.system("sleep 60")', {"timeout": "1"}, "timeout", marks=SLOW),
        pytest.param(
            "block = bytearray(b'x') * 500_000_000; time.sleep(60)",
            {"memory": '"400 MiB"'},
            "memory",
            marks=SLOW,
        ),
    ],
)
def test_a_step_that_ends_badly_costs_itself_alone_and_is_tried_again(
    place: Place, executor: Any, do: str, limits: dict[str, str], failure: str
) -> None:
    place.write(limited(do, failing=1, **limits))
    done = place.run(jobs=2, executor=at(place, executor), keep_going=True)
    assert done.error is not None and done.error["kind"] == failure, done.error
    assert place.states() == {"first": "run", "hard": "failed", "last": "cancelled", "beside": "run"}
    assert place.repo.logs(f"{done.run}:hard").text.startswith("try 0\n")
    (hard,) = [one for one in place.repo.steps(done.run) if one.step == "flow/hard"]
    assert hard.seconds >= float(limits.get("timeout", 0)) * (failure == "timeout")
    for old in place.root.glob("try*"):
        old.unlink()
    place.write(limited(do, failing=1, retries=1, **limits))
    assert place.run(jobs=2, executor=at(place, executor)).status == "committed"
    assert place.states()["first"] == "reused" and place.states()["hard"] == "run"


CHANGING = """
    import helper

    @aq.op
    def change() -> int:
        folder = pathlib.Path(__file__).parent
        for name in ("flow.py", "helper.py", "late.py"):
            (folder / name).unlink()
        (folder / "helper.py").write_text("VALUE = 'edited'")
        (folder / "new.py").write_text("VALUE = 'not there before'")
        return 1

    @aq.op
    def part(value: int, k: int) -> str:
        import late
        time.sleep(.2)
        return f"{helper.VALUE} {late.VALUE} {k}"

    @aq.flow
    def f():
        value = change()
        for k in range(4):
            part.named(f"part{k}")(value, k)
"""


def test_the_code_that_runs_is_that_of_the_snapshot_whatever_becomes_of_the_folder(
    place: Place, executor: Any
) -> None:
    place.write(CHANGING)
    for name in ("helper", "late"):
        (place.root / f"{name}.py").write_text(f"VALUE = '{name} as it was'")
    done = place.run(jobs=2, executor=at(place, executor))
    assert done.error is None, done.error
    for k in range(4):
        assert place.repo.get(f"{done.run}:f/part{k}").load() == f"helper as it was late as it was {k}"


HANGING = """
    @aq.op
    def hang(k: int) -> int:
        with open(pathlib.Path(__file__).parent.parent / "pids", "a") as file:
            file.write(f"{os.getpid()}\\n")
        os.system(f"sleep 300.{os.getpid()}")
        return k

    @aq.flow
    def f():
        for k in range(2):
            hang.named(f"hang{k}")(k)
"""


@pytest.mark.slow
def test_threads_have_processes_of_their_own_which_go_with_the_run(place: Place) -> None:
    before = children()
    with ThreadPoolExecutor(2) as threads:
        assert place.run(jobs=2, executor=threads).status == "committed"
        assert children() == before
        assert os.getpid() not in {pid for _, pid in place.notes()}
        assert threads.submit(os.getpid).result() == os.getpid()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=SLOW)])
def test_a_signal_ends_what_is_under_way_everywhere(
    place: Place, kind: str, executor: Any, number: int
) -> None:
    if kind in ("pool", "threads"):
        pytest.skip("an executor of the caller's own ends as the caller says")
    place.write(HANGING)
    place.repo.close()
    words = [] if executor is None else ["--executor", at(place, executor)]
    command = [sys.executable, "-P", "-m", "aq", "run", "-j", "2", "flow.py", *words]
    with subprocess.Popen(command, cwd=place.root, stderr=subprocess.PIPE) as process:
        pids = place.root.parent / "pids"
        wait(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        process.send_signal(number)
        process.communicate()
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[signal.Signals(number)]
    ops = [int(one) for one in pids.read_text().split()]
    wait(lambda: not any(map(alive, ops)))
    wait(lambda: not any(f"sleep 300.{op}" in commands() for op in ops))


def commands() -> str:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def wait(until: Any) -> None:
    for _ in range(10_000):
        if until():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come to pass")


@pytest.mark.parametrize("address", ["foo", "dask://nowhere", "dask://:1", "cmd: ", "cmd:'a"])
def test_an_address_that_is_none_is_refused_also_where_nothing_is_to_be_done(
    place: Place, address: str
) -> None:
    place.write("@aq.op\ndef a(): return 1\n@aq.flow\ndef f(): a()")
    for _ in range(2):
        with pytest.raises(UsageError, match=r"no executor|command of the executor|cmd: needs"):
            place.run(executor=address)
        with pytest.raises(UsageError, match=r"no executor|command of the executor|cmd: needs"):
            place.run(executor=address, dry_run=True)
        assert place.run().status in ("committed", "unchanged")


def test_nobody_is_asked_where_nothing_is_to_be_done(place: Place) -> None:
    place.write("@aq.op\ndef a(): return 1\n@aq.flow\ndef f(): a()")
    assert place.run().status == "committed"
    for address in ("dask://localhost:1", "cmd:false"):
        assert place.run(executor=address).status == "unchanged"
        assert place.run(executor=address, params={}, commit=False).steps.run == 0


def test_who_does_not_answer_is_told_and_can_be_tried_again(place: Place) -> None:
    place.write("@aq.op\ndef a(): return 1\n@aq.flow\ndef f(): a()")
    with pytest.raises(
        Temporary, match=r"no worker answers: sh -c .*: it ended \(exit code 3\): no route"
    ) as told:
        place.run(executor="cmd:sh -c 'echo no route >&2; exit 3'")
    assert told.value.hints == ("sh -c 'echo no route >&2; exit 3' < /dev/null",)
    with pytest.raises(UsageError, match="nosuchprogram cannot be started"):
        place.run(executor="cmd:nosuchprogram worker")


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_told(place: Place) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(Temporary, match="no Dask scheduler answers at localhost:1") as told:
        place.run(executor="dask://localhost:1")
    assert told.value.hints == ("dask scheduler --port 1",)


@pytest.mark.slow
def test_a_dask_worker_that_dies_costs_no_step(place: Place, kind: str, executor: Any) -> None:
    if kind != "dask":
        pytest.skip("who carries the steps is told apart for a command in test_commands")
    place.write(limited("os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)", failing=1))
    done = place.run(jobs=2, executor=executor)
    assert done.status == "committed", done.error
    assert place.states()["hard"] == "run"


MAPPED = """
    @aq.op
    def names(count: int) -> dict:
        return {f"k{number}": number for number in range(count)}

    @aq.op(retries=1, timeout=60)
    def load(number: int, by: int) -> dict:
        tried = pathlib.Path(__file__).parent / f"try{number}"
        if number == 2 and not tried.exists():
            tried.touch()
            DO
        print("loading", number)
        return {"number": number, "by": by}

    @aq.op
    def twice(one: dict) -> float:
        return 2.0 * one["number"] * one["by"]

    @aq.metric
    def total(values: dict) -> float:
        return sum(values.values())

    @aq.flow
    def f(count: int = 4, by: int = 3):
        total(aq.map(twice, aq.map(load, names(count), by=by)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("do", ["pass", "raise OSError", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_map_runs_its_items_there_and_what_dies_costs_its_item_alone(
    place: Place, executor: Any, do: str, tmp_path: Path
) -> None:
    place.write(MAPPED.replace("DO", do))
    done = place.run(jobs=3, executor=at(place, executor))
    assert (done.status, done.steps.run, done.metrics) == ("committed", 10, {"f/total": 36.0}), done.error
    assert place.repo.get("f/load/k3").load() == {"number": 3, "by": 3}
    assert place.repo.logs("f/load/k1").text == "loading 1\n"
    alone = Place(tmp_path / "alone")
    with alone.repo:
        alone.write(MAPPED.replace("DO", do.replace("os.kill(os.getpid(), signal.SIGKILL)", "pass")))
        assert alone.snapshot(alone.run()) == place.snapshot(done)
    done = place.run(jobs=3, executor=at(place, executor), params={"count": 5})
    assert (done.steps.run, done.metrics) == (4, {"f/total": 60.0}), "try2 is of its own making"
    assert {step for step, state in place.states().items() if state == "run"} == {
        "names", "load/k4", "twice/k4", "total",
    }  # fmt: skip
    assert place.run(jobs=3, executor=at(place, executor), params={"count": 5}).status == "unchanged"
