"""Texts read and hashed many at once: what one by one gives."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from aq.formats.columns.layout_read import check_texts
from aq.formats.columns.rowhash import NULL, words
from aq.formats.errors import Damaged
from hypothesis import given, strategies as st
from xxhash import xxh3_64_intdigest


@given(st.lists(st.binary(max_size=3) | st.text(max_size=3).map(str.encode), max_size=6))
def test_texts_are_checked_as_if_each_was_by_itself(texts: list[bytes]) -> None:
    starts = np.cumsum([0, *map(len, texts)])[:-1]
    data = pa.py_buffer(b"".join(texts))
    try:
        for text in texts:
            text.decode()
    except UnicodeDecodeError:
        with pytest.raises(Damaged, match="UTF-8"):
            check_texts(starts, data)
    else:
        check_texts(starts, data)


@pytest.mark.parametrize("distinct", [1, 100, 700, 1_000, 5_000])
def test_texts_have_one_word_however_often_they_come(distinct: int) -> None:
    texts = [None if number % 7 == 3 else f"text {number % distinct}" for number in range(5_000)]
    wanted = [NULL if text is None else xxh3_64_intdigest(text.encode()) for text in texts]
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        assert words(pa.array(texts, kind)).tolist() == wanted
