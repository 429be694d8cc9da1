"""How much an input holds, for reasons: rows of a table, lines of a text table, else bytes.

Invariant: only to be shown. A file is counted where that is cheap; nothing is parsed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from aq.formats.objects import Source, get_record
from aq.formats.records import Artifact

if TYPE_CHECKING:
    from aq.formats.identity import Buffer

_LINES: Final = (".csv", ".tsv", ".jsonl", ".ndjson", ".txt")
_COUNTED_MOST: Final = 64 << 20


class Amount(NamedTuple):
    """A number of something."""

    number: int
    unit: str


class Summaries(Source, Protocol):
    """Where objects and their summaries are."""

    def summary(self, id: bytes) -> dict[str, Any] | None: ...


def of_artifact(store: Summaries, id: bytes, label: str) -> Amount | None:
    """What an artifact in the store holds; `label` is the path that people know it by."""
    record = get_record(store, Artifact, id)
    if record.kind == "table":
        rows = (store.summary(id) or {}).get("rows")
        return Amount(rows, "rows") if isinstance(rows, int) else None
    if record.kind != "file":
        return None
    if label.endswith(_LINES) and record.size <= _COUNTED_MOST:
        from aq.formats.artifacts import values

        return of_bytes(values.file_bytes(record, store), label)
    return Amount(record.size, "bytes")


def of_bytes(parts: Iterable[Buffer], label: str) -> Amount:
    """What a file with these bytes holds."""
    size = lines = 0
    last = b"\n"
    for part in parts:
        data = bytes(part)
        size += len(data)
        lines += data.count(b"\n")
        last = data[-1:] or last
    if label.endswith(_LINES) and size <= _COUNTED_MOST:
        return Amount(lines + (last != b"\n"), "lines")
    return Amount(size, "bytes")


def change(before: Amount | None, now: Amount | None) -> str:
    """`: 1,000 → 1,010 rows`; "" where it cannot be told."""
    if before is None or now is None or before.unit != now.unit:
        return ""
    if before.number == now.number:
        return "" if now.unit == "bytes" else f" ({now.number:,} {_units(now)} as before)"
    return f": {before.number:,} → {now.number:,} {_units(now)}"


def _units(amount: Amount) -> str:
    return amount.unit.removesuffix("s") if amount.number == 1 else amount.unit
