"""Damage of every sort is found, named by id, path and commit, and costs nothing else."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from aq.formats.errors import AqError, Damaged
from aq.formats.identity import Digest, Kind
from aq.formats.objects import put_record
from aq.formats.packing.packs import Place
from aq.formats.records import Artifact, Commit, Node, Run, RunStep, Step, encode
from aq.formats.trees.prolly import build_list, build_map
from aq.store.commits import snapshots
from aq.store.commits.refs import Ref
from aq.store.commits.snapshots import Entry, Origin
from aq.store.frames.place_rows import decode_place
from aq.store.store import Store
from aq.store.upkeep.fsck import Checked, fsck
from aq.store.upkeep.mend import mend

from tests.store.folder import Bench, bench

__all__ = ["bench"]

Truth = dict[Digest, tuple[Kind, bytes]]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with every kind of object, in journal and data packs, over three commits."""
    root = tmp_path_factory.mktemp("fsck") / "repo"
    bench = Bench(root)
    noise = random.Random(1).randbytes(2_500_000)
    bench.write("data/big.bin", noise)
    bench.write("data/small.txt", "one\n")
    for number in range(120):
        bench.write(f"notes/{number:03}.txt", f"note {number}\n")
    (root / "link").symlink_to("data/small.txt")
    bench.add("data", "notes", "link")
    bench.commit("first")
    made(bench)
    bench.write("data/small.txt", "two\n")
    bench.write("data/big.bin", noise[:1_200_000] + b"!" + noise[1_200_000:])
    bench.settle()
    bench.commit("third")
    bench.store.close()
    return root


def made(bench: Bench) -> None:
    """A commit with a run, a step, a log and a summary."""
    store = bench.store
    source = put_record(store, Artifact(kind="file", format="bytes", size=1, data=b"s"))
    output = put_record(store, Artifact(kind="value", format="json", size=1, data=b"1"))
    log = put_record(store, Artifact(kind="value", format="raw", size=3, data=b"log"))
    step = put_record(
        store, Step(key=bytes(32), op="m:f", inputs={"a": source}, outputs=[("", bytes(output))])
    )
    root = snapshots.edit(
        store,
        bench.work.head(),
        {"flow/f": Entry(output, Origin.MADE, step), "given": Entry(output, Origin.GIVEN)},
    )
    run = put_record(
        store,
        Run(flow="flow", file="f.py", time=1, status="committed", snapshot=root,
            steps=[RunStep(name="flow/f", status="run", step=step, log=log)]),
    )  # fmt: skip
    store.put_summary(output, {"value": 1})
    bench.commit_snapshot(root, "second")
    assert list(store.runs()) == [run]


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "repo", symlinks=True))


def check(root: Path, *, full: bool = True) -> Checked:
    with Store.open(root) as store:
        return fsck(store, full=full)


def named(found: Checked) -> set[str]:
    return {problem.id for problem in found.problems if problem.id}


def places(root: Path) -> list[tuple[Digest, Place]]:
    with Store.open(root) as store:
        rows = store.index.items("objects") + store.index.items("summaries")
        return [(Digest(id), decode_place(value)) for id, value in rows]


def truth(root: Path) -> Truth:
    with Store.open(root) as store:
        kinds = [(Digest(id), Kind(decode_place(value).kind)) for id, value in store.index.items("objects")]
        return {id: (kind, store.get(kind, id)) for id, kind in kinds}


def readable(root: Path, wanted: Truth) -> set[Digest]:
    """The objects that can be read; what is read is right."""
    found = set()
    with Store.open(root) as store:
        for id, (kind, data) in wanted.items():
            try:
                assert store.get(kind, id) == data
                found.add(id)
            except Damaged as error:
                assert id.hex() in error.message
    return found


def made_from(root: Path, id: Digest) -> set[Digest]:
    """The deltas that this object is a base of."""
    return {one for one, place in places(root) if id in place.bases}


def pack_of(root: Path, place: Place) -> Path:
    return root / ".aq" / "packs" / f"{place.pack.hex()}.pack"


def flip(path: Path, offset: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


def one_of_each_kind(root: Path) -> dict[int, tuple[Digest, Place]]:
    chosen = {place.kind: (id, place) for id, place in places(root)}
    assert {*map(int, Kind)} - {Kind.VOID, Kind.ATTESTATION} == chosen.keys()
    return chosen


def test_a_sound_repository_has_no_problems(root: Path) -> None:
    for full in (False, True):
        found = check(root, full=full)
        assert found.problems == []
        assert found.objects == len(truth(root)) and found.bytes > 2_500_000
    with Store.open(root) as store:
        store.put(Kind.CHUNK, b"nothing needs this")
        store.flush()
    after = check(root)
    assert after.problems == [] and after.garbage > found.garbage


def test_one_bit_in_each_kind_of_object_is_found_by_id_path_and_commit(
    template: Path, tmp_path: Path
) -> None:
    wanted = truth(template)
    for kind, (id, place) in one_of_each_kind(template).items():
        for offset in (0, 20, 40, 64, place.size - 1):
            root = Path(shutil.copytree(template, tmp_path / "r", symlinks=True))
            flip(pack_of(root, place), place.offset + offset, 3)
            found = check(root)
            assert id.hex() in named(found), (Kind(kind).name, offset)
            if kind < Kind.SUMMARY:
                assert wanted.keys() - readable(root, wanted) == {id} | made_from(template, id)
            shutil.rmtree(root)


def test_every_bit_of_the_packs_counts(template: Path, tmp_path: Path) -> None:
    """Wherever a bit flips, it is found; nothing but one object is lost, with what is made from it."""
    wanted, chosen = truth(template), random.Random(7)
    packs = sorted((template / ".aq" / "packs").iterdir())
    root = Path(shutil.copytree(template, tmp_path / "r", symlinks=True))
    for _turn in range(40):
        pack = chosen.choice(packs)
        path = root / ".aq" / "packs" / pack.name
        offset = chosen.randrange(path.stat().st_size)
        flip(path, offset, chosen.randrange(8))
        assert check(root).problems, (pack.name, offset)
        lost = wanted.keys() - readable(root, wanted)
        assert len(lost - {one for id in lost for one in made_from(template, id)}) <= 1
        path.write_bytes(pack.read_bytes())
    assert check(root).problems == []


def test_who_needs_a_damaged_file_is_said(root: Path) -> None:
    with Store.open(root) as store:
        tip = store.refs()["branch/main"].id or b""
        commit = msgspec.msgpack.decode(store.get(Kind.COMMIT, tip), type=Commit)
        big = snapshots.get_entry(store, commit.snapshot, "data/big.bin")
        assert big is not None
        artifact = msgspec.msgpack.decode(store.get(Kind.ARTIFACT, big.artifact), type=Artifact)
        first = Digest(
            msgspec.msgpack.decode(store.get(Kind.NODE, artifact.root or b""), type=Node).values[0][:32]
        )
        place = store.index.place(first)
        history = [id for id, _commit in _history(store, tip)]
    assert place is not None
    flip(pack_of(root, place), place.offset + 100)
    assert check(root, full=False).problems == [], "heads alone do not show it"
    (problem,) = check(root).problems
    assert (problem.kind, problem.id, problem.path) == ("chunk", first.hex(), "data/big.bin")
    assert problem.commits == [id.hex() for id in history], "its first bytes are the same in all three"
    assert problem.repair == "aq fsck --rebuild" and "damaged" in problem.detail


def _history(store: Store, tip: bytes) -> Iterator[tuple[Digest, Commit]]:
    from aq.store.commits import history

    return history.first_parents(store, tip)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_one_byte(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def extend(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(4096))


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [empty, halve, cut_one_byte, extend, remove])
def test_whole_packs_are_harmed(template: Path, tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """Every object that cannot be read is named; after `--rebuild` what is left is whole and can be used."""
    wanted = truth(template)
    for pack in sorted((template / ".aq" / "packs").iterdir()):
        root = Path(shutil.copytree(template, tmp_path / "r", symlinks=True))
        harm(root / ".aq" / "packs" / pack.name)
        left = readable(root, wanted)
        found = check(root)
        assert {id.hex() for id in wanted.keys() - left} <= named(found)
        assert found.problems or len(left) == len(wanted)
        try:
            lost = mend(root)
        except Damaged as error:
            assert "no journal" in error.message or "no operation" in error.message
            shutil.rmtree(root)
            continue
        after = check(root)
        assert readable(root, wanted) >= left
        assert bool(after.problems or lost) == (len(left) < len(wanted)), after.problems
        next_commit(root)
        shutil.rmtree(root)


def next_commit(root: Path) -> None:
    """The store takes something new."""
    with Store.open(root) as store:
        id = store.put(Kind.CHUNK, b"after the damage")
        move = store.transaction("test", time=9, user="ada")
        move.set("tracking", Ref(id))
        move.commit()
    with Store.open(root) as store:
        assert store.get(Kind.CHUNK, id) == b"after the damage"


def test_any_one_file_deleted_is_made_again_or_its_loss_is_named(template: Path, tmp_path: Path) -> None:
    wanted = truth(template)
    for path in sorted(path for path in (template / ".aq").rglob("*") if path.is_file()):
        root = Path(shutil.copytree(template, tmp_path / "r", symlinks=True))
        (root / path.relative_to(template)).unlink()
        try:
            found = check(root)
        except Damaged:
            assert path.suffix == ".pack"
            shutil.rmtree(root)
            continue
        lost = {id.hex() for id in wanted.keys() - readable(root, wanted)}
        assert lost <= named(found)
        if not lost:
            mend(root)
            assert check(root).problems == []
        shutil.rmtree(root)


def test_two_frames_that_changed_places_are_both_named(root: Path) -> None:
    sizes: dict[tuple[bytes, int], tuple[Digest, Place]] = {}
    for id, place in places(root):
        other = sizes.setdefault((place.pack, place.size), (id, place))
        if other[0] != id and place.kind != Kind.SUMMARY:
            break
    path = pack_of(root, place)
    data = bytearray(path.read_bytes())
    one, two = (slice(at.offset, at.offset + at.size) for at in (place, other[1]))
    data[one], data[two] = data[two], data[one]
    path.write_bytes(data)
    for full in (False, True):
        assert {id.hex(), other[0].hex()} <= named(check(root, full=full))


def test_what_was_forgotten_can_be_stored_again(root: Path) -> None:
    id, place = one_of_each_kind(root)[Kind.CHUNK]
    data, lost = truth(root)[id][1], {id} | made_from(root, id)
    flip(pack_of(root, place), place.offset + 80)
    mend(root)
    assert named(check(root)) == {one.hex() for one in lost}
    with Store.open(root) as store:
        assert not store.has(id)
        assert store.put(Kind.CHUNK, data) == id
        store.flush()
    mend(root)  # runs that had lost a part are whole again, and listed again
    assert check(root).problems == []
    assert check(root, full=False).problems == []


def test_a_lost_race_stays_lost_when_the_index_is_made_again(root: Path) -> None:
    with Store.open(root) as store:
        before = store.refs()
        mine = store.transaction("test", time=5, user="ada")
        mine.set("tag/mine", Ref(before["branch/main"].id), expect=Ref(Digest(bytes(32))))
        with pytest.raises(AqError):
            mine.commit()
    mend(root)
    with Store.open(root) as store:
        assert store.refs() == before
    assert check(root).problems == []


@pytest.mark.parametrize("database", ["objects", "refs", "steps", "runs", "summaries", "packs"])
def test_an_index_that_lost_an_entry_is_found_out_and_made_again(root: Path, database: str) -> None:
    with Store.open(root) as store:
        before = store.index.items(database)
        key = before[len(before) // 2][0]
        store.index.put_many(database, [(key, None)])
    found = check(root, full=False)
    assert found.problems and {problem.repair for problem in found.problems} <= {"aq fsck --rebuild", ""}
    mend(root)
    with Store.open(root) as store:
        assert store.index.items(database) == before
    assert check(root).problems == []


def commit_of(bench: Bench, snapshot: Digest, **fields: object) -> Digest:
    record = Commit(snapshot=snapshot, time=1, author="a", message="m", **fields)  # type: ignore[arg-type]
    id = put_record(bench.store, record)
    bench.refs({"branch/main": Ref(id)})
    return id


def details(bench: Bench) -> str:
    return "; ".join(problem.detail for problem in fsck(bench.store).problems)


def test_rules_of_snapshots_and_records(bench: Bench) -> None:
    """What no aq writes, but a hostile or broken one may."""
    store = bench.store
    file = put_record(store, Artifact(kind="file", format="bytes", size=1, data=b"x"))
    value = put_record(store, Artifact(kind="value", format="json", size=1, data=b"1"))
    other = put_record(store, Artifact(kind="value", format="json", size=1, data=b"2"))
    step = put_record(store, Step(key=bytes(32), op="f", outputs=[("", bytes(value))]))
    plain = snapshots.pack(Entry(file, Origin.FILE))
    cases = {
        "has a part '..'": [(b"../x", plain)],
        "leads into .aq": [(b"a/.AQ/x", plain)],
        "lies below another tracked file": [(b"a", plain), (b"a/b", plain)],
        "is no file": [(b"a", snapshots.pack(Entry(value, Origin.FILE)))],
        "no output of its step": [(b"f/g", snapshots.pack(Entry(other, Origin.MADE, step)))],
        "entry cannot be read": [(b"a", b"\x93\x01\x02\x03")],
        "without a usable target": [(b"a", msgspec.msgpack.encode((bytes(_nul(store)), 0, None, 2)))],
    }
    for detail, entries in cases.items():
        id = commit_of(bench, build_map(store, entries))
        assert detail in details(bench), detail
        assert [id.hex()] in [problem.commits for problem in fsck(store).problems]
    fine = build_map(store, [(b"f/g", snapshots.pack(Entry(value, Origin.MADE, step))), (b"x", plain)])
    commit_of(bench, fine)


def _nul(store: Store) -> Digest:
    return put_record(store, Artifact(kind="file", format="bytes", size=3, data=b"a\0b"))


def test_rules_of_trees_artifacts_and_history(bench: Bench) -> None:
    store = bench.store
    file = put_record(store, Artifact(kind="file", format="bytes", size=1, data=b"x"))
    entry = snapshots.pack(Entry(file, Origin.FILE))
    keys = [b"%05d" % number for number in range(2_000)]
    whole = Node(level=0, keys=keys, values=[entry] * len(keys))
    two = [put_record(store, Node(level=0, keys=[key], values=[entry])) for key in (b"a", b"b")]
    bad = Node(level=1, keys=[b"a", b"c"], values=[bytes(id) for id in two], counts=[1, 1])
    chunk = store.put(Kind.CHUNK, b"abc")
    pieces = build_list(store, [bytes(chunk) + (70_000).to_bytes(4, "little")])
    late = put_record(store, Commit(snapshot=snapshots.empty(store), time=50, author="a", message="m"))
    cases: dict[str, Callable[[], Digest]] = {
        "goes on where the rule ends it": lambda: store.put(Kind.NODE, encode(whole)),
        "is not what it says": lambda: store.put(Kind.NODE, encode(bad)),
        "is missing from the store": lambda: Digest(bytes(range(32))),
        "exactly one of data and root": lambda: _given(store, Artifact(kind="value", format="json", size=1)),
        "holds 1 bytes instead of 2": lambda: _given(
            store, Artifact(kind="value", format="json", size=2, data=b"1")
        ),
        "its pieces have 70000 bytes": lambda: _given(
            store, Artifact(kind="file", format="bytes", size=70_001, root=pieces)
        ),
    }
    for detail, make in cases.items():
        commit_of(bench, make())
        assert detail in details(bench), detail
    commit_of(bench, snapshots.empty(store), parents=[bytes(late)])
    assert "its time is before that of its parent" in details(bench)


def _given(store: Store, artifact: Artifact) -> Digest:
    id = put_record(store, artifact)
    return build_map(store, [(b"g", snapshots.pack(Entry(id, Origin.GIVEN)))])


def test_step_keys_are_checked_by_who_knows_them(bench: Bench) -> None:
    id = put_record(bench.store, Step(key=bytes(32), op="f"))
    bench.store.flush()
    assert fsck(bench.store, step_key=lambda step: step.key).problems == []
    (problem,) = fsck(bench.store, step_key=lambda step: bytes([1] * 32)).problems
    assert problem.id == id.hex() and "key" in problem.detail


def test_a_check_beside_a_writer_cries_no_wolf(root: Path) -> None:
    """What is written while the check runs is left out, not taken for damage."""
    stop = root / "stop"

    def write() -> None:
        with Store.open(root) as store:
            number = 0
            while not stop.exists():
                number += 1
                size = 1_500_000 if number % 3 else 900
                rules = {random.randbytes(size): "+"}
                id = store.put(Kind.CHUNK, msgspec.msgpack.encode(rules))
                move = store.transaction("test", time=number, user="ada")
                move.set("tracking", Ref(id))
                move.commit()

    pid = os.fork()
    if pid == 0:
        try:
            write()
        finally:
            os._exit(0)
    try:
        for turn in range(8):
            assert check(root, full=bool(turn % 2)).problems == []
    finally:
        stop.touch()
        os.waitpid(pid, 0)
