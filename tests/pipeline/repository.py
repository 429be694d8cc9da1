"""A repository for tests: a fixed clock that ticks a second a look, a named author, no environment."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from aq.pipeline.change.context import Context
from aq.pipeline.repo import Repo

START = 1_700_000_000 * 1_000_000_000
SECOND = 1_000_000_000


def context(folder: Path, author: str = "Ada <ada@example.org>") -> Context:
    """A context whose clock starts in November 2023."""
    ticks: Iterator[int] = count(START, SECOND)
    return Context(
        now=lambda: next(ticks),
        offset=lambda now: 0,
        cwd=folder,
        user="ada@test",
        author=author,
        argv=("aq", "test"),
    )


def create(folder: Path) -> Repo:
    """A new repository in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return Repo.create(folder, context(folder))
