"""Golden vectors: ids of version 1 must never change without a decision and a new format version."""

from __future__ import annotations

import pytest
from aq.formats.identity import Digest, Kind, is_hex_prefix, object_id, pre_image
from aq.formats.objects import MemoryObjects, put_record
from aq.formats.records import Artifact, Commit, Node
from blake3 import blake3
from hypothesis import given, strategies as st

GOLDEN = [
    (Kind.CHUNK, b"", "9b779f74b305adc3ec513485085d52e95f9ce4fbaf9e56cb02d38a07e19353df"),
    (Kind.CHUNK, b"abc", "3f51c873996e377f5a6fcec5fe636078618f7d33d25450fc11cb2927cd28d929"),
    (Kind.NODE, b"abc", "477441076043b541e6438bd9d2c745720592975d4053da0f60cfe1d559587ac0"),
    (Kind.ARTIFACT, bytes(100_000), "c03fda5c4c1874534e62d101cdfac210348cdbcb0c862b64842c27330afea105"),
    (Kind.COMMIT, "résumé".encode(), "be3dbbf1b36c07d58ecaae72ada200ec3b476e1359546c4e38357073ac673907"),
]


@pytest.mark.parametrize(("kind", "data", "digits"), GOLDEN)
def test_golden_ids(kind: Kind, data: bytes, digits: str) -> None:
    assert str(object_id(kind, data)) == digits
    assert object_id(kind, data) == blake3(pre_image(kind, len(data)) + data).digest()


RECORDS = [
    (
        Artifact(kind="value", format="json", size=1, data=b"1"),
        "42be0fadadd334d0f9268114026df944f7c5b2d10b0b016576bf41b3bb96ae13",
    ),
    (
        Artifact(kind="file", format="bytes", size=1 << 40, root=bytes(32)),
        "d8b5dea630b52702c12342266b6573fe7347c5ec75193f81711af9df08a2e1fb",
    ),
    (
        Node(level=0, values=[b"1"], keys=[b"a"]),
        "216922c4d47ae22ea82000552c5d561f1e52ebc98da8fa7141f7e0cb890bddf7",
    ),
    (
        Commit(snapshot=bytes(32), time=1, author="a", message="m", parents=[bytes(32)]),
        "a2353ecd2faf5066be6658ad0f1b1e6f11d1f12f18eceb4a4cd05ef304a25014",
    ),
]


@pytest.mark.parametrize(("record", "digits"), RECORDS, ids=lambda value: type(value).__name__)
def test_golden_ids_of_records(record: Artifact | Node | Commit, digits: str) -> None:
    assert str(put_record(MemoryObjects(), record)) == digits


@given(st.sampled_from(Kind), st.sampled_from(Kind), st.binary(), st.binary())
def test_kind_and_content_are_all_of_an_id(one: Kind, other: Kind, first: bytes, second: bytes) -> None:
    assert (object_id(one, first) == object_id(other, second)) == ((one, first) == (other, second))


@given(st.binary(), st.sampled_from([bytearray, memoryview]))
def test_any_buffer_gives_the_same_id(data: bytes, kind: type) -> None:
    assert object_id(Kind.CHUNK, kind(data)) == object_id(Kind.CHUNK, data)


def test_a_digest_is_a_value_of_32_bytes() -> None:
    digest = object_id(Kind.CHUNK, b"")
    assert Digest.parse(str(digest)) == digest
    assert digest.short() == str(digest)[:8]
    assert {digest: 1}[Digest(bytes(digest))] == 1
    for wrong in (b"", bytes(31), bytes(33)):
        with pytest.raises(ValueError, match="32 bytes"):
            Digest(wrong)
    assert [is_hex_prefix(text) for text in ("abcd", "abc", "ABCD", "xyz1", "0" * 64, "0" * 65)] == [
        True,
        False,
        False,
        False,
        True,
        False,
    ]
