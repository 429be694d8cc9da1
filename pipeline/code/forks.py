"""A file that a process shares with those that it forks, in which these leave what they saw.

Invariant: what a child tells is there as soon as it has told it, so one that is killed loses nothing.
Processes that begin anew (`spawn`, joblib's own) have no part in it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from typing import IO


class Shared:
    """Pairs of texts from children. Make it before the fork; `is_child` is set after it."""

    def __init__(self) -> None:
        self.is_child = False
        self._file: IO[bytes] = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - `told` closes it

    def tell(self, name: str, text: str) -> None:
        """Leave a pair for the parent: one write, so that those of several children stay apart."""
        os.write(self._file.fileno(), json.dumps([name, text]).encode() + b"\n")

    def told(self) -> Iterator[tuple[str, str]]:
        """All pairs so far; then the file is closed."""
        with self._file as file:
            file.seek(0)
            for line in file.read().splitlines():
                name, text = json.loads(line)
                yield name, text
