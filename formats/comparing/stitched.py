"""A table put together from rows of an earlier one and new rows: segments of both are taken over by id.

Invariant: artifact and summary are those of the whole table encoded at once (docs/format.md, 8.5, T1).
Segments are cut anew from where rows differ until the cuts fall together again; nothing else is encoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np
import pyarrow as pa
from aq.formats.columns.described import Described, described
from aq.formats.columns.encodings import plain, plain_type, whole
from aq.formats.columns.picking import taken
from aq.formats.columns.types import arrow_field, arrow_type
from aq.formats.comparing.sides import Rows
from aq.formats.dataframes.columns import Columns, described_fields
from aq.formats.objects import Like, Sink, Source
from aq.formats.records import Artifact
from aq.formats.tables.content import Kept, Made, Segment, write_mixed
from aq.formats.tables.cut import LONGEST, PROBED, choose_cut_columns, may_be_heavy, segment_ends
from aq.formats.tables.gather import gather
from aq.formats.tables.grouped import ROWS_MOST, SEGMENTS_MOST, write_group
from aq.formats.tables.resemble import pairing
from aq.formats.tables.summary import Summary
from aq.formats.tables.table import EncodedTable, encode_columns, key_positions, reader
from aq.formats.threads import alone

_WINDOW_MOST: Final = 16 * LONGEST
"""Rows that are looked at together to find cuts: as few at first as one may need, then twice as many."""
_SCRAMBLED: Final = 1 / 4
"""The share of rows that lay after their predecessor, from which on all of them are held in memory."""
_AT_ONCE: Final = 1 << 16
"""Rows."""


def stitched(
    old: Artifact, order: Rows, made: Columns | None, source: Source, sink: Sink
) -> EncodedTable | None:
    """Store the table of these rows: of `old` by their numbers, of `made` counting on from its last.

    None where the two do not fit, or where what a container needs to know depends on the values of all rows.
    """
    known = described(old)
    container = {name: old.type[name] for name in ("pandas", "polars") if name in old.type}
    fields = [arrow_field(name, kind, arrow_type(kind)) for name, kind in known.columns]
    if not fields or not _is_settled(known) or described_fields(fields) != old.type["columns"]:
        return None
    types = [plain_type(field.type) for field in fields]
    fresh = [pa.nulls(0, kind) for kind in types]
    if made is not None:
        if described_fields(made.fields) != old.type["columns"] or made.container != container:
            return None
        try:
            fresh = [_uniform(whole(values), kind) for values, kind in zip(made.values, types, strict=True)]
        except pa.ArrowException:
            return None
    rows = _Rows(old, source, order, fresh, types)
    if len(order) > LONGEST and not _is_scrambled(order):
        return _Stitching(rows, known, source, sink).table(old, container)
    columns = [pa.chunked_array([values]) for values in rows.values(range(len(types)), 0, len(order))]
    together = Columns(known.names, columns, len(order), container, fields)
    return encode_columns(together, sink, key=known.key, like=Like(old, source))


def _is_scrambled(order: Rows) -> bool:
    """Whether rows come from so many places that each of its segments is made of all old ones."""
    return bool(np.count_nonzero(order[1:] < order[:-1]) > _SCRAMBLED * len(order))


def _is_settled(found: Described) -> bool:
    """Whether type and container say the same whatever rows there are."""
    part = found.pandas
    if part is None:
        return True
    index = part.index
    if index is not None and (index.range is not None or index.multi or index.freq or index.freqs):
        return False
    return all(_is_settled_dtype(dtype) for _, dtype in part.dtypes)


def _is_settled_dtype(dtype: Any) -> bool:
    match dtype:
        case None | ["masked"] | ["complex"] | ["string", _, _] | ["period" | "zone", _]:
            return True
        case ["arrow" | "category", *_]:
            return True
        case ["interval" | "sparse", _, inner] | ["swapped", inner]:
            return _is_settled_dtype(inner)
    return False


def _uniform(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Values without encodings, in one of the types that hold them. Raises ArrowException."""
    values = plain(values)
    return values if values.type == kind else values.cast(kind)


class _Rows:
    """The rows of the new table, read where they are asked for."""

    def __init__(
        self, old: Artifact, source: Source, order: Rows, fresh: list[pa.Array], types: list[pa.DataType]
    ) -> None:
        self.content = reader(old, source)
        self.order, self.known, self.types = order, self.content.length, types
        self._fresh = fresh
        self._kinds = [kind for _, kind in described(old).columns]
        self.starts = np.array([segment.start for segment in self.content.segments], np.int64)
        self._breaks = _breaks(order, self.known)

    def values(self, places: Sequence[int], start: int, stop: int) -> list[pa.Array]:
        """Rows `start` to `stop` of the columns at these places."""
        firsts, lengths = self._runs(start, stop)
        is_old = firsts < self.known
        segments, moves = self._around(firsts[is_old], lengths[is_old])
        count = sum(segment.stop - segment.start for segment in segments)
        fresh, many = firsts[~is_old] - self.known, lengths[~is_old]
        low, high = (int(fresh.min()), int((fresh + many).max())) if len(fresh) else (0, 0)
        begins = np.empty(len(firsts), np.int64)
        begins[is_old] = firsts[is_old] + moves
        begins[~is_old] = count + fresh - low
        found = []
        for place, values in zip(places, self.read(segments, places), strict=True):
            pieces = [*values, self._fresh[place].slice(low, high - low)]
            found.append(_picked([one for one in pieces if len(one)], begins, lengths, self.types[place]))
        return found

    def _runs(self, start: int, stop: int) -> tuple[Rows, Rows]:
        """Rows `start` to `stop` as runs that count on: the first of each, and how many."""
        low, high = np.searchsorted(self._breaks, [start, stop - 1], side="right")
        begins = np.concatenate([[start], self._breaks[low:high]])[: stop - start]
        return self.order[begins], np.diff(np.append(begins, stop))

    def _around(self, firsts: Rows, lengths: Rows) -> tuple[list[Segment], Rows]:
        """The old segments that hold these runs, and for each run how far its rows move among theirs."""
        low, high = (
            np.searchsorted(self.starts, rows, side="right") - 1 for rows in (firsts, firsts + lengths - 1)
        )
        steps = np.zeros(len(self.starts) + 1, np.int64)
        np.add.at(steps, low, 1)
        np.add.at(steps, high + 1, -1)
        used = np.flatnonzero(np.cumsum(steps[:-1]))
        segments = [self.content.segments[at] for at in used.tolist()]
        sizes = np.array([segment.stop - segment.start for segment in segments], np.int64)
        moves = np.zeros(len(self.starts), np.int64)
        moves[used] = np.cumsum(sizes) - sizes - self.starts[used]
        return segments, moves[low]

    def read(
        self, segments: Sequence[Segment], places: Sequence[int], sizes: list[int] | None = None
    ) -> list[list[pa.Array]]:
        """Columns of segments of the old table; `sizes` is given the length of each chunk."""
        kinds = [self._kinds[at] for at in places]
        told = None if sizes is None else sizes.append
        with alone():  # some segments at a time: starting a thread and waiting for it would take as long
            columns = gather(self.content, segments, places, kinds, told)
        return [
            [_uniform(piece, self.types[at]) for piece in values.chunks]
            for at, values in zip(places, columns, strict=True)
        ]

    def same(self, start: int) -> Segment | None:
        """The old segment that is one here too, if rows from `start` on and the one after are as there."""
        row = int(self.order[start])
        at = int(np.searchsorted(self.starts, row))
        if row >= self.known or at == len(self.starts) or self.starts[at] != row:
            return None
        segment = self.content.segments[at]
        stop = start + segment.stop - segment.start
        until = int(self._breaks[np.searchsorted(self._breaks, start, side="right")])
        is_cut = stop == len(self.order) or until > stop or stop - start == LONGEST
        return segment if until >= stop and is_cut else None


def _breaks(order: Rows, known: int) -> Rows:
    """Where runs of rows that count on end; the first new row does not follow the last old one."""
    found = [np.empty(0, np.int64)]
    for start in range(0, len(order), _AT_ONCE):  # in memory that stays in the processor
        part = order[start : start + _AT_ONCE + 1]
        is_break = np.diff(part) != 1
        is_break |= part[1:] == known
        found.append(np.flatnonzero(is_break) + (start + 1))
    return np.concatenate([*found, [len(order)]])


def _picked(pieces: list[pa.Array], begins: Rows, lengths: Rows, kind: pa.DataType) -> pa.Array:
    """Runs of values among those of all pieces, one after the other."""
    if not pieces:
        return pa.nulls(0, kind)
    values = pieces[0] if len(pieces) == 1 else pa.concat_arrays(pieces)
    if len(begins) == 1:
        return values.slice(int(begins[0]), int(lengths[0]))
    ends = np.cumsum(lengths)
    return taken(values, pa.array(np.repeat(begins - ends + lengths, lengths) + np.arange(ends[-1])))


class _Stitching:
    """The segments of the new table, of which some are the old one's."""

    def __init__(self, rows: _Rows, known: Described, source: Source, sink: Sink) -> None:
        self._rows, self._known, self._source, self._sink = rows, known, source, sink
        self._places = range(len(known.columns))
        self._cut = self._cut_columns()
        is_heavy = [at for at, kind in enumerate(rows.types) if may_be_heavy(kind)]
        self._looked = sorted({*self._cut, *is_heavy})
        self._keeps = rows.content.artifact.root is not None and self._cut == known.cut
        self._summary = Summary(known.columns, known.hidden)
        self._seen: tuple[int, int, dict[int, pa.Array]] = 0, 0, {}

    def table(self, old: Artifact, container: dict[str, Any]) -> EncodedTable:
        """Store it."""
        count = len(self._rows.order)
        kind: dict[str, Any] = {"rows": count, "columns": old.type["columns"]} | container
        if self._known.key:
            kind["key"] = list(self._known.key)
        kind["cut"] = self._cut
        earlier = pairing(Like(old, self._source), kind["columns"], self._cut)
        content = write_mixed(len(self._places), self._parts(), self._sink, earlier)
        artifact = Artifact(
            kind="table", format="table", size=content.size, type=kind, root=content.root, data=content.data
        )
        return EncodedTable(artifact, self._summary.result(count, artifact.size))

    def _cut_columns(self) -> list[int]:
        """The columns that decide the cuts; nothing is read where the first rows are what they were."""
        if self._known.key:
            return key_positions(self._known.names, self._known.key)
        count = len(self._rows.order)
        probed = min(PROBED, count)
        is_equal = probed == PROBED or count == self._rows.known
        if self._known.cut and is_equal and (self._rows.order[:probed] == np.arange(probed)).all():
            return self._known.cut
        values = self._rows.values(self._places, 0, probed)
        return choose_cut_columns([pa.chunked_array([column]) for column in values], probed)

    def _spans(self) -> Iterator[tuple[int, Segment | None]]:
        """The row after each segment, and the old segment that it is."""
        start = 0
        while start < len(self._rows.order):
            segment = self._same(start)
            if segment is not None:
                start += segment.stop - segment.start
                yield start, segment
                continue
            for stop in self._ends(start):
                yield stop, None
                start = stop

    def _same(self, start: int) -> Segment | None:
        return self._rows.same(start) if self._keeps else None

    def _ends(self, start: int) -> Iterator[int]:
        """Where segments end, from one that begins at `start` to the next that may be an old one."""
        size, total = 2 * LONGEST, len(self._rows.order)
        cut = [self._looked.index(at) for at in self._cut]
        while start < total:
            count = min(size, total - start)
            values = self._rows.values(self._looked, start, start + count)
            self._seen = start, start + count, dict(zip(self._looked, values, strict=True))
            begin = 0
            for end in segment_ends([pa.chunked_array([one]) for one in values], count, cut):
                if start + count < total and begin + LONGEST >= count:
                    break
                yield start + end
                begin = end
                if start + end < total and self._same(start + end) is not None:
                    return
            start, size = start + begin, min(2 * size, _WINDOW_MOST)

    def _parts(self) -> Iterator[Kept | Made]:
        start = 0
        for is_kept, group in groupby(self._spans(), key=lambda span: span[1] is not None):
            for stops, segments in _batches(start, group):
                if is_kept:
                    yield self._kept(segments)
                else:
                    yield from self._made(start, stops)
                start = stops[-1]

    def _kept(self, segments: list[Segment]) -> Kept:
        sizes: list[int] = []
        columns = self._rows.read(segments, self._places, sizes)
        lengths = np.array([segment.stop - segment.start for segment in segments])
        starts = (np.cumsum(lengths) - lengths).tolist()
        for at, pieces in enumerate(columns):
            self._summary.add(at, whole(pa.chunked_array(pieces)), starts)
        return Kept(self._rows.content, segments, sum(sizes))

    def _made(self, start: int, stops: list[int]) -> Iterator[Made]:
        columns = [pa.chunked_array([column]) for column in self._values(start, stops[-1])]
        ends = [stop - start for stop in stops]
        groups = write_group(self._known.names, columns, 0, ends, self._summary.add)
        for stop, blobs in zip(stops, groups, strict=True):
            yield Made(start, stop, blobs)
            start = stop

    def _values(self, start: int, stop: int) -> list[pa.Array]:
        """All columns of these rows; some were read a moment ago to find the cuts."""
        first, last, known = self._seen
        if not first <= start < stop <= last:
            return self._rows.values(self._places, start, stop)
        found = {at: values.slice(start - first, stop - start) for at, values in known.items()}
        rest = [at for at in self._places if at not in found]
        found |= zip(rest, self._rows.values(rest, start, stop), strict=True)
        return [found[at] for at in self._places]


def _batches(
    start: int, spans: Iterator[tuple[int, Segment | None]]
) -> Iterator[tuple[list[int], list[Segment]]]:
    """Some segments at a time: where they end, and which old ones they are."""
    stops: list[int] = []
    segments: list[Segment] = []
    for stop, segment in spans:
        if stops and (len(stops) == SEGMENTS_MOST or stop - start > ROWS_MOST):
            yield stops, segments
            start, stops, segments = stops[-1], [], []
        stops.append(stop)
        segments += [segment] if segment is not None else []
    yield stops, segments
