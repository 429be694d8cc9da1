"""polars frames as columns and back.

Invariant: what comes back equals what went in, dtypes included: those that Arrow has no name for
(categories, enums, 128-bit integers) stand in the artifact's type, all others follow from Arrow's.
"""

from __future__ import annotations

from typing import Any, Final, cast

import pyarrow as pa
from aq.formats.columns.described import PolarsPart
from aq.formats.columns.types import fields_of
from aq.formats.dataframes.columns import Columns
from aq.formats.errors import Unstorable, UsageError
from pyarrow import types as is_

_WIDE: Final = pa.decimal256(39, 0)
_WIDE_NAMES: Final = ("Int128", "UInt128")


def from_polars(frame: Any) -> Columns:
    """The columns of a polars DataFrame. Raises Unstorable on a LazyFrame or a column of Python objects."""
    import polars as pl

    if not isinstance(frame, pl.DataFrame):
        raise Unstorable(f"a polars {type(frame).__name__} is no table; collect it into a DataFrame first")
    values, dtypes = [], []
    for at, (name, series) in enumerate(zip(frame.columns, frame.get_columns(), strict=True)):
        tag = _tag(series.dtype, f"column {name!r}")
        wide = tag is not None and tag[0] in _WIDE_NAMES
        values.append(_chunked(_decimals(series) if wide else series.to_arrow()))
        if tag is not None:
            dtypes.append([at, tag])
    container = {"dtypes": dtypes} if dtypes else {}
    return Columns(frame.columns, values, frame.height, {"polars": container})


def _decimals(series: Any) -> pa.Array:
    """128-bit integers, which Arrow lacks, as decimals of 39 digits."""
    texts = pa.array([None if value is None else str(value) for value in series], pa.string())
    return texts.cast(_WIDE)


def _chunked(array: Any) -> pa.ChunkedArray:
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])


def _tag(dtype: Any, where: str) -> list[Any] | None:
    """What Arrow does not tell about a dtype, or None. Raises Unstorable naming `where`."""
    import polars as pl

    if isinstance(dtype, pl.Object):
        raise Unstorable(f"{where}: nothing maps the dtype Object")
    if isinstance(dtype, pl.Enum):
        return ["Enum", dtype.categories.to_list()]
    name = str(dtype.base_type())
    if name == "Categorical":
        return [name, *_own_categories(dtype)]
    if name in _WIDE_NAMES:
        return [name]
    if isinstance(dtype, (pl.List, pl.Array)):
        inner = [_tag(dtype.inner, where)]
    elif isinstance(dtype, pl.Struct):
        inner = [_tag(field.dtype, where) for field in dtype.fields]
    else:
        return None
    if any(tag is not None and tag[0] in _WIDE_NAMES for tag in inner):
        raise Unstorable(f"{where}: nothing maps 128-bit integers inside {name}")
    return ["inner", inner] if any(inner) else None


def _own_categories(dtype: Any) -> list[str]:
    """Name, namespace and physical type of the categories, none for those that all columns share."""
    found = getattr(dtype, "categories", None)  # polars before 1.32 has only the shared ones
    if found is None or found.is_global():
        return []
    return [found.name(), found.namespace(), str(found.physical())]


def to_polars(table: pa.Table, part: PolarsPart | None) -> Any:
    """The frame; `part` is what `from_polars` put into the type, or None for other tables.

    Raises UsageError where polars is not installed.
    """
    try:
        import polars as pl
    except ImportError:
        raise UsageError("polars is not installed", hint="pip install polars") from None
    tags = {} if part is None else dict(part.dtypes)
    wide = {at: table.column(at) for at, tag in tags.items() if tag[0] in _WIDE_NAMES}
    for at in wide:  # polars reads no decimal of 256 bits
        table = table.set_column(at, table.column_names[at], pa.nulls(len(table)))
    frame = _from_arrow(table)
    for at, tag in tags.items():
        if at in wide:
            values = [None if value is None else int(value) for value in wide[at].to_pylist()]
            series = pl.Series(table.column_names[at], values, getattr(pl, tag[0]))
        else:
            series = frame.to_series(at).cast(_tagged(frame.dtypes[at], tag))
        frame = frame.replace_column(at, series)
    return frame


def _from_arrow(table: pa.Table) -> Any:
    """The frame of an Arrow table. Raises Unstorable where polars has no such type."""
    import polars as pl

    for field in table.schema:
        if not _is_known(field.type):  # before polars panics, with a trace of its own on the terminal
            raise Unstorable(f"column {field.name!r}: polars has no {field.type}; read it as Arrow")
    try:
        return cast(pl.DataFrame, pl.from_arrow(table))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise Unstorable(f"polars cannot hold this table ({reason}); read it as Arrow") from None


def _is_known(kind: pa.DataType) -> bool:
    """Whether polars has a type for it, and for all inside it."""
    if isinstance(kind, pa.BaseExtensionType):
        return _is_known(kind.storage_type)
    if is_.is_union(kind) or is_.is_interval(kind) or is_.is_decimal256(kind):
        return False
    if (is_.is_fixed_size_binary(kind) and not kind.byte_width) or (
        is_.is_fixed_size_list(kind) and not kind.list_size
    ):
        return False  # polars makes such lists, and takes none from Arrow
    if is_.is_timestamp(kind) and kind.tz is not None:
        return _is_known_zone(kind.tz)
    if is_.is_float16(kind):
        return _has("Float16")
    return not is_.is_nested(kind) or all(_is_known(field.type) for field in fields_of(kind))


def _has(name: str) -> bool:
    """Whether this polars has the type, which older ones have not."""
    import polars as pl

    return hasattr(pl, name)


def _is_known_zone(zone: str) -> bool:
    """Whether polars has the zone: no offsets, and of the names those that it was compiled with."""
    import polars as pl

    try:
        pl.Series([], dtype=pl.Datetime("us")).dt.replace_time_zone(zone)
    except pl.exceptions.PolarsError:
        return False
    return True


def _tagged(dtype: Any, tag: list[Any] | None) -> Any:
    """The dtype with what Arrow did not tell put back."""
    import polars as pl

    match tag:
        case None:
            return dtype
        case ["Enum", categories]:
            return pl.Enum(categories)
        case ["Categorical"]:
            return pl.Categorical()
        case ["Categorical", name, namespace, physical] if hasattr(pl, "Categories"):
            return pl.Categorical(pl.Categories(name, namespace, getattr(pl, physical)))
        case ["inner", inner] if isinstance(dtype, pl.Array):
            return pl.Array(_tagged(dtype.inner, inner[0]), dtype.size)
        case ["inner", inner] if isinstance(dtype, pl.List):
            return pl.List(_tagged(dtype.inner, inner[0]))
        case ["inner", inner]:
            fields = zip(dtype.fields, inner, strict=True)
            return pl.Struct([pl.Field(field.name, _tagged(field.dtype, part)) for field, part in fields])
    return dtype
