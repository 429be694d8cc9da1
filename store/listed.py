"""Whether steps are still listed under their keys: told for thousands in one look at the index.

Invariant: a step in the index is listed, or named as lost: a rebuild found it in a pack, and not
everything that it refers to. One that is made again is listed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aq.store.store import Store


def are_listed(store: Store, steps: Sequence[bytes]) -> bool:
    """Whether all of these published steps are there and none of them is lost."""
    with store.index.look() as look:
        if look.unreliable(steps):
            return False
        if next(look.items("lost"), None) is None:
            return True
        return all(look.get("lost", id) is None for id in steps)
