"""`Repo`: recording, looking, naming, moving and undoing, on real folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from aq.formats.errors import AqError, Conflict, NotFound, UsageError
from aq.pipeline.records.results import ShowPath, ShowRevision
from aq.pipeline.repo import Repo

from tests.pipeline.repository import context, create


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repo]:
    with create(tmp_path / "r") as made:
        yield made


def write(repo: Repo, path: str, text: str) -> None:
    place = repo.root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def committed(repo: Repo, path: str, text: str, message: str = "m") -> str:
    write(repo, path, text)
    repo.add([path])
    return repo.commit(message=message).id


def test_a_file_goes_in_and_comes_out(repo: Repo) -> None:
    id = committed(repo, "data/a.csv", "x\n1\n", "first")
    assert repo.get("data/a.csv").bytes() == b"x\n1\n"
    (entry,) = repo.log()
    assert (entry.id, entry.message, entry.author) == (id, "first", "Ada <ada@example.org>")
    assert repo.status().changes == []


def test_nothing_to_commit_is_head(repo: Repo) -> None:
    id = committed(repo, "a", "1")
    again = repo.commit(message="again")
    assert (again.id, again.created) == (id, False)
    assert len(list(repo.log())) == 1


def test_nothing_at_all_to_commit_says_what_to_do(repo: Repo) -> None:
    with pytest.raises(UsageError, match="no path is tracked") as caught:
        repo.commit(message="m")
    assert caught.value.hint == "aq add ."


def test_values_are_committed_on_top_of_head_and_leave_the_folder_alone(repo: Repo) -> None:
    committed(repo, "a", "1")
    write(repo, "a", "2")
    frame = pd.DataFrame({"id": [1, 2], "x": [0.5, None]})
    repo.commit({"sales": frame, "n": 3}, message="values", keys={"sales": ["id"]})
    pd.testing.assert_frame_equal(repo.get("sales").load(), frame)
    assert repo.get("n").load() == 3
    assert [change.path for change in repo.status().changes] == ["a"]
    assert repo.get("a").bytes() == b"1"
    assert {entry.path: entry.origin for entry in repo.ls()} == {"a": "file", "n": "given", "sales": "given"}


def test_a_value_may_not_take_a_tracked_path(repo: Repo) -> None:
    committed(repo, "a", "1")
    with pytest.raises(UsageError, match="tracked file"):
        repo.commit({"a": 1})


def test_keys_must_name_values(repo: Repo) -> None:
    with pytest.raises(UsageError, match="keys="):
        repo.commit({"a": 1}, keys={"b": ["id"]})


def test_paths_and_messages_are_texts(repo: Repo) -> None:
    wrong: Any = {1: 2}
    with pytest.raises(UsageError, match="path of a value is a text, not 1"):
        repo.commit(wrong)
    wrong = 5
    with pytest.raises(UsageError, match=r"commit\(message=…\) takes a text or None, not 5 \(int\)"):
        repo.commit({"a": 1}, message=wrong)
    with pytest.raises(UsageError, match="is no valid text"):
        repo.commit({"a": 1}, message="\ud800")


def test_a_removed_value_goes_with_a_commit(repo: Repo) -> None:
    repo.commit({"a": 1, "b": 2})
    assert repo.remove(["a"]).removed == ["a"]
    assert [entry.path for entry in repo.ls()] == ["b"]


def test_given_metrics_are_recorded_where_they_hold(repo: Repo) -> None:
    from aq.pipeline.flow.ops import metric

    repo.commit({"auc": metric(0.9, better="higher")})
    repo.commit({"other": 1})
    repo.commit({"auc": metric(0.8, better="higher")})
    repo.commit({"scores": metric({"f1": 0.5, "recall": float("nan")})})
    assert [point.value for point in repo.metrics("auc")["auc"]] == [0.9, 0.8]
    assert [entry.metrics for entry in repo.log()] == [
        {"scores.f1": 0.5, "scores.recall": None},
        {"auc": 0.8},
        {},
        {"auc": 0.9},
    ]


def test_the_same_value_measured_again_is_recorded_again(repo: Repo) -> None:
    from aq.pipeline.flow.ops import metric

    repo.commit({"auc": metric(0.9)})
    assert not repo.commit({"auc": metric(0.9)}).created
    repo.commit({"n": 1})
    again = repo.commit({"auc": metric(0.9)})
    assert again.created
    assert [point.commit for point in repo.metrics("auc")["auc"]][-1] == again.id


def test_bisect_on_given_metrics(repo: Repo) -> None:
    from aq.pipeline.flow.ops import metric

    ids = [
        repo.commit({"auc": metric(value, better="higher"), "n": place}, message=f"c{place}").id
        for place, value in enumerate([0.95, 0.951, 0.949, 0.95, 0.85, 0.849, 0.851])
    ]
    found = repo.bisect("auc")
    assert found.culprit is not None
    assert (found.culprit.commit, found.culprit.parent_value) == (ids[4], 0.95)
    assert found.verdict == "confirmed"
    assert found.evaluations.computed == 0
    assert [shift.commit for shift in found.shifts] == [ids[4]]
    ranged = repo.bisect("auc", f"{ids[0]}..{ids[6]}")
    assert ranged.culprit == found.culprit


def test_a_metric_that_only_got_better_is_inconclusive(repo: Repo) -> None:
    from aq.pipeline.flow.ops import metric

    for place, value in enumerate([0.5, 0.5, 0.9, 0.9]):
        repo.commit({"auc": metric(value, better="higher"), "n": place})
    found = repo.bisect("auc")
    assert (found.verdict, found.culprit) == ("inconclusive", None)
    assert repo.bisect("auc", either=True).culprit is not None


@pytest.mark.parametrize("name", ["acu", "nope"])
def test_an_unknown_metric(repo: Repo, name: str) -> None:
    from aq.pipeline.flow.ops import metric

    repo.commit({"auc": metric(0.9)})
    with pytest.raises(NotFound, match=name):
        repo.bisect(name)


def test_commit_times_never_go_back(tmp_path: Path) -> None:
    with create(tmp_path) as repo:
        first = repo.commit({"a": 1}, time="2030-01-01T00:00:00")
        second = repo.commit({"a": 2})
    assert first.time == second.time == "2030-01-01T00:00:00.000000Z"


def test_two_writers_of_different_paths_are_rebased(tmp_path: Path) -> None:
    with create(tmp_path) as ours:
        ours.commit({"a": 1})
        base = ours.worktree.head()
        from aq.pipeline.change import recording
        from aq.store.commits.snapshots import Entry, Origin

        a = ours.get("a")
        ours.commit({"b": 2}, message="theirs")
        late = recording.Proposal(
            command="commit",
            base=base,
            edits={"c": Entry(a.entry.artifact, Origin.GIVEN)},
            message="late",
            author="x",
        )
        assert recording.record(ours.store, ours.context, late) is not None
        assert [entry.path for entry in ours.ls()] == ["a", "b", "c"]
        with pytest.raises(Conflict, match="b in the meantime"):
            recording.record(
                ours.store,
                ours.context,
                recording.Proposal(
                    command="commit", base=base, edits={"b": None}, message="later", author="x"
                ),
            )


def test_undo_takes_back_and_redoes(repo: Repo) -> None:
    first = committed(repo, "a", "1")
    second = committed(repo, "a", "2")
    assert repo.undo().description == "undo commit: m"
    assert repo.log()[0].id == first
    assert [change.change for change in repo.status().changes] == ["changed"]
    repo.undo()
    assert repo.log()[0].id == second
    assert repo.status().changes == []


def test_undo_brings_back_what_restore_overwrote(repo: Repo) -> None:
    committed(repo, "a", "1")
    write(repo, "a", "precious")
    assert repo.restore(["a"]).written == ["a"]
    assert (repo.root / "a").read_text() == "1"
    repo.undo()
    assert (repo.root / "a").read_text() == "precious"
    repo.undo()
    assert (repo.root / "a").read_text() == "1"


def test_undo_of_add(repo: Repo) -> None:
    write(repo, "a", "1")
    repo.add(["a"])
    repo.undo()
    assert repo.status().untracked == ["a"]
    repo.undo()
    assert [change.change for change in repo.status().changes] == ["added"]


def test_a_new_repository_has_nothing_to_undo(repo: Repo) -> None:
    with pytest.raises(AqError, match="nothing to undo"):
        repo.undo()


def test_switch_moves_the_folder_and_refuses_to_lose_work(repo: Repo) -> None:
    committed(repo, "a", "1")
    repo.switch("other", create=True)
    committed(repo, "a", "2")
    repo.switch("main")
    assert (repo.root / "a").read_text() == "1"
    write(repo, "a", "unsaved")
    with pytest.raises(Conflict):
        repo.switch("other")
    assert (repo.root / "a").read_text() == "unsaved"
    repo.switch("other", force=True)
    assert (repo.root / "a").read_text() == "2"
    repo.undo()
    assert (repo.root / "a").read_text() == "unsaved"
    assert repo.status().branch == "main"


def test_branches_and_tags(repo: Repo) -> None:
    id = committed(repo, "a", "1")
    repo.branch("add", "b")
    repo.tag("add", "v1")
    assert [(one.name, one.current) for one in repo.branch()] == [("b", False), ("main", True)]
    assert [one.name for one in repo.branch("rename", "main", "trunk")] == ["b", "trunk"]
    assert repo.status().branch == "trunk"
    assert repo.log("v1")[0].tags == ["v1"]
    assert repo.branch("remove", "b")[0].name == "trunk"
    assert repo.tag("list")[0].commit == id
    with pytest.raises(Conflict):
        repo.tag("add", "v1")
    with pytest.raises(NotFound):
        repo.tag("remove", "v2")
    with pytest.raises(Conflict):
        repo.branch("remove", "trunk")
    for bad in ("../x", "a b", "HEAD", "-x", "run:1"):
        with pytest.raises(UsageError):
            repo.branch("add", bad)


def test_diff_between_commits_and_against_the_folder(repo: Repo) -> None:
    first = committed(repo, "a.txt", "one\ntwo\n")
    second = committed(repo, "a.txt", "one\nthree\n")
    (change,) = repo.diff(f"{first}..{second}").paths
    assert (change.path, change.change, change.detail["lines"]) == (
        "a.txt",
        "changed",
        {"added": 1, "removed": 1},
    )
    assert repo.diff().paths == []
    write(repo, "a.txt", "one\n")
    folder = repo.diff()
    assert folder.to is None
    assert folder.paths[0].detail["diff"].endswith("-three")
    with pytest.raises(NotFound, match="nosuch"):
        repo.diff(paths=["nosuch"])


def test_show_a_revision_and_a_path(repo: Repo) -> None:
    id = committed(repo, "a.txt", "one\n")
    revision = repo.show("HEAD")
    assert isinstance(revision, ShowRevision)
    assert (revision.id, revision.run, [one.path for one in revision.snapshot]) == (id, None, ["a.txt"])
    path = repo.show("HEAD:a.txt")
    assert isinstance(path, ShowPath)
    assert (path.kind, path.size, path.origin) == ("file", 4, "file")
    with pytest.raises(NotFound, match=r"did you mean a\.txt"):
        repo.show("HEAD:a.tx")


def test_log_of_paths_dates_and_ranges(repo: Repo) -> None:
    a = committed(repo, "a", "1")
    b = committed(repo, "b", "1")
    c = committed(repo, "a", "2")
    assert [entry.id for entry in repo.log(paths=["a"])] == [c, a]
    assert [entry.id for entry in repo.log(f"{a}..")] == [c, b]
    assert [entry.id for entry in repo.log(until="2023-11-13")] == []
    assert len(list(repo.log(since="2023-11-14"))) == 3
    assert len(list(repo.log(limit=2))) == 2


def test_facts_can_be_made_again(repo: Repo) -> None:
    from aq.pipeline.flow.ops import metric
    from aq.pipeline.history import facts

    committed(repo, "a", "12345")
    repo.commit({"auc": metric(0.5)})
    id = repo.store.refs()["branch/main"].id
    assert id is not None
    stored = facts.of(repo.store, id)
    assert stored == _again(repo, id)
    assert (stored.added, stored.total) == (1, 5 + repo.get("auc").size)


def _again(repo: Repo, id: bytes) -> object:
    from aq.formats.objects import get_record
    from aq.formats.records import Commit
    from aq.pipeline.history import facts

    commit = get_record(repo.store, Commit, id)
    parent = facts.NONE if not commit.parents else _again(repo, commit.parents[0])
    assert isinstance(parent, facts.Facts)
    return facts.derive(repo.store, commit, parent)


def test_the_author_comes_from_the_configuration_first(tmp_path: Path) -> None:
    with create(tmp_path) as repo:
        repo.config("author.name", "Grace")
        repo.config("author.email", "g@example.org")
        assert repo.commit({"a": 1}).author == "Grace <g@example.org>"
        assert repo.config() == {"author.name": "Grace", "author.email": "g@example.org"}
        repo.config("author.email", "")
        assert repo.commit({"a": 2}).author == "Grace"
        with pytest.raises(NotFound, match=r"author\.nam"):
            repo.config("author.nam")


def test_a_second_repo_sees_the_first_ones_commits(tmp_path: Path) -> None:
    with create(tmp_path) as one:
        one.commit({"a": 1})
        with Repo.find(tmp_path, context(tmp_path)) as two:
            assert two.get("a").load() == 1
            two.commit({"b": 2})
        assert one.get("b").load() == 2


def test_save_by_a_bare_name(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.commit({"v": {"k": 1}})
    monkeypatch.chdir(tmp_path)
    assert repo.get("v").save("v.json").read_bytes() == b'{"k": 1}\n'


def test_save_and_chunks(repo: Repo, tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    repo.commit({"t": frame, "v": {"k": [1, None]}})
    table = repo.get("t")
    pd.testing.assert_frame_equal(pd.read_csv(table.save(tmp_path / "t.csv")), frame)
    pd.testing.assert_frame_equal(pd.read_parquet(table.save(tmp_path / "t.parquet")), frame)
    assert repo.get("v").bytes() == b'{"k": [1, null]}\n'
    assert b"".join(table.chunks("json")).startswith(b'[\n{"a":1,"b":"x"},\n')
    with pytest.raises(UsageError, match="no folder"):
        table.save(tmp_path / "none" / "t.csv")
    with pytest.raises(UsageError, match="no format"):
        list(table.chunks("xml"))


def test_notebooks_show_records_and_artifacts_escaped(repo: Repo) -> None:
    made = repo.commit({"t": pd.DataFrame({"<b>": [1]})}, message="<script>alert(1)</script>")
    html = made._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert made.id in html
    shown = repo.get("t")._repr_html_()
    assert "&lt;b&gt;" in shown
    assert "<b>" not in shown
