"""Sums of integers two products at a time: 16-bit neighbours in memory, multiplied and added by one instruction.

A row of taps is a run of neighbours in memory (all channels of all its pixels, or the channels of one pixel when taps
are apart or channels are in groups), and is read in pairs. Where a run is odd, its last pair steps back by one, and the
weight of the element that was read before is 0: so nothing outside the run is touched.
"""

from __future__ import annotations

import numpy as np

from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I8,
    I16,
    I32,
    I64,
    Buffer,
    Convert,
    Expression,
    PairProducts,
    Vector,
    binary,
    constant,
    load,
    splat,
)
from bnnc.loops.kernels.tiling import Part, Tile, Window, input_origin
from bnnc.loops.layout import Elements


class PairKernel:
    """Writes the sums of one tile. `weights` is set once they are packed."""

    weights: Buffer

    def __init__(
        self, b: Builder, x: Buffer, image: Elements, window: Window, part: Part, run: int, starts: Buffer | None
    ) -> None:
        """run: neighbours in one run of taps, at least 2. starts: first channel that each vector of outputs reads."""
        self.b, self.x, self.image, self.window, self.part, self.run, self.starts = (
            b,
            x,
            image,
            window,
            part,
            run,
            starts,
        )
        self.pairs = -(-run // 2)

    def packed(self, blocks: np.ndarray) -> np.ndarray:
        """int16 [blocks, KH, runs of a row, pairs, outputs of a block, 2] of weights [blocks, outputs, C, KH, KW]."""
        count, outputs, channels, height, width = blocks.shape
        rows = blocks.transpose(0, 3, 4, 2, 1).reshape(count, height, channels * width // self.run, self.run, outputs)
        even = rows.astype(np.int16)
        if self.run % 2:
            zeros = np.zeros_like(even[..., :1, :])
            even = np.concatenate([even[..., :-1, :], zeros, even[..., -1:, :]], axis=3)
        paired = even.reshape(count, height, -1, self.pairs, 2, outputs)
        return np.ascontiguousarray(paired.transpose(0, 1, 2, 3, 5, 4))

    def accumulate(self, tile: Tile) -> list[list[Expression]]:
        """The code that multiplies and adds; gives the sum of every pixel and vector of the tile."""
        b, image, window = self.b, self.image, self.window
        type_, lanes = tile.type_of(I32), tile.plan.lanes
        vectors = range(self.part.vectors)
        sums = [[b.variable(f"r{m}_{n}", constant(0, type_)) for n in vectors] for m in range(len(tile.pixels))]
        step = (window.strides[0] * image.row, window.strides[1] * image.pixel)
        corner = b.let(tile.y * step[0] + tile.x * step[1] + input_origin(image, window), "corner")
        offsets = [row * step[0] + column * step[1] for row, column in tile.pixels]
        starts: list[Expression] = []
        if self.starts is not None:
            starts = [b.let(load(self.starts, tile.vector + n), "start") for n in vectors]
        joined = self.run == image.pixel * window.kernel[1] and self.starts is None
        runs = 1 if joined else window.kernel[1]
        size = self.part.vectors * lanes * 2
        with b.loop(window.kernel[0], "ky") as ky, b.loop(runs, "kx") as kx:
            far = ky * (window.dilations[0] * image.row) + kx * (window.dilations[1] * image.pixel)
            begin = b.let(corner + far, "begin")
            taps = b.let(((tile.block * window.kernel[0] + ky) * runs + kx) * (self.pairs * size), "taps")
            with b.loop(self.pairs, "pair") as pair:
                first = pair * 2
                if self.run % 2:
                    first = binary("min", first, constant(self.run - 2, I64))
                place = b.let(begin + first, "place")
                where = b.let(taps + pair * size, "where")
                rows = [
                    b.let(load(self.weights, where + n * 2 * lanes, Vector(I16, 2 * lanes), 4 * lanes), "w")
                    for n in vectors
                ]
                for m, offset in enumerate(offsets):
                    shared = self._pair(place + offset, lanes) if not starts else None
                    for n in vectors:
                        value = self._pair(place + starts[n] + offset, lanes) if shared is None else shared
                        b.assign(sums[m][n], sums[m][n] + PairProducts(value, rows[n]))
        return [[*row] for row in sums]

    def _pair(self, index: Expression, lanes: int) -> Expression:
        """Two neighbours of x, in every pair of lanes."""
        two: Expression = load(self.x, index, Vector(self.image.element, 2))
        if self.image.element == I8:
            two = Convert("sext", two, Vector(I16, 2))
        every = splat(Convert("bitcast", two, I32), Vector(I32, lanes))
        return self.b.let(Convert("bitcast", every, Vector(I16, 2 * lanes)), "x")
