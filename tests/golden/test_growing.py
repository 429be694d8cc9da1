"""The golden repository of tables that grow: chunks that lie in any way can be read, ids are the same."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from aq.formats.identity import Kind
from aq.formats.objects import MemoryObjects, put_record
from aq.formats.tables import encode_table
from aq.pipeline.repo import Repo
from aq.store.frames.place_rows import decode_place

from tests.golden.make_growing import ids, versions
from tests.golden.make_product import HERE, context

VERSIONS = list(versions())
WANTED = json.loads((HERE / "growing.json").read_text())


@pytest.fixture
def golden(tmp_path: Path) -> Iterator[Repo]:
    shutil.copytree(HERE / "growing", tmp_path / ".aq")
    (tmp_path / ".aq" / ".gitignore").write_text("*\n")
    with Repo.find(tmp_path, context(tmp_path)) as repo:
        yield repo


def test_it_holds_every_way_to_lie(golden: Repo) -> None:
    places = [decode_place(value) for _, value in golden.store.index.items("objects")]
    ways = Counter((place.kind, place.codec, len(place.bases)) for place in places)
    chunk, node = Kind.CHUNK, Kind.NODE
    of_chunks = ((0, 0), (1, 0), (2, 4), (3, 1), (3, 2), (3, 4), (4, 0), (5, 0), (5, 1))
    assert all(ways[chunk, *way] for way in of_chunks), ways
    assert ways[node, 0, 0] and ways[node, 3, 1]


def test_versions_load_as_they_were(golden: Repo) -> None:
    assert ids(golden) == WANTED
    for back, tables in list(enumerate(reversed(VERSIONS)))[::3]:
        for name, frame in tables.items():
            pd.testing.assert_frame_equal(golden.get(f"main~{back}:{name}").load(), frame)


def test_today_s_aq_gives_the_same_ids() -> None:
    for tables, wanted in list(zip(VERSIONS, WANTED, strict=True))[::7]:
        for name, frame in tables.items():
            memory = MemoryObjects()
            assert str(put_record(memory, encode_table(frame, memory).artifact)) == wanted[name]


def test_versions_are_compared_without_pandas(golden: Repo) -> None:
    argv = [sys.executable, "-X", "importtime", "-m", "aq", "diff", "main~14..main~1"]
    done = subprocess.run(argv, cwd=golden.root, capture_output=True, text=True)
    imported = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()]
    assert "rows: " in done.stdout and "pyarrow" in imported
    assert "pandas" not in imported


def test_it_grows_on(golden: Repo) -> None:
    frame = VERSIONS[-1]["sales"]
    longer = pd.concat([frame, frame[:300]], ignore_index=True)
    golden.commit({"sales": longer}, message="more")
    pd.testing.assert_frame_equal(golden.get("sales").load(), longer)
    assert golden.diff("main~1", "main").paths[0].detail["rows"]["added"] == 300


def test_no_invariant_of_today_finds_fault_with_it(golden: Repo) -> None:
    assert golden.fsck(full=True).problems == []
