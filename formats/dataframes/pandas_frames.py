"""pandas frames and series as columns and back: index, labels, names, dtypes, attrs.

Invariant: what comes back equals what went in, to `assert_frame_equal`'s strictest, whichever
version of pandas wrote it. A default index and plain text labels take no room.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from aq.formats.columns.described import Described, IndexPart, LabelsPart, PandasPart
from aq.formats.dataframes.cells import read_cell, write_cell
from aq.formats.dataframes.columns import Columns, refuse_duplicates
from aq.formats.dataframes.pandas_columns import (
    Written,
    load_labels,
    read_column,
    store_labels,
    text_dtype,
    with_freq,
    write_column,
    write_freq,
)
from aq.formats.dataframes.pandas_index import level_freqs, multi_index, read_level, write_level
from aq.formats.errors import Unstorable
from aq.formats.objects import Sink, Source

_PLAIN: Final = (np.bool_, np.integer, np.float64)
_PLAIN_LABELS: Final = text_dtype("pyarrow", "nan")


def from_pandas(frame: pd.DataFrame | pd.Series, sink: Sink, key: Sequence[str] = ()) -> Columns:
    """The columns of a frame, then its index levels and marker columns. Raises Unstorable.

    An index of 1, 2, 3, … takes no column, unless its name is in the `key`: rows are found by columns.
    """
    found: dict[str, Any] = {}
    if not frame.flags.allows_duplicate_labels:
        found["unique"] = True
    if isinstance(frame, pd.Series):
        found["series"] = True
        attrs, frame = frame.attrs, frame.to_frame(name=frame.name)
        frame.attrs = attrs
    refuse_duplicates(list(frame.columns))
    builder = _Builder(sink)
    for at in range(frame.shape[1]):
        label = frame.columns[at]
        builder.add(_text(label), write_column(frame.iloc[:, at].array, f"column {label!r}", sink))
    found |= _write_labels(frame.columns, sink) | _write_index(frame.index, builder, key)
    if frame.attrs:
        found["attrs"] = _write_named(frame.attrs, "attrs")
    found |= builder.described()
    return Columns(builder.names, builder.values, len(frame), {"pandas": found})


def is_pandas(table: object) -> bool:
    """Whether this is a frame or a series."""
    return isinstance(table, (pd.DataFrame, pd.Series))


def convert(table: pa.Table) -> pd.DataFrame:
    """An Arrow table as a frame with pandas's own dtypes. Raises Unstorable where pandas has none."""
    try:
        return table.to_pandas()
    except (pa.ArrowException, ValueError, OverflowError) as error:
        reason = str(error).partition("\n")[0]
        raise Unstorable(f"pandas cannot hold this table ({reason}); read it as Arrow") from None


def _text(label: object) -> str:
    """A label as the name of a column, which is valid Unicode; numbers of a tuple as in one without numpy."""
    if isinstance(label, tuple):
        label = tuple(one.item() if isinstance(one, _PLAIN) else one for one in label)
    return str(label).encode(errors="backslashreplace").decode()


class _Builder:
    """Collects columns under unique names; markers follow once all others are there."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.names: list[str] = []
        self.values: list[pa.ChunkedArray] = []
        self.dtypes: list[list[Any]] = []
        self.waiting: list[tuple[int, pa.ChunkedArray]] = []
        self.taken: set[str] = set()

    def add(self, name: str, written: Written) -> int:
        at = self._append(name, written.values)
        if written.dtype is not None:
            self.dtypes.append([at, written.dtype])
        if written.markers is not None:
            self.waiting.append((at, written.markers))
        return at

    def described(self) -> dict[str, Any]:
        """The fields `dtypes` and `markers`; appends the marker columns."""
        markers = [[at, self._append(f"{self.names[at]} (missing)", codes)] for at, codes in self.waiting]
        fields = {"dtypes": self.dtypes, "markers": markers}
        return {name: value for name, value in fields.items() if value}

    def _append(self, name: str, values: pa.ChunkedArray) -> int:
        unique, number = name, 1
        while unique in self.taken:
            number += 1
            unique = f"{name} #{number}"
        self.taken.add(unique)
        self.names.append(unique)
        self.values.append(values)
        return len(self.values) - 1


def _write_labels(labels: pd.Index, sink: Sink) -> dict[str, Any]:
    """The field `labels`, absent for nameless plain texts, which are the columns' names."""
    is_plain = not isinstance(labels, pd.MultiIndex) and labels.dtype == _PLAIN_LABELS
    if is_plain and labels.name is None and not labels.hasnans:
        return {}
    if isinstance(labels, pd.RangeIndex):
        levels: list[Any] = [[labels.start, labels.stop, labels.step]]
    else:
        written = [write_level(labels, at, "column labels", sink) for at in range(labels.nlevels)]
        levels = [store_labels(level, sink) for level in written]
    return {"labels": {"levels": levels, "names": _write_names(labels)} | _shape(labels)}


def _write_index(index: pd.Index, builder: _Builder, key: Sequence[str]) -> dict[str, Any]:
    """The field `index`, absent for 0, 1, 2, … without a name."""
    if isinstance(index, pd.RangeIndex):
        if index.start == 0 and index.step == 1 and index.name is None:
            return {}
        field: dict[str, Any] = {"range": [index.start, index.step], "names": _write_names(index)}
        if index.name is not None and _text(index.name) in key:
            written = write_level(index, 0, "index", builder.sink)
            field["levels"] = [builder.add(_text(index.name), written)]
        return {"index": field}
    levels = []
    for at, label in enumerate(index.names):
        name = "index" if index.nlevels == 1 else f"level {at}"
        name = name if label is None else _text(label)
        levels.append(builder.add(name, write_level(index, at, f"index {name!r}", builder.sink)))
    return {"index": {"levels": levels, "names": _write_names(index)} | _shape(index)}


def _shape(index: pd.Index) -> dict[str, Any]:
    fields = {
        "multi": isinstance(index, pd.MultiIndex),
        "freq": write_freq(index),
        "freqs": level_freqs(index),
    }
    return {name: value for name, value in fields.items() if value}


def _write_names(index: pd.Index) -> list[bytes]:
    return [_write_named(name, "name of an axis") for name in index.names]


def _write_named(value: object, where: str) -> bytes:
    try:
        return write_cell(value)
    except Unstorable as error:
        raise Unstorable(f"{where}: {error.message}") from None


def needed(found: Described, wanted: Sequence[int] | None) -> list[int]:
    """The positions to read for these columns, or for all: they, the index, and their markers."""
    if wanted is None:
        return list(range(len(found.columns)))
    part = found.pandas or PandasPart()
    levels = [] if part.index is None else part.index.levels
    places = list(dict.fromkeys([*wanted, *levels]))
    markers = dict(part.markers)
    return places + [markers[at] for at in places if at in markers]


def to_pandas(
    found: Described,
    values: Mapping[int, pa.ChunkedArray],
    rows: range,
    source: Source,
    wanted: Sequence[int] | None = None,
) -> pd.DataFrame | pd.Series:
    """The frame or series that `from_pandas` took, or some of its columns, from values by position.

    `rows` are those that the values hold of it. Levels of the index are no columns: naming one is free.
    """
    part = found.pandas or PandasPart()
    markers = dict(part.markers)

    def read(at: int) -> Any:
        codes = values[markers[at]] if at in markers else None
        return read_column(values[at], found.dtypes.get(at), source, codes)

    def level(at: int) -> Any:
        codes = values[markers[at]] if at in markers else None
        return read_level(values[at], found.dtypes.get(at), source, codes)

    index = _read_index(part.index, rows, level)
    outside = set(found.hidden) | (set() if part.index is None else set(part.index.levels))
    places = [at for at in range(len(found.columns)) if at not in outside]
    shown = places if wanted is None else [at for at in wanted if at not in outside]
    # pandas guesses a dtype for an array of objects, but takes a series as it is.
    series = {at: pd.Series(array, index, array.dtype, copy=False) for at in shown for array in [read(at)]}
    frame = pd.DataFrame(series, index=index, copy=False)
    labels = _read_labels(part.labels, [found.names[at] for at in places], source)
    frame.columns = labels if wanted is None else labels.take([places.index(at) for at in shown])
    result = frame
    if part.series and shown:
        result = frame.iloc[:, 0]
        result.name = labels.tolist()[0]  # a label of an index is numpy's number, a name is Python's
    if part.attrs is not None:
        result.attrs = read_cell(part.attrs)
    return result.set_flags(allows_duplicate_labels=False) if part.unique else result


def _read_index(part: IndexPart | None, rows: range, read: Callable[[int], Any]) -> pd.Index:
    if part is None:
        return pd.RangeIndex(rows.start, rows.stop)
    names = list(map(read_cell, part.names))
    if part.range is not None:
        first, step = part.range
        return pd.RangeIndex(first + rows.start * step, first + rows.stop * step, step, name=names[0])
    return _with_names([read(at) for at in part.levels], names, part)


def _read_labels(part: LabelsPart | None, names: list[str], source: Source) -> pd.Index:
    if part is None:
        return pd.Index(names, dtype=_PLAIN_LABELS)
    levels = [
        pd.RangeIndex(*level) if isinstance(level, list) else _read_labels_level(level, source)
        for level in part.levels
    ]
    return _with_names(levels, list(map(read_cell, part.names)), part)


def _read_labels_level(level: dict[str, Any], source: Source) -> Any:
    values, dtype, markers = load_labels(level, source)
    return read_level(values, dtype, source, markers)


def _with_names(levels: list[Any], names: list[Any], part: IndexPart | LabelsPart) -> pd.Index:
    if part.multi:
        return multi_index(levels, names, part.freqs)
    return with_freq(levels[0].rename(names[0]), part.freq)
