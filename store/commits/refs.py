"""Refs: names for commits, and names for names.

Invariant: the refs of a moment are one prolly map (docs/format.md, section 6), the root of which an
operation names; the index holds the current ones as well, for one quick read. Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec
from aq.formats.errors import Damaged, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import MemoryObjects, Sink, Source
from aq.formats.packing.packs import NO_ID
from aq.formats.trees.prolly import build_map, map_items

HEAD: Final = "HEAD"
TRACKING: Final = "tracking"
_FOLDERS: Final = ("branch/", "tag/", "remote/")
_NAME_MOST: Final = 400
_SHOWN_MOST: Final = 60
_SPECIAL: Final = ("@{", *' ~^:?*[\\"')


class Ref(NamedTuple):
    """A ref holds an id, or the name of another ref (`target`)."""

    id: Digest | None = None
    target: str = ""


def encode_ref(ref: Ref) -> bytes:
    """The value of a ref in the map and in the index."""
    return msgspec.msgpack.encode({"id": bytes(ref.id)} if ref.id is not None else {"target": ref.target})


def decode_ref(name: str, data: bytes) -> Ref:
    """Read such a value. Raises Damaged."""
    try:
        fields = msgspec.msgpack.decode(data)
        if "id" in fields:
            return Ref(Digest(fields["id"]))
        return Ref(None, str(fields["target"]))
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, RecursionError):
        raise Damaged(f"the ref {name!r} cannot be read") from None


def check_name(name: str) -> None:
    """Refuse a name that would confuse revisions, paths or terminals. Raises UsageError."""
    if name in (HEAD, TRACKING):
        return
    short = next((name[len(folder) :] for folder in _FOLDERS if name.startswith(folder)), "")
    reason = _objection(short) if name.startswith(_FOLDERS) else "it lies in no folder of refs"
    if not reason and len(name.encode("utf-8", "replace")) > _NAME_MOST:
        reason = f"it is longer than {_NAME_MOST} bytes"
    if reason:
        noun = name.partition("/")[0]
        shown = short if len(short) <= _SHOWN_MOST else short[:_SHOWN_MOST] + "…"
        hint = f"aq {noun}" if noun in ("branch", "tag") else "aq branch"
        raise UsageError(f"{shown!r} cannot be the name of a {noun}: {reason}", hint=hint)


def _objection(short: str) -> str:
    """Why a name without its folder is none; empty where it is one."""
    parts = short.split("/")
    if not short:
        return "it is empty"
    if not all(parts):
        return "it has a '/' too many"
    if ".." in short or "." in parts:
        return "'..' and '.' mean something else"
    if any(part.endswith(".lock") for part in parts):
        return "it ends in .lock"
    if short.startswith("-"):
        return "it begins with '-'"
    if any(not character.isprintable() for character in short):
        return "it has a character that cannot be printed"
    special = next((mark for mark in _SPECIAL if mark in short), "")
    if special:
        return f"it has {special!r}"
    return ""


def build(sink: Sink, refs: Mapping[str, Ref]) -> Digest:
    """The root of the map of these refs."""
    return build_map(sink, sorted((name.encode(), encode_ref(ref)) for name, ref in refs.items()))


def read(source: Source, root: bytes) -> dict[str, Ref]:
    """The refs under a root. Raises Damaged."""
    return decode_all(map_items(source, root))


def verified(source: Source, root: bytes, rows: list[tuple[bytes, bytes]]) -> dict[str, Ref]:
    """The refs under a root: by its map, or by `rows` if the map is lost and held these. Raises Damaged."""
    if root == NO_ID:
        return {}
    try:
        return read(source, root)
    except Damaged:
        if build_map(MemoryObjects(), sorted(dict(rows).items())) != root:
            raise
        return decode_all(rows)


def decode_all(items: Iterable[tuple[bytes, bytes]]) -> dict[str, Ref]:
    """Refs by name from encoded pairs."""
    found = {}
    for key, value in items:
        name = key.decode("utf-8", "replace")
        found[name] = decode_ref(name, value)
    return found
