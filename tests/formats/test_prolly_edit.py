"""Editing and comparing prolly maps: equal to a rebuild, at the cost of what changed."""

from __future__ import annotations

import random

import pytest
from aq.formats.identity import Buffer, Digest, Kind
from aq.formats.objects import MemoryObjects
from aq.formats.trees.prolly import build_map, map_count, map_diff, map_edit, map_get, map_items
from hypothesis import example, given, settings, strategies as st


class Counted:
    """Objects that count what is read and written."""

    def __init__(self) -> None:
        self.inner, self.gets, self.puts = MemoryObjects(), 0, 0

    def get(self, kind: Kind, id: bytes) -> bytes:
        self.gets += 1
        return self.inner.get(kind, id)

    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Digest:
        self.puts += 1
        return self.inner.put(kind, data, base=base)

    def reset(self) -> None:
        self.gets = self.puts = 0


def key(number: int) -> bytes:
    return b"data/part-%08d.parquet" % number


def sample(count: int) -> Model:
    """`count` entries at even numbers, so that odd ones may be inserted between."""
    return {key(2 * i): b"%038d" % i for i in range(count)}


NUMBERS = st.integers(0, 12_000)
EDITS = st.dictionaries(NUMBERS, st.none() | st.binary(min_size=1, max_size=60), max_size=30)
Edits = dict[bytes, bytes | None]
Model = dict[bytes, bytes]
RANGES = st.lists(st.tuples(NUMBERS, st.integers(0, 3_000), st.booleans()), max_size=3)


def drawn(size: int, single: dict[int, bytes | None], ranges: list[tuple[int, int, bool]]) -> Edits:
    """Edits out of single keys and whole ranges that are deleted or inserted."""
    edits: Edits = {}
    for begin, length, deleted in ranges:
        for number in range(begin, begin + length):
            edits[key(number)] = None if deleted else b"%020d" % number
    edits.update({key(number): value for number, value in single.items()})
    return edits


def apply(model: Model, edits: Edits) -> Model:
    after = {k: v for k, v in model.items() if k not in edits}
    after.update({k: v for k, v in edits.items() if v is not None})
    return after


def difference(a: Model, b: dict[bytes, bytes]) -> list[tuple[bytes, bytes | None, bytes | None]]:
    return [(k, a.get(k), b.get(k)) for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k)]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([0, 1, 40, 400, 6_000]), EDITS, RANGES)
@example(6_000, {}, [(0, 12_001, True)])
@example(6_000, {}, [(3, 12_001, True)])
@example(0, {}, [(0, 12_001, False)])
@example(6_000, {12_000: b"x", 11_998: None}, [(300, 9_000, True)])
def test_an_edit_equals_a_rebuild_and_its_difference_is_the_edit(
    size: int, single: dict[int, bytes | None], ranges: list[tuple[int, int, bool]]
) -> None:
    objects, model = MemoryObjects(), sample(size)
    edits = drawn(size, single, ranges)
    before = build_map(objects, sorted(model.items()))
    after = map_edit(objects, before, sorted(edits.items()))
    expected = apply(model, edits)
    assert after == build_map(objects, sorted(expected.items()))
    assert list(map_diff(objects, before, after)) == difference(model, expected)
    assert list(map_diff(objects, after, before)) == difference(expected, model)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.binary(max_size=3), st.sampled_from([b"", b"a" * 3_000, b"b" * 9_000]), max_size=40),
    st.dictionaries(st.binary(max_size=3), st.none() | st.just(b"c" * 5_000), max_size=12),
)
def test_edits_among_entries_as_large_as_nodes(model: Model, edits: Edits) -> None:
    objects = MemoryObjects()
    before = build_map(objects, sorted(model.items()))
    expected = apply(model, edits)
    after = map_edit(objects, before, sorted(edits.items()))
    assert after == build_map(objects, sorted(expected.items()))
    assert list(map_diff(objects, before, after)) == difference(model, expected)


def test_shrinking_step_by_step_keeps_the_tree_canonical() -> None:
    objects, model, random_ = MemoryObjects(), sample(30_000), random.Random(5)
    root = build_map(objects, sorted(model.items()))
    while model:
        keys = sorted(model)
        begin = random_.randrange(len(keys))
        gone = keys[begin : begin + max(1, len(keys) // 2)]
        root = map_edit(objects, root, [(k, None) for k in gone])
        for k in gone:
            del model[k]
        assert root == build_map(objects, sorted(model.items()))
    assert map_count(objects, root) == 0


def test_one_change_among_300_000_touches_a_handful_of_nodes() -> None:
    objects, model = Counted(), sample(300_000)
    root = build_map(objects, iter(model.items()))
    random_ = random.Random(1)
    for _ in range(40):
        number = random_.randrange(600_000)
        value = random_.choice([None, b"%038d" % 7])
        objects.reset()
        after = map_edit(objects, root, [(key(number), value)])
        assert objects.gets <= 12 and objects.puts <= 10
        objects.reset()
        found = list(map_diff(objects, root, after))
        assert found == (
            []
            if map_get(objects.inner, root, key(number)) == value
            else [(key(number), map_get(objects.inner, root, key(number)), value)]
        )
        assert objects.gets <= 16 and objects.puts == 0


def test_changes_cost_by_their_number_and_not_by_the_map() -> None:
    objects, model = Counted(), sample(100_000)
    root = build_map(objects, iter(model.items()))
    nodes = len(objects.inner.objects)
    chosen = random.Random(2).sample(range(200_000), 100)
    objects.reset()
    after = map_edit(objects, root, [(key(n), b"new") for n in sorted(chosen)])
    assert objects.gets <= 300 and objects.puts <= 300 < nodes
    objects.reset()
    assert len(list(map_diff(objects, root, after))) == 100
    assert objects.gets <= 600
    objects.reset()
    inserted = map_edit(objects, root, [(key(100_001) + b"%05d" % n, b"v" * 38) for n in range(20_000)])
    assert objects.gets <= 12
    objects.reset()
    assert sum(1 for _ in map_diff(objects, root, inserted)) == 20_000
    assert objects.gets <= 12 + len(list(map_items(objects.inner, inserted))) // 100 - 100_000 // 100 + 100


def test_an_edit_that_changes_nothing_writes_nothing() -> None:
    objects, model = Counted(), sample(5_000)
    root = build_map(objects, iter(model.items()))
    objects.reset()
    same = [(key(10), model[key(10)]), (key(11), None), (key(999_999), None)]
    assert map_edit(objects, root, same) == root
    assert map_edit(objects, root, []) == root
    assert objects.puts == 0


def test_edits_must_ascend() -> None:
    objects = MemoryObjects()
    root = build_map(objects, [])
    with pytest.raises(ValueError):
        map_edit(objects, root, [(b"b", b""), (b"a", b"")])
