"""Identity: what makes two objects the same object.

Invariant: an object's id is BLAKE3-256(kind ‖ length ‖ canonical bytes), taken before
compression and delta. Nothing else (time, path, library version, storage) enters an id.
Fingerprints of Python values are not made here: see `formats.python.canonical`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Self

from blake3 import blake3

HEX_SHORTEST: Final = 8
PREFIX_SHORTEST: Final = 4
Buffer = bytes | bytearray | memoryview
_FIRST: Final = 16 * 1024 - 9
"""Bytes that are hashed together with the nine before them: BLAKE3 is slow where it is fed out of step."""


class Kind(IntEnum):
    """The type tag of an object (1–15 have ids; 16 and above are frames beside them)."""

    CHUNK = 1
    NODE = 2
    ARTIFACT = 3
    STEP = 4
    RUN = 5
    COMMIT = 6
    OPERATION = 7
    SUMMARY = 16
    VOID = 17
    ATTESTATION = 18


class Digest(bytes):
    """A 32-byte object id. `str()` gives 64 lowercase hexadecimal digits."""

    __slots__ = ()

    def __new__(cls, raw: Buffer) -> Self:
        if len(raw) != 32:
            raise ValueError(f"a digest has 32 bytes, not {len(raw)}")
        return super().__new__(cls, raw)

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read 64 hexadecimal digits. Raises ValueError on anything else."""
        return cls(bytes.fromhex(text))

    def short(self, length: int = HEX_SHORTEST) -> str:
        """The first `length` hexadecimal digits."""
        return self.hex()[:length]

    def __str__(self) -> str:
        return self.hex()

    def __repr__(self) -> str:
        return f"Digest({self.hex()[:12]}…)"


def pre_image(kind: Kind, length: int) -> bytes:
    """The 9 bytes that precede an object's canonical bytes: kind (u8), length (u64, little endian)."""
    return bytes((kind,)) + length.to_bytes(8, "little")


def object_id(kind: Kind, data: Buffer) -> Digest:
    """The id of an object. Source of the hash: O'Connor et al., BLAKE3, 2020."""
    view = memoryview(data)
    hasher = blake3(pre_image(kind, len(data)) + view[:_FIRST])
    if len(data) > _FIRST:
        hasher.update(view[_FIRST:])
    return Digest(hasher.digest())


def is_hex_prefix(text: str) -> bool:
    """Whether `text` may be the start of an id in text form."""
    return PREFIX_SHORTEST <= len(text) <= 64 and all(c in "0123456789abcdef" for c in text)
