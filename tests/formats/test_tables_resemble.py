"""A new version of a table names the earlier chunks that its own resemble; ids never depend on it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from aq.formats.identity import Buffer, Digest, Kind
from aq.formats.objects import Like, MemoryObjects
from aq.formats.packing import deltas
from aq.formats.packing.packs import NEW_ID, NO_ID
from aq.formats.tables import encode_table
from hypothesis import example, given, settings, strategies as st

ROWS = 60_000


class Watched(MemoryObjects):
    """Counts what new chunks would take on the disk: as deltas of their bases, or in full."""

    def __init__(self) -> None:
        super().__init__()
        self.deltas: list[int] = []
        self.full: list[int] = []

    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Digest:
        before = len(self.objects)
        id = super().put(kind, data)
        if len(self.objects) > before and kind is Kind.CHUNK:
            like = None if base is None or base[:32] in (NO_ID, NEW_ID) else base[:32]
            earlier = self.objects[like][1] if like else b""
            packed = deltas.pack(bytes(data), earlier, len(data) * 3 // 10) if like else None
            (self.deltas if packed else self.full).append(len(packed[1]) if packed else len(data))
        return id


def table(rows: int = ROWS, seed: int = 1) -> pd.DataFrame:
    source = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "price": source.normal(size=rows),
            "count": source.integers(0, 50, rows),
            "name": source.choice(["alpha", "beta", "gamma", "delta"], rows),
        }
    )


BASE = table()


def stored_again(frame: pd.DataFrame, base: pd.DataFrame = BASE) -> Watched:
    """What a later version takes."""
    sink = Watched()
    earlier = encode_table(base, sink).artifact
    sink.deltas.clear()
    sink.full.clear()
    plain = encode_table(frame, MemoryObjects()).artifact
    assert encode_table(frame, sink, like=Like(earlier, sink)).artifact == plain
    return sink


@given(
    gone=st.sets(st.integers(0, ROWS - 1), max_size=30),
    changed=st.lists(st.integers(0, ROWS - 1), max_size=20),
    added=st.integers(0, 3000),
)
@example(gone={6, 13, 20, 27, 34, 41, 48}, changed=[], added=0)  # texts whose lengths repeat all along
@example(gone={9, 29, 41, 58, 71, 84, 96}, changed=[], added=0)  # all of them at the front
@settings(max_examples=15, deadline=None)
def test_scattered_edits_cost_what_they_change(gone: set[int], changed: list[int], added: int) -> None:
    frame = BASE.copy()
    frame.loc[changed, "price"] = 0.5
    frame = pd.concat([frame.drop(index=list(gone)), table(added, 2)], ignore_index=True)
    sink = stored_again(frame)
    text = 6_000  # what zstd takes where it is left to find the rows behind an edit in the lengths of texts
    assert sum(sink.deltas) < 2_000 + text + 400 * (len(gone) + len(changed)) + 120 * added
    assert sum(sink.full) < 500_000  # a segment or two: the end of the table, or a boundary that went


def test_rows_inserted_at_the_front_move_everything_and_cost_little() -> None:
    front = table(20_000, 3).assign(id=np.arange(-20_000, 0))
    frame = pd.concat([front, BASE.drop(index=range(0, ROWS, 3001))], ignore_index=True)
    sink = stored_again(frame)
    assert len(sink.deltas) > 12
    assert sum(sink.deltas) < 60_000


def test_other_columns_and_types_have_no_base() -> None:
    frame = BASE.assign(count=BASE["count"].astype("float64"), more=1).drop(columns="price")
    sink = stored_again(frame.drop(index=[5]))
    assert len(sink.deltas) < 8


@pytest.mark.parametrize(
    "other", [BASE.iloc[:0], BASE.iloc[:100], BASE[["id"]], BASE.rename(columns=str.upper)]
)
def test_an_earlier_version_of_any_shape_will_do(other: pd.DataFrame) -> None:
    stored_again(BASE, other)
    stored_again(other, BASE)
