"""What an op sets for its whole process is undone when it has ended.

Invariant: a step begins with the settings that importing the code has left, whether or not the steps before
it ran: a style for plots, display options, the working directory. What a module of the project sets
when it is first imported, also in the midst of a step, stays. Nothing is imported here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, NamedTuple
from warnings import catch_warnings, simplefilter

from aq.pipeline.code.importing import on_import
from aq.pipeline.flow.loading import seen


class _Setting(NamedTuple):
    """What a library keeps for the whole process: how it is read, and how it is put back."""

    module: str
    read: Callable[[Any], Any]
    put: Callable[[Any, Any], object]


def _rc(matplotlib: Any) -> dict[str, Any]:
    found = dict.copy(matplotlib.rcParams)
    found.pop("backend", None)  # as matplotlib's own rc_context: it is not only a setting
    return found


def _options(pandas: Any) -> dict[str, Any]:
    """All options by their full names."""
    found: dict[str, Any] = {}
    waiting = [("", pandas._config.config._global_config)]
    while waiting:
        prefix, values = waiting.pop()
        for name, value in values.items():
            if isinstance(value, dict):
                waiting.append((f"{prefix}{name}.", value))
            else:
                found[prefix + name] = value
    return found


def _set_options(pandas: Any, before: dict[str, Any]) -> None:
    now = _options(pandas)
    changed = {name: value for name, value in before.items() if name in now and now[name] is not value}
    if changed:
        with catch_warnings():
            simplefilter("ignore")  # of one that is deprecated the op has heard already
            for name, value in changed.items():
                pandas.set_option(name, value)


def _numpy(numpy: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return numpy.geterr(), numpy.get_printoptions()


def _set_numpy(numpy: Any, before: tuple[dict[str, Any], dict[str, Any]]) -> None:
    numpy.seterr(**before[0])
    if numpy.get_printoptions() != before[1]:
        numpy.set_printoptions(**before[1])


def _torch(torch: Any) -> tuple[Any, bool]:
    return torch.get_default_dtype(), torch.is_grad_enabled()


def _set_torch(torch: Any, before: tuple[Any, bool]) -> None:
    torch.set_default_dtype(before[0])
    torch.set_grad_enabled(before[1])


_SETTINGS: Final = (
    _Setting("matplotlib", _rc, lambda matplotlib, before: dict.update(matplotlib.rcParams, before)),
    _Setting("pandas", _options, _set_options),
    _Setting("numpy", _numpy, _set_numpy),
    _Setting(
        "sklearn", lambda sklearn: sklearn.get_config(), lambda sklearn, before: sklearn.set_config(**before)
    ),
    _Setting("torch", _torch, _set_torch),
    _Setting(
        "decimal",
        lambda decimal: decimal.getcontext().copy(),
        lambda decimal, before: decimal.setcontext(before),
    ),
    _Setting(
        "locale",
        lambda locale: locale.setlocale(locale.LC_ALL),
        lambda locale, before: locale.setlocale(locale.LC_ALL, before),
    ),
)


@contextmanager
def undone() -> Iterator[None]:
    """Within, settings may be changed: at the end they are what they were."""
    known: dict[_Setting, tuple[Any, Any]] = {}

    def see(one: _Setting, module: Any) -> None:
        with suppress(AttributeError):  # a module of the user's that has the name
            known[one] = module, one.read(module)

    def again() -> None:
        for one, (module, _) in list(known.items()):
            see(one, module)

    with _folder(), on_import(again), seen({one.module: partial(see, one) for one in _SETTINGS}):
        try:
            yield
        finally:
            for one, (module, before) in known.items():
                one.put(module, before)


@contextmanager
def _folder() -> Iterator[None]:
    """The working directory, which may be gone already."""
    try:
        before = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield
        return
    try:
        yield
    finally:
        os.fchdir(before)
        os.close(before)
