"""Packs, journals, index, trees and folders, each broken in one way."""

from __future__ import annotations

import msgspec
from aq.formats.identity import Digest, Kind, object_id
from aq.formats.objects import MemoryObjects, put_record
from aq.formats.packing.packs import (
    FOOTER_SIZE,
    HEADER_SIZE,
    Header,
    decode_footer,
    encode_header,
)
from aq.formats.records import Artifact, Node, Operation, Step, encode
from aq.formats.trees.prolly import build_map, map_edit
from aq.store.commits import snapshots
from aq.store.commits.refs import Ref, encode_ref
from aq.store.commits.snapshots import Entry, Mode, Origin
from aq.store.folder.statcache import folder_key
from aq.store.frames.group import Group
from aq.store.frames.index import Change, Condemned, State
from aq.store.frames.pack_contents import closing, sealed_places
from aq.store.frames.packs import Frame
from aq.store.frames.place_rows import encode_place
from aq.store.frames.statblocks import joined
from aq.store.system.stats import STAT_SIZE

from tests.store.breaking import (
    FILE,
    Broken,
    breaks,
    commit_of,
    listed,
    operation,
    pack_with,
    publish,
    put,
    tree,
)
from tests.store.folder import Bench


@breaks("I1")
def renamed_pack(bench: Bench) -> Broken:
    path = pack_with(bench)
    path.rename(path.with_name("00112233445566aa.pack"))
    return Broken("its file is missing", path.stem)


@breaks("I2")
def flipped_bit(bench: Bench) -> Broken:
    path = pack_with(bench)
    data = bytearray(path.read_bytes())
    data[HEADER_SIZE + 1_000] ^= 4
    path.write_bytes(data)
    return Broken("its bytes are damaged", path=None, full=True, commit=True)


@breaks("I3")
def other_bytes_than_the_id_says(bench: Bench) -> Broken:
    data, id = encode(Artifact(**FILE)), Digest(bytes(range(32)))  # type: ignore[arg-type]
    bench.store._objects._add(id, Frame(Kind.ARTIFACT, id, data, length=len(data)))
    commit_of(bench, id)
    return Broken("other bytes than those of its id|its bytes are damaged", id.hex(), "data/odd", commit=True)


@breaks("I3")
def a_record_out_of_order(bench: Bench) -> Broken:
    data = msgspec.msgpack.encode({"size": 1, "kind": "file", "format": "bytes", "data": b"x"})
    id = bench.store.put(Kind.ARTIFACT, data)
    commit_of(bench, id)
    return Broken("its bytes are damaged", id.hex(), "data/odd", full=True, commit=True)


@breaks("I4")
def contents_that_lack_a_frame(bench: Bench) -> Broken:
    path = pack_with(bench)
    name, data = bytes.fromhex(path.stem), path.read_bytes()
    footer = decode_footer(name, data[-FOOTER_SIZE:])
    assert footer is not None
    with path.open("rb") as file:
        places = sealed_places(file, name)
    assert places
    path.write_bytes(data[: footer[0]] + b"".join(map(bytes, closing(name, places[:-1], footer[0]))))
    return Broken("table of contents is not that of its frames", path.stem)


@breaks("I5")
def a_place_without_a_frame(bench: Bench) -> Broken:
    id = put(bench, **FILE)
    commit_of(bench, id)
    place = bench.store.index.place(id)
    assert place is not None
    moved = place._replace(offset=place.offset + 8)
    bench.store.index.put_many("objects", [(id, encode_place(moved))])
    return Broken("its bytes are damaged", id.hex(), "data/odd", commit=True)


@breaks("I6")
def a_frame_that_the_index_forgot(bench: Bench) -> Broken:
    id = put(bench, **FILE)
    commit_of(bench, id)
    bench.store.index.put_many("objects", [(id, None)])
    return Broken("but not in the index", id.hex(), "data/odd", commit=True)


@breaks("I7")
def a_ref_that_no_operation_has(bench: Bench) -> Broken:
    commit = bench.commit()
    bench.store.index.put_many("refs", [(b"tag/odd", encode_ref(Ref(commit)))])
    return Broken("the refs in the index are not those of the last operation")


@breaks("I8")
def a_number_left_out(bench: Bench) -> Broken:
    publish(bench, lambda change, state, group: operation(state, sequence=state.sequence + 2))
    before = bench.store.index.state()
    assert before is not None
    parent = list(bench.store.operations())[1][0]
    return Broken(f"stands before {before.sequence}", parent.hex())


@breaks("I9")
def an_operation_before_what_it_names(bench: Bench) -> Broken:
    commit = bench.commit()
    early = MemoryObjects()
    new = encode_ref(Ref(commit))

    def make(change: Change, state: State, group: Group) -> Operation:
        class Both:
            put = early.put

            def get(self, kind: Kind, id: bytes) -> bytes:
                return early.get(kind, id) if id in early.objects else group.get(kind, id)

        change.put("refs", b"tag/early", new)
        return operation(state, refs=map_edit(Both(), state.refs, [(b"tag/early", new)]))

    id = publish(bench, make)
    for kind, data in early.objects.values():
        bench.store.put(kind, data)
    return Broken("it was written before node", id.hex())


@breaks("I9")
def an_operation_that_names_what_is_not_there(bench: Bench) -> Broken:
    run = object_id(Kind.RUN, b"nowhere")
    publish(bench, lambda change, state, group: operation(state, runs=[bytes(run)]))
    return Broken("is missing from the store", run.hex())


@breaks("I10")
def two_operations_after_one(bench: Bench) -> Broken:
    bench.commit()
    (stray, _first), (before, _second), *_ = bench.store.operations()

    def make(change: Change, state: State, group: Group) -> Operation:
        return operation(state, sequence=state.sequence, parents=[bytes(before)])

    publish(bench, make)
    return Broken("in the journals, but not in the history", stray.hex())


@breaks("I11")
def a_journal_with_another_ordinal(bench: Bench) -> Broken:
    bench.commit()
    state = bench.store.index.state()
    assert state is not None
    path = bench.root / ".aq/packs" / f"{state.journal.hex()}.pack"
    path.write_bytes(encode_header(Header(state.journal, 2)) + path.read_bytes()[HEADER_SIZE:])
    with bench.store.index.environment.begin(write=True) as txn:
        Change(txn).set_state(state._replace(ordinal=2))
    return Broken("journal 1 is missing")


@breaks("I12")
def a_gap_under_a_key(bench: Bench) -> Broken:
    output = bytes(put(bench, format="json", size=1, data=b"1"))
    (id,) = listed(bench, Step(key=bytes(32), op="f", outputs=[("", output)]))
    rows = [(bytes(32) + bytes(8), None), (bytes(32) + (1).to_bytes(8, "big"), bytes(id))]
    bench.store.index.put_many("steps", rows)
    return Broken("a position among the steps of its key is missing", id.hex())


@breaks("I12")
def a_step_whose_output_is_gone(bench: Bench) -> Broken:
    gone = object_id(Kind.ARTIFACT, b"gone")
    listed(bench, Step(key=bytes(32), op="f", outputs=[("", bytes(gone))]))
    return Broken("is missing from the store", gone.hex())


@breaks("I12")
def a_step_that_is_lost_and_listed(bench: Bench) -> Broken:
    (id,) = listed(bench, Step(key=bytes(32), op="f"))
    bench.store.index.put_many("lost", [(bytes(id), b"")])
    return Broken("this step is listed as one that lost parts too", id.hex())


@breaks("I13")
def no_format(bench: Bench) -> Broken:
    (bench.root / ".aq/format").unlink()
    return Broken("it is missing", ".aq/format")


@breaks("I14")
def needed_and_condemned(bench: Bench) -> Broken:
    id = put(bench, **FILE)
    commit_of(bench, id)
    with bench.store.index.environment.begin(write=True) as txn:
        Change(txn).condemn([id], Condemned(1, 1))
    return Broken(f"it refers to {id.hex()}, which is about to be swept", commit=True)


@breaks("I20")
def a_node_that_goes_on(bench: Bench) -> Broken:
    file = put(bench, **FILE)
    entry = snapshots.pack(Entry(file, Origin.FILE))
    keys = [b"%05d" % number for number in range(2_000)]
    id = put_record(bench.store, Node(level=0, keys=keys, values=[entry] * len(keys)))
    bench.commit_snapshot(id)
    return Broken("it goes on where the rule ends it", id.hex(), commit=True)


@breaks("I20")
def a_root_with_one_child(bench: Bench) -> Broken:
    file = put(bench, **FILE)
    leaf = build_map(bench.store, [(b"a", snapshots.pack(Entry(file, Origin.FILE)))])
    id = put_record(bench.store, Node(level=1, keys=[b"a"], values=[bytes(leaf)], counts=[1]))
    bench.commit_snapshot(id)
    return Broken("it is a root with one child", id.hex(), commit=True)


@breaks("I21")
def a_child_that_is_another(bench: Bench) -> Broken:
    entry = snapshots.pack(Entry(put(bench, **FILE), Origin.FILE))
    two = [put_record(bench.store, Node(level=0, keys=[key], values=[entry])) for key in (b"a", b"b")]
    id = put_record(
        bench.store, Node(level=1, keys=[b"a", b"c"], values=[bytes(id) for id in two], counts=[1, 1])
    )
    bench.commit_snapshot(id)
    return Broken("is not what it says", id.hex(), commit=True)


@breaks("I22")
def a_path_upward(bench: Bench) -> Broken:
    plain = snapshots.pack(Entry(put(bench, **FILE), Origin.FILE))
    return tree(bench, [(b"../x", plain)], "has a part '..'")


@breaks("I22")
def a_file_below_a_file(bench: Bench) -> Broken:
    plain = snapshots.pack(Entry(put(bench, **FILE), Origin.FILE))
    return tree(bench, [(b"a", plain), (b"a/b", plain)], "a/b lies below another tracked file")


@breaks("I23")
def an_entry_in_another_encoding(bench: Bench) -> Broken:
    plain = snapshots.pack(Entry(put(bench, **FILE), Origin.FILE))
    return tree(bench, [(b"a", plain[:-1] + b"\xcc\x00")], "not in canonical form")


@breaks("I23")
def made_without_a_step(bench: Bench) -> Broken:
    raw = msgspec.msgpack.encode((bytes(put(bench, **FILE)), 1, None, 0))
    return tree(bench, [(b"a", raw)], "does not go with its step and mode")


@breaks("I24")
def a_tracked_value(bench: Bench) -> Broken:
    value = put(bench, format="json", size=1, data=b"1")
    return tree(bench, [(b"a", snapshots.pack(Entry(value, Origin.FILE)))], "is no file")


@breaks("I24")
def a_link_without_a_target(bench: Bench) -> Broken:
    link = put(bench, kind="file", format="bytes", size=3, data=b"a\0b")
    return tree(
        bench, [(b"a", snapshots.pack(Entry(link, Origin.FILE, None, Mode.SYMLINK)))], "usable target"
    )


@breaks("I25")
def a_commit_before_its_parent(bench: Bench) -> Broken:
    bench.commit(at=50)
    id = bench.commit(at=40)
    return Broken("its time is before that of its parent", id.hex(), commit=True)


@breaks("I26")
def a_head_that_names_a_tag(bench: Bench) -> Broken:
    bench.refs({"HEAD": Ref(target="tag/v1")})
    return Broken("HEAD names neither a branch nor a commit", "HEAD")


@breaks("I26")
def tracking_without_rules(bench: Bench) -> Broken:
    id = bench.store.put(Kind.CHUNK, msgspec.msgpack.encode({}))
    bench.refs({"tracking": Ref(id)})
    return Broken("it names a chunk without rules", "tracking")


def touched(bench: Bench, path: bytes, value: bytes, detail: str) -> Broken:
    files = build_map(bench.store, [(path, value)])
    bench.refs({}, files)
    return Broken(detail, files.hex())


@breaks("I27")
def overwritten_and_not_stored(bench: Bench) -> Broken:
    lost = object_id(Kind.ARTIFACT, b"lost")
    entry = (bytes(lost), 0, None, 0)
    touched(bench, b"data/a", msgspec.msgpack.encode([entry, None]), "")
    return Broken("is missing from the store", lost.hex(), "data/a")


@breaks("I27")
def overwritten_outside(bench: Bench) -> Broken:
    entry = (bytes(put(bench, **FILE)), 0, None, 0)
    return touched(bench, b"../a", msgspec.msgpack.encode([entry, None]), "has a part '..'")


@breaks("I27")
def overwritten_that_is_no_file(bench: Bench) -> Broken:
    entry = (bytes(put(bench, **FILE)), 2, None, 0)
    return touched(bench, b"a", msgspec.msgpack.encode([entry, None]), "a is no file of the folder")


@breaks("I28")
def a_row_about_other_bytes(bench: Bench) -> Broken:
    bench.write("data/a.txt", "one\n")
    bench.write("data/b.txt", "two\n")
    bench.add("data")
    bench.settle()
    bench.commit()
    cache = bench.work.cache
    mine, theirs = cache.row(b"data/a.txt"), cache.row(b"data/b.txt")
    assert mine is not None and theirs is not None
    false = mine[:STAT_SIZE] + theirs[STAT_SIZE:]
    bench.store.keep_stat([joined(folder_key(b"data"), [(b"a.txt", false)])])
    return Broken("takes it for another file than it is", "data/a.txt", full=True)


@breaks("I28")
def a_row_that_is_none(bench: Bench) -> Broken:
    bench.store.index.put_many("stat", [(bytes(16) + b"a", b"short")])
    return Broken("a block of the stat cache", "a")
