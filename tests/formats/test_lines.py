"""Lines side by side, and merges of them beside `git merge-file`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from aq.formats.lines import matching_lines, merge_lines
from hypothesis import given, strategies as st

LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"d\n"]), max_size=8)


@given(LINES, LINES)
def test_runs_are_equal_and_in_order(old: list[bytes], new: list[bytes]) -> None:
    at = to = 0
    for run in matching_lines(old, new):
        assert run.new >= at and run.old >= to and run.length > 0
        at, to = run.new + run.length, run.old + run.length
        assert new[run.new : at] == old[run.old : to]


@given(LINES, LINES, LINES)
def test_merges_are_symmetric_and_keep_what_one_side_did(
    base: list[bytes], ours: list[bytes], theirs: list[bytes]
) -> None:
    merged, clashes = merge_lines(base, ours, theirs)
    back, others = merge_lines(base, theirs, ours)
    assert len(clashes) == len(others)
    if not clashes:
        assert merged == back
    assert merge_lines(base, ours, base) == (ours, []) == merge_lines(base, base, ours)
    assert merge_lines(base, ours, ours) == (ours, [])


@pytest.mark.parametrize(
    ("base", "ours", "theirs"),
    [
        ("1 2 3 4 5", "1 2x 3 4 5", "1 2 3 4x 5"),
        ("1 2 3 4 5", "0 1 2 3 4 5", "1 2 3 4 5 6"),
        ("1 2 3 4 5", "1 4 5", "1 2 3 4 5x"),
        ("1 2 3", "1 2x 3", "1 2y 3"),
        ("1 2 3", "1 2x 3", "1 2 3y"),
        ("1 2 3", "1 2 3 4", "1 2 3 5"),
        ("1 2 3", "1 3", "1 2x 3"),
        ("1 2 3", "1 2x 3", "1 2x 3"),
        ("", "1", "2"),
    ],
)
def test_what_git_merges_is_merged_alike(base: str, ours: str, theirs: str, tmp_path: Path) -> None:
    sides = [[f"{word}\n".encode() for word in text.split()] for text in (ours, base, theirs)]
    for name, lines in zip(("ours", "base", "theirs"), sides, strict=True):
        (tmp_path / name).write_bytes(b"".join(lines))
    done = subprocess.run(
        ["git", "merge-file", "-p", "ours", "base", "theirs"], cwd=tmp_path, capture_output=True, check=False
    )
    merged, clashes = merge_lines(sides[1], sides[0], sides[2])
    assert (done.returncode == 0) == (not clashes)
    if not clashes:
        assert b"".join(merged) == done.stdout
