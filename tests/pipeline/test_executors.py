"""One suite for all executors: own workers, a pool of processes, a Dask cluster."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from aq.formats.errors import Temporary, UsageError

from tests.pipeline.test_workers import WIDE, Place, limited

KINDS = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("own", "pool", "dask")]


@pytest.fixture(scope="module", params=KINDS)
def executor(request: pytest.FixtureRequest) -> Iterator[Any]:
    """What is given to `run`: nothing, an executor, an address."""
    if request.param == "own":
        yield None
    elif request.param == "pool":
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            yield pool
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


def test_results_are_those_of_this_process(place: Place, executor: Any, tmp_path: Path) -> None:
    done = place.run(jobs=3, executor=executor, params={"count": 10_000})
    assert done.status == "committed"
    alone = Place(tmp_path / "alone")
    with alone.repo:
        assert alone.snapshot(alone.run(params={"count": 10_000})) == place.snapshot(done)
    assert place.run(jobs=3, executor=executor).steps.run > 0
    assert place.run(jobs=3, executor=executor).status == "unchanged"
    assert place.repo.logs("part1").text == "part 1\n"


def test_an_edit_reaches_warm_processes(place: Place, executor: Any) -> None:
    assert place.run(jobs=2, executor=executor).status == "committed"
    place.write(WIDE.replace("table.assign(k=k,", "table.assign(k=k + 1,"))
    assert place.run(jobs=2, executor=executor).status == "committed"
    assert place.states()["part0"] == "run" and place.states()["rows"] == "reused"


@pytest.mark.parametrize(
    ("do", "limits", "kind"),
    [
        ("raise ValueError", {}, "op_failed"),
        ("os.kill(os.getpid(), signal.SIGKILL)", {"timeout": "60"}, "killed"),
        ('os.system("sleep 60")', {"timeout": "1"}, "timeout"),
    ],
)
def test_a_step_that_ends_badly_costs_itself_alone_and_is_tried_again(
    place: Place, executor: Any, do: str, limits: dict[str, str], kind: str
) -> None:
    place.write(limited(do, failing=1, **limits))
    done = place.run(jobs=2, executor=executor, keep_going=True)
    assert done.error is not None and done.error["kind"] == kind, done.error
    assert place.states() == {"first": "run", "hard": "failed", "last": "cancelled", "beside": "run"}
    assert place.repo.logs(f"{done.run}:hard").text.startswith("try 0\n")
    for old in place.root.glob("try*"):
        old.unlink()
    place.write(limited(do, failing=1, retries=1, **limits))
    assert place.run(jobs=2, executor=executor).status == "committed"
    assert place.states()["first"] == "reused" and place.states()["hard"] == "run"


@pytest.mark.parametrize("address", ["dask", "dask://nowhere", "http://x:1", "remote"])
def test_an_address_that_is_none_is_refused(place: Place, address: str) -> None:
    with pytest.raises(UsageError, match="no executor"):
        place.run(executor=address)


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_told(place: Place) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(Temporary, match="no Dask scheduler answers at localhost:1"):
        place.run(executor="dask://localhost:1")
