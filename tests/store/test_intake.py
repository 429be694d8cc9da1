"""Small files read together: the same snapshot, store and stat cache as one by one, also while files move."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aq.formats.contents.files import whole_bytes
from aq.formats.errors import AqError, Temporary
from aq.formats.objects import get_record
from aq.formats.records import Artifact
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Mode
from aq.store.folder import content, intake, second_reader
from aq.store.frames.journal import FolderLock
from aq.store.frames.statblocks import decode
from hypothesis import given, settings, strategies as st

from tests.store.folder import Bench, bench

__all__ = ["bench"]

EDGE = content.SMALL
SIZES = st.one_of(st.integers(0, 300), st.sampled_from([EDGE - 1, EDGE, EDGE + 1]))
NAMES = st.sampled_from(
    [b"a", b"a.b", b"b", b"\xff", b"x y", b"z", *(b"n%02d" % number for number in range(20))]
)
PLACES = st.tuples(st.sampled_from([b"", b"d", b"d/e", b"f"]), NAMES)
FILES = st.dictionaries(PLACES, st.tuples(SIZES, st.sampled_from(["file", "exec", "link"])), max_size=30)


@contextmanager
def few(count: int) -> Iterator[None]:
    """Let so many files be read one by one before the others are read together."""
    before, intake._FEW = intake._FEW, count  # type: ignore[misc]
    try:
        yield
    finally:
        intake._FEW = before  # type: ignore[misc]


def lay(root: Path, files: dict[tuple[bytes, bytes], tuple[int, str]], mark: int) -> None:
    """Make files; their content says which they are."""
    for (folder, name), (size, kind) in sorted(files.items()):
        place = os.path.join(os.fsencode(root), b"data", folder + b"_", name)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if os.path.lexists(place):
            os.unlink(place)
        data = (b"%d " % mark + name + folder) * (size // 4 + 1)
        if kind == "link":
            os.symlink(data[: min(size, 200)].replace(b" ", b"") or b"x", place)
            continue
        with open(place, "wb") as file:
            file.write(data[:size])
        os.chmod(place, 0o755 if kind == "exec" else 0o644)


def outcome(root: Path, *, together: bool) -> tuple[object, ...]:
    """What two commits of the folder leave: roots, tallies, ids of all objects, rows of the stat cache."""
    shutil.rmtree(root / ".aq", ignore_errors=True)
    made = Bench(root)
    found: list[object] = []
    with few(0 if together else 1 << 60):
        made.add("data")
        for _ in range(2):
            before = made.work.head()
            snapshot, tally = made.work.take(before)
            assert tally == snapshots.tally(made.store, before, snapshot)
            found += [snapshot, tally]
            made.commit_snapshot(snapshot)
    rows = [decode(key, value) for key, value in made.store.index.items("stat")]
    ids = [key for key, value in made.store.index.items("objects")]
    assert made.changes() == {}
    made.store.close()
    return (*found, [(r.names, r.stats, r.entries) for r in rows if r is not None], len(ids))


@settings(max_examples=25)
@given(FILES)
def test_together_gives_what_one_by_one_gives(
    tmp_path_factory: pytest.TempPathFactory, files: dict[tuple[bytes, bytes], tuple[int, str]]
) -> None:
    root = tmp_path_factory.mktemp("folder")
    (root / "data").mkdir()
    lay(root, files, 1)
    assert outcome(root, together=True)[:4] == outcome(root, together=False)[:4]


def test_the_stat_cache_is_the_same(tmp_path: Path) -> None:
    files = {
        (b"d", b"n%03d" % number): (number, "exec" if number % 3 else "link") for number in range(1, 300)
    }
    lay(tmp_path, files, 1)
    first = Bench(tmp_path)
    first.settle()
    first.store.close()
    together, alone = outcome(tmp_path, together=True), outcome(tmp_path, together=False)
    assert together == alone and len(together[4][0][0]) > 100  # type: ignore[index]


Move = Callable[[Path], None]


def rewrite(place: Path) -> None:
    before = place.stat()
    place.write_bytes(b"NEW")
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))


def grow(place: Path) -> None:
    with place.open("ab") as file:
        file.write(b"more")


def truncate(place: Path) -> None:
    os.truncate(place, 1)


def outgrow(place: Path) -> None:
    place.write_bytes(b"x" * (EDGE + 5))


def chmod(place: Path) -> None:
    place.chmod(0o755)


def replace(place: Path) -> None:
    other = place.with_name("other~")
    other.write_bytes(b"OTH")
    other.replace(place)


def link(place: Path) -> None:
    place.unlink()
    place.symlink_to("b")


def remove(place: Path) -> None:
    place.unlink()


def folder_instead(place: Path) -> None:
    place.unlink()
    place.mkdir()


def fifo_instead(place: Path) -> None:
    place.unlink()
    os.mkfifo(place)


def no_folder(place: Path) -> None:
    shutil.rmtree(place.parent)


def linked_folder(place: Path) -> None:
    place.parent.rename(place.parent.with_name("moved"))
    place.parent.symlink_to("moved")


MOVES = [rewrite, grow, truncate, outgrow, chmod, replace, link, remove, folder_instead, fifo_instead]


@pytest.fixture
def moving(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[[Move], None]:
    """Lets a file change after its folder was listed, right before it is opened."""
    for name in ("a", "b", "c"):
        bench.write(f"d/{name}", f"<{name}")
    bench.settle()
    bench.add("d")
    whole = second_reader.read_small

    def prepare(move: Move) -> None:
        left = [move]

        def read_small(folder: int, name: bytes, stat: bytes) -> bytes | None:
            if name == b"b" and left:
                left.pop()(bench.root / "d" / "b")
            return whole(folder, name, stat)

        monkeypatch.setattr(second_reader, "read_small", read_small)
        monkeypatch.setattr(intake, "_FEW", 0)

    return prepare


@pytest.mark.parametrize("move", MOVES)
def test_a_file_that_moves_between_listing_and_reading(
    bench: Bench, moving: Callable[[Move], None], move: Move
) -> None:
    moving(move)
    entries = bench.files(bench.snapshot_of(bench.commit()))
    place = bench.root / "d" / "b"
    if place.is_symlink():
        assert entries["d/b"].mode is Mode.SYMLINK
    elif place.is_file():
        record = get_record(bench.store, Artifact, entries["d/b"].artifact)
        assert whole_bytes(record, bench.store) == place.read_bytes()
        assert entries["d/b"].mode is (Mode.EXEC if os.access(place, os.X_OK) else Mode.FILE)
    else:
        assert "d/b" not in entries
    assert {"d/a", "d/c"} <= entries.keys() and bench.changes() == {}
    bench.reopen()
    assert bench.changes() == {}


@pytest.mark.parametrize("move", [no_folder, linked_folder])
def test_a_folder_that_goes_while_it_is_read(
    bench: Bench, moving: Callable[[Move], None], move: Move
) -> None:
    """What was read stays true of the moment at which it was read; the next commit sees the rest."""
    moving(move)
    entries = bench.files(bench.snapshot_of(bench.commit()))
    assert "d/a" in entries
    bench.commit()
    assert bench.changes() == {}


def test_a_file_that_never_rests(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        bench.write(f"d/{number:02}", "x")
    bench.add("d")
    attempt = content._attempt

    def restless(full: bytes, *rest: Any, **more: Any) -> object:
        return None if full.endswith(b"/07") else attempt(full, *rest, **more)

    monkeypatch.setattr(content, "_attempt", restless)
    monkeypatch.setattr(second_reader, "read_small", lambda folder, name, stat: None)
    with pytest.raises(Temporary, match="07 changes while it is read"):
        bench.commit()


@pytest.mark.skipif(os.getuid() == 0, reason="everything may be read by root")
def test_a_file_that_may_not_be_read(bench: Bench) -> None:
    for number in range(30):
        bench.write(f"d/{number:02}", "x")
    bench.add("d")
    (bench.root / "d" / "07").chmod(0)
    with pytest.raises(AqError, match="07 cannot be read"):
        bench.commit()


@pytest.mark.parametrize("size", [3, EDGE + 3])
def test_status_and_commit_go_on_where_an_old_artifact_is_lost(bench: Bench, size: int) -> None:
    bench.write("a", bytes(size))
    bench.write("b", bytes(size + 1))
    bench.add(".")
    before = bench.files(bench.snapshot_of(bench.commit()))
    bench.store.index.put_many("objects", [(entry.artifact, None) for entry in before.values()])
    bench.reopen()
    bench.write("a", b"1" * size)
    os.utime(bench.root / "b", ns=(5, 5))
    assert bench.changes() == {"a": "changed"}
    after = bench.files(bench.snapshot_of(bench.commit()))
    assert after["b"] == before["b"] and after["a"] != before["a"] and bench.changes() == {}


def test_status_waits_for_no_writer_and_keeps_what_it_learned_later(bench: Bench) -> None:
    bench.write("a", "1")
    bench.add("a")
    bench.commit()
    os.utime(bench.root / "a", ns=(5, 5))
    bench.settle()
    before = bench.store.index.items("stat")
    with FolderLock(str(bench.store.control / "packs")):
        assert bench.changes() == {} and bench.store.index.items("stat") == before
    assert bench.changes() == {} and bench.store.index.items("stat") != before


COMMIT = """
import resource, sys
from pathlib import Path
from typing import Any
most = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
from tests.store.folder import Bench
made = Bench(Path(sys.argv[1]))
made.add("data")
made.commit()
assert len(made.files(made.work.head())) == int(sys.argv[3]) and made.changes() == {}
"""


@pytest.mark.parametrize(
    ("descriptors", "files"), [(64, 1_000), pytest.param(256, 25_000, marks=pytest.mark.slow)]
)
def test_more_files_than_descriptors(tmp_path: Path, descriptors: int, files: int) -> None:
    for number in range(files):
        folder = tmp_path / "data" / str(number % 50)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / str(number)).write_bytes(b"%d" % number)
    here = Path(__file__).parent.parent.parent
    words = [sys.executable, "-c", COMMIT, str(tmp_path), str(descriptors), str(files)]
    done = subprocess.run(words, cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
