"""Each invariant of docs/format.md, broken in a real repository: `fsck` names what is wrong, and where.

Invariant: whatever stands in section 11 has a case here, or a reason why no check of stored bytes can
be one (`test_every_invariant_has_a_check_or_a_reason`).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.store import broken_maps, broken_stores, broken_values
from tests.store.breaking import CASES, Break, found_in
from tests.store.folder import Bench, bench

__all__ = ["bench", "broken_maps", "broken_stores", "broken_values"]

FORMAT = Path(__file__).parent.parent.parent / "docs" / "format.md"
REASONS = {
    "I15": "says in which order a collector works; what a wrong order leaves behind is I5",
    "I36": "says what readers do, not what is stored: tests/faults/test_hostile_pickles.py watches them",
}


ALL = [(number, case) for number, cases in CASES.items() for case in cases]


@pytest.mark.parametrize(("number", "case"), ALL, ids=[f"{n}-{case.__name__}" for n, case in ALL])
def test_a_broken_invariant_is_found_and_named(bench: Bench, number: str, case: Break) -> None:
    bench.write("data/first.txt", "first\n")
    bench.add("data")
    bench.commit("first")
    assert found_in(bench, full=True) == []
    broken = case(bench)
    quick, full = found_in(bench, full=False), found_in(bench, full=True)
    problems = [one for one in full if re.search(broken.detail, one.detail)]
    assert problems, full
    assert broken.full or any(re.search(broken.detail, one.detail) for one in quick), quick
    assert broken.id is None or broken.id in [one.id for one in problems]
    assert broken.path is None or broken.path in [one.path for one in problems]
    assert not broken.commit or any(one.commits for one in problems), problems


def test_every_invariant_has_a_check_or_a_reason() -> None:
    text = FORMAT.read_text()
    stated = re.findall(r"^- \*\*(I\d+)\*\*", text, re.M)
    assert len(stated) == len(set(stated)) > 30
    assert set(stated) == CASES.keys() | REASONS.keys()
    assert CASES.keys().isdisjoint(REASONS)
    told = text[text.index("### 4.8") : text.index("### 4.9")]
    table = set(re.findall(r"I\d+", told))
    assert set(stated) == table, "docs/format.md, 4.8, says of each invariant how it is checked"
