"""The store as its users see it: objects, refs, operations, reopened and read by others."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from aq.formats.errors import Conflict, Damaged, NewerFormat, NotARepository, UsageError
from aq.formats.identity import Digest, Kind, object_id
from aq.formats.objects import put_record
from aq.formats.records import Run, Step
from aq.store.commits.refs import Ref
from aq.store.frames import packs, statblocks
from aq.store.frames.layout import discover
from aq.store.frames.statblocks import Rows, joined
from aq.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "repo", time=1, user="ada") as made:
        yield made


def move(store: Store, name: str, value: Ref | None, **expect: object) -> Digest:
    transaction = store.transaction("test", time=2, user="ada")
    transaction.set(name, value, **expect)  # type: ignore[arg-type]
    return transaction.commit()


def test_a_new_repository_has_an_unborn_branch_and_one_operation(store: Store) -> None:
    assert store.refs() == {"HEAD": Ref(target="branch/main")}
    ((_, operation),) = store.operations()
    assert (operation.command, operation.sequence, operation.user) == ("init", 1, "ada")
    assert (store.control / ".gitignore").read_text() == "*\n"
    assert sorted(os.listdir(store.root)) == [".aq"]


def test_create_refuses_a_folder_that_has_a_repository(store: Store) -> None:
    with pytest.raises(UsageError, match="already"):
        Store.create(store.root, time=1, user="ada")


def test_create_builds_over_what_a_killed_attempt_left(tmp_path: Path) -> None:
    (tmp_path / ".aq-new" / "packs").mkdir(parents=True)
    (tmp_path / ".aq-new" / "packs" / "0123456789abcdef.pack").write_bytes(b"half")
    with Store.create(tmp_path, time=1, user="ada") as store:
        assert len(list((store.control / "packs").iterdir())) == 1
    assert sorted(os.listdir(tmp_path)) == [".aq"]


def test_open_without_a_repository(tmp_path: Path) -> None:
    with pytest.raises(NotARepository):
        Store.open(tmp_path)
    with pytest.raises(NotARepository):
        discover(tmp_path)


def test_discover_finds_the_nearest_folder_upward(store: Store) -> None:
    below = store.root / "a" / "b"
    below.mkdir(parents=True)
    assert discover(below) == store.root


@pytest.mark.parametrize("size", [0, 1, 255, 256, 5_000, 100_000, 3 << 20])
@pytest.mark.parametrize("content", ["random", "text"])
def test_objects_come_back_before_and_after_flush_and_reopening(
    store: Store, size: int, content: str
) -> None:
    data = os.urandom(size) if content == "random" else (b"0123456789abcdef" * (size // 16 + 1))[:size]
    id = store.put(Kind.CHUNK, data)
    assert id == object_id(Kind.CHUNK, data)
    assert store.get(Kind.CHUNK, id) == data
    assert store.size_of(id) == size
    store.flush()
    assert store.get(Kind.CHUNK, id) == data
    assert (store.kind_of(id), store.size_of(id)) == (Kind.CHUNK, size)
    store.close()
    with Store.open(store.root) as again:
        assert again.get(Kind.CHUNK, id) == data


def test_a_buffer_may_be_used_again_after_put(store: Store) -> None:
    buffer = bytearray(os.urandom(300_000))
    ids = []
    for first in range(20):
        buffer[0] = first
        ids.append((store.put(Kind.CHUNK, memoryview(buffer)), bytes(buffer)))
    assert all(store.get(Kind.CHUNK, id) == data for id, data in ids)
    store.flush()
    assert all(store.get(Kind.CHUNK, id) == data for id, data in ids)


def test_the_same_bytes_are_stored_once(store: Store) -> None:
    data = os.urandom(10_000)
    store.put(Kind.CHUNK, data)
    store.flush()
    before = store.new_bytes()
    store.put(Kind.CHUNK, data)
    store.flush()
    assert store.new_bytes() == before


def test_small_transactions_share_the_journal_and_large_ones_get_a_pack(store: Store) -> None:
    packs = store.control / "packs"
    for number in range(20):
        store.put(Kind.CHUNK, b"%d" % number)
        store.flush()
    assert len(list(packs.iterdir())) == 1
    store.put(Kind.CHUNK, os.urandom(2 << 20))
    store.flush()
    assert len(list(packs.iterdir())) == 2


def test_unflushed_objects_are_gone_after_closing(store: Store) -> None:
    id = store.put(Kind.CHUNK, b"never flushed")
    big = store.put(Kind.CHUNK, os.urandom(2 << 20))
    store.close()
    with Store.open(store.root) as again:
        assert not again.has(id) and not again.has(big)
    assert len(list((store.control / "packs").iterdir())) == 1


def test_a_missing_object_is_named(store: Store) -> None:
    id = object_id(Kind.CHUNK, b"never put")
    with pytest.raises(Damaged, match=str(id)):
        store.get(Kind.CHUNK, id)
    assert store.kind_of(id) is None and store.size_of(id) is None and not store.has(id)


def test_an_object_of_another_kind_is_refused(store: Store) -> None:
    id = store.put(Kind.CHUNK, b"x")
    for _ in range(2):
        with pytest.raises(Damaged):
            store.get(Kind.COMMIT, id)
        store.flush()


def test_with_prefix(store: Store) -> None:
    flushed = [store.put(Kind.CHUNK, b"%d" % number) for number in range(300)]
    store.flush()
    pending = [store.put(Kind.CHUNK, b"more %d" % number) for number in range(300)]
    ids = flushed + pending
    for prefix in (ids[0].hex()[:1], ids[300].hex()[:3], ids[5].hex()):
        expected = sorted(id for id in ids if id.hex().startswith(prefix))
        assert store.with_prefix(prefix, {Kind.CHUNK}) == expected
    assert store.with_prefix(ids[0].hex()[:1], {Kind.COMMIT}) == []


def test_summaries_are_replaced_and_kept(store: Store) -> None:
    id = object_id(Kind.CHUNK, b"described")
    assert store.summary(id) is None
    for value in ({"rows": 1}, {"rows": 2, "columns": [{"name": "a", "min": 0.5}]}):
        store.put_summary(id, value)
        assert store.summary(id) == value
        store.flush()
        assert store.summary(id) == value
    assert not store.has(id)


def test_steps_and_runs_are_found_once_flushed(store: Store) -> None:
    key = bytes(range(32))
    steps = []
    for number in range(3):
        steps.append(put_record(store, Step(key=key, op=f"op{number}")))
        store.flush()
    put_record(store, Step(key=bytes(32), op="another"))
    runs = [
        put_record(store, Run(flow="f", file="f.py", time=9 - n, status="failed", snapshot=key))
        for n in range(3)
    ]
    store.flush()
    runs += [
        put_record(store, Run(flow="f", file="g", time=n, status="failed", snapshot=key)) for n in range(130)
    ]
    store.flush()
    put_record(store, Step(key=key, op="op0"))
    store.flush()
    assert store.steps_with_key(key) == steps
    assert list(store.runs()) == runs[::-1]


def test_refs_move_only_from_what_was_expected(store: Store) -> None:
    first, second = store.put(Kind.CHUNK, b"1"), store.put(Kind.CHUNK, b"2")
    move(store, "branch/main", Ref(first), expect=None)
    with pytest.raises(Conflict) as caught:
        move(store, "branch/main", Ref(second), expect=None)
    assert caught.value.ref == "branch/main"
    move(store, "branch/main", Ref(second), expect=Ref(first))
    move(store, "tag/v1", Ref(first))
    assert store.refs() == {
        "HEAD": Ref(target="branch/main"),
        "branch/main": Ref(second),
        "tag/v1": Ref(first),
    }
    assert store.ref("tag/v1") == Ref(first) and store.ref("tag/v2") is None
    move(store, "tag/v1", None, expect=Ref(first))
    assert "tag/v1" not in store.refs()


def test_a_lost_race_leaves_the_objects_for_the_next_try(store: Store) -> None:
    small, big = store.put(Kind.CHUNK, b"small"), store.put(Kind.CHUNK, os.urandom(2 << 20))
    with pytest.raises(Conflict):
        move(store, "branch/main", Ref(small), expect=Ref(big))
    assert store.has(small) and store.has(big)
    move(store, "branch/main", Ref(small), expect=None)
    store.close()
    with Store.open(store.root) as again:
        assert again.has(small) and again.has(big)


def test_operations_tell_what_the_refs_were(store: Store) -> None:
    ids = [store.put(Kind.CHUNK, b"%d" % number) for number in range(5)]
    for id in ids:
        move(store, "branch/main", Ref(id))
    found = list(store.operations())
    assert [operation.sequence for _, operation in found] == [6, 5, 4, 3, 2, 1]
    assert [operation.parents for _, operation in found[:-1]] == [[id] for id, _ in found[1:]]
    assert [store.refs_after(operation).get("branch/main") for _, operation in found] == [
        *(Ref(id) for id in reversed(ids)),
        None,
    ]


@pytest.mark.parametrize(
    "name", ["", "branch/", "main", "branch/../x", "branch/a b", "tag/-x", "tag/a\n", "branch/a//b"]
)
def test_names_that_no_ref_may_have(store: Store, name: str) -> None:
    with pytest.raises(UsageError):
        store.transaction("test", time=1, user="ada").set(name, Ref(Digest(bytes(32))))


def test_stat_rows_wait_for_the_objects(store: Store) -> None:
    def known() -> dict[bytes, bytes]:
        with store.index.look() as look:
            return dict(statblocks.of_folder(look, folder).each())

    folder, row = bytes(16), b"s" * 44 + b"e" * 38
    store.put_stat([joined(folder, [(b"a", row), (b"b", row)])])
    assert known() == {}
    store.flush()
    assert known() == {b"a": row, b"b": row}
    newer = b"t" * 44 + b"e" * 38
    store.put_stat([Rows(folder, [b"a", b"b"], b"", b""), joined(folder, [(b"b", newer)])])
    store.flush()
    assert known() == {b"b": newer}


def test_two_stores_of_one_process_see_each_other(store: Store) -> None:
    with Store.open(store.root) as other:
        id = other.put(Kind.CHUNK, b"from the other")
        move(other, "branch/main", Ref(id))
        assert store.refs()["branch/main"] == Ref(id)
        assert store.get(Kind.CHUNK, id) == b"from the other"


def test_a_pack_is_closed_although_the_interpreter_took_its_modules_down(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(Kind.CHUNK, b"x")
    store.flush()
    files = packs.PackFiles(f"{store.control}/packs")
    pack = packs._File(files.path(files.names()[0]))
    fd = pack.fd
    with monkeypatch.context() as ending:
        ending.setattr(packs, "os", None)
        del pack
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


def write_format(store: Store, **fields: object) -> None:
    known = {"version": 1, "hash": "blake3-256", "chunker": "fastcdc-64-256-1024"}
    (store.control / "format").write_text(json.dumps(known | fields))


def test_a_newer_format_is_refused(store: Store) -> None:
    store.close()
    write_format(store, version=2)
    with pytest.raises(NewerFormat, match="version 2"):
        Store.open(store.root)
    write_format(store, required=["sharded"])
    with pytest.raises(NewerFormat, match="sharded"):
        Store.open(store.root)


def test_an_unknown_optional_feature_makes_it_read_only(store: Store) -> None:
    id = store.put(Kind.CHUNK, b"x")
    store.flush()
    store.close()
    write_format(store, optional=["bloom"])
    with Store.open(store.root) as again:
        assert again.get(Kind.CHUNK, id) == b"x"
        again.put_stat([joined(bytes(16), [(b"a", bytes(82))])])
        again.flush()
        with pytest.raises(NewerFormat, match="bloom"):
            move(again, "branch/main", Ref(id))
        again.put(Kind.CHUNK, b"y")
        with pytest.raises(NewerFormat, match="bloom"):
            again.flush()
