"""Values as short text for people: params in reasons and records.

Invariant: the text is the same in every process: no memory address, no hash order; nothing of a
user's class is called. It identifies nothing: fingerprints do.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Final

from aq.formats.classes import library_of

WIDEST: Final = 60
_DEEPEST: Final = 3
_ITEMS_MOST: Final = 6
_INT_BITS_MOST: Final = 256
_AS_REPR: Final[frozenset[type]] = frozenset({type(None), bool, float, complex, range, slice})
_REPR_TOO: Final = frozenset({("decimal", "Decimal"), ("fractions", "Fraction"), ("uuid", "UUID")})
_AS_TEXT: Final = frozenset({"datetime", "pathlib"})
_SCALARS: Final = frozenset({"Timestamp", "Timedelta", "Period", "Interval", "NaTType", "NAType"})
_BRACKETS: Final[dict[type, str]] = {
    list: "[{}]",
    tuple: "({})",
    dict: "{{{}}}",
    set: "{{{}}}",
    frozenset: "frozenset({{{}}})",
}


def show(value: object) -> str:
    """At most 60 characters: `6`, `'a'`, `[1, 2]`, `DataFrame 3×2`, `RandomForestClassifier`."""
    text = _show(value, _DEEPEST).replace("\n", " ")
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def apart(old: str, new: str, most: int) -> tuple[str, str]:
    """Two texts that differ, each in at most `most` characters around the first one that does."""
    at = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    start = max(0, at - most // 3) if max(len(old), len(new)) > most else 0
    shown = [f"…{text[start + 1 :]}" if start else text for text in (old, new)]
    left, right = (text if len(text) <= most else f"{text[: most - 1]}…" for text in shown)
    return left, right


def _show(value: Any, depth: int) -> str:
    kind = type(value)
    library = library_of(kind)
    if kind in _AS_REPR or (library, kind.__name__) in _REPR_TOO:
        return repr(value)
    if kind is int:
        return repr(value) if value.bit_length() <= _INT_BITS_MOST else f"int of {value.bit_length()} bits"
    if kind is str or kind is bytes:
        return repr(value if len(value) <= WIDEST else value[:WIDEST])
    if kind in _BRACKETS:
        return _show_many(value, depth)
    if isinstance(value, type | FunctionType | BuiltinFunctionType | ModuleType):
        return str(value.__name__)
    if library in _AS_TEXT:
        return str(value)
    if (library, kind.__name__) == ("re", "Pattern"):
        return f"re.compile({_show(value.pattern, depth)})"
    if library in ("numpy", "pandas", "pyarrow", "polars"):
        return _show_columns(value)
    return kind.__name__


def _show_many(value: Any, depth: int) -> str:
    """A container by its first items; sets in the order of the texts."""
    kind = type(value)
    if depth == 0 or len(value) > 1_000:
        return f"{kind.__name__} of {len(value)}"
    items: Iterable[Any] = value.items() if kind is dict else value
    shown = []
    for at, item in enumerate(items):
        if at == _ITEMS_MOST and kind not in (set, frozenset):
            break
        text = ": ".join(_show(part, depth - 1) for part in item) if kind is dict else _show(item, depth - 1)
        shown.append(text)
    if kind in (set, frozenset):
        shown = sorted(shown)[:_ITEMS_MOST]
    shown += ["…"] * (len(value) > _ITEMS_MOST)
    inside = ", ".join(shown) + ("," if kind is tuple and len(value) == 1 else "")
    if not value and kind in (set, frozenset):
        return f"{kind.__name__}()"
    return _BRACKETS[kind].format(inside)


def _show_columns(value: Any) -> str:
    """Class and size of an array or table; a scalar or dtype as it writes itself."""
    name, shape = type(value).__name__, getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape and all(isinstance(size, int) for size in shape):
        dtype = f" {value.dtype}" if name == "ndarray" else ""
        return f"{name}{dtype} {'×'.join(map(str, shape))}"
    if name in _SCALARS or (shape == () and hasattr(value, "dtype")):
        return repr(value)
    if name.endswith(("DType", "Dtype", "DataType")):
        return str(value)
    return f"{name} of {len(value)}" if hasattr(value, "__len__") else name
