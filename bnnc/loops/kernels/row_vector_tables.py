"""What layers that add rows with vectors (row_vectors.py) need to know of weights and thresholds.

With inputs u and weights v as 0 and 1, a sum of ±1 products is N - 2 pop(v) - 2 pop(u) + 4 pop(u & v), so `sum >= t` is

    2 c >= p + k,    c = pop(u & v), p = pop(u), k = ceil((t - N) / 2) + pop(v)

and c is the number of rows with u = 1 whose bit is set. Of an image in which more than half of the bits are set, the
zeros are listed instead: with z = pop(~u & v) the condition is not (2 z - k' >= 1 - p), k' = 2 pop(v) - k, which is the
same comparison with other offsets. So the worst case is half of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc.loops.builder import Builder
from bnnc.loops.ir import I32, Binary, Expression, Select, compare, constant
from bnnc.loops.kernels.borders import Borders, corrections
from bnnc.loops.kernels.row_tables import planes_of, words_of
from bnnc.loops.kernels.tiling import Window
from bnnc.loops.layout import WORD, Packed


@dataclass(frozen=True)
class ModeTables:
    """What counters start at and end at, where ones are listed (mode 0), and where zeros are (mode 1).

    start: uint32 [mode][class][group][plane]; odd: uint32 [mode][class][group]; base: by mode; count: inputs of an
    output.
    """

    planes: int
    start: np.ndarray
    odd: np.ndarray
    base: tuple[int, int]
    count: int
    borders: Borders

    def number(self, b: Builder, listed: Expression, mode: Expression) -> tuple[Expression, Expression]:
        """What is subtracted from all counters, and a mask: all ones if outputs with an odd threshold need one more.

        s = p, or 1 - p in mode 1; the number is base + floor(s / 2), and one more where s is odd, or the threshold.
        """
        base, low = self.base, self.count // 2
        # floor((listed + 1 - count) / 2) = floor((listed + up) / 2) - low, with nothing negative.
        up = 1 - self.count + 2 * low
        extra = b.let(Select(compare("ne", mode, 0), constant(up, I32), constant(0, I32)), "extra")
        s = b.let(listed + extra, "s")
        bases = Select(compare("ne", mode, 0), constant(base[1] - low, I32), constant(base[0], I32))
        return b.let(Binary("lshr", s, constant(1, I32)) + bases, "number"), b.let((s & 1) - 1, "even")


def mode_tables(
    image: Packed, weights: np.ndarray, window: Window, limits: np.ndarray, pad_value: int, halo_value: int
) -> ModeTables:
    """limits: int64 [O], the step is at sum >= limits[o]."""
    count = int(np.prod(weights.shape[1:]))
    outputs = len(weights)
    lanes = -(-outputs // WORD) * WORD
    borders, correction = corrections(image, weights, window, pad_value - halo_value)
    ones = (weights > 0).reshape(outputs, -1).sum(1).astype(np.int64)
    # A limit beyond all sums is as good as the next one.
    distance = np.clip(limits[None] - correction - count, -2 * count - 2, 2)
    k = -(-distance // 2) + ones
    modes = np.stack([k, 2 * ones - k])  # [mode][class][O]
    padded = np.zeros((*modes.shape[:2], lanes), np.int64)
    padded[..., :outputs] = modes
    quotient, odd = padded >> 1, padded & 1
    # In mode 1 the scalar is 1 - p = listed + 1 - count, down to 1 - count; nothing may become negative.
    shift = (0, -((1 - count) >> 1))
    base = tuple(max(int(quotient[mode].max()), shift[mode]) for mode in (0, 1))
    start = np.stack([base[mode] - quotient[mode] for mode in (0, 1)])
    # Of an image that one window covers, never more than half of the rows are listed.
    alone = window.output(image.height, image.width) == (1, 1) and image.halo.empty
    listed = count // 2 if alone else count
    most = max(int(start.max()) + listed, base[0] + listed // 2 + 1, base[1] + (listed + 1 - count) // 2 + 1)
    planes = max(5, most.bit_length())
    return ModeTables(planes, planes_of(start, planes), words_of(odd), (base[0], base[1]), count, borders)


__all__ = ["ModeTables", "mode_tables"]
