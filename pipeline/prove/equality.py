"""Are two values the same but for rounding? What `repro` means by `equal`.

Invariant: conservative. Values whose inside cannot be compared number by number (models, pickles,
files) are equal only if they are identical; a different shape, schema or type is different.
"""

from __future__ import annotations

from typing import Any

from aq.formats.artifacts import collected
from aq.formats.objects import Source, get_record
from aq.formats.records import Artifact


def verdict(
    before: Artifact, after: Artifact, source: Source, *, rtol: float, atol: float
) -> tuple[str, str]:
    """(`equal` | `different`, what differs) for two artifacts with different ids.

    Numbers are equal where |a − b| ≤ atol + rtol · |a|, as in numpy.allclose; NaN equals NaN.
    """
    if before.format != after.format:
        return "different", f"{before.format} became {after.format}"
    if before.kind == "table":
        return _tables(before, after, source, rtol, atol)
    if before.format in ("json", "metric"):
        old, new = _value(before, source), _value(after, source)
        if _close(old, new, rtol, atol):
            return "equal", "equal within the tolerance"
        return "different", f"{_short(old)} became {_short(new)}"
    if before.format == collected.FORMAT:
        return _collections(before, after, source, rtol, atol)
    if before.format == "array":
        return _arrays(before, after, source, rtol, atol)
    return "different", f"{before.size:,} bytes became {after.size:,} other bytes"


def _collections(
    before: Artifact, after: Artifact, source: Source, rtol: float, atol: float
) -> tuple[str, str]:
    """Item by item: equal ids are not looked at."""
    old, new = list(collected.elements(before, source)), list(collected.elements(after, source))
    if [key for key, _ in old] != [key for key, _ in new]:
        return "different", f"{len(old):,} items became {len(new):,}, or have other keys"
    apart = []
    for at, ((key, one), (_, other)) in enumerate(zip(old, new, strict=True)):
        if one != other:
            pair = (get_record(source, Artifact, one), get_record(source, Artifact, other))
            found, detail = verdict(*pair, source, rtol=rtol, atol=atol)
            if found == "different":
                apart.append(f"item {at if key is None else key}: {detail}")
    if not apart:
        return "equal", "equal within the tolerance"
    return "different", f"{len(apart):,} of {len(old):,} items differ, the first: {apart[0]}"


def _value(record: Artifact, source: Source) -> Any:
    from aq.formats.artifacts import values

    found = values.decode(record, source)
    return getattr(found, "value", found)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"


def _close(old: Any, new: Any, rtol: float, atol: float) -> bool:
    if isinstance(old, bool) or isinstance(new, bool):
        return old is new
    if isinstance(old, int | float) and isinstance(new, int | float):
        if old != old or new != new:
            return old != old and new != new
        return old == new or abs(old - new) <= atol + rtol * abs(old)
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_close(old[key], new[key], rtol, atol) for key in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(_close(a, b, rtol, atol) for a, b in zip(old, new, strict=True))
    return bool(old == new)


def _arrays(before: Artifact, after: Artifact, source: Source, rtol: float, atol: float) -> tuple[str, str]:
    import numpy as np

    old, new = _value(before, source), _value(after, source)
    if old.shape != new.shape or old.dtype != new.dtype:
        return "different", f"{old.dtype}{list(old.shape)} became {new.dtype}{list(new.shape)}"
    if old.dtype.kind not in "fciu":
        return "different", f"{int((old != new).sum())} of {old.size} elements differ"
    close = np.isclose(new, old, rtol=rtol, atol=atol, equal_nan=True)
    if bool(close.all()):
        return "equal", "equal within the tolerance"
    return "different", f"{int((~close).sum())} of {old.size} elements differ"


def _tables(before: Artifact, after: Artifact, source: Source, rtol: float, atol: float) -> tuple[str, str]:
    from aq.formats import tables

    old, new = tables.to_arrow(before, source), tables.to_arrow(after, source)
    if old.schema.names != new.schema.names or old.schema.types != new.schema.types:
        return "different", "the schema differs"
    if old.num_rows != new.num_rows:
        return "different", f"{old.num_rows:,} rows became {new.num_rows:,}"
    for name in old.schema.names:
        count = _cells_apart(old.column(name), new.column(name), rtol, atol)
        if count:
            return "different", f"column {name}: {count:,} of {old.num_rows:,} values differ"
    return "equal", "equal within the tolerance"


def _cells_apart(old: Any, new: Any, rtol: float, atol: float) -> int:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if old.equals(new):
        return 0
    if not (pa.types.is_floating(old.type) or pa.types.is_integer(old.type)):
        if pa.types.is_nested(old.type):
            return sum(a != b for a, b in zip(old.to_pylist(), new.to_pylist(), strict=True))
        differs = pc.fill_null(pc.not_equal(old, new), pa.scalar(True))
        both_null = pc.and_(pc.is_null(old), pc.is_null(new))
        return int(pc.sum(pc.and_(differs, pc.invert(both_null))).as_py() or 0)
    nulls = np.asarray(pc.not_equal(pc.is_null(old), pc.is_null(new)))
    before = np.asarray(old.cast(pa.float64(), safe=False).to_numpy())
    after = np.asarray(new.cast(pa.float64(), safe=False).to_numpy())
    return int((nulls | ~np.isclose(after, before, rtol=rtol, atol=atol, equal_nan=True)).sum())
