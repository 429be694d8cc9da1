"""Crashes: killed, refused or without power at every change of the disk (docs/format.md, section 4.6)."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aq.formats.errors import AqError
from aq.store.frames import sums
from aq.store.store import Store
from aq.store.system import disk

from tests.store.scenario import SIZES, check, commit, in_child, work

Hook = Callable[[str, str], None]
LAST = len(SIZES)


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: what was forced to the disk is watched, not waited for."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def template(memory: Path) -> Path:
    root = memory / "template"
    Store.create(root, time=0, user="ada").close()
    return root


@pytest.fixture
def fresh(template: Path, memory: Path) -> Iterator[Callable[[], Path]]:
    def copy() -> Path:
        shutil.rmtree(memory / "copy", ignore_errors=True)
        return Path(shutil.copytree(template, memory / "copy"))

    yield copy


class Acknowledged:
    """What a child tells before it dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.write_text("0")

    def __call__(self, number: int) -> None:
        self.path.write_text(str(number))

    def number(self) -> int:
        return int(self.path.read_text())


def at(n: int, act: Hook) -> Hook:
    """A hook that lets n calls pass and then acts."""
    seen = 0

    def hook(call: str, path: str) -> None:
        nonlocal seen
        seen += 1
        if seen > n:
            act(call, path)

    return hook


def calls_of_work(root: Path) -> list[str]:
    calls: list[str] = []
    with disk.observed(lambda call, path: calls.append(call)):
        work(root, lambda number: None)
    return calls


def count_calls(root: Path) -> int:
    return len(calls_of_work(root))


def kill(call: str, path: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_killed_at_every_change(fresh: Callable[[], Path], tmp_path: Path) -> None:
    calls = count_calls(fresh())
    assert calls > 40
    reached = set()
    for n in range(calls):
        root, acknowledged = fresh(), Acknowledged(tmp_path / "acknowledged")

        def body(n: int = n, root: Path = root, told: Acknowledged = acknowledged) -> None:
            with disk.observed(at(n, kill)):
                work(root, told)

        assert os.WTERMSIG(in_child(body)) == signal.SIGKILL
        reached.add(check(root, acknowledged.number(), acknowledged.number() + 1))
    assert reached == set(range(LAST + 1))


@pytest.mark.parametrize(("code", "chosen"), [(errno.ENOSPC, "create write"), (errno.EIO, "fsync")])
def test_refused_at_every_change(fresh: Callable[[], Path], code: int, chosen: str) -> None:
    """One refusal: that command fails, the same process goes on."""
    for n, name in enumerate(calls_of_work(fresh())):
        if name not in chosen.split():
            continue
        root, told, failures, seen = fresh(), [0], 0, 0

        def once(call: str, path: str, n: int = n) -> None:
            nonlocal seen
            seen += 1
            if seen == n + 1:
                raise OSError(code, os.strerror(code))

        with disk.observed(once), Store.open(root) as store:
            number = 1
            while number <= LAST:
                try:
                    commit(store, number)
                    told[0] = number
                except AqError:
                    failures += 1
                    assert failures == 1
                    if f"tag/v{number}" not in store.refs():
                        continue
                number += 1
        assert check(root, told[0], LAST) == LAST


def test_refused_for_ever_and_then_opened(fresh: Callable[[], Path]) -> None:
    """A disk that stays full: nothing can be taken back, and still the next process finds one truth."""
    paths: list[str] = []
    with disk.observed(lambda call, path: paths.append(path)):
        work(fresh(), lambda number: None)
    while Path(paths[-1]).name == sums.NAME:  # sums of the index: nobody misses them
        paths.pop()
    for n in range(0, len(paths), 2):
        root, told = fresh(), [0]

        def refuse(call: str, path: str) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with disk.observed(at(n, refuse)), pytest.raises(AqError):
            work(root, lambda number: told.__setitem__(0, number))  # noqa: B023
        check(root, told[0], told[0] + 1)


class Platter:
    """What a power failure leaves of the packs: bytes that were fsynced, names whose folder was."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
        self.names = set(self.sizes)
        self.before = ("", "")

    def __call__(self, call: str, path: str) -> None:
        done, where = self.before
        if done == "fsync" and Path(where) == self.folder:
            self.names = {file.name for file in self.folder.iterdir()}
        elif done == "fsync" and Path(where).parent == self.folder:
            self.sizes[Path(where).name] = os.path.getsize(where)
        self.before = (call, path)

    def lose_power(self, root: Path) -> None:
        (root / "platter").write_text(json.dumps([sorted(self.names), self.sizes]))

    @staticmethod
    def spin_up(root: Path) -> None:
        names, sizes = json.loads((root / "platter").read_text())
        (root / "platter").unlink()
        for file in (root / ".aq" / "packs").iterdir():
            if file.name not in names:
                file.unlink()
            elif file.stat().st_size > sizes.get(file.name, 0):
                os.truncate(file, sizes.get(file.name, 0))


def lose_power_everywhere(fresh: Callable[[], Path], told: Acknowledged, *, every: int = 1) -> None:
    calls = count_calls(fresh())
    for n in range(0, calls, every):
        root = fresh()
        told(0)

        def body(n: int = n, root: Path = root) -> None:
            platter = Platter(root / ".aq" / "packs")

            def die(call: str, path: str) -> None:
                platter.lose_power(root)
                kill(call, path)

            stop = at(n, die)

            def hook(call: str, path: str) -> None:
                platter(call, path)
                stop(call, path)

            with disk.observed(hook):
                work(root, told)

        assert os.WTERMSIG(in_child(body)) == signal.SIGKILL
        Platter.spin_up(root)
        check(root, told.number(), told.number() + 1)


def test_without_power_at_every_change(fresh: Callable[[], Path], tmp_path: Path) -> None:
    lose_power_everywhere(fresh, Acknowledged(tmp_path / "acknowledged"))


def test_that_test_has_teeth(
    fresh: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store forgets to fsync, losing power loses commits, and the test above says so."""
    monkeypatch.setattr(disk, "fsync", lambda fd, *, path: None)
    with pytest.raises((AssertionError, AqError)):
        lose_power_everywhere(fresh, Acknowledged(tmp_path / "acknowledged"), every=7)
