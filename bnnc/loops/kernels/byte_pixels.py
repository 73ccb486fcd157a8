"""First layers on bytes for 8-bit processors: pixels, or signs, are taken from the user's array as they are.

With weights of ±1 a sum is 2 S - T, where S adds the pixels under positive weights and T all of the window. So a weight
is a bit that says whether a pixel is added, in 16 bits; nothing is multiplied. The bytes of a window are brought
together first, with the padding around the image.
"""

from __future__ import annotations

import numpy as np

from bnnc.ir.location import UNKNOWN, Location
from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I8,
    I16,
    I64,
    Buffer,
    Convert,
    Expression,
    Function,
    Variable,
    binary,
    compare,
    constant,
    constant_buffer,
    load,
)
from bnnc.loops.kernels.borders import no_borders
from bnnc.loops.kernels.outputs import SPARE, BitSteps, Counter, Outputs, PackedOutputs, SumOutputs
from bnnc.loops.kernels.tiling import Window
from bnnc.loops.layout import Elements, Packed

ROW = 16
"""Weight bits that are read at once."""


def bytes_fit(weights: np.ndarray, groups: int, pad_value: int, low: int, high: int) -> bool:
    """Whether a layer can be done this way: ±1 weights, sums of 16 bits, padding like an input from low to high."""
    return (
        groups == 1
        and bool((np.abs(weights) == 1).all())
        and int(np.prod(weights.shape[1:])) * max(-low, high, abs(pad_value)) < (1 << 15) - 1
        and (low < 0 or pad_value >= 0)
    )


def bytes_scratch(weights: np.ndarray) -> int:
    """Bytes of the working memory: one window, and one word of outputs."""
    return int(np.prod(weights.shape[1:])) + SPARE


def byte_conv(
    name: str,
    shape: tuple[int, int, int],
    strides: tuple[int, int],
    weights: np.ndarray,
    window: Window,
    target: Packed | Elements,
    steps: BitSteps | None,
    *,
    signed: bool,
    pad_value: int = 0,
    loc: Location = UNKNOWN,
) -> Function:
    """NAME(x, scratch, y, row): one row of a ±1 convolution [O, C, KH, KW]; its sums, or with `steps` bits (see
    `bytes_fit`).

    shape: C, H, W of the image. x: i8, the rows of the image that the windows of this row reach; `signed` or not; steps
    along C and W are `strides`. target: the layout of a row. scratch: i8 [bytes_scratch].
    """
    outputs = len(weights)
    b = Builder(name, f"{outputs} outputs, window {window.kernel} on {shape[0]} channels of bytes", loc)
    kernel = _Bytes(b, name, shape, strides, weights, window, target, signed, pad_value, loc)
    ending: Outputs
    if steps is None:
        assert isinstance(target, Elements)
        ending = SumOutputs(kernel, target, 1, np.zeros((1, outputs), np.int64))
    else:
        assert isinstance(target, Packed)
        limits = np.clip(steps.limits(outputs), -(1 << 15), (1 << 15) - 1)
        limits[steps.constant(outputs)] = (1 << 15) - 1
        ending = PackedOutputs(kernel, target, "ge", limits.astype(np.int16), steps.turned(outputs))
    with b.loop(window.output(shape[1], shape[2])[1], "ox") as x:
        kernel.bring(x)
        ending.pixel(constant(0, I64), x)
    return b.function()


class _Bytes:
    """Brings the bytes of a window together."""

    unit = I8

    def __init__(
        self,
        b: Builder,
        name: str,
        shape: tuple[int, int, int],
        strides: tuple[int, int],
        weights: np.ndarray,
        window: Window,
        target: Packed | Elements,
        signed: bool,
        pad_value: int,
        loc: Location,
    ) -> None:
        self.b, self.name, self.shape, self.strides, self.window = b, name, shape, strides, window
        self.signed, self.pad_value, self.loc = signed, pad_value, loc
        self.outputs, self.units = len(weights), int(np.prod(weights.shape[1:]))
        self.borders = no_borders(*window.output(shape[1], shape[2]))
        self.x = b.parameter("x", I8, 0)
        self.scratch = b.parameter("scratch", I8, self.units + SPARE, access="both")
        self.y = b.parameter("y", target.element, target.length, access="write")
        self.row = b.scalar("row", I64)
        self.total = b.variable("total", constant(0, I16))
        bits = (weights > 0).transpose(0, 2, 3, 1).reshape(self.outputs, -1).astype(np.uint8)
        self.rows = -(-self.units // ROW)  # of an output
        bits = np.pad(bits, ((0, 0), (0, self.rows * ROW - self.units)))
        packed = np.packbits(bits, axis=1, bitorder="little").view("<u2")
        self.weights = constant_buffer(f"{name}_weights", packed, "[output][tap][channel] weight bits", 2)

    @property
    def arguments(self) -> list[Buffer | Expression]:
        """What a counter is called with."""
        return [self.scratch, self.total]

    def counter(self, comment: str) -> Counter:
        """A function that adds a window's bytes with the signs of an output's weights."""
        return _Adds(self, comment)

    def bring(self, x: Expression) -> None:
        """One window, with the padding, and the sum of its bytes."""
        b, window, (channels, height, width) = self.b, self.window, self.shape
        top, left, bottom, right = window.pads
        b.assign(self.total, constant(0, I16))
        down = b.let(self.row * window.strides[0] - top, "down")
        first = b.let(binary("max", down, constant(0, I64)), "first") if top else down  # the first row of x
        along = b.let(x * window.strides[1] - left, "along")
        with b.loop(window.kernel[0], "ky") as ky, b.loop(window.kernel[1], "kx") as kx:
            row = b.let(down + ky * window.dilations[0], "row")
            column = b.let(along + kx * window.dilations[1], "column")
            place = b.let((ky * window.kernel[1] + kx) * channels, "place")
            start = b.let((row - first) * (channels * width) + column * self.strides[1], "start")
            with b.loop(channels, "c") as c:
                byte = b.variable("byte", constant(self.pad_value, I8))
                inside: Expression | None = None
                for near, far, number, size in ((top, bottom, row, height), (left, right, column, width)):
                    tests = [compare("ge", number, 0)] if near else []
                    tests += [compare("lt", number, size)] if far else []
                    for test in tests:
                        inside = test if inside is None else inside & test
                taken = load(self.x, start + c * self.strides[0])
                if inside is None:
                    b.assign(byte, taken)
                else:
                    with b.when(inside):
                        b.assign(byte, taken)
                b.store(self.scratch, place + c, byte)
                b.assign(self.total, self.total + Convert("sext" if self.signed else "zext", byte, I16))


class _Adds:
    """Writes the function that adds."""

    def __init__(self, kernel: _Bytes, comment: str) -> None:
        self.kernel = kernel
        self.b = b = Builder(f"{kernel.name}_outputs", comment, kernel.loc)
        self.bytes = b.parameter("bytes", I8, kernel.units)
        self.total = b.scalar("total", I16)

    def value(self, output: Expression) -> Expression:
        """The i16 sum of an output."""
        b, kernel = self.b, self.kernel
        start = b.let(output * kernel.rows, "start")
        added = b.variable("added", constant(0, I16))
        whole, rest = divmod(kernel.units, ROW)
        with b.loop(whole, "row") as row:
            self._row(start + row, b.let(row * ROW, "at"), ROW, added)
        if rest:
            self._row(start + whole, constant(whole * ROW, I64), rest, added)
        return b.let(added + added - self.total, "sum")

    def _row(self, where: Expression, at_: Expression, count: int, added: Variable) -> None:
        b = self.b
        bits = b.let(load(self.kernel.weights, where), "bits")
        for n in range(count):
            byte = Convert("sext" if self.kernel.signed else "zext", load(self.bytes, at_ + n), I16)
            with b.when(compare("ne", bits & (1 << n), 0)):
                b.assign(added, added + byte)


__all__ = ["byte_conv", "bytes_fit", "bytes_scratch"]
