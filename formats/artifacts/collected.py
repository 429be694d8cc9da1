"""Collections: an artifact that is a list or a dict of other artifacts, as what `aq.map` makes.

Invariant: its elements are a prolly list, so that two collections which differ in few items share the rest;
equal collections are equal artifacts, whoever made them (docs/format.md, section 9). The artifacts that it
names are not looked into here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec
from aq.formats.errors import Damaged
from aq.formats.objects import Sink, Source
from aq.formats.records import Artifact
from aq.formats.trees.prolly import build_list, list_count, list_items

FORMAT: Final = "items"
_ID: Final = 32
_decoder = msgspec.msgpack.Decoder(tuple[str | int, bytes])


class Element(NamedTuple):
    """One item: its key in a dict (None in a list), its artifact, and the format of that."""

    key: str | int | None
    artifact: bytes
    format: str


def collect(elements: Iterable[Element], sink: Sink, *, keyed: bool) -> Artifact:
    """Store the elements in their order as a dict (`keyed`) or a list."""
    found = list(elements)
    packed = [_packed(one.key, one.artifact) if keyed else bytes(one.artifact) for one in found]
    return Artifact(
        kind="value",
        format=FORMAT,
        size=sum(map(len, packed)),
        type={"as": "dict" if keyed else "list", "formats": sorted({one.format for one in found})},
        root=build_list(sink, packed),
    )


def _packed(key: object, artifact: bytes) -> bytes:
    return msgspec.msgpack.encode((key, bytes(artifact)))


def is_dict(artifact: Artifact) -> bool:
    """Whether it has keys. Raises Damaged where its type says nothing."""
    kind = artifact.type.get("as") if isinstance(artifact.type, dict) else None
    if kind not in ("list", "dict") or artifact.root is None:
        raise Damaged("a collection's type cannot be read")
    return bool(kind == "dict")


def formats(artifact: Artifact) -> frozenset[str]:
    """The formats of what it holds."""
    found = artifact.type.get("formats") if isinstance(artifact.type, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise Damaged("a collection's type cannot be read")
    return frozenset(found)


def length(artifact: Artifact, source: Source) -> int:
    """How many items it has."""
    return list_count(source, artifact.root or b"")


def elements(artifact: Artifact, source: Source) -> Iterator[tuple[str | int | None, bytes]]:
    """(key, or None in a list; artifact) of each item in order. Raises Damaged."""
    keyed = is_dict(artifact)
    for value in list_items(source, artifact.root or b""):
        yield unpacked(value) if keyed else (None, plain(value))


def plain(value: bytes) -> bytes:
    """The artifact that an element of a list names. Raises Damaged."""
    if len(value) != _ID:
        raise Damaged(f"a list of artifacts holds an element of {len(value)} bytes")
    return value


def unpacked(value: bytes) -> tuple[str | int, bytes]:
    """The key and artifact that an element of a dict names. Raises Damaged."""
    try:
        key, id = _decoder.decode(value)
    except msgspec.DecodeError:
        raise Damaged("a dict of artifacts holds an element that cannot be read") from None
    if len(id) != _ID or _packed(key, id) != value:
        raise Damaged("a dict of artifacts holds an element that is not in canonical form")
    return key, id


def named(value: bytes) -> bytes:
    """The artifact that an element names, of a list or a dict."""
    return value if len(value) == _ID else unpacked(value)[1]


def load(artifact: Artifact, source: Source, one: Callable[[bytes], Any]) -> list[Any] | dict[Any, Any]:
    """The list or dict, each artifact loaded by `one`."""
    found = [(key, one(id)) for key, id in elements(artifact, source)]
    return dict(found) if is_dict(artifact) else [value for _, value in found]
