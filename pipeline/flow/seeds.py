"""Seeds: each op draws the same random numbers in every version of a pipeline.

Invariant: a seed depends on the flow's name, the step's name and the seed given, on nothing else (not on
the partition), so that two versions are compared under common random numbers. The caller's generators are
put back afterwards. docs/format.md, section 10, has the derivation.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from aq.formats.partitions import general
from aq.pipeline.flow.graph import Node
from aq.pipeline.flow.params import as_text
from blake3 import blake3

if TYPE_CHECKING:
    from importlib.abc import Loader

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
    try:
        with ExitStack() as stack:
            for one in _GENERATORS:
                stack.enter_context(_seeded(one, seed))
            yield
    finally:
        random.setstate(before)


@contextmanager
def _seeded(generator: _Generator, seed: int) -> Iterator[None]:
    """Seed a library's generator, now or when it is loaded."""
    loaded = sys.modules.get(generator.module)
    waiting = _WhenLoaded(generator, seed)
    if loaded is None:
        sys.meta_path.insert(0, waiting)
    else:
        waiting.seed(loaded)
    try:
        yield
    finally:
        waiting.leave()
        if waiting.before is not None:
            generator.restore(sys.modules[generator.module], waiting.before)


class _WhenLoaded:
    """An entry of `sys.meta_path`, and the loader that it gives: the library's own, and then the seed.

    `before`: the state that the generator was in; None until the library is loaded.
    """

    def __init__(self, generator: _Generator, seed: int) -> None:
        self._generator, self._seed = generator, seed
        self._loader: Any = None
        self._is_asking = False
        self.before: Any = None

    def seed(self, module: Any) -> None:
        """Seed it, and remember how it was."""
        with suppress(AttributeError):  # a module of the user's that has the name
            self.before = self._generator.state(module)
            self._generator.seed(module, self._seed)

    def leave(self) -> None:
        """Be no entry any more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`: of this library, found by whoever else is asked."""
        if name != self._generator.module or self._is_asking:
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
        self.seed(module)
