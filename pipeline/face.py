"""`Artifact`: one value at one revision, as the Python API hands it out.

Invariant: nothing is loaded, and no pickle opened, before a method is called that says so.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aq.formats.identity import Digest
from aq.formats.objects import get_record
from aq.formats.records import Artifact as Record
from aq.store.snapshots import Entry
from aq.store.store import Store

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow


class Artifact:
    """One value: `path` at `revision`. Equal `id` means equal content."""

    __slots__ = ("_store", "entry", "path", "record", "revision")

    def __init__(self, store: Store, path: str, revision: str, entry: Entry) -> None:
        self._store = store
        self.path = path
        self.revision = revision
        self.entry = entry
        self.record = get_record(store, Record, entry.artifact)

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""
        return str(Digest(self.entry.artifact))

    @property
    def kind(self) -> str:
        """file | table | model | array | value."""
        return self.record.kind

    @property
    def format(self) -> str:
        """The encoding, as docs/format.md names it."""
        return self.record.format

    @property
    def size(self) -> int:
        """Logical bytes."""
        return self.record.size

    @property
    def summary(self) -> dict[str, Any]:
        """What is known without loading the value: rows and columns, hyperparameters and tensors."""
        known = self._store.summary(self.entry.artifact)
        if known is None:
            from aq.formats import values

            known = values.summarise(self.record, self._store)
        return known

    def load(self) -> Any:
        """The value as it was given: a DataFrame, an array, a model; the bytes of a file."""
        return self._decode("bytes" if self.format == "bytes" else "native")

    def to_pandas(self) -> pandas.DataFrame:
        """A table as pandas; a tracked CSV, Parquet or JSON lines file is parsed."""
        from aq.pipeline import inputs

        frame: pandas.DataFrame = inputs.as_table(self._store, self.record, self.path, "pandas")
        return frame

    def to_arrow(self) -> pyarrow.Table:
        """A table as Arrow; a tracked CSV, Parquet or JSON lines file is parsed."""
        from aq.pipeline import inputs

        table: pyarrow.Table = inputs.as_table(self._store, self.record, self.path, "arrow")
        return table

    def to_polars(self) -> polars.DataFrame:
        """A table as polars; a tracked CSV, Parquet or JSON lines file is parsed."""
        from aq.pipeline import inputs

        frame: polars.DataFrame = inputs.as_table(self._store, self.record, self.path, "polars")
        return frame

    def bytes(self) -> builtins.bytes:
        """The raw bytes of a file; a table as CSV; a value as JSON. Raises UsageError for models."""
        return b"".join(self.chunks())

    def chunks(self, form: str | None = None) -> Iterator[builtins.bytes]:
        """The same piecewise. `form`: parquet | arrow | json | csv for tables."""
        from aq.pipeline import outputs

        return outputs.chunks(self._store, self.record, self.path, form)

    def save(self, path: str | Path) -> Path:
        """Write the value to a file: tables by suffix (.csv .parquet .arrow .json), files as they are.

        Raises UsageError where the folder does not exist.
        """
        from aq.pipeline import outputs

        target = Path(path)
        outputs.write(target, self.chunks(outputs.form_of(self.record, target)))
        return target

    def _decode(self, as_: str) -> Any:
        from aq.formats import values

        return values.decode(self.record, self._store, as_=as_)

    def __repr__(self) -> str:
        return f"<aq.Artifact {self.revision}:{self.path} {self.kind} {self.id[:8]}>"

    def _repr_html_(self) -> str:
        from aq.pipeline.html import cell

        facts = {"path": f"{self.revision}:{self.path}", "kind": self.kind, "id": self.id[:12]}
        return cell({**facts, "size": f"{self.size:,} bytes", **self.summary})
