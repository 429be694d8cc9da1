"""Changed files: what differs from the version before is stored, and every version comes back."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from aq.formats.contents import windows
from aq.formats.contents.chunking import LONGEST, SHORTEST
from aq.formats.contents.files import stream_bytes
from aq.formats.identity import Digest
from aq.formats.objects import get_record, put_record
from aq.formats.records import Artifact, Commit
from aq.store.commits.refs import Ref
from aq.store.frames.place_rows import decode_place
from aq.store.upkeep.fsck import fsck
from aq.store.upkeep.gc import DAY, collect
from aq.store.upkeep.mend import mend
from blake3 import blake3
from hypothesis import given, settings, strategies as st

from tests.store.folder import Bench

KIB, MIB = 1 << 10, 1 << 20
BESIDE = 40 * KIB
"""What a commit may take beside content: records, nodes, the list of pieces."""


def noise(size: int, seed: int = 0) -> bytes:
    return blake3(b"%d" % seed).digest(length=size)


def rows(count: int, seed: int = 0) -> list[bytes]:
    """Lines of a CSV file, 40 bytes each."""
    source = random.Random(seed)
    words = (b"alpha", b"beta", b"gamma", b"delta")
    return [
        b"%d,%s,%.6f,%d,2024-%02d-%02d\n"
        % (
            number,
            source.choice(words),
            source.random(),
            source.randrange(10**6),
            number % 12 + 1,
            number % 28,
        )
        for number in range(count)
    ]


def edited(lines: list[bytes], share: float, seed: int = 1) -> list[bytes]:
    """Another number in some lines."""
    source, made = random.Random(seed), list(lines)
    for at in source.sample(range(len(made)), int(len(made) * share)):
        cells = made[at].split(b",")
        made[at] = b",".join((*cells[:2], b"%.6f" % source.random(), *cells[3:]))
    return made


class Kept(Bench):
    """A repository of one file."""

    def close(self) -> None:
        """Let go of it."""
        self.store.close()

    def put(self, data: bytes, path: str = "file") -> int:
        """Commit a version; returns by how many bytes the store has grown."""
        before = self.store.bytes_on_disk()
        self.write(path, data)
        self.settle()
        self.add(path)
        self.commit()
        return self.store.bytes_on_disk() - before

    def content(self, root: Digest | None = None, path: str = "file") -> bytes:
        """What the store holds of the file, read by whoever opens it next."""
        entry = self.files(root or self.work.head())[path]
        return b"".join(stream_bytes(get_record(self.store, Artifact, entry.artifact), self.store))

    def forget(self) -> None:
        """Leave all versions but the last one to the next collector."""
        alone = Commit(snapshot=self.work.head(), parents=[], message="alone", author="ada", time=self.time)
        self.refs({"branch/main": Ref(put_record(self.store, alone))})

    def deltas(self) -> list[int]:
        """How many bases each delta has."""
        values = [decode_place(value) for _id, value in self.store.index.items("objects")]
        return [len(place.bases) for place in values if place.bases]

    def check(self) -> None:
        """Everything is whole, and no delta is made from one."""
        assert fsck(self.store, full=True).problems == []
        for _id, value in self.store.index.items("objects"):
            for base in decode_place(value).bases:
                place = self.store.index.place(base)
                assert place is not None and not place.bases


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    """An empty repository."""
    with closing(made := Kept(tmp_path / "repo")):
        yield made


@pytest.mark.parametrize("size", [6 * MIB, 18 * MIB])
def test_a_change_in_place_costs_itself_wherever_it_is(kept: Kept, size: int) -> None:
    """Random bytes: nothing can be gained but by finding what is old. Above 16 MiB two threads store them."""
    data, source, costs = noise(size), random.Random(8), []
    kept.put(data)
    for turn in range(24):
        at = source.randrange(size - MIB)
        costs.append(kept.put(data[:at] + noise(MIB, turn + 1) + data[at + MIB :]) - MIB)
        kept.put(data)
    assert max(costs) < 300 * KIB and sum(costs) / len(costs) < 70 * KIB
    assert kept.content() == data
    kept.check()


def inserted(data: bytes) -> bytes:
    return data[: 2 * MIB] + noise(300 * KIB, 5) + data[2 * MIB :]


def deleted(data: bytes) -> bytes:
    return data[: 2 * MIB] + data[2 * MIB + 300 * KIB :]


def appended(data: bytes) -> bytes:
    return data + noise(300 * KIB, 6)


def prepended(data: bytes) -> bytes:
    return noise(300 * KIB, 7) + data


@pytest.mark.parametrize("change", [inserted, deleted, appended, prepended])
def test_what_moves_the_rest_costs_itself(kept: Kept, change: Callable[[bytes], bytes]) -> None:
    data = noise(5 * MIB)
    kept.put(data)
    changed = change(data)
    assert kept.put(changed) < max(0, len(changed) - len(data)) + 2 * BESIDE
    assert kept.content() == changed
    kept.check()


def test_lines_changed_here_and_there_cost_these_lines(kept: Kept) -> None:
    lines = rows(120_000)
    first = kept.put(b"".join(lines))
    some = edited(lines, 0.01)
    assert kept.put(b"".join(some)) < first / 40
    more = [*some[:60_000], *rows(3_000, 9), *some[60_000:], *rows(500, 10)]
    assert kept.put(b"".join(more)) < first / 8
    assert kept.put(b"".join(line for at, line in enumerate(more) if at % 500)) < first / 40
    assert kept.put(b"".join(lines)) < BESIDE
    assert kept.deltas()
    kept.check()


def test_a_file_of_one_piece_costs_what_changed(kept: Kept) -> None:
    data = noise(70 * KIB)
    kept.put(data)
    for turn in range(5):
        data = data[: turn * 10_000] + b"edit" + data[turn * 10_000 :]
        assert kept.put(data) < 8 * KIB
    assert kept.content() == data
    kept.check()


def test_other_content_is_stored_in_full(kept: Kept) -> None:
    kept.put(noise(3 * MIB))
    assert kept.put(noise(3 * MIB, 1)) < 3 * MIB + BESIDE
    assert kept.deltas() == []
    other = b"".join(rows(70_000, 3))
    full = kept.put(other, "elsewhere")
    assert kept.put(b"".join(rows(70_000, 4))) < full * 1.1
    assert kept.content(path="elsewhere") == other


def test_what_has_drifted_away_is_a_base_again(kept: Kept) -> None:
    """Many versions: each costs what changed since the last full one, never much more than in full."""
    lines = rows(40_000)
    first, costs = kept.put(b"".join(lines)), []
    for turn in range(12):
        lines = edited(lines, 0.05, turn)
        costs.append(kept.put(b"".join(lines)))
        assert kept.content() == b"".join(lines)
    assert max(costs) < first * 1.1 and sum(costs) < first * 4
    kept.check()


def test_a_link_and_a_small_file_are_no_bases(kept: Kept) -> None:
    data = noise(200 * KIB)
    kept.put(b"small")
    kept.put(data)
    (kept.root / "file").unlink()
    (kept.root / "file").symlink_to("elsewhere")
    kept.commit()
    (kept.root / "file").unlink()
    assert kept.put(data[:-5]) < len(data) + BESIDE
    assert kept.content() == data[:-5] and kept.deltas() == []


def test_a_base_that_cannot_be_read_keeps_no_version_back(kept: Kept) -> None:
    data = noise(70 * KIB)
    kept.put(data)
    places = [decode_place(value) for _id, value in kept.store.index.items("objects")]
    for place in places:
        if place.kind == 1 and place.size > 60 * KIB:
            fd = os.open(f"{kept.store.control}/packs/{place.pack.hex()}.pack", os.O_WRONLY)
            os.pwrite(fd, b"\0\1\2\3", place.offset + place.size - 40)
            os.close(fd)
    kept.reopen()
    kept.put(data[:20_000] + b"edit" + data[20_000:])
    assert kept.content() == data[:20_000] + b"edit" + data[20_000:]


def test_versions_outlive_those_that_they_are_made_from(kept: Kept) -> None:
    """Collected and compacted twice, and the index made anew."""
    lines = rows(50_000)
    versions = [b"".join(edited(lines, 0.01, turn)) for turn in range(3)]
    for version in versions:
        kept.put(version)
    kept.forget()
    for turn in range(2):
        collect(kept.store, now=(400 + turn) * DAY, user="ada", grace=0, retention=0)
        assert kept.content() == versions[-1]
        kept.check()
    kept.store.close()
    mend(kept.root)
    kept.reopen()
    assert kept.deltas() and kept.content() == versions[-1]
    kept.check()


def test_what_is_overwritten_or_read_by_a_run_is_stored_as_what_differs(kept: Kept) -> None:
    """Whoever stores one file by itself has HEAD's version beside it as well."""
    data = noise(300 * KIB)
    kept.put(data)
    kept.write("file", data[:100_000] + b"edit" + data[100_000:])
    kept.settle()
    kept.reopen()
    before = kept.store.bytes_on_disk()
    kept.work.store_file("file")
    kept.store.flush()
    assert kept.store.bytes_on_disk() - before < BESIDE
    kept.check()


def test_a_version_comes_back_into_the_folder(kept: Kept) -> None:
    data = noise(18 * MIB)
    kept.put(data)
    first = kept.commit("again")
    changed = data[: 9 * MIB] + b"x" * 5_000 + data[9 * MIB :]
    kept.put(changed)
    second = kept.commit("more")
    for commit, wanted in ((first, data), (second, changed)):
        kept.settle()
        kept.checkout(commit)
        assert (kept.root / "file").read_bytes() == wanted


Step = tuple[str, float, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["edit", "insert", "delete", "append", "replace", "revert", "forget", "gc", "rebuild"]
        ),
        st.floats(0, 1),
        st.integers(1, 150 * KIB),
    ),
    min_size=1,
    max_size=7,
)


def after(data: bytes, step: Step, turn: int, earlier: list[bytes]) -> tuple[bytes, int]:
    """A version after another, and how many of its bytes are new."""
    what, where, size = step
    at = int(where * len(data))
    if what == "edit":
        return data[:at] + noise(size, turn) + data[at + size :], size
    if what == "insert":
        return data[:at] + noise(size, turn) + data[at:], size
    if what == "delete":
        return data[:at] + data[at + size :], 0
    if what == "append":
        return data + noise(size, turn), size
    if what == "replace":
        return noise(size, turn), size
    return earlier[at % len(earlier)], 0


@settings(max_examples=12)
@given(
    size=st.integers(0, 3 * MIB), seed=st.integers(0, 3), text=st.booleans(), small=st.booleans(), steps=steps
)
def test_every_version_of_every_history_comes_back(
    tmp_path_factory: pytest.TempPathFactory, size: int, seed: int, text: bool, small: bool, steps: list[Step]
) -> None:
    data = b"".join(rows(size // 40, seed)) if text else noise(size, seed)
    with pytest.MonkeyPatch.context() as patch, closing(Kept(tmp_path_factory.mktemp("r") / "r")) as kept:
        if small:
            patch.setattr(windows, "WINDOW", LONGEST)
            patch.setattr(windows, "PARALLEL_FROM", SHORTEST)
            patch.setattr(windows, "_spare", [])
        kept.put(data)
        versions, roots = [data], [kept.work.head()]
        for turn, step in enumerate(steps, 1_000):
            if step[0] == "gc":
                collect(kept.store, now=turn * DAY, user="ada", grace=0, retention=0)
            elif step[0] == "forget":
                kept.forget()
                versions, roots = versions[-1:], roots[-1:]
            elif step[0] == "rebuild":
                kept.store.close()
                mend(kept.root)
                kept.reopen()
            else:
                data, new = after(data, step, turn, versions)
                assert kept.put(data) <= min(len(data), new + 2 * MIB) + BESIDE
                versions.append(data)
                roots.append(kept.work.head())
        for version, root in zip(versions, roots, strict=True):
            assert kept.content(root) == version
        kept.check()
