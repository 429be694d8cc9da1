"""What is known of a model file, and two of them side by side.

Invariant: a tensor is named, measured and compared alike whether it lies in a file or in a value of
the store. Nothing is loaded by a library that could execute anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from math import prod
from typing import Any, Final, NamedTuple

from aq.formats.contents.chunking import cut
from aq.formats.contents.files import WHOLE_BELOW
from aq.formats.errors import Damaged
from aq.formats.identity import Buffer, Kind, object_id
from aq.formats.models import dtypes
from aq.formats.models.content import Member
from aq.formats.python.pickles import part_digest
from aq.formats.python.summaries import TENSORS_MOST, Facts, Tensor, summarise_node
from aq.formats.python.tensors import Stored, compare_stored

MEASURED_MOST: Final = 2 << 30
"""Bytes of tensors that a summary reads to tell their digests and norms."""


class Opened(NamedTuple):
    """A model file: `facts` in the order in which they are shown, then tensors in theirs.

    `top`: where the file holds a pickle, what it would build, as nodes; `facts` then come after.
    """

    facts: dict[str, Any]
    tensors: list[Stored]
    top: Any = None


def tensor_at(name: str, dtype: Any, shape: Iterable[int], member: Member, start: int, size: int) -> Stored:
    """A tensor whose elements lie in a row. Raises Damaged where they need another number of bytes."""
    found = Tensor(name, dtype, tuple(shape), None)
    if any(length < 0 for length in found.shape) or prod(found.shape) * dtypes.size_of(dtype) != size:
        raise Damaged(f"the tensor {name} does not have the bytes of its shape")
    return Stored(found, member.place(start, size), lambda: member.read(start, size))


def digest(data: Buffer) -> str:
    """What identifies the bytes of a tensor: as if it were a part of a value."""
    pieces = [data] if len(data) <= WHOLE_BELOW else cut(data)
    return part_digest([object_id(Kind.CHUNK, piece) for piece in pieces])


def summarise(opened: Opened) -> dict[str, Any]:
    """What `show` says of a model file: as of a value of its kind."""
    known = {stored.tensor.name: stored for stored in opened.tensors}
    measured = sum(prod(one.tensor.shape) * dtypes.size_of(one.tensor.dtype) for one in opened.tensors)

    def facts(tensor: Tensor) -> Facts:
        if measured > MEASURED_MOST:
            return Facts("", None)
        data = known[tensor.name].read()
        return Facts(digest(data), dtypes.norm(data, tensor.dtype))

    tensors = [stored.tensor for stored in known.values()]
    if opened.top is not None:
        return {**summarise_node(opened.top, tensors, facts), **opened.facts}
    told = [
        {"name": one.name, "dtype": one.dtype, "shape": list(one.shape)} | facts(one)._asdict()
        for one in tensors[:TENSORS_MOST]
    ]
    more = {"tensor_count": len(tensors)} if len(tensors) > TENSORS_MOST else {}
    return {**opened.facts, "tensors": told, **more}


def compare(old: Opened, new: Opened) -> dict[str, Any]:
    """How two versions of a model file differ; the bytes of equal tensors are not read."""
    before, after = (_without_bytes(opened) for opened in (old, new))
    found = changed_facts(before, after)
    moved = compare_stored(*({one.tensor.name: one for one in side.tensors} for side in (old, new)))
    if any(moved[name] for name in ("added", "removed", "changed")):
        found["tensors"] = moved
    return found


def _without_bytes(opened: Opened) -> dict[str, Any]:
    if opened.top is None:
        return opened.facts
    tensors = [stored.tensor for stored in opened.tensors]
    summary = summarise_node(opened.top, tensors, lambda tensor: Facts("", None))
    return {name: item for name, item in (summary | opened.facts).items() if name != "tensors"}


def changed_facts(
    old: Mapping[str, Any], new: Mapping[str, Any], inside: Mapping[str, Callable[[], Any]] = {}
) -> dict[str, Any]:
    """What differs between two summaries: maps name by name, all else from one to the other.

    `inside` tells what is said of a fact instead.
    """
    detail: dict[str, Any] = {}
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if key in inside:
            detail[key] = inside[key]()
        elif isinstance(before, dict) and isinstance(after, dict):
            detail[key] = list(_pairs(before, after))
        else:
            detail[key] = {"from": before, "to": after}
    return detail


def _pairs(old: dict[str, Any], new: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield {"name": name, "from": old.get(name), "to": new.get(name)}
