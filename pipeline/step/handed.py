"""What an op is called with: the values of its inputs, and whether it changed them in place.

Invariant: each value is loaded once, and looked at before anybody else sees it. One of them may wait
until it is needed whole, which for an op that makes row of row it seldom is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aq.pipeline.step import mutation
from aq.pipeline.step.inputs import Input


class Handed:
    """The inputs `given` by place, each loaded by `load`; that of the place `later` only when needed."""

    def __init__(
        self, given: Mapping[str, Input], load: Callable[[Input], Any], later: str | None = None
    ) -> None:
        self._given, self._load = given, load
        self._values = {place: load(one) for place, one in given.items() if place != later}
        self._before = mutation.look(self._values)

    def whole(self) -> Mapping[str, Any]:
        """All values."""
        for place, one in self._given.items():
            if place not in self._values:
                self._values[place] = self._load(one)
                self._before |= mutation.look({place: self._values[place]})
        return self._values

    def but(self, place: str, value: Any) -> Mapping[str, Any]:
        """All values, with another one in one place."""
        return {**self._values, place: value}

    def changed(self) -> list[str]:
        """The places of values that are no longer what they were."""
        return mutation.changed(self._before, self._values)
