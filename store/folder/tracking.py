"""What `aq add` and `aq remove` have said since the last commit.

Invariant: the nearest rule, on a path or on the closest folder above it, decides whether the
path is tracked; without one HEAD does. Rules mark, they hold no content (docs/format.md, 6).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Final, Literal

import msgspec
from aq.formats.errors import Damaged
from aq.formats.identity import Digest, Kind
from aq.formats.objects import Sink, Source
from aq.store.system.paths import ancestors

Rule = Literal["+", "!", "-"]
ADD: Final = "+"
FORCE: Final = "!"
REMOVE: Final = "-"
_decoder = msgspec.msgpack.Decoder(dict[bytes, Rule])


class Tracking:
    """The pending rules: path → rule. Never changed; each step gives a new one."""

    def __init__(self, rules: Mapping[bytes, Rule] | None = None) -> None:
        self.rules: Mapping[bytes, Rule] = rules or {}

    def __bool__(self) -> bool:
        return bool(self.rules)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tracking) and self.rules == other.rules

    def __hash__(self) -> int:
        return hash(frozenset(self.rules.items()))

    @cached_property
    def _sorted(self) -> list[bytes]:
        return sorted(self.rules)

    def rule(self, path: bytes) -> Rule | None:
        """The nearest rule, or None where HEAD decides."""
        rules = self.rules
        if path in rules:
            return rules[path]
        for folder in ancestors(path):
            if folder in rules:
                return rules[folder]
        return rules.get(b"")

    def has_below(self, folder: bytes) -> bool:
        """Whether a rule stands on a path strictly below a folder."""
        start = folder + b"/" if folder else b""
        at = bisect_right(self._sorted, start)
        return at < len(self._sorted) and self._sorted[at].startswith(start)

    def adding(self, rules: Mapping[bytes, Rule]) -> Tracking:
        """With these rules, in place of all at and below their paths."""
        return Tracking({**self.dropping(rules).rules, **rules})

    def dropping(self, paths: Iterable[bytes]) -> Tracking:
        """Without the rules at and below these paths, as after a commit of them."""
        gone = set(paths)
        if b"" in gone:
            return Tracking()
        kept = {p: r for p, r in self.rules.items() if p not in gone and gone.isdisjoint(ancestors(p))}
        return Tracking(kept)


def load(source: Source, id: bytes | None) -> Tracking:
    """Read the rules that ref `tracking` names. Raises Damaged."""
    if id is None:
        return Tracking()
    try:
        return Tracking(_decoder.decode(source.get(Kind.CHUNK, id)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Damaged(f"the list of pending additions cannot be read: {error}") from None


def save(sink: Sink, tracking: Tracking) -> Digest | None:
    """Write the rules; None where there are none, and no ref is needed."""
    if not tracking:
        return None
    rules = {bytes(path): tracking.rules[path] for path in sorted(tracking.rules)}
    return sink.put(Kind.CHUNK, msgspec.msgpack.encode(rules))
