"""Bytes are counted where they are needed, shared ones for each, and all of them are accounted for."""

from __future__ import annotations

import os
import random

from aq.formats.identity import Kind
from aq.store.commits.refs import Ref
from aq.store.upkeep.du import HISTORY, Share, usage

from tests.store.folder import Bench, bench

__all__ = ["bench"]


def by_name(shares: list[Share]) -> dict[str, Share]:
    return {share.name: share for share in shares}


def test_bytes_by_folder_ref_and_kind(bench: Bench) -> None:
    noise = random.Random(3).randbytes(600_000)
    bench.write("a/one.bin", noise)
    bench.write("b/two.bin", noise + b"more")
    bench.write("top.txt", "small")
    bench.add("a", "b", "top.txt")
    first = bench.commit("first")
    bench.refs({"tag/v1": Ref(first)})
    bench.write("b/two.bin", random.Random(4).randbytes(300_000))
    bench.settle()
    bench.commit("second")
    found = usage(bench.store)
    folders, refs, kinds = by_name(found.paths), by_name(found.refs), by_name(found.kinds)
    assert folders.keys() == {"a/", "b/", "top.txt"}
    assert 600_000 < folders["a/"].bytes < 610_000
    assert folders["a/"].own < 500_000, "its first chunks are those of the other one too"
    assert folders["b/"].bytes > 900_000 > folders["b/"].own > 300_000
    assert refs["tag/v1"].own == 0 and 300_000 < refs["branch/main"].own < 310_000
    assert refs["branch/main"].bytes > 900_000 > refs["tag/v1"].bytes
    assert kinds.keys() == {"file", HISTORY}
    headers = 3_000
    counted = kinds["file"].bytes + kinds[HISTORY].bytes + found.unreferenced
    assert counted <= found.bytes <= counted + headers
    packs = os.scandir(bench.root / ".aq" / "packs")
    assert found.bytes == sum(entry.stat().st_size for entry in packs)
    assert found.indexed > 0


def test_what_nothing_needs_is_told(bench: Bench) -> None:
    before = usage(bench.store)
    bench.store.put(Kind.CHUNK, random.Random(5).randbytes(10_000))
    bench.store.flush()
    after = usage(bench.store)
    assert after.unreferenced - before.unreferenced == 10_000 + 64
    assert after.objects == before.objects + 1


def test_refs_at_one_commit_share_it(bench: Bench) -> None:
    bench.write("x", "1")
    bench.add("x")
    tip = bench.commit()
    bench.refs({"tag/a": Ref(tip), "tag/b": Ref(tip)})
    refs = by_name(usage(bench.store).refs)
    assert refs["tag/a"][1:] == refs["tag/b"][1:] and refs["tag/a"].own == 0 < refs["tag/a"].bytes
