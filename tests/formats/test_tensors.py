"""Two versions of a model by their tensors: which moved, and how far."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from aq.formats.artifacts.values import encode
from aq.formats.objects import MemoryObjects
from aq.formats.python.tensors import compare_tensors


def compared(before: object, after: object) -> dict[str, Any]:
    objects = MemoryObjects()
    return compare_tensors(encode(before, objects).artifact, encode(after, objects).artifact, objects)


def layers(size: int) -> dict[str, Any]:
    source = np.random.default_rng(1)
    return {"name": object, **{f"layer{n}": source.normal(size=(size, 8)) for n in range(4)}}


@pytest.mark.parametrize("size", [3, 4000])
def test_the_layer_that_moved_and_how_far(size: int) -> None:
    before, after = layers(size), layers(size)
    after["layer2"] = after["layer2"] * 1.5
    found = compared(before, after)
    assert {name: found[name] for name in ("added", "removed", "changed", "equal")} == {
        "added": 0, "removed": 0, "changed": 1, "equal": 3,
    }  # fmt: skip
    (change,) = found["changes"]
    assert change["name"] == "layer2"
    assert change["shape"] == [size, 8]
    assert change["relative"] == pytest.approx(0.5)


def test_the_furthest_first_and_what_cannot_be_measured_last() -> None:
    before, after = layers(50), layers(50)
    after["layer0"] = after["layer0"] * 1.1
    after["layer1"] = after["layer1"] * 3
    after["layer2"] = after["layer2"].reshape(8, 50)
    after["layer3"] = after["layer3"].astype("float32")
    changes = compared(before, after)["changes"]
    assert [one["name"] for one in changes] == [f"layer{n}" for n in (1, 0, 3, 2)]
    assert changes[-1]["relative"] is None
    assert 0 < changes[2]["relative"] < 1e-6


def test_added_and_removed() -> None:
    before, after = layers(5), layers(5)
    after["more"] = after.pop("layer0")
    found = compared(before, after)
    assert (found["added"], found["removed"], found["changed"]) == (1, 1, 0)


@pytest.mark.parametrize(
    "value", [np.array(["a", "b"]), np.zeros(0), np.array([np.nan, 1.0]), np.array([1 + 2j])]
)
def test_tensors_of_any_kind(value: Any) -> None:
    found = compared({"x": object, "t": value}, {"x": object, "t": np.append(value, value)})
    assert found["changed"] == (1 if value.size else 0)
