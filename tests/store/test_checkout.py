"""Snapshots written into the folder: exact, refusing to lose work, safe against hostile content."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from aq.formats.errors import AqError, Conflict, Damaged, NotFound, UsageError
from aq.formats.identity import Digest
from aq.formats.objects import put_record
from aq.formats.records import Artifact
from aq.formats.trees.prolly import build_map
from aq.store.commits import snapshots
from aq.store.commits.snapshots import Entry, Mode, Origin
from aq.store.system import disk
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.store.folder import Bench, bench

__all__ = ["bench"]


def entry(bench: Bench, data: bytes, mode: Mode = Mode.FILE) -> Entry:
    artifact = Artifact(kind="file", format="bytes", size=len(data), data=data)
    return Entry(put_record(bench.store, artifact), Origin.FILE, None, mode)


def hostile(bench: Bench, *files: tuple[bytes, Entry]) -> Digest:
    """A snapshot that `snapshots.edit` would make too, but of any paths."""
    return build_map(bench.store, sorted((path, snapshots.pack(each)) for path, each in files))


def two_commits(bench: Bench) -> tuple[Digest, Digest]:
    bench.write("same", "s")
    bench.write("changed", "1")
    bench.write("removed/deep/a", "r")
    bench.add(".")
    first = bench.commit()
    bench.write("changed", "2")
    (bench.root / "removed/deep/a").unlink()
    (bench.root / "removed/deep").rmdir()
    (bench.root / "removed").rmdir()
    bench.write("added/b", b"b" * 300_000)
    bench.add("added")
    return first, bench.commit()


def test_there_and_back(bench: Bench) -> None:
    first, second = two_commits(bench)
    after = bench.lying()
    done = bench.checkout(first)
    assert bench.lying() == {"same": b"s", "changed": b"1", "removed/deep/a": b"r"}
    assert (done.written, done.deleted, done.skipped) == (["changed", "removed/deep/a"], ["added/b"], [])
    assert not (bench.root / "added").exists()
    assert bench.changes() == {}
    bench.checkout(second)
    assert bench.lying() == after and not (bench.root / "removed").exists()
    assert bench.checkout(second).files is None


def test_what_was_written_is_known_without_reading(bench: Bench) -> None:
    first, _ = two_commits(bench)
    bench.checkout(first)
    bench.settle()
    bench.status()
    assert {b"changed", b"same"} <= set(bench.work.cache.rows_in(b"").names)


def test_modes_and_links(bench: Bench, tmp_path: Path) -> None:
    bench.write("tool", "#!").chmod(0o755)
    (bench.root / "link").symlink_to(tmp_path / "elsewhere")
    bench.write("plain", "p")
    bench.add(".")
    first = bench.commit()
    (bench.root / "tool").chmod(0o644)
    (bench.root / "link").unlink()
    bench.write("link", "now a file")
    (bench.root / "plain").unlink()
    (bench.root / "plain").symlink_to("tool")
    second = bench.commit()
    bench.checkout(first)
    assert os.access(bench.root / "tool", os.X_OK)
    assert os.readlink(bench.root / "link") == str(tmp_path / "elsewhere")
    assert not (bench.root / "plain").is_symlink() and bench.changes() == {}
    bench.checkout(second)
    assert not (bench.root / "tool").stat().st_mode & 0o111
    assert os.readlink(bench.root / "plain") == "tool" and bench.changes() == {}


def test_file_and_folder_change_places(bench: Bench) -> None:
    bench.write("a", "file")
    bench.write("b/c/d", "deep")
    bench.add(".")
    first = bench.commit()
    (bench.root / "a").unlink()
    bench.write("a/x/y", "folder")
    (bench.root / "b/c/d").unlink()
    (bench.root / "b/c").rmdir()
    (bench.root / "b").rmdir()
    bench.write("b", "file")
    bench.add(".")
    second = bench.commit()
    after = bench.lying()
    bench.checkout(first)
    assert bench.lying() == {"a": b"file", "b/c/d": b"deep"}
    bench.checkout(second)
    assert bench.lying() == after and bench.changes() == {}


def test_an_empty_folder_where_a_file_is_needed(bench: Bench) -> None:
    first, _ = two_commits(bench)
    (bench.root / "changed").unlink()
    (bench.root / "changed/empty/deeper").mkdir(parents=True)
    bench.checkout(first)
    assert bench.lying()["changed"] == b"1"


class TestUnsavedWork:
    """Nothing that is in no commit is overwritten without force; with force it is stored first."""

    def test_a_changed_file(self, bench: Bench) -> None:
        first, _ = two_commits(bench)
        bench.write("changed", "precious")
        before = bench.lying()
        with pytest.raises(Conflict, match=r"(?m)in no commit: changed$") as caught:
            bench.checkout(first)
        assert caught.value.exit_code == 4
        assert caught.value.hints == ("aq commit -m MSG", "aq switch -f BRANCH")
        assert bench.lying() == before
        done = bench.checkout(first, force=True)
        assert bench.lying()["changed"] == b"1" and done.files is not None
        bench.work.put_back(done.files)
        assert bench.lying() == before

    def test_an_untracked_file_in_the_way(self, bench: Bench) -> None:
        first, _ = two_commits(bench)
        bench.write("removed/deep/a", "mine")
        with pytest.raises(Conflict, match="removed/deep/a"):
            bench.checkout(first)
        bench.write("removed/deep/a", "r")
        bench.checkout(first)
        assert bench.changes() == {}

    def test_a_file_where_a_folder_is_needed(self, bench: Bench) -> None:
        first, _ = two_commits(bench)
        bench.write("removed", "mine")
        before = bench.lying()
        with pytest.raises(Conflict, match="removed"):
            bench.checkout(first)
        done = bench.checkout(first, force=True)
        assert bench.lying()["removed/deep/a"] == b"r" and done.files is not None
        bench.work.put_back(done.files)
        assert bench.lying() == before

    def test_a_folder_where_a_file_is_needed(self, bench: Bench) -> None:
        first, _ = two_commits(bench)
        (bench.root / "changed").unlink()
        bench.write("changed/mine/x", "mine")
        bench.write("changed/.env", "secret")
        before = bench.lying()
        with pytest.raises(Conflict, match=r"changed/\.env, changed/mine/x"):
            bench.checkout(first)
        assert bench.lying() == before
        done = bench.checkout(first, force=True)
        assert bench.lying()["changed"] == b"1" and done.files is not None
        bench.work.put_back(done.files)
        assert bench.lying() == before

    def test_what_cannot_be_stored_is_never_overwritten(self, bench: Bench) -> None:
        first, _ = two_commits(bench)
        (bench.root / "changed").unlink()
        os.mkfifo(bench.root / "changed")
        with pytest.raises(Conflict):
            bench.checkout(first, force=True)
        (bench.root / "changed").unlink()
        bench.write("changed/.aq/format", "a repository")
        with pytest.raises(Conflict):
            bench.checkout(first, force=True)
        assert (bench.root / "changed/.aq/format").read_text() == "a repository"

    def test_changes_to_files_that_do_not_differ_are_carried_along(self, bench: Bench) -> None:
        first, _ = two_commits(bench)
        bench.write("same", "edited")
        bench.write("untracked", "u")
        bench.checkout(first)
        assert bench.changes() == {"same": "changed"} and bench.lying()["untracked"] == b"u"

    def test_a_deleted_file_comes_back(self, bench: Bench) -> None:
        first, _ = two_commits(bench)
        (bench.root / "changed").unlink()
        bench.checkout(first)
        assert bench.lying()["changed"] == b"1"

    def test_many_conflicts_are_counted(self, bench: Bench) -> None:
        for number in range(9):
            bench.write(f"f{number}", "1")
        bench.add(".")
        first = bench.commit()
        for number in range(9):
            bench.write(f"f{number}", "2")
        bench.commit()
        for number in range(9):
            bench.write(f"f{number}", "3")
        with pytest.raises(Conflict, match="f0, f1, f2 and 6 more"):
            bench.checkout(first)

    def test_a_folder_with_other_things_in_it_stays(self, bench: Bench) -> None:
        first, second = two_commits(bench)
        bench.checkout(first)
        bench.write("removed/deep/mine", "m")
        bench.checkout(second)
        assert bench.lying()["removed/deep/mine"] == b"m"


def test_undo_of_undo(bench: Bench) -> None:
    first, second = two_commits(bench)
    done = bench.checkout(first)
    assert done.files is not None
    undone = bench.work.put_back(done.files)
    assert undone.files is not None
    bench.work.put_back(undone.files)
    assert bench.lying() == {"same": b"s", "changed": b"1", "removed/deep/a": b"r"}
    assert bench.snapshot_of(second) != bench.snapshot_of(first)


def test_put_back_refuses_what_changed_since(bench: Bench) -> None:
    first, _ = two_commits(bench)
    done = bench.checkout(first)
    bench.write("changed", "since")
    assert done.files is not None
    with pytest.raises(Conflict, match="changed"):
        bench.work.put_back(done.files)
    bench.work.put_back(done.files, force=True)
    assert bench.lying()["changed"] == b"2"


def test_nothing_is_written_before_apply(bench: Bench) -> None:
    first, second = two_commits(bench)
    before = bench.lying()
    plan = bench.work.prepare_checkout(bench.snapshot_of(second), bench.snapshot_of(first))
    assert bench.lying() == before and plan.files is not None
    plan.apply()
    assert bench.lying() != before


def test_skipped_paths_are_left_alone(bench: Bench) -> None:
    first, second = two_commits(bench)
    root = bench.snapshot_of
    done = bench.work.checkout(root(second), root(first), skip=lambda path: path == "changed")
    assert done.skipped == ["changed"] and bench.lying()["changed"] == b"2"


def test_made_and_given_paths_never_reach_the_folder(bench: Bench) -> None:
    bench.write("a", "1")
    bench.add("a")
    bench.commit()
    before = bench.work.head()
    given = entry(bench, b"v")._replace(origin=Origin.GIVEN)
    after = snapshots.edit(bench.store, before, {"sales": given})
    assert bench.work.checkout(before, after).files is None
    bench.write("sales", "a file of the user's")
    assert bench.work.checkout(after, before).files is None
    with pytest.raises(UsageError, match="sales lies only in the store"):
        bench.work.restore(after, ["sales"])


class TestRestore:
    """Files as they were."""

    def test_files_and_folders(self, bench: Bench) -> None:
        first, _ = two_commits(bench)
        bench.write("same", "edited")
        root = bench.snapshot_of(first)
        done = bench.work.restore(root, ["removed", "same"])
        assert done.written == ["removed/deep/a", "same"] and bench.lying()["same"] == b"s"
        assert bench.lying()["changed"] == b"2" and "added/b" in bench.lying()
        assert done.files is not None
        bench.work.put_back(done.files)
        assert bench.lying()["same"] == b"edited" and "removed/deep/a" not in bench.lying()

    def test_everything_with_what_was_not_there_yet_removed(self, bench: Bench) -> None:
        first, _ = two_commits(bench)
        bench.write("untracked", "u")
        done = bench.work.restore(bench.snapshot_of(first), ["."])
        assert done.deleted == ["added/b"]
        assert bench.lying() == {"same": b"s", "changed": b"1", "removed/deep/a": b"r", "untracked": b"u"}

    def test_a_path_that_neither_has(self, bench: Bench) -> None:
        first, _ = two_commits(bench)
        with pytest.raises(NotFound, match=r"no path chnged \(did you mean changed\?\)"):
            bench.work.restore(bench.snapshot_of(first), ["chnged"])

    def test_a_folder_replaced_by_a_link(self, bench: Bench, tmp_path: Path) -> None:
        first, _ = two_commits(bench)
        outside = tmp_path / "outside"
        outside.mkdir()
        (bench.root / "removed").symlink_to(outside)
        done = bench.work.restore(bench.snapshot_of(first), ["removed"])
        assert list(outside.iterdir()) == [] and not (bench.root / "removed").is_symlink()
        assert bench.lying()["removed/deep/a"] == b"r" and done.files is not None
        bench.work.put_back(done.files)
        assert os.readlink(bench.root / "removed") == str(outside)


class TestHostile:
    """Snapshots that someone else made."""

    @pytest.mark.parametrize(
        "path",
        [
            *(
                b"../x",
                b"a/../../x",
                b"/tmp/x",
                b".aq/x",
                b".AQ/x",
                b"a/.Aq/x",
                b".git/hooks/x",
                b"a//b",
                b".",
            ),
            *(b"a\0b", b"", ".\u200baq/x".encode()),
        ],
    )
    def test_paths(self, bench: Bench, path: bytes) -> None:
        root = hostile(bench, (path, entry(bench, b"h")), (b"innocent", entry(bench, b"i")))
        with pytest.raises(Damaged, match="nothing is written"):
            bench.work.checkout(bench.work.head(), root, force=True)
        with pytest.raises(Damaged, match="nothing is written"):
            bench.work.export(root, bench.root / "out")
        assert bench.lying() == {}

    def test_a_file_below_a_link_of_the_same_snapshot(self, bench: Bench, tmp_path: Path) -> None:
        target = os.fsencode(tmp_path / "outside")
        (tmp_path / "outside").mkdir()
        root = hostile(
            bench,
            (b"a", entry(bench, target, Mode.SYMLINK)),
            (b"a-b", entry(bench, b"x")),
            (b"a/x", entry(bench, b"x")),
        )
        for write in (
            bench.work.export,
            lambda root, _: bench.work.checkout(bench.work.head(), root, force=True),
        ):
            with pytest.raises(Damaged, match="a/x below a file"):
                write(root, bench.root)
        assert bench.lying() == {} and list((tmp_path / "outside").iterdir()) == []

    def test_a_file_below_a_link_that_lies_there(self, bench: Bench, tmp_path: Path) -> None:
        (tmp_path / "outside").mkdir()
        (bench.root / "a").symlink_to(tmp_path / "outside")
        root = hostile(bench, (b"a/x", entry(bench, b"x")))
        with pytest.raises(Conflict):
            bench.work.checkout(bench.work.head(), root)
        bench.work.checkout(bench.work.head(), root, force=True)
        assert list((tmp_path / "outside").iterdir()) == [] and bench.lying() == {"a/x": b"x"}

    def test_twins_on_a_file_system_that_ignores_case(self, bench: Bench) -> None:
        root = hostile(bench, (b"a", entry(bench, b"1")), (b"A", entry(bench, b"2")))
        bench.work.checkout(bench.work.head(), root)
        assert bench.lying() == {"a": b"1", "A": b"2"}
        bench.work.restore(bench.work.head(), ["."])
        (bench.root / ".AQ").symlink_to(".aq")  # how such a file system shows itself
        with pytest.raises(Damaged, match="A and a have one name"):
            bench.work.checkout(bench.work.head(), root, force=True)

    @pytest.mark.parametrize("target", [b"", b"a\0b", b"x" * 5_000])
    def test_link_targets(self, bench: Bench, target: bytes) -> None:
        root = hostile(bench, (b"link", entry(bench, target, Mode.SYMLINK)))
        with pytest.raises(Damaged, match="sane target"):
            bench.work.checkout(bench.work.head(), root)

    def test_content_that_is_no_file(self, bench: Bench) -> None:
        pickle = put_record(bench.store, Artifact(kind="model", format="pickle", size=1, data=b"x"))
        wrong_size = put_record(bench.store, Artifact(kind="file", format="bytes", size=9, data=b"x"))
        for id in (pickle, wrong_size, Digest(b"\x07" * 32)):
            root = hostile(bench, (b"a", Entry(id, Origin.FILE)))
            with pytest.raises(Damaged):
                bench.work.checkout(bench.work.head(), root)
        assert bench.lying() == {}
        assert list((bench.store.control / "tmp").iterdir()) == []


def test_export(bench: Bench, tmp_path: Path) -> None:
    first, _ = two_commits(bench)
    out = tmp_path / "out"
    out.mkdir()
    bench.work.export(bench.snapshot_of(first), out)
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) == [
        "changed",
        "removed/deep/a",
        "same",
    ]
    some = tmp_path / "some"
    some.mkdir()
    bench.work.export(bench.snapshot_of(first), some, ["changed"])
    assert [p.name for p in some.iterdir()] == ["changed"] and (some / "changed").read_text() == "1"
    with pytest.raises(NotFound):
        bench.work.export(bench.snapshot_of(first), some, ["nothing"])


def test_a_failure_at_any_write_leaves_whole_files_and_can_be_put_back(bench: Bench) -> None:
    first, second = two_commits(bench)
    root = bench.snapshot_of
    before, after = bench.lying(), {"same": b"s", "changed": b"1", "removed/deep/a": b"r"}
    for fail_at in range(100):
        plan = bench.work.prepare_checkout(root(second), root(first))
        assert plan.files is not None
        bench.store.flush()
        count = 0

        def hook(_call: str, _path: str, fail_at: int = fail_at) -> None:
            nonlocal count
            count += 1
            if count > fail_at:
                raise OSError(28, "No space left on device")

        try:
            with disk.observed(hook):
                plan.apply()
        except AqError:
            lying = bench.lying()
            assert all(data in (before.get(path), after.get(path)) for path, data in lying.items())
            bench.work.put_back(plan.files)
            assert bench.lying() == before
        else:
            assert fail_at > 6 and bench.lying() == after
            return
    pytest.fail("never succeeded")


NAMES = st.sampled_from(["a", "b", "a/x", "a/y", "b/x", "c", "a/x/z"])
TREES = st.dictionaries(NAMES, st.sampled_from([b"1", b"2", b"L"]), max_size=5)


def settle_names(tree: dict[str, bytes]) -> dict[str, bytes]:
    """Without files that lie below files."""
    return {
        name: data for name, data in tree.items() if not any(name.startswith(other + "/") for other in tree)
    }


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TREES, TREES, TREES)
def test_any_folder_between_any_snapshots(
    tmp_path_factory: pytest.TempPathFactory,
    a: dict[str, bytes],
    b: dict[str, bytes],
    lying: dict[str, bytes],
) -> None:
    """Without force nothing unsaved is lost; with force the result is exact; undo brings all back."""
    bench = Bench(tmp_path_factory.mktemp("any"))
    a, b, lying = settle_names(a), settle_names(b), settle_names(lying)

    def root(tree: dict[str, bytes]) -> Digest:
        modes = {name: Mode.SYMLINK if data == b"L" else Mode.FILE for name, data in tree.items()}
        return hostile(bench, *((n.encode(), entry(bench, d, modes[n])) for n, d in tree.items()))

    for name, data in lying.items():
        if data == b"L":
            (bench.root / name).parent.mkdir(parents=True, exist_ok=True)
            (bench.root / name).symlink_to("L")
        else:
            bench.write(name, data)
    before, after = root(a), root(b)
    try:
        plan = bench.work.prepare_checkout(before, after)
    except Conflict:
        plan = bench.work.prepare_checkout(before, after, force=True)
    else:
        lost = {
            n: d
            for n, d in lying.items()
            if d not in (a.get(n), b.get(n)) and n in {*plan.written, *plan.deleted}
        }
        assert lost == {}
    bench.store.flush()
    plan.apply()
    changed = {name for name in {*a, *b} if a.get(name) != b.get(name)}
    now = bench.lying()
    assert {name: now.get(name) for name in changed} == {name: b.get(name) for name in changed}
    if plan.files is not None:
        bench.work.put_back(plan.files)
    assert bench.lying() == lying
    bench.store.close()
