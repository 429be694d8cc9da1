"""What changed in each column of a table: how many cells, from what to what, and a guess at why.

Invariant: only rows that `match` paired or left over are read, a column at a time, and beside
them a fixed number of the rows before, to judge new rows by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from aq.formats.columns import physical
from aq.formats.columns.picking import places, taken
from aq.formats.columns.rowhash import compared
from aq.formats.columns.sets import distinct
from aq.formats.comparing.clocks import guess_clock, is_moment
from aq.formats.comparing.drift import ks, number_psi, text_psi
from aq.formats.comparing.match import Matching, joined
from aq.formats.comparing.match_segments import aligned_changes
from aq.formats.comparing.recoded import guess_recoded
from aq.formats.comparing.sides import Column, Pairs, Rows, Side, take
from aq.formats.comparing.units import Guess, guess_added, guess_form, guess_pairs
from aq.formats.tables.summary import Moments
from pyarrow import types as is_

SAMPLED: Final = 65_536
GUESSED: Final = 16_384
"""Enough to tell a unit; only where there is a guess, its figures are of `SAMPLED` rows."""
TEXTS_SAMPLED: Final = 4_096
SHIFT_LEAST: Final = 100
"""Cells on each side: ten for each class of the index."""


@dataclass(frozen=True)
class Change:
    """The cells of one column that differ, by row number before and after."""

    column: Column
    before: Rows
    after: Rows


def changed_cells(before: Side, after: Side, columns: Sequence[Column], matching: Matching) -> list[Change]:
    """For each column the rows in which it differs; none for a column without any."""
    found = []
    for column in columns:
        aligned = aligned_changes(before, after, matching.aligned, column)
        first = 0 if column in matching.touched else matching.in_step
        pairs = Pairs(matching.changed.before[first:], matching.changed.after[first:])
        rows = joined(aligned, _paired_changes(before, after, column, pairs))
        if len(rows.after):
            order = np.argsort(rows.after, kind="stable")
            found.append(Change(column, rows.before[order], rows.after[order]))
    return found


def _paired_changes(before: Side, after: Side, column: Column, pairs: Pairs) -> Pairs:
    if not len(pairs.before):
        return pairs
    differs = compared(take(before, column, pairs.before)) != compared(take(after, column, pairs.after))
    return Pairs(pairs.before[differs], pairs.after[differs])


def describe_change(before: Side, after: Side, change: Change) -> dict[str, Any]:
    """One entry of `columns`: changed rows, statistics of these cells on both sides, shift, and the guess."""
    chosen = _spread(len(change.before), SAMPLED)
    left, right = take(before, change.column, change.before), take(after, change.column, change.after)
    guess = _guess_changed(left, right, chosen, change.column)
    found = {"changed_rows": len(change.after), "before": statistics(left), "after": statistics(right)}
    found["shift"] = shift(left, right)
    return _entry(change.column, found, guess, "changed")


def _guess_changed(left: pa.Array, right: pa.Array, chosen: Rows, column: Column) -> Guess | None:
    if is_number(left.type) and is_number(right.type):
        return guess_pairs(_floats(left)[chosen], _floats(right)[chosen], column.name)
    if is_moment(left.type) and is_moment(right.type):
        return guess_clock(taken(left, places(chosen)), taken(right, places(chosen)))
    if is_.is_duration(left.type) and is_.is_duration(right.type):
        old, new = (_floats(side.cast(pa.int64()))[chosen] for side in (left, right))
        return guess_pairs(old, new, column.name)
    is_spelt_out = column.cast is not None and not column.cast.form  # nested values, or bytes
    if _is_text(left.type) and _is_text(right.type) and not is_spelt_out:
        texts = _texts(left), _texts(right)
        return guess_form(*texts) or guess_recoded(*texts)
    return None


def describe_added(
    before: Side, after: Side, columns: Sequence[Column], matching: Matching
) -> list[dict[str, Any]]:
    """Entries for columns in which the new rows look like the rows before in another unit or form."""
    found: list[dict[str, Any]] = []
    if not len(matching.added) or not before.rows:
        return found
    rows = matching.added[_spread(len(matching.added), SAMPLED)]
    until = _spread(before.rows, SAMPLED)
    few = [side[:: -(-len(side) // GUESSED)] for side in (until, rows)]
    for column in columns:
        kind = after.values(column, []).type
        if not (is_number(kind) or _is_text(kind)):
            continue
        guess = _guess_added(before.take(column, few[0]), after.take(column, few[1]), column.name)
        if guess is not None:
            old, new = before.take(column, until), after.take(column, rows)
            facts = {"changed_rows": 0, "before": statistics(old), "after": statistics(new)}
            facts["shift"] = shift(old, new)
            found.append(_entry(column, facts, guess, "added"))
    return found


def _guess_added(old: pa.Array, new: pa.Array, name: str) -> Guess | None:
    if is_number(old.type) and is_number(new.type):
        return guess_added(_floats(old), _floats(new), name)
    if _is_text(old.type) and _is_text(new.type):
        return guess_form(_texts(old), _texts(new))
    return None


def _entry(column: Column, facts: dict[str, Any], guess: Guess | None, rows: str) -> dict[str, Any]:
    entry = {"name": column.name, **facts, "guess": None if guess is None else guess.text}
    if guess is not None:
        entry |= {"rows": rows, "factor": guess.factor, "offset": guess.offset}
    return entry


def _spread(count: int, most: int) -> Rows:
    """At most `most` row numbers, in runs spread evenly, so that few segments are read."""
    if count <= most:
        return np.arange(count)
    runs, length = 8, most // 8
    starts = np.linspace(0, count - length, runs).astype(np.int64)
    return distinct((starts[:, None] + np.arange(length)).reshape(-1))


def is_number(kind: pa.DataType) -> bool:
    """Whether statistics of a number make sense."""
    return bool(is_.is_integer(kind) or is_.is_floating(kind) or is_.is_decimal(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(is_.is_string(kind) or is_.is_large_string(kind))


def _floats(values: pa.Array) -> npt.NDArray[np.float64]:
    found = values.cast(pa.float64(), safe=False)
    valid = physical.validity(found)
    numbers = physical.fixed_values(found, valid).view("<f8")  # Arrow's own way imports pandas
    return numbers if valid is None else np.where(valid, numbers, np.nan)


def _texts(values: pa.Array) -> list[str | None]:
    chosen = values.take(places(_spread(len(values), TEXTS_SAMPLED)))
    return list(chosen.to_pylist())


def statistics(values: pa.Array) -> dict[str, Any]:
    """Nulls, NaN among them, and for numbers mean, least and greatest, of these cells."""
    if not is_number(values.type):
        return {"nulls": values.null_count}
    numbers = _floats(values)
    found: dict[str, Any] = {"nulls": int(np.isnan(numbers).sum())}
    if is_.is_floating(values.type):
        found["infinite"] = int(np.isinf(numbers).sum())
    moments = Moments()
    moments.add(numbers[np.isfinite(numbers)])
    if moments.count:
        found |= {"mean": moments.mean, "min": moments.least, "max": moments.most}
    return found


def shift(before: pa.Array, after: pa.Array) -> dict[str, Any] | None:
    """PSI and, for numbers, KS between both sets of cells.

    None for what is neither number nor text, and for so few cells that the figures would be chance.
    """
    if min(len(before), len(after)) < SHIFT_LEAST:
        return None
    if is_number(before.type) and is_number(after.type):
        old, new = (_floats(values)[_spread(len(values), SAMPLED)] for values in (before, after))
        return {"psi": number_psi(old, new), "ks": ks(old, new)}
    if _is_text(before.type) and _is_text(after.type):
        return {"psi": text_psi(_texts(before), _texts(after)), "ks": None}
    return None
