"""Fixtures for whatever executes flows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.workshop import DELAYS, ROWS, Workshop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    """An empty project with a store."""
    found = Workshop(tmp_path)
    yield found
    found.store.close()


@pytest.fixture
def delays(shop: Workshop) -> Workshop:
    """The project with the flow `delays` and its data."""
    shop.write(DELAYS)
    (shop.root / "a.csv").write_text(ROWS)
    return shop
