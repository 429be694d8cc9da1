"""Where inside a value something lies, as text for people: `.model.layers[3]['name']`.

Invariant: a place reads like the Python expression that leads there from the whole value.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aq.formats.errors import Unstorable

Place = str | int | tuple[Any]
"""A step inwards: text as it is (`.name`), an index, or a dict's key in a tuple of one."""


def render(places: Iterable[Place]) -> str:
    """The steps as one expression; long keys are cut."""
    return "".join(_render(place) for place in places)


def _render(place: Place) -> str:
    if isinstance(place, str):
        return place
    if isinstance(place, int):
        return f"[{place}]"
    text = repr(place[0])
    return f"[{text if len(text) <= 60 else text[:59] + '…'}]"


def placed(error: Unstorable, at: str, places: Iterable[Place]) -> Unstorable:
    """The same error with its place in front: `argument 'model' → .callback: a lambda …`."""
    inside = render(places)
    where = f"{at} → {inside}" if at and inside else at or inside
    return Unstorable(f"{where}: {error.message}" if where else error.message, hint=error.hints)
