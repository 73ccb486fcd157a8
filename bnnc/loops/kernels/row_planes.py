"""Layers on integers of a few bits, and steps with several thresholds, by adding rows: see row_conv.py for the idea.

An integer is the sum of its bit planes, x = sum of s_j u_j with s_j = ±2^j, so each plane has lists of its own, and its
rows are added to the counters from plane j on. Planes that count down are added while the counters stand complemented.
A sum of w u is 2 c - p for weights of ±1 (c rows of v, p inputs set) and c - p for ternary weights, which have two rows
(row_tables.py). So `sum >= t` is, with C and Q the sums of s_j c_j and s_j p_j,

    C - q >= floor((Q + 1) / 2), one more where t is odd and Q even (t = 2 q + odd), or for ternary weights C - t >= Q.

Of several thresholds the counters start with the first; how far the others are from it is subtracted as planes.
"""

from __future__ import annotations

import numpy as np

from bnnc.ir.location import UNKNOWN, Location
from bnnc.loops.builder import Builder, at
from bnnc.loops.ir import (
    I16,
    I32,
    I64,
    Binary,
    Buffer,
    Convert,
    Expression,
    Function,
    Promise,
    Variable,
    constant,
    constant_buffer,
    load,
)
from bnnc.loops.kernels.adders import bit_mask, borrow_on
from bnnc.loops.kernels.borders import corrections
from bnnc.loops.kernels.forms import bits_of
from bnnc.loops.kernels.row_adder import LEVELS, add_rows
from bnnc.loops.kernels.row_lists import line_of, list_bits, one_window
from bnnc.loops.kernels.row_ring import output_rows, ring_slot
from bnnc.loops.kernels.row_tables import planes_of, rows_of, words_of
from bnnc.loops.kernels.tiling import Window, input_origin
from bnnc.loops.layout import WORD, Packed
from bnnc.loops.machine import Machine

MOST_THRESHOLDS = 7


def planes_fit(image: Packed, weights: np.ndarray, window: Window, groups: int, thresholds: int) -> bool:
    """Whether a layer can be done this way: weights -1, 0, 1, up to 7 thresholds, adjacent taps, offsets of 16 bits."""
    rows = 2 if (weights == 0).any() else 1
    bound = int(np.prod(weights.shape[1:])) * sum(abs(scale) or 2 for scale in image.planes)
    return (
        groups == 1
        and thresholds <= MOST_THRESHOLDS
        and window.dilations == (1, 1)
        and int(np.abs(weights).max(initial=0)) == 1
        and line_of(image, window, image.channels, rows, half=False).bits * 4 * rows < 1 << 16
        and bound < 1 << 20
    )


class PlaneConv:
    """The function of a convolution [O, C, KH, KW] of integers in bit planes, and the step behind it (see planes_fit).

    thresholds int [O or 1, n], ascending; values int [O or 1, n + 1], which the target's planes hold. Outside the image
    x counts as `pad_value`; `halo_value` is what the halo holds (None: what zero bits mean).
    """

    def __init__(
        self,
        name: str,
        image: Packed,
        weights: np.ndarray,
        window: Window,
        target: Packed,
        thresholds: np.ndarray,
        values: np.ndarray,
        pad_value: int,
        halo_value: int | None,
        machine: Machine,
        loc: Location = UNKNOWN,
    ) -> None:
        self.name, self.image, self.window, self.target, self.loc = name, image, window, target, loc
        self.twin = bool((weights == 0).any())
        self.alone = one_window(image, window)
        self.line = line_of(image, window, image.channels, 2 if self.twin else 1, half=False)
        self.listing = list_bits(self.line, machine.finds_bits)
        self.lines = 1 if self.alone else window.kernel[0]
        self.groups = -(-len(weights) // WORD)
        # A bit is -1 or 1: twice its plane, less 1.
        offset = -1 if image.planes == (0,) else 0
        self.scales = tuple(scale or 2 for scale in image.planes)
        self.begin_places = self.lines * len(self.scales) * self.line.room
        self.comment = f"{len(weights)} outputs, window {window.kernel} on {image.channels} channels of integers"
        self._tables(weights, thresholds, pad_value, offset, offset if halo_value is None else halo_value)
        self._steps(len(weights), values)

    # --------------------------------------------------------------------------------------------------------- tables
    def _tables(
        self, weights: np.ndarray, thresholds: np.ndarray, pad_value: int, offset: int, halo_value: int
    ) -> None:
        name, image, window, outputs = self.name, self.image, self.window, len(weights)
        lanes, count = self.groups * WORD, int(np.prod(weights.shape[1:]))
        self.borders, correction = corrections(image, weights, window, pad_value - halo_value)
        wide = weights.astype(np.int64)
        limits = np.broadcast_to(thresholds, (outputs, thresholds.shape[1])).astype(np.int64)
        self.count = limits.shape[1]
        near = limits - offset * wide.sum((1, 2, 3))[:, None] - correction[:, :, None]  # [class][O][n]
        bound = count * sum(abs(scale) for scale in self.scales)
        t = np.zeros((len(near), lanes, self.count), np.int64)
        t[:, :outputs] = np.clip(near, -bound - 1, bound + 1)
        q, odd = (t, 0 * t) if self.twin else (t >> 1, t & 1)
        added = np.zeros(lanes, np.int64)
        added[:outputs] = (weights > 0).sum((1, 2, 3)) + ((weights >= 0).sum((1, 2, 3)) if self.twin else 0)
        up, down = (sum(abs(s) for s in self.scales if s * sign > 0) for sign in (1, -1))
        self.least = down * count + (down * count & 1)  # Q is at least minus this
        self.base = max(self.least if self.twin else self.least // 2, int((q[..., 0] + down * added).max()))
        start, beyond = self.base - q[..., 0], q[..., 1:] - q[..., :1]
        most = max(int((start + up * added).max()), self.base + up * count + 2)
        shift = max(abs(scale).bit_length() - 1 for scale in self.scales)
        self.planes = max(shift + LEVELS + 1, most.bit_length(), int(beyond.max(initial=0)).bit_length() + 1)
        packed = planes_of(start, self.planes)
        comment = "[border class][group][plane] where counters start"
        self.start = constant_buffer(f"{name}_threshold", ~packed if down else packed, comment, 4)
        self.odd = self.beyond = None
        if odd.any():
            comment = "[border class][threshold][group] where half a step is missing"
            self.odd = constant_buffer(f"{name}_threshold_odd", words_of(np.moveaxis(odd, -1, 1)), comment, 4)
        if self.count > 1:
            comment = "[border class][threshold after the first][group][plane] how far it is from the first"
            packed = planes_of(np.moveaxis(beyond, -1, 1), self.planes)
            self.beyond = constant_buffer(f"{name}_threshold_more", packed, comment, 4)
        rows = rows_of(weights)
        self.group_size = rows[0].size
        comment = "[group of 32 outputs][kernel row][kernel column][channel][row] weight bits"
        self.weights = constant_buffer(f"{name}_weights", rows, comment, 4)

    def _steps(self, outputs: int, values: np.ndarray) -> None:
        """Which thresholds turn which bits of the target round."""
        table = np.broadcast_to(values, (outputs, values.shape[1]))
        bits = np.zeros((len(self.target.planes), self.groups * WORD, table.shape[1]), np.uint8)
        bits[:, :outputs] = bits_of(self.target.planes, table)
        flips = np.moveaxis(bits[..., 1:] ^ bits[..., :-1], -1, 1)  # [plane][threshold][lanes]
        what = "[plane][threshold][group] which bits of outputs a threshold turns round"
        self.flips = constant_buffer(f"{self.name}_flip", words_of(flips), what, 4)
        self.first = None
        if bits[..., 0].any():
            what = "[plane][group] bits of outputs below all thresholds"
            self.first = constant_buffer(f"{self.name}_first", words_of(bits[..., 0]), what, 4)

    @property
    def lists_length(self) -> int:
        """Elements (i16) of the lists and of the places where pixels start in them."""
        return self.lines * len(self.scales) * (self.line.room + self.line.places)

    @property
    def planes_length(self) -> int:
        """Elements (i32) of the counters."""
        return self.planes

    # ---------------------------------------------------------------------------------------------------- the layer
    def function(self) -> Function:
        """NAME(x, lists, planes, y): lists i16 [lists_length], planes i32 [planes_length]."""
        b = Builder(self.name, f"{self.comment}, rows added", self.loc)
        x = b.parameter("x", I32, self.image.length)
        lists = b.parameter("lists", I16, self.lists_length, access="both")
        planes = b.parameter("planes", I32, self.planes_length, access="both")
        y = b.parameter("y", I32, self.target.length, access="write")
        height, width = self.window.output(self.image.height, self.image.width)
        stride = 1 if self.alone else self.window.strides[0]
        row = self._row()

        def add(number: Expression, slot: Expression) -> None:
            begin = b.let(number * self.image.row + input_origin(self.image, self.window), "begin")
            for plane in range(len(self.scales)):
                own = b.let(slot * len(self.scales) + plane, "own")
                places = at(lists, own * self.line.places + self.begin_places)
                b.call(self.listing, at(x, begin + plane * self.image.words), at(lists, own * self.line.room), places)

        with output_rows(b, height, self.lines, stride, add) as (oy, oldest), b.loop(width, "ox") as ox:
            border = self._border(b, oy, ox)
            place = at(y, oy * self.target.row + ox * self.target.pixel + self.target.origin)
            b.call(row, lists, planes, place, oldest, ox, border)
        return b.function()

    def _border(self, b: Builder, oy: Expression, ox: Expression) -> Expression:
        """The border class of a pixel."""
        found: Expression = constant(0, I64)
        columns = len(self.borders.columns)
        for axis, place, classes in (
            ("row", oy, self.borders.row_class * columns),
            ("column", ox, self.borders.column_class),
        ):
            if classes.any():
                table = constant_buffer(f"{self.name}_border_{axis}", classes.astype(np.uint8), "border class", 1)
                found = found + Convert("zext", load(table, place), I64)
        return b.let(found, "border")

    # ------------------------------------------------------------------------------------------------------ one pixel
    def _row(self) -> Function:
        """NAME_pixel(lists, planes, y, oldest, column, border class): the outputs of one pixel."""
        b = Builder(f"{self.name}_pixel", f"one pixel of {self.comment}", self.loc)
        lists = b.parameter("lists", I16, self.lists_length)
        planes = b.parameter("planes", I32, self.planes_length, access="both")
        y = b.parameter("y", I32, 0, access="write")
        oldest, x, border = (b.scalar(name, I64) for name in ("oldest", "column", "border"))
        with b.loop(self.groups, "group") as group:
            start = b.let((border * self.groups + group) * self.planes, "start")
            for p in range(self.planes):
                b.store(planes, p, load(self.start, start + p))
            count = b.variable("count", constant(self.least, I32))
            downs = [j for j, scale in enumerate(self.scales) if scale < 0]
            for j in downs:
                self._slices(b, lists, planes, oldest, x, group, j, count)
            if downs:
                for p in range(self.planes):
                    b.store(planes, p, ~load(planes, p))
            for j in range(len(self.scales)):
                if j not in downs:
                    self._slices(b, lists, planes, oldest, x, group, j, count)
            self._answers(b, planes, count, border, group, y)
        return b.function()

    def _slices(
        self,
        b: Builder,
        lists: Buffer,
        planes: Buffer,
        oldest: Expression,
        x: Expression,
        group: Expression,
        plane: int,
        count: Variable,
    ) -> None:
        """Adds what is listed of one plane, and counts it."""
        window, scale = self.window, self.scales[plane]
        shift = abs(scale).bit_length() - 1
        taps = window.kernel[1] * self.image.channels * self.line.width
        back = window.strides[1] * self.image.channels * self.line.width
        with b.loop(self.lines, "line") as line:
            own = b.let(ring_slot(b, oldest, line, self.lines) * len(self.scales) + plane, "own")
            place = b.let(own * self.line.places + x * window.strides[1] + self.begin_places, "from")
            first = b.let(Convert("zext", load(lists, place), I64), "first") if not self.alone else constant(0, I64)
            most = self.line.bits if self.alone else window.kernel[1] * self.image.channels
            found = Convert("zext", load(lists, place + window.kernel[1]), I64) - first
            number = b.let(found, "number", Promise(most))
            listed = Binary("shl", Convert("trunc", number, I32), constant(shift, I32))
            b.assign(count, count + listed if scale > 0 else count - listed)
            weights = at(self.weights, group * self.group_size + line * taps - x * back)
            numbers = at(lists, own * self.line.room + first)
            b.call(add_rows(1, self.twin), at(planes, shift), weights, numbers, number)

    def _answers(
        self, b: Builder, planes: Buffer, count: Expression, border: Expression, group: Expression, y: Buffer
    ) -> None:
        """Which thresholds the counters reach, as the bits of the outputs."""
        if self.twin:
            wanted, even = b.let(count + (self.base - self.least), "wanted"), None
        else:
            wanted = b.let(Binary("lshr", count + 1, constant(1, I32)) + (self.base - self.least // 2), "wanted")
            even = b.let((count & 1) - 1, "even")
        reached = []
        for i in range(self.count):
            more: Expression = constant(0, I32)
            if self.odd is not None and even is not None:
                more = load(self.odd, (border * self.count + i) * self.groups + group) & even
            borrow, below = b.variable("borrow", more), b.variable("below", constant(0, I32))
            begin = ((border * (self.count - 1) + (i - 1)) * self.groups + group) * self.planes
            begin = b.let(begin, "begin") if i else begin
            for p in range(self.planes):
                plane: Expression = b.let(load(planes, p), "plane")
                if i:
                    assert self.beyond is not None
                    taken = b.let(load(self.beyond, begin + p), "taken")
                    unequal = b.let(plane ^ taken, "unequal")
                    rest = b.let(unequal ^ below, "rest")
                    b.assign(below, (~plane & taken) | (~unequal & below))
                    plane = rest
                borrow_on(b, borrow, plane, bit_mask(b, wanted, p))
            reached.append(b.let(~(borrow | below) if i else ~borrow, "reached"))
        for p in range(len(self.target.planes)):
            word: Expression = constant(0, I32) if self.first is None else load(self.first, group + p * self.groups)
            for i, bits in enumerate(reached):
                word = word ^ (bits & load(self.flips, group + (p * self.count + i) * self.groups))
            b.store(y, group + p * self.target.words, word)


__all__ = ["PlaneConv", "planes_fit"]
