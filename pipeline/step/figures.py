"""Figures of matplotlib: as PNG, and what an op leaves open.

Invariant: equal figures give equal bytes, with no version and no time in them. pyplot draws on the figure
that was open last, so an op begins with none, and what it has opened is closed when it has ended: no step
draws on another one's, nor on one of a notebook. matplotlib is never imported here.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from aq.formats.classes import module_of


def is_figure(value: object) -> bool:
    """Whether it is a figure of matplotlib."""
    return any(
        module_of(cls).startswith("matplotlib.") and cls.__name__ == "Figure" for cls in type(value).__mro__
    )


def png(figure: Any) -> io.BytesIO:
    """The figure as it would be saved, at its start."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    stream.seek(0)
    return stream


@contextmanager
def apart() -> Iterator[None]:
    """No figure is open at first, those that are opened are closed, and those from before are there again."""
    before = dict(_open())
    _open().clear()
    try:
        yield
    finally:
        for number in list(_open()):
            sys.modules["matplotlib.pyplot"].close(number)
        _open().update(before)


def _open() -> MutableMapping[int, Any]:
    """The figures that pyplot knows, by number."""
    known = getattr(sys.modules.get("matplotlib._pylab_helpers"), "Gcf", None)
    return {} if known is None else known.figs
