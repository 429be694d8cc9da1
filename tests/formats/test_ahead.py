"""Two threads store what one would have stored: the same ids, in the same order, and no thread left."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from aq.formats.contents.ahead import BEHIND_MOST, Ahead, Job
from aq.formats.identity import Buffer, Digest, Kind, object_id
from aq.formats.objects import MemoryObjects
from hypothesis import given, strategies as st


class Halves:
    """A sink with two halves, which notes the order of admission and can refuse."""

    def __init__(self, refused: bytes = b"") -> None:
        self.admitted: list[bytes] = []
        self.threads: set[str] = set()
        self.refused = refused

    def put(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Digest:
        return self.admit(self.stage(kind, data, base=base))

    def stage(self, kind: Kind, data: Buffer, *, base: bytes | None = None) -> Any:
        self.threads.add(threading.current_thread().name)
        if self.refused and bytes(data) == self.refused:
            raise OSError("refused")
        return object_id(kind, data)

    def admit(self, staged: Any) -> Digest:
        assert threading.current_thread() is threading.main_thread()
        self.admitted.append(staged)
        return Digest(staged)


def through(sink: Any, datas: list[bytes], most: int) -> list[Digest]:
    """Put all, with at most `most` bytes under way."""
    jobs: list[Job] = []
    ids = []
    with Ahead(sink) as ahead:
        for data in datas:
            jobs.append(ahead.put(Kind.CHUNK, data))
            while ahead.behind > most:
                ids.append(ahead.settle(jobs.pop(0)))
        ids += [ahead.settle(job) for job in jobs]
        assert ahead.behind == 0
    return ids


@given(st.lists(st.binary(max_size=50)), st.integers(0, 300))
def test_ids_in_order(datas: list[bytes], most: int) -> None:
    sink = Halves()
    expected = [object_id(Kind.CHUNK, data) for data in datas]
    assert through(sink, datas, most) == sink.admitted == expected
    assert through(MemoryObjects(), datas, most) == expected


def test_much_is_shared_with_a_second_thread_which_ends() -> None:
    sink = Halves()
    datas = [bytes((number,)) * (1 << 20) for number in range(40)]
    assert through(sink, datas, BEHIND_MOST) == [object_id(Kind.CHUNK, data) for data in datas]
    assert "aq second" in sink.threads
    assert all(thread.name != "aq second" for thread in threading.enumerate())


@pytest.mark.parametrize("number", [0, 20, 39])
def test_an_error_comes_out_where_the_object_is_settled(number: int) -> None:
    datas = [bytes((number,)) * (1 << 20) for number in range(40)]
    sink = Halves(refused=datas[number])
    with pytest.raises(OSError, match="refused"):
        through(sink, datas, BEHIND_MOST)
    assert len(sink.admitted) == number
    assert all(thread.name != "aq second" for thread in threading.enumerate())


def test_leaving_early_leaves_no_thread() -> None:
    with pytest.raises(KeyError), Ahead(Halves()) as ahead:
        for number in range(30):
            ahead.put(Kind.CHUNK, bytes((number,)) * (1 << 20))
        raise KeyError
    assert all(thread.name != "aq second" for thread in threading.enumerate())
