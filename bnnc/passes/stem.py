"""Integer stems: a float first layer on uint8 pixels, with 16-bit weights and an exact integer sum (`--stem int`).

The pixels' normalisation is an affine map of each pixel, so it folds into the weights and a constant; zero padding
means the real 0, so near the border the constant lacks the taps that fall outside, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc.ir import bit, fixed, move, nn
from bnnc.ir.module import Input
from bnnc.ir.op import Op
from bnnc.ir.types import Fix, Int, value_range
from bnnc.passes.chains import Chain, chain_of
from bnnc.passes.formats import constant, lines_op
from bnnc.passes.lines import Lines

LARGEST_WEIGHT = 2**15 - 1
LARGEST_SUM = 2**31 - 2**16
MOST_PIXEL = 1 << 16  # an input with more values than this is no image


@dataclass(frozen=True, eq=False)
class Stem:
    """A layer as scale[o] * Σ weights * pixels + offset[o, row class, column class], and how far that is off."""

    op: nn.Conv | nn.Dense
    pixels: Chain
    weights: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    classes: tuple[np.ndarray, ...]
    error: float

    @property
    def text(self) -> str:
        """What the user is told."""
        kind = "16-bit" if np.abs(self.weights).max(initial=0) > 127 else "8-bit"
        return f"first layer on integers: {kind} weights, exact sums; its results are off by at most {self.error:.2e}"

    def layer(self, x: Op) -> Op:
        """The integer sums."""
        op = self.op
        if isinstance(op, nn.Dense):
            return bit.Dense(x, self.weights, loc=op.loc)
        return bit.Conv(x, self.weights, op.strides, op.pads, op.dilations, op.groups, loc=op.loc)

    @property
    def alike(self) -> bool:
        """Whether all places have the same offset."""
        flat = self.offset.reshape(len(self.scale), -1)
        return bool((flat == flat[:, :1]).all())

    @property
    def bound(self) -> float:
        """The largest magnitude that the result can have, or, where offsets are added later, the scaled sum."""
        low, high = value_range(self.pixels.source.type.dtype)
        rows = self.weights.reshape(len(self.weights), -1).astype(np.float64)
        positive, negative = np.maximum(rows, 0).sum(1), np.minimum(rows, 0).sum(1)
        low, high = min(low, 0), max(high, 0)
        ends = np.stack([positive * high + negative * low, positive * low + negative * high]) * self.scale
        offsets = self.offset.reshape(len(self.scale), -1)
        results = [ends[0] + offsets.max(1), ends[1] + offsets.min(1), *(() if self.alike else ends)]
        return float(np.abs(results).max())

    def scaled(self, layer: Op, dtype: Fix) -> Op | None:
        """The sums as real numbers in fixed point."""
        flat = self.offset.reshape(len(self.scale), -1)
        base = flat[:, 0] if self.alike else np.zeros(len(flat))
        lines = Lines(np.zeros((len(flat), 0)), self.scale[:, None], base[:, None])
        total = lines_op(layer, lines, dtype, self.op.loc)
        if self.alike or total is None:
            return total
        border: Op | None = constant(nn.Constant(self.offset.astype(np.float32), loc=self.op.loc))
        if border is None:
            return None
        for axis, classes in enumerate(self.classes, 1):
            border = move.Gather(border, classes.astype(np.int64), axis, loc=self.op.loc)
        return fixed.Add((total, border), (1, 1), dtype, loc=self.op.loc)


def integer_stem(op: nn.Conv | nn.Dense) -> Stem | None:
    """The layer as an integer stem, or None if it is none: constant weights, on an affine map of small integers."""
    if not isinstance(op.w, nn.Constant) or (op.bias is not None and not isinstance(op.bias, nn.Constant)):
        return None
    if isinstance(op, nn.Dense) and len(op.x.type.shape) != 1:
        return None
    found = _affine(op.x)
    if found is None:
        return None
    pixels, gain, shift = found
    low, high = value_range(pixels.source.type.dtype)
    weights = op.w.values.astype(np.float64)
    groups = op.groups if isinstance(op, nn.Conv) else 1
    if isinstance(op, nn.Dense):
        exact, offsets = weights * gain.reshape(1, -1), weights * shift.reshape(1, -1)
    else:
        channels = _by_channel(gain, shift)
        if channels is None:
            return None
        per_filter = [_per_filter(v, weights, groups) for v in channels]
        exact, offsets = weights * per_filter[0], weights * per_filter[1]
    rows = exact.reshape(len(exact), -1)
    farthest = max(abs(low), abs(high))
    scale = np.maximum(np.abs(rows).max(1) / LARGEST_WEIGHT, np.abs(rows).sum(1) * farthest / LARGEST_SUM)
    unit = np.where(scale > 0, scale, 1.0).reshape(-1, *(1,) * (exact.ndim - 1))
    numbers = np.rint(exact / unit)
    left = np.abs(numbers * unit - exact).reshape(len(exact), -1).sum(1)
    bias = op.bias.values.astype(np.float64) if isinstance(op.bias, nn.Constant) else np.zeros(len(weights))
    offset, classes = _offsets(op, offsets, bias)
    return Stem(op, pixels, numbers.astype(np.int16), scale, offset, classes, float((left * farthest).max()))


def _per_filter(values: np.ndarray, weights: np.ndarray, groups: int) -> np.ndarray:
    """[C] shaped to meet weights [O, C/groups, …]."""
    if values.ndim != 1 or values.size != weights.shape[1] * groups:
        return values
    rows = np.repeat(values.reshape(groups, -1), len(weights) // groups, axis=0)
    return rows.reshape(len(weights), -1, *(1,) * (weights.ndim - 2))


def _affine(op: Op) -> tuple[Chain, np.ndarray, np.ndarray] | None:
    """(chain from the pixels, gain, shift): every element of op is gain * its pixel + shift, up to fp32 roundings."""
    chain = chain_of(op)
    if chain is None:
        return None
    below, dtype = chain.source, chain.source.type.dtype
    while isinstance(below, move.Reshape | move.Transpose | move.Slice | move.Gather):
        below = below.x
    if not isinstance(below, Input) or not isinstance(dtype, Int) or not 1 < dtype.hi - dtype.lo <= MOST_PIXEL:
        return None
    low, high = dtype.lo, dtype.hi
    points = [low, high, (low + high) // 2, (3 * low + high) // 4, (low + 3 * high) // 4]
    results = [chain.at(point).astype(np.float64) for point in points]
    gain = (results[1] - results[0]) / (high - low)
    shift = results[0] - gain * low
    close = 1e-5 * max(1e-30, float(np.abs(results).max()))
    for point, result in zip(points, results, strict=True):
        if not np.isfinite(result).all() or np.abs(gain * point + shift - result).max() > close:
            return None
    return chain, gain, shift


def _by_channel(*values: np.ndarray) -> list[np.ndarray] | None:
    """Arrays [C, …] that do not vary within a channel as [C]."""
    found = []
    for array in values:
        rows = array.reshape(len(array), -1)
        if np.ptp(rows, axis=1).max() > 1e-6 * max(1e-30, float(np.abs(rows).max())):
            return None
        found.append(rows.mean(1))
    return found


def _offsets(
    op: nn.Conv | nn.Dense, offsets: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """What the shifts of all taps inside the image come to: [O], or [O, classes…] and the class of every place."""
    if isinstance(op, nn.Dense):
        return bias + offsets.sum(1), ()
    taps = offsets.sum(1)
    rank = taps.ndim - 1
    classes = []
    for axis in range(rank):
        starts = np.arange(op.type.shape[1 + axis]) * op.strides[axis] - op.pads[axis]
        places = starts[:, None] + np.arange(taps.shape[1]) * op.dilations[axis]
        inside = (places >= 0) & (places < op.x.type.shape[1 + axis])
        kinds, number = np.unique(inside, axis=0, return_inverse=True)
        classes.append(number.reshape(-1))
        # The tap axis of this image axis moves to the end, as classes.
        taps = np.tensordot(taps, kinds.astype(np.float64), axes=(1, 1))
    return taps + bias.reshape(-1, *(1,) * rank), tuple(classes)
