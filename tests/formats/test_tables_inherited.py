"""Rows known to be equal without being read: never wrong, and in a store of deltas nearly all that are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from aq.formats.comparing.compare import compare_tables
from aq.formats.comparing.inherited import unknown
from aq.formats.comparing.sides import Column, Side
from aq.formats.identity import Buffer, Kind
from aq.formats.objects import Like, MemoryObjects, Origin
from aq.formats.records import Artifact
from aq.formats.tables import encode_table
from aq.store.store import Store
from hypothesis import HealthCheck, given, settings, strategies as st

ROWS = 30_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store of deltas, shared by all examples."""
    with Store.create(tmp_path_factory.mktemp("inherited") / "r", time=1, user="ada") as store:
        yield store


def table() -> pd.DataFrame:
    source = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "id": np.arange(ROWS),
            "few": source.integers(0, 3, ROWS),
            "x": source.normal(size=ROWS),
            "holes": pd.array(
                np.where(source.random(ROWS) < 0.2, None, source.integers(0, 9, ROWS)), "Int64"
            ),
            "is": source.random(ROWS) < 0.5,
            "name": source.choice(["a", "bb", ""], ROWS),
        }
    )


BASE = table()
edits = st.lists(
    st.tuples(
        st.sampled_from(["drop", "set", "insert", "swap"]), st.integers(0, ROWS - 500), st.integers(1, 300)
    ),
    max_size=6,
)


def edited(frame: pd.DataFrame, changes: list[tuple[str, int, int]]) -> pd.DataFrame:
    frame = frame.copy()
    for what, at, many in changes:
        at = min(at, len(frame) - many)
        if what == "drop":
            frame = frame.drop(index=range(at, at + many)).reset_index(drop=True)
        elif what == "set":
            frame.loc[at : at + many, ["x", "few"]] += 1
        elif what == "insert":
            frame = pd.concat([frame[:at], frame[at : at + many], frame[at:]], ignore_index=True)
        else:
            frame.loc[at, "few"], frame.loc[at + many - 1, "few"] = 7, 8
    return frame


def stored(store: Store, frame: pd.DataFrame, like: Artifact | None, key: list[str]) -> Artifact:
    found = encode_table(frame, store, key=key, like=None if like is None else Like(like, store)).artifact
    store.flush()
    return found


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits, edits, st.booleans())
def test_the_same_answer_as_from_objects_that_know_nothing(
    store: Store, first: list[Any], second: list[Any], has_key: bool
) -> None:
    memory, key = MemoryObjects(), ["id"] if has_key else []
    frames = [BASE, edited(BASE, first)]
    frames.append(edited(frames[1], second))
    plain = [encode_table(frame, memory, key=key).artifact for frame in frames]
    made: list[Artifact] = []
    for frame in frames:
        made.append(stored(store, frame, made[-1] if made else None, key))
    assert made == plain
    for a, b in ((0, 1), (1, 2), (2, 0)):
        assert compare_tables(made[a], made[b], store) == compare_tables(plain[a], plain[b], memory)


class Counted:
    """A store that counts the chunks that it shows."""

    def __init__(self, store: Store) -> None:
        self.store, self.read = store, 0

    def get(self, kind: Kind, id: bytes) -> bytes:
        self.read += kind is Kind.CHUNK
        return self.store.get(kind, id)

    def visit(self, kind: Kind, ids: Sequence[bytes], see: Callable[[int, Buffer], None]) -> None:
        self.read += len(ids)
        self.store.visit(kind, ids, see)

    def origins(self, ids: Sequence[bytes]) -> list[Origin | None]:
        return self.store.origins(ids)

    def size_of(self, id: bytes) -> int | None:
        return self.store.size_of(id)


def test_columns_that_did_not_change_are_not_read(store: Store) -> None:
    rows, source = 100_000, np.random.default_rng(5)
    wide = pd.DataFrame({"id": np.arange(rows)} | {f"x{at}": source.normal(size=rows) for at in range(9)})
    first = stored(store, wide, None, ["id"])
    second = stored(store, wide.drop(index=range(5, rows, 3_001)).reset_index(drop=True), first, ["id"])
    counted = Counted(store)
    found = compare_tables(first, second, counted)
    assert found["rows"]["removed"] == 34
    assert counted.read < (first.size + second.size) / 80_000 / 2


def test_rows_in_common_that_lie_elsewhere(store: Store) -> None:
    """A column moved down by a row is made of the old one, and in each row of its own it is another."""
    first = stored(store, BASE[["id", "x"]], None, ["id"])
    moved = BASE[["id"]].assign(x=np.roll(BASE["x"], 1))
    second = stored(store, moved, first, ["id"])
    sides = Side(first, store, is_after=False), Side(second, store, is_after=True)
    left, right = (side.content.segments for side in sides)
    blocks = np.array([[0, 0, ROWS]])
    found = unknown(sides[0], left, sides[1], right, Column("x", 1, 1), blocks)
    assert found is None or found.tolist() == blocks.tolist()
