"""Two versions lined up: every row once, pairs that are equal but for the cells said to differ."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import pytest
from aq.formats.comparing.lineup import Lineup, line_up
from aq.formats.comparing.spans import coalesced, overlap, uncovered, without
from aq.formats.objects import MemoryObjects
from aq.formats.tables import encode_table
from hypothesis import given, strategies as st

Parts = list[tuple[int, int, int]]
BLOCKS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40), st.integers(1, 6)), max_size=8)


def blocks(parts: Parts) -> np.ndarray:
    """Disjoint blocks in order: a gap, then a second number, then a length."""
    found, at = [], 0
    for gap, other, length in parts:
        found.append((at + gap, other, length))
        at += gap + length
    return np.array(found, np.int64).reshape(-1, 3)


def cells(found: np.ndarray) -> dict[int, int]:
    return {int(a) + i: int(b) + i for a, b, n in found for i in range(int(n))}


@given(BLOCKS, BLOCKS)
def test_blocks_meet_where_their_rows_do(
    left: list[tuple[int, int, int]], right: list[tuple[int, int, int]]
) -> None:
    one, other = blocks(left), blocks(right)
    mine, theirs = cells(one), cells(other)
    met = overlap(one, other)
    assert cells(met[:, [0, 1, 3]]) == {at: mine[at] for at in mine if at in theirs}
    assert cells(met[:, [0, 2, 3]]) == {at: theirs[at] for at in mine if at in theirs}
    assert cells(uncovered(one, other)) == {at: mine[at] for at in mine if at not in theirs}
    rows = np.array(sorted(theirs), np.int64)
    assert cells(without(one, rows)) == {at: mine[at] for at in mine if at not in theirs}
    assert cells(coalesced(one)) == mine


def checked(before: pd.DataFrame, after: pd.DataFrame, *key: str) -> Lineup:
    memory = MemoryObjects()
    a, b = (encode_table(one, memory, key=key).artifact for one in (before, after))
    found = line_up(a, b, memory)
    pairs = cells(found.blocks)
    matching = found.matching
    assert sorted([*pairs, *matching.added.tolist()]) == list(range(len(after)))
    assert sorted([*pairs.values(), *matching.removed.tolist()]) == list(range(len(before)))
    differs = {
        (int(to), change.column.name)
        for change in found.changes
        for at, to in zip(change.before, change.after, strict=True)
        if pairs[int(to)] == int(at)
    }
    assert len(differs) == sum(len(change.after) for change in found.changes)
    columns = [c.name for c in found.columns if c.name in before and c.name in after]
    old = before.iloc[[pairs[at] for at in sorted(pairs)]][columns].to_numpy(object)
    new = after.iloc[sorted(pairs)][columns].to_numpy(object)
    wanted = {
        (to, name)
        for to, mine, theirs in zip(sorted(pairs), old, new, strict=True)
        for name, x, y in zip(columns, mine, theirs, strict=True)
        if x != y
    }
    assert {one for one in differs if one[1] in columns} == wanted
    return found


ROWS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), st.sampled_from("ab")), max_size=15)


@given(ROWS, ROWS, st.booleans())
def test_every_row_is_in_one_pair_or_alone(
    before: list[tuple[int, int, str]], after: list[tuple[int, int, str]], keyed: bool
) -> None:
    frames = [
        pd.DataFrame(rows, columns=["id", "x", "s"]).astype({"id": int, "x": int, "s": "str"})
        for rows in (before, after)
    ]
    checked(*frames, *(["id"] if keyed else []))


@pytest.mark.parametrize("key", [["id"], []])
@pytest.mark.parametrize("seed", range(3))
def test_large_tables_line_up_segment_by_segment(seed: int, key: list[str]) -> None:
    rng = random.Random(seed)
    frame = pd.DataFrame({"id": range(30_000)})
    frame["x"] = (frame["id"] * 7919 % 1000) / 10
    frame["s"] = (frame["id"] % 97).astype(str)
    after = frame.drop(index=rng.sample(range(30_000), 5)).reset_index(drop=True)
    after.loc[rng.sample(range(29_000), 4), "x"] = -1.0
    after = pd.concat([after.iloc[:500], after.iloc[900:20_000], after.iloc[500:900], after.iloc[20_000:]])
    extra = pd.DataFrame({"id": [90_000, 90_001], "x": [1.0, 2.0], "s": ["a", "b"]})
    after = pd.concat([after, extra], ignore_index=True)
    found = checked(frame, after, *key)
    assert len(found.matching.removed) == 5 and len(found.matching.added) == 2
    assert len(found.blocks) < 40
    checked(frame, after.assign(y=after["x"] * 2).drop(columns="s"), *key)
