"""Convolutions and dense layers on plain numbers, one element a value: integers multiplied, or floats by fused steps.

The loops are those of the popcount kernel, lanes are output channels, and every output adds its products in the order
of docs/numerics.md (channels outermost, then the kernel's axes), whatever the tile: floats are equal to the last bit.
Integers may be added in any order, and take the one in which they lie in memory.
Padding is read from the halo, which holds 0: adding w * 0 by a fused step changes nothing (but a sum that underflowed
to -0, which becomes +0).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bnnc.ir.location import UNKNOWN, Location
from bnnc.ir.op import expect
from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    F32,
    I8,
    I16,
    I32,
    I64,
    Buffer,
    Convert,
    Expression,
    Fma,
    Function,
    Scalar,
    Variable,
    constant,
    constant_buffer,
    load,
    splat,
    vector_of,
)
from bnnc.loops.kernels.borders import Within, corrections, no_borders
from bnnc.loops.kernels.epilogue import Epilogue, Sums
from bnnc.loops.kernels.pairs import PairKernel
from bnnc.loops.kernels.tiling import Part, Plan, Tile, Window, input_origin, make_plan, tile_loop
from bnnc.loops.layout import Elements
from bnnc.loops.machine import Machine

_UNROLLED = 60
"""The inner loop is unrolled while it has no more products than this: longer code gains nothing."""


def lane_conv(
    name: str,
    image: Elements,
    weights: np.ndarray,
    window: Window,
    epilogue: Epilogue,
    machine: Machine,
    *,
    bias: np.ndarray | None = None,
    groups: int = 1,
    pad_value: int = 0,
    within: Within | None = None,
    loc: Location = UNKNOWN,
) -> Function:
    """A function (x, y): the convolution of `image` with weights [O, C/groups, KH, KW], then the epilogue.

    Integer elements: weights int8 or int16, sums int32; weights int32, sums int64, bias int64. F32: weights float32,
    each product joined by an fma, the bias [O] added last. Outside the image x counts as `pad_value`; where the halo
    holds another value, constant tables put it right (integers only). `within`: the image is some rows of a larger
    one, and where such tables are used the function is (x, row, y). Raises TypeRuleError when sizes do not fit.
    """
    is_float = image.element == F32
    expect(weights.shape[1] * groups == image.channels, f"{image.channels} channels, weights {list(weights.shape)}")
    expect(weights.shape[2:] == window.kernel, f"weights {list(weights.shape)} are not for a window {window.kernel}")
    expect((weights.dtype == np.float32) == is_float, f"weights {weights.dtype} do not fit {image.element}")
    is_wide = weights.dtype == np.int32
    height, width = window.output(image.height, image.width)
    outputs, inputs = weights.shape[:2]
    # With groups, a vector of outputs must read the same channels in all lanes, or (depthwise) its own lanes' channels.
    own = groups > 1 and inputs == 1 and outputs == groups
    lanes = max(1, machine.lanes // 2) if is_wide else machine.lanes
    while groups > 1 and (outputs if own else outputs // groups) % lanes:
        lanes //= 2
    plan = make_plan(machine, outputs, height, width, epilogue.packed, lanes=lanes, apart=own, widest=2)
    b = Builder(name, comment=f"{outputs} outputs, window {window.kernel} on {image.channels} channels", loc=loc)
    x = b.parameter("x", image.element, image.length)
    borders = no_borders(height, width)
    element = F32 if is_float else I64 if is_wide else I32
    base: np.ndarray | None
    if is_float or is_wide:
        expect(not any(window.pads) or pad_value == image.halo.value == 0, "wide numbers are padded with zeros")
        base = None if bias is None else np.pad(bias, (0, plan.channels - outputs))[None]
    else:
        expect(bias is None, "an integer convolution has no bias")
        borders, missing = corrections(image, weights, window, pad_value - image.halo.value, within)
        if within is not None and len(borders.rows) > 1:
            borders = replace(borders, first=b.scalar("row", I64))
        base = np.pad(missing, ((0, 0), (0, plan.channels - outputs)))
    epilogue.declare(b, plan, Sums(name, base, 1, borders, element))
    narrow = image.element in (I8, I16) and not is_wide and not own
    in_pairs = narrow and lanes > 1 and _run(image, window, inputs, groups) > 1
    starts = None
    if groups > 1 and not own:
        first = np.minimum(np.arange(plan.vectors) * lanes, outputs - 1) // (outputs // groups) * inputs
        starts = constant_buffer(f"{name}_start", first.astype(np.int64), "first channel that each vector reads")
    for number, part in enumerate(plan.parts):
        if in_pairs:
            pairs = PairKernel(b, x, image, window, part, _run(image, window, inputs, groups), starts)
            packed = pairs.packed(_blocks(weights, plan, part))
            pairs.weights = constant_buffer(
                _weights(name, number), packed, "[block][kernel row]…[pair][vector][lane][2]"
            )
            with tile_loop(b, plan, part) as tile:
                epilogue.finish(b, tile, pairs.accumulate(tile))
            continue
        # Floats are added channel by channel; integers in the order in which they lie in memory.
        order = (0, 2, 3, 4, 1) if is_float else (0, 3, 4, 2, 1)
        packed = np.ascontiguousarray(_blocks(weights, plan, part).transpose(order))
        comment = "[block][channel, kernel row, kernel column in the order of the loops][vector][lane]"
        buffer = constant_buffer(_weights(name, number), packed, comment)
        kernel = _Kernel(b, x, image, window, part, buffer, inputs, starts, own, element)
        with tile_loop(b, plan, part) as tile:
            epilogue.finish(b, tile, kernel.accumulate(tile))
    return b.function()


def _run(image: Elements, window: Window, channels: int, groups: int) -> int:
    """How many neighbours in memory one row of taps reads: all its pixels, or the channels of one."""
    return channels * window.kernel[1] if groups == 1 and window.dilations[1] == 1 else channels


def _weights(name: str, part: int) -> str:
    return f"{name}_weights" + (f"_{part}" if part else "")


def _blocks(weights: np.ndarray, plan: Plan, part: Part) -> np.ndarray:
    """The weights of a part, [blocks, outputs of a block, C, KH, KW]; zeros for spare outputs."""
    size = part.vectors * plan.lanes
    padded = np.zeros((plan.channels, *weights.shape[1:]), weights.dtype)
    padded[: len(weights)] = weights
    chosen = padded[part.first * plan.lanes : part.first * plan.lanes + part.blocks * size]
    return chosen.reshape(part.blocks, size, *weights.shape[1:])


class _Kernel:
    """Writes the sums of one tile."""

    def __init__(
        self,
        b: Builder,
        x: Buffer,
        image: Elements,
        window: Window,
        part: Part,
        weights: Buffer,
        channels: int,
        starts: Buffer | None,
        own: bool,
        element: Scalar,
    ) -> None:
        self.b, self.x, self.image, self.window, self.part = b, x, image, window, part
        self.weights, self.channels, self.starts, self.own = weights, channels, starts, own
        self.element = element

    def accumulate(self, tile: Tile) -> list[list[Expression]]:
        """The code that multiplies and adds; gives the sum of every pixel and vector of the tile."""
        b, image, window = self.b, self.image, self.window
        type_, lanes = tile.type_of(self.element), tile.plan.lanes
        pixels, vectors = tile.pixels, range(self.part.vectors)
        sums = [[b.variable(f"r{m}_{n}", constant(0, type_)) for n in vectors] for m in range(len(pixels))]
        step = (window.strides[0] * image.row, window.strides[1] * image.pixel)
        corner = b.let(tile.y * step[0] + tile.x * step[1] + input_origin(image, window), "corner")
        offsets = [row * step[0] + column * step[1] for row, column in pixels]
        starts: list[Expression] = [constant(0, I64)] * len(vectors)
        if self.starts is not None:
            starts = [b.let(load(self.starts, tile.vector + n), "start") for n in vectors]
        if self.own:
            starts = [b.let(tile.channel + n * lanes, "start") for n in vectors]
        size = self.part.vectors * lanes
        height, width = window.kernel
        # (name, count, distance in x)
        axes = [
            ("c", self.channels, 1),
            ("ky", height, window.dilations[0] * image.row),
            ("kx", width, window.dilations[1] * image.pixel),
        ]
        if self.element != F32:
            axes = [*axes[1:], axes[0]]
        (first, rounds1, far1), (second, rounds2, far2), (last, rounds3, far3) = axes
        work = len(pixels) * len(vectors)
        unrolled = max(n for n in (1, 2, 3, 4) if rounds3 % n == 0 and (n == 1 or n * work <= _UNROLLED))
        with b.loop(rounds1, first) as i, b.loop(rounds2, second) as j:
            begin = b.let(corner + i * far1 + j * far2, "begin")
            taps = b.let(((tile.block * rounds1 + i) * rounds2 + j) * (rounds3 * size), "taps")
            with b.loop(rounds3 // unrolled, last) as k:
                for more in range(unrolled):
                    step_ = k * unrolled + more
                    self._tap(tile, b.let(begin + step_ * far3, "place"), taps + step_ * size, offsets, starts, sums)
        return [[*row_] for row_ in sums]

    def _tap(
        self,
        tile: Tile,
        place: Expression,
        where: Expression,
        offsets: list[int],
        starts: list[Expression],
        sums: list[list[Variable]],
    ) -> None:
        b, lanes = self.b, tile.plan.lanes
        type_ = tile.type_of(self.element)
        where = b.let(where, "where")
        # Whole vectors of spare channels read nothing: there may be nothing to read.
        real = [n for n in range(self.part.vectors) if (self.part.vectors - n) * lanes > self.part.spare]
        rows = {n: b.let(self._load(self.weights, where + n * lanes, lanes), "w") for n in real}
        for m, offset in enumerate(offsets):
            shared = None
            if self.starts is None and not self.own:
                shared = b.let(splat(self._load(self.x, place + offset, 1), type_), "x")
            for n in real:
                value = shared
                if value is None and self.own:
                    value = self._load(self.x, place + starts[n] + offset, lanes)
                elif value is None:
                    value = splat(self._load(self.x, place + starts[n] + offset, 1), type_)
                total = sums[m][n]
                b.assign(total, Fma(rows[n], value, total) if self.element == F32 else total + rows[n] * value)

    def _load(self, buffer: Buffer, index: Expression, lanes: int) -> Expression:
        """A number, or neighbours, widened to the type that is added up."""
        value = load(buffer, index, vector_of(buffer.element, lanes))
        if buffer.element == self.element:
            return value
        return Convert("sext", value, vector_of(self.element, lanes))
