"""Documents: small JSON that aq keeps for itself (an environment, the shape of a flow's code).

Invariant: an artifact of format `json` like any other value; below the inline limit it lies
uncompressed in one record, so that `status` and `show` read it without zstandard.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aq.formats.errors import Damaged
from aq.formats.identity import Digest
from aq.formats.objects import Sink, Source, get_record
from aq.formats.records import Artifact


def put(sink: Sink, document: Any) -> Digest:
    """Store a JSON-able document with sorted keys."""
    from aq.formats.artifacts import values

    plain = msgspec.json.decode(msgspec.json.encode(document, order="sorted"))
    return values.encode(plain, sink).id


def get(source: Source, id: bytes) -> Any:
    """Read it back as plain dicts and lists. Raises Damaged."""
    record = get_record(source, Artifact, id)
    if record.data is None:
        from aq.formats.artifacts import values

        return values.decode(record, source)
    try:
        return msgspec.json.decode(record.data)
    except msgspec.DecodeError as error:
        raise Damaged(f"a document cannot be read: {error}") from None
