"""Arrays as bytes in a container: a tiny header, then the elements, ±1 in one bit and -1/0/+1 in two where it fits."""

from __future__ import annotations

import math
import struct

import numpy as np

from bnnc.ir.syntax import ARRAY_DTYPES

MAGIC = b"BNA1"
MAX_RANK = 16
MAX_BYTES = 1 << 32
RAW, SIGNS, TERNARY = 0, 1, 2
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
    return header + struct.pack(f"<{array.ndim}I", *array.shape) + _elements(values.reshape(-1), encoding)


def _encoding(values: np.ndarray) -> int:
    if values.dtype.name == "bool" or values.dtype.kind == "u" or not values.size:
        return RAW
    signs = (values == 1) | (values == -1)
    if signs.all():
        return SIGNS
    zeros = (values == 0) & ~np.signbit(values)  # negative zero has no code
    return TERNARY if (signs | zeros).all() else RAW


def _elements(flat: np.ndarray, encoding: int) -> bytes:
    if encoding == RAW:
        return flat.astype(flat.dtype.newbyteorder("<"), copy=False).tobytes()
    planes = [flat < 0] if encoding == SIGNS else [flat != 0, flat < 0]
    return b"".join(np.packbits(plane, bitorder="little").tobytes() for plane in planes)


def unpack(data: bytes) -> np.ndarray:
    """The array that was packed. Nothing is allocated before the sizes are known to fit. Raises PackingError."""
    if len(data) < _HEADER.size:
        raise PackingError("the header is cut off")
    magic, encoding, dtype_index, rank = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise PackingError("it does not begin like an array")
    if encoding > TERNARY or dtype_index >= len(ARRAY_DTYPES) or rank > MAX_RANK:
        raise PackingError("its encoding is not known")
    start = _HEADER.size + 4 * rank
    if len(data) < start:
        raise PackingError("the shape is cut off")
    shape = struct.unpack_from(f"<{rank}I", data, _HEADER.size)
    dtype, count = np.dtype(ARRAY_DTYPES[dtype_index]), math.prod(shape)
    plane = -(-count // 8)
    wanted = count * dtype.itemsize if encoding == RAW else plane * encoding
    if len(data) - start != wanted or count * dtype.itemsize > MAX_BYTES:
        raise PackingError(f"{len(data) - start} bytes do not hold {dtype}{list(shape)}")
    if encoding == RAW:
        if dtype.name == "bool" and any(byte > 1 for byte in set(data[start:])):
            raise PackingError("a truth value is neither 0 nor 1")
        return np.frombuffer(data, dtype.newbyteorder("<"), count, start).astype(dtype).reshape(shape)
    if dtype.kind == "u" or dtype.name == "bool":
        raise PackingError(f"{dtype} has no signs")
    bits = [_bits(data, start + plane * i, plane, count) for i in range(encoding)]
    if encoding == TERNARY and (bits[1] & ~bits[0]).any():
        raise PackingError("a zero has a sign")
    values = np.where(bits[-1], -1, 1).astype(dtype)
    if encoding == TERNARY:
        values[~bits[0]] = 0
    return values.reshape(shape)


def _bits(data: bytes, start: int, length: int, count: int) -> np.ndarray:
    unpacked = np.unpackbits(np.frombuffer(data, np.uint8, length, start), bitorder="little")
    if unpacked[count:].any():
        raise PackingError("there are bits behind the last element")
    return unpacked[:count].astype(np.bool_)
