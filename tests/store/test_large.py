"""Large files into the store: packs forced behind the scenes, faults anywhere, bounded memory."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aq.formats.contents import windows
from aq.formats.contents.chunking import LONGEST
from aq.formats.contents.files import stream_bytes
from aq.formats.errors import AqError
from aq.formats.objects import get_record
from aq.formats.records import Artifact
from aq.store.frames import objects
from aq.store.store import Store
from aq.store.system import disk
from aq.store.upkeep.fsck import fsck
from blake3 import blake3

from tests.store.folder import Bench

MIB = 1 << 20
DATA = blake3(b"large").digest(length=12 * MIB)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A repository that tracks a file of 12 MiB in which everything happens as in one of gigabytes."""
    monkeypatch.setattr(objects, "SEAL_AT", 3 * MIB)
    monkeypatch.setattr(windows, "WINDOW", LONGEST)
    monkeypatch.setattr(windows, "PARALLEL_FROM", LONGEST)
    made = Bench(tmp_path / "repo")
    made.write("small", "kept")
    made.add("small")
    made.commit()
    made.write("large", DATA)
    made.add("large")
    yield made
    made.store.close()


def content(bench: Bench, path: str) -> bytes:
    """What the store holds of a file of HEAD."""
    entry = bench.files(bench.work.head())[path]
    return b"".join(stream_bytes(get_record(bench.store, Artifact, entry.artifact), bench.store))


def packs(bench: Bench) -> set[str]:
    return {path.name for path in (bench.store.control / "packs").iterdir()}


def check_usable(bench: Bench) -> None:
    """No thread is left, nothing is damaged, what was there is there, and the next commit works."""
    bench.reopen()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("aq ")]
    assert content(bench, "small") == b"kept"
    bench.commit()
    assert blake3(content(bench, "large")).digest() == blake3(DATA).digest()
    assert not fsck(bench.store, full=True).problems


def failing(call: str, number: int) -> Callable[[str, str], None]:
    """Fails the n-th change of this kind, and all later ones of it."""
    left = [number]

    def hook(name: str, path: str) -> None:
        if name == call and ("/packs/" in path or path.endswith("/packs")):
            left[0] -= 1
            if left[0] <= 0:
                raise OSError(errno.ENOSPC if call == "write" else errno.EIO, "as wanted")

    return hook


def test_full_packs_are_forced_by_another_thread(bench: Bench) -> None:
    seen: list[tuple[str, str, int]] = []
    with disk.observed(lambda call, path: seen.append((call, path, threading.get_ident()))):
        bench.commit()
    here = threading.get_ident()
    forced = {path for call, path, _ in seen if call == "fsync" and path.endswith(".pack")}
    assert forced == {path for call, path, _ in seen if call == "write" and path.endswith(".pack")}
    elsewhere = [path for call, path, thread in seen if call == "fsync" and thread != here]
    assert len(elsewhere) >= 3
    folder = next(
        at for at, (call, path, _) in enumerate(seen) if call == "fsync" and path.endswith("/packs")
    )
    assert all(seen.index(one) < folder for one in seen if one[0] == "fsync" and one[2] != here)
    check_usable(bench)


@pytest.mark.parametrize("number", range(1, 6))
def test_a_pack_that_cannot_be_forced_fails_the_commit(bench: Bench, number: int) -> None:
    before, held = bench.store.refs(), packs(bench)
    with disk.observed(failing("fsync", number)), pytest.raises(AqError):
        bench.commit()
    assert bench.store.refs() == before
    assert packs(bench) == held, "what was not forced is not trusted, and removed"
    check_usable(bench)


@pytest.mark.parametrize("number", [1, 2, 3, 5, 9, 14, 20, 27, 33])
def test_a_full_disk_at_any_write_leaves_a_usable_store(bench: Bench, number: int) -> None:
    held = packs(bench)
    with disk.observed(failing("write", number)), pytest.raises(AqError, match="no space left"):
        bench.commit()
    assert packs(bench) == held
    check_usable(bench)


@pytest.mark.parametrize("number", [1, 7, 20, 33])
def test_an_interrupt_anywhere_leaves_a_usable_store(bench: Bench, number: int) -> None:
    left = [number]

    def interrupt(call: str, _path: str) -> None:
        left[0] -= call == "write"
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGINT)

    with disk.observed(interrupt), pytest.raises(KeyboardInterrupt):
        bench.commit()
        time.sleep(1)  # the signal is on its way to the main thread
    check_usable(bench)


@pytest.mark.parametrize("number", range(1, 40, 3))
def test_work_goes_on_in_the_process_that_was_interrupted(bench: Bench, number: int) -> None:
    """As in a notebook: what a signal cut off in the middle of a pack is not in the next commit's."""
    left = [number]

    def interrupt(call: str, path: str) -> None:
        left[0] -= path.endswith(".pack")
        if left[0] == 0:
            raise KeyboardInterrupt

    with disk.observed(interrupt), pytest.raises(KeyboardInterrupt):
        bench.commit()
    bench.commit()
    assert blake3(content(bench, "large")).digest() == blake3(DATA).digest()
    check_usable(bench)


def test_without_further_threads_packs_are_forced_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    seen: list[tuple[str, str]] = []
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with disk.observed(lambda call, path: seen.append((call, path))):
        bench.commit()
    written = {path for call, path in seen if call == "write" and path.endswith(".pack")}
    assert written == {path for call, path in seen if call == "fsync" and path.endswith(".pack")}
    assert len(written) > 3
    check_usable(bench)


def test_a_fork_while_packs_are_forced_leaves_both_sides_whole(bench: Bench) -> None:
    snapshot = bench.work.snapshot(bench.work.head())
    child = os.fork()
    if child == 0:
        try:
            assert not bench.store.places([snapshot])[0]
            bench.store.put_summary(snapshot, {"from": "the child"})
            bench.store.flush()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    bench.commit_snapshot(snapshot)
    check_usable(bench)


INTERRUPTED = """
import sys
from pathlib import Path
from tests.store.folder import Bench
bench = Bench(Path(sys.argv[1]))
bench.add("large")
print("ready", flush=True)
bench.commit()
print("done", flush=True)
"""


def test_ctrl_c_in_the_middle_of_a_large_file(tmp_path: Path) -> None:
    """A real signal to a real process that writes 96 MiB."""
    root = tmp_path / "repo"
    root.mkdir()
    with (root / "large").open("wb") as file:
        for number in range(3):
            file.write(blake3(bytes((number,))).digest(length=32 * MIB))
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(root)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    while process.poll() is None and len(list((root / ".aq" / "packs").iterdir())) < 2:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (out, b"KeyboardInterrupt" in err) == (b"", True)
    with Store.open(root) as store:
        assert not fsck(store, full=True).problems


BOUNDED = """
import sys
from pathlib import Path
from tests.memory import peak
from tests.store.folder import Bench
root = Path(sys.argv[1])
bench = Bench(root)
bench.add("large")
commit = bench.commit()
if sys.argv[2] == "restore":
    (root / "large").unlink()
    bench.work.restore(bench.snapshot_of(commit), ["large"])
print(peak() >> 20, (root / "large").stat().st_size)
"""


def peak_of(root: Path, size: int, what: str) -> int:
    """MiB of memory that a process takes to commit (and restore) a file of different pieces with holes."""
    root.mkdir()
    with (root / "large").open("wb") as file:
        for at in range(0, size, 512 * 1024):
            file.seek(at)
            file.write(blake3(at.to_bytes(8, "little")).digest(length=64))
        file.truncate(size)
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, str(root), what],
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        text=True,
    )
    peak, left = map(int, done.stdout.split())
    assert left == size
    return peak


def test_memory_is_bounded(tmp_path: Path) -> None:
    assert peak_of(tmp_path / "repo", 384 * MIB, "restore") < 128


@pytest.mark.slow
@pytest.mark.parametrize("what", ["commit", "restore"])
def test_memory_is_bounded_for_five_gibibytes(tmp_path: Path, what: str) -> None:
    assert peak_of(tmp_path / "repo", 5 << 30, what) < 512


def test_progress_counts_a_large_file_as_it_goes_by(bench: Bench) -> None:
    seen: list[int] = []
    before = bench.work.done.bytes
    with disk.observed(lambda _call, _path: seen.append(bench.work.done.bytes)):
        commit = bench.commit()
    assert bench.work.done.bytes - before == len(DATA)
    assert len(set(seen)) > 3, "not all at once"
    (bench.root / "large").unlink()
    (bench.root / "small").unlink()
    bench.work.restore(bench.snapshot_of(commit), ["large", "small"])
    assert bench.work.done.bytes - before == 2 * len(DATA) + len(b"kept")


MANY_PACKS = """
import resource, sys
from pathlib import Path
from aq.store.frames import objects
from aq.store.upkeep.fsck import fsck
from tests.store.folder import Bench
objects.SEAL_AT = 1
bench = Bench(Path(sys.argv[1]))
bench.add("large")
resource.setrlimit(resource.RLIMIT_NOFILE, (40, int(sys.argv[2])))
bench.commit()
print(len(fsck(bench.store, full=True).problems), len(list((bench.store.control / "packs").iterdir())))
"""


@pytest.mark.parametrize("hard", [400, 40])
def test_a_file_may_take_more_packs_than_may_be_open_at_first(tmp_path: Path, hard: int) -> None:
    """Each pack stays open, and so locked, until it is published: a limit of 1,024 would be 64 GiB."""
    root = tmp_path / "repo"
    root.mkdir()
    (root / "large").write_bytes(blake3(b"many").digest(length=48 * MIB))
    done = subprocess.run(
        [sys.executable, "-c", MANY_PACKS, str(root), str(hard)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    if hard > 40:
        problems, count = map(int, done.stdout.split())
        assert problems == 0
        assert count > 40
    else:
        assert "Too many open files" in done.stderr.splitlines()[-1]
        assert "aq.formats.errors.Refused" in done.stderr.splitlines()[-1]
        with Store.open(root) as store:
            assert not fsck(store, full=True).problems
