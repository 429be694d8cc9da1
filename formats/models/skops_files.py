"""Files of skops: a schema in JSON, and arrays as .npy files beside it, in a zip archive.

Invariant: the schema is data: no class in it is imported, and skops itself is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from aq.formats.arrays import rebuild_scalar
from aq.formats.errors import Damaged
from aq.formats.models.content import INFLATED_MOST, Archive, Content
from aq.formats.models.npy_files import array_in
from aq.formats.models.opened import Opened
from aq.formats.python.pickle_reading import Global, Group, Made, Pairs
from aq.formats.python.summaries import Tensor, find_tensors
from aq.formats.python.tensors import Stored

_SCHEMA: Final = "schema.json"
_DEPTH_MOST: Final = 200
_ARRAY: Final = Global("skops", "array")


def read(content: Content) -> Opened:
    """Class, hyperparameters and arrays, and the versions of skops and its protocol. Raises Damaged."""
    archive = Archive(content)
    schema = archive.member(_SCHEMA)
    if schema.size > INFLATED_MOST:
        raise Damaged(f"a schema of {schema.size} bytes")
    found = json.loads(schema.read(0, schema.size))
    arrays: dict[str, Stored | None] = {}

    def array(file: str) -> Stored | None:
        if file not in arrays:
            arrays[file] = array_in(archive.member(file), file)
        return arrays[file]

    def recognise(name: str, node: Any) -> Tensor | None:
        stored = array(node.arguments[0]) if isinstance(node, Made) and node.function is _ARRAY else None
        return stored and stored.tensor._replace(name=name.removeprefix("."), data=stored)

    top = _Schema(array).node(found, 0)
    tensors = [
        tensor.data._replace(tensor=tensor._replace(data=None)) for tensor in find_tensors(top, recognise)
    ]
    facts = {"format": "skops", "skops": str(found.get("_skops_version")), "protocol": found.get("protocol")}
    return Opened(facts, tensors, top)


class _Schema:
    """Parts of the schema as pickles are told: what would be made, with what. `array` reads a file of one."""

    def __init__(self, array: Callable[[str], Stored | None]) -> None:
        self._array = array
        self._known: dict[Any, Any] = {}

    def node(self, found: Any, depth: int) -> Any:
        """One part, with all that is inside."""
        if not isinstance(found, dict) or depth > _DEPTH_MOST:
            return None
        inside, loader = found.get("content"), str(found.get("__loader__"))
        if loader == "JsonNode":
            return json.loads(str(inside))
        if found.get("type") == "numpy" and isinstance(found.get("file"), str):
            scalar = found.get("__class__") != "ndarray"
            return self._scalar(found["file"]) if scalar else Made(_ARRAY, (found["file"],))
        name = Global(str(found.get("__module__")), str(found.get("__class__")))
        if loader in ("TypeNode", "FunctionNode"):
            return name
        made = self._container(loader, name, inside, depth + 1)
        # An object that is held twice stands there twice, under one number.
        return self._known.setdefault(str(found.get("__id__")), made) if type(made) is Made else made

    def _scalar(self, file: str) -> Any:
        """A numpy scalar, which lies in a file of its own, as a number or text."""
        stored = self._array(file)
        if stored is None or stored.tensor.shape:
            return Made(_ARRAY, (file,))
        value = rebuild_scalar(bytes(stored.read()), stored.tensor.dtype).item()
        return value if isinstance(value, (bool, int, float, str)) else str(value)

    def _container(self, loader: str, name: Global, inside: Any, depth: int) -> Any:
        if isinstance(inside, list):
            items = [self.node(item, depth) for item in inside]
            if loader == "SetNode":
                return Group(items)
            return tuple(items) if loader == "TupleNode" else items
        if isinstance(inside, dict) and "__loader__" in inside:
            return Made(name, (), state=self.node(inside, depth))
        if isinstance(inside, dict):
            pairs = Pairs([(key, self.node(item, depth)) for key, item in inside.items()])
            return pairs if name.name == "dict" else Made(name, (), state=pairs)
        return Made(name, ())
