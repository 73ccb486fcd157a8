"""Layers on bits for processors without a popcount: 32 outputs a word, and only the rows whose input is set are added.

Weights lie transposed: word w[input][group] holds the weight bits of one input for 32 outputs. With inputs u and
weights v as 0 and 1, a sum of ±1 products is N - 2 pop(v) - 2 pop(u) + 4 pop(u & v), so `sum >= t` is

    2 c >= p + k,    c = pop(u & v), p = pop(u), k = ceil((t - N) / 2) + pop(v)

and c is the number of rows with u = 1 whose bit is set: rows are added into vertical counters (plane j holds bit j of
32 counts) by carry-save adders, sixteen at a time. Counters start at an offset that makes the rest of the comparison
the same for all outputs: a number is subtracted from the planes, and the borrow is the answer, 32 bits at once.

Of an image in which more than half of the bits are set, the zeros are listed instead: with z = pop(~u & v) the
condition is not (2 z - k' >= 1 - p), k' = 2 pop(v) - k, which is the same comparison with other offsets. So the worst
case is half of the rows. Each row of the image becomes one sorted list; the taps of a window are slices of such lists.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc.loops.kernels.tiling import Borders, Window, borders_of, no_borders
from bnnc.loops.layout import WORD, Packed

ALONE = (16,)
SIZES = (16, 8, 4, 1)
"""Rows added in one go, in dense layers and in windows: of 16, four levels of adders take all but one carry."""


def fits(image: Packed, weights: np.ndarray, window: Window, groups: int, thresholds: int) -> bool:
    """Whether a layer can be done this way: ±1 weights on bits, one threshold, adjacent taps, indices of 16 bits."""
    return (
        image.planes == (0,)
        and groups == 1
        and thresholds == 1
        and window.dilations == (1, 1)
        and bool((np.abs(weights) == 1).all())
        and _numbers(image, window) * -(-len(weights) // WORD) < 1 << 15
    )


def _numbers(image: Packed, window: Window) -> int:
    """How many bits are in one list at most."""
    if window.output(image.height, image.width) == (1, 1):
        return window.kernel[0] * window.kernel[1] * image.channels + 1
    return _pixels(image) * image.channels


def _pixels(image: Packed) -> int:
    """Pixels of a row, halo included."""
    return image.row // image.pixel


@dataclass(frozen=True)
class _Offsets:
    """What the comparison adds up to: start planes [mode][class][group][plane], and per mode the number subtracted."""

    planes: int
    start: np.ndarray
    odd: np.ndarray
    base: tuple[int, int]
    borders: Borders


def _offsets(
    image: Packed, weights: np.ndarray, window: Window, limits: np.ndarray, pad_value: int, halo_value: int
) -> _Offsets:
    """limits: int64 [O], the step is at sum >= limits[o]."""
    count = int(np.prod(weights.shape[1:]))
    outputs = len(weights)
    lanes = -(-outputs // WORD) * WORD
    borders = no_borders(*window.output(image.height, image.width))
    correction = np.zeros((1, outputs), np.int64)
    if any(window.pads) and pad_value != halo_value:
        borders = borders_of(window, image.height, image.width)
        correction = (pad_value - halo_value) * borders.sums(weights.astype(np.int64).sum(1))
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
    # A window as large as the image never lists more than half of its rows.
    listed = count // 2 if borders.count == 1 and len(borders.row_class) * len(borders.column_class) == 1 else count
    most = max(int(start.max()) + listed, base[0] + listed // 2 + 1, base[1] + (listed + 1 - count) // 2 + 1)
    planes = max(5, most.bit_length())
    bits = (start[..., None] >> np.arange(planes)) & 1  # [mode][class][lanes][plane]
    words = _words(np.moveaxis(bits, -1, -2))  # [mode][class][plane][group]
    return _Offsets(planes, np.ascontiguousarray(np.moveaxis(words, -1, -2)), _words(odd), (base[0], base[1]), borders)


def _words(bits: np.ndarray) -> np.ndarray:
    """uint32 [..., groups] of 0 and 1 [..., lanes]."""
    return np.packbits(np.ascontiguousarray(bits.astype(np.uint8)), axis=-1, bitorder="little").view("<u4")


__all__ = ["fits"]
