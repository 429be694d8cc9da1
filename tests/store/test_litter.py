"""What killed processes leave is taken away by gc; what somebody works in is not."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from aq.store.system import disk, litter
from aq.store.system.staging import Staging
from aq.store.upkeep import gc

from tests.store.folder import SECOND, Bench, bench
from tests.store.scenario import in_child

__all__ = ["bench"]

HOUR = 3_600


def age(path: Path, seconds: float) -> Path:
    """As if it had been changed that long ago."""
    then = path.lstat().st_mtime - seconds
    os.utime(path, (then, then), follow_symlinks=False)
    return path


def make_litter(control: Path) -> set[str]:
    """One of each kind that a killed process can leave."""
    (control / "tmp/write-1-ab/3").mkdir(parents=True)
    (control / "tmp/write-1-ab/3/half").write_bytes(b"x" * 10)
    (control / "tmp/clock-1").touch()
    (control / "tmp/index-1").mkdir()
    (control / "tmp/link").symlink_to(control / "packs")
    os.mkfifo(control / "tmp/pipe")
    (control / "config.77.new").write_bytes(b"")
    return {"tmp/write-1-ab", "tmp/clock-1", "tmp/index-1", "tmp/link", "tmp/pipe", "config.77.new"}


def lying(control: Path) -> set[str]:
    tmp = {f"tmp/{path.name}" for path in (control / "tmp").iterdir()}
    return tmp | {path.name for path in control.iterdir() if path.name.endswith(".new")}


def test_gc_takes_all_kinds(bench: Bench) -> None:
    control = bench.store.control
    packs = set(os.listdir(control / "packs"))
    assert make_litter(control) == lying(control)
    gc.collect(bench.store, now=SECOND, user="ada", grace=0)
    assert lying(control) == set()
    assert packs <= set(os.listdir(control / "packs"))


def test_what_is_young_stays(bench: Bench) -> None:
    control = bench.store.control
    there = make_litter(control)
    assert litter.sweep(str(control), grace=HOUR * SECOND) == 0 and lying(control) == there
    (control / "format").touch()
    assert litter.sweep(str(control), grace=0) == len(there)
    assert (control / "format").exists() and (control / "packs").is_dir()


def test_a_time_in_the_far_future_is_no_shelter(bench: Bench) -> None:
    control = bench.store.control
    (control / "tmp/clock-9").touch()
    age(control / "tmp/clock-9", -10 * HOUR)
    assert litter.sweep(str(control), grace=HOUR * SECOND) == 1


def test_what_is_locked_stays(bench: Bench) -> None:
    control = bench.store.control
    with Staging(os.fsencode(control / "tmp")) as mine:
        (Path(os.fsdecode(mine.path)) / "file").touch()
        assert litter.sweep(str(control), grace=0) == 0
        assert os.listdir(mine.path) == [b"file"]
    assert lying(control) == set()


def test_what_a_killed_writer_held_goes(bench: Bench) -> None:
    control = bench.store.control

    def die() -> None:
        staging = Staging(os.fsencode(control / "tmp"))
        staging.subfolder()
        os.kill(os.getpid(), signal.SIGKILL)

    assert os.WTERMSIG(in_child(die)) == signal.SIGKILL
    assert len(lying(control)) == 1
    assert litter.sweep(str(control), grace=0) == 1 and lying(control) == set()


def test_collectors_in_a_race_take_nothing_from_the_living(bench: Bench) -> None:
    """Also where one is swept between its making and its lock: then another one is made."""
    control = bench.store.control
    pid = os.fork()
    if pid == 0:
        while True:
            litter.sweep(str(control), grace=0)
    try:
        for number in range(300):
            with Staging(os.fsencode(control / "tmp")) as mine:
                disk.write_new(mine.fd, b"file", b"%d" % number, mode=0o600, path=b"file")
                place = mine.subfolder()
                assert sorted(os.listdir(mine.path)) == sorted([b"file", place])
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    litter.sweep(str(control), grace=0)
    assert lying(control) == set()


def test_what_cannot_be_removed_is_left_and_no_error(bench: Bench) -> None:
    control = bench.store.control
    (control / "tmp/clock-1").touch()

    def refuse(call: str, path: str) -> None:
        if path.endswith("clock-1"):
            raise PermissionError(13, "Permission denied")

    with disk.observed(refuse):
        assert litter.sweep(str(control), grace=0) == 0
    assert lying(control) == {"tmp/clock-1"}


def test_a_missing_folder_for_them_is_made_again(bench: Bench) -> None:
    control = bench.store.control
    (control / "tmp").rmdir()
    gc.collect(bench.store, now=SECOND, user="ada", grace=0)
    assert (control / "tmp").is_dir()
