"""Files as artifacts: what is known is not read, what is read is one state of the file."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aq.formats.artifacts.values import encode_file
from aq.formats.contents.files import whole_bytes
from aq.formats.errors import AqError, Temporary
from aq.formats.objects import MemoryObjects, get_record
from aq.formats.records import Artifact
from aq.store.commits.snapshots import Entry
from aq.store.folder import content

from tests.store.folder import Bench, bench

__all__ = ["bench"]


def bytes_of(bench: Bench, entry: Entry) -> bytes:
    return whole_bytes(get_record(bench.store, Artifact, entry.artifact), bench.store)


class TestStatCache:
    """What is known need not be read, and what is not known is."""

    @pytest.fixture
    def reads(self, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
        """The files that are opened, in order."""
        seen: list[bytes] = []
        whole = content._attempt

        def attempt(
            full: bytes, sink: content.Sink, on_bytes: content.OnBytes | None, like: content.Like | None
        ) -> tuple[bytes, content.Digest] | None:
            seen.append(os.path.basename(full))
            return whole(full, sink, on_bytes, like)

        monkeypatch.setattr(content, "_attempt", attempt)
        return seen

    def test_unchanged_files_are_not_read_again(self, bench: Bench, reads: list[bytes]) -> None:
        for name in ("a", "b", "d/c"):
            bench.write(name, name)
        bench.settle()
        bench.add(".")
        bench.commit()
        assert sorted(reads) == [b"a", b"b", b"c"]
        reads.clear()
        bench.reopen()
        bench.status()
        bench.commit()
        assert reads == []
        os.utime(bench.root / "b", ns=(1, 1))
        bench.settle()
        assert bench.changes() == {} and reads == [b"b"]
        reads.clear()
        assert bench.changes() == {} and reads == []

    def test_a_change_of_size_needs_no_reading(self, bench: Bench, reads: list[bytes]) -> None:
        bench.write("a", bytes(content.SMALL))
        bench.add("a")
        bench.commit()
        reads.clear()
        bench.write("a", bytes(content.SMALL + 1))
        assert bench.changes() == {"a": "changed"} and reads == []

    def test_a_write_of_the_same_size_within_one_tick_is_seen(self, bench: Bench) -> None:
        for number in range(60):
            bench.write("a", b"%04d" % number)
            if number == 0:
                bench.add("a")
            bench.commit()
            bench.write("a", b"%04d" % (number + 1))
            assert bench.changes() == {"a": "changed"}

    def test_the_old_time_put_back_does_not_hide_a_change(self, bench: Bench) -> None:
        place = bench.write("a", "old")
        before = place.stat()
        bench.add("a")
        bench.commit()
        place.write_text("new")
        os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert bench.changes() == {"a": "changed"}

    def test_a_file_dated_in_the_future_is_read_every_time(self, bench: Bench, reads: list[bytes]) -> None:
        place = bench.write("a", "1")
        os.utime(place, ns=(1 << 62, 1 << 62))
        bench.add("a")
        bench.commit()
        reads.clear()
        assert bench.changes() == {} and reads == [b"a"]

    def test_content_known_but_not_stored_is_stored_by_the_commit(self, bench: Bench) -> None:
        bench.write("a", "1")
        bench.add("a")
        bench.commit()
        bench.write("a", "2")
        assert bench.changes() == {"a": "changed"}
        bench.reopen()
        files = bench.files(bench.snapshot_of(bench.commit()))
        assert bytes_of(bench, files["a"]) == b"2"

    def test_rows_of_vanished_files_go(self, bench: Bench) -> None:
        for name in ("a", "b"):
            bench.write(name, name)
        bench.settle()
        bench.add(".")
        bench.commit()
        assert bench.work.cache.rows_in(b"").names == [b"a", b"b"]
        (bench.root / "b").unlink()
        bench.commit()
        assert bench.work.cache.rows_in(b"").names == [b"a"]

    def test_status_writes_nothing_where_nothing_may_be_written(self, bench: Bench) -> None:
        bench.write("a", "1")
        bench.add("a")
        bench.commit()
        os.utime(bench.root / "a", ns=(1, 1))
        bench.reopen()
        bench.store.writable, bench.store.index.readonly = False, True
        bench.work = type(bench.work)(bench.store)
        before = bench.store.index.items("stat")
        assert bench.changes() == {} and bench.store.index.items("stat") == before


class TestReading:
    """Files of all sizes, and files that move under the reader."""

    @pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 300_000])
    def test_content_is_what_the_codec_says(self, bench: Bench, size: int) -> None:
        data = bytes(range(256)) * (size // 256 + 1)
        bench.write("a", data[:size])
        encoded = encode_file(io.BytesIO(data[:size]), size, MemoryObjects())
        assert bench.work.store_file("a").artifact == encoded.id

    def test_a_file_that_changes_once_is_read_again(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = bench.write("a", b"old " * 50_000)
        whole = content._put
        changes = iter([b"new " * 50_000])

        def put(
            fd: int,
            size: int,
            sink: content.Sink,
            on_bytes: content.OnBytes | None,
            like: content.Like | None,
        ) -> content.Digest:
            found = whole(fd, size, sink, on_bytes, like)
            for data in changes:
                place.write_bytes(data)
                break
            return found

        monkeypatch.setattr(content, "_put", put)
        assert bytes_of(bench, bench.work.store_file("a")) == b"new " * 50_000

    def test_a_file_that_never_rests_is_given_up(self, bench: Bench) -> None:
        place = bench.write("a", b"")
        stop = threading.Event()

        def grow() -> None:
            with place.open("ab", buffering=0) as file:
                while not stop.is_set() and file.tell() < 1 << 28:
                    file.write(b"x" * 512)

        writer = threading.Thread(target=grow)
        writer.start()
        try:
            with pytest.raises(Temporary, match="a changes while it is read"):
                for _ in range(200):
                    bench.work.store_file("a")
        finally:
            stop.set()
            writer.join()


class TestPermissions:
    """Files and folders that this user may not read."""

    @pytest.fixture
    def bench(self) -> Iterator[Bench]:
        """A repository of a user who is not root."""
        root = Path(tempfile.mkdtemp(prefix="aq-permissions-"))
        user = os.geteuid()
        if user == 0:
            os.chown(root, 65_534, -1)
            os.seteuid(65_534)
        try:
            made = Bench(root / "repo")
            yield made
            made.store.close()
        finally:
            os.seteuid(user)
            for folder, _, _ in os.walk(root):
                os.chmod(folder, 0o700)
            shutil.rmtree(root)

    def test_a_tracked_file(self, bench: Bench) -> None:
        bench.write("d/a", "1").chmod(0)
        bench.add("d")
        with pytest.raises(AqError, match="d/a cannot be read: Permission denied"):
            bench.commit()

    def test_a_folder_with_tracked_files_is_no_removal(self, bench: Bench) -> None:
        bench.write("d/a", "1")
        bench.add("d")
        bench.commit()
        (bench.root / "d").chmod(0)
        with pytest.raises(AqError, match="d cannot be read: Permission denied"):
            bench.commit()
        (bench.root / "d").chmod(0o700)
        assert bench.changes() == {}

    def test_an_untracked_folder_is_shown(self, bench: Bench) -> None:
        bench.write("lost+found/x", "1")
        (bench.root / "lost+found").chmod(0)
        assert bench.status().untracked == ["lost+found/"]

    def test_a_folder_that_may_not_be_written(self, bench: Bench) -> None:
        bench.write("d/a", "1")
        bench.add("d")
        first = bench.commit()
        bench.write("d/a", "2")
        bench.commit()
        (bench.root / "d").chmod(0o500)
        with pytest.raises(AqError, match="d/a cannot be written: Permission denied"):
            bench.checkout(first)
        (bench.root / "d").chmod(0o700)
        assert bench.lying() == {"d/a": b"2"}
        assert list((bench.store.control / "tmp").iterdir()) == []
