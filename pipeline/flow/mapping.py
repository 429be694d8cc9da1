"""`aq.map`: one call of an op for each item, and how the items are named.

Invariant: a name comes from the item itself, never from its position, so that an item put in between leaves
the others what they are; names within one map differ. Outside a flow it is a plain loop.
"""

from __future__ import annotations

import datetime
import enum
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from inspect import Parameter
from pathlib import PurePath
from typing import Any, Final, Protocol, cast

from aq.formats.classes import library_of
from aq.formats.errors import UsageError, with_article
from aq.formats.partitions import split
from aq.pipeline.flow.graph import Argument, Constant, Group, Output, Read
from aq.pipeline.flow.ops import Op, recorder
from blake3 import blake3

_POSITIONAL: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_UNFIT: Final = re.compile(r"[^\w.+=,@-]+")
_LONGEST: Final = 80
_FEW: Final = 4
_SCALARS: Final = (
    str,
    int,
    float,
    bool,
    type(None),
    Decimal,
    PurePath,
    enum.Enum,
    datetime.date,
    datetime.time,
)
_TEXTS: Final = (str, bytes, bytearray, PurePath)


class Fanning(Protocol):
    """What a flow being traced offers to `map`."""

    def map(self, op: Op[..., Any], items: Any, shared: dict[str, Any]) -> Any:
        """Add the step and return its handle."""


def map(op: Callable[..., Any], items: Any, /, **shared: Any) -> Any:
    """Call an op once for each item: in a flow a step each, which runs again only where its item is new.

    `items`: a list, tuple, range or dict; the rows of a table, as dicts; or what another step returns, known
    when that has run. An item goes to the first parameter that is not among `shared`, which all calls get.
    The result stands for a list of the results in the order of the items, for a dict with the same keys where
    `items` is one. A step is named FLOW/NAME/KEY, KEY being the dict's key or made of the item.
    Raises UsageError for what is no op, or no collection.
    """
    if not isinstance(op, Op) or op.role != "op":
        raise UsageError(_no_op(op))
    active = recorder.get()
    if active is not None:
        return cast("Fanning", active).map(op, items, shared)
    each = parameter(op, shared, "aq.map")
    found = spread(items, f"aq.map({op.name}, …)")
    if isinstance(found, dict):
        return {key: op.function(**{**op.preset, **shared, each: value}) for key, value in found.items()}
    return [op.function(**{**op.preset, **shared, each: value}) for value in found]


def _no_op(given: object) -> str:
    if isinstance(given, Op):
        return (
            f"aq.map takes an @aq.op; {given.name} is a {given.role}: map an op, and give the "
            f"{given.role} the list of its results"
        )
    return f"aq.map takes a function decorated with @aq.op, not {with_article(type(given).__name__)}"


def parameter(op: Op[..., Any], shared: Mapping[str, Any], where: str) -> str:
    """The parameter that an item goes to: the first one that is not given otherwise. Raises UsageError."""
    for name, one in inspect.signature(op.function).parameters.items():
        if name in shared or name in op.preset:
            continue
        if one.kind in (*_POSITIONAL, Parameter.KEYWORD_ONLY):
            return name
        break
    raise UsageError(f"{where}: {op.name} has no parameter left for the items of aq.map")


# --- what is gone through


def spread(items: Any, where: str) -> list[Any] | dict[Any, Any]:
    """The items of a collection, in order. Raises UsageError for what is none, or has no order."""
    if isinstance(items, Mapping):
        odd = [key for key in items if type(key) not in (str, int)]
        if odd:
            raise UsageError(f"{where}: the key {odd[0]!r} of the items is neither a text nor a whole number")
        return dict(items)
    if isinstance(items, set | frozenset):
        raise UsageError(f"{where}: a set has no order: sorted(…) gives it one")
    top = library_of(type(items))
    if top in ("pandas", "pyarrow", "polars"):
        return _of_table(items, type(items).__name__, where)
    if isinstance(items, _TEXTS) or not isinstance(items, Iterable):
        kind = type(items).__name__
        raise UsageError(f"{where} goes through a list, a dict or a table, not a {kind}")
    return list(items)


def _of_table(items: Any, kind: str, where: str) -> list[Any]:
    """The rows of a table as dicts, the values of a column."""
    if kind in ("Series", "Index", "DatetimeIndex", "RangeIndex", "CategoricalIndex", "PeriodIndex"):
        return list(items.to_list())
    if kind == "DataFrame":
        return list(items.to_dicts() if hasattr(items, "to_dicts") else items.to_dict("records"))
    if hasattr(items, "to_pylist"):
        return list(items.to_pylist())
    raise UsageError(f"{where} goes through a list, a dict or a table, not a {kind}")


def parts(argument: Constant | Group) -> list[tuple[Any, Argument]]:
    """(key of a dict, else None; argument) of each item that a flow gave itself."""
    if isinstance(argument, Group):
        keyed = argument.kind is dict
        return [
            (key if keyed else None, item) for key, item in zip(argument.keys, argument.items, strict=True)
        ]
    if isinstance(argument.value, dict):
        return [(key, Constant(value)) for key, value in argument.value.items()]
    return [(None, Constant(value)) for value in argument.value]


# --- names


def names(items: Sequence[tuple[Any, Any]], digest: Callable[[int], str], *, secret: bool) -> list[str]:
    """The last part of each item's name: of its key, else of itself.

    `items`: (key, value or argument). `digest` gives hex digits for the item at a position, for one that
    has no short text; with `secret` for all that have no key.
    """
    texts = [
        _fit(str(key))
        if key is not None
        else _digested(digest(at), value)
        if secret
        else _text(value, at, digest)
        for at, (key, value) in enumerate(items)
    ]
    if len(set(texts)) == len(texts):
        return texts
    return _apart(texts)


def _apart(texts: list[str]) -> list[str]:
    """Each its own: what comes again is `a.2`, `a.3`."""
    taken, met = set(texts), Counter[str]()
    found = []
    for text in texts:
        met[text] += 1
        name = text
        while met[text] > 1 and name in taken:
            name = f"{text}.{met[text]}"
            met[text] += name in taken
        taken.add(name)
        found.append(name)
    return found


def _text(item: Any, at: int, digest: Callable[[int], str]) -> str:
    if isinstance(item, Constant):
        item = item.value
    if type(item) is str:
        return _fit(item)
    if isinstance(item, Read):
        return _fit(item.label)
    if isinstance(item, Output):
        return _fit(split(item.path)[1])
    text = _scalar(item) if isinstance(item, _SCALARS) else _small(item)
    return _digested(digest(at), item) if text is None else _fit(text)


def _scalar(item: Any) -> str:
    if isinstance(item, enum.Enum):
        return item.name
    if isinstance(item, datetime.datetime):
        return item.isoformat(timespec="auto").replace(":", "")
    return item.as_posix() if isinstance(item, PurePath) else str(item)


def _small(item: Any) -> str | None:
    """`depth=3,rate=0.1` of a dict of few scalars, `DE,3` of a tuple of them, the name of a function."""
    if type(item) is dict and 0 < len(item) <= _FEW:
        if all(isinstance(value, _SCALARS) for value in item.values()):
            return ",".join(f"{name}={_scalar(value)}" for name, value in item.items())
    elif type(item) in (list, tuple) and 0 < len(item) <= _FEW:
        if all(isinstance(value, _SCALARS) for value in item):
            return ",".join(_scalar(value) for value in item)
    elif type(item).__module__ == "numpy" and getattr(item, "shape", None) == () and hasattr(item, "item"):
        return str(item.item())
    return str(item.__name__) if callable(item) and hasattr(item, "__name__") else None


def _digested(digits: str, item: Any) -> str:
    value = item.value if isinstance(item, Constant) else item
    kind = "item" if isinstance(value, Group) else type(value).__name__
    return f"{kind}-{digits[:8]}"


def _fit(text: str) -> str:
    """A text as one part of a path."""
    found = _UNFIT.sub("_", text)
    if found.startswith(".") or not found:
        found = f"_{found}"
    if len(found) <= _LONGEST:
        return found
    return f"{found[: _LONGEST - 9]}-{blake3(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
