"""What loading or using an object leaves in it, though it is still the same: no content.

Invariant: an object, what is loaded from it, and both after use have one reduction. It knows a few classes
of numpy, pandas, scipy and scikit-learn by name and imports none of these.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from aq.formats.classes import library_of

_ADDRESS_ABOVE: Final = 1 << 20
_STOP_WORDS: Final = "_stop_words_id"
_TREES: Final = frozenset(f"{kind}{width}" for kind in ("KDTree", "BallTree") for width in ("", "32", "64"))
_TREE_COUNTS: Final = slice(7, 11)
"""Where the state of a tree counts the queries that it answered."""
_NODE: Final = 9
"""Words in a node of scipy's trees."""
_POINTERS: Final = slice(5, 7)
"""Those of them that say where in memory its children were: loading goes by their numbers, which follow."""


def is_shared(value: object) -> bool:
    """Whether this is the generator behind numpy.random's functions, which scipy's distributions hold."""
    module = sys.modules.get("numpy.random.mtrand")
    return module is not None and value is module._rand


def settled(value: object, call: tuple[Any, ...]) -> tuple[Any, ...]:
    """A reduction without what the object keeps of its use, or of having been loaded."""
    kind = type(value)
    state = call[2] if len(call) > 2 else None
    if state is None:
        return call
    match library_of(kind), kind.__name__:
        case "sklearn", "Bunch":  # sets no attributes when it is loaded
            state = None
        case "sklearn", name if name in _TREES and isinstance(state, tuple):
            counts = [0] * len(state[_TREE_COUNTS])
            state = (*state[: _TREE_COUNTS.start], *counts, *state[_TREE_COUNTS.stop :])
        case "sklearn", "HashingVectorizer":
            state = {name: held for name, held in state.items() if name != _STOP_WORDS}
        case "sklearn", "MultiLabelBinarizer" if "_cached_dict" in state:
            state = state | {"_cached_dict": None}
        case "scipy", "cKDTree" | "KDTree":
            state = (_without_pointers(state[0]), *state[1:])
        case "pandas", _:
            state = _of_array(state)
        case "numpy", "MaskedArray" if _fills_as_usual(value):
            state = (*state[:-1], None)
        case _:
            return call
    return (*call[:2], state, *call[3:])


def _fills_as_usual(array: Any) -> bool:
    """Whether gaps are filled with numpy's choice for the dtype: made when somebody asks, or by loading."""
    given = array._fill_value
    if given is None:
        return True
    other = sys.modules["numpy"].ma.array([], dtype=array.dtype)
    _ = other.fill_value  # makes the next
    usual = other._fill_value
    if given.dtype != usual.dtype:
        return False
    return bool(given.item() == usual.item() if given.dtype.hasobject else given.tobytes() == usual.tobytes())


def _without_pointers(nodes: Any) -> Any:
    words = sys.modules["numpy"].frombuffer(nodes.tobytes(), "i8").reshape(-1, _NODE).copy()
    words[:, _POINTERS] = 0
    return words.view(nodes.dtype).reshape(-1)


def _of_array(state: Any) -> Any:
    """The state of an array of pandas without its cache, and without what lies below missing cells."""
    if isinstance(state, dict):
        kept = _without_cache(state)
        if kept.keys() >= {"_data", "_mask"} and kept["_mask"].any():
            kept["_data"] = sys.modules["numpy"].where(
                kept["_mask"], kept["_data"].dtype.type(1), kept["_data"]
            )
        return kept
    if isinstance(state, tuple) and state and isinstance(state[-1], dict) and "_cache" in state[-1]:
        kept = _without_cache(state[-1])
        return (*state[:-1], kept) if kept else state[:-1]
    return state


def _without_cache(attributes: dict[str, Any]) -> dict[str, Any]:
    """An array of Arrow has a cache from its first day, others when somebody asks."""
    kept = {name: held for name, held in attributes.items() if name != "_cache"}
    return kept | {"_cache": {}} if "_pa_array" in attributes else kept


def without_addresses(state: dict[Any, Any]) -> dict[Any, Any]:
    """The attributes of an object, 0 for each that holds the `id()` of another one.

    scikit-learn's text vectorizers keep the address of their stop words, which no two processes share.
    """
    if not any(type(value) is int and value > _ADDRESS_ABOVE for value in state.values()):
        return state
    addresses = {id(value) for value in state.values()}

    def is_address(name: object, value: object) -> bool:
        return type(value) is int and value > _ADDRESS_ABOVE and (value in addresses or name == _STOP_WORDS)

    return {name: 0 if is_address(name, value) else value for name, value in state.items()}
