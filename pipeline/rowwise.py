"""Row-level increments: an op that makes each row of its own input row runs on new rows only.

Invariant: the result is that of one call with the whole table, provided the op is what `rowwise=True`
promises. Rows are taken over from the step recorded last, where all else of the two steps is equal; a
hash finds them, and equality to the bit decides. Where the two cannot be compared (columns of objects,
other types, another number of rows, another kind of result) the op is called with the whole table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from aq.formats.errors import OpFailed
from aq.formats.objects import get_record
from aq.formats.records import Artifact, Step
from aq.pipeline import inputs
from aq.pipeline.hidden_reads import Files, plain_id
from aq.pipeline.inputs import Input

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from aq.pipeline.execution import StepStore

    Rows = npt.NDArray[np.intp]

_MOST: Final = 0.5
"""The share of new rows from which on the whole table is one call."""

_FEW: Final = 0.05
"""The share of rows changed in place up to which nobody looks whether one of them came from elsewhere."""

_INDEX: Final = "the index"
_OWN: Final = ("key", "inputs", "outputs", "hidden", "opaque")
"""Fields in which two steps may differ, `inputs` in the first table alone."""

Run = Callable[[Mapping[str, Any]], Any]

verifying: ContextVar[bool] = ContextVar("aq_verifying", default=False)
"""Whether a result by pieces is made as a whole too, and both must be the same."""


class Earlier(NamedTuple):
    """What an earlier step had at `place`, what it made of it, and what it read by itself.

    `columns`: the only ones that `rows` holds, by position, since in all others nothing differs from the
    table of now; None where it holds all. `load` gives all.
    """

    place: str
    rows: Any
    result: Any
    hidden: dict[str, str]
    columns: list[int] | None = None
    load: Callable[[], Any] | None = None


class Done(NamedTuple):
    """A result; `hidden`: what the rows taken over had been made with; `note`: what was spared."""

    result: Any
    hidden: dict[str, str]
    note: str = ""


def earlier(
    store: StepStore,
    step: Step,
    last: bytes | None,
    given: Mapping[str, Input],
    loaded: Mapping[str, Any],
    root: Path,
) -> Earlier | None:
    """The step recorded last, if it is this one but for the rows of its first table."""
    place = next((one for one, value in loaded.items() if _is_frame(value)), None)
    if place is None or last is None or not store.has(last):
        return None
    before = get_record(store, Step, last)
    if not _is_the_same(before, step, place) or len(before.outputs) != 1:
        return None
    artifacts = [before.inputs[place], before.outputs[0][1]]
    if not all(store.has(one) for one in artifacts):
        return None
    if next(Files(root, plain_id).changed(before.hidden), None) is not None:
        return None
    from aq.formats import values

    old, made = (get_record(store, Artifact, one) for one in artifacts)

    def load() -> Any:
        return inputs.load(given[place], old, store, root)

    columns = _differing(old, get_record(store, Artifact, given[place].artifact), store, loaded[place])
    rows = load() if columns is None else _some(old, columns, store)
    return Earlier(place, rows, values.decode(made, store), dict(before.hidden), columns, load)


def _differing(old: Artifact, now: Artifact, store: StepStore, frame: Any) -> list[int] | None:
    """The columns of a frame, by position, that may differ from an earlier one; None: ids do not tell."""
    if old.kind != "table" or now.kind != "table" or not _is_counted(frame.index):
        return None
    from aq.formats.tables.alike import differing_columns
    from aq.formats.tables.described import described

    found = described(now)
    if found.pandas is None or found.pandas.series or found.hidden or len(found.columns) != frame.shape[1]:
        return None
    return differing_columns(old, now, store)


def _some(table: Artifact, columns: Sequence[int], store: StepStore) -> Any:
    from aq.formats import tables
    from aq.formats.tables.described import described

    names = described(table).names
    return tables.to_pandas(table, store, columns=[names[at] for at in columns])


def _is_the_same(before: Step, now: Step, place: str) -> bool:
    if place not in before.inputs or before.inputs.keys() != now.inputs.keys():
        return False
    fields = (one.name for one in msgspec.structs.fields(Step) if one.name not in _OWN)
    equal = all(getattr(before, name) == getattr(now, name) for name in fields)
    return equal and all(before.inputs[one] == now.inputs[one] for one in now.inputs if one != place)


def call(before: Earlier | None, loaded: Mapping[str, Any], name: str, run: Run) -> Done:
    """The op's result: of new rows, put together with those made before; else of the whole."""
    if before is not None:
        now = loaded[before.place]
        source = None
        if _has_rows(before.result, len(before.rows)):
            source = _unmoved(before, now)
            if source is None:
                if before.columns is not None and before.load is not None:
                    before = before._replace(rows=before.load(), columns=None)
                source = _sources(before.rows, now)
        if source is not None:
            new = (source < 0).nonzero()[0]
            if len(new) <= _MOST * len(now):
                made = _pieces(before, now, source, new, lambda piece: run({**loaded, before.place: piece}))
                if made is not None:
                    note = f"{name} ran on {len(new):,} of {len(now):,} rows"
                    return Done(made, before.hidden, note)
    return Done(run(loaded), {})


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


def _pieces(before: Earlier, now: Any, source: Rows, new: Rows, run: Run) -> Any | None:
    """The whole result; None where what came of the new rows does not fit to what there is."""
    import numpy as np

    order = source.copy()
    parts = [before.result]
    if len(new):
        piece = now.iloc[new]
        fed = piece.reset_index(drop=True) if _is_counted(now.index) else piece
        made = run(fed)
        if not _fits(before.result, made, len(new)) or not _keeps_index(before, made, fed):
            return None
        order[new] = len(before.rows) + np.arange(len(new))
        parts.append(made)
    if not _is_pandas(before.result):
        return np.concatenate(parts)[order]
    import pandas as pd

    together = pd.concat(parts, ignore_index=True).take(order)
    together.index = now.index if not _is_counted(now.index) else pd.RangeIndex(len(now))
    return together


def _unmoved(before: Earlier, now: Any) -> Rows | None:
    """For each row itself, −1 for a new one, where few rows of a table have changed in place."""
    import numpy as np

    if before.columns is None or not all(map(_is_exact, now.dtypes)):
        return None
    source = np.arange(len(now), dtype=np.intp)
    if before.columns:
        part = now.iloc[:, before.columns]
        if not _is_comparable(before.rows, part):
            return None
        source[~_equal(before.rows, part)] = -1
    return source if (source < 0).sum() <= _FEW * len(now) else None


def _sources(old: Any, now: Any) -> Rows | None:
    """For each row where the same row lay before, −1 for a new one; None where rows cannot be compared."""
    import numpy as np

    if not _is_comparable(old, now):
        return None
    if not _is_counted(now.index):  # it is part of the row
        old, now = (one.reset_index(names=[_INDEX]) for one in (old, now))
    source = np.full(len(now), -1, dtype=np.intp)
    shared = min(len(old), len(now))
    for at_old, at_now in {(0, 0), (len(old) - shared, len(now) - shared)}:
        there = source[at_now : at_now + shared]
        same = _equal(old.iloc[at_old : at_old + shared], now.iloc[at_now : at_now + shared]) & (there < 0)
        there[same] = at_old + same.nonzero()[0]
    _find(old, now, source)
    return source


def _find(old: Any, now: Any, source: Rows) -> None:
    """Find the rows that are left among those that nobody has taken, wherever they lie."""
    import numpy as np

    free = np.ones(len(old), dtype=bool)
    free[source[source >= 0]] = False
    rest, left = free.nonzero()[0], (source < 0).nonzero()[0]
    if not len(rest) or not len(left):
        return
    first, second = _hashes(old.iloc[rest]), _hashes(now.iloc[left])
    order = np.argsort(first, kind="stable")
    at = order[np.minimum(np.searchsorted(first, second, sorter=order), len(rest) - 1)]
    hit = (first[at] == second).nonzero()[0]
    same = _equal(old.iloc[rest[at[hit]]], now.iloc[left[hit]])
    source[left[hit[same]]] = rest[at[hit[same]]]


def _equal(first: Any, second: Any) -> Any:
    """Which rows are equal to the bit: −0.0 is not 0.0, and a missing value is a missing value."""
    import numpy as np

    columns = [(first.iloc[:, at], second.iloc[:, at]) for at in range(first.shape[1])]
    same = np.ones(len(first), dtype=bool)
    for one, other in columns:
        if isinstance(one.dtype, np.dtype):
            size = one.dtype.itemsize
            bits = [np.ascontiguousarray(part.to_numpy()).view(f"u{size}") for part in (one, other)]
            same &= bits[0] == bits[1]
        else:
            found = one.array == other.array
            has_missing = hasattr(found, "isna")
            told = found.to_numpy(dtype=bool, na_value=False) if has_missing else np.asarray(found)
            same &= told | (np.asarray(one.isna()) & np.asarray(other.isna()))
    return same


def _hashes(frame: Any) -> Any:
    """A hash of each row; equal rows have equal ones, which is all that it is for."""
    import pandas as pd

    return pd.util.hash_pandas_object(frame, index=False).to_numpy()


def _is_comparable(old: Any, now: Any) -> bool:
    """Whether equal rows are equal to the op: the same columns of types that hold no objects."""
    if not old.columns.equals(now.columns) or list(old.dtypes) != list(now.dtypes):
        return False
    indexes = (old.index, now.index)
    if any(index.nlevels > 1 or index.dtype.kind == "f" for index in indexes):
        return False
    if not all(map(_is_exact, [*now.dtypes, old.index.dtype])):
        return False
    if _is_counted(old.index) != _is_counted(now.index) or old.index.dtype != now.index.dtype:
        return False
    return bool(old.index.names == now.index.names)


def _is_exact(dtype: Any) -> bool:
    """Whether values of a type that pandas finds equal are equal to any code: no 1 and True in one column."""
    import numpy as np
    import pandas as pd

    if isinstance(dtype, np.dtype):
        return dtype.kind in "biufMm" and dtype.itemsize <= 8
    if isinstance(dtype, pd.CategoricalDtype):
        return _is_exact(dtype.categories.dtype)
    return isinstance(dtype, pd.StringDtype | pd.DatetimeTZDtype) or dtype.kind in "biu"


def _fits(before: Any, made: Any, rows: int) -> bool:
    """Whether two results can stand below one another and be of the same type as one."""
    if type(before) is not type(made) or not _has_rows(made, rows):
        return False
    if hasattr(made, "columns"):
        return bool(before.columns.equals(made.columns) and list(before.dtypes) == list(made.dtypes))
    if before.dtype != made.dtype or before.shape[1:] != made.shape[1:]:
        return False
    return getattr(before, "name", None) == getattr(made, "name", None)


def _keeps_index(before: Earlier, made: Any, fed: Any) -> bool:
    """Whether a result has the index of its input, as the one before had."""
    if not _is_pandas(made):
        return True
    return bool(made.index.equals(fed.index) and before.result.index.equals(before.rows.index))


def _has_rows(result: Any, rows: int) -> bool:
    is_array = type(result).__module__ == "numpy" and getattr(result, "ndim", 0) > 0
    return (is_array or _is_pandas(result)) and len(result) == rows


def _is_pandas(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "iloc")


def _is_frame(value: Any) -> bool:
    return _is_pandas(value) and hasattr(value, "columns")


def _is_counted(index: Any) -> bool:
    """Whether an index only counts the rows from 0."""
    import pandas as pd

    plain = isinstance(index, pd.RangeIndex) and (index.start, index.step) == (0, 1)
    return plain and index.name is None
