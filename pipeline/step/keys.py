"""The key of a step: one digest over every part that its result may depend on.

Invariant: docs/format.md, section 10, byte by byte. Equal keys mean equal parts, and no part is
left out; what only steers the execution (retries, tags, severity) never enters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from aq.formats.identity import Digest
from aq.formats.records import Step
from blake3 import blake3

_TAG: Final = b"aq step key 1"
_EMPTY: Final = bytes(8)


def step_key(step: Step) -> Digest:
    """The key over the parts of a step; its own `key` and its outputs do not count."""
    prints = {name: text.rpartition(" ")[2] for name, text in step.params.items()}
    fields = (
        _text(step.op),
        _text(step.role),
        step.seed.to_bytes(8, "little"),
        _text(step.python),
        _map(step.code, _text),
        _map(step.values, _text),
        _map(prints, _text),
        _map(step.inputs, bytes),
        _map(step.packages, _text),
        _map(step.variables, _text),
        _map(step.options, _text),
    )
    hasher = blake3(_TAG)
    for tag, payload in enumerate(fields, start=1):
        hasher.update(bytes((tag,)) + _sized(payload))
    return Digest(hasher.digest())


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data


def _map(entries: Mapping[str, Any], encode: Callable[[Any], bytes]) -> bytes:
    if not entries:
        return _EMPTY
    rows = sorted((_text(name), encode(value)) for name, value in entries.items())
    return len(rows).to_bytes(8, "little") + b"".join(_sized(name) + _sized(value) for name, value in rows)
