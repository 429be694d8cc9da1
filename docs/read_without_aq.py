"""Extract an artifact from a repository of aq without aq: sections 4.2, 5, 7 and 8 of docs/format.md as code.

python read_without_aq.py FOLDER ID FILE [ID FILE …]: a table becomes Parquet, or Arrow's IPC format where a
FILE ends in .arrow; all else its bytes, and of a pickle the buffers as FILE.1, FILE.2, … Nothing is verified.
"""

# ruff: noqa: B905, D103
import io
import mmap
import struct
import sys
from array import array as numbers
from collections import defaultdict
from itertools import accumulate, chain, count, islice, pairwise
from pathlib import Path

import pyarrow as pa
import zstandard as zstd
from msgspec.msgpack import decode
from pyarrow import feather, parquet


def scan(folder):
    """Where each object lies (4.2): codec, size, bases, place in its pack; rather in full than as a delta."""
    frames = {}
    for path in Path(folder, ".aq", "packs").glob("*.pack"):
        with path.open("rb") as file:
            pack, at = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), 40
        while pack[at + 8 : at + 12] == b"aqf\1":
            kind, codec, bases, size, stored, id = struct.unpack_from("<BBBxQQ32s", pack, at + 12)
            start = at + 64 + 32 * bases
            if kind < 16 and (id not in frames or codec not in (2, 3)):
                frames[id] = codec, size, pack[at + 64 : start], slice(start, start + stored), pack
            at = start + stored
    return frames


def get(id):
    codec, size, bases, where, pack = FRAMES[bytes(id)]
    base = b"".join(get(bases[at : at + 32]) for at in range(0, len(bases), 32))
    if codec in (0, 3):
        return copied(iter(pack[where]), base) if codec else pack[where]
    words = zstd.ZstdCompressionDict(base, dict_type=zstd.DICT_TYPE_RAWCONTENT) if base else None
    data = zstd.ZstdDecompressor(dict_data=words).decompress(pack[where], max_output_size=size)
    if codec != 4:
        return data
    rows, _, nullable, width = struct.unpack_from("<IBBH", data)
    start = 8 + nullable * (rows + -rows % 8)
    planes = [data[at : at + rows] for at in range(start, start + rows * width, rows)]
    return data[:start] + bytes(chain.from_iterable(zip(*planes))) + data[start + rows * width :]


def copied(code, base, at=0):
    out = bytearray()
    for byte in code:
        size = leb128(chain([byte], code))
        if size & 1:
            away = leb128(code)
            at += ~(away >> 1) if away & 1 else away >> 1
            out += base[at : at + (size >> 1)]
            at += size >> 1
        else:
            out += bytes(islice(code, size >> 1))
    return bytes(out)


def leb128(code):
    byte = next(code)
    return byte if byte < 128 else byte & 127 | leb128(code) << 7


def entries(root):
    """The elements of a list, or the keys and values of a map (5)."""
    node = decode(get(root))
    if node["level"]:
        return [entry for child in node["values"] for entry in entries(child)]
    return list(zip(node["keys"], node["values"])) if node.get("keys") else node["values"]


def parts(artifact):
    """The parts of what is no table (7)."""
    if "root" not in artifact:
        return decode(artifact["data"]) if artifact["format"] == "pickle" else [artifact["data"]]
    found = [b""]
    for piece in entries(artifact["root"]):
        found[-1] += get(piece[:32])
        found += [b""] if piece[35] < 128 else []
    return found[:-1]


def chunk(reference):
    return get(reference[1:]) if reference[0] == 1 else b"".join(map(get, entries(reference[1:])))


def unpacked(data, width):
    ends = accumulate(struct.unpack_from(f"<{width}I", data, 8), initial=8 + 4 * (width + width % 2))
    return [data[start:stop] for start, stop in pairwise(ends)]


def segments(artifact, width):
    """For each segment of a table the chunks of its columns (8.4)."""
    if "root" not in artifact:
        return [unpacked(artifact["data"], width)]
    content = dict(entries(artifact["root"]))
    lists = [content.get(b"c" + at.to_bytes(4, "big"), b"\0") for at in range(width)]
    lists = [entries(found[1:]) if found[0] == 3 else [found] for found in lists]
    return [
        unpacked(chunk(segment[4:]), width) if segment[4] else [chunk(found[at]) for found in lists]
        for at, segment in enumerate(entries(content[b"s"][1:]))
    ]


def arrow(kind, take):
    """The next array of a type (8.1, 8.2); `take` gives the next bytes of its chunk."""
    while kind[0] == "extension":
        kind = kind[3]
    rows, layout, nullable, width = struct.unpack("<IBBH", take(8))
    valid = take(rows) if nullable else b"\1" * rows

    def make(of, *data, inside=None):
        return pa.Array.from_buffers(of, rows, [bits(valid), *map(pa.py_buffer, data)], children=inside)

    if layout == 0:
        return pa.nulls(rows)
    if layout == 1:
        return make(flat(kind), bits(take(rows)) if kind == "bool" else take(rows * width))
    if layout in (4, 5):
        each, place = kind[1] if layout == 4 else 1, count()
        places = pa.array([next(place) if ok else None for ok in valid for _ in range(each)], pa.int64())
        if layout == 4:
            inside = arrow(kind[2], take).take(places)
            return make(pa.list_(inside.type, each), inside=[inside])
        inside = [arrow(inner, take).take(places) for _, inner in kind[1]]
        fields = [pa.field(name, found.type) for (name, _), found in zip(kind[1], inside)]
        return make(pa.struct(fields), inside=inside)
    if layout == 7:
        codes, places = take(rows), defaultdict(count)
        offsets = pa.array([next(places[code]) for code in codes], pa.int32())
        known, names, inner = map(list, zip(*kind[1]))
        inside = [arrow(member, take) for member in inner]
        return pa.UnionArray.from_dense(pa.array(list(codes), pa.int8()), offsets, inside, names, known)
    lengths = memoryview(take(4 * rows)).cast("I")
    ends = numbers("i" if layout == 6 else "q", accumulate(lengths, initial=0))
    if layout == 2:
        return make(pa.type_for_alias(f"large_{kind}"), ends, take(ends[-1]))
    inside = [arrow(inner, take) for inner in kind[1:]]
    if layout == 3:
        return make(pa.large_list(inside[0].type), ends, inside=inside)
    of = pa.map_(inside[0].type, inside[1].type)
    pairs = pa.StructArray.from_arrays(inside, fields=[of.key_field, of.item_field])
    return make(of, ends, inside=[pairs])


def bits(data):
    return pa.array([byte != 0 for byte in data] or [True]).buffers()[1]


def flat(kind):
    name, _, rest = ("", "", "") if kind[0] == "fixed_binary" else kind[:-1].replace("(", "[").partition("[")
    if name == "timestamp":
        return pa.timestamp(*rest.split(", "))
    if name.startswith("decimal"):
        return getattr(pa, name)(*map(int, rest.split(", ")))
    if kind == "interval":
        return pa.month_day_nano_interval()
    return pa.type_for_alias(kind) if name else pa.binary(kind[1])


def main(id, file):
    artifact = decode(get(bytes.fromhex(id)))
    if artifact["format"] != "table":
        for at, part in enumerate(parts(artifact)):
            Path(f"{file}.{at}" if at else file).write_bytes(part)
        return
    fields, found = artifact["type"]["columns"], []
    for blobs in segments(artifact, len(fields)):
        streams = map(io.BytesIO, blobs)
        found.append([arrow(kind, padded(stream)) for (_, kind), stream in zip(fields, streams)])
    columns = [pa.chunked_array(pieces) for pieces in zip(*found)]
    table = pa.table(columns, [name for name, _ in fields])
    write = feather.write_feather if file.endswith(".arrow") else parquet.write_table
    write(table, file)


def padded(stream):
    return lambda size: (stream.read(size), stream.read(-size % 8))[0]


FRAMES = scan(sys.argv[1])
for pair in zip(sys.argv[2::2], sys.argv[3::2]):
    main(*pair)
