"""Files under `.aq/` that are not what they were, and the way back (docs/faults.md, corruption).

What a flipped bit, a cut or an exchange in packs does is told in tests/store/test_fsck.py and
test_rebuild.py, in the index in test_lmdb_damage.py; here are the other files, and healing.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aq.formats.errors import AqError
from aq.formats.identity import Digest, Kind
from aq.formats.objects import get_record
from aq.formats.records import Run
from aq.pipeline.change.context import Context
from aq.pipeline.repo import Repo
from aq.store.frames.place_rows import decode_place
from aq.store.store import Store

from tests.faults import points
from tests.faults.cases import DAY, START, flow, run_aq, silent, small_files, write
from tests.faults.oracle import check_oracle, copy_of, refs_of

Harm = Callable[[Path], None]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def first_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 0x40
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def extend(path: Path) -> None:
    os.truncate(path, path.stat().st_size + 4_096)


def noise(path: Path) -> None:
    path.write_bytes(random.Random(str(path)).randbytes(300) + b"\xff")


def remove(path: Path) -> None:
    path.unlink()


HARMS: tuple[Harm, ...] = (flip, first_bit, empty, cut, extend, noise, remove)
SOME: tuple[Harm, ...] = (flip, cut, noise, remove)
LEASE = "leases/0011223344556677.lease"


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    with points.memory() as folder:
        yield folder


@pytest.fixture(scope="module")
def template(memory: Path) -> Path:
    """A repository with every sort of file that a command leaves."""
    root = memory / "template"
    root.mkdir()
    with silent():
        small_files(root)
        assert run_aq(root, ["config", "set", "gc.grace", "2h"], time=START) == 0
    (root / ".aq" / "leases").mkdir(exist_ok=True)
    (root / ".aq" / LEASE).write_bytes(bytes(8))
    return root


def codes(root: Path, *commands: str, log: Path) -> list[int]:
    """Exit codes of commands in a process of their own; none shows a traceback."""
    results = []
    for line in commands:
        status = points.in_child(lambda line=line: run_aq(root, line.split(), time=START + DAY), log)  # type: ignore[misc]
        assert os.WIFEXITED(status), f"{line}: died of {status}"
        said = log.read_text(errors="replace")
        assert "Traceback" not in said, said
        results.append(os.WEXITSTATUS(status))
    return results


@pytest.mark.parametrize("name", ["index/lock.mdb", "index/data.mdb", LEASE, ".gitignore"])
def test_files_that_say_nothing_that_is_not_known(template: Path, memory: Path, name: str) -> None:
    for harm in HARMS if name == "index/data.mdb" else SOME:
        root = copy_of(template, memory / "harmed")
        harm(root / ".aq" / name)
        told = codes(root, "status", "commit -m x", "gc", "fsck --rebuild", log=memory / "log")
        assert told == [0] * 4, harm.__name__
    check_oracle(root)


def test_a_damaged_configuration_stops_who_needs_it_with_its_line(template: Path, memory: Path) -> None:
    for harm in HARMS:
        root = copy_of(template, memory / "harmed")
        harm(root / ".aq" / "config")
        told = codes(root, "log", "status", "fsck --full", "commit -m x", log=memory / "log")
        assert told in ([0, 0, 0, 0], [0, 0, 0, 1]), harm.__name__
        if told[-1]:
            assert ".aq/config cannot be read" in (memory / "log").read_text(errors="replace")
        (root / ".aq" / "config").unlink(missing_ok=True)
        assert codes(root, "commit -m x", log=memory / "log") == [0]


def test_a_damaged_format_file_is_named_and_can_be_removed(template: Path, memory: Path) -> None:
    """It is a promise about all else, so it is never guessed at while it is there."""
    for harm in HARMS:
        root = copy_of(template, memory / "harmed")
        harm(root / ".aq" / "format")
        told = codes(root, "log", "commit -m x", "fsck", log=memory / "log")
        assert told in ([0] * 3, [5] * 3, [1] * 3), harm.__name__
        if any(told):
            said = (memory / "log").read_text()
            assert "format" in said or "newer" in said
            (root / ".aq" / "format").unlink()
            assert codes(root, "log", "commit -m x", "fsck --full", log=memory / "log") == [0] * 3
        check_oracle(root, gc=False)


# The way back


def damaged(root: Path, id: Digest) -> None:
    """One bit of an object's payload, where it lies."""
    with Store.open(root) as store:
        row = store.index.get("objects", id)
        assert row is not None
        place = decode_place(row)
    path = root / ".aq" / "packs" / f"{place.pack.hex()}.pack"
    data = bytearray(path.read_bytes())
    data[place.offset + place.size - 1] ^= 1
    path.write_bytes(data)


def chunks(root: Path) -> list[Digest]:
    """The large ones: others hold rules of tracking, which only an old operation needs."""
    with Store.open(root) as store:
        places = [(Digest(id), decode_place(row)) for id, row in store.index.items("objects")]
    return [id for id, place in places if place.kind == Kind.CHUNK and place.size > 10_000]


def test_a_lost_file_is_stored_again_from_wherever_it_comes(tmp_path: Path) -> None:
    """Found, named, forgotten by --rebuild, and whole again once somebody adds the same content."""
    content = random.Random(1).randbytes(400_000)
    write(tmp_path, "big.bin", content)
    write(tmp_path, "small.txt", "small")
    with silent():
        for line in ("init", "add .", "commit -m first"):
            assert run_aq(tmp_path, line.split(), time=START) == 0
    damaged(tmp_path, chunks(tmp_path)[0])
    (tmp_path / "big.bin").unlink()
    with silent():
        assert run_aq(tmp_path, ["fsck", "--full"], time=START) == 5
        assert run_aq(tmp_path, ["restore", "big.bin"], time=START) == 5
        assert not (tmp_path / "big.bin").exists()
        assert run_aq(tmp_path, ["fsck", "--rebuild"], time=START) == 5
        assert run_aq(tmp_path, ["cat", "HEAD:small.txt"], time=START) == 0
        (tmp_path / "big.bin").write_bytes(content)  # from a backup
        assert run_aq(tmp_path, ["commit", "-m", "the same again"], time=START) == 0
        assert run_aq(tmp_path, ["fsck", "--full"], time=START) == 0
        (tmp_path / "big.bin").unlink()
        assert run_aq(tmp_path, ["restore", "big.bin"], time=START) == 0
    assert (tmp_path / "big.bin").read_bytes() == content
    check_oracle(tmp_path)


def test_what_still_lies_in_the_folder_comes_back_by_the_rebuild_itself(tmp_path: Path) -> None:
    write(tmp_path, "big.bin", random.Random(2).randbytes(400_000))
    with silent():
        for line in ("init", "add .", "commit -m first"):
            assert run_aq(tmp_path, line.split(), time=START) == 0
    for id in chunks(tmp_path):
        damaged(tmp_path, id)
    with silent():
        assert run_aq(tmp_path, ["fsck", "--full"], time=START) == 5
        assert run_aq(tmp_path, ["fsck", "--rebuild"], time=START) == 0
        assert run_aq(tmp_path, ["fsck", "--full"], time=START) == 0
    check_oracle(tmp_path)


def test_a_lost_output_is_made_again(tmp_path: Path) -> None:
    """A flow that runs again makes the same bytes, and with them the old commits are whole."""
    with silent():
        flow(tmp_path)
        assert run_aq(tmp_path, ["run", "flow.py"], time=START) == 0
    with Store.open(tmp_path) as store:
        refs = refs_of(store)
        largest = max(
            (row for row in store.index.items("objects") if decode_place(row[1]).kind == Kind.CHUNK),
            key=lambda row: decode_place(row[1]).size,
        )
    damaged(tmp_path, Digest(largest[0]))
    with silent():
        assert run_aq(tmp_path, ["fsck", "--full"], time=START) == 5
        assert run_aq(tmp_path, ["cat", "HEAD:texts/blown"], time=START) == 5
        assert run_aq(tmp_path, ["fsck", "--rebuild"], time=START) == 5
        assert run_aq(tmp_path, ["run"], time=START + DAY) == 0
        assert statuses_of_last_run(tmp_path)["texts/blown"] == "run"
        assert run_aq(tmp_path, ["run"], time=START + DAY) == 0
        assert set(statuses_of_last_run(tmp_path).values()) == {"reused"}
        assert run_aq(tmp_path, ["fsck", "--full"], time=START) == 0
        assert run_aq(tmp_path, ["fsck", "--rebuild"], time=START) == 0
        assert run_aq(tmp_path, ["fsck", "--full"], time=START) == 0
        assert run_aq(tmp_path, ["cat", f"{refs['branch/main']}:texts/blown"], time=START) == 0
    check_oracle(tmp_path)


def statuses_of_last_run(root: Path) -> dict[str, str]:
    with Store.open(root) as store:
        return {step.name: step.status for step in get_record(store, Run, next(store.runs())).steps}


def test_given_values_come_back_when_they_are_given_again(tmp_path: Path) -> None:
    def context() -> Context:
        return Context(now=lambda: START, offset=lambda now: 0, cwd=tmp_path, user="ada@test", author="Ada")

    value = {"noise": random.Random(3).randbytes(100_000)}
    with Repo.create(tmp_path, context()) as repo:
        repo.commit({"value": value}, message="first")
    for id in chunks(tmp_path):
        damaged(tmp_path, id)
    with Repo.find(tmp_path, context()) as repo:
        with pytest.raises(AqError):
            repo.get("value").load()
        assert repo.fsck(rebuild=True).problems
        assert not repo.commit({"value": value}, message="again").created
        assert repo.get("value").load() == value
        assert repo.fsck(full=True).problems == []
