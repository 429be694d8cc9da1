"""Why a step runs: the difference of two step records, field by field, in words.

Invariant: two records of one role whose keys differ have at least one reason. `kind` is code | data |
param | env | upstream; `detail` names what changed, and from what to what where that is short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec
from aq.formats.records import Step

Reason = dict[str, str]
KINDS: Final = ("code", "param", "data", "upstream", "env")
"""The kinds of reasons, in the order in which they are told."""


def reason(kind: str, detail: str) -> Reason:
    """One reason."""
    return {"kind": kind, "detail": detail}


class Details(msgspec.Struct, frozen=True):
    """What else there is to say of what changed.

    `code`: where `module:qualname` did, ` (flow.py:12)`. `value`: how `module:NAME` did, ` changed
    (flow.py:3)`. `data`: how much an input holds, by its label and its ids before and now, `: 3 → 5 rows`.
    """

    code: Callable[[str], str] = lambda name: ""
    value: Callable[[str], str] = lambda name: " changed"
    data: Callable[[str, bytes, bytes], str] = lambda label, before, now: ""


PLAIN = Details()


def differences(
    before: Step, now: Step, labels: Mapping[str, tuple[str, str]], details: Details = PLAIN
) -> list[Reason]:
    """In what `now` is not `before`, the step of the same name that was recorded last.

    `labels` gives for each input (data | upstream, the path that people know it by).
    """
    return [
        *_code(before, now, details),
        *_params(before, now),
        *_inputs(before, now, labels, details),
        *_environment(before, now),
    ]


def _code(before: Step, now: Step, details: Details) -> Iterator[Reason]:
    if before.op != now.op:
        yield reason("code", f"the op is {_function(now.op)} instead of {_function(before.op)}")
        return
    for name in sorted(before.code.keys() | now.code.keys()):
        if before.code.get(name) != now.code.get(name):
            fate = _fate(name, before.code, now.code)
            where = details.code(name) if fate == "changed" else ""
            yield reason("code", f"{_function(name)} {fate}{where}")
    for name in sorted(before.values.keys() | now.values.keys()):
        if before.values.get(name) != now.values.get(name):
            fate = _fate(name, before.values, now.values)
            told = details.value(name) if fate == "changed" else f" {fate}"
            yield reason("code", f"{_value(name)}{told}")
    for name in sorted(before.options.keys() | now.options.keys()):
        old, new = before.options.get(name), now.options.get(name)
        if old != new:
            yield reason("code", f"{name}: {old or 'none'} → {new or 'none'}")


def _fate(name: str, before: Mapping[str, object], now: Mapping[str, object]) -> str:
    return "changed" if name in before and name in now else "is new" if name in now else "is gone"


def _function(name: str) -> str:
    """`flights:clean` is `clean()`; a class keeps its name."""
    plain = name.rpartition(":")[2]
    return plain if plain.rpartition(".")[2][:1].isupper() else f"{plain}()"


def _value(name: str) -> str:
    """`flights:LIMIT` is `LIMIT`; defaults and closures are named with their function."""
    plain = name.rpartition(":")[2]
    if plain.startswith("(value "):  # no function of the op's: reach.Walk.run names it by its token
        return "what a value given to the op reaches"
    for middle, text in ((".default.", "the default {} of {}()"), (".closure.", "{} around {}()")):
        owner, found, inner = plain.partition(middle)
        if found:
            return text.format(inner, owner)
    return plain


def _params(before: Step, now: Step) -> Iterator[Reason]:
    for name in sorted(before.params.keys() | now.params.keys()):
        old, new = before.params.get(name, ""), now.params.get(name, "")
        if old.rpartition(" ")[2] == new.rpartition(" ")[2]:
            continue
        if not old or not new:
            yield reason("param", f"{name} {_fate(name, before.params, now.params)}")
            continue
        shown, shows = old.rpartition(" ")[0], new.rpartition(" ")[0]
        yield reason("param", f"{name} changed" if shown == shows else f"{name}: {shown} → {shows}")
    if before.seed != now.seed:
        yield reason("param", "the seed changed")


def _inputs(
    before: Step, now: Step, labels: Mapping[str, tuple[str, str]], details: Details
) -> Iterator[Reason]:
    told = set()
    for name in sorted(before.inputs.keys() | now.inputs.keys()):
        if before.inputs.get(name) == now.inputs.get(name):
            continue
        kind, label = labels.get(name, ("data", name))
        if label not in told:
            told.add(label)
            fate = _fate(name, before.inputs, now.inputs)
            more = details.data(label, before.inputs[name], now.inputs[name]) if fate == "changed" else ""
            yield reason(kind, f"{label} {fate}{more}")


def _environment(before: Step, now: Step) -> Iterator[Reason]:
    if before.python != now.python:
        yield reason("env", f"python {before.python} → {now.python}")
    for name in sorted(before.packages.keys() | now.packages.keys()):
        old, new = before.packages.get(name), now.packages.get(name)
        if old != new:
            yield reason("env", f"{name} {old or 'absent'} → {new or 'no longer used'}")
    for name in sorted(before.variables.keys() | now.variables.keys()):
        if before.variables.get(name) != now.variables.get(name):
            yield reason("env", f"the variable {name} {_fate(name, before.variables, now.variables)}")
