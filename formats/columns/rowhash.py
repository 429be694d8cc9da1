"""A 64-bit word of every value and a hash of every row: for cutting and comparing, never identity.

Invariant: words depend on the value alone, not on encoding, slicing or integer width, so that a
row keeps its hash when a column is stored as int32 instead of int64. Those that tables are cut by are part
of the format, and nested ones collide; those that are compared are salted. Vectorised with numpy.
Source of the mix: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from aq.formats.columns import physical
from aq.formats.columns.encodings import plain
from aq.formats.columns.layout import Layout, layout_of
from pyarrow import types as is_
from xxhash import xxh3_64_intdigest

Words = npt.NDArray[np.uint64]

NULL: Final = np.uint64(0x9AE16A3B2F90404F)
_CUT: Final = np.uint64(0)
_COMPARED: Final = np.uint64(0xD6E8FEB86659FD93)
"""Without it a word may be `mix` of a small number, which that of a place, or of what comes first, undoes."""
_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)
_PROBE: Final = 1_024


def mix(words: Words) -> Words:
    """One step of splitmix64 on each word."""
    z = words + _GAMMA
    z ^= z >> _S30
    z *= _FIRST
    z ^= z >> _S27
    z *= _SECOND
    z ^= z >> _S31
    return z


def row_hashes(columns: Iterable[pa.Array], rows: int, salt: np.uint64 = _CUT) -> Words:
    """The hash of each row over these columns, in order."""
    hashes, factor = np.full(rows, salt), salt | np.uint64(1)
    for column in columns:
        hashes = mix(hashes * factor ^ words(column, salt))
    return hashes


def compared(array: pa.Array) -> Words:
    """One word a value, by which values are told apart."""
    return words(array, _COMPARED)


def words(array: pa.Array, salt: np.uint64 = _CUT) -> Words:
    """One word a value, by which a table is cut."""
    if is_.is_dictionary(array.type) and len(array.dictionary) <= len(array):
        return _looked_up(array, salt)
    array = plain(array)
    layout, valid = layout_of(array.type), physical.validity(array)
    if layout is Layout.NULL:
        return np.full(len(array), NULL)
    if layout is Layout.VARIABLE:
        found = _text_words(array)
    elif layout is Layout.FIXED:
        found = _fixed_words(array, valid, salt)
    else:
        found = _nested_words(array, layout, valid, salt)
    return found if valid is None else np.where(valid, found, NULL)


def _looked_up(array: pa.DictionaryArray, salt: np.uint64) -> Words:
    table = np.append(words(array.dictionary, salt), NULL)
    indices = array.indices.cast(pa.int64())
    valid = physical.validity(indices)
    codes = physical.fixed_values(indices, valid).view("<i8")
    found: Words = table[codes if valid is None else np.where(valid, codes, len(table) - 1)]
    return found


def _fixed_words(array: pa.Array, valid: npt.NDArray[np.bool_] | None, salt: np.uint64) -> Words:
    size, kind = physical.width(array.type), array.type
    raw = physical.fixed_values(array, valid)
    if is_.is_boolean(kind):
        return raw.astype(np.uint64)
    if is_.is_floating(kind):
        return _canonical_float64(raw.view(f"<f{size}"))
    if size in (16, 32):
        return _folded(raw.view("<u8").reshape(-1, size // 8), salt)
    if is_.is_fixed_size_binary(kind):
        return _text_words(array.cast(pa.binary()))
    sign = "u" if is_.is_unsigned_integer(kind) else "i"
    wide = np.int64 if sign == "i" else np.uint64
    return raw.view(f"<{sign}{size}").astype(wide, copy=False).view(np.uint64)


def _canonical_float64(values: npt.NDArray[np.floating]) -> Words:
    with np.errstate(invalid="ignore"):
        doubles = values.astype(np.float64, copy=False)
    bits = doubles.view(np.uint64)
    is_nan = doubles != doubles
    if is_nan.any():
        bits = np.where(is_nan, np.uint64(0x7FF8000000000000), bits)
    return bits


def _folded(parts: Words, salt: np.uint64) -> Words:
    found = parts[:, 0] ^ salt
    for at in range(1, parts.shape[1]):
        found = mix(found) ^ parts[:, at]
    return found


def _text_words(array: pa.Array) -> Words:
    """XXH3-64 of each value; of each distinct value once where values repeat (10 ns instead of 70)."""
    if len(array) > _PROBE and len(array.slice(0, _PROBE).unique()) < _PROBE * 7 // 8:
        return _looked_up(array.dictionary_encode(), _CUT)
    large = is_.is_large_string(array.type) or is_.is_large_binary(array.type)
    values = array.cast(pa.large_binary() if large else pa.binary()).to_pylist()
    if array.null_count:
        values = [value or b"" for value in values]
    return np.fromiter(map(xxh3_64_intdigest, values), np.uint64, len(values))


def _nested_words(
    array: pa.Array, layout: Layout, valid: npt.NDArray[np.bool_] | None, salt: np.uint64
) -> Words:
    count = len(array)
    if layout is Layout.UNION:
        return _union_words(array, salt)
    if layout is Layout.STRUCT:
        fields = physical.struct_fields(array, valid)
        rows = count if valid is None else int(np.count_nonzero(valid))
        return _at_valid(row_hashes(fields, rows, salt), valid)
    if layout is Layout.FIXED_LIST:
        size = array.type.list_size
        lengths = np.full(count, size) if valid is None else np.where(valid, size, 0)
        return _list_words(words(physical.fixed_list_elements(array, valid), salt), lengths)
    lengths, children = physical.list_values(array, valid)
    total = int(lengths.sum())
    elements = words(children[0], salt) if layout is Layout.LIST else row_hashes(children, total, salt)
    return _list_words(elements, lengths)


def _at_valid(found: Words, valid: npt.NDArray[np.bool_] | None) -> Words:
    if valid is None:
        return found
    spread = np.full(len(valid), NULL)
    spread[valid] = found
    return spread


def _list_words(elements: Words, lengths: physical.Lengths) -> Words:
    ends = np.cumsum(lengths, dtype=np.int64)
    starts = ends - lengths
    index = (np.arange(len(elements)) - np.repeat(starts, lengths)).astype(np.uint64)
    sums = np.concatenate(([np.uint64(0)], np.cumsum(mix(elements ^ mix(index)), dtype=np.uint64)))
    return mix((sums[ends] - sums[starts]) ^ lengths.astype(np.uint64))


def _union_words(array: pa.Array, salt: np.uint64) -> Words:
    codes, members = physical.union_members(array)
    found = np.zeros(len(array), np.uint64)
    for code, member in zip(array.type.type_codes, members, strict=True):
        found[codes == code] = words(member, salt)
    return mix(found ^ mix(codes.astype(np.uint64)))
