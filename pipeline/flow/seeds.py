"""Seeds: each op draws the same random numbers in every version of a pipeline.

Invariant: a seed depends on the flow's name, the step's name and the seed given, on nothing else (not on
the partition), so that two versions are compared under common random numbers. The caller's generators are
put back afterwards. docs/format.md, section 10, has the derivation.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, NamedTuple

from aq.formats.partitions import general
from aq.pipeline.flow.graph import Node
from aq.pipeline.flow.loading import seen
from aq.pipeline.flow.params import as_text
from blake3 import blake3

_TAG: Final = b"aq seed 1"


def derive(flow: str, step: str, text: str) -> int:
    """A 64-bit seed for a step; `text` is the canonical text of the seed given, or empty."""
    hasher = blake3(_TAG)
    for part in (flow, step, text):
        data = part.encode("utf-8", "surrogateescape")
        hasher.update(len(data).to_bytes(8, "little") + data)
    return int.from_bytes(hasher.digest(length=8), "little")


def seed_of(flow: str, node: Node, params: Mapping[str, Any]) -> int:
    """The seed of a step: from the op's own `seed=`, else from the flow's parameter `seed`."""
    given = node.op.options.seed
    if given is None:
        given = params.get("seed")
    return derive(flow, general(node.name), "" if given is None else as_text(given))


class _Generator(NamedTuple):
    """A library's own generator: what it is in now, how it is seeded, and how it is put back."""

    module: str
    state: Callable[[Any], Any]
    seed: Callable[[Any, int], object]
    restore: Callable[[Any, Any], object]


_GENERATORS: Final = (
    _Generator(
        "numpy.random",
        lambda random: random.get_state(),
        lambda random, seed: random.seed(seed & 0xFFFF_FFFF),
        lambda random, state: random.set_state(state),
    ),
    _Generator(
        "torch",
        lambda torch: torch.random.get_rng_state(),
        lambda torch, seed: torch.manual_seed(seed),
        lambda torch, state: torch.random.set_rng_state(state),
    ),
)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed `random`, numpy and torch; put their states back at the end.

    A library that is not loaded yet is seeded when it is: loading it takes longer than most small ops.
    """
    before = random.getstate()
    random.seed(seed)
    states: list[tuple[_Generator, Any, Any]] = []

    def see(one: _Generator, module: Any) -> None:
        with suppress(AttributeError):  # a module of the user's that has the name
            states.append((one, module, one.state(module)))
            one.seed(module, seed)

    try:
        with seen({one.module: partial(see, one) for one in _GENERATORS}):
            yield
    finally:
        for one, module, state in states:
            one.restore(module, state)
        random.setstate(before)
