"""Sequences of records as the Python API hands them out: the log, read as far as it is asked for;
the flows of one run, which is also the record of its worst one.

Invariant: looking at the first entries of a log costs these entries, however long the history is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, overload

from aq.pipeline.records.outcomes import RunDone
from aq.pipeline.records.results import LogEntry

WORST_FIRST: Final = ("failed", "gated")
_SHOWN: Final = 30


class Log(Sequence[LogEntry]):
    """The entries of a log, newest first."""

    def __init__(self, entries: Iterator[LogEntry]) -> None:
        self._coming = entries
        self._known: list[LogEntry] = []

    def _read(self, count: int | None) -> None:
        missing = None if count is None else max(count - len(self._known), 0)
        self._known.extend(islice(self._coming, missing))

    def __iter__(self) -> Iterator[LogEntry]:
        at = 0
        while True:
            self._read(at + 1)
            if at >= len(self._known):
                return
            yield self._known[at]
            at += 1

    @overload
    def __getitem__(self, index: int) -> LogEntry: ...
    @overload
    def __getitem__(self, index: slice) -> list[LogEntry]: ...
    def __getitem__(self, index: int | slice) -> LogEntry | list[LogEntry]:
        last = index.stop if isinstance(index, slice) else index + 1
        first = index.start or 0 if isinstance(index, slice) else index
        self._read(last if last is not None and last > 0 and first >= 0 else None)
        return self._known[index]

    def __len__(self) -> int:
        self._read(None)
        return len(self._known)

    def __bool__(self) -> bool:
        self._read(1)
        return bool(self._known)

    def __repr__(self) -> str:
        return f"[{', '.join(f'{one.id[:8]} {one.message!r}' for one in self[:_SHOWN])}{self._more(', …')}]"

    def _more(self, text: str) -> str:
        self._read(_SHOWN + 1)
        return text if len(self._known) > _SHOWN else ""

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(
            f"<tr><td>{one.id[:8]}</td><td>{one.time}</td><td>{escape(one.message)}</td></tr>"
            for one in self[:_SHOWN]
        )
        return f"<table><caption>log</caption>{rows}{self._more('<tr><td>…</td></tr>')}</table>"


class Runs(list[RunDone]):
    """How each flow of one `run` ended. Its other attributes are those of the flow that ended worst
    (of several that ended well, the last one's); `metrics` and `checks` are those of all flows.
    """

    @property
    def worst(self) -> RunDone:
        """The record of the flow that ended worst."""
        for status in WORST_FIRST:
            for one in self:
                if one.status == status:
                    return one
        return self[-1]

    @property
    def metrics(self) -> Mapping[str, float | None]:
        """{FLOW/NAME: value} of all flows."""
        return {name: value for one in self for name, value in one.metrics.items()}

    @property
    def checks(self) -> Mapping[str, str]:
        """{FLOW/NAME: state} of all flows."""
        return {name: state for one in self for name, state in one.checks.items()}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.worst, name)

    def _repr_html_(self) -> str:
        return "".join(one._repr_html_() for one in self)
