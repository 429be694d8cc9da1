"""Every object that a table consists of: what gc, transfer and fsck follow.

Invariant: whoever has the artifact's record and these objects can read the table. An object that
is there twice is given twice; no chunk is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aq.formats.errors import Damaged
from aq.formats.identity import Digest, Kind
from aq.formats.objects import Source, get_record
from aq.formats.records import Artifact, Node
from aq.formats.tables.references import ROWS, Tag, parse

Part = tuple[Kind, Digest]


def table_parts(artifact: Artifact, source: Source) -> Iterator[Part]:
    """Kind and id of each object below the artifact's record, a node before what it names."""
    if artifact.root is not None:
        yield from _tree(source, artifact.root, Tag.LIST)
    for reference in _in_type(artifact.type):
        yield from _below(source, reference)


def _in_type(value: Any) -> Iterator[bytes]:
    """The references in the type information: sets of categories or labels apart."""
    if isinstance(value, dict):
        if isinstance(value.get("at"), bytes):
            yield value["at"]
        for part in value.values():
            yield from _in_type(part)
    elif isinstance(value, list):
        for part in value:
            yield from _in_type(part)


def _below(source: Source, reference: bytes) -> Iterator[Part]:
    tag, digest = parse(reference)
    if tag is Tag.CHUNK:
        yield Kind.CHUNK, Digest(digest)
    elif tag in (Tag.PIECES, Tag.LIST):
        yield from _tree(source, digest, tag)


def _digest(value: bytes) -> Digest:
    if len(value) != 32:
        raise Damaged("a table names an object by something that is no id")
    return Digest(value)


def _tree(source: Source, root: bytes, tag: Tag) -> Iterator[Part]:
    """The nodes of a map or list, and what its values lead to: pieces are ids, others references."""
    yield Kind.NODE, _digest(root)
    node = get_record(source, Node, root)
    for value in node.values:
        if node.level:
            yield from _tree(source, value, tag)
        elif tag is Tag.PIECES:
            yield Kind.CHUNK, _digest(value)
        else:
            # An element of the list of segments begins with its number of rows.
            yield from _below(source, value[ROWS.size :] if len(value) > 33 else value)
