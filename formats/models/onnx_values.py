"""Graphs of ONNX as a frame without weights, and the weights beside it (docs/format.md, section 9).

Invariant: each weight is an array of its own, so that an unchanged one is stored once. `rebuild` stands in
stored pickles: it never changes. onnx is imported by whoever has a graph already.
"""

from __future__ import annotations

from typing import Any, Final

from aq.formats import arrays
from aq.formats.models.dtypes import NUMPY

_LEAST: Final = 1024
"""Bytes: a smaller weight stays in the frame."""
_ELSEWHERE: Final = 1
"""Where the elements of a weight lie in another file."""


def rebuild(kind: Any, frame: bytes, weights: dict[str, Any]) -> Any:
    """The graph, with its weights back in place. Raises what protobuf raises on a frame that is none."""
    model = kind()
    model.ParseFromString(bytes(frame))
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.raw_data = bytes(arrays.c_bytes(weights[tensor.name]))
    return model


def recipe(value: Any) -> tuple[Any, ...] | None:
    """The call that rebuilds a `ModelProto`; None for all else, and where two weights share a name."""
    if type(value).__name__ != "ModelProto":
        return None
    frame = type(value)()
    frame.CopyFrom(value)
    weights: dict[str, Any] = {}
    for tensor in frame.graph.initializer:
        if len(tensor.raw_data) >= _LEAST and tensor.data_location != _ELSEWHERE:
            weights[tensor.name] = _array(tensor)
            tensor.ClearField("raw_data")
    names = [tensor.name for tensor in value.graph.initializer]
    if len(set(names)) < len(names):
        return None
    return rebuild, (type(value), frame.SerializeToString(deterministic=True), weights)


def _array(tensor: Any) -> Any:
    """The elements as an array; as bytes, where numpy has no such dtype or they do not fit the shape."""
    import numpy as np
    import onnx

    name = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
    text = NUMPY.get({"float": "float32", "double": "float64"}.get(name, name))
    if text is not None:
        flat, shape = np.frombuffer(tensor.raw_data, "|u1"), tuple(tensor.dims)
        if flat.size == np.dtype(text).itemsize * int(np.prod(shape, dtype=object)):
            return flat.view(text).reshape(shape)
    return np.frombuffer(tensor.raw_data, "|u1")
