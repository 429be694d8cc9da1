"""Repositories written by every format version so far open, and hold what they held.

`v1/` is `.aq/packs` and `.aq/format` of a repository made by `make.py`; `v1.json` says what is in it.
Neither is ever changed for a version that has been released.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aq.formats.identity import Digest, Kind, object_id
from aq.formats.records import TYPES, decode, require_canonical
from aq.store.store import Store

from tests.golden.make import make

HERE = Path(__file__).parent


def contents(store: Store) -> dict[str, Any]:
    """Everything that a repository says, as JSON: the index of what the golden file pins."""
    objects = [(Kind(value[24]), Digest(id)) for id, value in store.index.items("objects")]
    return {
        "objects": {str(id): [kind.name, len(store.get(kind, id))] for kind, id in objects},
        "refs": {name: str(ref.id or ref.target) for name, ref in store.refs().items()},
        "operations": [[str(id), operation.command] for id, operation in store.operations()],
        "runs": [str(id) for id in store.runs()],
        "steps": sorted([key[:32].hex(), id.hex()] for key, id in store.index.items("steps")),
        "summaries": {id.hex(): store.summary(id) for id, _place in store.index.items("summaries")},
    }


@pytest.fixture
def golden(tmp_path: Path) -> Iterator[Store]:
    shutil.copytree(HERE / "v1", tmp_path / ".aq")
    with Store.open(tmp_path) as store:
        yield store


def test_it_opens_and_says_what_it_said(golden: Store) -> None:
    assert contents(golden) == json.loads((HERE / "v1.json").read_text())


def test_every_object_is_what_its_id_says_and_every_record_can_be_read(golden: Store) -> None:
    kinds = set()
    for id, value in golden.index.items("objects"):
        kind = Kind(value[24])
        data = golden.get(kind, id)
        assert object_id(kind, data) == id
        require_canonical(kind, data)
        if kind in TYPES:
            decode(TYPES[kind], data)
        kinds.add(kind)
    assert kinds == {kind for kind in Kind if kind < Kind.SUMMARY}


def test_it_can_be_written_on(golden: Store) -> None:
    id = golden.put(Kind.CHUNK, b"new")
    golden.flush()
    golden.close()
    with Store.open(golden.root) as again:
        assert again.get(Kind.CHUNK, id) == b"new"


def test_today_s_aq_makes_the_same(tmp_path: Path) -> None:
    make(tmp_path)
    with Store.open(tmp_path) as store:
        assert contents(store) == json.loads((HERE / "v1.json").read_text())


def renew() -> None:
    """Replace the golden repository: only with a decision file that says why the format changed."""
    scratch = HERE / "scratch"
    make(scratch)
    with Store.open(scratch) as store:
        (HERE / "v1.json").write_text(json.dumps(contents(store), indent=1, sort_keys=True) + "\n")
    shutil.rmtree(HERE / "v1", ignore_errors=True)
    (HERE / "v1").mkdir()
    shutil.copy(scratch / ".aq" / "format", HERE / "v1")
    shutil.copytree(scratch / ".aq" / "packs", HERE / "v1" / "packs")
    shutil.rmtree(scratch)


if __name__ == "__main__" and sys.argv[1:] == ["renew"]:
    renew()
