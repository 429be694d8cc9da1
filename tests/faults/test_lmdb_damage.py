"""The index damaged on the disk: right answers, a new index, or an error with a command that makes one."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest
from aq.formats.errors import Damaged
from aq.formats.identity import Kind
from aq.formats.packing.packs import HEADER_SIZE, Place
from aq.store.folder.worktree import Worktree
from aq.store.frames import pages, sums
from aq.store.frames.environment import CHECKED_MOST, REBUILD, DamagedIndex, open_environment
from aq.store.frames.index import Change, State
from aq.store.frames.place_rows import decode_place, encode_place
from aq.store.frames.unopened import problem_before_opening, somebody_died
from aq.store.store import Store
from aq.store.upkeep.fsck import fsck
from aq.store.upkeep.gc import collect
from aq.store.upkeep.mend import mend

from tests.faults import damage
from tests.faults.damage import Outcome, Truth, ask_all, outcome, truth_of
from tests.faults.oracle import check_oracle, copy_of
from tests.store.scenario import in_child

PAGE = 4_096


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is one."""
    folder = Path("/dev/shm") / f"aq-lmdb-{os.getpid()}"
    if not folder.parent.is_dir():
        folder = tmp_path_factory.mktemp("lmdb")
    folder.mkdir(exist_ok=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def small(memory: Path) -> tuple[Path, Truth]:
    """An index of so few pages that each opening looks at all of them."""
    damage.build(memory / "small")
    assert data_file(memory / "small").stat().st_size <= CHECKED_MOST * PAGE
    return memory / "small", truth_of(memory / "small")


@pytest.fixture(scope="module")
def large(memory: Path) -> tuple[Path, Truth]:
    """One of more pages, most of them free, with a list of free pages that has a page of its own."""
    root = memory / "large"
    damage.build(root)
    rows = [(b"t" + os.urandom(15), os.urandom(82)) for _ in range(9_000)]
    with Store.open(root) as store:
        store.index.put_many("gaps", rows)
        store.index.put_many("gaps", [(key, None) for key, _value in rows])
    found = pages.newest(pages.metas(reader(data_file(root).read_bytes())))
    assert found.last > 4 * CHECKED_MOST and found.free.overflows
    return root, truth_of(root)


def without_sums(made: tuple[Path, Truth]) -> tuple[Path, Truth]:
    """As an index that was not closed by its last writer: LMDB alone has no checksums."""
    template = made[0].parent / f"{made[0].name}-without"
    if not template.exists():
        copy_of(made[0], template)
        (template / ".aq" / "index" / sums.NAME).unlink()
    return template, made[1]


def data_file(root: Path) -> Path:
    return root / ".aq" / "index" / "data.mdb"


def reader(data: bytes) -> pages.Read:
    return lambda size, offset: data[offset : offset + size]


def used(data: bytes) -> list[int]:
    """The pages that LMDB reads: those whose damage matters."""
    found = pages.newest(pages.metas(reader(data)))
    met: list[int] = []

    def read(size: int, offset: int) -> bytes:
        met.append(offset // PAGE)
        return data[offset : offset + size]

    pages.check(read, found)
    return [0, 1, *met]


def flip(root: Path, page: int, offset: int, bit: int) -> None:
    with data_file(root).open("r+b") as file:
        file.seek(page * PAGE + offset)
        byte = file.read(1)[0]
        file.seek(page * PAGE + offset)
        file.write(bytes([byte ^ 1 << bit]))


def survives(root: Path, truth: Truth) -> list[Outcome]:
    """Ask a damaged repository, again, and after the command that the error names."""
    met = [outcome(lambda: ask_all(root, truth))]
    if met[-1] is not Outcome.RIGHT:
        met.append(outcome(lambda: ask_all(root, truth)))
        if met[-1] is Outcome.DAMAGED:

            def mended() -> None:
                assert mend(root) == []
                ask_all(root, truth)

            met.append(outcome(mended))
    assert met[-1] is Outcome.RIGHT and not {Outcome.WRONG, Outcome.NAMED} & {*met}, met
    return met


def sweep(made: tuple[Path, Truth], points: list[tuple[int, int, int]]) -> list[list[Outcome]]:
    template, truth = made
    found = []
    for page, offset, bit in points:
        root = copy_of(template, template.parent / "damaged")
        flip(root, page, offset, bit)
        summed = (root / ".aq" / "index" / sums.NAME).exists()
        try:
            found.append(survives(root, truth))
            assert not summed or found[-1] == [Outcome.RIGHT], "found only by whoever met it"
        except AssertionError as error:
            raise AssertionError(f"page {page}, byte {offset}, bit {bit}: {error}") from None
    return found


def chosen(template: Path, count: int, seed: int) -> list[tuple[int, int, int]]:
    """Bits of pages in use: half of them of the heads of pages, where they do most harm."""
    numbers, some = used(data_file(template).read_bytes()), random.Random(seed)
    places = [(some.choice(numbers), some.randrange(8)) for _ in range(count)]
    return [
        (page, some.randrange(PAGE) if turn % 2 else some.randrange(100), bit)
        for turn, (page, bit) in enumerate(places)
    ]


def test_a_flipped_bit_in_a_small_index(small: tuple[Path, Truth]) -> None:
    sweep(small, chosen(small[0], 24, seed=1))
    sweep(without_sums(small), chosen(small[0], 12, seed=1))


def test_a_flipped_bit_in_a_large_index(large: tuple[Path, Truth]) -> None:
    sweep(large, chosen(large[0], 16, seed=2))
    sweep(without_sums(large), chosen(large[0], 16, seed=2))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 16))
def test_many_flipped_bits(small: tuple[Path, Truth], large: tuple[Path, Truth], seed: int) -> None:
    for made in (small, large, without_sums(small), without_sums(large)):
        sweep(made, chosen(made[0], 100, seed))


@pytest.mark.soak
def test_every_bit_of_every_head_and_many_others(
    small: tuple[Path, Truth], large: tuple[Path, Truth]
) -> None:
    for template, truth in (small, large, without_sums(small), without_sums(large)):
        points = [
            (page, offset, bit)
            for page in used(data_file(template).read_bytes())
            for offset in [*range(40), *range(40, PAGE, 61)]
            for bit in ((0, 3, 7) if page > 1 else range(8))
        ]
        sweep((template, truth), points)


def test_a_page_that_kills_a_process_is_repaired_by_the_next(large: tuple[Path, Truth]) -> None:
    template, truth = without_sums(large)
    root = copy_of(template, template.parent / "damaged")
    last = (pages.newest(pages.metas(reader(data_file(root).read_bytes()))).last + 1) * PAGE
    with data_file(root).open("r+b") as file:  # every entry of the root leads far behind the file's end
        number = pages.newest(pages.metas(reader(data_file(root).read_bytes()))).main.root or 0
        file.seek(number * PAGE)
        page = bytearray(file.read(PAGE))
        for at in range(16, int.from_bytes(page[12:14], "little"), 2):
            page[at : at + 2] = b"\xf0\xff"
        file.seek(number * PAGE)
        file.write(page)
        file.truncate(max(last - 20 * PAGE, (number + 1) * PAGE) if number + 30 > last // PAGE else last)
    before = outcome(lambda: ask_all(root, truth))
    assert before is not Outcome.WRONG
    assert outcome(lambda: ask_all(root, truth)) is Outcome.RIGHT


def test_a_death_is_seen_by_the_next_one(small: tuple[Path, Truth]) -> None:
    root = copy_of(small[0], small[0].parent / "damaged")

    def die() -> None:
        with Store.open(root) as store, store.index.look():
            os.kill(os.getpid(), signal.SIGKILL)

    folder = str(root / ".aq" / "index")
    assert not somebody_died(folder)
    assert os.WTERMSIG(in_child(die)) == signal.SIGKILL
    assert somebody_died(folder)
    with Store.open(root) as store:
        assert store.refs() == small[1].refs
        assert not somebody_died_beside(folder)
    assert not somebody_died(folder)


def test_the_death_of_a_writer_is_seen_by_the_next_one(large: tuple[Path, Truth]) -> None:
    """Within its transaction, as by a page that only writers read: all pages are looked at, and made anew."""
    template, truth = without_sums(large)
    root = copy_of(template, template.parent / "damaged")
    folder = str(root / ".aq" / "index")

    def written() -> None:
        environment = open_environment(folder, readonly=False)
        with environment.writing():
            os.kill(os.getpid(), signal.SIGKILL)

    assert outcome(written) is Outcome.KILLED
    assert somebody_died(folder)
    data = data_file(root).read_bytes()
    flip(root, max(page for page in used(data) if data[page * PAGE + 10] == 2), 12, 1)
    assert outcome(lambda: ask_all(root, truth)) is Outcome.RIGHT
    assert not somebody_died(folder)


def rows_cut_short(root: Path) -> Iterator[tuple[str, bytes, bytes]]:
    """Rows of each database with values that no aq writes, a few of each."""
    with Store.open(root) as store:
        for database in ("objects", "summaries", "refs", "steps", "runs", "packs", "meta", "stat"):
            rows = store.index.items(database)
            for key, value in {*rows[:1], *rows[-1:]}:
                for wrong in (b"", value[: len(value) // 2], value + b"x"):
                    if wrong != value:
                        yield database, key, wrong


def test_a_row_whose_value_is_cut_short(small: tuple[Path, Truth]) -> None:
    template, truth = small
    met = set()
    for database, key, wrong in rows_cut_short(template):
        root = copy_of(template, template.parent / "damaged")
        with Store.open(root) as store:
            store.index.put_many(database, [(key, wrong)])
        try:
            met |= {*survives(root, truth)}
        except AssertionError as error:
            raise AssertionError(f"{database} {key.hex()} {wrong.hex()}: {error}") from None
    assert met == {Outcome.RIGHT, Outcome.DAMAGED}


def places(root: Path, *kinds: Kind) -> dict[bytes, Place]:
    with Store.open(root) as store:
        found = {id: decode_place(value) for id, value in store.index.items("objects")}
    return {id: place for id, place in found.items() if place.kind in kinds}


NOWHERE = [
    {"offset": 1 << 62},
    {"offset": 1 << 63},
    {"size": 1 << 36},
    {"size": 1 << 63},
    {"size": (1 << 64) - 1},
    {"offset": 1 << 63, "codec": 3, "bases": (bytes(32),)},
    {"codec": 3, "bases": (bytes(32),)},
    {"kind": 99},
]


@pytest.mark.parametrize(
    "wrong", NOWHERE, ids=["far", "too far", "long", "too long", "longest", "far delta", "delta", "kind"]
)
def test_a_place_that_no_pack_has(small: tuple[Path, Truth], wrong: dict[str, Any]) -> None:
    """Whoever reads many objects at once tells of damage, and takes no memory for what is not there."""
    root = copy_of(small[0], small[0].parent / "damaged")
    found = places(root, Kind.CHUNK, Kind.ARTIFACT)
    chunks = [id for id, place in found.items() if place.kind == Kind.CHUNK]
    rows = [(id, encode_place(place._replace(**wrong))) for id, place in found.items()]
    (root / "out").mkdir()

    def ask() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])  # of whatever tests ran here before
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (8 << 30),) * 2)
        with Store.open(root) as store:
            store.index.put_many("objects", rows)
            store.origins(chunks)
            assert fsck(store).problems
            with pytest.raises(Damaged):
                store.visit(Kind.CHUNK, chunks, lambda at, data: None)
            with pytest.raises(Damaged):
                Worktree(store).export(Worktree(store).head(), root / "out")

    assert outcome(ask) is Outcome.RIGHT
    assert survives(root, small[1])[-1] is Outcome.RIGHT


def wrong_rows(id: bytes, place: Place) -> dict[str, list[tuple[bytes, bytes | None]]]:
    """One bit of the row of a place, its key, or the whole row."""
    changes: list[dict[str, Any]] = [
        {"offset": place.offset ^ 8},
        {"size": place.size ^ 8},
        {"codec": place.codec ^ 1},
        {"kind": place.kind ^ 8},
        {"pack": bytes([place.pack[0] ^ 1]) + place.pack[1:]},
    ]
    found: dict[str, list[tuple[bytes, bytes | None]]] = {
        next(iter(one)): [(id, encode_place(place._replace(**one)))] for one in changes
    }
    other = bytes([id[0] ^ 1]) + id[1:]
    return found | {"gone": [(id, None)], "key": [(id, None), (other, encode_place(place))]}


def test_a_collector_drops_nothing_that_a_wrong_row_hides(small: tuple[Path, Truth]) -> None:
    template, truth = small
    chunks, runs = places(template, Kind.CHUNK), places(template, Kind.RUN)
    (run, lying), some = next(iter(runs.items())), list(chunks.items())[:2]
    rows = [rows for id, place in some for rows in wrong_rows(id, place).items()]
    rows.append(("codec of a run", wrong_rows(run, lying)["codec"]))
    for what, changed in [*rows, ("a run is not listed", [])]:
        root = copy_of(template, template.parent / "damaged")
        with Store.open(root) as store:
            store.index.put_many("objects", changed)
            store.index.put_many("runs", [] if changed else [(store.index.items("runs")[-1][0], None)])
        with Store.open(root) as store, pytest.raises(Damaged) as raised:
            collect(store, now=10, user="ada")
        assert REBUILD in raised.value.hints, what
        assert mend(root) == []
        ask_all(root, truth)


def test_a_meta_page_that_could_not_be_written_is_no_damage(small: tuple[Path, Truth]) -> None:
    """LMDB then puts back its old number and size, but not its old trees: they may lie behind that end."""
    root = copy_of(small[0], small[0].parent / "damaged")
    data = bytearray(data_file(root).read_bytes())
    newest = pages.newest(pages.metas(reader(data)))
    older = (newest.transaction + 1) % 2
    struct.pack_into("=Q", data, older * PAGE + 128, newest.last + 9)  # the root of its main tree
    data_file(root).write_bytes(data)
    assert survives(root, small[1]) == [Outcome.RIGHT]
    check_oracle(root)


def harmed(sums: bytes) -> list[bytes | None]:
    """Each way in which the file of sums can be wrong while the index is right; None: it is gone."""
    cut = [b"", sums[:8], sums[:20], sums[:-1]]
    return [*cut, sums[:70] + bytes([sums[70] ^ 1]) + sums[71:], sums + b"more", None]


@pytest.mark.parametrize("readonly", [False, True])
def test_wrong_sums_accuse_nobody(small: tuple[Path, Truth], readonly: bool) -> None:
    template, truth = small
    for data in harmed((template / ".aq" / "index" / sums.NAME).read_bytes()):
        root = copy_of(template, template.parent / "damaged")
        inode = data_file(root).stat().st_ino
        path = root / ".aq" / "index" / sums.NAME
        path.unlink() if data is None else path.write_bytes(data)
        open_environment(str(path.parent), readonly=readonly).close()
        ask_all(root, truth)
        assert data_file(root).stat().st_ino == inode, "the index was made anew"


def test_pages_that_a_dead_writer_left_are_no_damage(large: tuple[Path, Truth]) -> None:
    """Free pages are written before the meta page that names them; whoever dies in between leaves them."""
    template, truth = large
    root = copy_of(template, template.parent / "damaged")
    data = bytearray(data_file(root).read_bytes())
    uses = pages.check(reader(data), pages.newest(pages.metas(reader(data))))
    free = [number for number, use in enumerate(uses) if use == pages.FREE][::50]
    assert len(free) > 3
    for number in free:
        data[number * PAGE : number * PAGE + PAGE] = os.urandom(PAGE)
    data_file(root).write_bytes(data)
    inode = data_file(root).stat().st_ino
    ask_all(root, truth)
    assert data_file(root).stat().st_ino == inode, "the index was made anew"
    check_oracle(root)


def test_sums_follow_every_writer_that_closes(large: tuple[Path, Truth]) -> None:
    root = copy_of(large[0], large[0].parent / "damaged")
    folder = str(root / ".aq" / "index")
    for turn in range(3):
        with Store.open(root) as store:
            store.index.put_many("stat", [(b"%016d" % turn, b"")])
        found = sums.load(folder)
        with data_file(root).open("rb", buffering=0) as file:
            newest = pages.newest(pages.metas(reader(data_file(root).read_bytes())))
            assert found is not None and found.transaction == newest.transaction
            assert found == sums.take(file.fileno(), newest.transaction, PAGE)


def somebody_died_beside(folder: str) -> bool:
    """As another process sees it."""
    return in_child(lambda: os._exit(int(somebody_died(folder)))) != 0


def test_killed_within_a_transaction(small: tuple[Path, Truth]) -> None:
    """Pages of a transaction that was never committed count for nothing."""
    root = copy_of(small[0], small[0].parent / "damaged")
    for when in (1, 700, 20_000):

        def die(when: int = when) -> None:
            with Store.open(root) as store:
                txn = store.index.environment.begin(write=True)
                Change(txn).put_many("stat", ((b"%09d" % number, bytes(82)) for number in range(when)))
                os.kill(os.getpid(), signal.SIGKILL)

        assert os.WTERMSIG(in_child(die)) == signal.SIGKILL
        assert problem_before_opening(str(root / ".aq" / "index")) == ""
    ask_all(root, small[1])
    check_oracle(root)


def test_cut_anywhere_it_is_made_again(large: tuple[Path, Truth]) -> None:
    template, truth = large
    size = data_file(template).stat().st_size
    for length in (0, 1, 151, PAGE, PAGE + 151, 2 * PAGE, 3 * PAGE + 7, size // 2):
        root = copy_of(template, template.parent / "damaged")
        os.truncate(data_file(root), length)
        assert survives(root, truth) == [Outcome.RIGHT], length


def test_longer_than_it_should_be_is_no_harm(small: tuple[Path, Truth]) -> None:
    root = copy_of(small[0], small[0].parent / "damaged")
    os.truncate(data_file(root), data_file(root).stat().st_size + 5 * PAGE)
    assert survives(root, small[1]) == [Outcome.RIGHT]


def state_of(store: Store) -> State:
    found = store.index.state()
    assert found is not None
    return found


def wrong_states(state: State) -> dict[str, State]:
    half = HEADER_SIZE + (state.end - HEADER_SIZE) // 2
    return {
        "end in the middle": state._replace(end=half + 1),
        "end at the header": state._replace(end=HEADER_SIZE),
        "end is one bit less": state._replace(end=state.end ^ (state.end & -state.end)),
        "sequence": state._replace(sequence=state.sequence ^ 1 << 40),
        "operation": state._replace(operation=bytes([state.operation[0] ^ 1]) + state.operation[1:]),
        "refs": state._replace(refs=bytes([state.refs[0] ^ 1]) + state.refs[1:]),
        "ordinal": state._replace(ordinal=state.ordinal ^ 4),
        "journal": state._replace(journal=bytes([state.journal[0] ^ 1]) + state.journal[1:]),
    }


@pytest.mark.parametrize("what", [*wrong_states(State(1, bytes(32), bytes(32), 1, 999, bytes(8)))])
def test_a_wrong_state_never_cuts_the_journal_nor_numbers_what_follows(
    small: tuple[Path, Truth], what: str
) -> None:
    root = copy_of(small[0], small[0].parent / "damaged")
    with Store.open(root) as store:
        good = state_of(store)
        with store.index.environment.begin(write=True) as txn:
            Change(txn).set_state(wrong_states(good)[what])
        journal = root / ".aq" / "packs" / f"{good.journal.hex()}.pack"
        before = journal.read_bytes()
    ask_all(root, small[1])
    assert journal.read_bytes()[: len(before)] == before
    check_oracle(root)


def test_a_store_that_is_open_refuses_to_follow_a_wrong_state(small: tuple[Path, Truth]) -> None:
    root = copy_of(small[0], small[0].parent / "damaged")
    with Store.open(root) as store:
        good = state_of(store)
        with store.index.environment.begin(write=True) as txn:
            Change(txn).set_state(good._replace(end=good.end - 3))
        size = os.path.getsize(root / ".aq" / "packs" / f"{good.journal.hex()}.pack")
        move = store.transaction("test", time=9, user="ada")
        move.set("tag/x", store.refs()["tag/v1"])
        with pytest.raises(DamagedIndex):
            move.commit()
        assert os.path.getsize(root / ".aq" / "packs" / f"{good.journal.hex()}.pack") == size
    ask_all(root, small[1])


def test_a_wrong_row_of_a_ref_is_never_believed(small: tuple[Path, Truth]) -> None:
    root = copy_of(small[0], small[0].parent / "damaged")
    with Store.open(root) as store:
        row = store.index.get("refs", b"branch/main")
        assert row is not None
        for damaged in (row[:-1] + bytes([row[-1] ^ 1]), b"\xc1", None):
            store.index.put_many("refs", [(b"branch/main", damaged)])
            assert store.refs() == small[1].refs
            assert store.ref("branch/main") == small[1].refs["branch/main"]
        assert any("refs in the index" in problem.detail for problem in fsck(store).problems)
    ask_all(root, small[1])
    mend(root)
    with Store.open(root) as store:
        assert fsck(store, full=True).problems == []


def test_a_check_and_a_collector_look_at_every_page_first(large: tuple[Path, Truth]) -> None:
    template, truth = large
    root = copy_of(template, template.parent / "damaged")
    data = data_file(root).read_bytes()
    leaf = next(
        page for page in used(data)[2:] if data[page * PAGE + 10] == 2 and b"o" + min(truth.objects) in
        data[page * PAGE : page * PAGE + PAGE]
    )  # fmt: skip
    with Store.open(root) as store:
        flip(root, leaf, 12, 1)  # the page has one entry less, or more
        with pytest.raises(DamagedIndex) as caught:
            fsck(store)
        assert caught.value.hint == "aq fsck --rebuild"
        with pytest.raises(DamagedIndex):
            collect(store, now=1 << 62, user="ada", grace=0)
    assert survives(root, truth)[-1] is Outcome.RIGHT


def test_a_run_that_cannot_be_read_is_not_taken_for_unneeded(small: tuple[Path, Truth]) -> None:
    root = copy_of(small[0], small[0].parent / "damaged")
    with Store.open(root) as store:
        ((position, id),) = store.index.items("runs")
        store.index.put_many("runs", [(position, bytes([id[0] ^ 1]) + id[1:])])
        with pytest.raises(Damaged, match="nothing was collected"):
            collect(store, now=1 << 62, user="ada", retention=1 << 61, grace=0)
        assert store.has(id)


def test_places_that_lead_elsewhere_raise_and_name_the_command(small: tuple[Path, Truth]) -> None:
    root = copy_of(small[0], small[0].parent / "damaged")
    id = next(id for id, (kind, _data) in small[1].objects.items() if kind is Kind.CHUNK)
    with Store.open(root) as store:
        row = store.index.get("objects", id)
        assert row is not None
        for at in range(len(row)):
            for bit in (0, 7):
                broken = bytearray(row)
                broken[at] ^= 1 << bit
                store.index.put_many("objects", [(id, bytes(broken))])
                try:
                    assert store.get(Kind.CHUNK, id) == small[1].objects[id][1]
                except Damaged as error:
                    assert id.hex() in error.message and error.hint == "aq fsck --rebuild"


def test_the_check_of_pages_passes_whatever_lmdb_writes(tmp_path: Path) -> None:
    """Random puts and deletes of short and long values; freed pages, long free lists, an empty tree."""
    some, keys = random.Random(3), list[bytes]()
    environment = lmdb.open(str(tmp_path), map_size=1 << 30)
    with (tmp_path / "data.mdb").open("rb", buffering=0) as file:
        for turn in range(40):
            with environment.begin(write=True) as txn:
                for _ in range(some.randrange(1, 1_500)):
                    if some.random() < 0.55 or not keys:
                        keys.append(some.randbytes(some.randrange(9, 60)))
                        txn.put(keys[-1], some.randbytes(some.choice([0, 5, 82, 2_000, 9_000])))
                    else:
                        txn.delete(keys.pop(some.randrange(len(keys))))
                if turn % 13 == 12:
                    for key in keys:
                        txn.delete(key)
                    keys.clear()

            def read(size: int, offset: int) -> bytes:
                return os.pread(file.fileno(), size, offset)

            with environment.begin() as txn:
                newest = pages.newest(pages.metas(read))
                assert newest.transaction == txn.id()
                pages.check(read, newest)
    environment.close()


def test_a_short_file_whose_end_was_never_written_is_sound(tmp_path: Path) -> None:
    """LMDB never writes a page that it takes at the end and frees within one transaction."""
    root = tmp_path / "repo"
    Store.create(root, time=0, user="ada").close()
    some = random.Random(0)
    with Store.open(root) as store:
        environment = store.index.environment
        while not environment.is_short():
            keys = [b"%03d" % some.randrange(100) for _ in range(some.randrange(100))]
            rows = [(key, None if some.random() < 0.6 else bytes(2_500)) for key in keys]
            with environment.begin(write=True) as txn:
                for key, value in rows:
                    Change(txn).put("gaps", key, value) if value else Change(txn).delete("gaps", key)
                if some.random() < 0.3:
                    for key, _value in list(Change(txn).items("gaps")):
                        Change(txn).delete("gaps", key)
    folder = str(root / ".aq" / "index")
    assert problem_before_opening(folder) == ""
    with Store.open(root) as store:
        assert not store.index.environment.is_short()
    assert problem_before_opening(folder) == ""
