"""`Artifact`: one value at one revision, as the Python API hands it out.

Invariant: nothing is loaded, and no pickle opened, before a method is called that says so.
"""

from __future__ import annotations

import builtins
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, BinaryIO

from aq.formats import arguments
from aq.formats.errors import AqError, NotFound, UsageError, with_article
from aq.formats.identity import Digest
from aq.formats.objects import Overlay, get_record
from aq.formats.records import Artifact as Record
from aq.store.commits.snapshots import Entry
from aq.store.store import Store

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow
    from aq.pipeline.flow.hints import Form
    from aq.pipeline.look.selection import Rows


@arguments.checked()
class Artifact:
    """One value: `path` at `revision`. Equal `id` means equal content."""

    __slots__ = ("_store", "entry", "path", "record", "revision")

    def __init__(self, store: Store | Overlay, path: str, revision: str, entry: Entry) -> None:
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
        """What is known without loading the value: rows and columns, hyperparameters and tensors.

        Of a tracked model file (.safetensors, .pt, .onnx, .pkl, …) too, without unpickling it, and of a
        table in a file that is not long.
        """
        known = self._store.summary(self.entry.artifact)
        if known is None:
            from aq.formats.artifacts import values

            known = values.summarise(self.record, self._store)
        if self.format == "bytes":
            from aq.formats.models.files import is_model_file, summarise_file, unreadable

            if is_model_file(self.path):
                found = summarise_file(self.path, self.record, self._store)
                known = found or known | {"unreadable": unreadable(self.path, self.record, self._store)}
            else:
                from aq.pipeline.look.table_files import summarised

                known = known | (summarised(self.path, self.record, self._store) or {})
        return known

    def load(self, *, columns: Sequence[str] | None = None, rows: Rows | None = None) -> Any:
        """The value as it was given: a DataFrame, an array, a model; the bytes of a file.

        Of a table perhaps some columns (in this order) and rows (a slice or range of positions): only
        what holds them is read. A column of pandas is named by its label as text; the index comes along.
        """
        from aq.pipeline.look import selection

        with self._hinting():
            return selection.loaded(self._store, self.record, self.path, columns, rows)

    def to_pandas(
        self, *, columns: Sequence[str] | None = None, rows: Rows | None = None
    ) -> pandas.DataFrame:
        """A table as pandas; a tracked CSV, Parquet or JSON lines file is parsed. Parts as in `load`."""
        frame: pandas.DataFrame = self._table("pandas", columns, rows)
        return frame

    def to_arrow(self, *, columns: Sequence[str] | None = None, rows: Rows | None = None) -> pyarrow.Table:
        """A table as Arrow; a tracked CSV, Parquet or JSON lines file is parsed. Parts as in `load`."""
        table: pyarrow.Table = self._table("arrow", columns, rows)
        return table

    def to_polars(
        self, *, columns: Sequence[str] | None = None, rows: Rows | None = None
    ) -> polars.DataFrame:
        """A table as polars; a tracked CSV, Parquet or JSON lines file is parsed. Parts as in `load`."""
        frame: polars.DataFrame = self._table("polars", columns, rows)
        return frame

    def _table(self, form: Form, columns: Sequence[str] | None, rows: Rows | None) -> Any:
        from aq.pipeline.look import selection

        with self._hinting():
            return selection.as_table(self._store, self.record, self.path, form, columns, rows)

    @contextmanager
    def _hinting(self) -> Iterator[None]:
        """Who names a column that is not there is told where they are listed; whose class is in a project
        file that cannot be imported, where it lies.
        """
        try:
            yield
        except NotFound as error:
            raise NotFound(
                error.message, hint=error.hints or f"aq show {quote(f'{self.revision}:{self.path}')}"
            ) from None
        except AqError as error:
            if not isinstance(error.__cause__, ImportError) or isinstance(self._store, Overlay):
                raise
            name, root = (error.__cause__.name or "").partition(".")[0], self._store.root
            if not (root / f"{name}.py").is_file() and not (root / name).is_dir():
                raise
            raise AqError(error.message, hint=f"export PYTHONPATH={quote(str(root))}") from error.__cause__

    def bytes(self) -> builtins.bytes:
        """The raw bytes of a file; a table as CSV, a value as JSON, an array as .npy, a model as a pickle."""
        return b"".join(self.chunks())

    def chunks(
        self,
        form: str | None = None,
        *,
        columns: Sequence[str] | None = None,
        rows: Rows | None = None,
    ) -> Iterator[builtins.bytes]:
        """The same piecewise, in bounded memory. `form`: parquet | arrow | json | jsonl | csv for tables."""
        from aq.pipeline.look import outputs

        with self._hinting():
            return outputs.chunks(self._store, self.record, self.path, form, columns=columns, rows=rows)

    def open(self) -> BinaryIO:
        """The bytes of a file as a stream that seeks; only the pieces that are read are fetched.

        Raises UsageError for what is no file: `chunks` gives its forms.
        """
        if self.record.kind != "file":
            raise UsageError(
                f"{self.path} is {with_article(self.kind)}, no file",
                hint=f"aq cat {quote(f'{self.revision}:{self.path}')}",
            )
        from aq.formats.contents.seeking import StoredFile

        return io.BufferedReader(StoredFile(self.record, self._store))

    def save(
        self, path: str | Path, *, columns: Sequence[str] | None = None, rows: Rows | None = None
    ) -> Path:
        """Write the value to a file: tables by suffix (.csv .parquet .arrow .json .jsonl), files as they are.

        Raises UsageError where the folder does not exist, or the value has no form of that suffix.
        """
        from aq.pipeline.look import outputs

        target = Path(path)
        part = columns is not None or rows is not None
        form = outputs.form_of(self.record, target, part=part)
        outputs.write(target, self.chunks(form, columns=columns, rows=rows))
        return target

    def __repr__(self) -> str:
        return f"<aq.Artifact {self.revision}:{self.path} {self.kind} {self.id[:8]}>"

    def _repr_html_(self) -> str:
        from aq.pipeline.records.html import cell

        facts = {"path": f"{self.revision}:{self.path}", "kind": self.kind, "id": self.id[:12]}
        return cell({**facts, "size": f"{self.size:,} bytes", **self.summary})
