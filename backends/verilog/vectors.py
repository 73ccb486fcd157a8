"""Tensors as the beats of a stream, and back; and made-up inputs that reach every corner of their type."""

from __future__ import annotations

import numpy as np

from bnnc.backends.verilog.boundary import Boundary
from bnnc.backends.verilog.circuit import Value
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, Code, DType, Fix, stored_range
from bnnc.reference.bit import array_dtype
from bnnc.reference.run import evaluate


def words_of(value: Value, array: np.ndarray) -> np.ndarray:
    """The beats of a batch [B, *shape]: uint8 [B * beats, bytes], least significant byte first."""
    stream = value.stream
    flat = array.reshape(len(array), -1).astype(np.int64)[:, value.order]
    raw = (flat - stream.offset) // stream.multiplier
    planes = (raw.reshape(-1, stream.lanes, 1) >> np.arange(stream.width)) & 1
    return np.packbits(planes.astype(np.uint8).reshape(len(planes), -1), axis=1, bitorder="little")


def array_of(value: Value, words: np.ndarray) -> np.ndarray:
    """The batch [B, *shape] whose beats are words, uint8 [B * beats, bytes]; in the reference's dtype."""
    stream = value.stream
    planes = np.unpackbits(words, axis=1, bitorder="little", count=stream.lanes * stream.width)
    planes = planes.reshape(-1, stream.width).astype(np.int64)
    raw = planes @ (1 << np.arange(stream.width, dtype=np.int64))
    if stream.signed:
        raw -= planes[:, -1] << stream.width
    numbers = (raw * stream.multiplier + stream.offset).reshape(-1, stream.elements)
    result = np.empty_like(numbers)
    result[:, value.order] = numbers
    return result.reshape(len(numbers), *value.type.shape).astype(array_dtype(value.type.dtype))


def text_of(words: np.ndarray) -> str:
    """Words as hexadecimal, one a line."""
    size = 2 * words.shape[1]
    text = np.ascontiguousarray(words[:, ::-1]).tobytes().hex()
    return "\n".join(text[i : i + size] for i in range(0, len(text), size)) + "\n"


def words_from(text: str, width: int) -> np.ndarray:
    """Lines of hexadecimal of the same length, for words of `width` bits: uint8 [lines, bytes]. Raises ValueError."""
    lines = text.split()
    size = -(-width // 8)
    joined = "".join(line.zfill(2 * size)[-2 * size :] for line in lines)
    return np.frombuffer(bytes.fromhex(joined), np.uint8).reshape(len(lines), size)[:, ::-1].copy()


def made_up(boundary: Boundary, count: int) -> dict[Op, np.ndarray]:
    """`count` samples of the entries, always the same ones, and what the reference makes of them: every op's value."""
    start = 0
    entries = []
    for op in boundary.entries:
        size = count * op.type.size
        entries.append(_drawn(op.type.dtype, _words(start, size), count).reshape(count, *op.type.shape))
        start += size
    values: dict[Op, np.ndarray] = dict(zip(boundary.entries, entries, strict=True))
    for op in boundary.ops:
        values[op] = evaluate(op, [values[x] for x in op.operands])
    return values


def checksum(words: np.ndarray) -> int:
    """FNV-like: s becomes s * 16777619 + x (modulo 2^32) for each 32 bits x of each word [n, bytes], lowest first."""
    size = -(-words.shape[1] // 4)
    parts = np.zeros((len(words), 4 * size), np.uint8)
    parts[:, : words.shape[1]] = words
    numbers = parts.reshape(-1, 4).astype(np.uint32) @ (np.uint32(1) << np.arange(0, 32, 8, dtype=np.uint32))
    powers = np.cumprod(np.full(len(numbers), 16777619, np.uint32), dtype=np.uint32)[::-1]
    factors = np.append(powers[1:], np.uint32(1))  # the last number meets no factor
    return int((numbers * factors).sum(dtype=np.uint32))


def _words(start: int, count: int) -> np.ndarray:
    """Numbers of 64 bits from a counter (splitmix64: Steele, Lea, Flood 2014)."""
    z = (np.arange(start, start + count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def _drawn(dtype: DType, words: np.ndarray, count: int) -> np.ndarray:
    """Values of a dtype: of four samples two are even draws, one has mostly small values and one only the ends."""
    number = np.repeat(np.arange(count), len(words) // count) % 4
    top = (words >> np.uint64(32)).astype(np.int64)
    if isinstance(dtype, Bit):
        return np.where((top & 15) < np.array([8, 4, 12, 1])[number], 1, -1)
    if isinstance(dtype, Code):
        return top % (1 << dtype.bits) * dtype.multiplier + dtype.offset
    lo, hi = stored_range(dtype)
    if isinstance(dtype, Fix):  # a few units, as streams have them, and now and then all that fits
        reach = np.where(number == 3, 1 << 31, 1 << min(31, dtype.fraction + 3))
        return np.asarray(top % (2 * reach) - reach)
    even = lo + top % (hi - lo + 1)
    return np.asarray(
        np.where(number == 2, even // 4, np.where(number == 3, np.where(top & 1, lo, hi), even)).clip(lo, hi)
    )


__all__ = ["array_of", "checksum", "made_up", "text_of", "words_from", "words_of"]
