"""One pandas array, index level or set of categories as an Arrow column and a dtype descriptor.

Invariant: `read_column(write_column(x))` equals x in dtype, values and missing markers, and can be
written. The descriptor is None where the Arrow type alone implies it (docs/format.md, section 8.6).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from aq.formats.columns.encodings import encoded, plain
from aq.formats.columns.layout import write_array
from aq.formats.columns.layout_read import read_array
from aq.formats.columns.types import arrow_type, describe
from aq.formats.columns.zones import read_zone, zone_text
from aq.formats.dataframes.arrow_dtypes import describe_exactly, exact_type
from aq.formats.dataframes.cells import read_cell, write_cell
from aq.formats.dataframes.pandas_objects import read_objects, write_objects
from aq.formats.errors import Damaged, Unstorable
from aq.formats.objects import Sink, Source
from aq.formats.tables import references
from pandas.tseries.frequencies import to_offset
from pyarrow import types as is_

Dtype = list[Any] | None
INLINE_MOST: Final = 16 * 1024
NAN_IS_ARROW: Final = pd.__version__.startswith("2.2.")
"""Whether this pandas has texts with NaN under another name, and only in Arrow's memory."""


Freq = str | bytes
"""A frequency as pandas's text for it, or as a cell where that text means another one."""


class Written(NamedTuple):
    """A pandas array as Arrow values, what makes it pandas again, and an object column's markers."""

    values: pa.ChunkedArray
    dtype: Dtype
    markers: pa.ChunkedArray | None = None


def write_column(array: Any, where: str, sink: Sink) -> Written:
    """Map a numpy array or pandas extension array. Raises Unstorable naming `where`."""
    if type(array) is pd.arrays.NumpyExtensionArray:  # an array of Python strings is a subclass
        array = np.asarray(array)
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
    if array.dtype.kind not in "biufcmM" or array.dtype.itemsize > (16 if array.dtype.kind == "c" else 8):
        raise Unstorable(f"{where}: nothing maps the dtype {array.dtype}")
    if not array.dtype.isnative:
        inner = _write_numpy(array.astype(array.dtype.newbyteorder("=")), where)
        return inner._replace(dtype=["swapped", inner.dtype])
    if array.dtype.kind == "c":
        part = np.ascontiguousarray(array).view(f"f{array.dtype.itemsize // 2}")
        return Written(_chunked(pa.FixedSizeListArray.from_arrays(pa.array(part), 2)), ["complex"])
    return Written(_chunked(pa.array(array, from_pandas=False)), None)


def _write_extension(array: Any, dtype: Any, where: str) -> tuple[Any, Dtype]:
    if isinstance(dtype, pd.DatetimeTZDtype):
        return _write_zoned(array, where)
    if isinstance(dtype, pd.StringDtype):
        tag = ["string", dtype.storage.removesuffix("_numpy"), "NA" if dtype.na_value is pd.NA else "nan"]
        try:
            return pa.array(array), None if tag == ["string", "pyarrow", "nan"] else tag
        except UnicodeEncodeError:  # lone surrogates, which only Python's storage holds
            found = [
                None if text is dtype.na_value else text.encode(errors="surrogatepass") for text in array
            ]
            return pa.array(found, pa.large_binary()), [*tag, "surrogates"]
    if isinstance(dtype, pd.ArrowDtype):
        return pa.array(array), ["arrow", describe_exactly(dtype.pyarrow_dtype)]
    if isinstance(dtype, pd.PeriodDtype):
        ordinals = pa.array(pd.PeriodIndex(array).asi8, mask=array.isna())
        return ordinals, ["period", str(dtype).removeprefix("period[").removesuffix("]")]
    if isinstance(array, (pd.arrays.IntegerArray, pd.arrays.FloatingArray, pd.arrays.BooleanArray)):
        data = array.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.numpy_dtype.type(0))
        return pa.array(data, mask=array.isna(), from_pandas=False), ["masked"]
    raise Unstorable(f"{where}: nothing maps the dtype {dtype}")


def _write_zoned(array: Any, where: str) -> tuple[pa.Array, Dtype]:
    """Instants; the zone stands in Arrow's type, or in the dtype where Arrow has no text for it."""
    try:
        text = zone_text(array.dtype.tz)
    except Unstorable as error:
        raise Unstorable(f"{where}: {error.message}") from None
    kind = pa.timestamp(array.dtype.unit, _arrow_zone(text) or "UTC")
    instants = pa.array(array.asi8, mask=array.isna()).cast(kind)
    return instants, None if _arrow_zone(text) else ["zone", text]


def _arrow_zone(text: str) -> str | None:
    """Arrow's text for a zone: a key, or an offset in whole minutes. None where it has none."""
    if not text.startswith("@"):
        return text
    seconds, _, name = text[1:].partition(" ")
    minutes, rest = divmod(abs(float(seconds)), 60)
    if name or rest:
        return None
    hours, minutes = divmod(int(minutes), 60)
    return f"{'-' if float(seconds) < 0 else '+'}{hours:02}:{minutes:02}" if float(seconds) else "UTC"


def _write_categories(array: Any, where: str, sink: Sink) -> Written:
    categories = write_column(array.categories.array, f"{where}, categories", sink)
    codes = pa.array(array.codes, mask=array.codes < 0, from_pandas=False)
    values = pa.DictionaryArray.from_arrays(codes, categories.values.combine_chunks())
    found = _store(categories, sink) | _write_extras(array.categories)
    return Written(_chunked(values), ["category", bool(array.ordered), found])


def _write_extras(categories: pd.Index) -> dict[str, Any]:
    """The name and the frequency of categories, which few have."""
    name = None if categories.name is None else write_cell(categories.name)
    fields = {"name": name, "freq": write_freq(categories)}
    return {field: value for field, value in fields.items() if value is not None}


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
            return text_dtype(storage, missing).__from_arrow__(values)
        case ["arrow", exact]:
            wanted = exact_type(exact)
            return pd.ArrowDtype(wanted).__from_arrow__(_to_exact(values, wanted))
        case ["category", ordered, categories]:
            return _read_categories(values, categories, source, ordered=ordered)
        case _:
            return _read_rare(values, dtype, source)


def text_dtype(storage: str, missing: str) -> pd.StringDtype:
    """pandas's dtype for texts, whose missing ones are `NA` or `nan`; before 2.3 these lie in Arrow only."""
    if missing == "NA":
        return pd.StringDtype(storage)
    if NAN_IS_ARROW:
        return pd.StringDtype("pyarrow_numpy")
    return pd.StringDtype(storage, float("nan"))


def _read_rare(values: pa.ChunkedArray, dtype: list[Any], source: Source) -> Any:
    match dtype:
        case ["masked"]:
            return _read_masked(values)
        case ["period", freq]:
            ordinals = _own(values.fill_null(pd.NaT._value))
            return pd.PeriodIndex.from_ordinals(ordinals, freq=freq).array
        case ["zone", text]:
            naive = pd.DatetimeIndex(_own(values.cast(pa.timestamp(values.type.unit))))
            return naive.tz_localize("UTC").tz_convert(read_zone(text)).array
        case ["string", storage, missing, "surrogates"]:
            texts = [
                None if text is None else text.decode(errors="surrogatepass") for text in values.to_pylist()
            ]
            return pd.array(texts, text_dtype(storage, missing))
        case ["interval", closed, inner]:
            whole = values.combine_chunks()
            sides = [read_column(_chunked(whole.field(at)), inner, source) for at in (0, 1)]
            return pd.arrays.IntervalArray.from_arrays(*sides, closed=closed)
        case ["sparse", fill, inner]:
            dense = read_column(values, inner, source)
            fill_value = read_cell(fill)
            return pd.arrays.SparseArray(dense, fill_value=fill_value)
        case ["swapped", inner]:
            native = read_column(values, inner, source)
            return native.astype(native.dtype.newbyteorder(">"))
        case ["complex"]:
            whole = values.combine_chunks()  # `flatten` would leave out what a categorical misses
            part = _own(whole.values.slice(whole.offset * 2, len(whole) * 2))
            return part.view(f"c{part.dtype.itemsize * 2}")
    raise Damaged(f"a table has a column of the unknown pandas dtype {dtype!r:.60}")


def _read_implied(values: pa.ChunkedArray) -> Any:
    """What pandas has for an Arrow type by itself."""
    kind = values.type
    if is_.is_string(kind) or is_.is_large_string(kind):
        return text_dtype("pyarrow", "nan").__from_arrow__(values)
    if is_.is_timestamp(kind) and kind.tz is not None:
        naive = _own(values.cast(pa.timestamp(kind.unit)))
        zoned = pd.DatetimeIndex(naive).tz_localize("UTC")
        # A key as text makes the zone that this pandas takes by default.
        return zoned.tz_convert(_offset(kind.tz) if kind.tz[:1] in "+-" else kind.tz).array
    return _own(values)


def _own(values: pa.ChunkedArray | pa.Array) -> np.ndarray[Any, Any]:
    """numpy's array, to be written: in the memory that these values alone lie in, else in memory of its own.

    What was read from a store lies in buffers that were made for it and are told to be mutable; numpy alone
    does not know that. Fresh memory for a large frame takes longer than reading it.
    """
    array: np.ndarray[Any, Any] = values.to_numpy(zero_copy_only=False)
    if array.flags.writeable:
        return array
    for chunk in values.chunks if isinstance(values, pa.ChunkedArray) else [values]:
        data = chunk.buffers()[-1]
        first = array.ctypes.data - data.address
        if data.is_mutable and 0 <= first <= data.size - array.nbytes:
            return np.frombuffer(data, array.dtype, len(array), first)
    return array.copy()


def _offset(text: str) -> Any:
    hours, minutes = map(int, text[1:].split(":"))
    return read_zone(f"@{'-' if text[0] == '-' else ''}{hours * 3600 + minutes * 60}")


def _read_masked(values: pa.ChunkedArray) -> Any:
    mask = values.is_null().to_numpy()
    if is_.is_boolean(values.type):
        return pd.arrays.BooleanArray(_own(values.fill_null(False)), mask)
    data = _own(values.fill_null(0))
    kind = pd.arrays.FloatingArray if data.dtype.kind == "f" else pd.arrays.IntegerArray
    return kind(data, mask)


def _to_exact(values: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([encoded(plain(piece), wanted) for piece in values.chunks], wanted)


def _read_categories(values: pa.ChunkedArray, found: dict[str, Any], source: Source, *, ordered: bool) -> Any:
    stored, markers = _load(found, source)
    array = read_column(stored, found["dtype"], source, markers)
    index = pd.Index(array, dtype=array.dtype, copy=False, name=read_cell(found.get("name", b"N")))
    dtype = pd.CategoricalDtype(with_freq(index, found.get("freq")), ordered)
    try:
        places = pc.index_in(values, value_set=stored)
        codes = _own(places.fill_null(-1))
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        # Arrow looks up no structs (the intervals of pd.cut): pandas does.
        codes = dtype.categories.get_indexer(read_column(values, found["dtype"], source))
    return pd.Categorical.from_codes(codes, dtype=dtype)


def write_freq(index: pd.Index) -> Freq | None:
    """The frequency of an index of times. Raises Unstorable where nothing maps it."""
    freq = None if isinstance(index, pd.PeriodIndex) else getattr(index, "freq", None)
    if freq is None:
        return None
    try:
        return str(freq.freqstr) if to_offset(freq.freqstr) == freq else write_cell(freq)
    except ValueError:
        return write_cell(freq)


def with_freq(index: Any, freq: Freq | None) -> pd.Index:
    """The index with a frequency, which its values have. Raises ValueError where they have not."""
    if freq is None:
        return index
    offset = to_offset(freq if isinstance(freq, str) else read_cell(freq))
    try:
        index.freq = offset
    except ValueError:
        if offset.n > 0:
            raise
        turned = index[::-1]  # pandas 2 counts no business hours backwards, but turns round those that it has
        turned.freq = -offset
        return turned[::-1]
    return index


def store_labels(written: Written, sink: Sink) -> dict[str, Any]:
    """Values apart from the table's rows: the names of the columns."""
    return _store(written, sink)


def load_labels(
    found: dict[str, Any], source: Source
) -> tuple[pa.ChunkedArray, Dtype, pa.ChunkedArray | None]:
    """Values, dtype and markers that `store_labels` stored."""
    values, markers = _load(found, source)
    return values, found["dtype"], markers


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
