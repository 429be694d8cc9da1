"""What the outermost layer knows and hands down: clock, user, working directory, command line.

Invariant: below `cli/` and the package root nothing else reads the environment or the clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

_USERINFO = r"(?<=://)[^/@\s]+@"  # patterns are compiled when they are used: reading redacts nothing
_QUERY = r"(?<=\?)\S+"
_NAME = r"[^=\s]*(pass|pwd|secret|token|key|credential|auth)[^=\s]*"
_SECRET = rf"(?i)(--?\w+=)?{_NAME}="
_SECRET_FLAG = rf"(?i)--{_NAME}"
_IN_JSON = rf'(?i)"{_NAME}"\s*:'.replace("[^=", '[^"')


class Context(msgspec.Struct, frozen=True):
    """`now` gives nanoseconds since 1970 UTC, `offset` the minutes east of UTC at such a time.

    `author` is what the caller wants recorded ("" leaves it to the configuration and to Git);
    `user` is user@host; `argv` the command line, for the operation log; `environ` the environment
    variables, of which only declared ones are ever looked at.
    """

    now: Callable[[], int]
    offset: Callable[[int], int]
    cwd: Path
    user: str
    author: str = ""
    argv: tuple[str, ...] = ()
    environ: Mapping[str, str] = {}


def redact(argv: Sequence[str]) -> list[str]:
    """A command line without secrets: no user information or query in URLs, no value of a secret's name."""
    kept: list[str] = []
    for word in argv:
        follows = bool(kept) and re.fullmatch(_SECRET_FLAG, kept[-1]) is not None and not word.startswith("-")
        kept.append("…" if follows else _redact_one(re.sub(_QUERY, "…", re.sub(_USERINFO, "…@", word))))
    return kept


def _redact_one(word: str) -> str:
    found = re.match(_SECRET, word) or re.search(_IN_JSON, word)
    return f"{word[: found.end()]}…" if found else word
