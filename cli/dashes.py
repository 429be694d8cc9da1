"""A path typed where a revision stands: the hint that puts `--` before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aq.formats.errors import NotFound


@contextmanager
def revision_or_path(command: str, word: str | None) -> Iterator[None]:
    """Turn "unknown revision" into the command with `--` where the word is a path of the folder."""
    try:
        yield
    except NotFound as error:
        if word and Path(word).exists():
            raise NotFound(error.message, hint=[f"aq {command} -- {word}", *error.hints][:2]) from None
        raise
