"""Summaries name class, hyperparameters and tensors, from the stored bytes alone, however hostile."""

from __future__ import annotations

import os
import pickle
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pytest
from aq.formats.artifacts.values import decode, encode, summarise
from aq.formats.errors import Damaged
from aq.formats.identity import Kind, object_id
from aq.formats.objects import MemoryObjects
from aq.formats.python.pickle_reading import read_beginning, read_pickle
from aq.formats.python.pickler import Pickler
from aq.formats.python.summaries import READ_BELOW, TENSORS_MOST, Facts, Tensor, summarise_opcodes
from hypothesis import given, strategies as st


class Model:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def predict(self, rows: Any) -> Any:
        return rows


NAME = f"{Model.__module__}.Model"


def summary(value: Any) -> dict[str, Any]:
    objects = MemoryObjects()
    encoded = encode(value, objects)
    assert repr(summarise(encoded.artifact, objects)) == repr(encoded.summary)
    return encoded.summary


def test_a_model_is_summarised_as_its_author_thinks_of_it() -> None:
    weights = np.arange(6.0).reshape(2, 3)
    inner = Model(rate=np.float64(0.1), coef_=weights)
    found = summary(
        Model(
            depth=3, kind="tree", _private=1, fitted_=2, steps=[("inner", inner)], loss=np.mean, sizes=(1, 2)
        )
    )
    assert found["class"] == NAME
    assert found["hyperparameters"] == {
        "depth": 3,
        "kind": "tree",
        "steps": "[('inner', Model())]",
        "inner__rate": 0.1,
        "loss": "numpy.mean",
        "sizes": "(1, 2)",
    }
    (tensor,) = found["tensors"]
    assert tensor == {
        "name": "steps[0][1].coef_",
        "dtype": "<f8",
        "shape": [2, 3],
        "digest": object_id(Kind.CHUNK, weights.tobytes()).hex(),
        "norm": pytest.approx(np.linalg.norm(weights)),
    }


@pytest.mark.parametrize("size", [10, 1_000, 100_000, 1_000_000])
def test_tensors_are_told_wherever_their_bytes_lie(size: int) -> None:
    """In the opcodes, in the artifact, in one chunk, in many."""
    array = np.linspace(-1, 1, size, dtype="f4")
    before, after = summary({"w": array, "id": (1,)}), summary({"w": array * 2, "id": (1,)})
    assert before["class"] == "dict"
    (one,), (other,) = before["tensors"], after["tensors"]
    assert (one["name"], one["shape"], one["dtype"]) == ("w", [size], "<f4")
    assert other["norm"] == pytest.approx(2 * one["norm"])
    assert one["digest"] != other["digest"]
    assert summary([array, ()])["tensors"][0]["digest"] == one["digest"]


def test_what_is_no_number_has_no_norm() -> None:
    odd = [
        np.array(["a"]),
        np.array([np.nan]),
        np.zeros(2, "i4,f4"),
        np.zeros((0, 3)),
        np.array(["2026"], "M8[D]"),
    ]
    assert [tensor["norm"] for tensor in summary((odd,))["tensors"]] == [None, None, None, 0.0, None]


def test_long_values_keep_their_summary_short() -> None:
    many = summary([np.array([at]) for at in range(TENSORS_MOST + 5)])
    assert (len(many["tensors"]), many["tensor_count"]) == (TENSORS_MOST, TENSORS_MOST + 5)
    endless = summary(Model(names=tuple(str(at) for at in range(READ_BELOW // 8))))
    assert endless == {"class": NAME, "hyperparameters": {}, "tensors": []}
    assert len(str(summary(Model(text="x" * 10_000, items=["y" * 1_000] * 1_000)))) < 1_500


def test_small_objects_are_shown() -> None:
    assert summary({1, 2})["shown"] == "{1, 2}"
    assert summary((1, "a", None))["shown"] == "(1, 'a', None)"
    assert summary(1 << 70_000)["shown"] == "int of 70001 bits"


def test_a_checkpoint_tells_what_stands_beside_its_tensors() -> None:
    weights = np.arange(4.0)
    value = {
        "epoch": 3,
        "state": {"layer": weights, 0: weights},
        "optimizer": {"lr": 0.1, "groups": [{"decay": 0.01, "of": weights}]},
        "scaler": Model(depth=2),
        7: "no name",
    }
    found = summary(value)
    assert found["hyperparameters"] == {
        "epoch": 3,
        "optimizer.lr": 0.1,
        "optimizer.groups": "[{'decay': 0.01, 'of': ndarray(<f8, 4)}]",
        "scaler": "Model()",
        "scaler__depth": 2,
    }
    assert "shown" not in found


def test_a_table_inside_is_an_artifact_of_its_own() -> None:
    objects = MemoryObjects()
    frame = pd.DataFrame({"a": np.arange(50_000), "s": "x"})
    alone = encode(frame, objects)
    encoded = encode({"train": frame, "again": frame, 1: np.zeros(3)}, objects)
    assert encoded.artifact.type == {"artifacts": [bytes(alone.id)]}
    assert encoded.artifact.size < 1_000
    found = decode(encoded.artifact, objects)
    pd.testing.assert_frame_equal(found["train"], frame)
    assert found["train"] is found["again"]
    assert repr(summarise(encoded.artifact, objects)) == repr(encoded.summary)


def test_a_table_that_nothing_maps_is_pickled() -> None:
    objects = MemoryObjects()
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    encoded = encode([frame, ()], objects)
    assert encoded.artifact.type is None
    pd.testing.assert_frame_equal(decode(encoded.artifact, objects)[0], frame)


OPCODES = [getattr(pickle, name) for name in dir(pickle) if isinstance(getattr(pickle, name), bytes)]


def written(value: Any) -> bytes:
    pickler = Pickler(lambda data, dtype: None)
    pickler.save(value)
    return pickler.opcodes


SAMPLE = written(Model(a=[1, {2: (3, b"x")}], b={4}, c=np.zeros(500), d=np.float64(1), e=frozenset({"f"})))


@given(st.lists(st.sampled_from(OPCODES) | st.binary(max_size=3)).map(b"".join))
def test_hostile_opcodes_are_damage_and_execute_nothing(data: bytes) -> None:
    for read in (read_pickle, read_beginning):
        with suppress(Damaged):
            read(b"\x80\x05" + data)


@given(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255))
def test_a_changed_byte_raises_nothing_but_damage(at: int, byte: int) -> None:
    changed = SAMPLE[:at] + bytes((byte,)) + SAMPLE[at + 1 :]
    objects = MemoryObjects()
    artifact = encode(Model(a=1), objects).artifact
    hostile = type(artifact)(
        kind="model", format="pickle", size=1, data=b"\x91\xc5" + len(changed).to_bytes(2, "big") + changed
    )
    with suppress(Damaged):
        summarise(hostile, objects)


def doubled(times: int, wrap: bytes) -> bytes:
    """Opcodes that put the same object into a new one twice, again and again: 2^times if it were copied."""
    steps = b"".join(b"h" + bytes((at,)) + b"h" + bytes((at,)) + wrap + b"\x94" for at in range(times))
    return b"\x80\x05\x8c\x01x\x94" + steps


def test_what_would_grow_without_end_is_read_at_once() -> None:
    for wrap in (b"\x86", b"\x86\x8c\x01m\x8c\x01f\x93h\x01R", b"\x93"):
        hostile = doubled(100, wrap) + b"."
        with suppress(Damaged):
            assert len(str(summary_of(hostile))) < 10_000
    deep = b"\x80\x05" + b"]\x94" * 200_000 + b"a" * 199_999 + b"."
    assert summary_of(deep)["class"] == "list"


def summary_of(opcodes: bytes) -> dict[str, Any]:
    def facts(tensor: Tensor) -> Facts:
        raise AssertionError("there is no tensor")

    return summarise_opcodes(opcodes, facts)


def test_an_unknown_opcode_is_damage() -> None:
    with pytest.raises(Damaged):
        read_pickle(pickle.dumps(os.getcwd, protocol=0))
    with pytest.raises(Damaged):
        read_pickle(b"\x80\x05N")
