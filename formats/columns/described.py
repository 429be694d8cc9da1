"""The type information of a table as typed fields (docs/format.md, sections 8.1 and 8.6).

Invariant: what `described` returns is consistent in itself: positions exist, names are unique. It
does not look at the content; types and dtypes are read where they are used.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import msgspec
from aq.formats.errors import Damaged
from aq.formats.records import Artifact

Dtype = list[Any]


class IndexPart(msgspec.Struct, frozen=True):
    """The index of a frame: `range` is start and step, `levels` positions of columns.

    `freq` is a frequency as text or cell, `freqs` those of levels of a MultiIndex by number.
    """

    names: list[bytes]
    range: tuple[int, int] | None = None
    levels: list[int] = []
    multi: bool = False
    freq: Any = None
    freqs: list[tuple[int, Any]] = []


class LabelsPart(msgspec.Struct, frozen=True):
    """The labels of a frame's columns: each level a value set, or start, stop and step."""

    names: list[bytes]
    levels: list[dict[str, Any] | list[int]]
    multi: bool = False
    freq: Any = None
    freqs: list[tuple[int, Any]] = []


class PandasPart(msgspec.Struct, frozen=True):
    """What pandas needs beyond the columns; `unique` where labels must not repeat."""

    series: bool = False
    dtypes: list[tuple[int, Dtype]] = []
    markers: list[tuple[int, int]] = []
    index: IndexPart | None = None
    labels: LabelsPart | None = None
    attrs: bytes | None = None
    unique: bool = False


class PolarsPart(msgspec.Struct, frozen=True):
    """What polars needs beyond the columns."""

    dtypes: list[tuple[int, Dtype]] = []


class Described(msgspec.Struct, frozen=True, dict=True):
    """A table's type: names and types of its columns, key, cut, and its container."""

    rows: int
    columns: list[tuple[str, Any]]
    key: list[str] = []
    cut: list[int] = []
    pandas: PandasPart | None = None
    polars: PolarsPart | None = None

    @cached_property
    def names(self) -> list[str]:
        """The names of all columns, hidden ones too."""
        return [name for name, _ in self.columns]

    @cached_property
    def hidden(self) -> list[int]:
        """The positions of columns that only mark missing values of others."""
        return [] if self.pandas is None else [at for _, at in self.pandas.markers]

    @cached_property
    def shown(self) -> list[int]:
        """The positions of all other columns."""
        hidden = set(self.hidden)
        return [at for at in range(len(self.columns)) if at not in hidden]

    @cached_property
    def dtypes(self) -> dict[int, Dtype]:
        """What pandas needs to know of columns beyond their type, by position."""
        return {} if self.pandas is None else dict(self.pandas.dtypes)

    @property
    def container(self) -> str:
        """`pandas`, `polars` or `arrow`."""
        return "pandas" if self.pandas is not None else "polars" if self.polars is not None else "arrow"


def described(artifact: Artifact) -> Described:
    """The type information of a table. Raises Damaged where it is none."""
    try:
        found = msgspec.convert(artifact.type, Described)
    except msgspec.ValidationError as error:
        raise Damaged(f"a table's type information cannot be read: {error}") from None
    positions = [*found.cut, *found.hidden, *found.dtypes]
    if found.polars is not None:
        positions += [at for at, _ in found.polars.dtypes]
    if found.pandas is not None and found.pandas.index is not None:
        positions += found.pandas.index.levels
    if found.rows < 0 or not all(0 <= at < len(found.columns) for at in positions):
        raise Damaged("a table's type information names columns that it does not have")
    if len(set(found.names)) != len(found.columns) or not set(found.key) <= set(found.names):
        raise Damaged("a table's type information has a wrong set of column names")
    return found
