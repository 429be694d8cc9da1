"""The arguments of `op`, `metric` and `check`: how a step is to run, and what its result is.

Invariant: plain data, checked when the op is declared; what each means for a key stands in docs/format.md,
section 10.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from aq.formats import arguments
from aq.formats.errors import UsageError
from aq.pipeline.flow import limits

Better = Literal["higher", "lower"]
Severity = Literal["error", "warning"]
_NAME: Final = re.compile(r"\w[\w.+-]*")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of a decorator: `timeout` in seconds, `memory` in bytes; `severity` is of checks."""

    outputs: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    rowwise: bool = False
    retries: int = 0
    cache: str = "always"
    seed: int | str | None = None
    version: str = ""
    variables: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    timeout: float | None = None
    memory: int | None = None
    better: str | dict[str, str] | None = None
    was: str | None = None
    severity: str = "error"

    @property
    def is_limited(self) -> bool:
        """Whether a step has to run where it can be ended."""
        return self.timeout is not None or self.memory is not None


_OF_OPS: Final = frozenset(limits.Running.__annotations__)
_ALLOWED: Final = {
    "op": _OF_OPS | {"outputs", "key", "rowwise"},
    "metric": _OF_OPS | {"better", "was"},
    "check": _OF_OPS | {"severity"},
}


_SEVERAL: Final = "str | Collection[str]"
_KINDS: Final = {
    "outputs": "str | Sequence[str]",
    "key": "str | Sequence[str]",
    "variables": _SEVERAL,
    "tags": _SEVERAL,
    "rowwise": "bool",
    "seed": "int | str | None",
    "version": "str | int | float",
    "was": "str | None",
}


def of_arguments(role: str, given: Mapping[str, Any]) -> Options:
    """The arguments of a decorator. Raises UsageError for one that it does not take, or cannot be."""
    unknown = sorted(given.keys() - _ALLOWED[role])
    if unknown:
        raise UsageError(f"@aq.{role} takes no argument {unknown[0]!r}")
    made = dict(given)
    for name in made.keys() & _KINDS.keys():
        arguments.require(f"@aq.{role}", name, _KINDS[name], made[name])
    for name in ("outputs", "key", "variables", "tags"):
        if name in made:
            made[name] = (made[name],) if isinstance(made[name], str) else tuple(made[name])
    for output in made.get("outputs", ()):
        valid_name(output, "output")
    if len(set(made.get("outputs", ()))) != len(made.get("outputs", ())):
        raise UsageError(f"@aq.{role}(outputs=…) names an output twice")
    if "version" in made:
        made["version"] = str(made["version"])
    one_of(made.get("cache", "always"), ("always", "never"), "cache")
    one_of(made.get("severity", "error"), ("error", "warning"), "severity")
    made["better"] = _better(made.get("better"))
    _limit(made)
    return Options(**made)


def _limit(made: dict[str, Any]) -> None:
    """The numbers behind `timeout`, `memory` and `retries`."""
    if made.get("timeout") is not None:
        made["timeout"] = limits.seconds(made["timeout"])
    if made.get("memory") is not None:
        made["memory"] = limits.size(made["memory"])
    retries = made.get("retries", 0)
    if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
        raise UsageError(f"retries={retries!r}: use a number of further attempts, such as 2")


def _better(given: Any) -> str | dict[str, str] | None:
    if isinstance(given, Mapping):
        return {str(key): one_of(value, ("higher", "lower"), "better") for key, value in given.items()}
    return None if given is None else one_of(given, ("higher", "lower"), "better")


def one_of(value: Any, allowed: tuple[str, ...], argument: str) -> str:
    """A word, if it is one of these. Raises UsageError."""
    if value in allowed:
        return str(value)
    raise UsageError(f"{argument}={value!r}: use {' or '.join(repr(a) for a in allowed)}")


def valid_name(name: str, role: str) -> str:
    """The name, if it can be a part of a path. Raises UsageError."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise UsageError(
        f"{name!r} cannot name the {role}: use letters, digits and '_-.', as in @aq.{role}(name=\"total\")"
    )
