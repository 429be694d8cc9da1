"""Bytes from anywhere: every parser answers with an `AqError`, without taking memory on their word."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pyarrow as pa
import pytest
import zstandard
from aq.formats import records
from aq.formats.artifacts import json_values, values
from aq.formats.columns.layout import write_array
from aq.formats.dataframes import cells
from aq.formats.errors import AqError, Damaged
from aq.formats.identity import Digest, Kind
from aq.formats.objects import MemoryObjects, get_record
from aq.formats.packing import codecs, packs, words
from aq.formats.records import Artifact, Commit, Node, Operation, Run, RunStep, Step, encode
from aq.pipeline.change.context import redact
from aq.store.commits import refs, snapshots
from aq.store.commits.snapshots import Entry, Origin
from aq.store.folder import tracking
from aq.store.upkeep.fsck_values import ValueCheck
from hypothesis import given, settings, strategies as st

Edit = tuple[int, int, bytes]
SINK = MemoryObjects()
FRAME = pd.DataFrame(
    {"a": range(9), "b": list("abcabcabc"), "c": pd.Categorical(list("xyz") * 3), "d": [[1], None, []] * 3}
)
NAME = b"12345678"
PLACES = [(bytes(32), packs.Place(NAME, 40, 100, 1, 0, (bytes(32),)))]


def artifact(value: object) -> Artifact:
    return get_record(SINK, Artifact, values.encode(value, SINK).id)


ARTIFACTS = [
    artifact(value) for value in (FRAME, [1, 2.5, {"a": None}], {1, 2}, FRAME["a"].to_numpy(), b"raw")
]
RECORDS = [
    Step(key=bytes(32), op="f", outputs=[("", bytes(32))], params={"a": "1 x"}),
    Run(flow="f", file="f", time=1, status="x", snapshot=bytes(32), steps=[RunStep(name="a", status="run")]),
    Commit(snapshot=bytes(32), time=1, author="a", message="m", parents=[bytes(32)]),
    Operation(sequence=1, time=1, command="c", refs=bytes(32)),
    Node(level=0, keys=[b"a"], values=[b"b"]),
]


def mutated(data: bytes, edits: list[Edit]) -> bytes:
    """The bytes with a few of them replaced, removed or more put in."""
    changed = bytearray(data)
    for at, removed, put in edits:
        at %= len(changed) + 1
        changed[at : at + removed] = put
    return bytes(changed)


class _Chunk:
    """A source of one chunk."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def get(self, kind: Kind, id: bytes) -> bytes:
        return self.data


def read_record(data: bytes) -> None:
    for kind, record in records.TYPES.items():
        try:
            records.decode(record, data)
        except Damaged:
            continue
        records.require_canonical(kind, data)


def read_artifact(data: bytes) -> None:
    found = records.decode(Artifact, data)
    list(ValueCheck(SINK, full=True).problems(found))
    values.summarise(found, SINK)
    if found.format != "pickle":
        values.decode(found, SINK)


PARSERS: dict[str, tuple[list[bytes], Callable[[bytes], Any]]] = {
    "records": ([encode(record) for record in RECORDS], read_record),
    "artifacts": ([encode(one) for one in ARTIFACTS], read_artifact),
    "headers": ([packs.encode_header(packs.Header(NAME, 1))], packs.decode_header),
    "contents": ([packs.encode_contents(PLACES)], lambda data: list(packs.decode_contents(NAME, data))),
    "frames": ([bytes(codecs.pack(Kind.CHUNK, bytes(9_000))[1])], lambda data: codecs.unpack(1, data, 9_000)),
    "entries": ([snapshots.pack(Entry(Digest(bytes(32)), Origin.FILE))], snapshots.unpack),
    "overwritten": ([msgspec.msgpack.encode([[bytes(32), 0, None, 0], None])], snapshots.unpack_touched),
    "refs": ([refs.encode_ref(refs.Ref(target="branch/x"))], lambda data: refs.decode_ref("x", data)),
    "rules": ([msgspec.msgpack.encode({b"a": "+"})], lambda data: tracking.load(_Chunk(data), bytes(32))),
    "json": ([b'{"a":[1,2.5,"x\\n",NaN,true,null]}'], json_values.load),
    "cells": ([cells.write_cell([1, None, "a", pd.Timestamp("2020", tz="UTC")])], cells.read_cell),
}
_edits = st.lists(
    st.tuples(st.integers(0, 5_000), st.integers(0, 9), st.binary(max_size=9)), min_size=1, max_size=6
)


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=60)
@given(at=st.integers(0, 20), edits=_edits)
def test_any_bytes_are_read_or_refused(name: str, at: int, edits: list[Edit]) -> None:
    samples, parse = PARSERS[name]
    with suppress(AqError):
        parse(mutated(samples[at % len(samples)], edits))


def hostile() -> Iterator[tuple[str, Callable[[], object]]]:
    """What was found, or thought of, one by one."""
    deep, text = b"\x91" * 100_000, b"[" * 100_000
    objects = Artifact(
        kind="array", format="array", size=8, type={"dtype": "|O", "shape": [1]}, data=b"\1" * 8
    )
    yield "an array of pointers", lambda: values.decode(objects, SINK)
    huge = msgspec.structs.replace(objects, type={"dtype": "<f8", "shape": [1 << 40, 1 << 40]})
    yield "an array without bytes", lambda: values.decode(huge, SINK)
    yield (
        "a metric without a map",
        lambda: values.summarise(Artifact(kind="value", format="metric", size=1, type=-1, data=b"1"), SINK),
    )
    yield "a deep record", lambda: records.decode(Node, deep)
    yield "a record of very many", lambda: records.decode(Node, b"\x81\xa6values\xdd\xff\xff\xff\xff")
    yield "deep JSON", lambda: json_values.load(text)
    yield "a long number", lambda: json_values.load(b"9" * 1_000_000)
    yield "rules that are no text", lambda: tracking.load(_Chunk(b"\x81\xc4\x01a\xa1\xff"), bytes(32))
    yield (
        "a field that is no text",
        lambda: records.require_canonical(Kind.NODE, b"\x83\xa1\xff\x01\xa5level\x00\xa6values\x90"),
    )
    yield (
        "a dtype that is no text",
        lambda: cells.read_cell(b"a\x03\x00\x00\x00,i8\x01\x00\x00\x004 \0\0\0" + bytes(32)),
    )
    small = bytes(codecs.pack(Kind.CHUNK, bytes(9_000))[1])
    for length in (8_999, 9_001, 1 << 32, 1 << 62):
        yield f"a frame that says {length}", lambda length=length: codecs.unpack(1, small, length)  # type: ignore[misc]
    many = often(8 << 20)
    yield "a word that comes very often", lambda: codecs.unpack(words.WORDS, many, 8 + 8 * (8 << 20))


def often(count: int) -> bytes:
    """A frame of words, a few KB: one number, which comes so often."""
    compressor = zstandard.ZstdCompressor().compressobj(size=16 + 4 * count)
    told = compressor.compress(write_array(pa.array([7], pa.int64())))
    for value, size in ((b"\1", count), (b"\0", 3 * count)):
        told += b"".join(compressor.compress(value * (1 << 20)) for _ in range(size >> 20))
    return told + compressor.flush()


@pytest.mark.parametrize(("name", "parse"), list(hostile()), ids=[name for name, _ in hostile()])
def test_known_traps(name: str, parse: Callable[[], object]) -> None:
    with pytest.raises(AqError):
        parse()


def test_bombs_take_no_memory() -> None:
    """The same in a process that may take 64 MiB more than it has when the parsers are imported."""
    code = (
        "import resource\n"
        "from tests.faults.test_hostile_parsers import hostile, AqError\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (64 << 20),) * 2)\n"
        "for name, parse in hostile():\n"
        "    try:\n"
        "        parse()\n"
        "    except AqError:\n"
        "        continue\n"
        "    raise SystemExit(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent.parent.parent,
        env={"OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_no_secret_of_a_command_line_is_kept() -> None:
    words = [
        "--token=hush",
        "-p",
        "api_key=hush",
        "AWS_SECRET_ACCESS_KEY=hush",
        "https://me:hush@host/a?sig=hush",
    ]
    kept = " ".join(redact(words))
    assert "hush" not in kept and "--token=" in kept and "host/a" in kept
    assert redact(["--token", "abc", "--key-file", "-v"]) == ["--token", "…", "--key-file", "-v"]
    assert redact(["-m", "monkey = 3"]) == ["-m", "monkey = 3"]
