"""What a check of the store finds, before and after it is known who is affected.

Invariant: a finding names one object, pack or ref; `repair` is a command that can be pasted, or empty
where nothing that aq has can bring the bytes back.
"""

from __future__ import annotations

from typing import NamedTuple

from aq.formats.packing.packs import Place
from aq.store.frames.environment import REBUILD

__all__ = ["REBUILD", "Finding", "Problem"]


class Finding(NamedTuple):
    """One thing that is wrong. `id` is an object's id, or a name; `place` what the index says of it."""

    kind: str
    id: bytes | str | None
    detail: str
    repair: str
    place: Place | None = None
    is_unlisted: bool = False
    """Whether all that is wrong is that the index does not list it: so it is with what was collected."""


class Problem(NamedTuple):
    """A finding with who is affected: the newest commit's path, and the newest commits that need it."""

    kind: str
    id: str | None
    path: str | None
    detail: str
    repair: str
    commits: list[str]
