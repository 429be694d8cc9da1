"""Work shared by two threads: never more than two, however deep."""

from __future__ import annotations

import threading

from aq.formats.threads import SecondThread, alone


def workers(depth: int) -> set[int]:
    """The threads that work where each shares its work again, so many times."""
    seen: set[int] = set()
    both = threading.Barrier(2)

    def work(left: int) -> None:
        seen.add(threading.get_ident())
        if left == depth:
            both.wait(30)
        if left:
            with SecondThread(lambda: work(left - 1), lambda: None) as second:
                work(left - 1)
                second.finish()

    with SecondThread(lambda: work(depth), lambda: None) as second:
        work(depth)
        second.finish()
    return seen


def test_who_shares_work_already_works_alone_below() -> None:
    assert [len(workers(depth)) for depth in (0, 3, 0)] == [2, 2, 2]


def test_no_second_thread_where_one_is_to_work_alone() -> None:
    seen = []
    with alone(), SecondThread(lambda: seen.append(threading.get_ident()), lambda: None) as second:
        second.finish()
    assert not seen
    assert len(workers(0)) == 2, "afterwards there is one again"
