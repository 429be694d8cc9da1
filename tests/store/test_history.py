"""Walks over commits against a plain graph."""

from __future__ import annotations

from pathlib import Path

from aq.formats.identity import Digest
from aq.formats.objects import MemoryObjects, put_record
from aq.formats.records import Commit
from aq.store.commits import history
from aq.store.commits.history import Head
from aq.store.commits.refs import Ref
from hypothesis import given, strategies as st

from tests.store.folder import Bench

NODES = st.lists(
    st.tuples(st.sets(st.integers(0, 11), max_size=3), st.sampled_from([0, 0, 1])), min_size=1, max_size=12
)
Graph = dict[Digest, set[Digest]]


def grow(nodes: list[tuple[set[int], int]]) -> tuple[MemoryObjects, list[Digest], Graph]:
    """Commits whose parents are earlier ones and whose times often are equal."""
    objects, ids, graph, times = MemoryObjects(), [], {}, []
    for number, (chosen, step) in enumerate(nodes):
        parents = sorted({each for each in chosen if each < number})
        time = max([times[each] for each in parents], default=0) + step
        record = Commit(
            snapshot=b"\0" * 32, time=time, author="a", message=str(number), parents=[ids[p] for p in parents]
        )
        ids.append(put_record(objects, record))
        times.append(time)
        graph[ids[-1]] = {ids[p] for p in parents}
    return objects, ids, graph


def reachable(graph: Graph, tips: set[Digest]) -> set[Digest]:
    found, stack = set(), list(tips)
    while stack:
        id = stack.pop()
        if id not in found:
            found.add(id)
            stack += graph[id]
    return found


@given(NODES, st.data())
def test_walk_is_what_is_reachable_with_children_first(
    nodes: list[tuple[set[int], int]], data: st.DataObject
) -> None:
    objects, ids, graph = grow(nodes)
    tips = data.draw(st.sets(st.sampled_from(ids), max_size=3))
    exclude = data.draw(st.sets(st.sampled_from(ids), max_size=2))
    walked = list(history.walk(objects, tips, exclude))
    order = [id for id, _ in walked]
    assert set(order) == reachable(graph, tips) - reachable(graph, exclude) and len(order) == len(set(order))
    for at, id in enumerate(order):
        assert not graph[id] & set(order[:at])
    times = [commit.time for _, commit in walked]
    assert times == sorted(times, reverse=True)


@given(NODES, st.data())
def test_ancestors_and_merge_bases(nodes: list[tuple[set[int], int]], data: st.DataObject) -> None:
    objects, ids, graph = grow(nodes)
    a, b = data.draw(st.sampled_from(ids)), data.draw(st.sampled_from(ids))
    assert history.is_ancestor(objects, a, b) == (a in reachable(graph, {b}))
    common = reachable(graph, {a}) & reachable(graph, {b})
    best = {one for one in common if not any(one in reachable(graph, graph[other]) for other in common)}
    found = history.merge_bases(objects, a, b)
    assert set(found) == best and len(found) == len(best)


def test_first_parents() -> None:
    objects, ids, _ = grow([(set(), 1), ({0}, 1), ({0}, 1), ({1, 2}, 1)])
    chain = [commit.message for _, commit in history.first_parents(objects, ids[3])]
    first = history.commit(objects, history.commit(objects, ids[3]).parents[0]).message
    assert chain == ["3", first, "0"]


def test_a_walk_reads_only_what_it_yields(tmp_path: Path) -> None:
    objects, ids, _ = grow([(set(), 1)] + [({n}, 1) for n in range(10)])
    seen = []

    class Counted:
        def get(self, kind: history.Digest, id: bytes) -> bytes:
            seen.append(id)
            return objects.get(kind, id)  # type: ignore[arg-type]

    walk = history.walk(Counted(), [ids[-1]])  # type: ignore[arg-type]
    next(walk)
    next(walk)
    assert len(seen) <= 3


def test_head(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert history.head(bench.store) == Head("branch/main", None)
    id = bench.commit()
    assert history.head(bench.store) == Head("branch/main", id)
    bench.refs({"HEAD": Ref(id)})
    assert history.head(bench.store) == Head(None, id)
    bench.store.close()
