"""Values and artifacts: the one place that decides how a value is stored.

Invariant: equal values have equal artifacts; `decode(encode(value))` equals the value. Summaries
are read without unpickling. pandas, pyarrow and numpy are imported only for values of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, BinaryIO, Final, NamedTuple

from aq.formats.artifacts import json_values
from aq.formats.artifacts.metric_values import Metric, encode_metric
from aq.formats.classes import library_of
from aq.formats.contents.chunking import Readable
from aq.formats.contents.files import content, encode_stream, read_head, stream_bytes, whole_bytes
from aq.formats.errors import Damaged, NewerFormat, NotFound, Unstorable, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import Like, Sink, Source, get_record, put_record
from aq.formats.places import placed
from aq.formats.records import Artifact

__all__ = ["Encoded", "Metric", "decode", "encode", "encode_file", "file_bytes", "summarise"]

_PLAIN: Final = frozenset({type(None), bool, int, float, str, list, dict})
_TABLES: Final = frozenset(
    {
        ("pandas", "DataFrame"),
        ("pandas", "Series"),
        ("polars", "DataFrame"),
        ("pyarrow", "RecordBatch"),
        ("pyarrow", "Table"),
    }
)
_FORMS: Final = ("native", "pandas", "arrow", "polars", "bytes")
_SHOWN_BELOW: Final = 2_000
_LONG_INT: Final = re.compile(rb"[0-9]{19}")
_HEAD: Final = 8_192
_PNG: Final = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_SIZED: Final = 24


class Encoded(NamedTuple):
    """A stored value: the id of its artifact, the artifact, and what is worth knowing about it."""

    id: Digest
    artifact: Artifact
    summary: dict[str, Any]


def encode(
    value: object, sink: Sink, *, key: Sequence[str] = (), at: str = "", like: Like | None = None
) -> Encoded:
    """Store a value and its artifact; `at` names it in errors, `key` a table's key columns.

    With `like`, what is stored takes less space where it resembles that; ids do not depend on it.
    Raises Unstorable with the place inside the value.
    """
    artifact, summary = _encode(value, sink, key, at, like)
    return Encoded(put_record(sink, artifact), artifact, summary)


def encode_file(
    stream: Readable | BinaryIO,
    size: int | None,  # noqa: ARG001
    sink: Sink,
    *,
    like: Like | None = None,
) -> Encoded:
    """Store all that is left in a stream as a file, read once, in bounded memory; `size` is a hint.

    `like`: see `encode`.
    """
    head = read_head(stream)
    artifact = encode_stream(stream, sink, head=head, like=like)
    return Encoded(put_record(sink, artifact), artifact, _summarise_file(head))


def is_table(value: object) -> bool:
    """Whether the value is a table of pandas, Arrow or polars (their own classes, not subclasses)."""
    kind = type(value)
    return (library_of(kind), kind.__name__) in _TABLES


def _encode(
    value: Any, sink: Sink, key: Sequence[str], at: str, like: Like | None
) -> tuple[Artifact, dict[str, Any]]:
    kind = type(value)
    if key and not is_table(value):
        raise UsageError(f"{at or 'the value'} is no table: it has no key columns")
    if kind in _PLAIN:
        text = json_values.dump(value)
        if text is not None:
            data, root = content(sink, text)
            plain = Artifact(kind="value", format="json", size=len(text), root=root, data=data)
            return plain, _summarise_json(value, text)
    elif kind is bytes:
        data, root = content(sink, value)
        raw = Artifact(kind="value", format="raw", size=len(value), root=root, data=data)
        return raw, {"type": "bytes", "size": len(value)}
    elif kind is Metric:
        return encode_metric(value, at)
    if is_table(value):
        return _encode_table(value, sink, key, at, like)
    if library_of(kind) == "numpy":
        from aq.formats.python.array_values import encode_array

        encoded = encode_array(value, sink, like)
        if encoded is not None:
            return encoded
    return _encode_object(value, sink, at, like)


def _encode_table(
    value: Any, sink: Sink, key: Sequence[str], at: str, like: Like | None
) -> tuple[Artifact, dict[str, Any]]:
    from aq.formats.tables import encode_table

    try:
        encoded = encode_table(value, sink, key=key, like=like)
    except Unstorable as error:
        raise placed(error, at, ()) from error.__cause__
    except (NotFound, UsageError) as error:  # of the key
        raise type(error)(f"{at}: {error.message}" if at else error.message) from None
    return encoded.artifact, encoded.summary


def _encode_object(value: object, sink: Sink, at: str, like: Like | None) -> tuple[Artifact, dict[str, Any]]:
    from aq.formats.python.pickles import encode_pickle

    def outside(inner: object) -> bytes | None:
        if not is_table(inner):
            return None
        try:
            return encode(inner, sink).id
        except Unstorable:
            return None

    return encode_pickle(value, sink, at=at, outside=outside, like=like)


def decode(artifact: Artifact, source: Source, *, as_: str = "native") -> object:
    """The value: as it was given, or a table as `pandas`, `arrow` or `polars`, or its `bytes`.

    A pickle is executed here and nowhere else. Raises UsageError where the form does not fit.
    """
    if as_ == "bytes":
        return b"".join(file_bytes(artifact, source))
    if as_ not in _FORMS:
        raise UsageError(f"{as_!r} is no form of a value", hint=f"one of {', '.join(_FORMS)}")
    if artifact.format == "table":
        from aq.formats import tables

        form: Any = getattr(tables, f"to_{as_}")
        return form(artifact, source)
    if as_ != "native":
        raise UsageError(f"this {artifact.kind} ({artifact.format}) cannot be read as a table for {as_}")
    return _decode(artifact, source)


def _decode(artifact: Artifact, source: Source) -> object:
    if artifact.format in ("bytes", "raw"):
        return whole_bytes(artifact, source)
    if artifact.format in ("json", "metric"):
        return json_values.load(whole_bytes(artifact, source))
    if artifact.format == "array":
        from aq.formats.python.array_values import decode_array

        return decode_array(artifact, source)
    if artifact.format == "pickle":
        return _unpickle(artifact, source)
    if artifact.format == "items":
        from aq.formats.artifacts import collected

        return collected.load(artifact, source, lambda id: decode(get_record(source, Artifact, id), source))
    raise NewerFormat(
        f"format {artifact.format!r} is unknown to this aq", hint="pip install --upgrade aqstore"
    )


def _unpickle(artifact: Artifact, source: Source) -> object:
    """The only place that executes stored content: a source that may refuse is asked first."""
    from aq.formats.python.pickles import decode_pickle

    if (ask := getattr(source, "before_executing", None)) is not None:
        ask()

    def load(name: Any) -> object:
        return decode(get_record(source, Artifact, name[1]), source)

    return decode_pickle(artifact, source, load)


def file_bytes(artifact: Artifact, source: Source) -> Iterator[bytes]:
    """What a file of the artifact holds, piece by piece; nothing is executed.

    Files and bytes as they are, values as JSON, arrays as .npy, pickles as one .pkl. Raises UsageError
    for a table, which has many forms, and for a collection, whose items have bytes of their own.
    """
    if artifact.format in ("table", "items"):
        what = "table" if artifact.format == "table" else "collection"
        raise UsageError(f"a {what} has no bytes of its own")
    if artifact.format == "pickle":
        from aq.formats.python.pickles import plain_pickle

        yield from plain_pickle(artifact, source)
    elif artifact.format == "array":
        from aq.formats.python.array_values import npy_header

        yield npy_header(artifact)
        yield from stream_bytes(artifact, source)
    else:
        yield from stream_bytes(artifact, source)


def summarise(artifact: Artifact, source: Source) -> dict[str, Any]:
    """The summary that `encode` gave, from the stored bytes; never unpickles."""
    if artifact.format == "table":
        from aq.formats.tables import summarise_table

        return summarise_table(artifact, source)
    if artifact.format == "pickle":
        from aq.formats.python.pickles import summarise_pickle

        return summarise_pickle(artifact, source)
    if artifact.format == "array":
        from aq.formats.python.array_values import decode_array, summarise_array

        return summarise_array(decode_array(artifact, source), artifact.type)
    if artifact.format == "metric":
        value = json_values.load(whole_bytes(artifact, source))
        return {"value": value, "better": _better(artifact)}
    if artifact.format == "json":
        text = whole_bytes(artifact, source)
        return _summarise_json(json_values.load(text), text)
    if artifact.format == "raw":
        return {"type": "bytes", "size": artifact.size}
    if artifact.format == "items":
        from aq.formats.artifacts import collected

        kind = "dict" if collected.is_dict(artifact) else "list"
        return {"type": kind, "length": collected.length(artifact, source)}
    return _summarise_file(b"".join(islice(stream_bytes(artifact, source), 1)))


def _better(artifact: Artifact) -> Any:
    """What a metric's type says. Raises Damaged where that is no map."""
    if not isinstance(artifact.type, dict | None):
        raise Damaged("a metric's type cannot be read")
    return (artifact.type or {}).get("better", "")


def _summarise_json(value: object, text: bytes) -> dict[str, Any]:
    """Type and, where it is short, the value itself; else its length and beginning."""
    summary: dict[str, Any] = {"type": type(value).__name__}
    if isinstance(value, (str, list, dict)):
        summary["length"] = len(value)
    if len(text) < 20 or (len(text) < _SHOWN_BELOW and not _LONG_INT.search(text)):
        return summary | {"value": value}
    return summary | {"shown": text[:_SHOWN_BELOW].decode(errors="ignore") + "…"}


def _summarise_file(head: bytes) -> dict[str, Any]:
    """Whether the file begins as UTF-8 text does; of a PNG, such as a stored figure, its size in pixels."""
    head = head[:_HEAD]
    if head.startswith(_PNG) and len(head) >= _PNG_SIZED:
        width, height = (int.from_bytes(head[at : at + 4], "big") for at in (16, 20))
        return {"text": False, "image": "png", "width": width, "height": height}
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return {"text": error.start > len(head) - 4 and error.reason == "unexpected end of data"}
    return {"text": b"\0" not in head}
