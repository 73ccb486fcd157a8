"""The loop nest that all convolutions share: blocks of output channels, rows, and tiles of pixels held in registers.

A tile is `rows` x `columns` output pixels times `vectors` vectors of output channels (lanes are output channels, so no
sum across lanes is ever needed). Where tiles do not divide the image, the last tile of a row steps back and does some
pixels twice: cheaper than a second kernel, and harmless, since a kernel's output depends on its input alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from bnnc.ir.op import expect
from bnnc.ir.windows import output_size
from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I32,
    Expression,
    Scalar,
    Type,
    binary,
    vector_of,
)
from bnnc.loops.layout import WORD, Layout
from bnnc.loops.machine import Machine


@dataclass(frozen=True)
class Window:
    """A two-dimensional window: (vertical, horizontal) each; `pads` is (top, left, bottom, right)."""

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    def output(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the result."""
        sizes = [
            output_size(size, self.kernel[a], self.strides[a], self.pads[a], self.pads[a + 2], self.dilations[a])
            for a, size in enumerate((height, width))
        ]
        return sizes[0], sizes[1]

    def outside(self, axis: int, size: int) -> np.ndarray:
        """bool [positions, taps] of one axis: which taps fall into the padding."""
        count = output_size(
            size, self.kernel[axis], self.strides[axis], self.pads[axis], self.pads[axis + 2], self.dilations[axis]
        )
        where = np.arange(count)[:, None] * self.strides[axis] + np.arange(self.kernel[axis]) * self.dilations[axis]
        where = where - self.pads[axis]
        outside: np.ndarray = (where < 0) | (where >= size)
        return outside


def input_origin(image: Layout, window: Window) -> int:
    """Index of the first tap of output pixel (0, 0). Raises TypeRuleError when the halo is smaller than the padding."""
    top, left, bottom, right = window.pads
    halo = image.halo
    expect(
        halo.top >= top and halo.left >= left and halo.bottom >= bottom and halo.right >= right,
        f"a halo of {(halo.top, halo.left, halo.bottom, halo.right)} cannot hold padding {window.pads}",
    )
    return image.origin - top * image.row - left * image.pixel


def pixel_index(image: Layout, y: Expression, x: Expression) -> Expression:
    """Index of the first element of pixel (y, x)."""
    return y * image.row + x * image.pixel + image.origin


@dataclass(frozen=True)
class Part:
    """`blocks` equal blocks of `vectors` vectors, from vector `first` on; tiles of rows x columns pixels.

    `spare`: so many lanes at its end are no output channel; then there is only one block.
    """

    first: int
    vectors: int
    blocks: int
    rows: int
    columns: int
    spare: int = 0


@dataclass(frozen=True)
class Plan:
    """How the output is cut: lanes of a vector, and one part, or more when the channels do not divide."""

    lanes: int
    height: int
    width: int
    parts: tuple[Part, ...]
    machine: Machine

    @property
    def vectors(self) -> int:
        """All vectors of output channels, spare ones included."""
        return sum(part.vectors * part.blocks for part in self.parts)

    @property
    def channels(self) -> int:
        """All output channels, spare ones included."""
        return self.vectors * self.lanes


def make_plan(
    machine: Machine,
    channels: int,
    height: int,
    width: int,
    packed: bool,
    *,
    lanes: int = 0,
    apart: bool = False,
    widest: int = 4,
    registers: int = 0,
) -> Plan:
    """Tiles for the machine's registers. `packed`: the epilogue writes whole words of 32 output channels.

    `lanes`: of a vector, where not the machine's. `apart`: spare channels get a block of their own even when they would
    do no harm in the output. `widest`: vectors of a tile; fewer leave room for more pixels, so that weights are read
    less often, which pays where they are large. `registers`: how many accumulators there may be.
    """
    lanes = lanes or machine.lanes
    granule = max(1, WORD // lanes) if packed else 1
    vectors = -(-channels // (lanes * granule)) * granule
    registers = registers or (28 if machine.vector_registers >= 32 else 12)
    widest = 8 if height * width == 1 else widest
    count = max(granule, min(vectors, widest // granule * granule))
    spare = vectors * lanes - channels
    parts = []
    done = 0
    while done < vectors:
        size = min(count, vectors - done)
        blocks = (vectors - done) // size
        last = done + size * blocks == vectors
        if last and spare and blocks > 1 and (not packed or apart):
            blocks, last = blocks - 1, False
        rows, columns = _tile(height, width, max(1, registers // size))
        parts.append(Part(done, size, blocks, rows, columns, spare if last and blocks == 1 else 0))
        done += size * blocks
    return Plan(lanes, height, width, tuple(parts), machine)


def _tile(height: int, width: int, most: int) -> tuple[int, int]:
    """Rows and columns of a tile of at most so many pixels, for the least work."""
    most = min(most, 14)

    def cost(tile: tuple[int, int]) -> float:
        # All pixels, some done twice where tiles do not divide the image, and a toll for the code around each tile.
        rows, columns = tile
        pixels = -(-height // rows) * rows * -(-width // columns) * columns
        return pixels * (1 + 1.5 / (rows * columns))

    sizes = [(r, c) for r in range(1, min(height, most) + 1) for c in range(1, min(width, most // r) + 1)]
    # Of equal cost, wide tiles: their pixels are neighbours in memory.
    return min(sizes, key=lambda tile: (cost(tile), tile[0]))


@dataclass(frozen=True)
class Tile:
    """One tile while its code is written. y, x: its first pixel; `vector`: its first vector of output channels."""

    plan: Plan
    part: Part
    y: Expression
    x: Expression
    block: Expression
    vector: Expression

    @property
    def pixels(self) -> tuple[tuple[int, int], ...]:
        """Offsets (row, column) of its pixels."""
        return tuple((row, column) for row in range(self.part.rows) for column in range(self.part.columns))

    def type_of(self, element: Scalar = I32) -> Type:
        """The vector type of its accumulators."""
        return vector_of(element, self.plan.lanes)

    @property
    def channel(self) -> Expression:
        """Its first output channel."""
        return self.vector * self.plan.lanes


@contextmanager
def tile_loop(b: Builder, plan: Plan, part: Part) -> Iterator[Tile]:
    """Writes the loops over the blocks, rows and tiles of one part around the block that follows."""
    with b.loop(part.blocks, "block") as block:
        vector = b.let(block * part.vectors + part.first, "vector")
        with b.loop(-(-plan.height // part.rows), "band") as band:
            y = _stepped(b, band, part.rows, plan.height, "y")
            with b.loop(-(-plan.width // part.columns), "tile") as tile:
                x = _stepped(b, tile, part.columns, plan.width, "x")
                yield Tile(plan, part, y, x, block, vector)


def _stepped(b: Builder, number: Expression, size: int, total: int, name: str) -> Expression:
    start = number * size
    if total % size:
        start = binary("min", start, total - size)
    return b.let(start, name)
