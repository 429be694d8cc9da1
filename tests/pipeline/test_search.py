"""The search for a first bad commit, against brute force on random histories."""

import pytest
from aq.formats.errors import No, UsageError
from aq.formats.identity import Digest
from aq.formats.records import Commit
from aq.pipeline.prove.judge import Judge, Rule, by_endpoints
from aq.pipeline.prove.search import Skipped, Trail, first_bad
from hypothesis import given, settings, strategies as st

BAD_BELOW = Judge(0.5, bad_above=False)


def name(number: int) -> Digest:
    return Digest(number.to_bytes(32, "big"))


def commit(number: int, parents: list[int]) -> Commit:
    return Commit(
        snapshot=name(number),
        time=number,
        author="a",
        message=str(number),
        parents=[name(parent) for parent in parents],
    )


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[Digest, Commit], list[list[int]]]:
    """A connected history: commit 0 is GOOD and left out, the last is BAD."""
    count = draw(st.integers(1, 24))
    parents = [[]] + [
        sorted({draw(st.integers(max(0, i - 4), i - 1)), draw(st.integers(max(0, i - 2), i - 1))})
        for i in range(1, count + 1)
    ]
    ancestors = {count}
    for i in range(count, 0, -1):
        if i in ancestors:
            ancestors.update(parents[i])
    graph = {name(i): commit(i, parents[i]) for i in sorted(ancestors) if i}
    return graph, parents


@given(histories(), st.data())
@settings(max_examples=150)
def test_the_culprit_is_bad_and_no_parent_in_question_is(
    history: tuple[dict[Digest, Commit], list[list[int]]], data: st.DataObject
) -> None:
    graph, _ = history
    last = max(graph)
    values = {id: data.draw(st.sampled_from([0.0, 1.0])) for id in graph} | {last: 0.0}
    recorded = {id for id in graph if data.draw(st.booleans())}
    trail = Trail(recorded=lambda id: values[id] if id in recorded else ..., compute=values.__getitem__)
    found = first_bad(graph, last, BAD_BELOW, trail)
    assert found.culprit is not None
    assert values[found.culprit] == 0.0
    assert found.culprit == last or found.culprit in trail.values
    for parent in graph[found.culprit].parents:
        cleared = any(values[id] == 1.0 and _precedes(graph, Digest(parent), id) for id in trail.values)
        assert Digest(parent) not in graph or cleared


def _precedes(graph: dict[Digest, Commit], ancestor: Digest, id: Digest) -> bool:
    stack = [id]
    while stack:
        at = stack.pop()
        if at == ancestor:
            return True
        stack.extend(Digest(parent) for parent in graph[at].parents if Digest(parent) in graph)
    return False


@given(st.lists(st.sampled_from([0.0, 1.0, None]), min_size=1, max_size=40), st.data())
def test_on_a_line_it_is_an_edge_from_good_to_bad(middle: list[float | None], data: st.DataObject) -> None:
    series = [*middle, 0.0]
    graph = {name(i): commit(i, [i - 1]) for i in range(1, len(series) + 1)}
    recorded = {id for id in graph if data.draw(st.booleans())}

    def value(id: Digest) -> float:
        found = series[int.from_bytes(id, "big") - 1]
        return 1.0 if found is None else found

    trail = Trail(recorded=lambda id: value(id) if id in recorded else ..., compute=value)
    culprit = first_bad(graph, name(len(series)), BAD_BELOW, trail).culprit
    assert culprit is not None
    assert value(culprit) == 0.0
    before = name(int.from_bytes(culprit, "big") - 1)
    assert before == name(0) or value(before) == 1.0


@given(st.integers(1, 300), st.data())
@settings(max_examples=60)
def test_a_line_is_halved(length: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, length))
    graph = {name(i): commit(i, [i - 1]) for i in range(1, length + 1)}
    trail = Trail(
        recorded=lambda id: 0.0 if id == name(length) else ...,
        compute=lambda id: 0.0 if int.from_bytes(id, "big") >= first else 1.0,
    )
    found = first_bad(graph, name(length), BAD_BELOW, trail)
    assert found.culprit == name(first)
    assert trail.count("computed") <= length.bit_length()


def test_recorded_values_cost_nothing() -> None:
    graph = {name(i): commit(i, [i - 1]) for i in range(1, 13)}
    trail = Trail(recorded=lambda id: 0.0 if id >= name(9) else 1.0, compute=_never)
    assert first_bad(graph, name(12), BAD_BELOW, trail).culprit == name(9)
    assert trail.count("recorded") == 12


def _never(id: Digest) -> float:
    raise AssertionError(f"{id} was computed")


def test_what_cannot_be_evaluated_is_named() -> None:
    graph = {name(i): commit(i, [i - 1]) for i in range(1, 6)}

    def compute(id: Digest) -> float:
        if id in (name(2), name(3), name(4)):
            raise Skipped("no code there")
        return 1.0

    trail = Trail(recorded=lambda id: 0.0 if id == name(5) else ..., compute=compute)
    found = first_bad(graph, name(5), BAD_BELOW, trail)
    assert found.culprit is None
    assert set(found.candidates) == {name(2), name(3), name(4), name(5)}
    assert trail.count("skipped") == 3


def test_the_edge_nearest_to_bad_is_found_where_the_series_heals_in_between() -> None:
    values = {1: 1.0, 2: 0.0, 3: 1.0, 4: 1.0, 5: 0.0}
    graph = {name(i): commit(i, [i - 1]) for i in values}
    trail = Trail(recorded=lambda id: values[int.from_bytes(id, "big")], compute=_never)
    assert first_bad(graph, name(5), BAD_BELOW, trail).culprit == name(5)


def test_a_long_history_is_searched_with_bit_sets() -> None:
    count = 3000
    graph = {name(i): commit(i, [i - 1]) for i in range(1, count + 1)}
    trail = Trail(
        recorded=lambda id: 0.0 if id == name(count) else ...,
        compute=lambda id: 0.0 if id >= name(1717) else 1.0,
    )
    assert first_bad(graph, name(count), BAD_BELOW, trail).culprit == name(1717)
    assert trail.count("computed") <= 12


def test_judges() -> None:
    assert by_endpoints(Rule(), 0.9, 0.5).is_bad(0.6)
    assert not by_endpoints(Rule(), 0.9, 0.5).is_bad(0.8)
    assert by_endpoints(Rule(), 1.0, 3.0).is_bad(2.5)
    assert by_endpoints(Rule(worse_by=0.1), 0.9, 0.7).is_bad(0.8)
    assert by_endpoints(Rule(above=5.0), 1.0, 9.0).is_bad(6.0)
    assert by_endpoints(Rule(below=0.8), 0.9, 0.7).is_bad(0.75)
    assert by_endpoints(Rule(), 0.9, None).is_bad(None)


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [(Rule(), 0.9, 0.9), (Rule(), None, 0.9), (Rule(worse_by=0.5), 0.9, 0.7), (Rule(above=5.0), 9.0, 9.0)],
)
def test_ends_that_cannot_be_told_apart(rule: Rule, good: float | None, bad: float | None) -> None:
    with pytest.raises(No):
        by_endpoints(rule, good, bad)


def test_rules_exclude_one_another() -> None:
    with pytest.raises(UsageError):
        Rule(above=1.0, below=0.0)
