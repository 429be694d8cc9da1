"""What was chosen of a model, and what fitting made of it, read from the nodes of its pickle.

Invariant: attributes decide by their names, as scikit-learn and torch give them; nothing is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from aq.formats.python.node_texts import class_of, in_short
from aq.formats.python.pickle_reading import Made, Pairs

_NESTED_MOST: Final = 8
MODULE: Final = ("_parameters", "_buffers", "_modules")
"""What a module of torch holds its tensors and inner modules in."""


def attributes_of(node: Made) -> list[tuple[str, Any]]:
    """The instance attributes that an object's state holds, from `__dict__` and slots."""
    states = node.state if isinstance(node.state, tuple) and len(node.state) == 2 else (node.state,)
    held = [pair for state in states if isinstance(state, Pairs) for pair in state.items]
    inner = dict(pair for pair in held if pair[0] == "__dict__").get("__dict__")  # as pydantic has it
    attributes = inner.items if isinstance(inner, Pairs) else held
    return [(name, child) for name, child in attributes if isinstance(name, str)]


def module_parts(attributes: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """What a module of torch holds under names of its own (`.fc1`); nothing for any other object."""
    held = dict(attributes)
    if not all(name in held for name in MODULE):
        return []
    pairs = [held[name].pairs if isinstance(held[name], Made) else held[name] for name in MODULE]
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
        found, plain = in_short(value)
        if found:
            yield prefix + name, plain
        for inner, held in [(name, value), *_named_steps(value)]:
            yield from hyperparameters(held, f"{prefix}{inner}__", nested + 1)
    for name, held in modules:
        yield from hyperparameters(held, f"{prefix}{name[1:]}.", nested + 1)


def entries(node: Pairs, prefix: str = "", nested: int = 0) -> Iterator[tuple[str, Any]]:
    """What stands beside the tensors in a dict such as a checkpoint: its plain entries by their names.

    Dicts inside are entered as `optimizer.lr`, models as `model__depth`.
    """
    for name, value in node.items if nested <= _NESTED_MOST else ():
        if not isinstance(name, str):
            continue
        if isinstance(value, Pairs):
            yield from entries(value, f"{prefix}{name}.", nested + 1)
            continue
        found, plain = in_short(value)
        if found:
            yield prefix + name, plain
        yield from hyperparameters(value, f"{prefix}{name}__", nested + 1)


def _named_steps(value: Any) -> list[tuple[str, Made]]:
    """The estimators of a pipeline or a union: a list of (name, estimator, …)."""
    if not isinstance(value, list):
        return []
    pairs = [item for item in value if isinstance(item, tuple) and len(item) >= 2]
    return [(item[0], item[1]) for item in pairs if isinstance(item[0], str) and isinstance(item[1], Made)]


_TREES: Final = frozenset(
    {"sklearn.tree._tree.Tree", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"}
)


def fitted(top: Any, nodes: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """What fitting made, in numbers: attributes with an underscore behind, and how many trees have grown."""
    yield from _fitted(top, "", 0)
    trees = [
        dict(attributes_of(node)) for node in nodes if isinstance(node, Made) and class_of(node) in _TREES
    ]
    if trees:
        yield "trees", len(trees)
    grown = [tree["node_count"] for tree in trees if isinstance(tree.get("node_count"), int)]
    if grown:
        yield "tree_nodes", sum(grown)


def _fitted(node: Any, prefix: str, nested: int) -> Iterator[tuple[str, Any]]:
    if not isinstance(node, Made) or nested > _NESTED_MOST:
        return
    for name, value in attributes_of(node):
        if name.endswith("_") and not name.startswith("_"):
            found, plain = in_short(value)
            if (found and isinstance(value, (int, float, str))) or type(plain) in (int, float):
                yield prefix + name, plain
        for inner, held in _named_steps(value):
            yield from _fitted(held, f"{prefix}{inner}__", nested + 1)


def library_of(top: Any) -> str:
    """The library with its version, where the value itself says so; else ""."""
    version = dict(attributes_of(top)).get("_sklearn_version") if isinstance(top, Made) else None
    return f"scikit-learn {version}" if isinstance(version, str) else ""
