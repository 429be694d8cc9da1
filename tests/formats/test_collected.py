"""Collections: lists and dicts of artifacts, with golden ids; what is hostile is damage."""

from __future__ import annotations

import msgspec
import pytest
from aq.formats.artifacts import collected, values
from aq.formats.artifacts.collected import Element
from aq.formats.errors import Damaged
from aq.formats.identity import Kind
from aq.formats.objects import MemoryObjects, put_record
from aq.formats.records import Artifact, MappedItem, encode
from aq.formats.trees.prolly import build_list
from aq.store.commits.reach import Item, Walk, links
from hypothesis import given, strategies as st

LIST = "a3f8d10f23bc45f8834f894c6ae5f927ffd5c2e0f55c9284893c66d579858252"
DICT = "693cba77b3ed8b08354c1b894a5b584dcda82859a235983e85d6714aaf28ad50"
ITEM = (
    b"\x94\xa72026-03" + b"\xc4 " + b"\1" * 32 + b"\xc4 " + b"\2" * 32
    + b"\x91\x92\xc4 " + b"\3" * 32 + b"\xa4json"
)  # fmt: skip


def made(store: MemoryObjects, items: list[object], keys: list[str | int] | None = None) -> Artifact:
    ids = [values.encode(item, store) for item in items]
    named = keys if keys is not None else [None] * len(items)
    elements = [Element(key, one.id, one.artifact.format) for key, one in zip(named, ids, strict=True)]
    return collected.collect(elements, store, keyed=keys is not None)


def test_golden_ids() -> None:
    store = MemoryObjects()
    assert put_record(store, made(store, [1, "a", b"raw"])).hex() == LIST
    assert put_record(store, made(store, [1, 2.5], ["one", 2])).hex() == DICT
    item = MappedItem(key="2026-03", step=b"\1" * 32, digest=b"\2" * 32, outputs=[(b"\3" * 32, "json")])
    assert encode(item) == ITEM


plain = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3) | st.binary(max_size=3)


@given(st.lists(plain, max_size=8))
def test_a_list_is_what_it_was(items: list[object]) -> None:
    store = MemoryObjects()
    artifact = made(store, items)
    assert values.decode(artifact, store) == items
    assert collected.length(artifact, store) == len(items)
    assert put_record(store, made(store, items)) == put_record(store, artifact)


@given(st.dictionaries(st.text(max_size=3) | st.integers(-(2**63), 2**63 - 1), plain, max_size=8))
def test_a_dict_keeps_its_keys_and_their_order(items: dict[str | int, object]) -> None:
    store = MemoryObjects()
    found = values.decode(made(store, list(items.values()), list(items)), store)
    assert isinstance(found, dict) and list(found.items()) == list(items.items())


def test_one_changed_item_costs_little() -> None:
    store = MemoryObjects()
    made(store, list(range(5_000)))
    before = dict(store.objects)
    made(store, [*range(2_500), "new", *range(2_501, 5_000)])
    new = [data for id, (_, data) in store.objects.items() if id not in before]
    assert sum(map(len, new)) < 60_000


def test_it_refers_to_its_items() -> None:
    store = MemoryObjects()
    artifact = made(store, [1, "a"], ["x", 2])
    root = put_record(store, artifact)
    met = {visit.item.id for visit in Walk(store).visit(links(Item(Kind.ARTIFACT, root), artifact))}
    assert {bytes(id) for _, id in collected.elements(artifact, store)} <= met


@pytest.mark.parametrize(
    "element",
    [b"", b"\0" * 31, msgspec.msgpack.encode(("a", b"short")), msgspec.msgpack.encode((None, b"\0" * 32))],
)
def test_an_element_that_is_none_is_damage(element: bytes) -> None:
    store = MemoryObjects()
    root = build_list(store, [element])
    for kind in ("list", "dict"):
        artifact = Artifact(kind="value", format="items", size=0, type={"as": kind, "formats": []}, root=root)
        with pytest.raises(Damaged):
            values.decode(artifact, store)


@pytest.mark.parametrize("told", [None, {}, {"as": "set"}, {"as": "list", "formats": [1]}])
def test_a_type_that_says_nothing_is_damage(told: object) -> None:
    store = MemoryObjects()
    artifact = Artifact(kind="value", format="items", size=0, type=told, root=build_list(store, []))
    with pytest.raises(Damaged):
        collected.formats(artifact)
        collected.is_dict(artifact)
