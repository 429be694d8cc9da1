"""Three-way merges of snapshots against a merge of dicts."""

from __future__ import annotations

from collections import Counter

import pytest
from aq.formats.errors import UsageError
from aq.formats.identity import Digest, Kind
from aq.formats.objects import MemoryObjects, Overlay, put_record
from aq.formats.records import Commit
from aq.store.commits import history, snapshots
from aq.store.commits.merge import Answers, Merge, Side, common_base, merge
from aq.store.commits.snapshots import Entry, Mode, Origin
from hypothesis import given, strategies as st

Model = dict[str, Entry]
NAMES = ["a", "a/x", "a/y", "b", "b-", "b/c/d", "c"]
MIRROR = {"change/delete": "delete/change", "file/folder": "folder/file"}
MIRROR |= {back: forth for forth, back in MIRROR.items()}


def digest(number: int) -> Digest:
    return Digest(bytes([number]) * 32)


def file(number: int, mode: Mode = Mode.FILE) -> Entry:
    return Entry(digest(number), Origin.FILE, None, mode)


def made(number: int, step: int = 9) -> Entry:
    return Entry(digest(number), Origin.MADE, digest(step))


def value(number: int) -> Entry:
    return Entry(digest(number), Origin.GIVEN)


def sound(model: Model) -> Model:
    """Without files that lie below another one."""
    files = {path for path, entry in model.items() if entry.origin is Origin.FILE}
    return {
        p: e
        for p, e in model.items()
        if p not in files or not any(f"{p}/".startswith(f"{f}/") for f in files - {p})
    }


ENTRIES = st.builds(
    file, st.integers(1, 3), st.sampled_from([Mode.FILE, Mode.EXEC, Mode.SYMLINK])
) | st.builds(value, st.integers(1, 2))
MODELS = st.dictionaries(st.sampled_from(NAMES), ENTRIES).map(sound)


def build(objects: MemoryObjects, model: Model) -> Digest:
    return snapshots.edit(objects, snapshots.empty(objects), dict(model))


def merged(
    base: Model, ours: Model, theirs: Model, answers: Answers | None = None, theirs_made: str = ""
) -> Merge:
    objects = MemoryObjects()
    roots = [build(objects, model) for model in (base, ours, theirs)]
    return merge(
        objects, *roots, answers=answers, made=lambda path: bool(theirs_made) and path.startswith(theirs_made)
    )


def applied(ours: Model, found: Merge) -> Model:
    return {path: entry for path, entry in {**ours, **found.edits}.items() if entry is not None}


def expected(base: Entry | None, ours: Entry | None, theirs: Entry | None) -> Entry | str | None:
    """One path, by the book."""
    if ours == theirs:
        return ours
    if base == ours:
        return theirs
    if base == theirs:
        return ours
    if base and ours and theirs and {e.origin for e in (base, ours, theirs)} == {Origin.FILE}:
        artifacts, modes = ({e[at] for e in (base, ours, theirs)} for at in (0, 3))
        apart = (
            ours.artifact == base.artifact
            or theirs.artifact == base.artifact
            or ours.artifact == theirs.artifact
        )
        if Mode.SYMLINK not in modes and apart and len(artifacts) <= 2:
            artifact = theirs.artifact if ours.artifact == base.artifact else ours.artifact
            return Entry(artifact, Origin.FILE, None, theirs.mode if ours.mode == base.mode else ours.mode)
    return "conflict"


@given(MODELS, MODELS, MODELS)
def test_a_merge_is_the_merge_of_every_path(base: Model, ours: Model, theirs: Model) -> None:
    found = merged(base, ours, theirs)
    wanted = {path: expected(base.get(path), ours.get(path), theirs.get(path)) for path in NAMES}
    parted = [one.path for one in found.open if "f" in one.kind]
    clear = [path for path in NAMES if not any(f"{path}/".startswith(f"{top}/") for top in parted)]
    result = applied(ours, found)
    assert {one.path for one in found.open if one.path in clear} == {
        p for p in clear if wanted[p] == "conflict"
    }
    for path in clear:
        if wanted[path] != "conflict":
            assert result.get(path) == wanted[path]
    assert result == sound(result)
    if not found.open:
        assert result == {path: entry for path, entry in wanted.items() if entry is not None}


@given(MODELS, MODELS, MODELS)
def test_a_merge_is_symmetric(base: Model, ours: Model, theirs: Model) -> None:
    one, other = merged(base, ours, theirs), merged(base, theirs, ours)
    mirrored = [(each.path, MIRROR.get(each.kind, each.kind)) for each in other.open]
    assert [(each.path, each.kind) for each in one.open] == mirrored
    if not one.open:
        assert applied(ours, one) == applied(theirs, other)


@given(MODELS, MODELS)
def test_identical_or_untouched_sides_never_conflict(base: Model, side: Model) -> None:
    assert merged(base, side, side) == Merge({}, [], [])
    assert merged(base, side, base) == Merge({}, [], [])
    found = merged(base, base, side)
    assert not found.open and applied(base, found) == side


@given(MODELS, MODELS, MODELS)
def test_one_answer_for_all_settles_everything(base: Model, ours: Model, theirs: Model) -> None:
    waiting = merged(base, ours, theirs)
    for side, model in ((Side.OURS, ours), (Side.THEIRS, theirs)):
        found = merged(base, ours, theirs, Answers({"": side}))
        result = applied(ours, found)
        assert not found.open and result == sound(result)
        assert {one.path for one in waiting.open} == {one.path for one in found.settled} or any(
            "f" in one.kind for one in waiting.open
        )
        for one in waiting.open:
            assert result.get(one.path) == model.get(one.path)


def test_kinds_of_conflicts() -> None:
    base = {"changed": file(1), "gone": file(1), "kept": file(1)}
    ours = {"changed": file(2), "kept": file(2), "new": file(2), "d": file(1)}
    theirs = {"changed": file(3), "gone": file(3), "new": file(3), "d/e": file(1)}
    assert {one.path: one.kind for one in merged(base, ours, theirs).open} == {
        "changed": "change/change",
        "gone": "delete/change",
        "kept": "change/delete",
        "new": "add/add",
        "d": "file/folder",
    }


def test_content_and_executability_merge_apart() -> None:
    found = merged({"a": file(1)}, {"a": file(1, Mode.EXEC)}, {"a": file(2)})
    assert not found.open and found.edits == {"a": file(2, Mode.EXEC)}


def test_made_paths_stand_as_told_and_never_conflict() -> None:
    base, ours, theirs = {"f/m": made(1)}, {"f/m": made(2)}, {"f/m": made(3), "f/n": made(4)}
    assert merged(base, ours, theirs) == Merge({}, [], [])
    assert merged(base, ours, theirs, theirs_made="f/").edits == {"f/m": made(3), "f/n": made(4)}
    assert merged(base, {"f/m": made(2, 7)}, {"f/m": made(2, 8)}) == Merge({}, [], [])


def test_a_file_where_a_flow_makes_one_is_a_conflict() -> None:
    found = merged({}, {"f/m": made(1)}, {"f/m": file(2)})
    assert [(one.path, one.kind) for one in found.open] == [("f/m", "made")]
    chosen = merged({}, {"f/m": made(1)}, {"f/m": file(2)}, Answers({"f": Side.THEIRS}))
    assert chosen.edits == {"f/m": file(2)} and not chosen.open


def test_the_nearest_answer_counts() -> None:
    base, ours, theirs = ({"d/a": file(n), "d/b": file(n)} for n in (1, 2, 3))
    found = merged(base, ours, theirs, Answers({"": Side.OURS, "d/b": Side.THEIRS}))
    assert found.edits == {"d/b": file(3)} and [one.path for one in found.settled] == ["d/a", "d/b"]


def test_what_lies_in_the_folder_may_be_the_answer() -> None:
    lying = {"d/a": file(4)}
    base, ours, theirs = ({"d/a": file(n), "d/b": file(n)} for n in (1, 2, 3))
    found = merged(base, ours, theirs, Answers({"d": Side.TAKE}, lying.get))
    assert found.edits == {"d/a": file(4), "d/b": None}
    with pytest.raises(UsageError, match="only in the store"):
        merged({}, {"v": value(1)}, {"v": value(2)}, Answers({"v": Side.TAKE}, lying.get))


def test_a_folder_or_a_file_goes_as_a_whole() -> None:
    base = {"d/a": file(1), "x": file(1)}
    ours, theirs = {"d/a": file(2), "d/b": file(2), "x": file(1)}, {"d": file(3), "x": file(4)}
    (waiting,) = merged(base, ours, theirs).open
    assert (waiting.path, waiting.kind) == ("d", "folder/file")
    assert applied(ours, merged(base, ours, theirs, Answers({"d": Side.OURS}))) == {**ours, "x": file(4)}
    assert applied(ours, merged(base, ours, theirs, Answers({"d": Side.THEIRS}))) == theirs


class Counting:
    """Counts the nodes read."""

    def __init__(self, objects: MemoryObjects) -> None:
        self.objects, self.reads = objects, Counter[Kind]()

    def get(self, kind: Kind, id: bytes) -> bytes:
        self.reads[kind] += 1
        return self.objects.get(kind, id)


def test_a_merge_reads_the_differences_and_not_the_snapshots() -> None:
    objects = MemoryObjects()
    base = build(objects, {f"data/{n:06d}": file(n % 200) for n in range(30_000)})
    ours = snapshots.edit(objects, base, {"data/000100": file(201), "data/020000": None})
    theirs = snapshots.edit(objects, base, {"data/015000": file(202), "data/000100": file(203)})
    source = Counting(objects)
    found = merge(source, base, ours, theirs)
    assert found.edits == {"data/015000": file(202)} and [one.path for one in found.open] == ["data/000100"]
    assert source.reads[Kind.NODE] <= 24 < len(objects.objects) / 4


def commit(objects: MemoryObjects, time: int, model: Model, *parents: Digest) -> Digest:
    root = build(objects, model)
    return put_record(
        objects, Commit(snapshot=root, time=time, author="a", message="m", parents=list(parents))
    )


def based(overlay: Overlay, ours: Digest, theirs: Digest) -> tuple[list[Digest], Digest]:
    bases = history.merge_bases(overlay, ours, theirs)
    return bases, common_base(overlay, bases)


def test_no_common_ancestor_is_an_empty_base() -> None:
    objects = MemoryObjects()
    a, b = commit(objects, 1, {"x": file(1)}), commit(objects, 2, {"x": file(1)})
    assert based(Overlay(objects), a, b) == ([], snapshots.empty(objects))


def test_after_a_criss_cross_going_back_is_a_change() -> None:
    """Two bases, one of them behind: the base is what their own merge gave."""
    objects = MemoryObjects()
    root = commit(objects, 1, {"x": file(1)})
    left = commit(objects, 2, {"x": file(2)}, root)
    right = commit(objects, 3, {"x": file(1), "y": file(1)}, root)
    both = {"x": file(2), "y": file(1)}
    ours = commit(objects, 4, both, left, right)
    theirs = commit(objects, 6, {"x": file(1), "y": file(1)}, commit(objects, 5, both, right, left))
    kept = len(objects.objects)
    overlay = Overlay(objects)
    bases, base = based(overlay, ours, theirs)
    assert set(bases) == {left, right} and dict(snapshots.entries(overlay, base)) == both
    found = merge(overlay, base, build(objects, both), build(objects, {"x": file(1), "y": file(1)}))
    assert found == Merge({"x": file(1)}, [], []) and len(objects.objects) == kept


def test_after_a_criss_cross_that_conflicted_both_answers_stand_against_each_other() -> None:
    objects = MemoryObjects()
    root = commit(objects, 1, {"x": file(1)})
    left, right = commit(objects, 2, {"x": file(2)}, root), commit(objects, 3, {"x": file(3)}, root)
    ours, theirs = (commit(objects, 4, {"x": file(n)}, left, right) for n in (2, 3))
    overlay = Overlay(objects)
    _, base = based(overlay, ours, theirs)
    found = merge(overlay, base, build(objects, {"x": file(2)}), build(objects, {"x": file(3)}))
    assert [one.path for one in found.open] == ["x"]
    assert based(Overlay(objects), theirs, ours)[1] == base


def test_criss_cross_upon_criss_cross_ends() -> None:
    objects = MemoryObjects()
    left = right = commit(objects, 1, {"x": file(1)})
    for turn in range(30):
        one = commit(objects, 2 + 2 * turn, {"x": file(1), "l": file(turn + 1)}, left, right)
        other = commit(objects, 3 + 2 * turn, {"x": file(1), "r": file(turn + 1)}, right, left)
        left, right = one, other
    bases, base = based(Overlay(objects), left, right)
    assert len(bases) == 2 and base
