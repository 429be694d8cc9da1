"""Tracked files that are tables by their names, for whoever looks at them: `diff`, `blame`, `show`.

Invariant: a file is read as an op would get it, but for one thing: where pandas makes one column of a CSV
file whose name holds another separator, that one is meant. Nothing is recorded.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from aq.formats.errors import AqError
from aq.formats.objects import MemoryObjects, Source
from aq.formats.records import Artifact

if TYPE_CHECKING:
    from aq.pipeline.step.parsing import Parser

PARSED_MOST: Final = 1 << 30
"""Bytes: larger files are not parsed as tables."""
SUMMARISED_MOST: Final = 32 << 20
"""Bytes of a file that `show` parses, which takes about a second."""
_SEPARATORS: Final = ";\t|"


def is_table_file(path: str, record: Artifact, source: Source) -> bool:
    """Whether a file is a table by its name; JSON only where it is an array, since objects have keys."""
    from aq.formats.artifacts import values
    from aq.pipeline.step.parsing import file_kind

    kind = file_kind(path)
    if kind is None or record.format != "bytes" or record.size > PARSED_MOST:
        return False
    start = next(values.file_bytes(record, source), b"") if kind == ("json", "") else b"["
    return start.lstrip()[:1] == b"["


def parsed(path: str, record: Artifact, source: Source) -> tuple[str, Any]:
    """The parser's name, and the table in a file. Raises AqError where it holds none."""
    from aq.pipeline.step.parsing import parse, parser_for

    parser = parser_for(path, "arrow")
    try:
        table = parse(record, source, parser, {}, label=path)
    except AqError:
        table = None
        if parser.name != "pandas.read_csv":
            raise
    for separator in _others(parser, table):
        with suppress(AqError):
            found = parse(record, source, parser, {"sep": separator}, label=path)
            if len(found.columns) > 1:
                return parser.name, found
    return parser.name, parse(record, source, parser, {}, label=path) if table is None else table


def _others(parser: Parser, table: Any) -> str:
    """The separators that may be meant where commas make no table, or one of a single column."""
    if parser.name != "pandas.read_csv" or "sep" in parser.preset:
        return ""
    if table is None:
        return _SEPARATORS
    return "".join(filter(str(table.columns[0]).count, _SEPARATORS)) if len(table.columns) == 1 else ""


def encoded(path: str, record: Artifact, source: Source, into: MemoryObjects) -> Artifact:
    """The table in a file as one of the store, its parts put into memory. Raises AqError where it is none."""
    from aq.formats.tables import encode_table

    return encode_table(parsed(path, record, source)[1], into).artifact


def summarised(path: str, record: Artifact, source: Source) -> dict[str, Any] | None:
    """What a table in a file holds, as `show` tells of one in the store; None of what is none or long.

    Of one that is a table by its name alone: why it cannot be read.
    """
    if record.size > SUMMARISED_MOST or not is_table_file(path, record, source):
        return None
    from aq.formats.tables import encode_table

    try:
        name, table = parsed(path, record, source)
        return {"parsed": name, **encode_table(table, MemoryObjects()).summary}
    except AqError as error:
        return {"unreadable": error.message.removeprefix(f"{path} ")}
