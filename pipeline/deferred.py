"""A module of this layer that is imported when it is first used.

Invariant: naming one costs nothing, so that a command imports only what its own verb needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Deferred:
    """Stands for `aq.pipeline.ROOM.NAME` and has its attributes."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        """Import the module if nobody has, and look there."""
        return getattr(import_module(f"aq.pipeline.{self._name}"), attribute)
