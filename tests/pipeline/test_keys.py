"""The step key: golden vectors, and that every part counts once and apart."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from aq.formats.records import Step
from aq.pipeline.flow.seeds import derive
from aq.pipeline.step.keys import step_key
from blake3 import blake3
from hypothesis import given, strategies as st

EMPTY = Step(key=b"", op="flights:clean")
FULL = Step(
    key=b"",
    op="flights:clean",
    role="metric",
    seed=2**63 + 5,
    python="3.11",
    code={"flights:clean": "ab", "flights:Limits.low": "cd"},
    values={"flights:LIMIT": "ef"},
    params={"depth": "6 " + "1" * 64, "name": "'a b' " + "2" * 64},
    inputs={"flights": bytes(range(32)), "frames[0]": bytes(32)},
    packages={"pandas": "3.1.1"},
    variables={"REGION": "77"},
    options={"version": "2", "as flights": "arrow"},
)


def sized(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data


def mapped(entries: dict[bytes, bytes]) -> bytes:
    body = b"".join(sized(key) + sized(entries[key]) for key in sorted(entries))
    return len(entries).to_bytes(8, "little") + body


def test_the_key_is_what_the_format_says_byte_by_byte() -> None:
    payloads = [
        b"flights:clean",
        b"metric",
        (2**63 + 5).to_bytes(8, "little"),
        b"3.11",
        mapped({b"flights:clean": b"ab", b"flights:Limits.low": b"cd"}),
        mapped({b"flights:LIMIT": b"ef"}),
        mapped({b"depth": b"1" * 64, b"name": b"2" * 64}),
        mapped({b"flights": bytes(range(32)), b"frames[0]": bytes(32)}),
        mapped({b"pandas": b"3.1.1"}),
        mapped({b"REGION": b"77"}),
        mapped({b"version": b"2", b"as flights": b"arrow"}),
    ]
    fields = b"".join(bytes([tag]) + sized(payload) for tag, payload in enumerate(payloads, start=1))
    assert step_key(FULL) == blake3(b"aq step key 1" + fields).digest()


@pytest.mark.parametrize(
    ("step", "golden"),
    [
        (EMPTY, "ec7a92bf5a2533c400e577613a576fdd4297b8fff0c8ea63e149ea3e79b8be8d"),
        (FULL, "49a41f1e3c6537da5e6cd43add31c87ba36edeed5d96b2b515ad4370aa5dfdbd"),
    ],
)
def test_golden_vectors(step: Step, golden: str) -> None:
    assert str(step_key(step)) == golden


def test_the_golden_seed() -> None:
    assert derive("delays", "delays/train", "") == 6514278443385824919
    data = b"".join(sized(text) for text in (b"delays", b"delays/train", b"7"))
    expected = int.from_bytes(blake3(b"aq seed 1" + data).digest()[:8], "little")
    assert derive("delays", "delays/train", "7") == expected


def test_what_is_shown_of_a_param_does_not_count() -> None:
    other = msgspec.structs.replace(FULL, params={"depth": "six " + "1" * 64, "name": "? " + "2" * 64})
    assert step_key(other) == step_key(FULL)


def test_outputs_opaque_and_hidden_do_not_count() -> None:
    other = msgspec.structs.replace(
        FULL, outputs=[("", b"1" * 32)], opaque=["eval at flow.py:3"], hidden={"a": "b"}, key=b"2" * 32
    )
    assert step_key(other) == step_key(FULL)


CHANGES: list[dict[str, Any]] = [
    {"op": "flights:clean2"},
    {"role": "op"},
    {"seed": 5},
    {"python": "3.12"},
    {"code": {"flights:clean": "ab"}},
    {"values": {}},
    {"values": {"flights:LIMIT": "e", "f": ""}},
    {"params": {"depth": "6 " + "3" * 64, "name": "'a b' " + "2" * 64}},
    {"inputs": {"flights": bytes(range(32)), "frames[1]": bytes(32)}},
    {"packages": {"pandas": "3.1.2"}},
    {"packages": {}, "variables": {"REGION": "77", "pandas": "3.1.1"}},
    {"variables": {"REGION": "unset"}},
    {"options": {"version": "2", "as flights": "polars"}},
]


def test_every_part_counts_and_no_two_changes_are_one() -> None:
    keys = {step_key(msgspec.structs.replace(FULL, **change)) for change in CHANGES}
    assert len(keys) == len(CHANGES)
    assert step_key(FULL) not in keys


names = st.text(max_size=4)
maps = st.dictionaries(names, names, max_size=3)


@given(maps, maps, maps, maps)
def test_keys_are_equal_exactly_where_the_parts_are(
    a: dict[str, str], b: dict[str, str], c: dict[str, str], d: dict[str, str]
) -> None:
    first = Step(key=b"", op="f", code=a, values=b)
    second = Step(key=b"", op="f", code=c, values=d)
    assert (step_key(first) == step_key(second)) == ((a, b) == (c, d))
    backwards = Step(key=b"", op="f", code=dict(reversed(a.items())), values=b)
    assert step_key(backwards) == step_key(first)
