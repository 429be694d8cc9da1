"""A large file takes the place of another one: whole at every moment, with nothing left behind."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from aq.formats.errors import AqError
from aq.store.commits import history
from aq.store.folder import materialize
from aq.store.system import disk

from tests.store.folder import Bench, bench

__all__ = ["bench"]

SIZE = 17 << 20


@pytest.fixture
def versions(bench: Bench) -> list[bytes]:
    """Two commits of a large file; the folder holds the second."""
    found = []
    for number in range(2):
        data = os.urandom(1 << 20) * (SIZE >> 20)
        bench.write("big", data)
        if not number:
            bench.add(".")
        bench.settle()
        bench.commit()
        found.append(data)
    return found


def restore(bench: Bench) -> None:
    first = bench.store.refs()["branch/main"].id
    assert first is not None
    parent = history.commit(bench.store, first).parents[0]
    bench.work.restore(bench.snapshot_of(parent), ["big"])


def calls(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    found: list[bool] = []
    exchange = disk.exchange_at

    def seen(*places: object, path: bytes) -> bool:
        found.append(exchange(*places, path=path))  # type: ignore[arg-type]
        return found[-1]

    monkeypatch.setattr(materialize.disk, "exchange_at", seen)
    return found


@pytest.mark.skipif(disk._renameat2() is None, reason="renameat2 needs Linux")
def test_it_changes_places_and_the_old_one_is_removed(
    bench: Bench, versions: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = calls(monkeypatch)
    with open(bench.root / "big", "rb") as old:
        restore(bench)
        assert old.read() == versions[1]
    assert found == [True]
    assert (bench.root / "big").read_bytes() == versions[0]
    assert not [name for name in os.listdir(bench.root / ".aq/tmp") if name.startswith("write")]
    assert [path for path, _ in bench.status().changes] == ["big"]


def test_without_the_call_it_is_renamed(
    bench: Bench, versions: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_renameat2", lambda: None)
    restore(bench)
    assert (bench.root / "big").read_bytes() == versions[0]


@pytest.mark.skipif(disk._renameat2() is None, reason="renameat2 needs Linux")
def test_a_folder_that_came_there_meanwhile_is_not_removed(tmp_path: Path) -> None:
    staging, work = tmp_path / "staging", tmp_path / "work"
    staging.mkdir()
    work.mkdir()
    (staging / "new").write_bytes(b"new")
    (work / "name").write_bytes(b"old")
    exchange = disk.exchange_at

    def late(*places: object, path: bytes) -> bool:
        if (work / "name").is_file() and (work / "name").read_bytes() == b"old":
            (work / "name").unlink()
            (work / "name").mkdir()
            (work / "name" / "precious").touch()
        return exchange(*places, path=path)  # type: ignore[arg-type]

    fds = [os.open(place, os.O_RDONLY) for place in (staging, work)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(materialize.disk, "exchange_at", late)
        assert not materialize._is_exchanged(fds[0], b"new", fds[1], b"name", b"name")
    assert (work / "name" / "precious").exists()
    assert (staging / "new").read_bytes() == b"new"
    for fd in fds:
        os.close(fd)


@pytest.mark.parametrize("at", range(4))
def test_cut_off_anywhere_the_name_has_one_whole_version(
    bench: Bench, versions: list[bytes], at: int
) -> None:
    """The disk refuses one of the last changes and all after it: one version lies there, whole."""
    seen: list[str] = []

    def count(call: str, path: str) -> None:
        seen.append(call)

    with disk.observed(count):
        restore(bench)
    assert (bench.root / "big").read_bytes() == versions[0]
    bench.write("big", versions[1])
    last = len(seen) - 1 - at
    made: list[str] = []

    def fail(call: str, path: str) -> None:
        made.append(call)
        if len(made) > last:
            raise OSError(5, "Input/output error")

    with disk.observed(fail), suppress(AqError):  # what is left over may stay, and be no error
        restore(bench)
    assert len(made) > last
    assert (bench.root / "big").read_bytes() in versions
