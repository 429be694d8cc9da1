"""Extract an artifact from a repository of aq without aq: sections 4.2, 5, 7 and 8 of docs/format.md as code.

python read_without_aq.py FOLDER ID FILE: a table becomes a file of Arrow's (Feather is another name for it),
all else its bytes, of a pickle the buffers as FILE.1, …, of the results of a map ids and keys. Nothing is
verified. A table without columns, which only its record gives a number of rows, has none in the file.
"""

# ruff: noqa: B905
import re
import struct
import sys
from itertools import accumulate, islice
from pathlib import Path

import pyarrow as pa
import zstandard as zstd
from msgspec.msgpack import decode

FRAMES = {}  # id → codec, bases, payload
NAMES = {"bool": "bool_", "string": "large_string", "binary": "large_binary", "fixed_binary": "binary"}
NAMES |= {"interval": "month_day_nano_interval", "list": "large_list", "fixed_list": "list_", "map": "map_"}

for path in Path(sys.argv[1], ".aq", "packs").glob("*.pack"):  # where each object lies (4.2), rather in full
    pack, at = memoryview(path.read_bytes()), 40
    while pack[at + 8 : at + 12] == b"aqf\1":
        kind, codec, count, stored, id = struct.unpack_from("<12xBBBx8xQ32s", pack, at)
        bases = struct.unpack_from("32s" * count, pack, at + 64)
        at += 64 + 32 * count + stored
        if kind < 16 and not (bases and id in FRAMES):
            FRAMES[id] = codec, bases, pack[at - stored : at]


def get(id):
    """The bytes of an object (4.2)."""
    codec, bases, payload = FRAMES[id]
    base = b"".join(map(get, bases))
    if codec in (0, 3):
        return b"".join(copied(iter(payload), pa.BufferReader(base))) if codec else bytes(payload)
    words = zstd.ZstdCompressionDict(base, zstd.DICT_TYPE_RAWCONTENT)
    data = zstd.ZstdDecompressor(words).decompress(payload)
    return chosen(data, base) if codec == 5 else turned(data) if codec == 4 else data


def copied(code, base):
    """What the instructions of codec 3 make, piece by piece."""
    for byte in code:
        size, copies = divmod(number(byte, code), 2)
        if copies:
            away, back = divmod(number(next(code), code), 2)
            base.seek(~away if back else away, 1)
        yield base.read(size) if copies else bytes(islice(code, size))


def number(byte, more):
    """A number in LEB128, from its first byte and an iterator over the rest."""
    return byte if byte < 128 else byte - 128 + 128 * number(next(more), more)


def turned(data):
    """The array of which codec 4 keeps the first byte of each value, then the second, and so on."""
    rows, width = struct.unpack_from("<IxxH", data)
    start = (len(data) - rows * width) // 8 * 8
    planes, padding = data[start : start + rows * width], data[start + rows * width :]
    return data[:start] + b"".join(planes[at::rows] for at in range(rows)) + padding


def chosen(data, base):
    """The array that codec 5 makes: numbers of words, of those of the base and of new ones."""
    width, stream = data[6], pa.BufferReader(data)
    of = pa.binary(width) if width else pa.large_binary()
    new, known = array(of, stream), array(of, pa.BufferReader(base or data))
    words = [bytes(width), *pa.concat_arrays([known, new]).drop_null().unique().to_pylist()]
    rows = len(planes := stream.read()) // 4
    codes = [int.from_bytes(planes[at::rows], "little") for at in range(rows)]
    values = [words[code] for code in codes]
    head = struct.pack("<IBBH", rows, data[4], 0 in codes, width)
    sizes = b"" if width else struct.pack(f"<{rows}I", *map(len, values))
    parts = head, bytes(map(bool, codes)) * (0 in codes), sizes, b"".join(values)
    return b"".join(part + bytes(-len(part) % 8) for part in parts)


def entries(id):
    """The elements of a list, or the values of a map (5)."""
    node = decode(get(id))
    return [at for child in node["values"] for at in entries(child)] if node["level"] else node["values"]


def content(reference):
    """The chunk, or list of chunks, that a reference leads to (8.4)."""
    return b"".join(map(get, entries(reference[1:]) if reference[0] == 2 else [reference[1:]]))


def arrow(kind):
    """The Arrow type of a T (8.1): most are called like Arrow's own function, with the same parameters."""
    name, *rest = kind if isinstance(kind, list) else re.findall(r"[^][(), ]+", kind)
    if name == "extension":
        return arrow(rest[2])
    if name in ("struct", "union"):
        fields = [pa.field(label, arrow(of)) for *_, label, of in rest[0]]
        return pa.struct(fields) if name == "struct" else pa.dense_union(fields, [one[0] for one in rest[0]])
    numbers = [int(of) for of in rest if str(of).lstrip("-").isdigit()]
    others = [arrow(of) if isinstance(kind, list) else of for of in rest[len(numbers) :]]
    return getattr(pa, NAMES.get(name, name))(*others, *numbers)


def array(of, stream, head=None):
    """The next array of an Arrow type (8.2); the entries of a map have no head."""
    rows, layout, nullable = head or struct.unpack("<IBBxx", stream.read(8))
    valid = read(stream, rows) if nullable else b"\1" * rows
    lengths = memoryview(read(stream, 4 * rows)).cast("I") if layout in (2, 3, 6) else []
    ends = pa.array(accumulate(lengths, initial=0), "int32" if layout == 6 else "int64").buffers()[1]
    codes = read(stream, rows * (layout == 7))
    places = pa.array([bytes(codes[:at]).count(code) for at, code in enumerate(codes)], "int32").buffers()[1]
    plain = pa.uint8() if of == pa.bool_() else of
    data = read(stream, rows * plain.byte_width if layout == 1 else sum(lengths) * (layout == 2))
    head = (sum(lengths), 5, 0) if layout == 6 else None  # of the entries of a map, which have none
    inside = [array(of.field(at).type, stream, head) for at in range(of.num_fields)]
    buffers = [ends] * (layout in (2, 3, 6)) + [data] * (layout in (1, 2)) + [codes, places] * (layout == 7)
    there = list(accumulate(valid)) if layout in (4, 5) else range(1, rows + 1)
    values = pa.Array.from_buffers(plain, max(there, default=0), [None, *buffers], children=inside).cast(of)
    return values.take(pa.array([at - 1 if ok else None for at, ok in zip(there, valid)], "int64"))


def read(stream, size):
    """The next bytes, without their padding."""
    return stream.read_buffer(size + -size % 8)[:size]


artifact, file = decode(get(bytes.fromhex(sys.argv[2]))), sys.argv[3]
pieces = entries(artifact["root"]) if "root" in artifact else []
if artifact["format"] == "table":
    schema = pa.schema([(name, arrow(kind)) for name, kind in artifact["type"]["columns"]])
    FRAMES[b""] = 0, (), artifact.get("data")  # inline, it is the only segment: a packed chunk without an id
    columns = [entries(one[1:]) if one[0] == 3 else [one] for one in pieces] or [[b"rows\1"]]
    with pa.ipc.new_file(file, schema) as out:
        for *found, row in zip(*columns):
            stream = pa.BufferReader(content(row[4:]) if row[4] else b"".join(map(content, found)))
            stream.seek(8 + -(-len(schema) // 2) * 8 if row[4] else 0)  # a packed one begins with lengths
            out.write(pa.record_batch([array(of, stream) for of in schema.types], schema=schema))
elif artifact["format"] == "items":
    named = map(decode, pieces) if artifact["type"]["as"] == "dict" else enumerate(pieces)
    Path(file).write_text("".join(f"{id.hex()} {key}\n" for key, id in named))
else:
    ends = [at for at, piece in enumerate(pieces, 1) if piece[35] < 128]  # what goes on says so (7)
    parts = [b"".join(get(one[:32]) for one in pieces[at:end]) for at, end in zip([0, *ends], ends)]
    inline = decode if artifact["format"] == "pickle" else lambda data: [data]
    for at, part in enumerate(parts or inline(artifact["data"])):
        Path(f"{file}.{at}" if at else file).write_bytes(part)
