"""The LMDB environment: growth, limits, read-only folders, file systems."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from aq.formats.errors import AqError, Refused
from aq.formats.identity import Kind
from aq.store.frames import environment
from aq.store.frames.environment import Environment
from aq.store.frames.statblocks import ROW_SIZE, joined
from aq.store.store import Store
from aq.store.system.filesystems import _kind_in, is_network, refuse_network

from tests.store.scenario import BRANCH, check, commit, content, in_child


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    with Store.create(root, time=0, user="ada") as store:
        commit(store, 1)
    return root


def fill(store: Store, count: int) -> None:
    rows = [(b"%0200d" % name, bytes(ROW_SIZE)) for name in range(4)]
    store.put_stat(joined(b"%016d" % number, rows) for number in range(count))
    store.flush()


def test_a_full_map_grows(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "MAP_SIZE", 1 << 20)
    with Store.open(root) as store:
        fill(store, 5_000)
        assert len(store.index.items("stat")) == 5_000
        store.index.put_many("stat", [(b"x%06d" % number, bytes(1_000)) for number in range(9_000)])
        commit(store, 2)
    assert check(root, 2, 2) == 2


def test_small_commits_after_a_large_one_do_not_lengthen_the_file(root: Path) -> None:
    noise = random.Random(1)
    with Store.open(root) as store:
        for _ in range(900):
            store.put(Kind.CHUNK, noise.randbytes(12 << 10))
        commit(store, 2)
        size = (root / ".aq/index/data.mdb").stat().st_size
        for number in (6, 12, 18, 24):
            for _ in range(12):
                store.put(Kind.CHUNK, noise.randbytes(300))
            commit(store, number)
        assert (root / ".aq/index/data.mdb").stat().st_size == size
        store.index.require_sound()


def fill_up_meta_pages(root: Path) -> None:
    """Meta pages are as on a full disk from here on: LMDB writes them through a descriptor of their own."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            flags = int(Path("/proc/self/fdinfo", name).read_text().split("flags:")[1].split()[0], 8)
            if os.readlink(f"/proc/self/fd/{name}") == f"{root}/.aq/index/data.mdb" and flags & os.O_DSYNC:
                full = os.open("/dev/full", os.O_WRONLY)
                os.dup2(full, int(name), inheritable=False)
                os.close(full)


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full and /proc")
def test_a_refused_meta_page_leaves_the_store_usable(root: Path) -> None:
    """LMDB lets nobody in any more after that, reader or writer, until it is opened anew."""
    with Store.open(root) as store:
        for _ in range(2):
            fill_up_meta_pages(root)
            with pytest.raises(Refused, match="No space left"):
                store.index.put_many("meta", [(b"x", b"y")])
            assert store.index.get("meta", b"x") is None
        fill_up_meta_pages(root)
        with pytest.raises(Refused, match="No space left"):
            commit(store, 2)
        commit(store, 2)
    assert check(root, 2, 2) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full and /proc")
def test_a_large_commit_stands_although_no_page_can_be_set_aside(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_aside = Environment.set_aside

    def on_a_full_disk(self: Environment, count: int) -> None:
        fill_up_meta_pages(root)
        set_aside(self, count)

    monkeypatch.setattr(Environment, "set_aside", on_a_full_disk)
    noise = random.Random(1)
    with Store.open(root) as store:
        for _ in range(900):
            store.put(Kind.CHUNK, noise.randbytes(12 << 10))
        commit(store, 2)
        commit(store, 3)
    assert check(root, 3, 3) == 3


def test_a_map_that_another_process_has_grown_is_followed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "MAP_SIZE", 1 << 20)
    with Store.open(root) as store:

        def body() -> None:
            with Store.open(root) as other:
                fill(other, 5_000)
                commit(other, 2)

        assert in_child(body) == 0
        assert BRANCH in store.refs()
        assert len(store.index.items("stat")) == 5_000
        commit(store, 3)
    assert check(root, 3, 3) == 3


def test_too_little_address_space_is_enough(root: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from aq.store.store import Store\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "with Store.open(Path(sys.argv[1])) as store: print(sorted(store.refs()))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['HEAD', 'branch/main', 'tag/v1']"


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that another user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def test_a_folder_that_may_not_be_written_can_be_read(open_to_all: Path) -> None:
    root = open_to_all / "repo"
    with Store.create(root, time=0, user="ada") as store:
        commit(store, 1)
    for folder, _folders, files in os.walk(root):
        for file in files:
            os.chmod(Path(folder) / file, 0o444)
        os.chmod(folder, 0o555)

    def body() -> None:
        if os.getuid() == 0:
            os.setgid(65_534)
            os.setuid(65_534)
        with Store.open(root) as store:
            id = store.refs()[BRANCH].id
            assert id is not None and store.get(Kind.CHUNK, id) == content(1)
            assert len(list(store.operations())) == 2
            store.put_stat([joined(bytes(16), [(b"a", bytes(ROW_SIZE))])])
            store.flush()
            assert not store.index.put_many("stat", [(b"a", b"b")])
            with pytest.raises(AqError, match="cannot be written"):
                commit(store, 2)
        assert sorted(os.listdir(root / ".aq" / "index")) == ["data.mdb", "lock.mdb", "sums"]

    try:
        assert in_child(body) == 0
    finally:
        for folder, _folders, _files in os.walk(root):
            os.chmod(folder, 0o755)


OPENING = """
import sys
from pathlib import Path
from time import process_time
from aq.store.store import Store

before = process_time()
with Store.open(Path(sys.argv[1])) as store:
    refs, operations = store.refs(), list(store.operations())
spent = process_time() - before
heavy = {"numpy", "pandas", "pyarrow", "zstandard", "pyfastcdc", "pathspec", "rich", "asyncio", "json"}
print(round(spent, 4), sorted(heavy & set(sys.modules)))
"""


def test_opening_is_cheap_and_imports_nothing_heavy(root: Path) -> None:
    command = [sys.executable, "-c", OPENING, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    spent, heavy = done.stdout.strip().split(" ", 1)
    assert heavy == "[]"
    assert float(spent) < 0.02


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "fuse.sshfs", "9p", "fuse.s3fs"])
def test_network_file_systems(kind: str) -> None:
    assert is_network(kind)
    mounts = f"36 25 0:41 / /mnt/x rw shared:1 - {kind} host:/x rw\n37 25 0:42 / /tmp rw - tmpfs tmpfs rw"
    assert _kind_in("0:41", mounts) == kind
    assert _kind_in("0:42", mounts) == "tmpfs"
    assert _kind_in("0:43", mounts) == ""


@pytest.mark.parametrize("kind", ["ext4", "tmpfs", "overlay", "btrfs", "fuse.ntfs", ""])
def test_local_file_systems(kind: str) -> None:
    assert not is_network(kind)


def test_this_disk_is_accepted(tmp_path: Path) -> None:
    refuse_network(str(tmp_path))
    if os.path.isdir("/dev/shm"):
        refuse_network("/dev/shm")


def test_a_reader_in_a_child_keeps_its_place_in_the_table(root: Path) -> None:
    """What a transaction that the parent keeps spare would take from it: the pages that it reads."""
    with Store.open(root) as store:
        store.refs()
        asked, told = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            with store.index.look() as look:
                before = look.state()
                os.write(told[1], b"r")
                os.read(asked[0], 1)
                os._exit(0 if look.state() == before else 1)
        try:
            assert os.read(told[0], 1) == b"r"
            for number in range(2, 6):
                commit(store, number)
                assert str(child) in store.index.environment.env.readers()
        finally:
            os.write(asked[1], b"g")
            ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert ended == 0
