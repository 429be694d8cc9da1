"""The second process that looks at files from the end: it changes no answer, whatever it has seen by then."""

from __future__ import annotations

import os
import signal
import socket
import time
from itertools import pairwise
from pathlib import Path

import pytest
from aq.store.folder import folders, scan
from aq.store.system import lookahead, stats
from aq.store.system.lookahead import Lookahead, Piece, split
from hypothesis import given, strategies as st

from tests.store.folder import Bench, bench

__all__ = ["bench"]

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="the second process needs Linux")


def tree(root: Path) -> None:
    """Folders in folders, links, a pipe, odd names, and one folder of more files than a piece has."""
    for number in range(3):
        for path in ("a", "a/b/c", "a-", "a.d", "z/empty/deep", "\udcff/x"):
            place = root / path
            place.mkdir(parents=True, exist_ok=True)
            (place / f"file {number}\n").write_bytes(bytes(number))
    (root / "none").mkdir()
    (root / "large").mkdir()
    for number in range(2 * stats.PIECE + 5):
        (root / "large" / f"{number:05}").touch()
    (root / "large" / "inside").mkdir()
    (root / "large" / "inside" / "x").touch()
    (root / "link").symlink_to("a")
    (root / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "a" / "pipe")


def wait_for_all(ahead: Lookahead) -> None:
    """Until it has ended by itself."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        if os.waitid(os.P_PID, ahead._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(0.01)
    raise AssertionError("it does not end")


def test_it_sees_what_its_caller_would_see(tmp_path: Path) -> None:
    tree(tmp_path)
    root = os.fsencode(tmp_path)
    ahead = Lookahead(root)
    try:
        wait_for_all(ahead)
        for place, _folders, _files in os.walk(root):
            folder = b"" if place == root else os.path.relpath(place, root)
            expected = folders.stats_in(place, sorted(os.listdir(place)))
            piece = ahead.whole(folder)
            assert (piece is None) == (folder == b"large")
            if piece is not None:
                assert folders.listed_of(piece) == expected
            else:
                tail = ahead.tail(folder)
                assert len(tail) == 3
                assert all(later.names[-1] < former.names[0] for former, later in pairwise(tail))
                names = sorted(os.listdir(place))
                assert folders.stats_beside(place, names, lambda tail=tail: tail) == expected
    finally:
        ahead.close()


def test_it_goes_into_no_other_repository_and_through_no_link(tmp_path: Path) -> None:
    for folder in ("other/.aq", "other/data", "outside/deep"):
        (tmp_path / "work" / folder if folder[:2] != "ou" else tmp_path / folder).mkdir(parents=True)
    (tmp_path / "work" / "link").symlink_to(tmp_path / "outside")
    seen = {folder for folder, *_ in stats.pieces(os.fsencode(tmp_path / "work"))}
    assert seen == {b""}


def test_it_ends_with_its_caller_and_leaves_no_child_behind(tmp_path: Path) -> None:
    tree(tmp_path)
    ahead = Lookahead(os.fsencode(tmp_path))
    pid = ahead._pid
    ahead.close()
    ahead.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("crowd")
    for number in range(300):
        (place / f"{number:03}").write_bytes(bytes(number % 7))
    (place / "150.d").mkdir()
    with socket.socket(socket.AF_UNIX) as one:
        here = os.open(".", os.O_RDONLY)
        try:
            os.chdir(place)
            one.bind("151.s")
        finally:
            os.chdir(here)
    return place


@given(data=st.data(), step=st.sampled_from((1, 7, 64, 400)))
def test_whatever_it_has_seen_of_a_folder_the_answer_is_the_same(
    crowd: Path, data: st.DataObject, step: int
) -> None:
    """Pieces arrive at any time, of any sizes; together they are always an end of the folder."""
    full = os.fsencode(crowd)
    names = sorted(os.listdir(full))
    expected = folders.stats_in(full, names)
    joined = b"".join(stats.pack_stats(os.lstat(os.path.join(full, name)) for name in names))
    ends = sorted(data.draw(st.sets(st.integers(0, len(names)))) | {len(names)}, reverse=True)
    pieces = [Piece(names[a:b], joined[a * 44 : b * 44]) for b, a in pairwise(ends)]
    arrivals = iter(sorted(data.draw(st.lists(st.integers(0, len(pieces)), max_size=40))))
    size, folders.PIECE = folders.PIECE, step
    try:
        assert folders.stats_beside(full, names, lambda: pieces[: next(arrivals, len(pieces))]) == expected
    finally:
        folders.PIECE = size


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> list[Lookahead]:
    """Have every scan use it, and wait for some of what it sees; the list of those that were used."""
    used: list[Lookahead] = []
    start = lookahead.start

    def started(root: bytes, files: int) -> Lookahead | None:
        ahead = start(root, files + lookahead.WORTH_FROM)
        assert ahead is not None
        used.append(ahead)
        if len(used) % 3 == 0:
            os.kill(ahead._pid, signal.SIGKILL)
        elif len(used) % 3 == 1:
            wait_for_all(ahead)
        return ahead

    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    monkeypatch.setattr(scan.lookahead, "start", started)
    return used


def test_status_and_commit_tell_the_same_with_it(
    bench: Bench, always: list[Lookahead], monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in range(5):
        for file in range(20):
            bench.write(f"d{folder}/f{file:02}", f"{folder} {file}")
    bench.write("d1/.aqignore", "*.tmp\n")
    bench.add(".")
    bench.settle()
    bench.commit()
    for _ in range(3):
        assert bench.work.status(bench.work.head()).changes == []
    bench.write("d0/f03", "changed")
    bench.write("d1/x.tmp", "ignored")
    bench.write("d4/new", "new")
    (bench.root / "d3/f07").unlink()
    (bench.root / "d2").rename(bench.root / "e2")
    expected = None
    for _ in range(4):
        status = bench.work.status(bench.work.head())
        expected = expected or status
        assert status == expected
    monkeypatch.setattr(scan.lookahead, "start", lambda _root, _files: None)
    assert bench.work.status(bench.work.head()) == expected
    assert len(expected.changes) == 1 + 20 + 1
    assert expected.untracked == ["d4/new", "e2/"]
    assert len(always) > 7


def test_packed_stats_are_told_apart_again(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    packed = stats.pack_stat((tmp_path / "x").lstat())
    assert len(packed) == stats.STAT_SIZE
    assert split(packed * 3) == [packed] * 3
    assert stats.mode_of_packed(packed) == (tmp_path / "x").lstat().st_mode
