"""Merges inside a path that both sides changed: tables by key, texts by lines.

Invariant: a path is merged whole or not at all, and then says where the sides clash. Nothing is stored
before `hand_over`. Files are merged as texts, also CSV; a file that would be no JSON any more is not.
"""

from __future__ import annotations

import json
from typing import Any, Final

from aq.formats.identity import Buffer, Digest, Kind, object_id
from aq.formats.lines import Clash, merge_lines
from aq.formats.objects import MemoryObjects, Source, get_record, put_record
from aq.formats.records import Artifact
from aq.pipeline.look.filediff import TEXT_MOST, text_of
from aq.pipeline.records.results import InsideConflict
from aq.store.commits.merge import NEITHER, Triple
from aq.store.commits.snapshots import Entry, Mode, Origin
from aq.store.store import Store

_DOCUMENTS: Final = (".json", ".ipynb")
_SHOWN: Final = 200


class Inside:
    """Merges the content of paths; `clashes` holds by path what is in the way.

    New objects lie in memory on top of `source`: those that the store has already take no room.
    """

    def __init__(self, store: Store, source: Source) -> None:
        self._store = store
        self._source = source
        self._memory = MemoryObjects()
        self._bases: dict[Digest, bytes | None] = {}
        self._summaries: dict[Digest, dict[str, Any]] = {}
        self.clashes: dict[str, list[InsideConflict]] = {}

    def __call__(self, path: str, states: Triple) -> Entry | None:
        """The merged entry of a path that all three versions have, or None."""
        base, ours, theirs = states
        if base is None or ours is None or theirs is None or base == NEITHER:
            return None
        if ours.origin != theirs.origin or any(one.mode is Mode.SYMLINK for one in (base, ours, theirs)):
            return None
        records = [get_record(self, Artifact, one.artifact) for one in (base, ours, theirs)]
        if all(one.kind == "table" for one in records):
            artifact = self._table(path, *records)
        elif all(one.format == "bytes" and one.size <= TEXT_MOST for one in records):
            artifact = self._text(path, *records)
        else:
            return None
        if artifact is None:
            return None
        mode = theirs.mode if ours.mode == base.mode else ours.mode
        return Entry(artifact, ours.origin, None, mode if ours.origin is Origin.FILE else Mode.FILE)

    def _table(self, path: str, base: Artifact, ours: Artifact, theirs: Artifact) -> Digest | None:
        from aq.formats.comparing.merging import TableMerge, merge_tables

        found = merge_tables(base, ours, theirs, self)
        if not isinstance(found, TableMerge):
            self.clashes[path] = [InsideConflict(**one._asdict()) for one in found if one.kind != "table"]
            return None
        built = found.build(self, self)
        artifact = put_record(self, built.artifact)
        self._summaries[artifact] = built.summary
        return artifact

    def _text(self, path: str, base: Artifact, ours: Artifact, theirs: Artifact) -> Digest | None:
        from aq.formats.artifacts import values

        if any(text_of(one, self) is None for one in (base, ours, theirs)):
            return None
        data = [b"".join(values.file_bytes(one, self)) for one in (base, ours, theirs)]
        merged, clashes = merge_lines(*(one.splitlines(keepends=True) for one in data))
        if clashes:
            self.clashes[path] = [_told(one) for one in clashes]
            return None
        whole = b"".join(merged)
        if path.lower().endswith(_DOCUMENTS) and not _is_document(whole):
            return None
        import io

        return values.encode_file(io.BytesIO(whole), len(whole), self).id

    def get(self, kind: Kind, id: bytes) -> bytes:
        """See `Source`."""
        if bytes(id) in self._memory.objects:
            return self._memory.get(kind, id)
        return self._source.get(kind, id)

    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Digest:
        """See `Sink`."""
        digest = object_id(kind, data)
        if self._store.kind_of(digest) is None:
            self._bases[self._memory.put(kind, data)] = base
        return digest

    def hand_over(self) -> None:
        """Store what was made."""
        for id, base in self._bases.items():
            kind, data = self._memory.objects[id]
            self._store.put(kind, data, base=base)
        for id, summary in self._summaries.items():
            self._store.put_summary(id, summary)


def _is_document(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _told(clash: Clash) -> InsideConflict:
    base, ours, theirs = (b"".join(part).decode()[:_SHOWN] for part in clash[1:])
    return InsideConflict(
        kind="lines", column=None, key={"line": clash.line + 1}, base=base, ours=ours, theirs=theirs
    )
