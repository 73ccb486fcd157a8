"""What happens to finished sums while they are in registers: they are stored, or stepped and packed to bit planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I32,
    Buffer,
    Convert,
    Expression,
    Extract,
    compare,
    constant,
    constant_buffer,
    load,
    pack,
)
from bnnc.loops.kernels.forms import bits_of
from bnnc.loops.kernels.tiling import Borders, ClassRows, Plan, Tile, pixel_index
from bnnc.loops.layout import WORD, Elements, Packed


@dataclass(frozen=True)
class Sums:
    """What the registers of a tile hold: for output channel o at pixel p, the sum is base[class(p), o] + scale * r.

    base: int64 [border classes, channels of the plan]; scale is not 0.
    """

    name: str
    base: np.ndarray
    scale: int
    borders: Borders


class Epilogue(Protocol):
    """Writes the output of one tile. `declare` adds the output parameter and prepares constants, once a function.

    `packed`: it writes whole words of 32 channels, so a block must hold a multiple of 32.
    """

    packed: bool

    def declare(self, b: Builder, plan: Plan, sums: Sums) -> None: ...

    def finish(self, b: Builder, tile: Tile, results: list[list[Expression]]) -> None:
        """results[pixel][vector]: the r of `Sums`."""
        ...


class StoreIntegers:
    """The sums themselves, one element a channel, in the element type of the layout (i8, i16 or i32)."""

    packed = False

    def __init__(self, layout: Elements) -> None:
        self.layout = layout

    def declare(self, b: Builder, plan: Plan, sums: Sums) -> None:
        self._output = b.parameter("y", self.layout.element, self.layout.length, access="write")
        self._scale = sums.scale
        self._rows = ClassRows(f"{sums.name}_base", sums.borders, plan.channels)
        self._base = _table(f"{sums.name}_base", sums.base, "constant part of each sum")
        self._plain = not sums.base.any()

    def finish(self, b: Builder, tile: Tile, results: list[list[Expression]]) -> None:
        lanes, element = tile.plan.lanes, self.layout.element
        type_ = tile.type_of(I32)
        for (row, column), pixel in zip(tile.pixels, results, strict=True):
            start = self._rows.start(b, tile, row, column)
            place = b.let(pixel_index(self.layout, tile.y + row, tile.x + column) + tile.channel, "place")
            for n, r in enumerate(pixel):
                value = r * self._scale
                if not self._plain:
                    value = load(self._base, start + tile.channel + n * lanes, type_) + value
                if element != I32:
                    value = Convert("trunc", value, tile.type_of(element))
                if n + 1 < len(pixel) or not tile.part.spare:
                    b.store(self._output, place + n * lanes, value)
                    continue
                value = b.let(value, "last")
                for lane in range(lanes - tile.part.spare):
                    b.store(self._output, place + (n * lanes + lane), Extract(value, lane))


class StepToPlanes:
    """y = values[c, how many thresholds[c] are <= sum], written as the bit planes of the layout.

    Plane p of y is base_p ^ XOR_i (d_pi & (sum >= t_i)): d_pi tells, channel by channel, whether the i-th threshold
    flips the bit. So any table becomes one comparison a threshold and a few operations on whole words; constant and
    falling steps cost nothing extra. Comparisons are made on r itself: bases and scales are folded into thresholds.
    """

    packed = True

    def __init__(self, layout: Packed, thresholds: np.ndarray, values: np.ndarray) -> None:
        """thresholds int [C or 1, n], ascending; values int [C or 1, n + 1], which the planes must be able to hold."""
        self.layout = layout
        rows = layout.channels
        self.thresholds = np.broadcast_to(thresholds, (rows, thresholds.shape[1])).astype(np.int64)
        self.values = np.broadcast_to(values, (rows, values.shape[1])).astype(np.int64)

    def declare(self, b: Builder, plan: Plan, sums: Sums) -> None:
        count, spare = self.thresholds.shape[1], plan.channels - self.layout.channels
        self._output = b.parameter("y", I32, self.layout.length, access="write", alignment=4)
        self._count = count
        bits = np.pad(bits_of(self.layout.planes, self.values), ((0, 0), (0, spare), (0, 0)))
        flips = bits[:, :, 1:] ^ bits[:, :, :-1]
        name = sums.name
        self._masks: dict[tuple[int, int], Buffer | None] = {}
        for p in range(len(self.layout.planes)):
            for i in range(count):
                real = flips[p, : self.layout.channels, i]
                # Spare channels never reach a threshold, so they may flip.
                if real.any():
                    mask = None if real.all() else _words(f"{name}_flip_{p}_{i}", flips[p, :, i])
                    self._masks[p, i] = mask
        self._starts = [
            _words(f"{name}_start_{p}", bits[p, :, 0]) if bits[p, :, 0].any() else None
            for p in range(len(self.layout.planes))
        ]
        self._used = sorted({i for _, i in self._masks})
        # sum >= t, sum = base + scale * r
        room = np.pad(self.thresholds, ((0, spare), (0, 0)), constant_values=2**40)[None] - sums.base[:, :, None]
        self._rising = sums.scale > 0
        limits = -(-room // sums.scale) if self._rising else room // sums.scale
        table = np.clip(limits, -(2**31), 2**31 - 1).transpose(0, 2, 1)
        self._rows = ClassRows(f"{name}_threshold", sums.borders, count * plan.channels)
        self._table = _table(f"{name}_threshold", table, "[border class][threshold][channel]")

    def finish(self, b: Builder, tile: Tile, results: list[list[Expression]]) -> None:
        lanes, planes = tile.plan.lanes, len(self.layout.planes)
        type_ = tile.type_of(I32)
        per_word = max(1, WORD // lanes)
        words = tile.part.vectors // per_word
        first_word = b.let(_word_of(tile), "word")
        shared: dict[tuple[int, int], Expression] = {}
        for (row, column), pixel in zip(tile.pixels, results, strict=True):
            start = self._rows.start(b, tile, row, column) + tile.channel
            place = b.let(pixel_index(self.layout, tile.y + row, tile.x + column) + first_word, "place")
            for w in range(words):
                reached = {}
                for i in self._used:
                    flags = []
                    for n in range(w * per_word, (w + 1) * per_word):
                        if self._rows.constant:
                            limit = shared.get((n, i))
                            if limit is None:
                                where = start + (i * tile.plan.channels + n * lanes)
                                limit = shared[n, i] = b.let(load(self._table, where, type_), "limit")
                        else:
                            limit = load(self._table, start + (i * tile.plan.channels + n * lanes), type_)
                        flags.append(compare("ge" if self._rising else "le", pixel[n], limit))
                    reached[i] = b.let(pack(tuple(flags)), "reached")
                for p in range(planes):
                    word: Expression | None = None
                    for i in self._used:
                        if (p, i) in self._masks:
                            mask = self._masks[p, i]
                            part = reached[i] if mask is None else reached[i] & load(mask, first_word + w)
                            word = part if word is None else word ^ part
                    begin = self._starts[p]
                    if begin is not None:
                        base = load(begin, first_word + w)
                        word = base if word is None else word ^ base
                    b.store(
                        self._output, place + (p * self.layout.words + w), constant(0, I32) if word is None else word
                    )


def _word_of(tile: Tile) -> Expression:
    per_word = WORD // tile.plan.lanes
    if per_word < 1:
        raise ValueError("more lanes than bits in a word")
    first, size = tile.part.first // per_word, tile.part.vectors // per_word
    return tile.block * size + first


def _table(name: str, values: np.ndarray, comment: str) -> Buffer:
    return constant_buffer(name, values.astype(np.int32), comment)


def _words(name: str, bits: np.ndarray) -> Buffer:
    packed = np.packbits(bits.astype(np.uint8), bitorder="little").view("<u4")
    return constant_buffer(name, packed, "one bit a channel")
