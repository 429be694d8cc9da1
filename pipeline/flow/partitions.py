"""Partitions of flows: the params that `@aq.flow(partition=…)` names, and where a run's results lie.

Invariant: a flow's results lie in one space a run: FLOW, or FLOW/NAME=VALUE/… in the order of the
declaration. Which spaces there are is told from runs and snapshots alone, no code is imported for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aq.formats import partitions as paths
from aq.formats.errors import UsageError

if TYPE_CHECKING:
    from aq.formats.records import Run
    from aq.pipeline.flow.ops import Flow


def declared(function: Callable[..., Any], partition: str | Sequence[str]) -> tuple[str, ...]:
    """The names given as `partition=`. Raises UsageError unless they are parameters of the function."""
    names = tuple(partition) if isinstance(partition, list | tuple) else (partition,)
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
            from difflib import get_close_matches

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
    from aq.pipeline.flow import params, redacted

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


def again(
    flow: Flow[..., Any],
    runs: Sequence[tuple[Run, Mapping[str, str]]],
    asked: Mapping[str, Any],
    rest: Container[str],
) -> list[dict[str, Any]]:
    """What to run a flow of HEAD with: the explicit params of each of its partitions.

    `runs`: the last run of each partition and its explicit params, smallest first. `asked`: new values;
    those of the partition choose among them, or make a new one. `rest` is left out. Of a flow that was
    partitioned otherwise each run is repeated under what the flow is now; without partitions the largest.
    """
    chosen = _chosen_texts(flow, asked)
    if not flow.partition:
        return [dict(runs[-1][1])]
    found = []
    for run, explicit in runs:
        there = paths.values(of_run(run))
        if paths.agreeing([of_run(run)], chosen) and of_run(run) not in rest:
            found.append({**explicit, **there})
    if not found and not any(of_run(run) in rest for run, _ in runs):
        plain = {name: text for name, text in runs[-1][1].items() if name not in flow.partition}
        found.append(plain)
    return found


def _chosen_texts(flow: Flow[..., Any], asked: Mapping[str, Any]) -> dict[str, str]:
    """What of the asked values concerns the partition, as text. Raises UsageError for none at all."""
    from aq.pipeline.flow.params import accept, as_text, parameters

    known = parameters(flow)
    found = {}
    for name in flow.partition:
        if asked.get(name) == "":
            raise UsageError(
                f"{name} names the partitions of {flow.name}: it cannot be cleared",
                hint=f"aq run -p {name}=VALUE",
            )
        if name in asked:
            found[name] = as_text(accept(flow.name, known[name], asked[name]), known[name])
    return found


def spaces_read(path: str, spaces: Iterable[str]) -> list[str]:
    """Those spaces that a path of `aq.read` leads into."""
    if "*" in path:
        pattern = paths.pattern_of(path)[0]
        return [space for space in spaces if paths.matches(space, pattern)]
    here = paths.space_of(path)
    return [space for space in spaces if space == here and path != here]


def run_values(run: Run) -> dict[str, str]:
    """{param: text} of the partition that a run is of; {} where it is of none."""
    return paths.values(of_run(run))


def of_run(run: Run) -> str:
    """Where a run's results lie."""
    return f"{run.flow}/{run.partition}" if run.partition else run.flow
