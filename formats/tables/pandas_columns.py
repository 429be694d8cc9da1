"""One pandas array, index level or set of categories as an Arrow column and a dtype descriptor.

Invariant: `read_column(write_column(x))` equals x in dtype, values and missing markers. The
descriptor is None where the Arrow type alone implies it (docs/format.md, section 8.6).
"""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from aq.formats.errors import Damaged, Unstorable
from aq.formats.objects import Sink, Source
from aq.formats.tables import references
from aq.formats.tables.arrow_dtypes import describe_exactly, exact_type
from aq.formats.tables.cells import read_cell, write_cell
from aq.formats.tables.layout import write_array
from aq.formats.tables.layout_read import read_array
from aq.formats.tables.pandas_objects import read_objects, write_objects
from aq.formats.tables.types import arrow_type, describe
from pyarrow import types as is_

Dtype = list[Any] | None
INLINE_MOST: Final = 16 * 1024


class Written(NamedTuple):
    """A pandas array as Arrow values, what makes it pandas again, and an object column's markers."""

    values: pa.ChunkedArray
    dtype: Dtype
    markers: pa.ChunkedArray | None = None


def write_column(array: Any, where: str, sink: Sink) -> Written:
    """Map a numpy array or pandas extension array. Raises Unstorable naming `where`."""
    if type(array) is pd.arrays.NumpyExtensionArray:  # an array of Python strings is a subclass
        array = array.to_numpy()
    dtype = array.dtype
    if isinstance(dtype, np.dtype):
        return _write_numpy(np.asarray(array), where)
    if isinstance(dtype, pd.CategoricalDtype):
        return _write_categories(array, where, sink)
    if isinstance(dtype, pd.IntervalDtype):
        return _write_intervals(array, where, sink)
    if isinstance(dtype, pd.SparseDtype):
        inner = write_column(array.to_dense(), where, sink)
        return inner._replace(dtype=["sparse", write_cell(dtype.fill_value), inner.dtype])
    values, tag = _write_extension(array, dtype, where)
    return Written(_chunked(values), tag)


def _write_numpy(array: np.ndarray[Any, Any], where: str) -> Written:
    if array.dtype == object:
        found = write_objects(array, where)
        markers = None if found.markers is None else _chunked(found.markers)
        return Written(_chunked(found.values), ["object", found.kind, found.missing], markers)
    if array.dtype.kind == "c":
        part = np.ascontiguousarray(array).view(f"f{array.dtype.itemsize // 2}")
        return Written(_chunked(pa.FixedSizeListArray.from_arrays(pa.array(part), 2)), ["complex"])
    if array.dtype.kind not in "biufmM" or array.dtype.itemsize > 8:
        raise Unstorable(f"{where}: nothing maps the dtype {array.dtype}")
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return Written(_chunked(pa.array(native, from_pandas=False)), None)


def _write_extension(array: Any, dtype: Any, where: str) -> tuple[Any, Dtype]:
    if isinstance(dtype, pd.DatetimeTZDtype):
        return pa.array(pd.Series(array)), None
    if isinstance(dtype, pd.StringDtype):
        tag = ["string", dtype.storage, "NA" if dtype.na_value is pd.NA else "nan"]
        return pa.array(array), None if tag == ["string", "pyarrow", "nan"] else tag
    if isinstance(dtype, pd.ArrowDtype):
        return pa.array(array), ["arrow", describe_exactly(dtype.pyarrow_dtype)]
    if isinstance(dtype, pd.PeriodDtype):
        ordinals = pa.array(pd.PeriodIndex(array).asi8, mask=array.isna())
        return ordinals, ["period", str(dtype).removeprefix("period[").removesuffix("]")]
    if isinstance(array, (pd.arrays.IntegerArray, pd.arrays.FloatingArray, pd.arrays.BooleanArray)):
        data = array.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.numpy_dtype.type(0))
        return pa.array(data, mask=array.isna(), from_pandas=False), ["masked"]
    raise Unstorable(f"{where}: nothing maps the dtype {dtype}")


def _write_categories(array: Any, where: str, sink: Sink) -> Written:
    categories = write_column(array.categories.array, f"{where}, categories", sink)
    codes = pa.array(array.codes, mask=array.codes < 0, from_pandas=False)
    values = pa.DictionaryArray.from_arrays(codes, categories.values.combine_chunks())
    return Written(_chunked(values), ["category", bool(array.ordered), _store(categories, sink)])


def _write_intervals(array: Any, where: str, sink: Sink) -> Written:
    sides = [write_column(side.array, where, sink) for side in (array.left, array.right)]
    values = pa.StructArray.from_arrays([side.values.combine_chunks() for side in sides], ["left", "right"])
    return Written(_chunked(values), ["interval", array.closed, sides[0].dtype])


def _chunked(values: Any) -> pa.ChunkedArray:
    return values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])


def read_column(
    values: pa.ChunkedArray, dtype: Dtype, source: Source, markers: pa.ChunkedArray | None = None
) -> Any:
    """The numpy or extension array that `write_column` mapped. Raises Damaged on an unknown descriptor."""
    match dtype:
        case None:
            return _read_implied(values)
        case ["object", kind, missing]:
            return read_objects(values, kind, missing, markers)
        case ["string", storage, missing]:
            na_value = pd.NA if missing == "NA" else float("nan")
            return pd.StringDtype(storage, na_value).__from_arrow__(values)
        case ["arrow", exact]:
            wanted = exact_type(exact)
            return pd.ArrowDtype(wanted).__from_arrow__(_to_exact(values, wanted))
        case ["category", ordered, categories]:
            return _read_categories(values, categories, source, ordered=ordered)
        case _:
            return _read_rare(values, dtype, source)


def _read_rare(values: pa.ChunkedArray, dtype: list[Any], source: Source) -> Any:
    match dtype:
        case ["masked"]:
            return _read_masked(values)
        case ["period", freq]:
            ordinals = values.fill_null(pd.NaT._value).to_numpy()
            return pd.PeriodIndex.from_ordinals(ordinals, freq=freq).array
        case ["interval", closed, inner]:
            whole = values.combine_chunks()
            sides = [read_column(_chunked(whole.field(at)), inner, source) for at in (0, 1)]
            return pd.arrays.IntervalArray.from_arrays(*sides, closed=closed)
        case ["sparse", fill, inner]:
            dense = read_column(values, inner, source)
            fill_value = read_cell(fill)
            return pd.arrays.SparseArray(dense, fill_value=fill_value)
        case ["complex"]:
            part = values.combine_chunks().flatten().to_numpy()
            return part.view(f"c{part.dtype.itemsize * 2}")
    raise Damaged(f"a table has a column of the unknown pandas dtype {dtype!r:.60}")


def _read_implied(values: pa.ChunkedArray) -> Any:
    """What pandas has for an Arrow type by itself."""
    kind = values.type
    if is_.is_string(kind) or is_.is_large_string(kind):
        return pd.StringDtype("pyarrow", float("nan")).__from_arrow__(values)
    if is_.is_timestamp(kind) and kind.tz is not None:
        naive = values.cast(pa.timestamp(kind.unit)).to_numpy()
        zoned = pd.DatetimeIndex(naive).tz_localize("UTC")
        return zoned.tz_convert(_zone(kind.tz)).array
    return values.to_numpy()


def _zone(text: str) -> Any:
    if text[:1] in "+-":
        sign = -1 if text[0] == "-" else 1
        hours, minutes = map(int, text[1:].split(":"))
        return timezone(sign * timedelta(hours=hours, minutes=minutes))
    return text


def _read_masked(values: pa.ChunkedArray) -> Any:
    mask = values.is_null().to_numpy()
    if is_.is_boolean(values.type):
        return pd.arrays.BooleanArray(values.fill_null(False).to_numpy(), mask)
    data = values.fill_null(0).to_numpy()
    kind = pd.arrays.FloatingArray if data.dtype.kind == "f" else pd.arrays.IntegerArray
    return kind(data, mask)


def _to_exact(values: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if values.type == wanted:
        return values
    if is_.is_dictionary(wanted):
        plain = values.cast(wanted.value_type)
        return plain.dictionary_encode().cast(wanted)
    return values.cast(wanted)


def _read_categories(values: pa.ChunkedArray, found: dict[str, Any], source: Source, *, ordered: bool) -> Any:
    stored, markers = _load(found, source)
    array = read_column(stored, found["dtype"], source, markers)
    dtype = pd.CategoricalDtype(pd.Index(array, dtype=array.dtype, copy=False), ordered)
    try:
        places = pc.index_in(values, value_set=stored)
        codes = places.fill_null(-1).to_numpy()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        # Arrow looks up no structs (the intervals of pd.cut): pandas does.
        codes = dtype.categories.get_indexer(read_column(values, found["dtype"], source))
    return pd.Categorical.from_codes(codes, dtype=dtype)


def write_labels(index: pd.Index, where: str, sink: Sink) -> dict[str, Any]:
    """Labels apart from the table's rows: the names of the columns."""
    return _store(write_column(index.array, where, sink), sink)


def read_labels(found: dict[str, Any], source: Source) -> pd.Index:
    """The labels that `write_labels` stored."""
    values, markers = _load(found, source)
    array = read_column(values, found["dtype"], source, markers)
    return pd.Index(array, dtype=array.dtype, copy=False)


def _store(written: Written, sink: Sink) -> dict[str, Any]:
    values = written.values.combine_chunks()
    found: dict[str, Any] = {"type": describe(values.type), "rows": len(values), "dtype": written.dtype}
    data = write_array(values)
    found |= {"data": data} if len(data) <= INLINE_MOST else {"at": references.put_at_once(sink, data)}
    if written.markers is not None:
        found["markers"] = write_array(written.markers.combine_chunks())
    return found


def _load(found: dict[str, Any], source: Source) -> tuple[pa.ChunkedArray, pa.ChunkedArray | None]:
    data = found["data"] if "data" in found else references.read(source, found["at"])
    values = _chunked(read_array(data, arrow_type(found["type"]), found["rows"]))
    markers = found.get("markers")
    return values, None if markers is None else _chunked(read_array(markers, pa.uint8(), found["rows"]))
