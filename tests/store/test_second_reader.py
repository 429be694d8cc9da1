"""Small files read by two processes: the same snapshot as by one, also where the second one fails or dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from aq.formats.contents.files import whole_bytes
from aq.formats.identity import Kind, object_id
from aq.formats.objects import get_record
from aq.formats.records import Artifact
from aq.store.commits import snapshots
from aq.store.folder import intake, second_reader
from aq.store.folder.second_reader import Reader
from aq.store.system import disk
from aq.store.system.stats import pack_stat

from tests.store.folder import Bench, bench

__all__ = ["bench"]

FOLDERS, FILES = 4, 300


def content_of(folder: int, number: int) -> str:
    return f"{folder}/{number}|" * (number % 90)


@pytest.fixture
def many(bench: Bench) -> Bench:
    for folder in range(FOLDERS):
        for number in range(FILES):
            bench.write(f"d/{folder}/{number:04}", content_of(folder, number))
    bench.write("d/3/large", "x" * 100_000)
    bench.settle()
    bench.add("d")
    return bench


@pytest.fixture
def helped(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Reader[Any]], None]], list[Reader[Any]]]:
    """Have a second process begin with the first file; what is done with it, and all that began."""
    begun: list[Reader[Any]] = []
    start = second_reader.start

    def let(do: Callable[[Reader[Any]], None]) -> list[Reader[Any]]:
        def started() -> Reader[Any] | None:
            made: Reader[Any] | None = start()
            if made is None:
                pytest.skip("there is one processor")
            begun.append(ready(made))
            do(made)
            return made

        monkeypatch.setattr(intake, "_HELPED_FROM", 1)
        monkeypatch.setattr(second_reader, "start", started)
        return begun

    return let


def ready(reader: Reader[Any]) -> Reader[Any]:
    while not reader.is_free:
        time.sleep(0.01)
    return reader


def require_all(many: Bench) -> None:
    """Commit, and find every file's content."""
    snapshot, tally = many.work.take(many.work.head())
    assert (tally.added, tally.changed, tally.removed) == (FOLDERS * FILES + 1, 0, 0)
    many.commit_snapshot(snapshot)
    found = dict(snapshots.entries(many.store, snapshot))
    assert len(found) == FOLDERS * FILES + 1
    for folder in range(FOLDERS):
        for number in range(FILES):
            artifact = get_record(many.store, Artifact, found[f"d/{folder}/{number:04}"].artifact)
            assert whole_bytes(artifact, many.store) == content_of(folder, number).encode()
    assert many.changes() == {}


def test_read_by_two(many: Bench, helped: Callable[..., list[Reader[Any]]]) -> None:
    given: list[int] = []

    def count(reader: Reader[Any]) -> None:
        give = reader.give

        def counted(work: Any, folder: bytes, names: list[bytes], stats: list[bytes]) -> None:
            given.append(len(names))
            give(work, folder, names, stats)

        reader.give = counted  # type: ignore[method-assign]

    begun = helped(count)
    require_all(many)
    assert given
    (reader,) = begun
    with pytest.raises(ProcessLookupError):
        os.kill(reader.pid, 0)


def test_a_reader_that_dies_costs_nothing(many: Bench, helped: Callable[..., list[Reader[Any]]]) -> None:
    helped(lambda reader: os.kill(reader.pid, signal.SIGKILL))
    require_all(many)


def test_a_reader_that_dies_with_work_in_hand(many: Bench, helped: Callable[..., list[Reader[Any]]]) -> None:
    def stop(reader: Reader[Any]) -> None:
        give = reader.give

        def last(work: Any, folder: bytes, names: list[bytes], stats: list[bytes]) -> None:
            os.kill(reader.pid, signal.SIGSTOP)
            give(work, folder, names, stats)
            os.kill(reader.pid, signal.SIGKILL)

        reader.give = last  # type: ignore[method-assign]

    helped(stop)
    require_all(many)


def test_what_the_reader_leaves(bench: Bench) -> None:
    """Files that are not as they were listed, or gone, and folders that are: no id, and no frame."""
    for name in ("a", "b", "c", "e"):
        bench.write(f"d/{name}", f"<{name}>")
    folder = os.path.join(os.fsencode(bench.root), b"d")
    names = [b"a", b"b", b"c", b"e"]
    stats = [pack_stat(os.stat(os.path.join(folder, name))) for name in names]
    bench.write("d/b", "<other>")
    (bench.root / "d" / "c").unlink()
    reader: Reader[str] | None = second_reader.start()
    if reader is None:
        pytest.skip("there is one processor")
    with closing(reader):
        ready(reader).give("first", folder, names, stats)
        reader.give("second", folder + b"/gone", names, stats)
        heard = reader.hear(wait=True)
        assert heard is not None and heard[0] == "first"
        _, ids, frames = heard
        assert [bool(id) for id in ids] == [True, False, False, True]
        assert frames.ids == [ids[0], ids[3]]
        assert [object_id(Kind.ARTIFACT, frames.record(number)) for number in (0, 1)] == frames.ids
        heard = reader.hear(wait=True)
        assert heard is not None and heard[:2] == ("second", [b""] * 4) and heard[2].size == 0
        assert reader.hear(wait=True) is None


def test_nobody_reads_where_changes_are_counted() -> None:
    with disk.observed(lambda call, path: None):
        assert second_reader.start() is None
