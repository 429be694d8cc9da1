"""Values on their way out: an artifact as bytes for `aq cat`, `restore -o` and `Artifact.save`.

Invariant: a file comes out byte for byte; a table in the form that was asked for; nothing is
unpickled: a model leaves as its pickle, whole, only when a file is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from aq.formats.errors import UsageError
from aq.formats.records import Artifact
from aq.store import disk
from aq.store.store import Store

FORMS: Final = ("csv", "parquet", "arrow", "json")
_SUFFIXES: Final = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".json": "json",
    ".jsonl": "json",
}
_ROWS = 65_536


def form_of(record: Artifact, target: Path) -> str | None:
    """The form that a file name asks for; None for what has only one."""
    if record.kind != "table":
        return None
    return form_of_name(target) or "csv"


def form_of_name(target: Path) -> str | None:
    """The form of a table that a file name asks for, or None."""
    return _SUFFIXES.get(target.suffix.lower())


def chunks(store: Store, record: Artifact, path: str, form: str | None) -> Iterator[bytes]:
    """The bytes of an artifact piecewise. Raises UsageError for a form that does not apply."""
    if form is not None and form not in FORMS:
        raise UsageError(f"'{form}' is no format (there are {', '.join(FORMS)})")
    if record.kind == "table":
        return table_chunks(store, record, form or "csv")
    if form is not None and record.format == "bytes":
        return table_chunks(store, _parsed(store, record, path), form)
    if form is not None and form != "json":
        raise UsageError(f"{path} is no table: it has no {form} form", hint=f"aq show {path}")
    return _plain(store, record)


def table_chunks(store: Store, table: Any, form: str) -> Iterator[bytes]:
    """The bytes of a table, stored or in memory, in one of the forms."""
    return _TABLE_FORMS[form](store, table)


def write(target: Path, pieces: Iterable[bytes]) -> None:
    """Write an answer to a file, whole or not at all. Raises UsageError where its folder does not exist."""
    if not target.parent.is_dir():
        raise UsageError(f"no folder {target.parent}", hint=f"mkdir -p {target.parent}")
    disk.write_stream(str(target), pieces)


def _plain(store: Store, record: Artifact) -> Iterator[bytes]:
    from aq.formats import values

    if record.format == "bytes":
        yield from values.file_bytes(record, store)
    elif record.format == "raw":
        yield from _bytes(values.decode(record, store))
    elif record.format in ("json", "metric"):
        yield _json_text(values.decode(record, store)) + b"\n"
    else:
        yield from _bytes(values.decode(record, store, as_="bytes"))


def _bytes(value: object) -> Iterator[bytes]:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise UsageError(f"a {type(value).__name__} has no bytes of its own")
    yield bytes(value)


def _json_text(value: Any) -> bytes:
    import json

    return json.dumps(getattr(value, "value", value), ensure_ascii=False).encode("utf-8", "surrogatepass")


def _parsed(store: Store, record: Artifact, path: str) -> Any:
    from aq.pipeline import inputs

    return inputs.as_table(store, record, path, "arrow")


def _arrow(store: Store, source: Any) -> Any:
    if not isinstance(source, Artifact):
        return source
    from aq.formats import tables

    return tables.to_arrow(source, store)


def _csv(store: Store, source: Any) -> Iterator[bytes]:
    from aq.formats import tables

    frame = tables.to_pandas(source, store) if isinstance(source, Artifact) else source.to_pandas()
    default = frame.index.names == [None] and str(frame.index.dtype) == "int64"
    for start in range(0, max(len(frame), 1), _ROWS):
        part = frame.iloc[start : start + _ROWS]
        yield part.to_csv(index=not default, header=start == 0).encode()


def _json(store: Store, source: Any) -> Iterator[bytes]:
    """One JSON array of objects, a row a line."""
    table = _arrow(store, source)
    yield b"["
    for start in range(0, table.num_rows, _ROWS):
        rows = table.slice(start, _ROWS).to_pandas()
        text = rows.to_json(orient="records", lines=True, date_format="iso").strip()
        yield (",\n" if start else "\n").encode() + text.replace("\n", ",\n").encode()
    yield b"\n]\n"


def _parquet(store: Store, source: Any) -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = pa.BufferOutputStream()
    pq.write_table(_arrow(store, source), buffer, compression="zstd")
    yield memoryview(buffer.getvalue()).tobytes()


def _ipc(store: Store, source: Any) -> Iterator[bytes]:
    import pyarrow as pa

    table = _arrow(store, source)
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_file(buffer, table.schema) as writer:
        writer.write_table(table)
    yield memoryview(buffer.getvalue()).tobytes()


_TABLE_FORMS: Final = {"csv": _csv, "json": _json, "parquet": _parquet, "arrow": _ipc}
