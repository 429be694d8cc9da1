"""Which direction of a metric is an improvement.

Invariant: the newest commit on the line of HEAD that recorded the metric decides, by what its op declared.
"""

from __future__ import annotations

from aq.formats.objects import get_record
from aq.formats.records import Artifact
from aq.pipeline.history import facts, log
from aq.store import revisions
from aq.store.commits import history, snapshots
from aq.store.store import Store


def better_of(store: Store, metric: str) -> str | None:
    """Which direction of a metric is an improvement, as declared: higher | lower, or None."""
    tip = log.commit_of(revisions.resolve(store, "HEAD"))
    for id, commit in history.first_parents(store, tip):
        known = facts.of(store, id)
        path, key = log.in_newest(known, metric), ""
        if path not in known.recorded:
            continue
        entry = snapshots.get_entry(store, commit.snapshot, path)
        if entry is None:
            path, _, key = path.rpartition(".")
            entry = snapshots.get_entry(store, commit.snapshot, path)
        if entry is None:
            continue
        declared = (get_record(store, Artifact, entry.artifact).type or {}).get("better")
        return declared.get(key) if isinstance(declared, dict) else declared
    return None
