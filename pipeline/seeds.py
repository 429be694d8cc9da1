"""Seeds: each op draws the same random numbers in every version of a pipeline.

Invariant: a seed depends on the flow's name, the step's name and the seed given, on nothing else (not on
the partition), so that two versions are compared under common random numbers. The caller's generators are
put back afterwards. docs/format.md, section 10, has the derivation.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from aq.formats.partitions import general
from aq.pipeline.graph import Node
from aq.pipeline.params import as_text
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


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed `random`, numpy and, where it is loaded, torch; put their states back at the end."""
    import numpy as np

    torch = sys.modules.get("torch")
    torch_before = torch.random.get_rng_state() if torch is not None else None
    before, numpy_before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed & 0xFFFF_FFFF)
    if torch is not None:
        torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)
        if torch is not None:
            torch.random.set_rng_state(torch_before)
