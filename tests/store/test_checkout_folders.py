"""Many files at once: whole folders, hostile and racing folders, and what is left where it is cut off."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest
from aq.formats.contents.files import content
from aq.formats.errors import AqError, Damaged
from aq.formats.identity import Digest
from aq.formats.objects import put_record
from aq.formats.records import Artifact
from aq.formats.trees.prolly import build_map
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Entry, Mode, Origin
from aq.store.folder.checkout import Rewrite
from aq.store.system import disk, litter
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.store.folder import Bench, bench
from tests.store.scenario import in_child

__all__ = ["bench"]

Tree = dict[str, bytes]


def snapshot(bench: Bench, tree: Tree, links: frozenset[str] = frozenset()) -> Digest:
    """A snapshot of a tree, durable."""

    def entry(name: str, data: bytes) -> bytes:
        inline, parts = content(bench.store, data)
        artifact = Artifact(kind="file", format="bytes", size=len(data), data=inline, root=parts)
        mode = Mode.SYMLINK if name in links else Mode.FILE
        return snapshots.pack(Entry(put_record(bench.store, artifact), Origin.FILE, None, mode))

    root = build_map(bench.store, sorted((name.encode(), entry(name, data)) for name, data in tree.items()))
    bench.store.flush()
    return root


def planned(bench: Bench, before: Digest, after: Digest) -> Rewrite:
    plan = bench.work.prepare_checkout(before, after, force=True)
    bench.store.flush()
    return plan


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that no checkout may touch, with names that one would like to."""
    place = tmp_path / "outside"
    for name in ("a", "b", "new", "deep/x", "deep/y", "fresh/z"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("precious")
    return place


def content_of(place: Path) -> Tree:
    return {str(p.relative_to(place)): p.read_bytes() for p in sorted(place.rglob("*")) if p.is_file()}


OLD: Tree = {"d/a": b"1", "d/b": b"1", "d/deep/x": b"1", "d/deep/y": b"1", "top": b"1"}
NEW: Tree = {"d/a": b"2", "d/new": b"2", "d/deep/x": b"2", "d/fresh/z": b"2", "top": b"2"}
"""Files overwritten, added and deleted, folders added and emptied, all below `d`."""


def swap(folder: Path, outside: Path) -> None:
    """What an attacker does: the folder goes aside and a link takes its place."""
    aside = folder.with_name(folder.name + "-aside")
    if not folder.is_symlink() and folder.exists() and not aside.exists():
        os.rename(folder, aside)
        os.symlink(outside, folder)


def attack(folder: Path, outside: Path) -> NoReturn:
    """Swap, and undo it, until killed."""
    aside = folder.with_name(folder.name + "-aside")
    while True:
        with suppress(OSError):
            swap(folder, outside)
            if folder.is_symlink():
                folder.unlink()
            if folder.exists():
                shutil.rmtree(aside)
            os.rename(aside, folder)


class TestLinksPutInTheWay:
    """A folder that becomes a link to elsewhere, at any moment, leads no write and no deletion there."""

    @pytest.mark.parametrize("victim", ["d", "d/deep"])
    def test_before_any_change(self, tmp_path: Path, outside: Path, victim: str) -> None:
        before = content_of(outside)
        target = outside if victim == "d" else outside / "deep"
        for at in range(100):
            bench = Bench(tmp_path / f"repo{at}")
            old, new = snapshot(bench, OLD), snapshot(bench, NEW)
            planned(bench, bench.work.head(), old).apply()
            plan = planned(bench, old, new)
            seen = 0

            def hook(_call: str, _path: str, at: int = at, root: Path = bench.root) -> None:
                nonlocal seen
                seen += 1
                if seen == at + 1:
                    swap(root / victim, target)

            try:
                with disk.observed(hook):
                    plan.apply()
            except AqError:
                pass
            bench.store.close()
            assert content_of(outside) == before
            if seen <= at:
                assert at > 20
                return
        pytest.fail("never came to an end")

    def test_again_and_again_by_another_process(self, bench: Bench, outside: Path) -> None:
        before = content_of(outside)
        old, new = snapshot(bench, OLD), snapshot(bench, NEW)
        planned(bench, bench.work.head(), old).apply()
        plans = [planned(bench, old, new), planned(bench, new, old)]
        pid = os.fork()
        if pid == 0:
            attack(bench.root / "d", outside)
        refused = 0
        try:
            for number in range(3_000):
                try:
                    plans[number % 2].apply()
                except AqError:
                    refused += 1
                if number > 30 and refused > 3:
                    break
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        assert content_of(outside) == before
        assert refused

    def test_while_it_plans(self, bench: Bench, outside: Path) -> None:
        """What a link shows is not taken for the folder's: it is in the way."""
        old, new = snapshot(bench, OLD), snapshot(bench, NEW)
        planned(bench, bench.work.head(), old).apply()
        swap(bench.root / "d", outside)
        before = content_of(outside)
        plan = planned(bench, old, new)
        plan.apply()
        assert content_of(outside) == before and not (bench.root / "d").is_symlink()
        assert {k: v for k, v in bench.lying().items() if not k.startswith("d-aside")} == NEW
        assert plan.files is not None
        bench.work.put_back(plan.files)
        assert os.readlink(bench.root / "d") == str(outside) and content_of(outside) == before


class TestWholeFolders:
    """A folder that is missing appears with all its files; one that is there keeps being the same."""

    def test_nobody_sees_half_of_a_new_one(self, bench: Bench) -> None:
        tree = {f"new/{number}/{name}": b"x" for number in range(5) for name in "abc"}
        root = snapshot(bench, tree)
        states = set()

        def hook(_call: str, _path: str) -> None:
            for folder in (bench.root / "new").glob("*"):
                states.add(len(list(folder.iterdir())))

        with disk.observed(hook):
            planned(bench, bench.work.head(), root).apply()
        assert bench.lying() == tree and states == {3}

    def test_an_empty_one_that_is_there_stays_the_same(self, bench: Bench) -> None:
        (bench.root / "d").mkdir(mode=0o750)
        before = (bench.root / "d").stat()
        planned(bench, bench.work.head(), snapshot(bench, OLD)).apply()
        after = (bench.root / "d").stat()
        assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
        assert bench.lying() == OLD

    def test_modes_follow_the_umask(self, bench: Bench) -> None:
        tree = {"new/file": b"1", "top": b"1"}
        before = os.umask(0o027)
        try:
            planned(bench, bench.work.head(), snapshot(bench, tree)).apply()
        finally:
            os.umask(before)
        modes = {
            name: stat.S_IMODE((bench.root / name).stat().st_mode) for name in ("new", "new/file", "top")
        }
        assert modes == {"new": 0o750, "new/file": 0o640, "top": 0o640}

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder to any group")
    def test_a_group_that_a_folder_hands_down(self, bench: Bench) -> None:
        (bench.root / "shared").mkdir()
        os.chown(bench.root / "shared", -1, 4_711)
        (bench.root / "shared").chmod(0o2775)
        planned(bench, bench.work.head(), snapshot(bench, {"shared/new/deeper/file": b"1"})).apply()
        for name in ("shared/new", "shared/new/deeper"):
            found = (bench.root / name).stat()
            assert found.st_gid == 4_711 and found.st_mode & stat.S_ISGID

    def test_a_folder_that_appears_meanwhile_keeps_what_is_in_it(self, bench: Bench) -> None:
        root = snapshot(bench, {"new/a": b"1", "new/b": b"1"})

        def hook(call: str, path: str) -> None:
            if call == "rename" and path == "new":
                bench.write("new/mine", "m")

        with disk.observed(hook):
            planned(bench, bench.work.head(), root).apply()
        assert bench.lying() == {"new/a": b"1", "new/b": b"1", "new/mine": b"m"}

    def test_folders_deeper_than_descriptors_are_held(self, bench: Bench) -> None:
        deep = "/".join("d" * 60)
        tree = {f"{deep}/x": b"1", f"{deep}/{deep}/y": b"2", "d/z": b"3"}
        root = snapshot(bench, tree)
        planned(bench, bench.work.head(), root).apply()
        assert bench.lying() == tree
        planned(bench, root, bench.work.head()).apply()
        assert bench.lying() == {} and not (bench.root / "d").exists()

    def test_a_path_too_long_for_the_system_is_refused_at_first(self, bench: Bench) -> None:
        root = snapshot(bench, {"innocent": b"1", "/".join("d" * 2_100): b"2"})
        with pytest.raises(AqError, match="too long for this file system: nothing is written"):
            planned(bench, bench.work.head(), root)
        assert bench.lying() == {}


MOUNTED: Tree = {"d/a": b"1" * 70_000, "d/link": b"a", "d/new/b": b"2", "d/new/deeper/c": b"3"}


class TestOtherFileSystems:
    """A folder on which another file system is mounted: files are finished over there."""

    def test_refused_renames(self, bench: Bench) -> None:
        root = snapshot(bench, MOUNTED, frozenset({"d/link"}))
        (bench.root / "d").mkdir()
        tried: set[str] = set()

        def hook(call: str, path: str) -> None:
            if call == "rename" and path.startswith("d/") and path not in tried:
                tried.add(path)
                raise OSError(errno.EXDEV, "Invalid cross-device link")

        with disk.observed(hook):
            planned(bench, bench.work.head(), root).apply()
        assert bench.lying() == MOUNTED and {"d/a", "d/link", "d/new"} <= tried
        assert os.readlink(bench.root / "d/link") == "a"
        assert not list(bench.root.rglob(".aq-*")) and os.listdir(bench.store.control / "tmp") == []

    def test_a_mounted_one(self, bench: Bench) -> None:
        (bench.root / "d").mkdir()
        mounted = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(bench.root / "d")]
        if (
            shutil.which("mount") is None
            or subprocess.run(mounted, capture_output=True, check=False).returncode
        ):
            pytest.skip("mounting is not allowed here")
        try:
            root = snapshot(bench, MOUNTED, frozenset({"d/link"}))
            planned(bench, bench.work.head(), root).apply()
            assert bench.lying() == MOUNTED and (bench.root / "d").is_mount()
            with pytest.raises(AqError):  # the folder cannot go while it is mounted
                planned(bench, root, bench.work.head()).apply()
            assert bench.lying() == {}
        finally:
            subprocess.run(["umount", str(bench.root / "d")], check=True)


def ways_of_ending(at: int, end: Callable[[], None]) -> Callable[[str, str], None]:
    seen = 0

    def hook(_call: str, _path: str) -> None:
        nonlocal seen
        seen += 1
        if seen == at + 1:
            end()

    return hook


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt() -> None:
    raise KeyboardInterrupt


class TestCutOff:
    """Wherever it ends, each path is old or new, what is left in the way is litter, and undo works."""

    def states(self, bench: Bench) -> Iterator[int]:
        old, new = snapshot(bench, OLD), snapshot(bench, NEW)
        planned(bench, bench.work.head(), old).apply()
        for at in range(100):
            plan = planned(bench, old, new)
            assert plan.files is not None
            self.plan = plan
            yield at
            lying = bench.lying()
            for path in {*OLD, *NEW}:
                assert lying.pop(path, None) in (OLD.get(path), NEW.get(path)), path
            assert lying == {}
            litter.sweep(str(bench.store.control), grace=0)
            assert os.listdir(bench.store.control / "tmp") == []
            bench.work.put_back(plan.files)
            assert bench.lying() == OLD
        pytest.fail("never came to an end")

    def test_killed(self, bench: Bench) -> None:
        for at in self.states(bench):

            def body(at: int = at) -> None:
                with disk.observed(ways_of_ending(at, kill)):
                    self.plan.apply()

            status = in_child(body)
            if not os.WIFSIGNALED(status):
                assert status == 0 and at > 20
                return

    def test_interrupted(self, bench: Bench) -> None:
        for at in self.states(bench):
            try:
                with disk.observed(ways_of_ending(at, interrupt)):
                    self.plan.apply()
            except KeyboardInterrupt:
                continue
            assert at > 20 and bench.lying() == NEW
            return


def test_a_damaged_file_keeps_no_other_back(bench: Bench) -> None:
    lost = Entry(Digest(b"\x07" * 32), Origin.FILE)
    root = snapshots.edit(bench.store, snapshot(bench, NEW), {"d/lost": lost, "gone/lost": lost})
    bench.store.flush()
    with pytest.raises(Damaged) as caught:
        planned(bench, bench.work.head(), root).apply()
    assert "d/lost" in caught.value.message and "07" * 32 in caught.value.message
    assert caught.value.message.endswith("1 more files are damaged")
    assert bench.lying() == NEW and not (bench.root / "gone").exists()
    assert os.listdir(bench.store.control / "tmp") == []


def test_a_file_changed_at_once_is_seen(bench: Bench) -> None:
    """The same size within the same tick of the clock as the checkout wrote it."""
    tree = {f"d/{number}": b"1" for number in range(50)}
    bench.commit_snapshot(snapshot(bench, tree))
    for _ in range(4):
        bench.work.restore(bench.work.head(), ["."])
        for name in tree:
            (bench.root / name).write_bytes(b"2")
        bench.settle()
        assert bench.changes() == dict.fromkeys(tree, "changed")


NAMES = st.sampled_from([f"{a}{b}" for a in ("", "a/", "b/", "a/b/", "a/c/") for b in ("x", "y", "a", "b")])
TREES = st.dictionaries(NAMES, st.sampled_from([b"1", b"2", b"LARGE"]), max_size=14)
LYING = st.dictionaries(NAMES, st.sampled_from([b"1", b"mine", b"LINK", b"FOLDER"]), max_size=6)


def settled(tree: Tree) -> Tree:
    """Without files that lie below files; large ones that do not lie inline."""
    contents = {name: b"3" * 70_000 if data == b"LARGE" else data for name, data in tree.items()}
    return {n: d for n, d in contents.items() if not any(n.startswith(other + "/") for other in tree)}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TREES, TREES, LYING, st.booleans())
def test_any_snapshot_over_any_folder(
    tmp_path_factory: pytest.TempPathFactory, a: Tree, b: Tree, lying: Tree, restore: bool
) -> None:
    """As many files as there are: exactly the snapshot, and undo gives back all that lay there."""
    bench = Bench(tmp_path_factory.mktemp("any"))
    a, b = settled(a), settled(b)
    first, second = snapshot(bench, a), snapshot(bench, b)
    bench.commit_snapshot(first)
    planned(bench, snapshots.empty(bench.store), first).apply()
    for name, data in settled(lying).items():
        place = bench.root / name
        if (
            any(parent.is_symlink() or parent.is_file() for parent in (place, *place.parents))
            or place.is_dir()
        ):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if data == b"FOLDER":
            place.mkdir()
        elif data == b"LINK":
            place.symlink_to("nowhere")
        else:
            place.write_bytes(data)
    before = bench.lying()
    if restore:
        plan = bench.work.prepare_restore(second, ["."])
    else:
        plan = bench.work.prepare_checkout(first, second, force=True)
    bench.store.flush()
    plan.apply()
    now = bench.lying()
    changed = {name for name in {*a, *b} if restore or a.get(name) != b.get(name)}
    assert [name for name in changed if now.get(name) != b.get(name)] == []
    if plan.files is not None:
        bench.work.put_back(plan.files)
    again = bench.lying()
    assert [name for name in {*before, *again} if before.get(name) != again.get(name)] == []
    assert os.listdir(bench.store.control / "tmp") == []
    bench.store.close()


def test_more_files_than_one_batch_over_many_folders(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders that go on from batch to batch, contents that lie in several packs in another order."""
    monkeypatch.setattr("aq.store.folder.materialize._BATCH", 7)
    chance = random.Random(5)
    tree = {f"{n % 5}/{n:03}": chance.randbytes(chance.choice((0, 9, 5_000, 66_000))) for n in range(120)}
    names = list(tree)
    chance.shuffle(names)
    for start in range(0, len(names), 30):
        root = snapshot(bench, {name: tree[name] for name in names[start : start + 30]})
    root = snapshot(bench, tree)
    planned(bench, bench.work.head(), root).apply()
    assert bench.lying() == tree
    bench.settle()
    bench.commit_snapshot(root)
    assert bench.changes() == {}
