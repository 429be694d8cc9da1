"""Parsing: a table file becomes a table, as a step with a key of its own.

Invariant: equal bytes, file kind, options and library versions give the same step, so a file is
parsed once. Which parser reads what stands in docs/format.md, section 10; nothing is guessed from
the content.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final, NamedTuple

import msgspec
from aq.formats.errors import AqError, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import Source
from aq.formats.records import Artifact, Step
from aq.pipeline.flow.hints import Form
from aq.pipeline.step.constants import plain
from aq.pipeline.step.keys import step_key

_COMPRESSIONS: Final = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}
_KINDS: Final = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".feather": "feather",
    ".arrow": "feather",
}
SUFFIXES: Final = tuple(_KINDS)
"""The names of table files end so."""
_TEXTUAL: Final = frozenset({"csv", "tsv", "jsonl", "json"})


class Parser(NamedTuple):
    """How a file is read. `name`: the function; `preset`: options unless the reader says otherwise."""

    name: str
    preset: dict[str, Any]
    compression: str
    libraries: tuple[str, ...]


def file_kind(filename: str) -> tuple[str, str] | None:
    """(`csv`, `gzip`) of `flights.csv.gz`; None for what is no table file by its name."""
    lower = filename.lower()
    for suffix, compression in _COMPRESSIONS.items():
        if lower.endswith(suffix):
            kind = _KINDS.get(_suffix(lower.removesuffix(suffix)))
            return (kind, compression) if kind in _TEXTUAL else None
    kind = _KINDS.get(_suffix(lower))
    return None if kind is None else (kind, "")


def _suffix(name: str) -> str:
    dot = name.rpartition("/")[2].rfind(".")
    return name.rpartition("/")[2][dot:] if dot >= 0 else ""


def parser_for(filename: str, form: Form) -> Parser:
    """The parser of a file for an op that wants this form. Raises UsageError where there is none."""
    found = file_kind(filename)
    if found is None:
        known = ", ".join(SUFFIXES)
        raise UsageError(f"{filename} is no table file (these are: {known}): annotate the argument as Path")
    kind, compression = found
    arrow = form in ("arrow", "polars")
    if kind in ("parquet", "feather"):
        module, function = (
            ("pyarrow.parquet", "read_table") if kind == "parquet" else ("pyarrow.feather", "read_table")
        )
        name = f"{module}.{function}" if arrow else f"pandas.read_{kind}"
        return Parser(name, {}, "", ("pyarrow",) if arrow else ("pandas", "pyarrow"))
    preset: dict[str, Any] = {"dtype_backend": "pyarrow"} if arrow else {}
    if kind == "tsv":
        preset["sep"] = "\t"
    if kind == "jsonl":
        preset["lines"] = True
    name = "pandas.read_csv" if kind in ("csv", "tsv") else "pandas.read_json"
    return Parser(name, preset, compression, ("pandas", "pyarrow") if arrow else ("pandas",))


def parse_step(file: Digest, parser: Parser, options: Mapping[str, Any]) -> Step:
    """The step, without its output yet. Raises Unstorable for an option that has no fingerprint."""
    recorded = {"parser": parser.name}
    if parser.compression:
        recorded["compression"] = parser.compression
    step = Step(
        key=b"",
        op="parse",
        role="parse",
        params={
            name: plain(value, at=f"the option {name!r} of aq.read", name=name)
            for name, value in _merged(parser, options).items()
        },
        inputs={"file": bytes(file)},
        packages=versions(parser),
        options=recorded,
    )
    return msgspec.structs.replace(step, key=bytes(step_key(step)))


def versions(parser: Parser) -> dict[str, str]:
    """{library: version} of those that read a file."""
    return {name: str(import_module(name).__version__) for name in parser.libraries}


def _merged(parser: Parser, options: Mapping[str, Any]) -> dict[str, Any]:
    return {**parser.preset, **options}


def parse(record: Artifact, source: Source, parser: Parser, options: Mapping[str, Any], *, label: str) -> Any:
    """The table in a file. Raises AqError, naming the file, where the library refuses it."""
    import io

    from aq.formats.artifacts import values

    module, _, function = parser.name.rpartition(".")
    read: Callable[..., Any] = getattr(import_module(module), function)
    keywords = _merged(parser, options)
    if parser.compression:
        keywords.setdefault("compression", parser.compression)
    data = io.BytesIO(b"".join(values.file_bytes(record, source)))
    try:
        return read(data, **keywords)
    except MemoryError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AqError(f"{label} cannot be read with {parser.name}: {reason}") from error
