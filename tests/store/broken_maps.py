"""Collections and the steps of maps, each broken in one way."""

from __future__ import annotations

from aq.formats.artifacts import collected
from aq.formats.artifacts.collected import Element
from aq.formats.identity import Digest
from aq.formats.objects import put_record
from aq.formats.records import Artifact, MappedItem, Step, encode
from aq.formats.trees.prolly import build_list
from msgspec.structs import replace

from tests.store.breaking import Broken, breaks, commit_of, listed, put
from tests.store.folder import Bench


def number(bench: Bench, text: bytes) -> Digest:
    return put(bench, format="json", size=1, data=text)


def collection(bench: Bench, *ids: Digest, keys: tuple[str, ...] = ()) -> Artifact:
    named = keys or (None,) * len(ids)
    elements = [Element(key, id, "json") for key, id in zip(named, ids, strict=True)]
    return collected.collect(elements, bench.store, keyed=bool(keys))


def committed(bench: Bench, artifact: Artifact, detail: str) -> Broken:
    id = put_record(bench.store, artifact)
    commit_of(bench, id)
    return Broken(detail, id.hex(), "data/odd", full=True, commit=True)


@breaks("I37")
def a_key_twice(bench: Bench) -> Broken:
    one = number(bench, b"1")
    return committed(bench, collection(bench, one, one, keys=("a", "a")), "two of its items have one key")


@breaks("I37")
def a_format_that_no_item_has(bench: Bench) -> Broken:
    wrong = replace(collection(bench, number(bench, b"1")), type={"as": "list", "formats": ["json", "raw"]})
    return committed(bench, wrong, "does not say what formats its items have")


def mapped(
    bench: Bench, detail: str, *, made: bytes, told: bytes, held: bytes, twice: bool = False
) -> Broken:
    """A map of one item, which `made` a number; its step has `told` that, and its result `held` one."""
    (step,) = listed(bench, Step(key=bytes(32), op="f", outputs=[("", number(bench, made))]))
    outputs = [(bytes(number(bench, told)), "json")]
    items = [MappedItem(key="a", step=bytes(step), digest=bytes(32), outputs=outputs)] * (1 + twice)
    result = put_record(bench.store, collection(bench, *[number(bench, held)] * len(items)))
    root = build_list(bench.store, [encode(one) for one in items])
    whole = Step(key=bytes([2] * 32), op="f", role="map", outputs=[("", bytes(result))], items=bytes(root))
    (id,) = listed(bench, whole)
    return Broken(detail, id.hex())


@breaks("I54")
def an_item_that_made_something_else(bench: Bench) -> Broken:
    return mapped(bench, "its item a made something else", made=b"1", told=b"2", held=b"2")


@breaks("I54")
def a_result_that_no_item_made(bench: Bench) -> Broken:
    return mapped(bench, "its result is not what its items made", made=b"1", told=b"1", held=b"2")


@breaks("I54")
def two_items_of_one_name(bench: Bench) -> Broken:
    return mapped(bench, "two of its items have one name", made=b"1", told=b"1", held=b"1", twice=True)
