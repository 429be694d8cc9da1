"""docs/format.md is enough: a script that knows nothing but it extracts every kind of artifact."""

from __future__ import annotations

import ast
import io
import pickle
import random
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from aq.formats.artifacts import collected
from aq.formats.artifacts.values import Metric, decode
from aq.formats.columns.encodings import joined
from aq.formats.columns.layout import write_array
from aq.formats.contents.files import stream_bytes
from aq.formats.identity import Digest, Kind
from aq.formats.objects import get_record
from aq.formats.packing import packs
from aq.formats.records import Artifact
from aq.formats.tables import to_arrow
from aq.pipeline.repo import Repo
from aq.store.frames.place_rows import decode_place
from aq.store.store import Store
from pyarrow import feather

from tests.formats.test_tables_layout import ARRAYS
from tests.golden.make_product import HERE
from tests.pipeline.repository import create

SCRIPT = Path(__file__).parent.parent / "docs" / "read_without_aq.py"
FLOW = """
import aq

@aq.op
def square(n: int) -> int:
    return n * n

@aq.op(name="named")
def cube(n: int) -> int:
    return n**3

@aq.flow
def powers():
    aq.map(square, [1, 2, 3])
    aq.map(cube, {"two": 2, "ten": 10})
"""
ALONE = """
import runpy, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"aq", "blake3", "lmdb", "numpy", "pandas", "xxhash"}:
            raise ImportError(f"{name} is not there")

sys.meta_path.insert(0, Blocked())
script, folder, *wanted = sys.argv[1:]
for id, file in zip(wanted[::2], wanted[1::2]):
    sys.argv = [script, folder, id, file]
    runpy.run_path(script, run_name="__main__")
"""


def rows(count: int) -> pd.DataFrame:
    dice = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "at": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(count) * 7, unit="s"),
            "who": pd.array([f"user {n}" for n in dice.integers(0, 500, count)], dtype="str"),
            "value": dice.normal(size=count),
            "count": pd.array(dice.integers(0, 9, count), "Int16"),
        }
    )


def changed(frame: pd.DataFrame) -> pd.DataFrame:
    """A cell here and there, a row less, and another word in many rows."""
    other = frame.copy()
    other.loc[::997, "value"] += 1
    other.loc[::50, "who"] = "somebody else"
    return other.drop(index=7_000).reset_index(drop=True)


def values() -> dict[str, Any]:
    words = random.Random(3)
    text = "\n".join(str(words.random()) for _ in range(40_000))
    lengths = sorted(set(map(len, ARRAYS.values())))
    every = {n: {name: array for name, array in ARRAYS.items() if len(array) == n} for n in lengths}
    return {
        "small": pa.table({"i": [1, None, 3], "s": ["a", "b", None]}),
        "rows": rows(20_000),
        **{f"every type of {n} rows": pa.table(arrays) for n, arrays in every.items()},
        "no rows": pa.table({"a": pa.array([], pa.int8()), "s": pa.array([], pa.string())}),
        "odd widths": pa.table(
            {
                "wide": pa.array([b"a" * 70_000, None], pa.binary(70_000)),
                "none": pa.array([b"", None], pa.binary(0)),
                "decimal": pa.array([Decimal("1.2e5"), None], pa.decimal128(5, -3)),
                "zone": pa.array([1, None], pa.timestamp("ns", "+01:30")),
            }
        ),
        "a huge value": pa.table({"n": [1, 2], "b": [b"a", b"b" * (5 << 20)]}),
        "nested": pa.table({"l": [[{"a": at, "b": [str(at)]}] * (at % 3) for at in range(40_000)]}),
        "json": {"a": [1, 2.5, None], "b": "x"},
        "text": text,
        "raw": b"\0" * 100_000,
        "metric": Metric(0.5, "higher"),
        "array": np.arange(100_000.0),
        "scalar": np.float32(2.5),
        "model": {"weights": np.arange(200_000.0), "names": ("a", "b"), "bytes": b"x" * 70_000},
    }


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository with every kind of artifact, in two versions where that makes a delta."""
    folder = tmp_path_factory.mktemp("repo")
    made = create(folder)
    (folder / "small.txt").write_text("a file\n")
    (folder / "large.csv").write_text("\n".join(f"{at},{at * 7}" for at in range(60_000)))
    made.add(["small.txt", "large.csv"])
    made.commit(message="files")
    made.commit(values(), message="values")
    (folder / "large.csv").write_text("\n".join(f"{at},{at * 7}" for at in range(60_000) if at % 9_000))
    made.commit(message="other files")
    made.commit({"rows": changed(rows(20_000))}, message="other values")
    made.commit({"rows": pd.concat([changed(rows(20_000)), rows(20_000)])}, message="more rows")
    made.commit({"rows": pd.concat([changed(rows(20_000)), rows(20_900)])}, message="some more")
    (folder / "flow.py").write_text(FLOW)
    made.run("flow.py:powers")
    return made


def extract(folder: Path, files: dict[str, Path]) -> None:
    command = [sys.executable, "-I", "-c", ALONE, str(SCRIPT), str(folder)]
    subprocess.run([*command, *(str(part) for pair in files.items() for part in pair)], check=True)


def artifacts(repo: Repo) -> dict[str, Artifact]:
    """The artifacts of every path of every commit, by id."""
    ids = {entry.id for commit in repo.log() for entry in repo.ls(str(commit.id))}
    return {id: get_record(repo.store, Artifact, bytes.fromhex(id)) for id in ids}


def codecs(pack: bytes) -> Iterator[int]:
    at = packs.HEADER_SIZE
    while (head := packs.decode_head(pack, at)) is not None:
        yield head.codec
        at += head.size


def test_the_repository_has_frames_of_every_codec(repo: Repo) -> None:
    paths = (repo.store.control / "packs").iterdir()
    assert set(chain.from_iterable(codecs(path.read_bytes()) for path in paths)) == {0, 1, 2, 3, 4, 5}


def test_every_artifact_is_extracted_without_aq(repo: Repo, tmp_path: Path) -> None:
    found = artifacts(repo)
    assert {artifact.format for artifact in found.values()} == {
        "array", "bytes", "items", "json", "metric", "pickle", "raw", "table",
    }  # fmt: skip
    files = {id: tmp_path / f"{id}.arrow" for id in found}
    extract(repo.store.control.parent, files)
    for id, artifact in found.items():
        check(artifact, repo.store, files[id])


def check(artifact: Artifact, store: Store, file: Path) -> None:
    if artifact.format == "table":
        expected, found = to_arrow(artifact, store), feather.read_table(file)
        assert (found.num_rows, found.column_names) == (expected.num_rows, expected.column_names)
        for mine, theirs in zip(found.columns, expected.columns, strict=True):
            layouts = [write_array(joined(values.chunks, values.type)) for values in (mine, theirs)]
            assert layouts[0] == layouts[1]
    elif artifact.format == "pickle":
        buffers = sorted(file.parent.glob(f"{file.name}.*"))
        parts = pickle.loads(file.read_bytes(), buffers=[bytearray(path.read_bytes()) for path in buffers])
        assert repr(parts) == repr(decode(artifact, store))
    elif artifact.format == "items":
        elements = enumerate(collected.elements(artifact, store))
        lines = [f"{id.hex()} {at if key is None else key}" for at, (key, id) in elements]
        assert file.read_text().splitlines() == lines
    else:
        assert file.read_bytes() == b"".join(stream_bytes(artifact, store))


@pytest.mark.parametrize("name", ["v1", "product", "growing"])
def test_golden_repositories_are_extracted_without_aq(name: str, tmp_path: Path) -> None:
    shutil.copytree(HERE / name, tmp_path / ".aq")
    (tmp_path / ".aq" / ".gitignore").write_text("*\n")
    with Store.open(tmp_path) as store:
        ids = [id for id, value in store.index.items("objects") if decode_place(value).kind == Kind.ARTIFACT]
        found = {id.hex(): get_record(store, Artifact, Digest(id)) for id in ids}
        files = {id: tmp_path / f"{id}.arrow" for id in found}
        extract(tmp_path, files)
        for id, artifact in found.items():
            check(artifact, store, files[id])


def lines_of_code(source: str) -> int:
    """Lines that hold more than a comment or a docstring."""
    tree = ast.parse(source)
    texts = [node.body[0] for node in ast.walk(tree) if isinstance(node, ast.Module | ast.FunctionDef)]
    texts = [text for text in texts if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)]
    said = {at for text in texts for at in range(text.lineno, (text.end_lineno or text.lineno) + 1)}
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.string]
    kept = [range(token.start[0], token.end[0] + 1) for token in tokens if token.type not in silent]
    return len(set(chain.from_iterable(kept)) - said)


def test_lines_of_code_are_counted_without_comments_and_docstrings() -> None:
    assert (
        lines_of_code('"""A\nmodule."""\n# why\n\nx = (\n    1\n)\ndef f():\n    """What."""\n    return x\n')
        == 5
    )


def test_the_script_stays_short() -> None:
    assert lines_of_code(SCRIPT.read_text()) <= 105
