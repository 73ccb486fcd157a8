"""What happens to finished sums while they are in registers: they are stored, or stepped and packed to bit planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    F32,
    I32,
    Binary,
    Buffer,
    Convert,
    Expression,
    Extract,
    LaneIndex,
    Reduce,
    Scalar,
    Select,
    compare,
    constant,
    constant_buffer,
    load,
    pack,
)
from bnnc.loops.kernels.borders import Borders, ClassRows
from bnnc.loops.kernels.forms import bits_of
from bnnc.loops.kernels.tiling import Plan, Tile, pixel_index
from bnnc.loops.layout import WORD, Elements, Packed


@dataclass(frozen=True)
class Sums:
    """What the registers of a tile hold: for output channel o at pixel p, the sum is base[class(p), o] + scale * r.

    Integers: base is int64 [border classes, channels of the plan]; scale is not 0. Floats (`element` F32): scale is 1,
    and base the bias, float32 [1, channels of the plan], added last; or None.
    """

    name: str
    base: np.ndarray | None
    scale: int
    borders: Borders
    element: Scalar = I32


class Epilogue(Protocol):
    """Writes the output of one tile. `declare` adds the output parameter and prepares constants, once a function.

    `packed`: it writes whole words of 32 channels, so a block must hold a multiple of 32.
    """

    packed: bool

    def declare(self, b: Builder, plan: Plan, sums: Sums) -> None: ...

    def finish(self, b: Builder, tile: Tile, results: list[list[Expression]]) -> None:
        """results[pixel][vector]: the r of `Sums`."""
        ...


class StoreSums:
    """The sums themselves, one element a channel, in the element type of the layout: i8, i16 or i32, or f32."""

    packed = False

    def __init__(self, layout: Elements) -> None:
        self.layout = layout

    def declare(self, b: Builder, plan: Plan, sums: Sums) -> None:
        self._output = b.parameter("y", self.layout.element, self.layout.length, access="write")
        self._sums = sums
        self._rows = ClassRows(f"{sums.name}_base", sums.borders, plan.channels)
        self._base = _base(sums)

    def finish(self, b: Builder, tile: Tile, results: list[list[Expression]]) -> None:
        lanes, sums = tile.plan.lanes, self._sums
        type_, narrow = tile.type_of(sums.element), tile.type_of(self.layout.element)
        for (row, column), pixel in zip(tile.pixels, results, strict=True):
            start = self._rows.start(b, tile, row, column)
            place = b.let(pixel_index(self.layout, tile.y + row, tile.x + column) + tile.channel, "place")
            for n, r in enumerate(pixel):
                value = r if sums.scale == 1 else r * sums.scale
                if self._base is not None:
                    value = value + load(self._base, start + tile.channel + n * lanes, type_)
                if narrow != type_:
                    value = Convert("trunc", value, narrow)
                real = min(lanes, max(0, (len(pixel) - n) * lanes - tile.part.spare))
                if real == lanes:
                    b.store(self._output, place + n * lanes, value)
                    continue
                value = b.let(value, "last")
                for lane in range(real):
                    b.store(self._output, place + (n * lanes + lane), Extract(value, lane))


class StepToPlanes:
    """y = values[c, how many thresholds[c] are <= sum], written as the bit planes of the layout.

    Plane p of y is base_p ^ XOR_i (d_pi & (sum >= t_i)): d_pi tells, channel by channel, whether the i-th threshold
    flips the bit. So any table becomes one comparison a threshold and a few operations on whole words; constant and
    falling steps cost nothing extra. Comparisons are made on r itself: bases and scales are folded into thresholds.
    """

    packed = True

    def __init__(self, layout: Packed, thresholds: np.ndarray, values: np.ndarray) -> None:
        """thresholds int, or float32 for float sums, [C or 1, n], ascending; values int [C or 1, n + 1], which the
        planes must be able to hold."""
        self.layout = layout
        rows = layout.channels
        self.thresholds = np.broadcast_to(thresholds, (rows, thresholds.shape[1]))
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
        self._element, self._base, self._rising = sums.element, None, sums.scale > 0
        if sums.element == F32:
            self._base = _base(sums)
            table = np.pad(self.thresholds, ((0, spare), (0, 0)), constant_values=np.inf).astype(np.float32).T
        else:
            # sum >= t, where sum = base + scale * r; spare channels never get there.
            assert sums.base is not None
            wide = np.pad(self.thresholds.astype(np.int64), ((0, spare), (0, 0)), constant_values=2**40)
            distance = wide[None] - sums.base[:, :, None]
            limits = -(-distance // sums.scale) if self._rising else distance // sums.scale
            table = np.clip(limits, -(2**31), 2**31 - 1).transpose(0, 2, 1).astype(np.int32)
        self._rows = ClassRows(f"{name}_threshold", sums.borders, count * plan.channels)
        self._table = constant_buffer(f"{name}_threshold", table, "[border class][threshold][channel]")

    def finish(self, b: Builder, tile: Tile, results: list[list[Expression]]) -> None:
        lanes, words = tile.plan.lanes, tile.part.vectors * tile.plan.lanes // WORD
        type_ = tile.type_of(self._element)
        first = b.let(_word_of(tile), "word")
        shared: dict[int, Expression] = {}

        def limit(start: Expression, i: int, n: int) -> Expression:
            where = start + (i * tile.plan.channels + n * lanes)
            if not self._rows.constant:
                return load(self._table, where, type_)
            key = i * tile.part.vectors + n
            if key not in shared:
                shared[key] = b.let(load(self._table, where, type_), "limit")
            return shared[key]

        for (row, column), pixel in zip(tile.pixels, results, strict=True):
            start = self._rows.start(b, tile, row, column) + tile.channel
            place = b.let(pixel_index(self.layout, tile.y + row, tile.x + column) + first, "place")
            if self._base is not None:
                biases = (load(self._base, tile.channel + n * lanes, type_) for n in range(len(pixel)))
                pixel = [b.let(r + bias, "sum") for r, bias in zip(pixel, biases, strict=True)]
            for w in range(words):
                vectors = range(w * WORD // lanes, (w + 1) * WORD // lanes)
                reached = {}
                for i in self._used:
                    verb = "ge" if self._rising else "le"
                    flags = tuple(compare(verb, pixel[n], limit(start, i, n)) for n in vectors)
                    reached[i] = b.let(_bits(tile, flags), "reached")
                for p in range(len(self.layout.planes)):
                    b.store(self._output, place + (p * self.layout.words + w), self._word(p, reached, first + w))

    def _word(self, p: int, reached: dict[int, Expression], word: Expression) -> Expression:
        """32 bits of plane p: its bits below all thresholds, flipped by the thresholds that were reached."""
        parts: list[Expression] = []
        for i in self._used:
            if (p, i) in self._masks:
                mask = self._masks[p, i]
                parts.append(reached[i] if mask is None else reached[i] & load(mask, word))
        begin = self._starts[p]
        if begin is not None:
            parts.append(load(begin, word))
        result: Expression = parts[0] if parts else constant(0, I32)
        for part in parts[1:]:
            result = result ^ part
        return result


def _bits(tile: Tile, flags: tuple[Expression, ...]) -> Expression:
    """The flags of 32 lanes as a word."""
    lanes = tile.plan.lanes
    if lanes == 1 or tile.plan.machine.flags_to_bits:
        return pack(flags)
    # Elsewhere collecting flags is slow: each lane gets its bit by a mask, and the lanes are joined at the end.
    type_ = tile.type_of(I32)
    joined: Expression | None = None
    for n, flag in enumerate(flags):
        bit = Binary("shl", constant(1 << (n * lanes), type_), LaneIndex(type_))
        part = Select(flag, bit, constant(0, type_))
        joined = part if joined is None else joined | part
    assert joined is not None
    return Reduce("or", joined)


def _word_of(tile: Tile) -> Expression:
    per_word = WORD // tile.plan.lanes
    if per_word < 1:
        raise ValueError("more lanes than bits in a word")
    first, size = tile.part.first // per_word, tile.part.vectors // per_word
    return tile.block * size + first


def _base(sums: Sums) -> Buffer | None:
    """The constant part of the sums, or nothing where there is none (a float bias of 0 still turns -0 into +0)."""
    if sums.base is None or (sums.element == I32 and not sums.base.any()):
        return None
    values = sums.base.astype(np.int32 if sums.element == I32 else np.float32)
    return constant_buffer(f"{sums.name}_base", values, "[border class][channel] the constant part of each sum")


def _words(name: str, bits: np.ndarray) -> Buffer:
    packed = np.packbits(bits.astype(np.uint8), bitorder="little").view("<u4")
    return constant_buffer(name, packed, "one bit a channel")
