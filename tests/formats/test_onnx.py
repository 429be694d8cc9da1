"""A graph of ONNX as a value: its weights apart, equal ids for equal graphs, no unpickling to look."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from aq.formats.artifacts.values import decode, encode, summarise
from aq.formats.objects import MemoryObjects
from aq.formats.python.tensors import compare_tensors

onnx = pytest.importorskip("onnx")


def graph(scale: float = 1.0, **more: Any) -> Any:
    """Four layers of which the second is scaled."""
    source, helper, kind = np.random.default_rng(0), onnx.helper, onnx.TensorProto.FLOAT
    weights = {f"layer{n}": source.normal(size=(300, 300)).astype("f4") for n in range(4)}
    weights["layer1"] = weights["layer1"] * np.float32(scale)
    held = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    held += [
        onnx.numpy_helper.from_array(np.array([1.5], "f4"), "small"),
        helper.make_tensor("half", onnx.TensorProto.BFLOAT16, [1024], bytes(range(256)) * 8, raw=True),
        helper.make_tensor("listed", kind, [2], [1.5, 2.5]),
    ]
    made = helper.make_graph(
        [helper.make_node("MatMul", ["x", "layer0"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", kind, ["N", 300])],
        [helper.make_tensor_value_info("y", kind, ["N", 300])],
        held,
    )
    model = helper.make_model(made, producer_name="tests")
    onnx.helper.set_model_props(model, {"b": "2", "a": "1", **more})
    return model


def test_a_graph_comes_back_as_it_was() -> None:
    objects, model = MemoryObjects(), graph()
    encoded = encode(model, objects)
    found = decode(encoded.artifact, objects)
    assert found == model
    onnx.checker.check_model(found)
    assert encoded.artifact.kind == "model"
    assert encode(found, objects).id == encoded.id == encode(graph(), objects).id
    assert encode(graph(more="3"), objects).id != encoded.id
    assert repr(summarise(encoded.artifact, objects)) == repr(encoded.summary)


def test_weights_are_told_and_stored_once() -> None:
    objects = MemoryObjects()
    before = encode(graph(), objects)
    told = {tensor["name"]: tensor for tensor in before.summary["tensors"]}
    assert list(told) == ["layer0", "layer1", "layer2", "layer3", "half"]
    assert (told["layer2"]["dtype"], told["layer2"]["shape"]) == ("<f4", [300, 300])
    assert before.summary["class"].endswith("ModelProto")
    known = set(objects.objects)
    after = encode(graph(2.0), objects)
    new = sum(len(objects.objects[id][1]) for id in set(objects.objects) - known)
    assert new < 300 * 300 * 4 + 3_000
    moved = compare_tensors(before.artifact, after.artifact, objects)
    assert [one["name"] for one in moved["changes"]] == ["layer1"]
    assert moved["changes"][0]["relative"] == pytest.approx(1.0)


def test_weights_without_names_of_their_own_stay_where_they_are() -> None:
    model, objects = graph(), MemoryObjects()
    for tensor in model.graph.initializer:
        tensor.name = "same"
    assert decode(encode(model, objects).artifact, objects) == model
