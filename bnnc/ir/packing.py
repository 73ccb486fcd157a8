"""Arrays as bytes in a container: a tiny header, then the elements, in one or two bits or by codebook where it fits."""

from __future__ import annotations

import math
import struct

import numpy as np

from bnnc.ir.codebook import MOST_INDEX_BITS, codebook_of
from bnnc.ir.syntax import ARRAY_DTYPES

MAGIC = b"BNA1"
MAX_RANK = 16
MAX_BYTES = 1 << 32
RAW, SIGNS, TERNARY, FLAGS, CODEBOOK, FEW_ZEROS = range(6)
_HEADER = struct.Struct("<4sBBBx")


class PackingError(ValueError):
    """The bytes are not an array; the text says why."""


def pack(array: np.ndarray) -> bytes:
    """The array as bytes: magic, encoding, dtype, rank, shape (32 bits an axis), elements. Raises ValueError for a
    dtype that has no place in a module."""
    if array.dtype.name not in ARRAY_DTYPES:
        raise ValueError(f"an array of {array.dtype} cannot be stored")
    values = np.ascontiguousarray(array)
    encoding = _encoding(values)
    header = _HEADER.pack(MAGIC, encoding, ARRAY_DTYPES.index(array.dtype.name), array.ndim)
    return header + struct.pack(f"<{array.ndim}I", *array.shape) + _elements(values, encoding)


def _encoding(values: np.ndarray) -> int:
    if values.dtype.name == "bool" or values.dtype.kind == "u" or not values.size:
        return RAW
    signs = (values == 1) | (values == -1)
    if signs.all():
        return SIGNS if codebook_of(values) is None else CODEBOOK
    zeros = (values == 0) & ~np.signbit(values)  # negative zero has no code
    if not (signs | zeros).all():
        return RAW
    if not (values < 0).any():
        return FLAGS
    few = 4 * int(zeros.sum()) < -(-values.size // 8) and values.size < 1 << 32
    return FEW_ZEROS if few else TERNARY


def _elements(values: np.ndarray, encoding: int) -> bytes:
    flat = values.reshape(-1)
    if encoding == RAW:
        return flat.astype(flat.dtype.newbyteorder("<"), copy=False).tobytes()
    head, planes = b"", [flat != 0, flat < 0]
    if encoding == SIGNS:
        planes = [flat < 0]
    elif encoding == FLAGS:
        planes = [flat != 0]
    elif encoding == FEW_ZEROS:
        places = np.flatnonzero(flat == 0)
        head, planes = struct.pack("<I", places.size) + places.astype("<u4").tobytes(), [flat < 0]
    elif encoding == CODEBOOK:
        found = codebook_of(values)
        assert found is not None
        head = struct.pack("<H", len(found.patterns))
        index = found.index.reshape(-1)
        planes = [found.patterns.reshape(-1) < 0, *(index >> bit & 1 for bit in range(found.index_bits))]
    return head + b"".join(np.packbits(plane, bitorder="little").tobytes() for plane in planes)


def unpack(data: bytes) -> np.ndarray:
    """The array that was packed. Nothing is allocated before the sizes are known to fit. Raises PackingError."""
    if len(data) < _HEADER.size:
        raise PackingError("the header is cut off")
    magic, encoding, dtype_index, rank = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise PackingError("it does not begin like an array")
    if encoding > FEW_ZEROS or dtype_index >= len(ARRAY_DTYPES) or rank > MAX_RANK:
        raise PackingError("its encoding is not known")
    start = _HEADER.size + 4 * rank
    if len(data) < start:
        raise PackingError("the shape is cut off")
    shape = struct.unpack_from(f"<{rank}I", data, _HEADER.size)
    dtype, count = np.dtype(ARRAY_DTYPES[dtype_index]), math.prod(shape)
    if encoding == CODEBOOK:
        return _decoded(data, start, dtype, shape)
    if encoding == FEW_ZEROS:
        return _with_zeros(data, start, dtype, shape)
    plane = -(-count // 8)
    wanted = count * dtype.itemsize if encoding == RAW else plane * (2 if encoding == TERNARY else 1)
    if len(data) - start != wanted or count * dtype.itemsize > MAX_BYTES:
        raise PackingError(f"{len(data) - start} bytes do not hold {dtype}{list(shape)}")
    if encoding == RAW:
        if dtype.name == "bool" and any(byte > 1 for byte in set(data[start:])):
            raise PackingError("a truth value is neither 0 nor 1")
        return np.frombuffer(data, dtype.newbyteorder("<"), count, start).astype(dtype).reshape(shape)
    if dtype.kind == "u" or dtype.name == "bool":
        raise PackingError(f"{dtype} has no signs")
    bits = [_bits(data, start + plane * i, plane, count) for i in range(wanted // max(plane, 1))]
    if encoding == FLAGS:
        return bits[0].astype(dtype).reshape(shape)
    if encoding == TERNARY and (bits[1] & ~bits[0]).any():
        raise PackingError("a zero has a sign")
    values = np.where(bits[-1], -1, 1).astype(dtype)
    if encoding == TERNARY:
        values[~bits[0]] = 0
    return values.reshape(shape)


def _decoded(data: bytes, start: int, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> np.ndarray:
    """patterns[index] of a codebook: how many patterns, their signs, then the numbers plane by plane."""
    count, taps = math.prod(shape[:2]), math.prod(shape[2:])
    if len(shape) < 3 or not count or not taps or dtype.kind not in "if":
        raise PackingError(f"{dtype}{list(shape)} has no codebook")
    if len(data) < start + 2:
        raise PackingError("the codebook is cut off")
    (patterns,) = struct.unpack_from("<H", data, start)
    if not 1 <= patterns <= 1 << MOST_INDEX_BITS:
        raise PackingError(f"a codebook of {patterns} patterns")
    planes = max(1, (patterns - 1).bit_length())
    book, plane = -(-patterns * taps // 8), -(-count // 8)
    if len(data) - start - 2 != book + planes * plane or count * taps * dtype.itemsize > MAX_BYTES:
        raise PackingError(f"{len(data) - start} bytes do not hold {dtype}{list(shape)} by codebook")
    signs = _bits(data, start + 2, book, patterns * taps).reshape(patterns, taps)
    index = np.zeros(count, np.int64)
    for bit in range(planes):
        index |= _bits(data, start + 2 + book + bit * plane, plane, count).astype(np.int64) << bit
    if int(index.max()) >= patterns:
        raise PackingError("a kernel is not in the codebook")
    return np.where(signs, -1, 1).astype(dtype)[index].reshape(shape)


def _with_zeros(data: bytes, start: int, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> np.ndarray:
    """±1 with a few zeros: how many, where they are, then the signs."""
    count = math.prod(shape)
    if dtype.kind not in "if" or len(data) < start + 4:
        raise PackingError("the list of zeros is cut off")
    (zeros,) = struct.unpack_from("<I", data, start)
    plane = -(-count // 8)
    if len(data) - start - 4 != 4 * zeros + plane or count * dtype.itemsize > MAX_BYTES:
        raise PackingError(f"{len(data) - start} bytes do not hold {dtype}{list(shape)} with {zeros} zeros")
    places = np.frombuffer(data, "<u4", zeros, start + 4).astype(np.int64)
    if zeros and (int(places[-1]) >= count or (np.diff(places) <= 0).any()):
        raise PackingError("the zeros are not in order")
    signs = _bits(data, start + 4 + 4 * zeros, plane, count)
    if signs[places].any():
        raise PackingError("a zero has a sign")
    values = np.where(signs, -1, 1).astype(dtype)
    values[places] = 0
    return values.reshape(shape)


def _bits(data: bytes, start: int, length: int, count: int) -> np.ndarray:
    unpacked = np.unpackbits(np.frombuffer(data, np.uint8, length, start), bitorder="little")
    if unpacked[count:].any():
        raise PackingError("there are bits behind the last element")
    return unpacked[:count].astype(np.bool_)
