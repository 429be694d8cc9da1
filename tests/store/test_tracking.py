"""Pending rules against the plainest reading of their definition."""

from __future__ import annotations

import msgspec
import pytest
from aq.formats.errors import Damaged
from aq.formats.identity import Kind
from aq.formats.objects import MemoryObjects
from aq.store.folder import tracking
from aq.store.folder.tracking import Rule, Tracking
from hypothesis import given, strategies as st

PATHS = st.lists(st.sampled_from([b"a", b"b", b"a-b"]), max_size=3).map(b"/".join)
RULES = st.dictionaries(PATHS, st.sampled_from(["+", "-", "!"]), max_size=8)


def above(path: bytes) -> list[bytes]:
    """The path, the folders above it, the root: closest first."""
    parts = path.split(b"/") if path else []
    return [b"/".join(parts[:n]) for n in range(len(parts), -1, -1)]


@given(RULES, PATHS)
def test_the_nearest_rule_decides(rules: dict[bytes, Rule], path: bytes) -> None:
    found = next((rules[place] for place in above(path) if place in rules), None)
    assert Tracking(rules).rule(path) == found
    assert Tracking(rules).has_below(path) == any(path in above(other)[1:] for other in rules)


@given(RULES, RULES)
def test_a_new_rule_replaces_all_at_and_below_it(old: dict[bytes, Rule], new: dict[bytes, Rule]) -> None:
    expected = {path: rule for path, rule in old.items() if not any(place in new for place in above(path))}
    assert Tracking(old).adding(new).rules == expected | new
    assert Tracking(old).dropping(new).rules == expected


@given(RULES)
def test_rules_survive_being_stored(rules: dict[bytes, Rule]) -> None:
    objects = MemoryObjects()
    id = tracking.save(objects, Tracking(rules))
    assert (id is None) == (not rules)
    assert tracking.load(objects, id) == Tracking(rules)
    assert tracking.save(objects, Tracking(dict(reversed(rules.items())))) == id


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", msgspec.msgpack.encode({b"a": "x"}), msgspec.msgpack.encode(["+"])]
)
def test_hostile_rules_are_refused(data: bytes) -> None:
    objects = MemoryObjects()
    with pytest.raises(Damaged):
        tracking.load(objects, objects.put(Kind.CHUNK, data))
