"""Notebooks show records as tables: fields as rows, records of the same fields as lines."""

from __future__ import annotations

from pathlib import Path

import aq
import numpy as np
from aq.pipeline.records.html import ITEMS_MOST, cell


def test_the_tensors_of_a_model_are_lines_of_one_table(tmp_path: Path) -> None:
    with aq.init(tmp_path / "r") as repo:
        repo.commit({"model": {"<w>": np.ones((3, 4), "f4"), "b": np.zeros(5), "c": ()}})
        shown = repo.get("model")._repr_html_()
    head = "<tr><th>name</th><th>digest</th><th>dtype</th><th>norm</th><th>shape</th></tr>"
    assert head in shown
    assert "<tr><td>&lt;w&gt;</td>" in shown
    assert "<td>3, 4</td></tr>" in shown


def test_lists_of_other_kinds_stay_lists() -> None:
    assert cell([1, 2.5]) == "1, 2.5"
    assert cell([]) == ""
    assert cell(["<a>", 2]) == "<ul><li>&lt;a&gt;</li><li>2</li></ul>"
    assert cell([{"a": 1}, {"b": 1}]).startswith("<ul>")
    assert cell([{}, {}]).startswith("<ul>")
    long = cell([{"a": number} for number in range(ITEMS_MOST + 3)])
    assert long.count("<tr>") == ITEMS_MOST + 2
    assert "and 3 more" in long
