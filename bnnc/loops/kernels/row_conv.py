"""Layers on bits for processors without a popcount: 32 outputs a word, and only the rows whose input is set are added.

Weights lie transposed: one word holds the weight bits of one input for 32 outputs. Each row of the image becomes one
sorted list of its set bits, or of its zeros where these are fewer (row_lists.py); the taps of a window are slices of
such lists. The rows they name are added to vertical counters (row_adder.py), which start at an offset that makes the
rest of the comparison the same for all outputs: a number is subtracted from the planes, and the borrow is the answer,
32 bits at once (row_tables.py).

Where zeros are listed, their weights are to be subtracted from the weights of the whole kernel row. Complemented
counters count downwards, so such slices are added while the counters stand complemented. So the worst case is half of
the rows, in any image.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
    Pointer,
    Promise,
    Select,
    binary,
    compare,
    constant,
    constant_buffer,
    load,
)
from bnnc.loops.kernels.adders import bit_mask, borrow_on
from bnnc.loops.kernels.row_adder import add_number, add_rows
from bnnc.loops.kernels.row_ends import RowEnds
from bnnc.loops.kernels.row_lists import blank_list, line_of, list_bits, one_window
from bnnc.loops.kernels.row_ring import output_rows, ring_slot
from bnnc.loops.kernels.row_tables import planes_of, rows_of, tables_of, words_of
from bnnc.loops.kernels.rows import Part, Pooling, RowKernel
from bnnc.loops.kernels.tiling import Window, input_origin
from bnnc.loops.layout import WORD, Packed
from bnnc.loops.machine import Machine


def fits(image: Packed, weights: np.ndarray, window: Window, groups: int, thresholds: int) -> bool:
    """Whether a layer can be done this way: weights -1, 0, 1 on bits, one threshold, adjacent taps, offsets of 16
    bits; of groups, each on words of its own."""
    return (
        image.planes == (0,)
        and (groups == 1 or weights.shape[1] % WORD == 0 == len(weights) // groups % WORD)
        and thresholds == 1
        and window.dilations == (1, 1)
        and int(np.abs(weights).max(initial=0)) == 1
        and line_of(image, window, weights.shape[1], 1).bits * (8 if (weights == 0).any() else 4) < 1 << 16
    )


class RowConv:
    """The functions of a ±1 convolution [O, C, KH, KW], the step behind it (see `fits`), and perhaps a pool: one makes
    a row of outputs of lists, one does all rows.

    thresholds int [O or 1, 1], values int [O or 1, 2] of -1 and 1. Outside the image x counts as `pad_value`;
    `halo_value` is what the bits in the halo mean. `part`: the layer is one group of several, these words of a pixel
    to those of the target. Bool `smallest` [O] marks channels of which the pool takes the minimum; `target` is the
    layout of the pool's result where there is one.
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
        halo_value: int,
        machine: Machine,
        loc: Location = UNKNOWN,
        part: tuple[int, int] = (0, 0),
        pooling: Pooling | None = None,
        smallest: np.ndarray | None = None,
    ) -> None:
        self.part, self.ones_outside, self.pooling = part, halo_value > 0, pooling
        self.name, self.image, self.window, self.target, self.loc = name, image, window, target, loc
        outputs = len(weights)
        self.groups = -(-outputs // WORD)
        # Two words of weights at a time share what is done for a row, if there are registers for their counters.
        self.channels, self.twin = weights.shape[1], bool((weights == 0).any())
        many = machine.registers >= 32 and self.groups % 2 == 0 and not self.twin
        self.width = 2 if many and line_of(image, window, self.channels, 2).bits * 8 < 1 << 16 else 1
        self.alone = one_window(image, window)
        self.line = line_of(image, window, self.channels, 2 if self.twin else self.width)
        self.listing = list_bits(self.line, machine.finds_bits)
        self.lines = 1 if self.alone else window.kernel[0]
        self.begin_places = self.lines * self.line.room
        limits = np.broadcast_to(thresholds[:, 0], outputs).astype(np.int64)
        self.tables = tables = tables_of(image, weights, window, limits, pad_value, halo_value)
        self.planes = tables.planes
        self.columns = len(tables.borders.columns)
        self.comment = f"{outputs} outputs, window {window.kernel} on {self.channels} channels"

        rows = rows_of(weights)
        self.group_size = rows[0].size
        rows = np.moveaxis(rows.reshape(-1, self.width, self.group_size), 1, 2)
        comment = "[group of 32 outputs][kernel row][kernel column][channel] weight bits"
        if self.twin:
            comment = "[group of 32 outputs][kernel row][kernel column][channel][weight is 1, is not -1]"
        if self.width > 1:
            comment = "[pair of groups][kernel row][kernel column][channel][group of 32 outputs] weight bits"
        self.weights = constant_buffer(f"{name}_weights", np.ascontiguousarray(rows), comment, 4)
        start = planes_of(tables.start, self.planes)
        comment = "[border class][group][plane] where counters start"
        if self.alone:
            turned = ~planes_of(tables.start + tables.share.sum(0), self.planes)
            start, comment = np.stack([start[0], turned[0]]), "[ones, zeros listed][group][plane] where counters start"
        else:
            share = planes_of(tables.share, self.planes)
            what = "[kernel row][group][plane] positive weights"
            self.share = constant_buffer(f"{name}_share", share, what, 4)
        self.start = constant_buffer(f"{name}_threshold", start, comment, 4)
        what = "[border class][group] where half a step is missing"
        self.odd = constant_buffer(f"{name}_threshold_odd", words_of(tables.odd), what, 4)

        self.ends = RowEnds(name, values, outputs, target, pooling, smallest)

    @property
    def lists_length(self) -> int:
        """Elements (i16) of the lists, one a kernel row, and of the places where pixels start in them."""
        return self.lines * (self.line.room + self.line.places)

    @property
    def planes_length(self) -> int:
        """Elements (i32) of the counters, and of what they start at in one row of outputs."""
        return self.planes * (self.width + (0 if self.alone else self.columns * self.groups))

    # ---------------------------------------------------------------------------------------------------- the layer
    def kernel(self) -> RowKernel:
        """One function lists a row of the image, one makes a row of outputs of lists."""
        image, window, line = self.image, self.window, self.line
        scratch = ((I16, self.lists_length), (I32, self.planes_length))
        places = Part(0, self.begin_places, line.places)
        feeds = (Part(0, 0, line.room), places)
        target = self.target.halo.left * self.target.pixel
        if self.alone:
            row, origin = self._whole_function(), input_origin(image, window)
            return RowKernel(self.listing, feeds, None, (), row, scratch, 1, (), origin, target, whole=True)
        blank = blank_list(line, self.ones_outside) if window.pads[0] or window.pads[2] else None
        numbers: list[str | Buffer] = ["slot"]
        if len(self.tables.borders.rows) > 1:
            numbers.append(self._border_rows())
        if self.pooling is not None:
            numbers.append("part")
        origin = (image.halo.left - window.pads[1]) * image.pixel
        return RowKernel(
            self.listing, feeds, blank, (places,), self.row_function(), scratch, self.lines, tuple(numbers), origin,
            target,
        )  # fmt: skip

    def function(self) -> Function:
        """NAME(x, lists, planes, y): lists rows of the image as they are needed, and makes one row of outputs after the
        other. lists: i16 [lists_length]; planes: i32 [planes_length]."""
        b = Builder(self.name, f"{self.comment}, rows added", self.loc)
        x = b.parameter("x", I32, self.image.length)
        lists = b.parameter("lists", I16, self.lists_length, access="both")
        planes = b.parameter("planes", I32, self.planes_length, access="both")
        y = b.parameter("y", I32, self.target.length, access="write")
        origin = input_origin(self.image, self.window) + self.part[0]
        if self.alone:
            b.call(self.listing, at(x, origin), at(lists), at(lists, self.begin_places))
            self._whole(b, lists, planes, y, self.target.origin + self.part[1])
            return b.function()
        row = self.row_function()

        def add(number: Expression, slot: Expression) -> None:
            list_, places = at(lists, slot * self.line.room), at(lists, slot * self.line.places + self.begin_places)
            b.call(self.listing, at(x, number * self.image.row + origin), list_, places)

        height = self.window.output(self.image.height, self.image.width)[0]
        with output_rows(b, height, self.lines, self.window.strides[0], add) as (oy, oldest):
            border = [self._border_row(b, oy)] if len(self.tables.borders.rows) > 1 else []
            target = at(y, oy * self.target.row + (self.target.origin + self.part[1]))
            b.call(row, lists, planes, target, oldest, *border)
        return b.function()

    def _border_row(self, b: Builder, oy: Expression) -> Expression:
        """Where the border classes of a row of outputs begin."""
        return b.let(_index(load(self._border_rows(), oy)), "border")

    def _border_rows(self) -> Buffer:
        rows = (self.tables.borders.row_class * self.columns).astype(np.uint8)
        return constant_buffer(f"{self.name}_border_row", rows, "[output row] its first border class", 1)

    # --------------------------------------------------------------------------------------------- a row of outputs
    def row_function(self) -> Function:
        """NAME_row(lists, planes, y, oldest, [first border class], [row in the pool]): one row of outputs."""
        b = Builder(f"{self.name}_row", f"one row of {self.comment}", self.loc)
        lists = b.parameter("lists", I16, self.lists_length)
        planes = b.parameter("planes", I32, self.planes_length, access="both")
        y = self.ends.row(b)
        oldest = b.scalar("oldest", I64)
        border = b.scalar("border", I64) if len(self.tables.borders.rows) > 1 else constant(0, I64)
        self.ends.begin(b, y)
        zeros = b.variable("zeros", constant(0, I32))
        with b.loop(self.lines, "line") as line:
            b.assign(zeros, zeros + self._mode(b, lists, ring_slot(b, oldest, line, self.lines)))
        self._starts(b, lists, planes, oldest, zeros, border)
        width = self.window.output(self.image.height, self.image.width)[1]
        some, all_ = compare("ne", zeros, 0), compare("eq", zeros, self.lines)
        turned = b.let(Select(all_, constant(-1, I32), constant(0, I32)), "turned")
        passes = (
            b.let(Select(some, constant(0, I64), constant(1, I64)), "first_pass"),
            b.let(Select(all_, constant(1, I64), constant(2, I64)), "passes"),
        )
        with self._pixels(b, width) as (x, place):
            column = self._border_column(b, x)
            with b.loop(self.groups, "group", step=self.width) as group:
                begin = b.let((column * self.groups + group + self.width) * self.planes, "begin")
                for p in range(self.width * self.planes):
                    b.store(planes, p, load(planes, begin + p))
                count = b.variable("count", constant(0, I32))
                with b.loop(passes[1], "pass", start=passes[0]) as turn:
                    self._slices(b, lists, planes, oldest, x, group, turn, count)
                    with b.when(compare("lt", turn + 1, passes[1])):
                        for p in range(self.width * self.planes):
                            b.store(planes, p, ~load(planes, p))
                first = b.let((border + column) * self.groups + group, "first")
                self._answers(b, planes, count, first, turned, group, y, place * self.target.pixel)
        return b.function()

    @contextmanager
    def _pixels(self, b: Builder, width: int) -> Iterator[tuple[Expression, Expression]]:
        """Loops over the pixels of a row, and where in the row of the result each goes."""
        if self.pooling is None:
            with b.loop(width, "ox", unroll_one=False) as x:
                yield x, x
            return
        across = self.pooling.columns
        with b.loop(self.target.width, "px", unroll_one=False) as px:
            first = b.let(px * across, "first")
            stop = first + across
            if self.target.width * across > width:  # the last window is cut
                stop = binary("min", stop, constant(width, I64))
            with b.loop(b.let(stop, "stop"), "ox", start=first) as x:
                yield x, px

    def _mode(self, b: Builder, lists: Buffer, slot: Expression) -> Expression:
        """1 if a list is one of zeros."""
        place = slot * self.line.places + (self.begin_places + self.line.mode)
        return Convert("zext", load(lists, place), I32)

    def _starts(
        self, b: Builder, lists: Buffer, planes: Buffer, oldest: Expression, zeros: Expression, border: Expression
    ) -> None:
        """What counters start at in this row: complemented if zeros are listed in some line of it."""
        size = self.groups * self.planes
        with b.loop(self.columns * size, "k", unroll_one=False) as k:
            b.store(planes, k + self.width * self.planes, load(self.start, border * size + k))
        with b.when(compare("ne", zeros, 0)):
            with b.loop(self.lines, "line") as line:
                mode = self._mode(b, lists, ring_slot(b, oldest, line, self.lines))
                with (
                    b.when(compare("ne", mode, 0)),
                    b.loop(self.columns, "column") as column,
                    b.loop(self.groups, "group") as group,
                ):
                    share = at(self.share, (line * self.groups + group) * self.planes)
                    place = at(planes, (column * self.groups + group + self.width) * self.planes)
                    b.call(add_number(), place, share, self.planes)
            with b.loop(self.columns * size, "k", unroll_one=False) as k:
                place_ = k + self.width * self.planes
                b.store(planes, place_, ~load(planes, place_))

    def _border_column(self, b: Builder, x: Expression) -> Expression:
        if self.columns == 1:
            return constant(0, I64)
        columns = self.tables.borders.column_class.astype(np.uint8)
        buffer = constant_buffer(f"{self.name}_border_column", columns, "[output column] its border class", 1)
        return b.let(_index(load(buffer, x)), "column")

    def _slices(
        self,
        b: Builder,
        lists: Buffer,
        planes: Buffer,
        oldest: Expression,
        x: Expression,
        group: Expression,
        turn: Expression,
        count: Expression,
    ) -> None:
        """Adds the slices of all lists of ones (turn 1) or of zeros (turn 0); counts the ones of the window."""
        window = self.window
        taps = window.kernel[1] * self.channels
        left = b.let(x * window.strides[1] + self.begin_places, "left")
        rows = b.let(group * self.group_size - x * (window.strides[1] * self.channels * self.line.width), "rows")
        with b.loop(self.lines, "line") as line:
            slot = ring_slot(b, oldest, line, self.lines)
            place = b.let(slot * self.line.places + left, "place")
            mode = b.let(_index(load(lists, slot * self.line.places + (self.begin_places + self.line.mode))), "mode")
            with b.when(compare("ne", mode, turn)):
                first = b.let(_index(load(lists, place)), "first")
                found = _index(load(lists, place + window.kernel[1])) - first
                number = b.let(found, "number", self._promise())
                listed = b.let(Convert("trunc", number, I32), "listed")
                ones = Select(compare("ne", mode, 0), constant(taps, I32) - listed, listed)
                assert hasattr(count, "mutable")
                b.assign(count, count + ones)  # type: ignore[arg-type]
                weights = at(self.weights, rows + line * (taps * self.line.width))
                self._add(b, planes, weights, at(lists, slot * self.line.room + first), number)

    def _promise(self) -> Promise:
        """Of the lengths of slices, in a row of outputs: a list has half of its bits at most, each of which is in as
        many windows as it is taps of; no window has more bits than there are. Each list is looked at in one pass."""
        window, columns = self.window, self.window.output(self.image.height, self.image.width)[1]
        each, taps = -(-window.kernel[1] // window.strides[1]), window.kernel[1] * self.channels
        line, turns = min((self.line.room - 1) * each, columns * taps), self.groups // self.width * self.lines
        return Promise(min(taps, self.line.room - 1), turns * line, turns * columns)

    def _add(self, b: Builder, planes: Buffer, weights: Pointer, numbers: Pointer, count: Expression) -> None:
        counters = [at(planes, n * self.planes, self.planes) for n in range(self.width)]
        b.call(add_rows(self.width, self.twin), *counters, weights, numbers, count)

    # ------------------------------------------------------------------------------------------------- the comparison
    def _answers(
        self,
        b: Builder,
        planes: Buffer,
        count: Expression,
        first: Expression,
        turned: Expression,
        group: Expression,
        y: Buffer,
        place: Expression,
    ) -> None:
        """Stores which counters reach what `count` ones ask for; `turned` is all ones if they stand complemented.

        A counter c is below a number n just if n ^ -1 is below c ^ -1, or equal to it.
        """
        if self.tables.whole:
            number = b.let((count + self.tables.base) ^ turned, "wanted")
            borrows = [b.variable("borrow", turned)]
        else:
            number = b.let((Binary("lshr", count + 1, constant(1, I32)) + self.tables.base) ^ turned, "wanted")
            even = b.let((count & 1) - 1, "even")
            borrows = [b.variable("borrow", (load(self.odd, first + n) & even) ^ turned) for n in range(self.width)]
        for p in range(self.planes):
            mask = bit_mask(b, number, p)
            for n, borrow in enumerate(borrows):
                borrow_on(b, borrow, b.let(load(planes, n * self.planes + p), "plane"), mask)
        for n, borrow in enumerate(borrows):
            self.ends.store(b, y, b.let(place + group + n, "where"), ~(borrow ^ turned), group + n)

    # --------------------------------------------------------------------------------- a window as large as the image
    def _whole_function(self) -> Function:
        """NAME(lists, planes, y): all outputs."""
        b = Builder(self.name, f"{self.comment}, rows added", self.loc)
        lists = b.parameter("lists", I16, self.lists_length)
        planes = b.parameter("planes", I32, self.planes_length, access="both")
        self._whole(b, lists, planes, b.parameter("y", I32, 0, access="write"), 0)
        return b.function()

    def _whole(self, b: Builder, lists: Buffer, planes: Buffer, y: Buffer, origin: int) -> None:
        listed = b.let(load(lists, self.begin_places + self.line.pixels), "listed")
        mode = b.let(Convert("zext", load(lists, self.begin_places + self.line.mode), I32), "mode")
        turned = b.let(constant(0, I32) - mode, "turned")
        number = b.let(Convert("zext", listed, I32), "number")
        count = b.let(Select(compare("ne", mode, 0), constant(self.line.bits, I32) - number, number), "count")
        begin = b.let(_index(mode) * (self.groups * self.planes), "begin")
        with b.loop(self.groups, "group", step=self.width, unroll_one=False) as group:
            for p in range(self.width * self.planes):
                b.store(planes, p, load(self.start, begin + group * self.planes + p))
            rows = b.let(_index(listed), "rows", Promise(self.line.room - 1))
            self._add(b, planes, at(self.weights, group * self.group_size), at(lists), rows)
            self._answers(b, planes, count, group, turned, group, y, constant(origin, I64))


def _index(value: Expression) -> Expression:
    """A small number as an index."""
    return Convert("zext", value, I64)


__all__ = ["RowConv", "fits"]
