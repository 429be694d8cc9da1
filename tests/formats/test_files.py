"""Files and parts come back as they went in, similar ones share their pieces, and memory stays bounded."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from aq.formats.contents.chunking import lengths
from aq.formats.contents.files import (
    encode_stream,
    parts,
    pieces,
    put_buffer_part,
    put_text_part,
    read_part,
    whole_bytes,
)
from aq.formats.errors import Damaged
from aq.formats.identity import Kind
from aq.formats.objects import MemoryObjects
from aq.formats.trees.prolly import build_list
from blake3 import blake3

MIB = 1024 * 1024


def noise(size: int) -> bytes:
    return blake3(b"").digest(length=size)


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, MIB - 1, MIB, MIB + 1, 9 * MIB])
def test_a_file_comes_back(size: int) -> None:
    objects, data = MemoryObjects(), noise(size)
    artifact = encode_stream(io.BytesIO(data), objects)
    assert (artifact.size, artifact.root is None) == (size, size < 65_536)
    assert whole_bytes(artifact, objects) == data
    if artifact.root is not None:
        assert [piece.length for piece in pieces(objects, artifact.root)] == list(lengths(data))


def test_a_changed_file_shares_its_pieces() -> None:
    objects, data = MemoryObjects(), noise(40 * MIB)
    encode_stream(io.BytesIO(data), objects)
    before = sum(len(stored) for _, stored in objects.objects.values())
    encode_stream(io.BytesIO(data[: 20 * MIB] + b"inserted" + data[20 * MIB :]), objects)
    after = sum(len(stored) for _, stored in objects.objects.values())
    assert after - before < 2 * MIB


def test_parts_keep_their_borders() -> None:
    objects = MemoryObjects()
    given = [b"", b"abc", noise(200_000), b"", noise(4 * MIB), noise(4 * MIB + 1), b"end"]
    elements = [
        element
        for at, data in enumerate(given)
        for element in (put_text_part(objects, data) if at % 2 else put_buffer_part(objects, data))
    ]
    root = build_list(objects, elements)
    found = list(parts(objects, root))
    assert [bytes(read_part(objects, part)) for part in found] == given
    assert [len(part) for part in found][:5] == [1, 1, 1, 1, 1]
    assert len(found[5]) > 10


def test_a_malformed_list_of_pieces_is_damage() -> None:
    objects = MemoryObjects()
    chunk = objects.put(Kind.CHUNK, b"abc")
    short = build_list(objects, [bytes(chunk)])
    open_ended = build_list(objects, [bytes(chunk) + (3 | 1 << 31).to_bytes(4, "little")])
    wrong_length = build_list(objects, [bytes(chunk) + (4).to_bytes(4, "little")])
    with pytest.raises(Damaged):
        list(pieces(objects, short))
    with pytest.raises(Damaged):
        list(parts(objects, open_ended))
    with pytest.raises(Damaged, match="3 bytes instead of 4"):
        read_part(objects, next(parts(objects, wrong_length)))


BOUNDED = """
import sys
from tests.memory import peak
from aq.formats.contents.files import encode_stream
from aq.formats.identity import Kind, object_id

class Digests:
    def put(self, kind, data, *, base=None):
        return object_id(kind, data)

with open(sys.argv[1], "rb", buffering=0) as file:
    before = peak()
    artifact = encode_stream(file, Digests())
print(artifact.size, (peak() - before) >> 20)
"""


def test_memory_is_bounded_for_any_size(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 29)
    argv = [sys.executable, "-c", BOUNDED, str(path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(argv, cwd=root, check=True, capture_output=True, text=True)
    size, megabytes = map(int, done.stdout.split())
    assert size == 1 << 29
    assert megabytes < 32
