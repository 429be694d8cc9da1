"""Where inside a value something lies, as text for people: `.model.layers[3]['name']`.

Invariant: a place reads like the Python expression that leads there from the whole value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aq.formats.errors import Unstorable

_STEPS_MOST: Final = 20

Place = str | int | tuple[Any]
"""A step inwards: text as it is (`.name`), an index, or a dict's key in a tuple of one."""


def render(places: Sequence[Place]) -> str:
    """The steps as one expression; long keys are cut, and the middle of a long way."""
    shown = [_render(place) for place in places if place != ""]
    if len(shown) > _STEPS_MOST:
        shown[_STEPS_MOST // 2 : -_STEPS_MOST // 2] = ["…"]
    return "".join(shown)


def _render(place: Place) -> str:
    if isinstance(place, str):
        return place
    if isinstance(place, int):
        return f"[{place}]"
    text = repr(place[0])
    return f"[{text if len(text) <= 60 else text[:59] + '…'}]"


def placed(error: Unstorable, at: str, places: Sequence[Place]) -> Unstorable:
    """The same error with its place in front: `argument 'model' → .callback: a lambda …`."""
    inside = render(places)
    where = f"{at} → {inside}" if at and inside else at or inside
    return Unstorable(f"{where}: {error.message}" if where else error.message, hint=error.hints)
