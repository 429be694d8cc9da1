"""`aq.Path`, files and folders as results: streamed in, the same again, gone from the disk afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import aq
import pytest
from aq.formats.contents import archives
from aq.formats.errors import Damaged, UsageError
from aq.formats.objects import MemoryObjects, get_record
from aq.formats.records import Artifact
from aq.pipeline.flow import placing
from aq.pipeline.step.keys import step_key
from aq.store.upkeep.fsck import fsck

from tests.pipeline.workshop import Workshop, states

FLOW = """
    import pathlib

    @aq.op
    def large(size: int) -> aq.Path:
        path = aq.Path("deep/model.bin")
        path.write_bytes(b"x" * size)
        return path

    @aq.op
    def folder() -> pathlib.Path:
        top = aq.Path("model")
        (top / "sub" / "empty").mkdir(parents=True)
        (top / "weights.bin").write_bytes(bytes(range(256)) * 1000)
        (top / "sub" / "run.sh").write_text("#!/bin/sh")
        (top / "sub" / "run.sh").chmod(0o755)
        (top / "latest").symlink_to("weights.bin")
        return top

    @aq.op
    def look(large: pathlib.Path, folder: pathlib.Path) -> dict:
        found = sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*"))
        return {"size": large.stat().st_size, "found": found, "text": (folder / "sub/run.sh").read_text(),
                "link": (folder / "latest").read_bytes()[:3].hex()}

    @aq.flow
    def f(size: int = 200_000):
        look(large(size), folder())
"""


def test_a_file_and_a_folder_go_from_step_to_step(shop: Workshop) -> None:
    shop.write(FLOW)
    done = shop.run()
    assert shop.value(done, "f/look") == {
        "size": 200_000,
        "found": ["latest", "sub", "sub/empty", "sub/run.sh", "weights.bin"],
        "text": "#!/bin/sh",
        "link": "000102",
    }
    assert os.listdir(shop.store.control / "tmp") == []
    before = done.artifacts
    assert shop.run(force=True).artifacts == before
    assert set(states(shop.run()).values()) == {"reused"}
    assert shop.record(done, "f/folder").type == {"folder": "tar"}
    assert fsck(shop.store, full=True, step_key=step_key).problems == []


def test_a_step_that_fails_leaves_nothing_behind(shop: Workshop) -> None:
    shop.write(FLOW.replace("return top", "raise ValueError"))
    assert states(shop.run())["folder"] == "failed"
    assert os.listdir(shop.store.control / "tmp") == []


def test_outside_an_op_it_is_an_ordinary_place() -> None:
    path = aq.Path("a/b.txt")
    path.write_text("x")
    assert type(path) is type(Path()) and path.name == "b.txt"


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", ""])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="names no place of its own"):
        aq.Path(name)


def stored(folder: Path) -> tuple[MemoryObjects, Artifact]:
    sink = MemoryObjects()
    return sink, get_record(sink, Artifact, placing.store_folder(sink, folder, "it"))


def test_equal_folders_are_equal_whatever_their_times_and_order(tmp_path: Path) -> None:
    names = ["b", "a", "ä", "a.txt", "z" * 200]
    for side, order in (("one", names), ("two", names[::-1])):
        (tmp_path / side / "d").mkdir(parents=True)
        for name in order:
            (tmp_path / side / "d" / name).write_text(name)
        os.utime(tmp_path / side / "d" / "a", (1, 1))
    assert stored(tmp_path / "one")[1] == stored(tmp_path / "two")[1]
    (tmp_path / "two" / "d" / "a").chmod(0o700)
    assert stored(tmp_path / "one")[1] != stored(tmp_path / "two")[1]


def test_nothing_lands_outside_of_the_folder(tmp_path: Path) -> None:
    sink = MemoryObjects()
    members = [archives.Member("../out", "folder")]
    data = b"".join(archives.written(members))
    artifact = Artifact(kind="file", format="bytes", size=len(data), data=data, type=archives.TYPE)
    with pytest.raises(Damaged, match="leads outside"):
        placing.load_folder(artifact, sink, tmp_path / "in")
    assert not (tmp_path / "out").exists()


LARGE = """
import sys
from pathlib import Path
from aq.pipeline.flow import placing
from aq.store.store import Store
from tests.memory import peak
with Store.open(Path(sys.argv[1])) as store:
    top = Path(sys.argv[2])
    top.mkdir()
    for name in range(3):
        with open(top / str(name), "wb") as file:
            for _ in range(100):
                file.write(__import__("os").urandom(1 << 20))
    placing.store_folder(store, top, "it")
    store.flush()
    print(peak())
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_a_folder(shop: Workshop, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LARGE, str(shop.root), str(tmp_path / "large")]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 160 << 20, done.stdout  # Python and its libraries among it
