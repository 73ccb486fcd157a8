"""First layers on 8-bit pixels for small processors: sums over the channels are looked up, two pixels a word.

A sum of ±x is 2 A - total, with A the sum over the taps whose weight is +1, so only A is made. For every pixel of a row
the sums over all subsets of its channels (7 for red, green, blue) are kept, those of two neighbouring outputs in one
word of two 16-bit lanes; a tap of a filter then is one load and one addition for two outputs. `sum >= t` becomes
A - q >= h with a number q of the filter and a number h of the pixel; lanes start at 2^15 - q, so their highest bit is
the answer.
"""

from __future__ import annotations

import numpy as np

from bnnc.ir.location import UNKNOWN, Location
from bnnc.loops.builder import Builder, at
from bnnc.loops.ir import (
    I8,
    I16,
    I32,
    I64,
    Binary,
    Buffer,
    Convert,
    Expression,
    Function,
    binary,
    compare,
    constant,
    constant_buffer,
    load,
    select,
)
from bnnc.loops.kernels.tiling import Window
from bnnc.loops.layout import WORD, Packed

MOST_CHANNELS = 3
FEW_PAIRS = 4
HALF = 16
TOP = 0x80008000


def pixels_fit(shape: tuple[int, ...], weights: np.ndarray, window: Window, groups: int, thresholds: int) -> bool:
    """Whether a layer can be done this way: ±1 weights, at most three channels of 0..255, sums of 15 bits."""
    return (
        len(shape) == 3
        and shape[0] <= MOST_CHANNELS
        and groups == 1
        and thresholds == 1
        and window.dilations[0] == 1
        and bool((np.abs(weights) == 1).all())
        and 255 * int(np.prod(weights.shape[1:])) * 3 // 2 + 8 < 1 << 15
    )


class _Sizes:
    """Words and pixels of the working memory."""

    def __init__(self, shape: tuple[int, ...], weights: np.ndarray, window: Window, most_pairs: int) -> None:
        self.channels, self.height, self.width = shape
        self.outputs = len(weights)
        self.rows, self.columns = window.output(self.height, self.width)
        pairs = -(-self.columns // 2)
        self.blocks = -(-pairs // most_pairs)
        self.pairs = -(-pairs // self.blocks)  # of one block
        self.subsets = 1 << self.channels
        reach = (
            (2 * self.blocks * self.pairs - 1) * window.strides[1] + (window.kernel[1] - 1) * window.dilations[1] + 1
        )
        # Columns in which something can be, and those that the second lane of the last word looks at.
        self.line = max(reach, window.pads[1] + self.width) + window.strides[1]
        self.slot = self.subsets * self.line
        self.halves = window.kernel[0] * self.slot  # where h begins: two words a pair
        self.words = self.halves + 2 * self.blocks * self.pairs  # where result words begin
        self.length = self.words + 2 * self.pairs


def pixels_scratch(shape: tuple[int, ...], weights: np.ndarray, window: Window, most_pairs: int) -> int:
    """Elements (i32) of the working memory."""
    return _Sizes(shape, weights, window, most_pairs).length


def pixel_conv(
    name: str,
    shape: tuple[int, ...],
    steps: tuple[int, int, int],
    weights: np.ndarray,
    window: Window,
    target: Packed,
    thresholds: np.ndarray,
    values: np.ndarray,
    *,
    most_pairs: int,
    loc: Location = UNKNOWN,
) -> Function:
    """NAME(x, scratch, y): bits of a ±1 convolution [O, C, KH, KW] of pixels and the step behind it (see pixels_fit).

    shape: C, H, W of the pixels; steps: how far channels, rows and columns are apart in the user's array x (i8, taken
    unsigned). thresholds int [O or 1, 1], values int [O or 1, 2] of -1 and 1. scratch: i32 [pixels_scratch]. Outside
    the image x is 0. most_pairs: so many pairs of outputs are summed at a time, a register each.
    """
    sizes = _Sizes(shape, weights, window, most_pairs)
    comment = f"{sizes.outputs} outputs, window {window.kernel} on {sizes.channels} channels of pixels"
    b = Builder(name, comment, loc)
    _Pixels(b, name, sizes, steps, weights, window, target, thresholds, values, loc).write()
    return b.function()


class _Pixels:
    """Writes the function."""

    def __init__(
        self,
        b: Builder,
        name: str,
        sizes: _Sizes,
        steps: tuple[int, int, int],
        weights: np.ndarray,
        window: Window,
        target: Packed,
        thresholds: np.ndarray,
        values: np.ndarray,
        loc: Location,
    ) -> None:
        self.b, self.sizes, self.steps, self.window, self.target = b, sizes, steps, window, target
        outputs = sizes.outputs
        self.x = b.parameter("x", I8, sizes.channels * sizes.height * sizes.width)
        self.words = b.parameter("scratch", I32, sizes.length, access="both")
        self.y = b.parameter("y", I32, target.length, access="write")
        subset = ((weights > 0) * (1 << np.arange(sizes.channels))[:, None, None]).sum(1)  # [O][KH][KW]
        taps = subset * sizes.line + np.arange(window.kernel[1]) * window.dilations[1]
        self.taps = constant_buffer(
            f"{name}_weights", taps.astype(np.int16), "[output][kernel row][tap] where its sum lies", 2
        )
        most = 255 * int(np.prod(weights.shape[1:]))
        limits = np.clip(np.broadcast_to(thresholds[:, 0], outputs).astype(np.int64), -most - 2, most + 2)
        start = (0x8000 - (limits >> 1)) * 0x10001
        self.start = constant_buffer(f"{name}_threshold", start.astype(np.uint32), "[output] where both lanes start", 4)
        self.odd = constant_buffer(
            f"{name}_threshold_odd", (limits & 1).astype(np.uint8), "lowest bits of thresholds", 1
        )
        table = np.broadcast_to(values, (outputs, 2))
        lanes = -(-outputs // WORD) * WORD
        flips, keep = np.zeros(lanes, np.uint8), np.zeros(lanes, np.uint8)
        flips[:outputs] = table[:, 0] > 0
        keep[:outputs] = table[:, 0] != table[:, 1]
        self.flips = _bits(f"{name}_flip", flips, "outputs whose bit is turned round") if flips.any() else None
        plain = bool(keep.all())
        self.keep = None if plain else _bits(f"{name}_real", keep, "outputs that can change")
        self.name, self.loc = name, loc
        self.sums = self._sums()

    def write(self) -> None:
        """The loops over rows, blocks of pixels, and outputs."""
        b, sizes, window = self.b, self.sizes, self.window
        lines, stride = window.kernel[0], window.strides[0]
        with b.loop(sizes.halves, "k") as k:
            b.store(self.words, k, 0)
        oldest = b.variable("oldest", constant(0, I64))
        fresh = min(stride, lines)
        with b.loop(sizes.rows, "oy", unroll_one=False) as y:
            top = b.let(y * stride - window.pads[0], "top")
            with b.when(compare("eq", y, 0)), b.loop(lines - fresh, "line", unroll_one=False) as line:
                self._row(top + line, line)
            with b.loop(fresh, "line") as line:
                self._row(top + (lines - fresh) + line, self._slot(oldest, line + (lines - fresh)))
            self._halves(oldest)
            with b.loop(sizes.blocks, "block") as block:
                self._block(y, block, oldest)
            if lines > 1:
                b.assign(oldest, self._slot(oldest, constant(fresh, I64)))

    def _slot(self, oldest: Expression, line: Expression) -> Expression:
        """(oldest + line) modulo the kernel's rows."""
        return self._slot_in(self.b, oldest, line)

    def _slot_in(self, b: Builder, oldest: Expression, line: Expression) -> Expression:
        lines = self.window.kernel[0]
        if lines == 1:
            return constant(0, I64)
        place = b.let(oldest + line, "place")
        return b.let(select(compare("lt", place, lines), place, place - lines), "slot")

    # -------------------------------------------------------------------------------------------------- one row of x
    def _row(self, line: Expression, slot: Expression) -> None:
        """The sums over all subsets of channels of one row of the image, and of its neighbour in the upper lane."""
        b, sizes, window = self.b, self.sizes, self.window
        line, left = b.let(line, "row"), window.pads[1]
        base = b.let(slot * sizes.slot, "base")
        with b.loop(sizes.slot - sizes.line, "k") as k:
            b.store(self.words, base + sizes.line + k, 0)
        inside = binary("and", _flag(compare("ge", line, 0)), _flag(compare("lt", line, sizes.height)))
        with b.when(compare("ne", inside, 0)):
            with b.loop(sizes.width, "px", unroll_one=False) as px:
                pixel = b.let(line * self.steps[1] + px * self.steps[2], "pixel")
                sums: list[Expression] = [constant(0, I32)]
                place = b.let(base + px + left, "place")
                for subset in range(1, sizes.subsets):
                    channel = subset.bit_length() - 1
                    if subset == 1 << channel:
                        value = b.let(Convert("zext", load(self.x, pixel + channel * self.steps[0]), I32), "value")
                        sums.append(value)
                    else:
                        sums.append(b.let(sums[1 << channel] + sums[subset - (1 << channel)], "sum"))
                    b.store(self.words, place + subset * sizes.line, sums[subset])
            with b.loop(sizes.subsets - 1, "subset", start=0) as subset_:
                first = b.let(base + (subset_ + 1) * sizes.line, "first")
                with b.loop(sizes.line - window.strides[1], "px") as px:
                    here = b.let(first + px, "here")
                    upper = Binary("shl", load(self.words, here + window.strides[1]), constant(16, I32))
                    b.store(self.words, here, load(self.words, here) | upper)

    def _halves(self, oldest: Expression) -> None:
        """h of every pair: half of the sum over all taps, rounded up; and the same for outputs with odd thresholds."""
        b, sizes, window = self.b, self.sizes, self.window
        with b.loop(sizes.blocks * sizes.pairs, "pair", unroll_one=False) as pair:
            total = b.variable("total", constant(0x00010001, I32))
            with b.loop(window.kernel[0], "ky") as ky:
                slot = self._slot(oldest, ky)
                last = (sizes.subsets - 1) * sizes.line
                first = b.let(slot * sizes.slot + pair * (2 * window.strides[1]) + last, "first")
                for kx in range(window.kernel[1]):
                    b.assign(total, total + load(self.words, first + kx * window.dilations[1]))
            lanes = constant(0x7FFF7FFF, I32)
            even = Binary("lshr", total, constant(1, I32)) & lanes
            odd = Binary("lshr", total + 0x00010001, constant(1, I32)) & lanes
            b.store(self.words, pair + sizes.halves, even)
            b.store(self.words, pair + (sizes.halves + sizes.blocks * sizes.pairs), odd)

    # ------------------------------------------------------------------------------------------------ all its outputs
    def _block(self, y: Expression, block: Expression, oldest: Expression) -> None:
        """All outputs of one run of pixels: sums, comparisons, and a word of bits for each pixel and 32 outputs."""
        b, sizes = self.b, self.sizes
        left = b.let(block * (2 * sizes.pairs * self.window.strides[1]), "left")
        halves = b.let(block * sizes.pairs + sizes.halves, "halves")
        size = int(np.prod(self.window.kernel))
        for group in range(-(-sizes.outputs // WORD)):
            with b.loop(2 * sizes.pairs, "k") as k:
                b.store(self.words, k + sizes.words, 0)
            ends = [min(sizes.outputs, group * WORD + n) for n in (0, HALF, WORD)]
            for half in (0, 1):
                with b.loop(ends[half + 1], "o", start=ends[half], unroll_one=False) as o:
                    parity = b.let(Convert("zext", load(self.odd, o), I64), "parity")
                    place = b.let(parity * (sizes.blocks * sizes.pairs) + halves, "place")
                    answers = constant(sizes.words + half * sizes.pairs, I64)
                    taps = at(self.taps, o * size)
                    b.call(self.sums, self.words, taps, load(self.start, o), oldest, left, place, answers)
            self._write(y, block, group, [ends[1] - ends[0], ends[2] - ends[1]])

    def _sums(self) -> Function:
        """The function that sums one output for a run of pixels, and keeps its answers: it has registers of its own.

        The highest bits of both lanes become the highest of an answer word, whose others move down: sixteen times.
        """
        sizes, window = self.sizes, self.window
        height, width = window.kernel
        b = Builder(f"{self.name}_sums", "one output of a run of pixels", self.loc)
        words = b.parameter("scratch", I32, sizes.length, access="both")
        taps = b.parameter("taps", I16, height * width)
        start = b.scalar("start", I32)
        oldest, left, halves, answers = (b.scalar(name, I64) for name in ("oldest", "left", "halves", "answers"))
        sums = [b.variable(f"a{j}", start) for j in range(sizes.pairs)]
        with b.loop(height, "ky") as ky:
            base = b.let(self._slot_in(b, oldest, ky) * sizes.slot + left, "base")
            # With many sums not unrolled: compilers would join those of several taps, and run out of registers.
            together = width if sizes.pairs <= FEW_PAIRS else 1
            with b.loop(width // together, "kx") as kx:
                for more in range(together):
                    tap = b.let(Convert("zext", load(taps, ky * width + kx + more), I64), "tap")
                    place = b.let(base + tap, "place")
                    for j, total in enumerate(sums):
                        b.assign(total, total + load(words, place + j * 2 * window.strides[1]))
        for j, total in enumerate(sums):
            answer = (total - load(words, halves + j)) & TOP
            place = b.let(answers + j, "place")
            b.store(words, place, Binary("lshr", load(words, place), constant(1, I32)) | answer)
        return b.function()

    def _write(self, y: Expression, block: Expression, group: int, counts: list[int]) -> None:
        """The answers, sixteen a lane, as words of each pixel: to where the next layer reads them."""
        b, sizes, target = self.b, self.sizes, self.target
        column = b.let(block * (2 * sizes.pairs), "column")
        count: Expression | int = sizes.pairs
        total = sizes.columns
        if 2 * sizes.pairs * sizes.blocks > total:
            rest = constant((total + 1) // 2, I64) - block * sizes.pairs
            count = b.let(binary("min", rest, constant(sizes.pairs, I64)), "count")
        with b.loop(count, "k", unroll_one=False) as k:
            low, high = (
                b.let(self._lanes(load(self.words, k + (sizes.words + half * sizes.pairs)), counts[half]), name)
                for half, name in ((0, "low"), (1, "high"))
            )
            pixel = b.let(column + k * 2, "pixel")
            place = b.let(y * target.row + pixel * target.pixel + (target.origin + group), "place")
            first = (low & 0xFFFF) | Binary("shl", high, constant(16, I32))
            second = Binary("lshr", low, constant(16, I32)) | (high & -0x10000)
            b.store(self.y, place, self._turned(first, group))
            if total % 2:
                with b.when(compare("lt", pixel + 1, total)):
                    b.store(self.y, place + target.pixel, self._turned(second, group))
            else:
                b.store(self.y, place + target.pixel, self._turned(second, group))

    @staticmethod
    def _lanes(word: Expression, count: int) -> Expression:
        """Both lanes moved down to their lowest bits, of which there are `count`."""
        if count == HALF:
            return word
        return Binary("lshr", word, constant(HALF - max(count, 1), I32)) & (0x10001 * ((1 << count) - 1))

    def _turned(self, word: Expression, group: int) -> Expression:
        if self.keep is not None:
            word = word & load(self.keep, group)
        if self.flips is not None:
            word = word ^ load(self.flips, group)
        return word


def _flag(condition: Expression) -> Expression:
    return Convert("zext", condition, I32)


def _bits(name: str, bits: np.ndarray, comment: str) -> Buffer:
    return constant_buffer(name, np.packbits(bits, bitorder="little").view("<u4"), comment, 4)


__all__ = ["pixel_conv", "pixels_fit", "pixels_scratch"]
