"""Data packs without an end, when the index is made anew (docs/format.md, 4.7)."""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path

import pytest
from aq.formats.identity import Kind
from aq.formats.objects import put_record
from aq.formats.packing.packs import FOOTER_SIZE
from aq.formats.records import Artifact, Step
from aq.store.folder.content import read_state
from aq.store.store import Store
from aq.store.transactions.rebuild import rebuild
from aq.store.upkeep.fsck import Checked, fsck
from aq.store.upkeep.mend import mend

from tests.store.folder import Bench
from tests.store.test_rebuild import snapshot_of


@pytest.fixture
def begun(tmp_path: Path) -> Bench:
    """A commit in a data pack that its operation names."""
    bench = Bench(tmp_path / "repo")
    bench.write("data/big.bin", noise(1))
    bench.add("data")
    bench.commit("first")
    return bench


@pytest.fixture
def root(begun: Bench) -> Path:
    begun.store.close()
    return begun.root


def noise(seed: int) -> bytes:
    return random.Random(seed).randbytes(2_500_000)


def packs(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in (root / ".aq" / "packs").iterdir()}


def die_in_a_pack(root: Path) -> Path:
    """A process is killed that has written a step and content, but not the end of its pack."""
    before = packs(root)
    child = os.fork()
    if not child:
        store = Store.open(root)
        output = put_record(store, Artifact(kind="value", format="raw", size=1, data=b"1"))
        put_record(store, Step(key=bytes(32), op="half", outputs=[("", bytes(output))]))
        store.put(Kind.CHUNK, noise(2))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (left,) = packs(root).keys() - before.keys()
    return left


def check(root: Path) -> Checked:
    with Store.open(root) as store:
        return fsck(store, full=True)


def make_anew(root: Path, *, mended: bool) -> None:
    if mended:
        assert mend(root) == []
    else:
        shutil.rmtree(root / ".aq" / "index")
        Store.open(root).close()


@pytest.mark.parametrize("mended", [True, False])
def test_what_a_dead_writer_left_stays_garbage(root: Path, mended: bool) -> None:
    left = die_in_a_pack(root)
    size = left.stat().st_size
    assert check(root).garbage >= size
    for _ in range(2):
        make_anew(root, mended=mended)
        found = check(root)
        assert found.problems == [] and found.garbage >= size and left.stat().st_size == size
        with Store.open(root) as store:
            assert bytes.fromhex(left.stem) not in dict(store.index.items("packs"))
            assert store.steps_with_key(bytes(32)) == []


def test_a_pack_whose_end_is_half_there_is_garbage_too(root: Path) -> None:
    left = die_in_a_pack(root)
    name = bytes.fromhex(left.stem)
    with Store.open(root) as store:  # an older aq has sealed it, and power failed
        store.index.put_many("packs", [(name, b"")])
    mend(root)
    whole = left.read_bytes()
    for end in (b"", bytes(FOOTER_SIZE), whole[-FOOTER_SIZE:-1]):
        left.write_bytes(whole[:-FOOTER_SIZE] + end)
        rebuild(str(root / ".aq"))
        assert check(root).problems == []
        with Store.open(root) as store:
            assert name not in dict(store.index.items("packs"))


def flushed(bench: Bench) -> Path:
    """A commit of content that was published before, without any operation; its pack."""
    root = bench.root
    before = packs(root)
    bench.write("data/more.bin", noise(3))
    assert read_state(os.fsencode(root), b"data/more.bin", bench.store) is not None
    put_record(bench.store, Step(key=bytes([1] * 32), op="whole", outputs=[]))
    bench.store.flush()
    (pack,) = packs(root).keys() - before.keys()
    bench.add("data/more.bin")
    bench.commit("second")
    return pack


@pytest.mark.parametrize("mended", [True, False])
def test_what_is_needed_is_used_and_kept_although_its_pack_has_no_end(begun: Bench, mended: bool) -> None:
    root, pack = begun.root, flushed(begun)
    before = snapshot_of(begun.store)
    begun.store.close()
    die_in_a_pack(root)
    with pack.open("r+b") as file:
        file.truncate(pack.stat().st_size - FOOTER_SIZE - 40)  # into its table
    make_anew(root, mended=mended)
    with Store.open(root) as store:
        assert snapshot_of(store) == before
    problems = check(root).problems
    assert {problem.repair for problem in problems} == (set() if mended else {"aq fsck --rebuild"})
    mend(root)
    assert check(root).problems == []


def test_the_old_index_still_vouches_for_what_no_operation_needs(begun: Bench) -> None:
    """Steps that a run had finished before it was cut off: nothing but the index tells of their pack."""
    bench, root = begun, begun.root
    before = packs(root)
    bench.store.put(Kind.CHUNK, noise(4))
    step = put_record(bench.store, Step(key=bytes([2] * 32), op="whole", outputs=[]))
    bench.store.flush()
    bench.store.close()
    (pack,) = packs(root).keys() - before.keys()
    with pack.open("r+b") as file:
        file.truncate(pack.stat().st_size - FOOTER_SIZE - 40)
    mend(root)
    assert check(root).problems == []
    with Store.open(root) as store:
        assert store.steps_with_key(bytes([2] * 32)) == [step]
