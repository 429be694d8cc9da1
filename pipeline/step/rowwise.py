"""Row-level increments: an op that makes each row of its own input row runs on new rows only.

Invariant: the result is that of one call with the whole table, provided the op is what `rowwise=True`
promises. Rows are taken over from the step recorded last, where all else of the two steps is equal; the
table is read where it differs. Where the two cannot be compared (other types, another number of rows, another
kind of result) the op is called with the whole table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from aq.formats.errors import OpFailed
from aq.formats.objects import get_record
from aq.formats.records import Artifact, Step
from aq.pipeline.code.hidden_reads import Files, plain_id
from aq.pipeline.step import together
from aq.pipeline.step.execution import StepStore
from aq.pipeline.step.handed import Handed
from aq.pipeline.step.inputs import Input

if TYPE_CHECKING:
    from aq.formats.tables.sides import Rows

_MOST: Final = 0.5
"""The share of new rows from which on the whole table is one call."""

_OWN: Final = ("key", "inputs", "outputs", "hidden", "opaque")
"""Fields in which two steps may differ, `inputs` in the first table alone."""

Run = Callable[[Mapping[str, Any]], Any]

verifying: ContextVar[bool] = ContextVar("aq_verifying", default=False)
"""Whether a result by pieces is made as a whole too, and both must be the same."""


class Earlier(NamedTuple):
    """What an earlier step had at `place`, what it made of it, and what it read by itself.

    `source`: for each row of `now` which one of `old` it is, −1 for a new one.
    """

    place: str
    now: Artifact
    old: Artifact
    made: Artifact
    source: Rows
    hidden: dict[str, str]


class Done(NamedTuple):
    """A result; `hidden`: what the rows taken over had been made with; `note`: what was spared."""

    result: Any
    hidden: dict[str, str]
    note: str = ""


def earlier(
    store: StepStore, step: Step, last: bytes | None, given: Mapping[str, Input], root: Path
) -> Earlier | None:
    """The step recorded last, if it is this one but for the rows of its first table; reads no other input."""
    if last is None or not store.has(last):
        return None
    before = get_record(store, Step, last)
    place = next((one for one, value in given.items() if _is_frame(store, value)), None)
    if place is None or not _is_the_same(before, step, place) or len(before.outputs) != 1:
        return None
    ids = [given[place].artifact, before.inputs[place], before.outputs[0][1]]
    if not all(store.has(one) for one in ids):
        return None
    if next(Files(root, plain_id).changed(before.hidden), None) is not None:
        return None
    now, old, made = (get_record(store, Artifact, one) for one in ids)
    source = sources(now, old, made, store)
    return None if source is None else Earlier(place, now, old, made, source, dict(before.hidden))


def sources(now: Artifact, old: Artifact, made: Artifact, store: StepStore) -> Rows | None:
    """Where each row lay before; None where most are new, or none has a row of its own in what was made."""
    from aq.formats.tables.described import described
    from aq.formats.tables.recurring import recurring

    if old.kind != "table" or together.length(made) != described(old).rows or not together.is_plain(now):
        return None
    source = recurring(old, now, store)
    if source is None or (source < 0).sum() > _MOST * len(source):
        return None
    return source


def _is_frame(store: StepStore, given: Input) -> bool:
    """Whether an input is a frame of pandas to the op."""
    record = get_record(store, Artifact, given.artifact)
    if given.form in ("arrow", "polars") or record.kind != "table":
        return False
    from aq.formats.tables.described import described

    part = described(record).pandas
    return part is None or not part.series


def _is_the_same(before: Step, now: Step, place: str) -> bool:
    if place not in before.inputs or before.inputs.keys() != now.inputs.keys():
        return False
    fields = (one.name for one in msgspec.structs.fields(Step) if one.name not in _OWN)
    equal = all(getattr(before, name) == getattr(now, name) for name in fields)
    return equal and all(before.inputs[one] == now.inputs[one] for one in now.inputs if one != place)


def call(before: Earlier | None, handed: Handed, store: StepStore, name: str, run: Run) -> Done:
    """The op's result: of new rows, put together with those made before; else of the whole."""
    if before is not None:
        result = _pieces(before, handed, store, run)
        if result is not None:
            new = int((before.source < 0).sum())
            return Done(result, before.hidden, f"{name} ran on {new:,} of {len(before.source):,} rows")
    return Done(run(handed.whole()), {})


def _pieces(before: Earlier, handed: Handed, store: StepStore, run: Run) -> Any | None:
    """The whole result; None where what came of the new rows does not fit to what there is."""
    import numpy as np

    new = (before.source < 0).nonzero()[0]
    piece, result = None, None
    if len(new):
        from aq.formats.tables.chosen import pandas_rows

        piece = pandas_rows(before.now, store, new)
        result = together.as_value(run(handed.but(before.place, piece)), store)
    order = before.source.copy()
    order[new] = np.arange(len(new)) + (together.length(before.made) or 0)
    tables = together.Tables(before.now, before.old, before.made, order)
    return together.put_together(tables, piece, result, store)


@contextmanager
def verified(*, on: bool) -> Iterator[None]:
    """Within: results by pieces are compared with the whole, or not."""
    token = verifying.set(on)
    try:
        yield
    finally:
        verifying.reset(token)


def require_same(name: str, pieces: object, whole: object) -> None:
    """Raise OpFailed where the ids of a result by pieces are not those of the whole."""
    if pieces != whole:
        raise OpFailed(
            f"{name} is declared rowwise, but gives for new rows alone what it does not give for all",
            hint="aq run --force",
        )
