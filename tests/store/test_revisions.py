"""What users type for commits, runs and paths."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aq.formats.errors import NotFound, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import put_record
from aq.formats.records import Commit, Run
from aq.store import revisions
from aq.store.commits import snapshots
from aq.store.commits.refs import Ref
from hypothesis import given, strategies as st

from tests.store.folder import Bench

DAY = 86_400 * 1_000_000_000


def day(number: int) -> int:
    """Noon of a day of March 2026, ns."""
    return int(datetime(2026, 3, number, 12, tzinfo=UTC).timestamp()) * 1_000_000_000


class History:
    """Three commits on main (1, 2, 5 March), a merge of a side branch on the 9th, a run."""

    def __init__(self, root: Path) -> None:
        self.bench = Bench(root)
        self.store = self.bench.store
        empty = snapshots.empty(self.store)
        self.first = self.bench.commit_snapshot(empty, "first", at=day(1), git="aa11" + "0" * 36)
        self.second = self.bench.commit_snapshot(empty, "second", at=day(2), git="aa22" + "0" * 36)
        self.third = self.bench.commit_snapshot(empty, "third", at=day(5), git="aa22" + "0" * 36)
        self.side = self.commit([self.first], "side", day(6))
        self.merge = self.commit([self.third, self.side], "merge", day(9))
        run = Run(flow="delays", file="f.py", time=day(9), status="gated", snapshot=empty)
        self.run = put_record(self.store, run)
        self.bench.refs(
            {
                "branch/main": Ref(self.merge),
                "branch/feature/x": Ref(self.side),
                "tag/v1": Ref(self.second),
                "remote/origin/main": Ref(self.first),
            }
        )

    def commit(self, parents: list[Digest], message: str, time: int) -> Digest:
        empty = snapshots.empty(self.store)
        record = Commit(snapshot=empty, time=time, author="a", message=message, parents=list(parents))
        return put_record(self.store, record)

    def at(self, text: str) -> str:
        """The message of the commit that a revision names, or "run"."""
        found = revisions.resolve(self.store, text)
        assert found.text == text
        if found.commit is None:
            assert found.run is not None
            return "run"
        return revisions.history.commit(self.store, found.commit).message


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    made = History(tmp_path_factory.mktemp("past"))
    yield made
    made.store.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("HEAD", "merge"),
        ("@", "merge"),
        ("main", "merge"),
        ("branch/main", "merge"),
        ("feature/x", "side"),
        ("v1", "second"),
        ("tag/v1", "second"),
        ("origin/main", "first"),
        ("HEAD~0", "merge"),
        ("HEAD~", "third"),
        ("main~2", "second"),
        ("~2", "second"),
        ("main^", "third"),
        ("main^2", "side"),
        ("main^2~1", "first"),
        ("main^^", "second"),
        ("main^0", "merge"),
        ("main~1^1~1", "first"),
        ("main@{2026-03-01}", "first"),
        ("main@{2026-03-04}", "second"),
        ("main@{2026-03-05}", "third"),
        ("main@{2026-03-05T11:59:59Z}", "second"),
        ("main@{2026-03-05T12:00}", "third"),
        ("main@{2026-03-05T14:00:00+02:00}", "third"),
        ("main@{2026-03-05T13:59:00+02:00}", "second"),
        ("main@{2026-03-08}", "third"),
        ("@{2026-03-05}~1", "second"),
        ("main@{2030-01-01}", "merge"),
        ("git:aa11", "first"),
        ("git:aa22" + "0" * 36, "third"),
        ("run:last", "run"),
    ],
)
def test_every_form(past: History, text: str, message: str) -> None:
    assert past.at(text) == message


def test_ids_and_their_prefixes(past: History) -> None:
    for length in (12, 40, 64):
        assert past.at(past.second.hex()[:length]) == "second"
        assert past.at(past.second.hex()[:length].upper()) == "second"
        assert past.at(past.run.hex()[:length]) == past.at("run:" + past.run.hex()[:length]) == "run"
    assert past.at(past.merge.hex()[:16] + "~1") == "third"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("mian", r"no revision mian \(did you mean main", "aq show main"),
        ("mian~2", r"no revision mian in mian~2 \(did you mean main", "aq show main~2"),
        ("featur/x", r"did you mean feature/x", "aq show feature/x"),
        ("V1", r"did you mean v1", "aq show v1"),
        ("head", r"did you mean HEAD", "aq show HEAD"),
        ("nothing-like-it", r"(?m)no revision nothing-like-it$", "aq log"),
        ("0123456789abcdef", "no revision 0123456789abcdef", "aq log"),
        ("a\nb", r"no revision 'a\\nb'", "aq log"),
        ("main~9", "main~9 lies before the first commit", "aq log"),
        ("main^3", "has 2 parents", None),
        ("v1~1^", "is a first commit", None),
        ("main@{2026-02-28}", "the first commit is later", "aq log"),
        ("git:ffff", "no commit was recorded at the Git commit", "aq log"),
        ("run:ffff", "no run ffff", "aq runs"),
        ("branch/v1", "no revision branch/v1", None),
    ],
)
def test_what_is_not_found(past: History, text: str, message: str, hint: str | None) -> None:
    with pytest.raises(NotFound, match=message) as caught:
        revisions.resolve(past.store, text)
    assert "\n" not in caught.value.message
    assert hint is None or caught.value.hint == hint


@pytest.mark.parametrize(
    "text", ["main@{yesterday}", "main@{}", "main@{2026-13-01}", "run:last~1", "run:last@{2026-03-01}"]
)
def test_what_makes_no_sense(past: History, text: str) -> None:
    with pytest.raises(UsageError):
        revisions.resolve(past.store, text)


@given(st.text(max_size=20))
def test_any_text_is_found_or_refused(past: History, text: str) -> None:
    try:
        revisions.resolve(past.store, text)
    except UsageError as error:
        assert "\n" not in error.message


def test_a_name_that_two_refs_have(tmp_path: Path) -> None:
    past = History(tmp_path)
    past.bench.refs({"tag/main": Ref(past.first)})
    with pytest.raises(NotFound, match="main is ambiguous: branch/main or tag/main"):
        past.at("main")
    assert past.at("tag/main") == "first" and past.at("branch/main") == "merge"
    past.bench.refs({f"branch/{past.first.hex()[:8]}": Ref(past.second)})
    assert past.at(past.first.hex()[:8]) == "second"
    past.store.close()


def test_an_ambiguous_prefix_lists_its_candidates(tmp_path: Path) -> None:
    past = History(tmp_path)
    known: dict[str, Digest] = {}
    for number in range(5_000):
        id = past.commit([], f"commit {number}", number)
        if id.hex()[:4] in known:
            break
        known[id.hex()[:4]] = id
    other = known[id.hex()[:4]]
    with pytest.raises(NotFound, match="is ambiguous") as caught:
        past.at(id.hex()[:4])
    for each in (id, other):
        assert f"{each.short()} commit commit " in caught.value.message
        assert any(each.hex().startswith(hint.removeprefix("aq show ")) for hint in caught.value.hints)
    past.store.close()


def test_before_the_first_commit(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for text in ("HEAD", "main", "HEAD~1", "@{2026-03-01}"):
        with pytest.raises(NotFound, match="there are no commits yet") as caught:
            revisions.resolve(bench.store, text)
        assert caught.value.hint == "aq commit -m MSG"
    with pytest.raises(NotFound, match="nothing has been run yet"):
        revisions.resolve(bench.store, "run:last")
    bench.store.close()


def test_ranges(past: History) -> None:
    def ends(text: str) -> tuple[Digest | None, Digest | None]:
        first, last = revisions.resolve_range(past.store, text)
        return first and first.commit, last.commit

    assert ends("v1..main") == (past.second, past.merge)
    assert ends("v1..") == (past.second, past.merge)
    assert ends("..v1") == (past.merge, past.second)
    assert ends("v1") == (None, past.second)
    assert ends("main@{2026-03-01}..HEAD~1") == (past.first, past.third)
    with pytest.raises(UsageError):
        revisions.resolve_range(past.store, "v1...main")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("HEAD", ("HEAD", None)),
        ("HEAD:a/b.csv", ("HEAD", "a/b.csv")),
        (":a", (None, "a")),
        ("v1:", ("v1", "")),
        ("main~1:a:b", ("main~1", "a:b")),
        ("main@{2026-03-05T12:00:00}:a", ("main@{2026-03-05T12:00:00}", "a")),
        ("main@{2026-03-05T12:00:00}", ("main@{2026-03-05T12:00:00}", None)),
        ("run:last", ("run:last", None)),
        ("run:last:delays/auc", ("run:last", "delays/auc")),
        ("git:aa11:a", ("git:aa11", "a")),
        ("delays/auc", ("delays/auc", None)),
        ("mian:a", ("mian", "a")),
        ("C:\\data\\x.csv", ("C", "\\data\\x.csv")),
    ],
)
def test_splitting(past: History, text: str, parts: tuple[str | None, str | None]) -> None:
    assert revisions.split_path(past.store, text) == parts


def test_a_path_with_a_colon_needs_no_revision(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.write("12:30.csv", "1")
    bench.write("HEAD:x", "1")
    bench.add(".")
    bench.commit()
    assert revisions.split_path(bench.store, "12:30.csv") == (None, "12:30.csv")
    assert revisions.split_path(bench.store, "HEAD:12:30.csv") == ("HEAD", "12:30.csv")
    assert revisions.split_path(bench.store, "HEAD:x") == ("HEAD", "x")
    bench.store.close()


def test_dates() -> None:
    noon = day(1)
    assert revisions.parse_date("2026-03-01") == noon + DAY // 2 - 1
    assert revisions.parse_date("2026-03-01T12:00") == noon == revisions.parse_date("2026-03-01 13:00+01:00")
    assert revisions.parse_date("2026-03-01T12:00:00.000001Z") == noon + 1_000
    assert revisions.parse_date("20260301") == revisions.parse_date("2026-03-01")
