"""Dtypes that numpy lacks are read as the library that defines them reads them."""

from __future__ import annotations

import numpy as np
import pytest
from aq.formats.models import dtypes


@pytest.mark.parametrize("name", sorted(dtypes.OTHERS.keys() - {"complex32"}))
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
