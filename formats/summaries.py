"""What is worth knowing about a pickled value: its class, hyperparameters and tensors.

Invariant: a summary is read from the stored bytes alone, never by unpickling, and is the same
when the value is saved and whenever it is made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from aq.formats import arrays
from aq.formats.pickle_reading import Buffer, Global, Group, Made, Outside, Pairs, read_beginning, read_pickle

READ_BELOW: Final = 1024 * 1024
"""Of longer opcodes only the beginning is read: the summary then has no more than the class."""
TENSORS_MOST: Final = 1_000
_NESTED_MOST: Final = 8
_PARAMETERS_MOST: Final = 500
_TEXT_MOST: Final = 200
_NAME_MOST: Final = 400
_FIELDS_MOST: Final = 10_000
_SHOWN_DEPTH: Final = 3
_SHOWN_ITEMS: Final = 8
_LEAVES: Final = frozenset({str, int, float, bytes, bool, type(None), Global})
_REBUILD: Final = "aq.formats.arrays.rebuild"
_SCALAR: Final = "aq.formats.arrays.rebuild_scalar"
_TORCH: Final = "aq.formats.models.torch_values.rebuild"
_MADE_AS: Final = (_TORCH, "aq.formats.models.torch_values.view", "copyreg._reconstructor")
_MODULE: Final = ("_parameters", "_buffers", "_modules")
"""What a module of torch holds its tensors and inner modules in."""
_OWN: Final = {
    _REBUILD: "numpy.ndarray",
    _SCALAR: "numpy.generic",
    "aq.formats.arrays.empty_objects": "numpy.ndarray",
    "aq.formats.arrays.dtype_of": "numpy.dtype",
    "re._compile": "re.Pattern",
}


class Tensor(NamedTuple):
    """An array inside a value: where, of what dtype and shape, and its bytes or the number of its buffer."""

    name: str
    dtype: Any
    shape: tuple[int, ...]
    data: bytes | Buffer


class Facts(NamedTuple):
    """What a summary says of a tensor's bytes: their digest, and their norm where they are numbers."""

    digest: str
    norm: float | None


def summarise_opcodes(opcodes: bytes, facts: Callable[[Tensor], Facts]) -> dict[str, Any]:
    """`class`, `hyperparameters` and `tensors` of a pickle; `facts` tells about a tensor's bytes."""
    if len(opcodes) >= READ_BELOW:
        return {"class": class_of(read_beginning(opcodes)), "hyperparameters": {}, "tensors": []}
    top = read_pickle(opcodes)
    tensors = []
    count = 0
    for tensor in find_tensors(top):
        count += 1
        if count <= TENSORS_MOST:
            entry = {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}
            tensors.append(entry | facts(tensor)._asdict())
    summary: dict[str, Any] = {
        "class": class_of(top),
        "hyperparameters": dict(islice(hyperparameters(top), _PARAMETERS_MOST)),
        "tensors": tensors,
    }
    if count > TENSORS_MOST:
        summary["tensor_count"] = count
    if not tensors and not summary["hyperparameters"]:
        summary["shown"] = show(top)
    return summary


def class_of(node: Any) -> str:
    """The name of a node's class."""
    match node:
        case Made(function=Global() as function, arguments=arguments):
            if str(function) in _MADE_AS and isinstance(arguments, tuple):
                return class_of(Made(arguments[0], ())) if arguments else "object"
            return _OWN.get(str(function), str(function))
        case Pairs():
            return "dict"
        case Group():
            return "frozenset" if node.frozen else "set"
        case Outside():
            return "table"
        case Global():
            return "global"
        case _:
            return type(node).__name__


def find_tensors(top: Any) -> Iterator[Tensor]:
    """All plain arrays inside, in stored order, each object once."""
    seen: set[int] = set()
    stack: list[tuple[str, Any]] = [("", top)]
    while stack:
        name, node = stack.pop()
        if type(node) in _LEAVES or id(node) in seen:
            continue
        seen.add(id(node))
        tensor = _tensor(name, node)
        if tensor is not None:
            yield tensor
        else:
            name = name if len(name) < _NAME_MOST else "…" + name[-_NAME_MOST // 2 :]
            stack.extend(reversed([(name + step, child) for step, child in _children(node)]))


def _tensor(name: str, node: Any) -> Tensor | None:
    match node:
        case Made(Global() as function, (Buffer() | bytes() as data, dtype, tuple() as shape)):
            is_own = str(function) == _REBUILD
        case Made(Global() as function, (_, Buffer() | bytes() as data, dtype, tuple() as shape, _)):
            is_own = str(function) == _TORCH
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


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    match node:
        case list() | tuple():
            yield from ((f"[{at}]", child) for at, child in enumerate(node) if type(child) not in _LEAVES)
        case Pairs():
            yield from ((f"[{_text(key)}]", child) for key, child in node.items if type(child) not in _LEAVES)
        case Group():
            yield from (("{}", child) for child in node.items)
        case Made():
            yield "()", node.arguments
            attributes = attributes_of(node)
            inside = module_parts(attributes)
            yield from inside
            rest = [pair for pair in attributes if not inside or pair[0] not in _MODULE]
            yield from ((f".{name}", child) for name, child in rest)
            if not attributes:
                yield ".state", node.state
            yield "", node.items
            yield "", node.pairs


def attributes_of(node: Made) -> list[tuple[str, Any]]:
    """The instance attributes that an object's state holds, from `__dict__` and slots."""
    states = node.state if isinstance(node.state, tuple) and len(node.state) == 2 else (node.state,)
    held = [state for state in states if isinstance(state, Pairs)]
    return [(name, child) for state in held for name, child in state.items if isinstance(name, str)]


def module_parts(attributes: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """What a module of torch holds under names of its own (`.fc1`); nothing for any other object."""
    held = dict(attributes)
    if not all(name in held for name in _MODULE):
        return []
    pairs = [held[name].pairs if isinstance(held[name], Made) else held[name] for name in _MODULE]
    return [
        (f".{name}", child)
        for part in pairs
        if isinstance(part, Pairs)
        for name, child in part.items
        if isinstance(name, str)
    ]


def hyperparameters(node: Any, prefix: str = "", nested: int = 0) -> Iterator[tuple[str, Any]]:
    """What was chosen, not learned: attributes without a leading or trailing underscore.

    Estimators inside are entered as in scikit-learn: `model__depth`, modules as in torch: `fc1.p`.
    """
    if not isinstance(node, Made) or nested > _NESTED_MOST:
        return
    attributes = attributes_of(node)
    modules = module_parts(attributes)
    for name, value in attributes:
        if name.startswith("_") or name.endswith("_") or (modules and name == "training" and nested):
            continue
        found, plain = _plain(value)
        if found:
            yield prefix + name, plain
        for inner, held in [(name, value), *_named_steps(value)]:
            yield from hyperparameters(held, f"{prefix}{inner}__", nested + 1)
    for name, held in modules:
        yield from hyperparameters(held, f"{prefix}{name[1:]}.", nested + 1)


def _named_steps(value: Any) -> list[tuple[str, Made]]:
    """The estimators of a pipeline or a union: a list of (name, estimator, …)."""
    if not isinstance(value, list):
        return []
    pairs = [item for item in value if isinstance(item, tuple) and len(item) >= 2]
    return [(item[0], item[1]) for item in pairs if isinstance(item[0], str) and isinstance(item[1], Made)]


def _plain(value: Any) -> tuple[bool, Any]:
    """(whether it can be said in short, the value for JSON)."""
    match value:
        case int() if value.bit_length() > 63:
            return True, show(value)
        case None | bool() | int() | float():
            return True, value
        case str():
            return True, value if len(value) <= _TEXT_MOST else value[: _TEXT_MOST - 1] + "…"
        case Made(function=Global() as function) if str(function) == _SCALAR:
            return True, _scalar(value)
        case Made(function=Global() as function) if str(function) == _REBUILD:
            return False, None
        case list() | tuple() | Pairs() | Group() | Made() | Global() | bytes():
            return True, show(value)
        case _:
            return False, None


def _scalar(node: Made) -> Any:
    """The number or text that a numpy scalar holds."""
    try:
        value = arrays.rebuild_scalar(*node.arguments).item()
    except (TypeError, ValueError, AttributeError, IndexError):
        return show(node.arguments)
    return value if isinstance(value, (bool, float, str)) or type(value) is int else str(value)


def show(node: Any) -> str:
    """A short text that reads like Python."""
    text = _text(node)
    return text if len(text) <= _TEXT_MOST else text[: _TEXT_MOST - 1] + "…"


def _text(node: Any, depth: int = _SHOWN_DEPTH) -> str:
    if depth == 0:
        return "…"

    def inner(items: Any) -> str:
        shown = [_text(item, depth - 1) for item in items[:_SHOWN_ITEMS]]
        return ", ".join(shown + ["…"] * (len(items) > _SHOWN_ITEMS))

    match node:
        case str() | bytes():
            return repr(node[:_TEXT_MOST])
        case int() if node.bit_length() > 64:
            return f"int of {node.bit_length()} bits"
        case None | bool() | int() | float():
            return repr(node)
        case list():
            return f"[{inner(node)}]"
        case tuple():
            return f"({inner(node)}{',' * (len(node) == 1)})"
        case Group():
            return f"{{{inner(node.items)}}}"
        case Pairs():
            pairs = [
                f"{_text(key, depth - 1)}: {_text(held, depth - 1)}"
                for key, held in node.items[:_SHOWN_ITEMS]
            ]
            return "{" + ", ".join(pairs + ["…"] * (len(node.items) > _SHOWN_ITEMS)) + "}"
        case Global():
            return str(node)
        case Made(function=Global() as function) if str(function) == _SCALAR:
            return repr(_scalar(node))
        case Made():
            return f"{class_of(node).rpartition('.')[2]}({inner(_listed(node.arguments))})"
        case _:
            return "…"


def _listed(arguments: Any) -> Any:
    return arguments if isinstance(arguments, (tuple, list)) else ()
