"""What a new version of a file is compared with: the old pieces that lay where its pieces lie."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest
from aq.formats.contents.earlier import REACH, Earlier, Near
from aq.formats.contents.files import Piece
from aq.formats.errors import Damaged
from aq.formats.identity import Digest
from aq.formats.packing.packs import BASES_MOST
from hypothesis import given, strategies as st

KIB = 1024
Cut = tuple[int, int]
"""A piece: what it holds, and its length."""
cuts = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 1024 * KIB)), max_size=30)


def digest(number: int) -> Digest:
    return Digest(number.to_bytes(32, "little"))


def earlier(cut: Sequence[Cut]) -> Earlier:
    return Earlier(
        (Piece(digest(name), length, True) for name, length in cut), sum(length for _, length in cut)
    )


def near(old: Sequence[Cut], new: Sequence[Cut], at_a_time: int = 100) -> list[Near | None]:
    """What each new piece is near to, told of some at a time."""
    found, beside = [], earlier(old)
    for start in range(0, len(new), at_a_time):
        some = new[start : start + at_a_time]
        ids, lengths = [digest(name) for name, _ in some], [length for _, length in some]
        found += beside.near(ids, lengths, ended=start + at_a_time >= len(new))
    return found


def numbers(one: Near | None) -> list[int]:
    return [] if one is None else [int.from_bytes(id, "little") for id in one.ids]


OLD = [(number, length) for number, length in enumerate(random.Random(3).choices(range(64, 1024), k=40))]
OLD = [(number, length * KIB) for number, length in OLD]


@given(cuts, cuts, st.integers(1, 8))
def test_only_a_few_old_pieces_in_their_order_are_named(
    old: list[Cut], new: list[Cut], at_a_time: int
) -> None:
    order = [name for name, _ in old]
    for one in near(old, new, at_a_time):
        named = iter(order)
        assert len(numbers(one)) <= BASES_MOST and all(name in named for name in numbers(one))
        assert one is None or (one.ids and one.shifts)


def test_what_is_equal_needs_no_base_and_tells_where_both_are() -> None:
    new = [*OLD[:10], (100, OLD[10][1]), *OLD[11:]]
    found = near(OLD, new)
    assert [numbers(one) for one in found] == [[]] * 10 + [[10]] + [[]] * 29
    assert found[10] == Near((digest(10),), (0,), sure=True)


@pytest.mark.parametrize("at_a_time", [1, 5, 100])
def test_a_piece_cut_elsewhere_lies_across_the_old_ones(at_a_time: int) -> None:
    """In place of two pieces three, which begin and end where these did."""
    whole = OLD[10][1] + OLD[11][1]
    parts = [(100, whole // 8), (101, whole // 4 * 3), (102, whole - whole // 8 - whole // 4 * 3)]
    found = near(OLD, [*OLD[:10], *parts, *OLD[12:]], at_a_time)
    assert numbers(found[10]) == [10] and numbers(found[11]) == [10, 11] and numbers(found[12])[-1] == 11
    middle = found[11]
    assert middle is not None and whole // 8 in middle.shifts and not middle.sure


def test_what_was_inserted_moves_the_rest() -> None:
    """The piece before what is equal again is compared with what lay before that."""
    tail = (101, OLD[10][1] - 60 * KIB)
    found = near(OLD, [*OLD[:10], (100, 900 * KIB), tail, *OLD[11:]])
    assert numbers(found[11]) == [10] and found[11] is not None and 60 * KIB in found[11].shifts


@pytest.mark.parametrize("inserted", [0, 7, 20])
def test_cut_alike_is_followed_through_small_moves(inserted: int) -> None:
    """Every piece has changed and is a little longer or shorter; somewhere other ones were put in."""
    source = random.Random(5)
    changed = [(100 + number, length + source.randrange(-200, 200)) for number, length in OLD]
    foreign = [(200 + number, source.randrange(64, 1024) * KIB) for number in range(inserted)]
    found = near(OLD, [*changed[:20], *foreign, *changed[20:]])
    sure = [numbers(one) for one in found if one is not None and one.sure]
    kept = [number for number in range(40) if [number] in sure]
    assert len(kept) >= 38 and len(sure) <= 41


def test_a_file_of_other_content_is_compared_at_its_ends_alone() -> None:
    source = random.Random(6)
    other = [(1_000 + number, source.randrange(64, 1024) * KIB) for number in range(2_000)]
    old = [(number, source.randrange(64, 1024) * KIB) for number in range(2_000)]
    compared = [one for one in near(old, other, 16) if one is not None]
    assert len(compared) <= 2 * REACH // (64 * KIB) and not any(one.sure for one in compared[20:])
    assert len(compared) < 60


def test_a_list_that_cannot_be_read_resembles_nothing() -> None:
    def broken() -> Iterator[Piece]:
        yield Piece(digest(0), 100 * KIB, True)
        raise Damaged("as wanted")

    beside = Earlier(broken(), 500 * KIB)
    assert beside.near([digest(0)], [100 * KIB], ended=False) == [None]
    assert beside.near([digest(8), digest(9)], [100 * KIB, 300 * KIB], ended=True) == [None, None]
