"""Samples as packed bits, and back."""

from __future__ import annotations

import numpy as np

from bnnc.train.engine import Samples


def packed(values: np.ndarray, labels: np.ndarray) -> Samples:
    """±1 (or truth) [n, width] of any dtype, and labels [n], as Samples."""
    return Samples(pack_rows(values), labels.astype(np.int32), values.shape[1])


def pack_rows(values: np.ndarray) -> np.ndarray:
    """±1 (or truth) [n, width] as uint32 [n, ceil(width / 32)], bit k % 32 of word k // 32 for element k."""
    length, width = values.shape
    words = -(-width // 32)
    octets = np.zeros((length, 4 * words), np.uint8)
    octets[:, : -(-width // 8)] = np.packbits(values > 0, axis=1, bitorder="little")
    return octets.view("<u4").astype(np.uint32, copy=False)


def unpack_rows(bits: np.ndarray, width: int) -> np.ndarray:
    """The ±1 of packed rows, int8 [n, width]."""
    octets = np.ascontiguousarray(bits.astype("<u4", copy=False)).view(np.uint8)
    return np.unpackbits(octets, axis=1, count=width, bitorder="little").astype(np.int8) * 2 - 1
