"""Which values are secrets, by what they are called, and the mark that stands for one in a record.

Invariant: a secret text enters no record in clear; equal texts give equal marks, so that a change is
seen. It hides from readers, not from guessing: a mark is a digest, and a short password can be tried.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from pathlib import PurePath
from typing import Any, Final

from blake3 import blake3

PLAIN_MARK: Final = "<redacted>"
_MARK: Final = re.compile(r"<redacted [0-9a-f]{12}>")
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_ALONE: Final = frozenset(
    "password passwords passwd passphrase pwd secret secrets token credential credentials apikey".split()
)
_KEYS: Final = frozenset("api access private secret signing encryption master account".split())
_IN_QUERIES: Final = frozenset("sig signature key auth".split())
_USERINFO: Final = re.compile(r"https?://[^/@\s?#]+@|://[^/@\s?#]*:[^/@\s?#]+@")
_QUERY_NAME: Final = re.compile(r"[?&]([^=&\s]+)=")
_SHORTEST: Final = 4
"""A known secret that is shorter is looked for as a whole text only: it is part of too many."""


def names_secret(name: str) -> bool:
    """Whether a name says so: a word of it is password, token and so on, or two are api key, access key."""
    words = [word.lower() for word in _WORD.findall(name)]
    pairs = pairwise(words)
    return not _ALONE.isdisjoint(words) or any(
        first in _KEYS and second in ("key", "keys") for first, second in pairs
    )


def is_secret(name: str, value: Any, known: Collection[str] = ()) -> bool:
    """Whether a text is, or one inside a list or map: by its name, by one of `known`, or as a URL that
    lets its reader in. Numbers, truth and nothing are never secret.
    """
    return any(
        names_secret(at) or _lets_in(text) or text in known or any(_within(one, text) for one in known)
        for at, text in texts_in(name, value)
    )


def texts_in(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """The texts of a value that are not empty, each with the name that it goes by."""
    waiting, seen = [(name, value)], set()
    while waiting:
        at, one = waiting.pop()
        if isinstance(one, bytes):
            one = one.decode("latin-1")
        if isinstance(one, str | PurePath):
            if str(one):
                yield at, str(one)
        elif type(one) in (list, tuple, set, frozenset, dict) and id(one) not in seen:
            seen.add(id(one))
            items = one.items() if isinstance(one, dict) else ((at, item) for item in one)
            waiting += [(key if isinstance(key, str) else at, item) for key, item in items]


def mark(text: str) -> str:
    """What a record says in place of a secret."""
    return f"<redacted {blake3(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}>"


def is_mark(text: str) -> bool:
    """Whether a text stands for a secret that was not recorded."""
    return _MARK.fullmatch(text) is not None


def recorded(params: Mapping[str, str]) -> dict[str, str]:
    """Texts of params as a record has them."""
    return {name: mark(text) if is_secret(name, text) else text for name, text in params.items()}


def to_pass_again(params: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The params of a recorded run for another call: a secret that was a default is left to the default."""
    return {name: text for name, text in params.items() if name in given or not is_mark(text)}


def _lets_in(text: str) -> bool:
    """Whether a URL holds a user or a password, or is signed."""
    if "://" not in text:
        return False
    return _USERINFO.search(text) is not None or any(
        names_secret(name) or not _IN_QUERIES.isdisjoint(word.lower() for word in _WORD.findall(name))
        for name in _QUERY_NAME.findall(text)
    )


def _within(secret: str, text: str) -> bool:
    return len(secret) >= _SHORTEST and secret in text
