"""Did you mean …: the known names that are closest to one that is not known."""

from __future__ import annotations

from collections.abc import Iterable

from aq.store.system.paths import show

_SCANNED_MOST = 20_000


def nearest(name: str, known: Iterable[str], *, count: int = 3) -> list[str]:
    """Up to `count` known names, the most similar first; at most 20,000 of them are looked at.

    A name that is equal but for case, or the last part of a path, comes first.
    Source of the measure: Ratcliff and Metzener, Pattern matching: the gestalt approach, 1988.
    """
    from difflib import get_close_matches
    from itertools import islice

    candidates = list(dict.fromkeys(islice(known, _SCANNED_MOST)))
    wanted = name.casefold()
    same = [
        each for each in candidates if each.casefold() == wanted or each.casefold().endswith("/" + wanted)
    ]
    close = get_close_matches(name, candidates, n=count, cutoff=0.6)
    return list(dict.fromkeys(same + close))[:count]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A part of a message, with a space before it: " (did you mean main?)", or "" if nothing is close."""
    found = list(map(show, nearest(name, known)))
    return f" (did you mean {' or '.join(found)}?)" if found else ""
