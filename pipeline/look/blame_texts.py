"""`blame` of text by lines, and of documents and models by their keys, hyperparameters and tensors.

Invariant: a line is inherited while it is equal and in the same order; an entry of a document while its
value is. No pickle is opened: tensors are known by their digests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from aq.formats.comparing.sequence import Blocks
from aq.formats.comparing.spans import coalesced, overlap, uncovered
from aq.formats.lines import matching_lines
from aq.formats.objects import Source
from aq.formats.records import Artifact
from aq.pipeline.look.blame_walk import Version


@dataclass(frozen=True)
class LineTracer:
    """Traces runs of lines: first line in a version, first line in the newest one, length."""

    source: Source

    def inherited(self, parent: Version, child: Version, parts: Blocks) -> tuple[Blocks, Blocks]:
        """See `Tracer`."""
        old, new = (lines(one.artifact, self.source) for one in (parent, child))
        if old is None or new is None:
            return parts[:0], parts
        kept = np.array(matching_lines(old, new), np.int64).reshape(-1, 3)
        passed = overlap(parts, kept)[:, [2, 1, 3]]
        return coalesced(passed), uncovered(parts, kept)

    def joined(self, one: Blocks, other: Blocks) -> Blocks:
        """See `Tracer`."""
        both = np.concatenate([one, other])
        return both[np.argsort(both[:, 0], kind="stable")]

    def is_empty(self, parts: Blocks) -> bool:
        """See `Tracer`."""
        return not len(parts)


def lines(record: Artifact, source: Source) -> list[str] | None:
    """The lines of a text, without their ends; None for other bytes."""
    from aq.pipeline.look.filediff import text_of

    text = text_of(record, source)
    return None if text is None else text.splitlines()


class Item(NamedTuple):
    """One entry of a value: what decides whether it is the same, and how it is shown."""

    same: str
    shown: Any


@dataclass(frozen=True)
class ItemTracer:
    """Traces the entries of a document or a model: {name in a version: name in the newest one}."""

    source: Source
    path: str

    def inherited(
        self, parent: Version, child: Version, parts: dict[str, str]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """See `Tracer`."""
        old, new = (items(one.artifact, self.source, self.path) for one in (parent, child))
        kept = {name for name in parts if name in old and old[name].same == new[name].same}
        return (
            {name: final for name, final in parts.items() if name in kept},
            {name: final for name, final in parts.items() if name not in kept},
        )

    def joined(self, one: dict[str, str], other: dict[str, str]) -> dict[str, str]:
        """See `Tracer`."""
        return {**one, **other}

    def is_empty(self, parts: dict[str, str]) -> bool:
        """See `Tracer`."""
        return not parts


def items(record: Artifact, source: Source, path: str) -> dict[str, Item]:
    """The entries of a value: keys of a document, hyperparameters and tensors of a model, else the whole."""
    return dict(_entries(record, source, path)) or {
        "": Item(json.dumps([str(record.root), str(record.data), str(record.type)]), f"{record.size:,} bytes")
    }


def _entries(record: Artifact, source: Source, path: str) -> Iterator[tuple[str, Item]]:
    from aq.formats.artifacts import values
    from aq.formats.models.files import is_model_file, summarise_file

    if record.format in ("json", "metric") or (record.format == "bytes" and is_document(record, source)):
        yield from _inside("", _document(record, source))
    elif record.kind == "model" or record.format == "pickle":
        yield from _model(values.summarise(record, source))
    elif record.format == "bytes" and is_model_file(path):
        yield from _model(summarise_file(path, record, source) or {})


def is_document(record: Artifact, source: Source) -> bool:
    """Whether a file holds a JSON object."""
    from aq.pipeline.look.filediff import text_of

    text = text_of(record, source)
    if text is None or text.lstrip()[:1] != "{":
        return False
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _document(record: Artifact, source: Source) -> Any:
    from aq.formats.artifacts import values

    if record.format == "bytes":
        return json.loads(b"".join(values.file_bytes(record, source)))
    found = values.decode(record, source)
    return getattr(found, "value", found)


def _inside(name: str, value: Any) -> Iterator[tuple[str, Item]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _inside(f"{name}.{key}" if name else str(key), inner)
    else:
        yield name, Item(json.dumps(value, sort_keys=True), value)


def _model(summary: dict[str, Any]) -> Iterator[tuple[str, Item]]:
    for name, value in (summary.get("hyperparameters") or {}).items():
        yield name, Item(json.dumps(value, sort_keys=True, default=str), value)
    for tensor in (one for one in summary.get("tensors") or () if one.get("digest")):
        shape = "×".join(map(str, tensor["shape"])) or "scalar"
        same = json.dumps([tensor.get("digest"), tensor["dtype"], shape])
        yield f"tensor {tensor['name'] or 'itself'}", Item(same, f"{tensor['dtype']} {shape}")
