"""Files of ONNX: a graph with its weights, read by the library `onnx` where that is installed.

Invariant: nothing is run, and no file beside it is opened: weights that lie outside are only counted.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from aq.formats import arrays
from aq.formats.models.content import Content
from aq.formats.models.dtypes import text_of
from aq.formats.models.opened import Opened
from aq.formats.python.summaries import Tensor
from aq.formats.python.tensors import Stored


def read(content: Content) -> Opened:
    """The graph in numbers, and its weights. Raises ImportError without the library."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(content.read(0, content.size))
    except DecodeError as error:
        raise ValueError(str(error)) from None
    return opened(model)


def opened(model: Any) -> Opened:
    """What is known of a `ModelProto`."""
    graph = model.graph
    if not graph.node and not graph.initializer:
        raise ValueError("a graph without nodes")
    outside = [tensor.name for tensor in graph.initializer if tensor.data_location == 1]
    facts: dict[str, Any] = {
        "format": "onnx",
        "producer": " ".join(filter(None, (model.producer_name, model.producer_version))),
        "ir_version": model.ir_version,
        "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        "graph": graph.name,
        "inputs": {one.name: _type(one) for one in graph.input},
        "outputs": {one.name: _type(one) for one in graph.output},
        "operators": dict(sorted(Counter(node.op_type for node in graph.node).items())),
        "metadata": {entry.key: entry.value for entry in model.metadata_props},
        "outside": len(outside),
    }
    tensors = [_stored(tensor) for tensor in graph.initializer if tensor.data_location != 1]
    known = {name: item for name, item in facts.items() if item not in ("", {}, 0)}
    return Opened(known, [stored for stored in tensors if stored is not None])


def _type(value: Any) -> str:
    """`float32[N, 3]`, as a signature would say it."""
    import onnx

    tensor = value.type.tensor_type
    if not tensor.elem_type:
        return str(value.type.WhichOneof("value") or "")
    sizes = [
        one.dim_param or (str(one.dim_value) if one.HasField("dim_value") else "?")
        for one in tensor.shape.dim
    ]
    return f"{_name(onnx, tensor.elem_type)}[{', '.join(sizes)}]"


def _name(onnx: Any, kind: int) -> str:
    """The common name of a dtype of ONNX."""
    name = (
        str(onnx.TensorProto.DataType.Name(kind)).lower()
        if kind in onnx.TensorProto.DataType.values()
        else ""
    )
    return {"float": "float32", "double": "float64"}.get(name, name.replace("float8e", "float8_e"))


def _stored(tensor: Any) -> Stored | None:
    """A weight; None for texts, and for what has less than a byte an element."""
    import onnx

    text = text_of(_name(onnx, tensor.data_type))
    if text is None:
        return None
    found = Tensor(tensor.name, text, tuple(tensor.dims), None)
    if tensor.HasField("raw_data"):
        return Stored(found, None, lambda: bytes(tensor.raw_data))
    return Stored(found, None, lambda: bytes(arrays.c_bytes(onnx.numpy_helper.to_array(tensor))))
