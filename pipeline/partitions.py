"""Partitions of flows: the params that `@aq.flow(partition=…)` names, and where a run's results lie.

Invariant: a flow's results lie in one space a run: FLOW, or FLOW/NAME=VALUE/… in the order of the
declaration. Which spaces there are is told from runs and snapshots alone, no code is imported for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from aq.formats import partitions as paths
from aq.formats.errors import UsageError

if TYPE_CHECKING:
    from aq.formats.records import Run
    from aq.pipeline.ops import Flow


def declared(function: Callable[..., Any], partition: str | Sequence[str]) -> tuple[str, ...]:
    """The names given as `partition=`. Raises UsageError unless they are parameters of the function."""
    names = (partition,) if isinstance(partition, str) else tuple(partition)
    if not names:
        return ()
    name_of = getattr(function, "__name__", "the flow")
    known = [
        name
        for name, one in inspect.signature(function).parameters.items()
        if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
    ]
    for name in names:
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            guess = f" (did you mean {near[0]}?)" if near else f" (there are {', '.join(known) or 'none'})"
            raise UsageError(f"partition={name!r} is no parameter of {name_of}{guess}")
        if names.count(name) > 1:
            raise UsageError(f"partition= of {name_of} names {name} twice")
    return names


def space(flow: Flow[..., Any], values: Mapping[str, Any]) -> str:
    """Where the results for these values lie. Raises UsageError for a value that cannot name a place."""
    return "/".join((flow.name, *_components(flow, values)))


def _components(flow: Flow[..., Any], values: Mapping[str, Any]) -> list[str]:
    from aq.pipeline import params, redacted

    if not flow.partition:
        return []
    known = params.parameters(flow)
    found = []
    for name in flow.partition:
        value = values[name]
        if redacted.is_secret(name, value):
            raise UsageError(f"{name} of {flow.name} is a secret: it cannot name a partition")
        if isinstance(value, list | tuple | set | frozenset | dict) or value != value:
            raise UsageError(f"{flow.name}: {name}={value!r} cannot name a partition: use one plain value")
        found.append(paths.component(name, params.as_text(value, known[name])))
    return found


def kinds(flow: Flow[..., Any]) -> dict[str, str]:
    """{param: type} of the partition's params whose values are more than text."""
    from aq.pipeline.params import parameters

    if not flow.partition:
        return {}
    known = parameters(flow)
    found = {}
    for name in flow.partition:
        types = [getattr(one, "__name__", "") for one in known[name].types]
        if len(types) == 1 and types[0] in paths.KINDS:
            found[name] = types[0]
    return found


def of_run(run: Run) -> str:
    """Where a run's results lie."""
    return f"{run.flow}/{run.partition}" if run.partition else run.flow
