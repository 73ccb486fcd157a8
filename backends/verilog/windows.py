"""Windows over one or two spatial axes: where their taps lie, and when engines that hand them out have them.

bnnc_window keeps rows in a ring and hands out a tap a beat, or a part of its channels, at any pace. bnnc_window_wide
moves the pixels through lines and hands out whole windows: they keep up with the pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bnnc.diagnostics import error
from bnnc.ir import bit, fixed


@dataclass(frozen=True)
class Window:
    """A window over [C, H, W]; one spatial axis is H = 1."""

    height: int
    columns: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    begin: tuple[int, int]
    out: tuple[int, int]

    @property
    def taps(self) -> int:
        """Elements of a channel in one window."""
        return math.prod(self.kernel)

    @property
    def trivial(self) -> bool:
        """Whether it is every pixel by itself, in order."""
        ones = (1, 1)
        return (self.kernel, self.strides, self.begin) == (ones, ones, (0, 0)) and self.out == (
            self.height,
            self.columns,
        )

    @property
    def whole(self) -> bool:
        """Whether it is one window over everything."""
        return (
            self.kernel == (self.height, self.columns)
            and (self.dilations, self.begin, self.out) == ((1, 1), (0, 0), (1, 1))
        )  # fmt: skip

    @property
    def outside(self) -> bool:
        """Whether some tap lies outside the input."""
        ends = zip(
            self.begin, self.out, self.strides, self.kernel, self.dilations, (self.height, self.columns), strict=True
        )
        return any(b > 0 or (o - 1) * s - b + (k - 1) * d >= n for b, o, s, k, d, n in ends)

    @property
    def wide(self) -> bool:
        """Whether bnnc_window_wide can hand out its windows: they end one after the other, none before the input."""
        one_after_another = self.out[0] == 1 or (self.out[1] - 1) * self.strides[1] < self.strides[0] * self.columns
        return one_after_another and int(self._ends()[0, 0]) >= 0

    @property
    def steps(self) -> int:
        """Pixels that a sample takes in bnnc_window_wide: those of the input, and empty ones below it."""
        return max(self.height * self.columns, int(self._ends()[-1, -1]) + 1)

    def _ends(self) -> np.ndarray:
        """The pixel with the last tap of each window [rows, columns], counted on where it lies outside."""
        last = [
            np.arange(self.out[axis]) * self.strides[axis]
            - self.begin[axis]
            + (self.kernel[axis] - 1) * self.dilations[axis]
            for axis in (0, 1)
        ]
        return np.asarray(last[0][:, None] * self.columns + last[1])

    def needs(self, chunks: int, groups: int) -> np.ndarray:
        """For every output beat of bnnc_window (pixel, group, tap, chunk of the group): how many input beats must have
        come in."""
        axes = []
        for axis in (0, 1):
            starts = np.arange(self.out[axis]) * self.strides[axis] - self.begin[axis]
            axes.append(starts[:, None] + np.arange(self.kernel[axis]) * self.dilations[axis])
        rows, columns = axes[0][:, None, :, None], axes[1][None, :, None, :]
        inside = (rows >= 0) & (rows < self.height) & (columns >= 0) & (columns < self.columns)
        pixel = np.where(inside, rows * self.columns + columns, -1)[:, :, None, :, :, None]
        group = np.arange(groups)[:, None, None, None] * chunks
        beat = pixel * (chunks * groups) + group + np.arange(chunks) + 1
        return np.maximum.accumulate(np.where(pixel >= 0, beat, 0).reshape(-1))

    def wide_needs(self, chunks: int) -> tuple[np.ndarray, np.ndarray]:
        """The same for bnnc_window_wide (pixel, chunk), and how many empty steps come behind them."""
        beats = (self._ends().reshape(-1, 1) * chunks + np.arange(chunks) + 1).reshape(-1)
        enough = np.minimum(beats, self.height * self.columns * chunks)
        return enough, beats - enough


def window_of(op: bit.Conv | bit.Pool | fixed.Conv | fixed.Pool, kernel: tuple[int, ...]) -> Window:
    """The window of an op over one or two spatial axes. Raises BnncError B0622 for more."""
    spatial = op.x.type.shape[1:]
    if len(spatial) > 2:
        raise error(
            "B0622",
            f"`{op.opcode}` slides over {len(spatial)} axes: the verilog target has windows over one or two",
            places=(op.loc,),
        )
    rank = len(spatial)

    def two(values: tuple[int, ...], filler: int) -> tuple[int, int]:
        padded = (filler,) * (2 - rank) + tuple(values)
        return padded[0], padded[1]

    height, columns = two(spatial, 1)
    return Window(
        height,
        columns,
        two(kernel, 1),
        two(op.strides, 1),
        two(op.dilations, 1),
        two(op.pads[:rank], 0),
        two(op.type.shape[1:], 1),
    )


__all__ = ["Window", "window_of"]
