"""What layers that add rows (row_conv.py) need to know of weights and thresholds.

With inputs u and weights v as 0 and 1, a sum of ±1 products is N - 2 pop(v) - 2 pop(u) + 4 pop(u & v), so `sum >= t` is

    2 c >= p + k,    c = pop(u & v), p = pop(u), k = ceil((t - N) / 2) + pop(v)

With k = 2 q + odd this is c - q >= floor((p + 1) / 2), and one more where k is odd and p even. So counters of c start
at base - q, and are compared with base + floor((p + 1) / 2), which is the same number for all outputs.

Ternary weights have two rows: v, the weights of 1, and v', those that are not -1. A sum of w u is then c - p with
c = pop(u & v) + pop(u & v'), and `sum >= t` is c - q >= p with q = ceil((t + sum of w) / 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc.loops.kernels.borders import Borders, corrections
from bnnc.loops.kernels.row_adder import LEVELS
from bnnc.loops.kernels.tiling import Window
from bnnc.loops.layout import WORD, Packed


@dataclass(frozen=True)
class Tables:
    """What counters start at and end at.

    start: int64 [class][lanes], odd: 0 and 1 [class][lanes]; base and the number of planes are those of all counters.
    share: int64 [kernel row][lanes], the weights of 1 in each: what c gains where zeros are listed.
    whole: weights are ternary, and all of p is compared.
    """

    start: np.ndarray
    odd: np.ndarray
    base: int
    planes: int
    share: np.ndarray
    borders: Borders
    whole: bool = False


def tables_of(
    image: Packed, weights: np.ndarray, window: Window, limits: np.ndarray, pad_value: int, halo_value: int
) -> Tables:
    """limits: int64 [O], the step is at sum >= limits[o]. Lanes are the outputs, up to a multiple of 32."""
    count = int(np.prod(weights.shape[1:]))
    outputs = len(weights)
    lanes = -(-outputs // WORD) * WORD
    borders, correction = corrections(image, weights, window, pad_value - halo_value)
    share = np.zeros((weights.shape[2], lanes), np.int64)
    share[:, :outputs] = (weights > 0).sum((1, 3)).T
    if (weights == 0).any():
        share[:, :outputs] += (weights >= 0).sum((1, 3)).T
        quotient = np.zeros((len(correction), lanes), np.int64)
        near = np.clip(limits[None] - correction, -count - 1, count + 1)
        quotient[:, :outputs] = -(-(near + weights.astype(np.int64).sum((1, 2, 3))) // 2)
        base = max(0, int(quotient.max()))
        start = base - quotient
        most = max(int((start + share.sum(0)).max()), base + count + 1)
        return Tables(start, 0 * start, base, max(LEVELS + 1, most.bit_length()), share, borders, whole=True)
    # A limit beyond all sums is as good as the next one.
    distance = np.clip(limits[None] - correction - count, -2 * count - 2, 2)
    k = np.zeros((len(correction), lanes), np.int64)
    k[:, :outputs] = -(-distance // 2)
    k += share.sum(0)
    quotient = k >> 1
    base = max(0, int(quotient.max()))
    start = base - quotient
    most = max(int((start + share.sum(0)).max()), base + (count + 1) // 2 + 1)
    return Tables(start, k & 1, base, max(LEVELS + 1, most.bit_length()), share, borders)


def planes_of(numbers: np.ndarray, planes: int) -> np.ndarray:
    """uint32 [..., groups, planes] of int64 [..., lanes], in two's complement."""
    bits = (numbers[..., None] >> np.arange(planes)) & 1
    words = words_of(np.moveaxis(bits, -1, -2))  # [..., planes, groups]
    return np.ascontiguousarray(np.moveaxis(words, -1, -2))


def words_of(bits: np.ndarray) -> np.ndarray:
    """uint32 [..., groups] of 0 and 1 [..., lanes]."""
    return np.packbits(np.ascontiguousarray(bits.astype(np.uint8)), axis=-1, bitorder="little").view("<u4")


def rows_of(weights: np.ndarray) -> np.ndarray:
    """uint32 [group][KH][KW][C][rows]: bit o of a word tells whether the weight of output 32 group + o is positive; of
    ternary weights, a second one whether it is not negative."""
    outputs = len(weights)
    lanes = -(-outputs // WORD) * WORD
    kinds = [weights > 0, weights >= 0] if (weights == 0).any() else [weights > 0]
    bits = np.zeros((*weights.shape[2:], weights.shape[1], len(kinds), lanes), np.uint8)
    for number, kind in enumerate(kinds):
        bits[..., number, :outputs] = kind.transpose(2, 3, 1, 0)
    return np.ascontiguousarray(np.moveaxis(words_of(bits), -1, 0))


__all__ = ["Tables", "planes_of", "rows_of", "tables_of", "words_of"]
