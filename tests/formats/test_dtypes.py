"""Dtypes that numpy lacks are read as the library that defines them reads them."""

from __future__ import annotations

import numpy as np
import pytest
from aq.formats.artifacts.values import decode, encode, summarise
from aq.formats.models import dtypes
from aq.formats.objects import MemoryObjects


@pytest.mark.parametrize("name", sorted(dtypes.OTHERS.keys() - {"complex32", "float4_e2m1fn_x2"}))
def test_every_element_is_the_number_that_it_stands_for(name: str) -> None:
    library = pytest.importorskip("ml_dtypes", reason="comes with onnx")
    width = dtypes.OTHERS[name]
    raw = np.arange(256**width, dtype=f"u{width}")
    with np.errstate(invalid="ignore"):
        expected = raw.view(getattr(library, name)).astype("f8")
    found = dtypes.numbers(raw.tobytes(), name)
    assert found is not None
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(found.astype("f8"), expected)


def test_two_numbers_of_four_bits_share_a_byte_the_low_one_first() -> None:
    library = pytest.importorskip("ml_dtypes", reason="comes with onnx")
    both = np.arange(256, dtype="u1")
    expected = np.stack([both & 15, both >> 4], axis=-1).view(library.float4_e2m1fn).astype("f8")
    found = dtypes.numbers(both.tobytes(), "float4_e2m1fn_x2")
    np.testing.assert_array_equal(found, expected.reshape(-1))


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("size", [0, 8, 100_000])
def test_arrays_of_other_dtypes_are_stored_as_arrays(name: str, size: int) -> None:
    library = pytest.importorskip("ml_dtypes", reason="comes with onnx")
    array = (np.arange(size) % 13).astype(getattr(library, name)).reshape(-1, 4)
    objects = MemoryObjects()
    for value in (array, {"w": array, "more": ()}, {"w": np.asfortranarray(array), "more": ()}):
        encoded = encode(value, objects)
        (told,) = encoded.summary["tensors"]
        assert (told["dtype"], told["shape"]) == (name, list(array.shape))
        assert told["norm"] == pytest.approx(np.linalg.norm(array.astype("f8")))
        assert repr(summarise(encoded.artifact, objects)) == repr(encoded.summary)
        found = decode(encoded.artifact, objects)
        again = found["w"] if isinstance(found, dict) else found
        assert again.dtype == array.dtype
        assert again.tobytes() == array.tobytes()
        assert encode(found, objects).id == encoded.id
        assert not size or again.flags.writeable
    assert encode({"w": array}, objects).id == encode({"w": np.asfortranarray(array)}, objects).id


def test_bfloat16_is_the_upper_half_of_a_float() -> None:
    floats = np.array([1.5, -0.0, np.inf, 3e38], "<f4")
    half = floats.view("<u2")[1::2].tobytes()
    found = dtypes.numbers(half, "bfloat16")
    assert found is not None
    assert found[0] == 1.5
    assert np.signbit(found[1])
    assert dtypes.norm(half, "bfloat16") is None
    assert dtypes.norm(half[:2], "bfloat16") == 1.5


def test_names_and_texts_are_each_others_inverse() -> None:
    for name in [*dtypes.NUMPY, *dtypes.OTHERS]:
        text = dtypes.text_of(name)
        assert text is not None
        assert dtypes.name_of(text) == name
        if name in dtypes.NUMPY:
            assert np.dtype(text) == np.dtype(name)
            assert dtypes.size_of(text) == np.dtype(name).itemsize
        else:
            assert dtypes.size_of(text) == dtypes.OTHERS[name]
    assert dtypes.text_of("qint8") is None
    assert dtypes.name_of(">f4") is None
