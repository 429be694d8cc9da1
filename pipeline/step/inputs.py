"""Inputs: how an artifact is handed to an op, as the op's annotation asks.

Invariant: an op gets a value of its own, decoded from the store, so that changing it changes
nothing upstream. Files by name and annotation: DataFrame or Table parses a table file, Path is a
read-only copy, bytes and str the content; without annotation a table file is parsed for pandas, a
.json file is the document in it, and any other is a Path.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from aq.formats.artifacts import collected
from aq.formats.errors import UsageError
from aq.formats.identity import Digest
from aq.formats.objects import Source, get_record
from aq.formats.records import Artifact
from aq.pipeline.flow import hints
from aq.pipeline.flow.graph import Argument, Group, Leaf, Node, Read
from aq.pipeline.flow.hints import Form
from aq.pipeline.step import parsing
from msgspec.structs import replace

_READ_ONLY: Final = 0o444
_WHOLE: Final[frozenset[Form]] = frozenset(
    ("native", "pandas", "arrow", "polars", "path", "bytes", "str", "document")
)


class Input(msgspec.Struct, frozen=True):
    """One artifact on its way into an op. `form` is how it is handed over, `native` as it is.

    `place`: where among the arguments; `label`: the source's path or the output's; `file`: the
    name that a copy gets.
    """

    place: str
    label: str
    artifact: Digest
    form: Form
    file: str = ""


def forms(node: Node) -> dict[str, Form]:
    """What the op's annotations ask for, by place."""
    annotated = node.annotated
    found: dict[str, Form] = {}
    for name, argument in node.arguments.items():
        if name == node.place:
            found.update(_forms_of_items(name, argument, annotated.get(node.each)))
            continue
        annotation = annotated.get(name)
        several = node.signature.parameters[name].kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        for place, inner in _annotated(name, argument, annotation, same=several):
            found[place] = hints.of_items(inner) if inner is not None else "native"
    return found


def _forms_of_items(place: str, argument: Argument, annotation: Any) -> Iterator[tuple[str, Form]]:
    """Each item as the parameter is annotated that it goes to; what will be gone through as it is."""
    if not isinstance(argument, Group):
        yield place, "native"
        return
    for key, item in zip(argument.keys, argument.items, strict=True):
        for at, inner in _annotated(f"{place}[{key!r}]", item, annotation):
            yield at, hints.form(inner) if inner is not None else "native"


def _annotated(
    place: str, argument: Argument, annotation: Any, *, same: bool = False
) -> Iterator[tuple[str, Any]]:
    if not isinstance(argument, Group):
        yield place, annotation
        return
    for key, item in zip(argument.keys, argument.items, strict=True):
        yield from _annotated(
            f"{place}[{key!r}]", item, annotation if same else hints.inside(annotation, key)
        )


def file_name(leaf: Leaf) -> str:
    """The file name of a source, as it was written; none for what a step made."""
    return leaf.path.rpartition("/")[2].rpartition(":")[2] if isinstance(leaf, Read) else ""


def handed_over(record: Artifact, form: Form, file: str) -> Form:
    """How an artifact reaches an op that asks for `form`. A table form of a file means: parse it."""
    if record.format == collected.FORMAT:
        return _of_collection(record, form)
    if form not in _WHOLE:
        form = "document"
    if record.kind == "table":
        return form if form in ("arrow", "polars") else "native"
    if record.kind != "file":
        return "native"
    if form in ("path", "bytes", "str") or form in hints.TABLES:
        return form
    kind = parsing.file_kind(file)
    if kind == ("json", ""):
        return "document"
    return "path" if kind is None or form == "document" else "pandas"


def _of_collection(record: Artifact, form: Form) -> Form:
    """One table of all that it holds, or its items each in a form; of files `each path`."""
    if form in hints.TABLES or (form not in _WHOLE and form != "each pandas"):
        return form
    return "each path" if "bytes" in collected.formats(record) else "native"


def load(given: Input, record: Artifact, source: Source, folder: Path) -> Any:
    """The value for an op. Copies of files go into `folder`, each into one of its own."""
    from aq.formats.artifacts import values

    if record.format == collected.FORMAT:
        return _collection(given, record, source, folder)
    if record.kind == "table":
        from aq.formats import tables  # half a second of pyarrow, which files and numbers do not need

        readers: dict[str, Callable[[Artifact, Source], Any]] = {
            "arrow": tables.to_arrow,
            "polars": tables.to_polars,
        }
        return readers.get(given.form, tables.to_pandas)(record, source)
    if given.form == "path":
        return _copy(given, record, source, folder)
    if given.form == "bytes":
        return b"".join(values.file_bytes(record, source))
    if given.form in ("str", "document"):
        return _text(given, b"".join(values.file_bytes(record, source)))
    return values.decode(record, source)


def _collection(given: Input, record: Artifact, source: Source, folder: Path) -> Any:
    """The list or dict, each item loaded as an input of its own; or one table of them all."""
    form = cast("Form", given.form.removeprefix("each "))

    def one(id: bytes) -> Any:
        item = get_record(source, Artifact, id)
        wanted = handed_over(item, form, "")
        if item.kind == "file" and wanted in hints.TABLES:
            raise UsageError(f"{given.label} holds files: annotate {given.place} as list[Path]")
        return load(replace(given, artifact=Digest(id), form=wanted, file=""), item, source, folder)

    found = collected.load(record, source, one)
    if given.form not in hints.TABLES:
        return found
    return joined(list(found.values() if isinstance(found, dict) else found), form, given.label)


def joined(parts: list[Any], form: Form, label: str) -> Any:
    """Tables in one form one below the other; a default RangeIndex is numbered anew. Raises UsageError."""
    if not parts:
        raise UsageError(f"{label} has no items: there is no table of none")
    odd = next((type(one).__name__ for one in parts if not hasattr(one, "columns")), None)
    if odd is not None:
        raise UsageError(f"{label} holds a {odd}, which is no table: annotate it as list")
    if form == "arrow":
        import pyarrow as pa

        return pa.concat_tables(parts)
    if form == "polars":
        import polars

        return polars.concat(parts)
    import pandas as pd

    plain = all(type(one.index) is pd.RangeIndex and one.index.name is None for one in parts)
    return pd.concat(parts, ignore_index=plain)


def _copy(given: Input, record: Artifact, source: Source, folder: Path) -> Path:
    from aq.formats.artifacts import values
    from aq.formats.contents.archives import is_folder
    from aq.pipeline.flow.placing import load_folder

    place = folder / str(len(os.listdir(folder)))
    place.mkdir()
    if is_folder(record.type):
        load_folder(record, source, place / (given.file or "folder"))
        return place / (given.file or "folder")
    path = place / (given.file or "file")
    with path.open("wb") as stream:
        for piece in values.file_bytes(record, source):
            stream.write(piece)
    path.chmod(_READ_ONLY)
    return path


def _text(given: Input, data: bytes) -> Any:
    try:
        text = data.decode()
        return json.loads(text) if given.form == "document" else text
    except UnicodeDecodeError:
        raise UsageError(f"{given.label} is no UTF-8 text: annotate {given.place} as bytes or Path") from None
    except json.JSONDecodeError as error:
        raise UsageError(f"{given.label} is no JSON document: {error}") from None


def as_table(store: Source, record: Artifact, path: str, form: str) -> Any:
    """An artifact as a pandas, Arrow or polars table (`form`), a file of one parsed without a record."""
    from aq.formats import tables

    wanted = cast("Form", form)
    if record.kind == "table":
        return {"pandas": tables.to_pandas, "arrow": tables.to_arrow, "polars": tables.to_polars}[form](
            record, store
        )
    if record.kind != "file":
        raise UsageError(f"{path} is a {record.kind}, no table")
    parser = parsing.parser_for(path, wanted)
    return converted(parsing.parse(record, store, parser, {}, label=path), wanted)


def native(store: Source, record: Artifact, path: str, options: Mapping[str, Any], folder: Path) -> Any:
    """What an op without annotation would get: the value of `aq.read` outside a flow.

    A copy of a file lies in `folder`, which the caller keeps.
    """
    form = handed_over(record, "native", path)
    if form in hints.TABLES:
        parser = parsing.parser_for(path, form)
        return parsing.parse(record, store, parser, options, label=path)
    return load(
        Input("value", path, Digest(b"\0" * 32), form, path.rpartition("/")[2]), record, store, folder
    )


def converted(table: Any, form: Form) -> Any:
    """A table that a parser returned in the library that was asked for."""
    import pyarrow as pa

    if form == "pandas":
        return table.to_pandas() if isinstance(table, pa.Table) else table
    found = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)
    if form == "arrow":
        return found
    import polars

    return polars.from_arrow(found)
