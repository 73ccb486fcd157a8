"""First layers on 8-bit pixels for small processors: sums over neighbours are looked up, two outputs a word.

The weights of a tap are ±1 over a few inputs: the channels of a pixel, or three neighbouring pixels of one channel. For
every pixel of a row the sums with all signs are kept, but for the sign of the first, which is that of the whole; those
of two outputs, half a row apart, are the two 16-bit halves of one word. So a tap of a filter is one load and one
addition (or subtraction) for two outputs. Sums start at 2^15 - t, so the highest bits of both halves are the answers.
"""

from __future__ import annotations

from dataclasses import dataclass

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
)
from bnnc.loops.kernels.row_ends import RowEnds
from bnnc.loops.kernels.rows import Part, Pooling, RowKernel
from bnnc.loops.kernels.tiling import Window
from bnnc.loops.layout import WORD, Packed

MOST_INPUTS = 3
"""Signs of so many inputs are looked up together."""
HALF = 16
TOP = 0x80008000
UNROLLED = 4


def pixels_fit(shape: tuple[int, ...], weights: np.ndarray, window: Window, groups: int, thresholds: int) -> bool:
    """Whether a layer can be done this way: ±1 weights, at most three channels of 0..255, sums of 15 bits."""
    return (
        len(shape) == 3
        and shape[0] <= MOST_INPUTS
        and groups == 1
        and thresholds == 1
        and window.dilations[0] == 1
        and bool((np.abs(weights) == 1).all())
        and 255 * int(np.prod(weights.shape[1:])) + 2 < 1 << 15
    )


@dataclass(frozen=True)
class _Kind:
    """Tables of the sums over `taps` neighbouring taps: [signs][phase of the column][place] from `first` on."""

    taps: int
    signs: int
    phases: tuple[int, ...]
    places: int
    first: int

    @property
    def size(self) -> int:
        return self.signs * len(self.phases) * self.places


class _Layout:
    """Where things lie in the working memory, all in words: `lines` slots of tables, raw pixels, answers."""

    def __init__(self, shape: tuple[int, ...], weights: np.ndarray, window: Window, most_words: int) -> None:
        self.channels, self.height, self.width = shape
        self.outputs = len(weights)
        self.rows, self.columns = window.output(self.height, self.width)
        self.lines, kernel = window.kernel
        self.step, dilation = window.strides[1], window.dilations[1]
        halves = -(-self.columns // 2)
        self.blocks = -(-halves // most_words)
        self.words = -(-halves // self.blocks)  # of one block: the outputs of as many columns, and half a row on
        self.half = self.blocks * self.words  # columns between the two halves of a word
        together = max(1, MOST_INPUTS // self.channels)
        # Taps of a kernel row that are looked up together: the first and how many.
        self.chunks = [(start, min(together, kernel - start)) for start in range(0, kernel, together)]
        self.kinds: dict[int, _Kind] = {}
        self.slot = 0
        for taps in sorted({taps for _, taps in self.chunks}):
            starts = [start * dilation for start, own in self.chunks if own == taps]
            phases = tuple(sorted({start % self.step for start in starts}))
            places = self.half + max(start // self.step for start in starts)
            kind = _Kind(taps, 1 << (taps * self.channels - 1), phases, places, self.slot)
            self.kinds[taps] = kind
            self.slot += kind.size
        self.slot = -(-self.slot // UNROLLED) * UNROLLED
        self.raw_columns = (self.half - 1) * self.step + (kernel - 1) * dilation + 1
        self.raw = self.lines * self.slot
        self.answers = self.raw + self.channels * self.raw_columns
        self.length = self.answers + 2 * self.words

    def place(self, start: int, taps: int, dilation: int, signs: int) -> int:
        """Where in a slot the sums for a chunk lie."""
        kind = self.kinds[taps]
        phase = kind.phases.index(start * dilation % self.step)
        return kind.first + (signs * len(kind.phases) + phase) * kind.places + start * dilation // self.step


class PixelConv:
    """Bits of a ±1 convolution [O, C, KH, KW] of pixels, the step behind it, and perhaps a pool (see pixels_fit).

    shape: C, H, W of the pixels; steps: how far channels and columns are apart in a row of the user's (i8, taken
    unsigned). thresholds int [O or 1, 1], values int [O or 1, 2] of -1 and 1. Outside the image x is 0. most_words: so
    many words of sums are made at a time, a register each. Bool `smallest` [O] marks channels of which the pool takes
    the minimum. `target` is the layout of the pool's result where there is one.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        steps: tuple[int, int],
        weights: np.ndarray,
        window: Window,
        target: Packed,
        thresholds: np.ndarray,
        values: np.ndarray,
        most_words: int,
        pooling: Pooling | None = None,
        smallest: np.ndarray | None = None,
        loc: Location = UNKNOWN,
    ) -> None:
        self.pooling = pooling
        self.name, self.steps, self.window, self.target, self.loc = name, steps, window, target, loc
        self.layout = layout = _Layout(shape, weights, window, most_words)
        outputs = layout.outputs
        self.comment = f"{outputs} outputs, window {window.kernel} on {layout.channels} channels of pixels"
        taps, negative = self._taps(weights)
        self.taps = constant_buffer(f"{name}_weights", taps, "[output] taps to subtract, then taps to add", 2)
        self.negative = constant_buffer(f"{name}_negative", negative, "[output] how many taps are subtracted", 1)
        # No sum of an output is beyond these, so neither need its limit be.
        most = 255 * (weights > 0).sum((1, 2, 3)).astype(np.int64)
        least = -255 * (weights < 0).sum((1, 2, 3)).astype(np.int64)
        limits = np.clip(np.broadcast_to(thresholds[:, 0], outputs).astype(np.int64), least, most + 1)
        start = (limits - 0x8000) * 0x10001 & 0xFFFFFFFF
        comment = "[output] where both sums start, turned round"
        self.start = constant_buffer(f"{name}_threshold", start.astype(np.uint32), comment, 4)
        self.ends = RowEnds(name, values, outputs, target, pooling, smallest)

    def _taps(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint16 [O, taps], where sums lie: those to be subtracted first; and how many these are, uint8 [O]."""
        layout, found = self.layout, []
        for own in weights:
            added: list[int] = []
            taken: list[int] = []
            for ky in range(layout.lines):
                for start, taps in layout.chunks:
                    signs = (own[:, ky, start : start + taps].T > 0).reshape(-1)  # the tap's channels, tap by tap
                    code = int(((signs == signs[0])[1:] * (1 << np.arange(signs.size - 1))).sum())
                    place = ky * layout.slot + layout.place(start, taps, self.window.dilations[1], code)
                    (added if signs[0] else taken).append(place)
            found.append((added, taken))
        taps_ = np.array([taken + added for added, taken in found], np.uint16)
        return taps_, np.array([len(taken) for _, taken in found], np.uint8)

    # ----------------------------------------------------------------------------------------------------- the layer
    def kernel(self) -> RowKernel:
        """Its functions: one takes a row of the image in, one makes a row of outputs."""
        layout, window = self.layout, self.window
        slot = Part(0, 0, layout.slot)
        feeds = (slot, Part(0, layout.raw, 0))
        blank = self._blank() if window.pads[0] or window.pads[2] else None
        numbers = () if self.pooling is None else ("part",)
        target = self.target.halo.left * self.target.pixel
        return RowKernel(
            self.line_function(), feeds, blank, (slot,), self.row_function(), ((I32, layout.length),), layout.lines,
            numbers, 0, target, kept=layout.lines - min(window.strides[0], layout.lines),
        )  # fmt: skip

    # ----------------------------------------------------------------------------------------- one row of the image
    def _blank(self) -> Function:
        """NAME_blank(tables): the tables of a row outside of the image."""
        b = Builder(f"{self.name}_blank", "a row outside of the image", self.loc)
        tables = b.parameter("tables", I32, self.layout.slot, access="write")
        with b.loop(self.layout.slot, "k") as k:
            b.store(tables, k, 0)
        return b.function()

    def line_function(self) -> Function:
        """NAME_line(x, tables, raw): the tables of the row of pixels x."""
        layout, window = self.layout, self.window
        b = Builder(f"{self.name}_line", "the sums over neighbours, with all signs, of one row of pixels", self.loc)
        x = b.parameter("x", I8, 0)
        tables = b.parameter("tables", I32, layout.slot, access="write")
        raws = b.parameter("raw", I32, layout.channels * layout.raw_columns, access="both")
        size, left, apart = layout.raw_columns, window.pads[1], layout.half * layout.step
        with b.loop(layout.channels * size, "k") as k:
            b.store(raws, k, 0)
        low = min(layout.width, size - left)
        high = max(0, apart - left), min(layout.width, size + apart - left)
        for channel in range(layout.channels):
            raw = channel * size + left
            pixel = channel * self.steps[0]
            if low > 0:
                with b.loop(low, "px") as px:
                    value = Convert("zext", load(x, px * self.steps[1] + pixel), I32)
                    b.store(raws, px + raw, value)
            if high[0] < high[1]:
                with b.loop(high[1], "px", start=high[0]) as px:
                    value = Convert("zext", load(x, px * self.steps[1] + pixel), I32)
                    place = b.let(px + (raw - apart), "place")
                    b.store(raws, place, load(raws, place) | Binary("shl", value, constant(HALF, I32)))
        for kind in layout.kinds.values():
            for number, phase in enumerate(kind.phases):
                self._kind(b, raws, tables, kind, number, phase)
        return b.function()

    def _kind(self, b: Builder, raws: Buffer, tables: Buffer, kind: _Kind, number: int, phase: int) -> None:
        """The tables of one kind and phase. Nothing reads places whose taps would lie behind the raw pixels."""
        layout, dilation = self.layout, self.window.dilations[1]
        reach = (kind.taps - 1) * dilation
        count = min(kind.places, (layout.raw_columns - 1 - phase - reach) // layout.step + 1)
        with b.loop(count, "k") as k:
            column = b.let(k * layout.step + phase, "column")
            inputs = [
                b.let(load(raws, column + (tap * dilation + channel * layout.raw_columns)), "v")
                for tap in range(kind.taps)
                for channel in range(layout.channels)
            ]
            sums = [inputs[0]]
            for value in inputs[1:]:
                sums = [b.let(total - value, "s") for total in sums] + [b.let(total + value, "s") for total in sums]
            for signs, total in enumerate(sums):
                place = kind.first + (signs * len(kind.phases) + number) * kind.places
                b.store(tables, k + place, total)

    # ---------------------------------------------------------------------------------------------- a row of outputs
    def row_function(self) -> Function:
        """NAME(scratch, y, [row in the pool]): one row of outputs of the tables in all slots; then the slots that are
        needed again move to the front."""
        layout = self.layout
        b = Builder(self.name, f"a row of {self.comment}", self.loc)
        words = b.parameter("scratch", I32, layout.length, access="both")
        y = self.ends.row(b)
        self.ends.begin(b, y)
        sums = self._sums()
        each = len(self.layout.chunks) * layout.lines
        with b.loop(layout.blocks, "block") as block:
            left = b.let(block * layout.words, "left")
            for group in range(-(-layout.outputs // WORD)):
                with b.loop(2 * layout.words, "k") as k:
                    b.store(words, k + layout.answers, 0)
                ends = [min(layout.outputs, group * WORD + n) for n in (0, HALF, WORD)]
                for part in (0, 1):
                    if ends[part] == ends[part + 1]:
                        continue
                    with b.loop(ends[part + 1], "o", start=ends[part], unroll_one=False) as o:
                        negative = Convert("zext", load(self.negative, o), I64)
                        answers = at(words, layout.answers + part * layout.words)
                        taps, start = at(self.taps, o * each), load(self.start, o)
                        b.call(sums, at(words, left), taps, answers, negative, start)
                self._write(b, words, y, left, group, (ends[1] - ends[0], ends[2] - ends[1]))
        fresh = min(self.window.strides[0], layout.lines)
        if layout.rows > 1 and layout.lines > fresh:
            with b.loop((layout.lines - fresh) * layout.slot, "k", step=UNROLLED) as k:
                for more in range(UNROLLED):
                    b.store(words, k + more, load(words, k + (more + fresh * layout.slot)))
        return b.function()

    def _sums(self) -> Function:
        """NAME_sums(tables, taps, answers, negative, start): the sums of one output for a block of words.

        The highest bits of both halves become the highest of an answer word, whose others move down: sixteen times.
        """
        layout = self.layout
        each = len(layout.chunks) * layout.lines
        b = Builder(f"{self.name}_sums", "one output of a block of pixels", self.loc)
        tables = b.parameter("tables", I32, layout.raw - layout.half + layout.words)
        taps = b.parameter("taps", I16, each)
        answers = b.parameter("answers", I32, layout.words, access="both")
        negative, start = b.scalar("negative", I64), b.scalar("start", I32)
        sums = [b.variable(f"a{j}", start) for j in range(layout.words)]
        for first, last in ((constant(0, I64), negative), (negative, constant(each, I64))):
            with b.loop(last, "k", start=first, unroll_one=False) as k:
                place = b.let(Convert("zext", load(taps, k), I64), "place")
                for j, total in enumerate(sums):
                    b.assign(total, total + load(tables, place + j))
            if first is not negative:
                for total in sums:
                    b.assign(total, constant(0, I32) - total)
        for j, total in enumerate(sums):
            b.store(answers, j, Binary("lshr", load(answers, j), constant(1, I32)) | (total & TOP))
        return b.function()

    def _write(
        self, b: Builder, words: Buffer, y: Buffer, left: Expression, group: int, counts: tuple[int, int]
    ) -> None:
        """The answers, sixteen a half, as words of each pixel: to where the next layer reads them."""
        layout = self.layout
        with b.loop(layout.words, "k", unroll_one=False) as k:
            low, high = (
                b.let(_lowest(load(words, k + (layout.answers + part * layout.words)), counts[part]), name)
                for part, name in ((0, "low"), (1, "high"))
            )
            column = b.let(left + k, "column")
            first = (low & 0xFFFF) | Binary("shl", high, constant(HALF, I32))
            second = Binary("lshr", low, constant(HALF, I32)) | (high & -0x10000)
            # Columns that a pool leaves out, as windows do not reach them, are dropped like those behind the last.
            columns = layout.columns
            if self.pooling is not None:
                columns = min(columns, self.target.width * self.pooling.columns)
            for begin, word in ((0, first), (layout.half, second)):
                if begin + layout.half <= columns:
                    self._store(b, y, column + begin, group, word)
                elif begin < columns:
                    with b.when(compare("lt", column, columns - begin)):
                        self._store(b, y, column + begin, group, word)

    def _store(self, b: Builder, y: Buffer, column: Expression, group: int, word: Expression) -> None:
        """The bits of 32 outputs of a pixel, or what they make of the maximum in the pool's window."""
        place = column * self.target.pixel + group
        if self.pooling is not None:
            across = self.pooling.columns
            pixel = column if across == 1 else binary("div", column, constant(across, I64))
            place = b.let(pixel * self.target.pixel + group, "place")
        self.ends.store(b, y, place, word, group)


def _lowest(word: Expression, count: int) -> Expression:
    """Both halves moved down to their lowest bits, of which there are `count`."""
    if count == HALF:
        return word
    return Binary("lshr", word, constant(HALF - max(count, 1), I32)) & (0x10001 * ((1 << count) - 1))


__all__ = ["PixelConv", "pixels_fit"]
