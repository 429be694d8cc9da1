"""`Repo.merge`: what it commits, what it refuses, what of flows stands, and taking it back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aq.formats.errors import Conflict, NotFound, UsageError
from aq.formats.identity import Digest
from aq.pipeline.history import facts
from aq.pipeline.records.outcomes import Plan, RunDone
from aq.pipeline.records.results import LogEntry, Merged
from aq.pipeline.repo import Repo
from aq.store.commits import history
from aq.store.commits.refs import Ref
from msgspec.structs import replace

from tests.pipeline.repository import context, create


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repo]:
    """`main` and `dev`, both at a commit with a.csv, b.csv and d/c.csv."""
    with create(tmp_path / "r") as made:
        commit(made, {"a.csv": "1", "b.csv": "1", "d/c.csv": "1"})
        made.branch("add", "dev")
        yield made


def write(repo: Repo, files: dict[str, str | None]) -> None:
    for path, text in files.items():
        place = repo.root / path
        if text is None:
            place.unlink()
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)


def commit(repo: Repo, files: dict[str, str | None], message: str = "m") -> str:
    write(repo, files)
    repo.add([path for path, text in files.items() if text is not None])
    return repo.commit(message=message).id


def apart(repo: Repo, ours: dict[str, str | None], theirs: dict[str, str | None]) -> tuple[str, str]:
    """A commit on each branch; back on main."""
    repo.switch("dev")
    other = commit(repo, theirs, "theirs")
    repo.switch("main")
    return commit(repo, ours, "ours"), other


def lying(repo: Repo) -> dict[str, str]:
    found = (path for path in repo.root.rglob("*") if path.is_file() and ".aq" not in path.parts)
    return {str(path.relative_to(repo.root)): path.read_text() for path in found if ".git" not in path.parts}


def refused(repo: Repo, rev: str = "dev", **answers: Any) -> Merged:
    """A merge that conflicts: nothing may have changed."""
    before = lying(repo), dict(repo.store.refs()), len(repo.ops())
    with pytest.raises(Conflict) as caught:
        repo.merge(rev, **answers)
    assert (lying(repo), dict(repo.store.refs()), len(repo.ops())) == before
    assert isinstance(caught.value.result, Merged)
    return caught.value.result


def test_a_merge_has_both_parents_and_both_changes(repo: Repo) -> None:
    ours, theirs = apart(repo, {"a.csv": "2"}, {"b.csv": "3", "d/c.csv": None, "new": "4"})
    done = repo.merge("dev")
    assert (done.status, done.parents, done.message) == ("merged", [ours, theirs], "merge dev into main")
    assert (done.paths.added, done.paths.changed, done.paths.removed) == (1, 1, 1)
    assert lying(repo) == {"a.csv": "2", "b.csv": "3", "new": "4"}
    assert (sorted(done.written), done.deleted) == (["b.csv", "new"], ["d/c.csv"])
    assert repo.status().changes == [] and repo.status().head == done.id
    assert [entry.message for entry in repo.log()] == ["merge dev into main", "ours", "theirs", "m"]
    assert repo.ops(1)[0].command == "merge"


def test_the_message_may_be_given(repo: Repo) -> None:
    apart(repo, {"a.csv": "2"}, {"b.csv": "3"})
    assert repo.merge("dev", message="because").message == "because"
    with pytest.raises(UsageError, match="no valid text"):
        commit(repo, {"a.csv": "9"})
        repo.switch("dev")
        commit(repo, {"x": "1"})
        repo.merge("main", message="\udcff")


def test_a_branch_without_commits_of_its_own_moves_forward(repo: Repo) -> None:
    repo.switch("dev")
    other = commit(repo, {"b.csv": "3"}, "theirs")
    repo.switch("main")
    done = repo.merge("dev")
    assert (done.status, done.id, done.message) == ("fast-forward", other, "theirs")
    assert lying(repo)["b.csv"] == "3" and repo.status().changes == []
    again = repo.merge("dev")
    assert (again.status, again.id) == ("unchanged", other) and repo.ops(1)[0].command == "merge"
    assert repo.merge("HEAD~1").status == "unchanged"


def test_a_detached_head_moves_forward_too(repo: Repo) -> None:
    repo.switch("on", create=True)
    second = commit(repo, {"b.csv": "3"})
    repo.switch("HEAD~1")
    assert repo.merge("on").id == second and repo.status().branch is None
    assert repo.status().head == second and lying(repo)["b.csv"] == "3"
    repo.switch("main")
    assert lying(repo)["b.csv"] == "1"


def test_an_unborn_branch_moves_forward_too(repo: Repo) -> None:
    head = str(repo.store.refs()["branch/dev"].id)
    unborn = repo.transaction("test")
    unborn.set("HEAD", Ref(target="branch/new"))
    unborn.commit()
    assert repo.merge("dev").id == head and repo.status().branch == "new" and repo.status().changes == []


def test_conflicts_are_listed_and_nothing_is_done(repo: Repo) -> None:
    apart(repo, {"a.csv": "2", "b.csv": "2", "d/c.csv": "2"}, {"a.csv": "3", "b.csv": None, "d/c.csv": "2"})
    found = refused(repo)
    assert [(one.path, one.kind) for one in found.conflicts] == [
        ("a.csv", "change/change"),
        ("b.csv", "change/delete"),
    ]
    first, second = found.conflicts
    assert (first.ours, first.theirs) == (repo.get("a.csv").id, repo.get("dev:a.csv").id)
    assert first.base == repo.get("HEAD~1:a.csv").id and second.theirs is None


def test_hints_of_a_conflict_can_be_typed(repo: Repo) -> None:
    apart(repo, {"a b": "2", "d/c.csv": "2"}, {"a b": "3", "d/c.csv": "3"})
    with pytest.raises(Conflict) as caught:
        repo.merge("dev")
    assert caught.value.message == "both sides changed a b, d/c.csv; nothing was merged"
    assert caught.value.hints == ("aq diff HEAD..dev -- 'a b'", "aq merge dev --theirs 'a b'")
    repo.context = context(repo.root / "d")
    with pytest.raises(Conflict) as caught:
        repo.merge("dev", take="../a b")
    assert caught.value.hints[1] == "aq merge dev --take '../a b' --theirs c.csv"


def test_answers_settle_conflicts_one_by_one(repo: Repo) -> None:
    apart(repo, {"a.csv": "2", "b.csv": "2", "d/c.csv": "2"}, {"a.csv": "3", "b.csv": "3", "d/c.csv": "3"})
    assert [one.path for one in refused(repo, ours="a.csv").conflicts] == ["b.csv", "d/c.csv"]
    assert refused(repo, ours="a.csv", theirs=["b.csv"]).settled == 2
    done = repo.merge("dev", ours="a.csv", theirs=["b.csv", "d"])
    assert done.settled == 3 and lying(repo) == {"a.csv": "2", "b.csv": "3", "d/c.csv": "3"}


def test_the_folder_may_hold_the_answer(repo: Repo) -> None:
    apart(repo, {"a.csv": "2", "b.csv": "2"}, {"a.csv": "3", "b.csv": "3"})
    write(repo, {"a.csv": "2 and 3", "b.csv": None})
    done = repo.merge("dev", take=["a.csv", "b.csv"])
    assert repo.get("a.csv").bytes() == b"2 and 3" and lying(repo) == {"a.csv": "2 and 3", "d/c.csv": "1"}
    assert done.written == [] and repo.status().changes == []
    repo.undo()
    assert repo.get("a.csv").bytes() == b"2" and lying(repo)["a.csv"] == "2 and 3"


def test_answers_are_relative_to_where_one_stands(repo: Repo) -> None:
    apart(repo, {"d/c.csv": "2"}, {"d/c.csv": "3"})
    repo.context = context(repo.root / "d")
    assert repo.merge("dev", theirs=["c.csv"]).settled == 1


def test_an_answer_to_what_is_no_conflict_is_an_error(repo: Repo) -> None:
    apart(repo, {"a.csv": "2"}, {"a.csv": "3"})
    with pytest.raises(NotFound, match=r"b\.csv is no conflict"):
        repo.merge("dev", ours=["a.csv", "b.csv"])
    with pytest.raises(UsageError, match="--ours and to --theirs"):
        repo.merge("dev", ours="a.csv", theirs="a.csv")


def test_a_file_against_a_folder(repo: Repo) -> None:
    apart(repo, {"x": "file"}, {"x/y": "inside", "x/z": "inside"})
    assert [(one.path, one.kind) for one in refused(repo).conflicts] == [("x", "file/folder")]
    repo.merge("dev", theirs="x")
    assert {"x/y", "x/z"} <= lying(repo).keys() and repo.status().changes == []
    repo.undo()
    assert lying(repo)["x"] == "file" and repo.status().changes == []
    repo.merge("dev", ours="x")
    assert lying(repo)["x"] == "file" and repo.status().changes == []


def test_work_in_the_folder_is_never_overwritten(repo: Repo) -> None:
    apart(repo, {"a.csv": "2"}, {"b.csv": "3", "new": "4"})
    write(repo, {"b.csv": "mine", "new": "mine"})
    before = dict(repo.store.refs())
    with pytest.raises(Conflict, match=r"b\.csv, new") as caught:
        repo.merge("dev")
    assert caught.value.result is None and dict(repo.store.refs()) == before
    assert lying(repo)["b.csv"] == "mine" and lying(repo)["new"] == "mine"


def test_work_that_is_not_in_the_way_stays(repo: Repo) -> None:
    apart(repo, {"a.csv": "2"}, {"b.csv": "3"})
    write(repo, {"a.csv": "mine", "other": "mine"})
    repo.merge("dev")
    assert lying(repo) == {"a.csv": "mine", "b.csv": "3", "d/c.csv": "1", "other": "mine"}
    assert [(one.path, one.change) for one in repo.status().changes] == [("a.csv", "changed")]
    assert repo.get("a.csv").bytes() == b"2"


def test_undo_takes_a_merge_back_with_its_files_and_redoes_it(repo: Repo) -> None:
    apart(repo, {"a.csv": "2"}, {"b.csv": "3", "d/c.csv": None, "new": "4"})
    before, refs = lying(repo), dict(repo.store.refs())
    repo.merge("dev")
    after = lying(repo)
    repo.undo()
    assert lying(repo) == before and dict(repo.store.refs()) == refs and repo.status().changes == []
    repo.undo()
    assert lying(repo) == after and repo.status().changes == []


def test_a_lost_race_changes_nothing(repo: Repo) -> None:
    apart(repo, {"a.csv": "2"}, {"b.csv": "3"})
    quiet = repo.context

    def now() -> int:
        repo.context = quiet
        repo.commit({"n": 1}, message="somebody else")
        return quiet.now()

    repo.context = replace(quiet, now=now)
    with pytest.raises(Conflict, match="main was moved") as caught:
        repo.merge("dev")
    assert caught.value.ref == "branch/main" and lying(repo)["b.csv"] == "1"
    assert [entry.message for entry in repo.log()] == ["somebody else", "ours", "m"]
    assert repo.merge("dev").status == "merged" and lying(repo)["b.csv"] == "3"


def test_values_merge_like_files(repo: Repo) -> None:
    import aq

    repo.commit({"auc": aq.metric(0.9, better="higher"), "n": 1})
    repo.branch("remove", "dev")
    repo.branch("add", "dev")
    repo.switch("dev")
    repo.commit({"auc": aq.metric(0.8, better="higher"), "n": 2})
    repo.switch("main")
    repo.commit({"n": 3, "m": 4})
    assert [one.path for one in refused(repo).conflicts] == ["n"]
    with pytest.raises(UsageError, match="only in the store"):
        repo.merge("dev", take="n")
    repo.merge("dev", ours="n")
    assert (repo.get("n").load(), repo.get("m").load()) == (3, 4)
    assert newest(repo).metrics == {}  # measured on one side's data, not on what was merged


def test_only_commits_can_be_merged(flow: Repo) -> None:
    with pytest.raises(NotFound):
        flow.merge("nothing")
    flow.run(params={"power": 5}, commit=False)
    with pytest.raises(UsageError, match="no commit holds"):
        flow.merge("run:last")


def test_files_of_git_are_left_to_git(repo: Repo) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(repo.root), *words], check=True, capture_output=True)

    apart(repo, {"a.csv": "2"}, {"b.csv": "3", "d/c.csv": "3"})
    git("init", "-q")
    git("add", "b.csv")
    done = repo.merge("dev")
    assert done.left == ["b.csv"] and lying(repo)["b.csv"] == "1" and lying(repo)["d/c.csv"] == "3"
    assert repo.get("b.csv").bytes() == b"3" and "aq restore --code b.csv" in done.notes[0]
    repo.undo()
    assert repo.merge("dev", code=True).left == [] and lying(repo)["b.csv"] == "3"


def test_executability_merges(repo: Repo) -> None:
    repo.switch("dev")
    commit(repo, {"a.csv": "3"})
    repo.switch("main")
    os.chmod(repo.root / "a.csv", 0o755)
    repo.commit(message="executable")
    repo.merge("dev")
    assert lying(repo)["a.csv"] == "3" and os.access(repo.root / "a.csv", os.X_OK)


def test_after_a_merge_only_what_is_new_is_merged_again(repo: Repo) -> None:
    apart(repo, {"a.csv": "2"}, {"a.csv": "3"})
    repo.merge("dev", ours="a.csv")
    repo.switch("dev")
    commit(repo, {"b.csv": "3"})
    repo.switch("main")
    assert repo.merge("dev").settled == 0
    assert lying(repo) == {"a.csv": "2", "b.csv": "3", "d/c.csv": "1"}


def test_a_criss_cross_is_merged(repo: Repo) -> None:
    ours, _ = apart(repo, {"a.csv": "2"}, {"b.csv": "3"})
    repo.branch("add", "here", at=ours)
    repo.merge("dev")
    repo.switch("dev")
    repo.merge("here")
    commit(repo, {"a.csv": "1"}, "back")
    repo.switch("main")
    commit(repo, {"d/c.csv": "5"})
    repo.merge("dev")
    assert lying(repo) == {"a.csv": "1", "b.csv": "3", "d/c.csv": "5"}


FLOW = """
import aq

@aq.op
def total(text: str, power: int, add: int) -> int:
    return int(text) ** power + add

@aq.metric(better="lower")
def score(total: int) -> float:
    return total / 10

@aq.flow
def demo(power: int = 1, add: int = 0):
    score(total(aq.read("x"), power, add))
"""


@pytest.fixture
def flow(repo: Repo) -> Repo:
    """With a flow that has run on both branches' common commit."""
    commit(repo, {"x": "2", "flow.py": FLOW, "other": "1"})
    run(repo, "flow.py")
    repo.branch("remove", "dev")
    repo.branch("add", "dev")
    return repo


def run(repo: Repo, target: str | None = None, **params: int) -> RunDone:
    found = repo.run(target, params=params)
    assert not isinstance(found, Plan)
    return found[-1]


def newest(repo: Repo) -> LogEntry:
    return next(iter(repo.log(limit=1)))


def stale(repo: Repo) -> list[tuple[str | None, str]]:
    return [
        (step.step, reason.detail)
        for flow in repo.status().flows
        for step in flow.stale
        for reason in step.reasons
    ]


def test_the_flow_of_the_side_that_ran_it_stands(flow: Repo) -> None:
    flow.switch("dev")
    done = run(flow, power=3)
    flow.switch("main")
    commit(flow, {"other": "2"})
    merged = flow.merge("dev")
    assert merged.stale == [] and flow.get("demo/total").load() == 8
    entry = newest(flow)
    assert entry.metrics == {"demo/score": 0.8} and entry.run == done.run
    assert stale(flow) == []
    assert run(flow).status == "unchanged"
    assert {one.commit for one in flow.runs() if one.run == done.run} == {done.commit}


def test_a_flow_of_the_other_side_alone_comes_along(flow: Repo) -> None:
    flow.switch("dev")
    commit(flow, {"two.py": FLOW.replace("def demo", "def second")})
    run(flow, "two.py")
    flow.switch("main")
    commit(flow, {"other": "2"})
    assert flow.merge("dev").stale == []
    assert set(newest(flow).metrics) == {"demo/score", "second/score"} and stale(flow) == []


def test_merged_sources_make_a_flow_stale_until_it_runs(flow: Repo) -> None:
    flow.switch("dev")
    run(flow, power=3)
    flow.switch("main")
    commit(flow, {"x": "5"})
    merged = flow.merge("dev")
    assert merged.stale == ["demo"] and merged.conflicts == []
    assert flow.get("demo/total").load() == 8 and newest(flow).metrics == {}
    assert "x changed" in {detail for _, detail in stale(flow)}
    assert run(flow).metrics == {"demo/score": 12.5}
    assert stale(flow) == [] and newest(flow).metrics == {"demo/score": 12.5}


def test_both_sides_ran_ours_stands_and_params_are_merged(flow: Repo) -> None:
    flow.switch("dev")
    run(flow, power=3)
    flow.switch("main")
    run(flow, add=7)
    merged = flow.merge("dev")
    assert merged.stale == ["demo"] and merged.notes == []
    assert flow.get("demo/total").load() == 9 and newest(flow).metrics == {}
    assert stale(flow) == [(None, "power default → 3")]
    commit(flow, {"other": "3"})
    assert newest(flow).metrics == {} and stale(flow) == [(None, "power default → 3")]
    done = run(flow)
    assert done.params == {"add": 7, "power": 3} and done.metrics == {"demo/score": 1.5}
    assert stale(flow) == [] and run(flow).status == "unchanged"


def test_a_param_that_both_sides_set_stays_ours_and_is_noted(flow: Repo) -> None:
    flow.switch("dev")
    run(flow, power=3)
    flow.switch("main")
    run(flow, power=2)
    merged = flow.merge("dev")
    assert merged.notes == ["demo: power stays 2, theirs is 3: aq run -p power=3"]
    assert merged.stale == [] and stale(flow) == [] and newest(flow).metrics == {"demo/score": 0.4}


def test_facts_of_a_merge_can_be_made_again(flow: Repo) -> None:
    flow.switch("dev")
    run(flow, power=3)
    flow.switch("main")
    run(flow, add=7)
    flow.merge("dev")
    id = Digest(bytes.fromhex(flow.status().head or ""))
    stored = facts.of(flow.store, id)
    record = history.commit(flow.store, id)
    assert facts.derive(flow.store, record, facts.of(flow.store, record.parents[0])) == stored
    assert stored.params == {"demo": {"add": "7", "power": "3"}}


def test_merged_code_is_looked_at(flow: Repo) -> None:
    """Each side changed another op: neither's result is that of both."""
    flow.switch("dev")
    write(flow, {"flow.py": FLOW.replace("/ 10", "/ 100")})
    run(flow, "flow.py")
    flow.switch("main")
    write(flow, {"flow.py": FLOW.replace("+ add", "- add")})
    run(flow, "flow.py")
    merged = flow.merge("dev")
    assert lying(flow)["flow.py"] == FLOW.replace("/ 10", "/ 100").replace("+ add", "- add")
    assert merged.stale == ["demo"]
    assert {step for step, _ in stale(flow)} == {"demo/score"}
    assert run(flow).metrics == {"demo/score": 0.02}
