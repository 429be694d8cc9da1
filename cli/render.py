"""JSON: the envelope of an answer and the one encoder.

Invariant: JSON is the result record itself, field for field; NaN and infinities are null; text
renderings of the same records live in `aq.cli.text_*`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec

VERSION = 1


def envelope(command: str, record: Any) -> str:
    """`{"version": 1, "command": …, "data": …}` and a newline."""
    data = list(record) if isinstance(record, Iterator) else record
    return encode({"version": VERSION, "command": command, "data": data}) + "\n"


def encode(record: Any) -> str:
    """One JSON text. Paths that are no UTF-8 keep their bytes as escaped surrogates."""
    try:
        return msgspec.json.encode(record, enc_hook=_plain).decode()
    except UnicodeEncodeError:
        import json

        return json.dumps(_finite(msgspec.to_builtins(record, enc_hook=_plain)), ensure_ascii=True)


def _plain(value: object) -> object:
    """What msgspec does not know: bytes of a subclass, numpy scalars in a sample of rows."""
    if isinstance(value, bytes):
        return value.hex()
    item = getattr(value, "item", None)
    return item() if callable(item) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
