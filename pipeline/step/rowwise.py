"""Row-level increments: an op that makes each row of its own input row runs on new rows only.

Invariant: the result is that of one call with the whole table, provided the op is what `rowwise=True`
promises. Rows are taken over from the step recorded last, where all else of the two steps is equal; the
table is read where it differs. Where the two cannot be compared (other types, another number of rows, another
kind of result) the op is called with the whole table.
"""

from __future__ import annotations

import math
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
    from aq.formats.comparing.sides import Rows

_MOST: Final = 0.5
"""The share of new rows from which on the whole table is one call."""
_FREE: Final = 1.0
_WORTH: Final = 0.5
"""Rows are looked for as long as this part of what the step took last: whole it takes little more then. But
`_FREE` seconds in any case."""
_DEAR: Final = "ran whole: to look for the rows that it had before would take about as long"

_OWN: Final = ("key", "inputs", "outputs", "hidden", "opaque")
"""Fields in which two steps may differ, `inputs` in the first table alone."""

Run = Callable[[Mapping[str, Any]], Any]

verifying: ContextVar[bool] = ContextVar("aq_verifying", default=False)
"""Whether a result by pieces is made as a whole too, and both must be the same."""


class Earlier(NamedTuple):
    """What an earlier step had at `place`, what it made of it, and what it read by itself.

    `source`: for each row of `now` which one of `old` it is, −1 for a new one. `took`: the seconds that the
    step took when it last ran on all rows, if that is known.
    """

    place: str
    now: Artifact
    old: Artifact
    made: Artifact
    source: Rows
    hidden: dict[str, str]
    took: float | None = None


class Whole(NamedTuple):
    """That the op is called with the whole table; `note` says why, where it might surprise."""

    note: str = ""


class Done(NamedTuple):
    """A result; `hidden`: what the rows taken over had been made with; `note`: what was spared or why not."""

    result: Any
    hidden: dict[str, str]
    note: str = ""
    is_pieced: bool = False


def earlier(
    store: StepStore, step: Step, last: bytes | None, given: Mapping[str, Input], root: Path
) -> Earlier | Whole:
    """The step recorded last, if it is this one but for the rows of its first table; reads no other input."""
    if last is None or not store.has(last):
        return Whole()
    before = get_record(store, Step, last)
    place = next((one for one, value in given.items() if _is_frame(store, value)), None)
    if place is None or not _is_the_same(before, step, place) or len(before.outputs) != 1:
        return Whole()
    ids = [given[place].artifact, before.inputs[place], before.outputs[0][1]]
    if not all(store.has(one) for one in ids):
        return Whole()
    if next(Files(root, plain_id).changed(before.hidden), None) is not None:
        return Whole()
    now, old, made = (get_record(store, Artifact, one) for one in ids)
    told = store.summary(last) or {}
    took = told.get("whole", told.get("seconds"))  # a claim, if the step was received
    most = max(_FREE, took * _WORTH) if isinstance(took, float) else math.inf
    source = sources(now, old, made, store, most)
    if isinstance(source, Whole):
        return source
    return Earlier(place, now, old, made, source, dict(before.hidden), took)


def sources(
    now: Artifact, old: Artifact, made: Artifact, store: StepStore, seconds: float = math.inf
) -> Rows | Whole:
    """Where each row lay before, if that is not to be searched for longer than about so many `seconds`.

    Whole where most rows are new, or none has a row of its own in what was made.
    """
    import numpy as np
    from aq.formats.columns.described import described
    from aq.formats.comparing.recurring import recurring

    if old.kind != "table" or together.length(made) != described(old).rows or not together.is_plain(now):
        return Whole()
    found = recurring(old, now, store, seconds)
    if found is None or np.count_nonzero(found.rows < 0) > _MOST * len(found.rows):
        return Whole(_DEAR if found is not None and found.gave_up else "")
    return found.rows


def _is_frame(store: StepStore, given: Input) -> bool:
    """Whether an input is a frame of pandas to the op."""
    record = get_record(store, Artifact, given.artifact)
    if given.form in ("arrow", "polars") or record.kind != "table":
        return False
    from aq.formats.columns.described import described

    part = described(record).pandas
    return part is None or not part.series


def _is_the_same(before: Step, now: Step, place: str) -> bool:
    if place not in before.inputs or before.inputs.keys() != now.inputs.keys():
        return False
    fields = (one.name for one in msgspec.structs.fields(Step) if one.name not in _OWN)
    equal = all(getattr(before, name) == getattr(now, name) for name in fields)
    return equal and all(before.inputs[one] == now.inputs[one] for one in now.inputs if one != place)


def call(before: Earlier | Whole, handed: Handed, store: StepStore, name: str, run: Run) -> Done:
    """The op's result: of new rows, put together with those made before; else of the whole."""
    if isinstance(before, Whole):
        return Done(run(handed.whole()), {}, before.note and f"{name} {before.note}")
    result = _pieces(before, handed, store, run)
    if result is None:
        return Done(run(handed.whole()), {})
    new = int((before.source < 0).sum())
    note = f"{name} ran on {new:,} of {len(before.source):,} rows"
    return Done(result, before.hidden, note, is_pieced=True)


def _pieces(before: Earlier, handed: Handed, store: StepStore, run: Run) -> Any | None:
    """The whole result; None where what came of the new rows does not fit to what there is."""
    import numpy as np

    new = (before.source < 0).nonzero()[0]
    piece, result = None, None
    if len(new):
        from aq.formats.comparing.chosen import pandas_rows

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
