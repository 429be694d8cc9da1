"""Prolly trees against plain dicts and lists: content, history independence, hostile nodes."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice, pairwise

import pytest
from aq.formats.errors import AqError, Damaged
from aq.formats.identity import Kind, object_id
from aq.formats.objects import MemoryObjects, get_record, put_record
from aq.formats.records import Node, encode
from aq.formats.trees.prolly import (
    build_list,
    build_map,
    list_count,
    list_items,
    map_count,
    map_get,
    map_items,
)
from hypothesis import given, settings, strategies as st
from xxhash import xxh3_64_intdigest

KEYS = st.binary(max_size=12) | st.builds(lambda n: b"data/file-%07d.csv" % n, st.integers(0, 4_000))


def sample(count: int, step: int = 1) -> dict[bytes, bytes]:
    """`count` sorted entries shaped like a snapshot's."""
    return {b"data/part-%08d.parquet" % (i * step): b"%038d" % i for i in range(count)}


def plain_cuts(entries: list[tuple[bytes, bytes]], level: int) -> list[int]:
    """The ends of a map level's nodes, read word for word from docs/format.md."""
    ends, size, begin = [], 0, 0
    for at, (key, value) in enumerate(entries):
        entry = len(key) + len(value) + 4
        size += entry
        wanted = xxh3_64_intdigest(key, level) >> 52 < entry or size >= 16_384
        if at - begin >= 1 and size >= 4_096 and wanted:
            ends.append(at + 1)
            size, begin = 0, at + 1
    return ends if ends and ends[-1] == len(entries) else [*ends, len(entries)]


def test_the_nodes_end_where_the_format_says() -> None:
    objects, entries = MemoryObjects(), sorted(sample(3_000, 7).items())
    root = get_record(objects, Node, build_map(objects, entries))
    assert root.level == 1
    leaves = [get_record(objects, Node, id) for id in root.values]
    ends = plain_cuts(entries, 0)
    assert [len(leaf.values) for leaf in leaves] == [b - a for a, b in pairwise([0, *ends])]
    assert root.counts == [len(leaf.values) for leaf in leaves]
    assert root.keys == [leaf.keys[-1] for leaf in leaves]


def test_identity_of_a_tree_never_changes() -> None:
    objects = MemoryObjects()
    assert (
        build_map(objects, []).hex()
        == build_list(objects, []).hex()
        == object_id(Kind.NODE, encode(Node(level=0, values=[]))).hex()
    )
    golden = {
        "empty": build_map(objects, []).hex(),
        "map": build_map(objects, sorted(sample(5_000).items())).hex(),
        "list": build_list(objects, sample(5_000).values()).hex(),
    }
    assert golden == {
        "empty": "1183c65e4b18ff17bb04ca7d5825e01c0e8f01b38791a2f587d18c8a30a834c6",
        "map": "e674a9a294ba8772a4e603382f41ef8e7e249b6bd02962378519edd4703debbe",
        "list": "913399c71db6473ff07dedcd641ba33526b77fd02ae6b8ddfcb1fe63631bc0ce",
    }


@given(st.dictionaries(KEYS, st.binary(max_size=300), max_size=60), KEYS, KEYS)
def test_a_map_is_a_sorted_dict(model: dict[bytes, bytes], key: bytes, prefix: bytes) -> None:
    objects = MemoryObjects()
    root = build_map(objects, sorted(model.items()))
    assert list(map_items(objects, root)) == sorted(model.items())
    assert map_count(objects, root) == len(model)
    assert map_get(objects, root, key) == model.get(key)
    assert list(map_items(objects, root, start=key)) == sorted((k, v) for k, v in model.items() if k >= key)
    assert list(map_items(objects, root, prefix=prefix[:3])) == sorted(
        (k, v) for k, v in model.items() if k.startswith(prefix[:3])
    )


def test_lookups_in_a_tall_map() -> None:
    objects, model = MemoryObjects(), sample(60_000, 3)
    root = build_map(objects, iter(model.items()))
    assert get_record(objects, Node, root).level >= 2
    assert map_count(objects, root) == 60_000
    assert list(map_items(objects, root)) == list(model.items())
    for number in (0, 1, 3, 90_000, 179_997, 179_998):
        key = b"data/part-%08d.parquet" % number
        assert map_get(objects, root, key) == model.get(key)
        expected = [k for k in model if k >= key][:3]
        assert [k for k, _ in islice(map_items(objects, root, start=key), 3)] == expected
    assert map_get(objects, root, b"zzz") is None
    inside = [k for k, _ in map_items(objects, root, prefix=b"data/part-000012")]
    assert inside == [k for k in model if k.startswith(b"data/part-000012")] and len(inside) == 34


@settings(max_examples=40)
@given(
    st.lists(st.binary(max_size=40), max_size=80)
    | st.integers(0, 9_000).map(lambda n: [b"%032d" % i for i in range(n)]),
    st.integers(0, 10_000),
    st.none() | st.integers(0, 10_000),
)
def test_a_list_is_a_list(model: list[bytes], start: int, stop: int | None) -> None:
    objects = MemoryObjects()
    root = build_list(objects, model)
    assert list_count(objects, root) == len(model)
    assert list(list_items(objects, root)) == model
    assert list(list_items(objects, root, start=start, stop=stop)) == model[start:stop]


def test_large_and_equal_elements_end_in_a_tree_of_finite_height() -> None:
    objects = MemoryObjects()
    for model in ([b"x" * 20_000] * 50, [b""] * 9_000, [b"same" * 8] * 5_000):
        assert list(list_items(objects, build_list(objects, model))) == model


@pytest.mark.parametrize("keys", [[b"b", b"a"], [b"a", b"a"]])
def test_keys_must_ascend(keys: list[bytes]) -> None:
    with pytest.raises(ValueError):
        build_map(MemoryObjects(), [(key, b"") for key in keys])
    late = [(b"%04d" % i, b"") for i in range(1_024)]
    with pytest.raises(ValueError):
        build_map(MemoryObjects(), [*late, late[-1]])


def test_hostile_nodes_are_refused() -> None:
    objects = MemoryObjects()
    leaf = put_record(objects, Node(level=0, values=[b"1", b"2"], keys=[b"a", b"b"]))
    id = bytes(leaf)
    hostile = [
        Node(level=0, values=[b"1"], keys=[]),
        Node(level=0, values=[b"1", b"2"], keys=[b"b", b"a"]),
        Node(level=1, values=[id], keys=[b"b"]),
        Node(level=1, values=[id], keys=[b"b"], counts=[3]),
        Node(level=1, values=[id], keys=[b"c"], counts=[2]),
        Node(level=2, values=[id], keys=[b"b"], counts=[2]),
        Node(level=1, values=[b"short"], keys=[b"b"], counts=[2]),
        Node(level=1, values=[id, id], keys=[b"b", b"c"], counts=[2, 2]),
        Node(level=64, values=[id], keys=[b"b"], counts=[2]),
        Node(level=-1, values=[]),
        Node(level=1, values=[]),
    ]
    for node in hostile:
        root = put_record(objects, node)
        with pytest.raises(Damaged):
            list(map_items(objects, root))
    sane = put_record(objects, Node(level=1, values=[id], keys=[b"b"], counts=[2]))
    assert list(map_items(objects, sane)) == [(b"a", b"1"), (b"b", b"2")]


@given(st.binary(max_size=120))
def test_any_bytes_as_a_root_raise_nothing_but_our_errors(data: bytes) -> None:
    objects = MemoryObjects()
    root = objects.put(Kind.NODE, data)
    for read in (map_items, list_items):
        with suppress(AqError):
            list(read(objects, root))
