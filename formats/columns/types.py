"""The table format's own type descriptor: which Arrow types are one type, and how it is written.

Invariant: `describe(arrow_type(T)) == T`; types that differ only in memory (string and
large_string, dictionary and plain, list and list_view) have one descriptor. Field
nullability, metadata and the names of a list's inner field leave no trace; but an extension type
is the same whether this process knows it or has only the metadata that names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa
from aq.formats.errors import Damaged, Unstorable
from pyarrow import types as is_

Descriptor = str | list[Any]
"""`T` of docs/format.md, section 8.1: a text, or a list that begins with one."""

DEEPEST: Final = 16
"""How deep types may nest: records allow 64 levels, a struct takes three of them."""

_SIMPLE: Final[dict[str, pa.DataType]] = {
    "null": pa.null(),
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "uint8": pa.uint8(),
    "uint16": pa.uint16(),
    "uint32": pa.uint32(),
    "uint64": pa.uint64(),
    "float16": pa.float16(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "date32": pa.date32(),
    "date64": pa.date64(),
    "time32[s]": pa.time32("s"),
    "time32[ms]": pa.time32("ms"),
    "time64[us]": pa.time64("us"),
    "time64[ns]": pa.time64("ns"),
    "interval": pa.month_day_nano_interval(),
    "string": pa.string(),
    "binary": pa.binary(),
}
_NAMES: Final = {arrow: name for name, arrow in _SIMPLE.items()} | {
    pa.large_string(): "string",
    pa.string_view(): "string",
    pa.large_binary(): "binary",
    pa.binary_view(): "binary",
}
_SMALL: Final[dict[str, Any]] = {"list": pa.list_}
_LARGE: Final[dict[str, Any]] = {
    "string": pa.large_string(),
    "binary": pa.large_binary(),
    "list": pa.large_list,
}
_DECIMALS: Final[dict[int, Callable[[int, int], pa.DataType]]] = {
    bits: getattr(pa, f"decimal{bits}") for bits in (32, 64, 128, 256) if hasattr(pa, f"decimal{bits}")
}
_EXTENSION: Final = ("ARROW:extension:name", "ARROW:extension:metadata")
_PATTERN: Final = re.compile(
    r"(?P<kind>timestamp|duration|decimal(?P<bits>32|64|128|256))"
    r"[\[(](?P<first>[^,\])]+)(, (?P<second>[^\])]*))?[\])]"
)


def describe(arrow: pa.DataType, level: int = 0) -> Descriptor:
    """The descriptor of an Arrow type. Raises Unstorable where it nests deeper than `DEEPEST`."""
    if level > DEEPEST:
        raise Unstorable(f"a type nests deeper than {DEEPEST} levels")
    if isinstance(arrow, pa.BaseExtensionType):  # before any look-up: those of users may not be hashable
        storage = describe(arrow.storage_type, level + 1)
        return ["extension", arrow.extension_name, _extension_metadata(arrow), storage]
    name = _NAMES.get(arrow)
    if name is not None:
        return name
    if is_.is_dictionary(arrow) or is_.is_run_end_encoded(arrow):
        return describe(arrow.value_type, level)
    if is_.is_timestamp(arrow):
        return f"timestamp[{arrow.unit}, {arrow.tz}]" if arrow.tz else f"timestamp[{arrow.unit}]"
    if is_.is_duration(arrow):
        return f"duration[{arrow.unit}]"
    if is_.is_decimal(arrow):
        return f"decimal{arrow.bit_width}({arrow.precision}, {arrow.scale})"
    if is_.is_fixed_size_binary(arrow):
        return ["fixed_binary", arrow.byte_width]
    return _describe_nested(arrow, level + 1)


def describe_field(field: pa.Field, level: int = 0) -> Descriptor:
    """The descriptor of a field's type, which its metadata may call an extension type."""
    found = field.metadata or {}
    name, metadata = (found.get(key.encode()) for key in _EXTENSION)
    if name is None or isinstance(field.type, pa.BaseExtensionType):
        return describe(field.type, level)
    return ["extension", name.decode(), metadata or b"", describe(field.type, level + 1)]


def is_any_list(arrow: pa.DataType) -> bool:
    """Whether the type is one of the list family with lengths: list, large_list and their views."""
    return bool(
        is_.is_list(arrow)
        or is_.is_large_list(arrow)
        or is_.is_list_view(arrow)
        or is_.is_large_list_view(arrow)
    )


def is_plain(kind: pa.DataType) -> bool:
    """Whether neither the type nor one inside it is an encoding of another."""
    if isinstance(kind, pa.BaseExtensionType) or is_.is_dictionary(kind) or is_.is_run_end_encoded(kind):
        return False
    if is_.is_string_view(kind) or is_.is_binary_view(kind):
        return False
    if is_.is_list_view(kind) or is_.is_large_list_view(kind):
        return False
    return not is_.is_nested(kind) or all(is_plain(field.type) for field in fields_of(kind))


def fields_of(kind: Any) -> list[pa.Field]:
    """The fields inside a nested type; of a map its keys and items."""
    if is_.is_map(kind):
        return [kind.key_field, kind.item_field]
    return [kind.field(at) for at in range(kind.num_fields)]


def _describe_nested(arrow: pa.DataType, level: int) -> Descriptor:
    if is_any_list(arrow):
        return ["list", describe_field(arrow.value_field, level)]
    if is_.is_fixed_size_list(arrow):
        return ["fixed_list", arrow.list_size, describe_field(arrow.value_field, level)]
    if is_.is_struct(arrow):
        return ["struct", [[field.name, describe_field(field, level)] for field in arrow]]
    if is_.is_map(arrow):
        return ["map", describe_field(arrow.key_field, level), describe_field(arrow.item_field, level)]
    if is_.is_union(arrow):
        members = zip(arrow.type_codes, arrow, strict=True)
        return ["union", [[code, field.name, describe_field(field, level)] for code, field in members]]
    raise Unstorable(f"nothing maps the Arrow type {arrow}")


def _extension_metadata(arrow: Any) -> bytes:
    """What an extension type writes about its parameters, as Arrow puts it beside a field.

    Types built into Arrow have no method for it: their field is written as a schema and read back
    under a name that nobody registered, which leaves name and metadata in plain sight.
    """
    if hasattr(arrow, "__arrow_ext_serialize__"):
        return bytes(arrow.__arrow_ext_serialize__())
    written, name = pa.schema([pa.field("", arrow)]).serialize().to_pybytes(), arrow.extension_name.encode()
    at = written.find(name)
    while at >= 0:
        unknown = written[:at] + b"?" * len(name) + written[at + len(name) :]
        field = pa.ipc.read_schema(pa.py_buffer(unknown)).field(0)
        if field.metadata is not None:
            return bytes(field.metadata[b"ARROW:extension:metadata"])
        at = written.find(name, at + 1)
    raise Unstorable(f"nothing maps the Arrow extension type {arrow.extension_name}")


def arrow_type(descriptor: Descriptor, *, large: bool = False) -> pa.DataType:
    """The Arrow type that a descriptor is read as; `large` for more than 2 GiB in one array.

    Raises Damaged on a descriptor that aq never writes.
    """
    try:
        return _arrow_type(descriptor, _LARGE if large else _SMALL)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, pa.ArrowException) as error:
        raise Damaged(f"a table's type {descriptor!r:.60} cannot be read: {error}") from None


def arrow_field(name: str, descriptor: Descriptor, kind: pa.DataType) -> pa.Field:
    """A field of the type that the descriptor was read as, with metadata that names an unknown extension."""
    if descriptor[0] != "extension" or isinstance(kind, pa.BaseExtensionType):
        return pa.field(name, kind)
    return pa.field(name, kind, metadata=dict(zip(_EXTENSION, descriptor[1:3], strict=True)))


def _field(name: str, descriptor: Descriptor, sized: dict[str, Any]) -> pa.Field:
    return arrow_field(name, descriptor, _arrow_type(descriptor, sized))


def _arrow_type(descriptor: Descriptor, sized: dict[str, Any]) -> pa.DataType:
    if isinstance(descriptor, str):
        return sized.get(descriptor) or _SIMPLE.get(descriptor) or _with_parameters(descriptor)
    match descriptor:
        case ["fixed_binary", width]:
            return pa.binary(width)
        case ["list", inner]:
            return sized["list"](_field("item", inner, sized))
        case ["fixed_list", size, inner]:
            return pa.list_(_field("item", inner, sized), size)
        case ["struct", fields]:
            return pa.struct([_field(name, inner, sized) for name, inner in fields])
        case ["map", key, item]:
            return pa.map_(_field("key", key, sized).with_nullable(False), _field("value", item, sized))
        case ["union", members]:
            inner = [_field(name, member, sized) for _, name, member in members]
            return pa.dense_union(inner, [code for code, _, _ in members])
        case ["extension", name, metadata, storage]:
            return _extension(name, metadata, _arrow_type(storage, _SMALL))
    raise ValueError("unknown")


def _with_parameters(text: str) -> pa.DataType:
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError("unknown")
    first, second = match["first"], match["second"]
    if match["kind"] == "timestamp":
        return pa.timestamp(first, second)
    if match["kind"] == "duration":
        return pa.duration(first)
    return _DECIMALS[int(match["bits"])](int(first), int(second))


def _extension(name: str, metadata: bytes, storage: pa.DataType) -> pa.DataType:
    """The registered extension type, or its storage type where this process cannot make the type.

    It cannot, too, where the class does not understand the parameters, or wants an encoded storage.
    """
    field = pa.field("", storage, metadata=dict(zip(_EXTENSION, (name, metadata), strict=True)))
    try:
        found = pa.ipc.read_schema(pa.schema([field]).serialize()).field(0).type
    except (pa.ArrowException, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return storage
    if not isinstance(found, pa.BaseExtensionType):
        return storage
    fits = is_plain(found.storage_type) and describe(found.storage_type) == describe(storage)
    return found if fits else storage
