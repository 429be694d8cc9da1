"""Files and parts: runs of bytes as chunks, and back (docs/format.md, section 7).

Invariant: the same bytes give the same pieces and the same root, however they were read or split.
Memory is bounded by one window of the chunker. It opens no file: streams are given.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from itertools import chain, islice
from typing import BinaryIO, Final, NamedTuple

from aq.formats.contents.batches import Batches
from aq.formats.contents.chunking import Readable, cut, cut_stream, fill
from aq.formats.contents.earlier import Earlier
from aq.formats.contents.windows import Windows, large_file
from aq.formats.errors import Damaged
from aq.formats.identity import Buffer, Digest, Kind
from aq.formats.objects import Like, Sink, Source
from aq.formats.records import Artifact
from aq.formats.trees.prolly import build_list, list_items

INLINE_BELOW: Final = 64 * 1024
"""Content of fewer bytes lies in its artifact."""
WHOLE_BELOW: Final = 4 * 1024 * 1024
"""A buffer of at most this many bytes is one piece."""
_GOES_ON: Final = 1 << 31
_ELEMENT = struct.Struct("<32sI")


class Piece(NamedTuple):
    """One chunk of a part: its id, its length in bytes, whether the part goes on after it."""

    id: Digest
    length: int
    goes_on: bool


def put_pieces(sink: Sink, pieces: Iterable[Buffer]) -> Iterator[bytes]:
    """Store the pieces of one part, which has at least one; yield the list elements that name them."""
    return _elements(sink, ((sink.put(Kind.CHUNK, piece), len(piece)) for piece in pieces))


def _elements(sink: Sink, stored: Iterable[tuple[Digest, int]]) -> Iterator[bytes]:
    """The elements of one part whose pieces are in the sink."""
    held: tuple[Digest, int] | None = None
    for following in stored:
        if held is not None:
            yield _ELEMENT.pack(held[0], held[1] | _GOES_ON)
        held = following
    yield _ELEMENT.pack(*(held or (sink.put(Kind.CHUNK, b""), 0)))


def put_text_part(sink: Sink, data: Buffer) -> Iterator[bytes]:
    """Store a file-like part: cut wherever its content says so."""
    return put_pieces(sink, cut(data))


def put_buffer_part(sink: Sink, data: Buffer, beside: Batches | None = None) -> Iterator[bytes]:
    """Store a buffer: one piece up to 4 MiB, else cut; `beside`: see `buffers_beside`."""
    some = [data] if len(data) <= WHOLE_BELOW else list(cut(data))
    if beside is None:
        return put_pieces(sink, some)
    staged = beside.stage(some, ended=False, turn=nullcontext)
    return _elements(sink, ((beside.admit(one), len(piece)) for one, piece in zip(staged, some, strict=True)))


def buffers_beside(sink: Sink, like: Like | None, *, skip: int) -> Batches | None:
    """A way to store buffers that resemble those of an earlier value, whose first `skip` parts are others.

    None where there is nothing to resemble.
    """
    if like is None or like.artifact.root is None:
        return None
    found = parts(like.source, like.artifact.root)
    rest = chain.from_iterable(islice(found, skip, None))
    return Batches(sink, Earlier(rest, like.artifact.size, sure=False))


def pieces(source: Source, root: bytes) -> Iterator[Piece]:
    """The pieces under a root, in order, without reading them. Raises Damaged on a malformed element."""
    for element in list_items(source, root):
        if len(element) != _ELEMENT.size:
            raise Damaged(f"a list of pieces, {root.hex()}, holds an element of {len(element)} bytes")
        id, length = _ELEMENT.unpack(element)
        yield Piece(Digest(id), length & ~_GOES_ON, bool(length & _GOES_ON))


def parts(source: Source, root: bytes) -> Iterator[list[Piece]]:
    """The parts under a root, each as its pieces, without reading these."""
    part: list[Piece] = []
    for piece in pieces(source, root):
        part.append(piece)
        if not piece.goes_on:
            yield part
            part = []
    if part:
        raise Damaged(f"a list of pieces, {root.hex()}, ends inside a part")


def read_piece(source: Source, piece: Piece) -> bytes:
    """The bytes of one piece. Raises Damaged where their length is not the recorded one."""
    data = source.get(Kind.CHUNK, piece.id)
    if len(data) != piece.length:
        raise Damaged(f"chunk {piece.id} has {len(data)} bytes instead of {piece.length}")
    return data


def read_part(source: Source, part: list[Piece]) -> bytearray:
    """The bytes of one part, in writable memory of their own."""
    if len(part) == 1:
        return bytearray(read_piece(source, part[0]))
    whole, start = bytearray(sum(piece.length for piece in part)), 0
    for piece in part:
        whole[start : start + piece.length] = read_piece(source, piece)
        start += piece.length
    return whole


def stream_bytes(artifact: Artifact, source: Source) -> Iterator[bytes]:
    """The content of an artifact of one part, piece by piece, in order."""
    if artifact.root is None:
        yield artifact.data or b""
        return
    for piece in pieces(source, artifact.root):
        yield read_piece(source, piece)


def whole_bytes(artifact: Artifact, source: Source) -> bytes:
    """The content of an artifact of one part, in memory."""
    return b"".join(stream_bytes(artifact, source))


def content(
    sink: Sink, data: Buffer, *, buffer: bool = False, beside: Batches | None = None
) -> tuple[bytes | None, bytes | None]:
    """Where the content of an artifact of one part lies: (`data`, `root`), one of them None."""
    if len(data) < INLINE_BELOW:
        return bytes(data), None
    return None, build_list(
        sink, put_buffer_part(sink, data, beside) if buffer else put_text_part(sink, data)
    )


def encode_stream(
    stream: Readable | BinaryIO,
    sink: Sink,
    *,
    head: bytes | None = None,
    on_bytes: Callable[[int], None] | None = None,
    like: Like | None = None,
) -> Artifact:
    """Store all that is left in `stream` as a file, read once; `head` is what `read_head` took from it.

    Puts its parts, not the artifact. The sink must not keep the buffers that it is given, and is called
    from two threads if the stream is a large file. `on_bytes` is told of the length of each piece; `like` is
    an earlier version, whose pieces may serve as bases.
    """
    head = read_head(stream) if head is None else head
    if len(head) < INLINE_BELOW:
        return Artifact(kind="file", format="bytes", size=len(head), data=head)
    size = 0

    def counted(stored: Iterable[tuple[Digest, int]]) -> Iterator[tuple[Digest, int]]:
        nonlocal size
        for one in stored:
            size += one[1]
            if on_bytes is not None:
                on_bytes(one[1])
            yield one

    found, batches = large_file(stream), Batches(sink, None if like is None else earlier(like))
    if found is None:
        root = build_list(sink, _elements(sink, counted(_one_after_the_other(stream, head, batches))))
    else:
        with Windows(*found, head, batches) as windows:
            root = build_list(sink, _elements(sink, counted(windows)))
        stream.seek(windows.end)  # type: ignore[union-attr]  # as if it had been read through
    return Artifact(kind="file", format="bytes", size=size, root=root)


def _one_after_the_other(
    stream: Readable | BinaryIO, head: bytes, batches: Batches
) -> Iterator[tuple[Digest, int]]:
    """Store the pieces of a stream in this thread."""
    for some, ended in cut_stream(stream, head=head):
        staged = batches.stage(some, ended=ended, turn=nullcontext)
        for one, piece in zip(staged, some, strict=True):
            yield batches.admit(one), len(piece)


def earlier(like: Like) -> Earlier | None:
    """The pieces of an earlier version, or None where it has none."""
    if like.artifact.root is None or (like.artifact.kind, like.artifact.format) != ("file", "bytes"):
        return None
    return Earlier(pieces(like.source, like.artifact.root), like.artifact.size)


def read_head(stream: Readable | BinaryIO) -> bytes:
    """The first 64 KiB, or all where there is less."""
    buffer = memoryview(bytearray(INLINE_BELOW))
    return bytes(buffer[: fill(stream, buffer)])
