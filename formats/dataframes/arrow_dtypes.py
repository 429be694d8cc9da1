"""Arrow types told apart exactly: what a pandas `ArrowDtype` names beyond the table's own descriptor.

Invariant: `exact_type(describe_exactly(t)) == t`, with encodings, field names and nullability.
It is written in our own terms, so that no version of Arrow's serialisation enters an id.
"""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa
from aq.formats.columns.types import Descriptor, arrow_type, describe
from aq.formats.errors import Damaged
from pyarrow import types as is_

_VARIANTS: Final[dict[str, pa.DataType]] = {
    "large_string": pa.large_string(),
    "string_view": pa.string_view(),
    "large_binary": pa.large_binary(),
    "binary_view": pa.binary_view(),
}
_NAMES: Final = {arrow: name for name, arrow in _VARIANTS.items()}
_LISTS: Final[dict[str, Any]] = {
    "list": pa.list_,
    "large_list": pa.large_list,
    "list_view": pa.list_view,
    "large_list_view": pa.large_list_view,
}


def describe_exactly(arrow: pa.DataType) -> Descriptor:
    """The exact descriptor of an Arrow type. Raises Unstorable where nothing maps it."""
    if isinstance(arrow, pa.BaseExtensionType):  # those of users may not be hashable
        return describe(arrow)
    if arrow in _NAMES:
        return _NAMES[arrow]
    if is_.is_dictionary(arrow):
        inner = [describe_exactly(arrow.index_type), describe_exactly(arrow.value_type)]
        return ["dictionary", *inner, bool(arrow.ordered)]
    if is_.is_run_end_encoded(arrow):
        return ["run_end", describe_exactly(arrow.run_end_type), describe_exactly(arrow.value_type)]
    if is_.is_fixed_size_list(arrow):
        return ["fixed_list", arrow.list_size, _field(arrow.value_field)]
    if is_.is_struct(arrow):
        return ["struct", [_field(field) for field in arrow]]
    if is_.is_map(arrow):
        return ["map", _field(arrow.key_field), _field(arrow.item_field), arrow.keys_sorted]
    if is_.is_union(arrow):
        members = zip(arrow.type_codes, arrow, strict=True)
        return ["union", arrow.mode, [[code, _field(field)] for code, field in members]]
    for name in _LISTS:
        if getattr(is_, f"is_{name}")(arrow):
            return [name, _field(arrow.value_field)]
    return describe(arrow)


def _field(field: pa.Field) -> list[Any]:
    return [field.name, describe_exactly(field.type), field.nullable]


def exact_type(exact: Descriptor) -> pa.DataType:
    """The Arrow type that `describe_exactly` described. Raises Damaged on another descriptor."""
    try:
        return _exact_type(exact)
    except (KeyError, ValueError, TypeError, IndexError, pa.ArrowException) as error:
        raise Damaged(f"a table's Arrow type {exact!r:.60} cannot be read: {error}") from None


def _exact_type(exact: Descriptor) -> pa.DataType:
    if isinstance(exact, str):
        return _VARIANTS.get(exact) or arrow_type(exact)
    match exact:
        case ["dictionary", index, inner, ordered]:
            return pa.dictionary(_exact_type(index), _exact_type(inner), ordered)
        case ["run_end", ends, inner]:
            return pa.run_end_encoded(_exact_type(ends), _exact_type(inner))
        case ["fixed_list", size, field]:
            return pa.list_(_read_field(field), size)
        case ["struct", fields]:
            return pa.struct(list(map(_read_field, fields)))
        case ["map", key, item, keys_sorted]:
            return pa.map_(_read_field(key), _read_field(item), keys_sorted)
        case ["union", mode, members]:
            fields = [_read_field(field) for _, field in members]
            return pa.union(fields, mode, [code for code, _ in members])
        case [name, field] if name in _LISTS:
            return _LISTS[name](_read_field(field))
    return arrow_type(exact)


def _read_field(field: list[Any]) -> pa.Field:
    name, inner, nullable = field
    return pa.field(name, _exact_type(inner), nullable)
