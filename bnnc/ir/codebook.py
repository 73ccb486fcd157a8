"""Codebooks: kernels of ±1 weights that take few patterns, found in plain weights, as patterns and the number of each.

Sub-bit networks choose every KxK kernel of a layer from a small list. Nothing in their exports says so; counting does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

MOST_INDEX_BITS = 8
SMALLEST_KERNEL = 4  # taps; a shorter pattern is no longer than its number
WORTH = 0.9  # of the plain bits; what saves less is not worth decoding
LEAST = 1024  # weights; smaller layers are left as they are


@dataclass(frozen=True, eq=False)
class Codebook:
    """weights[o, c, …] = patterns[index[o, c]]: patterns int8 [n, taps] of ±1, ascending; index uint8 [O, C]."""

    patterns: np.ndarray
    index: np.ndarray

    @property
    def index_bits(self) -> int:
        """Bits of a pattern's number."""
        return max(1, (len(self.patterns) - 1).bit_length())

    @property
    def bits(self) -> int:
        """What patterns and numbers take together."""
        return int(self.index.size) * self.index_bits + self.patterns.size


def codebook_of(weights: np.ndarray) -> Codebook | None:
    """The codebook of ±1 weights [O, C, *kernel]; None if they are no such, or their plain bits are hardly more."""
    taps = math.prod(weights.shape[2:])
    if weights.ndim < 3 or weights.size < LEAST or not SMALLEST_KERNEL <= taps <= 62 or weights.dtype.kind not in "if":
        return None
    if not (np.abs(weights) == 1).all():
        return None
    rows = (weights.reshape(-1, taps) > 0).astype(np.int64)
    keys = rows @ (1 << np.arange(taps - 1, -1, -1, dtype=np.int64))
    # A long list shows early; only then is everything sorted.
    if np.unique(keys[: 4 << MOST_INDEX_BITS]).size > 1 << MOST_INDEX_BITS:
        return None
    _, first, index = np.unique(keys, return_index=True, return_inverse=True)
    if first.size > 1 << MOST_INDEX_BITS:
        return None
    patterns = np.where(rows[first] > 0, 1, -1).astype(np.int8)
    found = Codebook(patterns, index.reshape(weights.shape[:2]).astype(np.uint8))
    return found if found.bits <= WORTH * weights.size else None
