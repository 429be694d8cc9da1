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
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

from aq.formats.partitions import general
from aq.pipeline.graph import Node
from aq.pipeline.params import as_text
from blake3 import blake3

if TYPE_CHECKING:
    from importlib.abc import Loader

_TAG: Final = b"aq seed 1"
_RANDOM: Final = "numpy.random"


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
    """Seed `random` and, where they are loaded, numpy and torch; put their states back at the end.

    Of numpy it is enough to be there when it is loaded: loading it takes longer than most small ops.
    """
    torch = sys.modules.get("torch")
    torch_before = torch.random.get_rng_state() if torch is not None else None
    before = random.getstate()
    random.seed(seed)
    if torch is not None:
        torch.manual_seed(seed)
    try:
        with _numpy(seed & 0xFFFF_FFFF):
            yield
    finally:
        random.setstate(before)
        if torch is not None:
            torch.random.set_rng_state(torch_before)


@contextmanager
def _numpy(seed: int) -> Iterator[None]:
    """Seed numpy's generator, now or when it is loaded."""
    loaded = sys.modules.get(_RANDOM)
    if loaded is not None:
        before = loaded.get_state()
        loaded.seed(seed)
        try:
            yield
        finally:
            loaded.set_state(before)
        return
    waiting = _WhenLoaded(seed)
    sys.meta_path.insert(0, waiting)
    try:
        yield
    finally:
        waiting.leave()
        if waiting.before is not None:
            sys.modules[_RANDOM].set_state(waiting.before)


class _WhenLoaded:
    """An entry of `sys.meta_path`, and the loader that it gives: numpy's own, and then the seed.

    `before`: the state that numpy began with; None until it is loaded.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._loader: Any = None
        self._is_asking = False
        self.before: Any = None

    def leave(self) -> None:
        """Be no entry any more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`: of `numpy.random`, found by whoever else is asked."""
        if name != _RANDOM or self._is_asking:
            return None
        self._is_asking = True
        try:
            spec = find_spec(name)
        finally:
            self._is_asking = False
        if spec is not None and spec.loader is not None:
            self._loader, spec.loader = spec.loader, cast("Loader", self)
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """See `importlib.abc.Loader`."""
        return cast("ModuleType | None", self._loader.create_module(spec))

    def exec_module(self, module: Any) -> None:
        """See `importlib.abc.Loader`."""
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self.leave()
        self.before = module.get_state()
        module.seed(self._seed)
