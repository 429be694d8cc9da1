"""The golden repository that the whole product made: it opens, and says and holds what it did."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aq.pipeline.repo import Repo

from tests.golden.make_product import HERE, context, same, told, values


@pytest.fixture
def golden(tmp_path: Path) -> Iterator[Repo]:
    shutil.copytree(HERE / "product", tmp_path / ".aq")
    (tmp_path / ".aq" / ".gitignore").write_text("*\n")
    with Repo.find(tmp_path, context(tmp_path)) as repo:
        yield repo


def lost(now: Any, then: Any, place: str = "") -> list[str]:
    """Where what is told now lacks or contradicts what was told then; new keys are no loss."""
    if isinstance(then, dict) and isinstance(now, dict):
        missing = [f"{place}.{key} is gone" for key in then if key not in now]
        kept = [key for key in then if key in now]
        return missing + [one for key in kept for one in lost(now[key], then[key], f"{place}.{key}")]
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        pairs = enumerate(zip(now, then, strict=True))
        return [one for index, (a, b) in pairs for one in lost(a, b, f"{place}[{index}]")]
    return [] if now == then else [f"{place}: {then!r} became {now!r}"]


def test_it_says_what_it_said(golden: Repo) -> None:
    assert lost(told(golden), json.loads((HERE / "product.json").read_text())) == []


@pytest.mark.parametrize("name", sorted(values()))
def test_its_values_load_as_they_were(golden: Repo, name: str) -> None:
    assert same(golden.get(name), values()[name])


def test_its_files_come_back(golden: Repo) -> None:
    golden.restore(["big.bin", "data/x.csv"])
    assert (golden.root / "big.bin").read_bytes() == bytes(range(256)) * 1200
    assert (golden.root / "data" / "x.csv").read_text() == "id,x\n1,1\n2,9\n3,3\n5,5\n"


def test_its_logs_can_be_read(golden: Repo) -> None:
    assert golden.logs("v1:load").text == "rows 4\n"
    assert "KeyError" in golden.logs("run:last:load").text


def test_it_takes_a_new_commit(golden: Repo) -> None:
    before = next(iter(golden.log())).id
    assert golden.commit({"new": 1}).parents == [before]


@pytest.mark.parametrize("name", ["v1", "product"])
def test_no_invariant_of_today_finds_fault_with_it(tmp_path: Path, name: str) -> None:
    shutil.copytree(HERE / name, tmp_path / ".aq")
    (tmp_path / ".aq" / ".gitignore").write_text("*\n")
    with Repo.find(tmp_path, context(tmp_path)) as repo:
        assert repo.fsck(full=True).problems == []
