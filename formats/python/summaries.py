"""What is worth knowing about a pickled value: its class, hyperparameters and tensors.

Invariant: a summary is read from the stored bytes alone, never by unpickling, and is the same
when the value is saved and whenever it is made again.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from aq.formats.python.node_texts import EXTENDED, ONNX, REBUILD, TORCH, class_of, inner_text, show
from aq.formats.python.parameters import (
    MODULE,
    attributes_of,
    entries,
    fitted,
    hyperparameters,
    library_of,
    module_parts,
)
from aq.formats.python.pickle_reading import Buffer, Global, Group, Made, Pairs, read_beginning, read_pickle

READ_BELOW: Final = 1024 * 1024
"""Of longer opcodes only the beginning is read: the summary then has no more than the class."""
TENSORS_MOST: Final = 1_000
_PARAMETERS_MOST: Final = 500
_NAME_MOST: Final = 400
_FIELDS_MOST: Final = 10_000
_LEAVES: Final = frozenset({str, int, float, bytes, bool, type(None), Global})


class Tensor(NamedTuple):
    """An array inside a value: where, of what dtype and shape.

    `data`: its bytes, the number of its buffer, or what a reader of other pickles found in their place.
    """

    name: str
    dtype: Any
    shape: tuple[int, ...]
    data: Any


Recognise = Callable[[str, Any], Tensor | None]


class Facts(NamedTuple):
    """What a summary says of a tensor's bytes: their digest, and their norm where they are numbers."""

    digest: str
    norm: float | None


def summarise_opcodes(opcodes: bytes, facts: Callable[[Tensor], Facts]) -> dict[str, Any]:
    """`class`, `hyperparameters` and `tensors` of a pickle; `facts` tells about a tensor's bytes."""
    if len(opcodes) >= READ_BELOW:
        return {"class": class_of(read_beginning(opcodes)), "hyperparameters": {}, "tensors": []}
    top = read_pickle(opcodes)
    return summarise_node(top, find_tensors(top), facts)


def summarise_node(top: Any, found: Iterable[Tensor], facts: Callable[[Tensor], Facts]) -> dict[str, Any]:
    """The summary of a value that was read as nodes, whose tensors are known."""
    tensors = []
    count = 0
    for tensor in found:
        count += 1
        if count <= TENSORS_MOST:
            entry = {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}
            tensors.append(entry | facts(tensor)._asdict())
    chosen = entries(top) if isinstance(top, Pairs) and tensors else hyperparameters(top)
    summary: dict[str, Any] = {
        "class": class_of(top),
        "library": library_of(top),
        "hyperparameters": dict(islice(chosen, _PARAMETERS_MOST)),
        "fitted": dict(islice(fitted(top, (node for _, node in walk(top))), _PARAMETERS_MOST)),
        "tensors": tensors,
    }
    for name in ("library", "fitted"):
        if not summary[name]:
            del summary[name]
    if count > TENSORS_MOST:
        summary["tensor_count"] = count
    if not tensors and not summary["hyperparameters"]:
        summary["shown"] = show(top)
    return summary


def find_tensors(top: Any, recognise: Recognise | None = None) -> Iterator[Tensor]:
    """All plain arrays inside, in stored order, each object once.

    `recognise` makes a tensor of a node where aq's own way to write one is not the only one.
    """
    made: set[int] = set()
    for name, node in walk(top, made):
        tensor = own_tensor(name, node) or (recognise(name, node) if recognise else None)
        if tensor is not None:
            made.add(id(node))
            yield tensor


def walk(top: Any, leave: Container[int] = ()) -> Iterator[tuple[str, Any]]:
    """Every node inside, each once, with its place; nothing of what is inside a node in `leave`."""
    seen: set[int] = set()
    stack: list[tuple[str, Any]] = [("", top)]
    while stack:
        name, node = stack.pop()
        if type(node) in _LEAVES or id(node) in seen:
            continue
        seen.add(id(node))
        yield name, node
        if id(node) not in leave:
            short = name if len(name) < _NAME_MOST else "…" + name[-_NAME_MOST // 2 :]
            stack.extend(
                reversed([(short + step, child) for step, child in _children(node, at_top=not name)])
            )


def own_tensor(name: str, node: Any) -> Tensor | None:
    """The tensor that a call of aq's makes; None for any other node."""
    match node:
        case Made(Global() as function, (Buffer() | bytes() as data, dtype, tuple() as shape)):
            is_own = str(function) in (REBUILD, EXTENDED)
        case Made(Global() as function, (_, Buffer() | bytes() as data, dtype, tuple() as shape, _)):
            is_own = str(function) == TORCH
        case _:
            return None
    if is_own and _is_dtype(dtype) and all(type(size) is int for size in shape):
        return Tensor(name.removeprefix("."), dtype, shape, data)
    return None


def _is_dtype(described: Any) -> bool:
    """Whether it is text, or tuples of text and numbers as `arrays.describe` makes them."""
    left, stack = _FIELDS_MOST, [described]
    while stack and left:
        left -= 1
        node = stack.pop()
        if isinstance(node, tuple):
            stack.extend(node[:_FIELDS_MOST])
        elif not isinstance(node, (str, int)):
            return False
    return not stack and isinstance(described, (str, tuple))


def _children(node: Any, *, at_top: bool) -> Iterator[tuple[str, Any]]:
    match node:
        case list() | tuple():
            yield from ((f"[{at}]", child) for at, child in enumerate(node) if type(child) not in _LEAVES)
        case Pairs():
            for at, (key, child) in enumerate(node.items):
                if type(child) not in _LEAVES:
                    plain = at_top and isinstance(key, str) and key
                    yield (key if plain else f"[{at if type(key) is Made else inner_text(key)}]"), child
        case Group():
            yield from (("{}", child) for child in node.items)
        case Made(Global() as function, (_, _, Pairs() as weights)) if str(function) == ONNX:
            yield "", weights
        case Made():
            yield "()", node.arguments
            attributes = attributes_of(node)
            inside = module_parts(attributes)
            yield from inside
            rest = [pair for pair in attributes if not inside or pair[0] not in MODULE]
            yield from ((f".{name}", child) for name, child in rest)
            if not attributes:
                yield ".state", node.state
            yield "", node.items
            yield "", node.pairs
