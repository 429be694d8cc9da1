"""Without power on a real file system: ext4 in a file, whose copy is mounted as after a failure.

What was forced survives; other files are empty, new names and renames of the last seconds are gone.
Skipped where this user may not mount.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aq.formats.errors import AqError
from aq.store.system import disk

from tests.faults.cases import CASES, Prepared, prepared
from tests.faults.oracle import copy_of
from tests.faults.points import Told, in_child, memory

SIZE = 96 << 20


def mount(image: Path, folder: Path) -> bool:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-o", "loop", str(image), str(folder)], capture_output=True)
    return done.returncode == 0


def unmount(folder: Path) -> None:
    subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    assert mount(image, folder)
    try:
        yield folder
    finally:
        unmount(folder)


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """A new file system that may be mounted."""
    if shutil.which("mkfs.ext4") is None or shutil.which("mount") is None:
        pytest.skip("mkfs.ext4 and mount are needed for a real file system to lose its power")
    with memory() as folder:
        made = folder / "image"
        with made.open("wb") as file:
            file.truncate(SIZE)
        subprocess.run(["mkfs.ext4", "-q", str(made)], check=True)
        if not mount(made, folder / "disk"):
            pytest.skip("this user may not mount a file system: its loss of power is only simulated")
        unmount(folder / "disk")
        yield made


def lose_power(name: str, image: Path, *, every: int, fsync: bool = True) -> int:
    """Play a case on a mounted file system; copy what its disk holds in front of each `every`-th change."""
    folder = image.parent
    with tempfile.TemporaryDirectory(dir=folder) as place:
        one = prepared(next(case for case in CASES if case.name == name), Path(place))
        copies: list[tuple[Path, int]] = []
        told = Told()
        with mounted(copied(image, Path(place) / "played"), Path(place) / "disk") as point:
            root = copy_of(one.template, point / "r")
            subprocess.run(["sync", "-f", str(point)], check=True)
            status = in_child(lambda: play(one, root, told, Path(place), every=every, fsync=fsync))
            os.chdir("/")
            assert status == 0
        for copy in sorted(Path(place).glob("copy-*")):
            copies.append((copy, int(copy.name.rpartition("-")[2])))
        for copy, done in copies:
            with mounted(copy, Path(place) / "disk") as point:
                one.judge_store(point / "r", done)
                os.chdir("/")
        return len(copies)


def copied(image: Path, target: Path) -> Path:
    subprocess.run(["cp", "--sparse=always", str(image), str(target)], check=True)
    return target


def play(one: Prepared, root: Path, told: Told, place: Path, *, every: int, fsync: bool) -> int:
    """In a child: the case, and a copy of the disk now and then."""
    seen = 0

    def hook(call: str, path: str) -> None:
        nonlocal seen
        seen += 1
        if seen % every == 0:
            copied(place / "played", place / f"copy-{seen}-{told.number()}")

    if not fsync:
        disk.fsync = lambda fd, *, path: None  # type: ignore[assignment]
        disk.fsync_folder = lambda path: None  # type: ignore[assignment]
    with disk.observed(hook):
        code = one.case.play(root, told)
    copied(place / "played", place / f"copy-{seen + 1}-{told.number()}")
    return code


def test_without_power_on_ext4(image: Path) -> None:
    assert lose_power("commit", image, every=4) > 3


@pytest.mark.slow
@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_without_power_on_ext4_at_any_change(image: Path, name: str) -> None:
    assert lose_power(name, image, every=1 if name in ("commit", "large", "run", "gc", "refs") else 7) > 5


def test_that_test_has_teeth(image: Path) -> None:
    with pytest.raises((AssertionError, AqError)):
        lose_power("commit", image, every=2, fsync=False)
