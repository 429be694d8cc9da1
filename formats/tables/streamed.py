"""Tables that come in batches: encoded as they come, in memory that does not grow with them.

Invariant: the artifact is that of the whole table in one piece: the batches one after the other, a default
index of pandas numbered over all of them. What is decided from the first rows waits for these rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from aq.formats.dataframes.columns import Columns, described_fields
from aq.formats.errors import Unstorable
from aq.formats.objects import Like, Sink
from aq.formats.records import Artifact
from aq.formats.tables.content import Part, write_stream
from aq.formats.tables.cut import LONGEST, PROBED, choose_cut_columns, segment_ends
from aq.formats.tables.resemble import pairing
from aq.formats.tables.summary import Summary
from aq.formats.tables.table import EncodedTable, as_columns, encode_columns, key_positions


def encode_batches(
    batches: Iterable[Any], sink: Sink, *, key: Sequence[str] = (), like: Like | None = None
) -> EncodedTable:
    """Store the table that some tables are together: frames of pandas or polars, Arrow tables or batches.

    As `encode_table`. Raises Unstorable for no batch at all, and for one that is not like the first.
    """
    stream = _Batches(batches, sink)
    head = stream.take(PROBED)
    if stream.ended:
        return encode_columns(head, sink, key=key, like=like)
    kind: dict[str, Any] = {"rows": 0, "columns": described_fields(head.fields)} | head.container
    cut = key_positions(head.names, key)
    if key:
        kind["key"] = list(key)
    else:
        cut = choose_cut_columns(head.values, head.rows)
    kind["cut"] = cut
    summary = Summary(kind["columns"], [at for _, at in kind.get("pandas", {}).get("markers", [])])
    earlier = pairing(like, kind["columns"], cut)
    content = write_stream(head.names, stream.parts(cut), sink, summary.add, earlier)
    kind["rows"] = stream.rows
    artifact = Artifact(
        kind="table", format="table", size=content.size, type=kind, root=content.root, data=content.data
    )
    return EncodedTable(artifact, summary.result(stream.rows, artifact.size))


class _Batches:
    """The rows of all batches in order; those that came and are not stored yet are `waiting`."""

    def __init__(self, batches: Iterable[Any], sink: Sink) -> None:
        self._batches = iter(batches)
        self._sink = sink
        self._first: Columns | None = None
        self._described: list[list[Any]] = []
        self._waiting: list[pa.ChunkedArray] = []
        self._pending = 0
        self._number = 0
        self.rows = 0
        self.ended = False

    def take(self, rows: int) -> Columns:
        """The first batches, of more than `rows` rows unless there are no more. Raises Unstorable."""
        while self._pending <= rows and self._more():
            pass
        if self._first is None:
            raise Unstorable("it gave no table at all: let it give one without rows")
        return self._first._replace(values=self._waiting, rows=self._pending)

    def _more(self) -> bool:
        """Take the next batch; False where there is none."""
        batch = next(self._batches, None)
        if batch is None:
            self.ended = True
            return False
        try:
            columns = as_columns(_renumbered(batch), self._sink)
        except Unstorable as error:
            raise Unstorable(f"batch {self._number + 1}: {error.message}") from error.__cause__
        if self._first is None:
            self._first, self._described = columns, described_fields(columns.fields)
            self._waiting = columns.values
        else:
            columns = self._like_the_first(columns)
            pairs = zip(self._waiting, columns.values, strict=True)
            self._waiting = [pa.chunked_array([*a.chunks, *b.chunks], a.type) for a, b in pairs]
        self._number += 1
        self._pending += columns.rows
        self.rows += columns.rows
        return True

    def _like_the_first(self, columns: Columns) -> Columns:
        """The batch in the very types of the first one. Raises Unstorable where it is of others."""
        assert self._first is not None
        types = self._first.types
        if described_fields(columns.fields) == self._described:
            if columns.container == self._first.container:
                pairs = zip(columns.values, types, strict=True)
                return columns._replace(values=[v if v.type == kind else v.cast(kind) for v, kind in pairs])
            raise self._other("another index, dtype or order of categories than")
        if columns.names != self._first.names:
            raise self._other(f"other columns ({', '.join(columns.names[:20])}) than")
        for name, kind, first in zip(columns.names, columns.types, types, strict=True):
            if kind != first:
                raise self._other(f"{kind} in column {name!r} where there is {first} in")
        raise self._other("other types than")

    def _other(self, what: str) -> Unstorable:
        return Unstorable(f"batch {self._number + 1} has {what} the first")

    def parts(self, cut: Sequence[int]) -> Iterator[Part]:
        """The segments, each as soon as the rows after it cannot move its end."""
        start = 0
        while True:
            begin = 0
            for end in segment_ends(self._waiting, self._pending, cut):
                if not self.ended and begin + LONGEST >= self._pending:
                    break
                yield Part(
                    start, start + end - begin, [one.slice(begin, end - begin) for one in self._waiting]
                )
                start, begin = start + end - begin, end
            self._waiting = [one.slice(begin) for one in self._waiting]
            self._pending -= begin
            if self.ended:
                return
            self.take(LONGEST)


def _renumbered(batch: Any) -> Any:
    """A frame of pandas whose index only counts on begins at 0: that of the whole is numbered anew."""
    index: Any = getattr(batch, "index", None)
    if type(index).__name__ == "RangeIndex" and index.step == 1 and index.name is None and index.start:
        return batch.reset_index(drop=True)
    return batch
