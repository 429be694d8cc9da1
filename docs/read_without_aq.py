"""Extract artifacts from a repository of aq without aq: sections 4.2, 5, 7 and 8 of docs/format.md as code.

python read_without_aq.py FOLDER ID FILE [ID FILE …]: a table becomes Parquet, or Arrow's IPC format where a
FILE ends in .arrow; all else its bytes, of a pickle the buffers as FILE.1, FILE.2, …, of the results of a
map the ids and keys. Nothing is verified.
"""

# ruff: noqa: B905
import re
import struct
import sys
from itertools import accumulate, islice, pairwise
from pathlib import Path

import pyarrow as pa
import zstandard as zstd
from msgspec.msgpack import decode
from pyarrow import feather, parquet

FRAMES = {}  # id → codec, length, bases, payload
NAMES = {"bool": "uint8", "interval": "month_day_nano_interval", "fixed_binary": "binary"}


def scan(pack, at):
    """Note where each object lies (4.2), rather in full than as a delta."""
    while pack[at + 8 : at + 12] == b"aqf\1":
        kind, codec, bases, size, stored, id = struct.unpack_from("<12xBBBxQQ32s", pack, at)
        bases = struct.unpack_from("32s" * bases, pack, at + 64)
        at += 64 + 32 * len(bases) + stored
        if kind < 16 and (id not in FRAMES or not bases):
            FRAMES[id] = codec, size, bases, pack[at - stored : at]


def get(id):
    """The bytes of an object (4.2)."""
    codec, size, bases, payload = FRAMES[id]
    base = b"".join(map(get, bases))
    if codec in (0, 3):
        return b"".join(copied(iter(payload), pa.BufferReader(base))) if codec else bytes(payload)
    words = zstd.ZstdCompressionDict(base if codec == 2 else b"", zstd.DICT_TYPE_RAWCONTENT)
    data = zstd.ZstdDecompressor(words).decompress(payload, 2 * size + 64)
    if codec == 5:
        return chosen(data, base)
    if codec != 4:
        return data
    rows, nullable, width = struct.unpack_from("<IxBH", data)
    start = 8 + nullable * (rows + -rows % 8)
    stop = start + rows * width
    return data[:start] + b"".join(data[start + at : stop : rows] for at in range(rows)) + data[stop:]


def chosen(data, base):
    """The array that codec 5 makes: numbers of words, of those of the base and of new ones."""
    width, stream = data[6], pa.BufferReader(data)
    kind = ["fixed_binary", width] if width else "binary"
    new = array(kind, padded(stream)).to_pylist()
    known = array(kind, padded(pa.BufferReader(base))).drop_null().to_pylist() if base else []
    words, codes = [None, *dict.fromkeys(known), *new], data[stream.tell() :]
    rows = len(codes) // 4
    found = [words[int.from_bytes(codes[at::rows], "little")] for at in range(rows)]
    valid = bytes(one is not None for one in found)
    sizes = b"" if width else struct.pack(f"<{rows}I", *(len(one or b"") for one in found))
    head = struct.pack("<IBBH", rows, 2 - (width > 0), 0 in valid, width)
    parts = head, valid * (0 in valid), sizes, b"".join(one or bytes(width) for one in found)
    return b"".join(part + bytes(-len(part) % 8) for part in parts)


def padded(stream):
    """What reads so many bytes and skips their padding."""
    return lambda size: stream.read(size + -size % 8)[:size]


def copied(code, base):
    """What the instructions of codec 3 make, piece by piece."""
    for byte in code:
        size, copies = divmod(leb128(byte, code), 2)
        if copies:
            away, back = divmod(leb128(next(code), code), 2)
            base.seek(~away if back else away, 1)
        yield base.read(size) if copies else bytes(islice(code, size))


def leb128(byte, more):
    """A number, from its first byte and an iterator over the rest."""
    return byte if byte < 128 else byte - 128 + 128 * leb128(next(more), more)


def entries(root):
    """The elements of a list, or the values of a map (5)."""
    node = decode(get(root))
    return [at for child in node["values"] for at in entries(child)] if node["level"] else node["values"]


def parts(artifact):
    """The parts of what is no table (7)."""
    if "root" not in artifact:
        return decode(artifact["data"]) if artifact["format"] == "pickle" else [artifact["data"]]
    pieces = entries(artifact["root"])
    if artifact["format"] == "items":
        named = map(decode, pieces) if artifact["type"]["as"] == "dict" else enumerate(pieces)
        return ["".join(f"{id.hex()} {key}\n" for key, id in named).encode()]
    ends = [at for at, piece in enumerate(pieces, 1) if piece[35] < 128]
    return (b"".join(get(piece[:32]) for piece in pieces[at:end]) for at, end in pairwise([0, *ends]))


def segments(artifact, head):
    """For each segment of a table the arrays of its columns (8.4); a packed one begins with a head."""
    if "root" not in artifact:
        return [artifact["data"][head:]]
    *columns, rows = entries(artifact["root"])
    columns = [entries(found[1:]) if found[0] == 3 else [found] for found in columns]
    places = [(at, row[4:]) for at, row in enumerate(entries(rows[1:]))]
    return (chunks([row])[head:] if row[0] else chunks(found[at] for found in columns) for at, row in places)


def chunks(references):
    """What references to chunks, and to lists of chunks, lead to (8.4)."""
    ids = (entries(found[1:]) if found[0] == 2 else [found[1:]] for found in references)
    return b"".join(get(id) for part in ids for id in part)


def array(kind, read):
    """The next array of a type (8.1, 8.2); `read` gives the next bytes without their padding."""
    if kind[0] == "extension":
        return array(kind[3], read)
    rows, layout, nullable = struct.unpack("<IBBxx", read(8))
    valid = read(rows) if nullable else b"\1" * rows
    lengths = memoryview(read(4 * rows)).cast("I") if layout in (2, 3, 6) else []
    ends = pa.array(accumulate(lengths, initial=0), "int64")
    codes = read(rows) if layout == 7 else b""
    members = [of for *_, of in kind[1]] if layout in (5, 7) else kind[2:] if layout == 4 else kind[1:]
    inside = [array(member, read) for member in members] if layout > 2 else []

    def build(of, *data):
        length = sum(valid) if layout in (4, 5) else rows
        return pa.Array.from_buffers(of, length, [None, *map(pa.py_buffer, data)], children=inside)

    found = {
        0: lambda: pa.nulls(rows),
        1: lambda: build(flat(kind), read(rows * flat(kind).byte_width)),
        2: lambda: build(pa.type_for_alias(f"large_{kind}"), ends.buffers()[1], read(ends[-1].as_py())),
        3: lambda: pa.LargeListArray.from_arrays(ends, *inside),
        4: lambda: build(pa.list_(inside[0].type, kind[1])),
        5: lambda: build(pa.struct([(name, member.type) for (name, _), member in zip(kind[1], inside)])),
        6: lambda: pa.MapArray.from_arrays(ends, *inside),
        7: lambda: union(kind[1], codes, inside),
    }[layout]()
    seen = accumulate(valid) if layout in (4, 5) else range(1, rows + 1)
    found = found.take(pa.array([at - 1 if ok else None for at, ok in zip(seen, valid)], "int64"))
    return found.cast("bool") if kind == "bool" else found


def union(members, codes, inside):
    """An array of layout 7: each value is the next one of the member that its code names."""
    known, names, _ = map(list, zip(*members))
    places = pa.array([codes[:at].count(code) for at, code in enumerate(codes)], "int32")
    return pa.UnionArray.from_dense(pa.array(list(codes), "int8"), places, inside, names, known)


def flat(kind):
    """The Arrow type of values of one width: its name and parameters are those of Arrow's own function."""
    name, *rest = filter(None, re.split(r"[\[(]|, |[\])]$", kind)) if isinstance(kind, str) else kind
    return getattr(pa, NAMES.get(name, name))(*map(int, rest) if name.startswith("decimal") else rest)


def table(columns, data):
    """One segment as a table."""
    read = padded(pa.BufferReader(data))
    return pa.table([array(kind, read) for _, kind in columns], [name for name, _ in columns])


for path in Path(sys.argv[1], ".aq", "packs").glob("*.pack"):
    scan(memoryview(pa.memory_map(str(path)).read_buffer()).cast("B"), 40)
for id, file in zip(sys.argv[2::2], sys.argv[3::2]):
    artifact = decode(get(bytes.fromhex(id)))
    if artifact["format"] != "table":
        for at, part in enumerate(parts(artifact)):
            Path(f"{file}.{at}" if at else file).write_bytes(part)
        continue
    columns = artifact["type"]["columns"]
    found = (table(columns, data) for data in segments(artifact, 8 + -(-len(columns) // 2) * 8))
    write = feather.write_feather if file.endswith(".arrow") else parquet.write_table
    write(pa.concat_tables(found), file)
