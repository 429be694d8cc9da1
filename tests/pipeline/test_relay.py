"""The store as a worker sees it: what it carries and what lies below are read alike."""

from __future__ import annotations

from pathlib import Path

from aq.formats.identity import Kind, object_id
from aq.formats.objects import Derived, Visited
from aq.pipeline.processes.relay import Packed, Relay

from tests.pipeline.repository import create


def test_many_objects_are_shown_from_wherever_they_lie(tmp_path: Path) -> None:
    with create(tmp_path) as repo:
        relay = Relay(repo.store)
        assert isinstance(relay, Visited) and isinstance(relay, Derived)
        below = [repo.store.put(Kind.CHUNK, bytes([at]) * 100) for at in range(5)]
        relay.begin([Packed(Kind.CHUNK, b"carried")])
        carried = object_id(Kind.CHUNK, b"carried")
        put = relay.put(Kind.CHUNK, b"put here")
        ids = [below[3], carried, below[0], put, below[3]]
        seen: dict[int, bytes] = {}
        relay.visit(Kind.CHUNK, ids, lambda at, data: seen.update({at: bytes(data)}))
        assert seen == {0: b"\3" * 100, 1: b"carried", 2: b"\0" * 100, 3: b"put here", 4: b"\3" * 100}
        assert [relay.size_of(id) for id in ids] == [100, 7, 100, 8, 100]
        assert relay.origins(ids)[1] is None and relay.origins(ids)[3] is None
