"""Rows of weights added with vectors of four words: what row_conv.py does, 128 bits at a time.

For every output pixel the numbers of its set inputs are brought together in one list, from the lists of the image's
rows. Four words of outputs (128 of them) are then added as vectors: one row is one vector. What is left, one to three
words, is added four rows at a time: lane i of a word's vectors takes every fourth row, fetched by a gather, and the
four counts of an output are joined at the end. So narrow layers use whole vectors too.

Counters start at an offset, and the borrow of a number common to all outputs is the answer (row_vector_tables.py).
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
    Convert,
    Expression,
    Function,
    Select,
    Variable,
    Vector,
    compare,
    constant,
    constant_buffer,
    load,
    popcount,
    splat,
)
from bnnc.loops.kernels.borders import border_class
from bnnc.loops.kernels.row_ends import kept_and_turned
from bnnc.loops.kernels.row_lists import one_window
from bnnc.loops.kernels.row_ring import ring_slot
from bnnc.loops.kernels.row_tables import rows_of, words_of
from bnnc.loops.kernels.row_vector_sums import LANES, TAIL, Rows, vector_sums, word_sums
from bnnc.loops.kernels.row_vector_tables import ModeTables, mode_tables
from bnnc.loops.kernels.tiling import Window, input_origin
from bnnc.loops.layout import WORD, Packed

HALVES = Vector(I16, 8)


def vectors_fit(image: Packed, weights: np.ndarray, window: Window, groups: int, thresholds: int) -> bool:
    """Whether a layer can be done this way: ±1 weights on bits, one threshold, adjacent taps, indices of 16 bits."""
    return (
        image.planes == (0,)
        and groups == 1
        and thresholds == 1
        and window.dilations == (1, 1)
        and bool((np.abs(weights) == 1).all())
        and (_List(image, window).taps + 1) * -(-len(weights) // WORD) < 1 << 16
        and max(_List(image, window).length, _List(image, window).room * -(-len(weights) // WORD)) < 1 << 16
    )


def vector_scratch(image: Packed, window: Window) -> int:
    """Elements (i16) of the working memory: the list of one pixel, a list for each row of the window, and in these the
    place where each pixel starts."""
    return _List(image, window).length


class _List:
    """Where the parts of the working memory lie."""

    def __init__(self, image: Packed, window: Window) -> None:
        self.taps = window.kernel[0] * window.kernel[1] * image.channels
        self.pixels = image.row // image.pixel
        self.room = self.pixels * image.channels + HALVES.lanes
        # As many zeros follow as fill up any vectors.
        self.rows = self.taps + TAIL[-1] * LANES
        self.places = self.rows + window.kernel[0] * self.room
        self.length = self.places + window.kernel[0] * (self.pixels + 1) + 8
        self.alone = one_window(image, window)
        if self.alone:
            self.length = self.rows


def vector_conv(
    name: str,
    image: Packed,
    weights: np.ndarray,
    window: Window,
    target: Packed,
    thresholds: np.ndarray,
    values: np.ndarray,
    *,
    pad_value: int = 0,
    halo_value: int = -1,
    loc: Location = UNKNOWN,
) -> Function:
    """NAME(x, scratch, y): bits of a ±1 convolution [O, C, KH, KW] and the step behind it (see `vectors_fit`).

    thresholds int [O or 1, 1], values int [O or 1, 2] of -1 and 1. scratch: i16 [vector_scratch]. Outside the image x
    counts as `pad_value`; `halo_value` is what the bits in the halo mean.
    """
    outputs = len(weights)
    groups = -(-outputs // WORD)
    limits = np.broadcast_to(thresholds[:, 0], outputs).astype(np.int64)
    tables = mode_tables(image, weights, window, limits, pad_value, halo_value)
    packed = np.moveaxis(rows_of(weights)[..., 0], 0, -1).reshape(-1, groups)
    packed = np.concatenate([packed, np.zeros((1, groups), np.uint32)])
    comment = (
        f"{outputs} outputs, window {window.kernel} on {image.channels} channels, rows added, four words at a time"
    )
    b = Builder(name, comment, loc)
    _VectorRows(b, name, image, window, target, tables, packed, words_of(kept_and_turned(values, outputs)), loc).write()
    return b.function()


class _VectorRows:
    """Writes the function."""

    def __init__(
        self,
        b: Builder,
        name: str,
        image: Packed,
        window: Window,
        target: Packed,
        tables: ModeTables,
        rows: np.ndarray,
        ends: np.ndarray,
        loc: Location,
    ) -> None:
        self.b, self.name, self.loc = b, name, loc
        self.image, self.window, self.target, self.tables = image, window, target, tables
        self.groups = rows.shape[1]
        self.whole = self.groups // LANES
        self.list = _List(image, window)
        self.x = b.parameter("x", I32, image.length)
        self.scratch = b.parameter("scratch", I16, self.list.length, access="both")
        self.y = b.parameter("y", I32, target.length, access="write")
        comment = "[kernel row][kernel column][channel][group of 32 outputs] weight bits"
        self.weights = constant_buffer(f"{name}_weights", rows, comment, 4)
        # [mode][class][group][plane], of whole vectors [mode][class][vector][plane][lane].
        cut = self.whole * LANES
        starts = tables.start[:, :, :cut].reshape(*tables.start.shape[:2], self.whole, LANES, tables.planes)
        flat = starts.swapaxes(-1, -2).reshape(*starts.shape[:2], -1)
        flat = np.concatenate([flat, tables.start[:, :, cut:].reshape(*starts.shape[:2], -1)], axis=2)
        comment = "[more zeros, more ones][border class][group][plane] where counters start, groups in fours"
        self.start = constant_buffer(f"{name}_threshold", np.ascontiguousarray(flat), comment, 4)
        # What a group needs besides: odd thresholds in both modes, outputs that can change, and those turned round.
        self.odd = constant_buffer(f"{name}_threshold_odd", tables.odd, "the lowest bit of thresholds", 4)
        fours = [[place for place in range(4) if number >> place & 1] for number in range(16)]
        table = np.zeros((16, HALVES.lanes), np.uint16)
        for number, places in enumerate(fours):
            table[number, : len(places)] = np.array(places) * self.groups
        self.places = constant_buffer(f"{name}_places", table, "rows of the set bits of four", 4)
        ones = np.array([len(places) for places in fours], np.uint8)
        self.ones = constant_buffer(f"{name}_ones", ones, "how many they are", 1)
        self.ends = constant_buffer(f"{name}_ends", ends, "outputs that can change; those whose bit is turned round", 4)

    # ----------------------------------------------------------------------------------------------------- the frame
    def write(self) -> None:
        """The loops over rows and pixels."""
        b, window, list_ = self.b, self.window, self.list
        rows = Rows(
            self.name, list_.taps, self.groups, list_.length, self.weights.length, self.tables.planes, self.loc
        )  # fmt: skip
        vector = vector_sums(rows) if self.whole else None
        word = word_sums(rows) if self.groups % LANES else None
        height, width = window.output(self.image.height, self.image.width)
        mode = self._mode()
        invert = b.let(constant(0, I32) - mode, "invert")
        origin = input_origin(self.image, window)
        if list_.alone:
            n, entry = b.variable("n", constant(0, I32)), b.variable("entry", constant(0, I32))
            with b.loop(window.kernel[0], "line") as line, b.loop(window.kernel[1], "px") as px:
                at_ = b.let(line * self.image.row + px * self.image.pixel + origin, "pixel")
                self._list_pixel(at_, n, entry, invert)
            self._pixel(constant(0, I64), constant(0, I64), n, mode, invert, vector, word)
            return
        lines, stride = window.kernel[0], window.strides[0]
        # Lists lie in a ring of as many as the window has rows; `oldest` is the slot of its first row.
        oldest = b.variable("oldest", constant(0, I64))
        with b.loop(height, "oy") as y:
            fresh = min(stride, lines)
            first = b.let(y * stride, "top")
            with b.when(compare("eq", y, 0)), b.loop(lines - fresh, "line", unroll_one=False) as line:
                self._list_row(first + line, line, invert, origin)
            with b.loop(fresh, "line") as line:
                slot = ring_slot(b, oldest, line + (lines - fresh), lines)
                self._list_row(first + (lines - fresh) + line, slot, invert, origin)
            with b.loop(width, "ox") as x:
                n = b.variable("n", constant(0, I32))
                with b.loop(lines, "line") as line:
                    self._gather_line(ring_slot(b, oldest, line, lines), line, x, n)
                self._pixel(y, x, n, mode, invert, vector, word)
            if height > 1 and lines > 1:
                b.assign(oldest, ring_slot(b, oldest, constant(fresh, I64), lines))

    def _mode(self) -> Expression:
        """1 where more than half of the bits are set, those of the padding too: it is listed like the image."""
        b, image = self.b, self.image
        total = b.variable("total", constant(0, I32))
        with b.loop(image.length, "k", unroll_one=False) as k:
            b.assign(total, total + popcount(load(self.x, k)))
        half = image.length // image.pixel * image.channels // 2
        return b.let(Select(compare("gt", total, half), constant(1, I32), constant(0, I32)), "mode")

    # ------------------------------------------------------------------------------------------------------ the lists
    def _list_row(self, line: Expression, slot: Expression, invert: Expression, origin: int) -> None:
        """Lists the bits of one row of the image in a slot."""
        b, image, list_, window = self.b, self.image, self.list, self.window
        begin = b.let(line * image.row + origin, "begin")
        places = b.let(slot * (list_.pixels + 1) + list_.places, "places")
        n = b.variable("n", Convert("trunc", slot * list_.room + list_.rows, I32))
        entry = b.variable("entry", constant(0, I32))
        used = (window.output(image.height, image.width)[1] - 1) * window.strides[1] + window.kernel[1]
        with b.loop(used, "px", unroll_one=False) as px:
            b.store(self.scratch, places + px, Convert("trunc", n, I16))
            self._list_pixel(b.let(begin + px * image.pixel, "pixel"), n, entry, invert)
        b.store(self.scratch, places + used, Convert("trunc", n, I16))

    def _list_pixel(self, pixel: Expression, n: Variable, entry: Variable, invert: Expression) -> None:
        """Appends the rows of one pixel's set bits, four bits at a time: places looked up, of which the first count."""
        b, channels = self.b, self.image.channels
        for first, count, bits in ((0, channels // WORD, WORD), (channels // WORD, 1, channels % WORD)):
            if not bits:
                continue
            with b.loop(count, "word") as k:
                found = load(self.x, pixel + first + k) ^ invert
                word = b.let(found if bits == WORD else found & ((1 << bits) - 1), "found")
                # Most words around the image hold nothing.
                with b.when(compare("ne", word, 0)):
                    for shift in range(0, bits, 4):
                        four = (Binary("lshr", word, constant(shift, I32)) if shift else word) & 15
                        four = b.let(four, "four")
                        base = splat(Convert("trunc", entry + shift * self.groups, I16), HALVES)
                        b.store(self.scratch, n, load(self.places, four * HALVES.lanes, HALVES) + base)
                        b.assign(n, n + Convert("zext", load(self.ones, four), I32))
                b.assign(entry, entry + bits * self.groups)

    def _gather_line(self, slot: Expression, line: Expression, x: Expression, n: Variable) -> None:
        """Appends a window's part of a row's list to the list of the pixel; numbers then count through the window."""
        b, window, list_, channels = self.b, self.window, self.list, self.image.channels
        place = b.let(slot * (list_.pixels + 1) + x * window.strides[1] + list_.places, "place")
        first = b.let(Convert("zext", load(self.scratch, place), I64), "first")
        last = b.let(Convert("zext", load(self.scratch, place + window.kernel[1]), I64), "last")
        base = line * (window.kernel[1] * channels * self.groups) - x * (window.strides[1] * channels * self.groups)
        more = b.let(splat(Convert("trunc", base, I16), HALVES), "more")
        to = b.variable("to", n)
        with b.loop(last, "k", start=first, step=8, unroll_one=False) as k:
            b.store(self.scratch, to, load(self.scratch, k, HALVES) + more)
            b.assign(to, to + 8)
        b.assign(n, n + Convert("trunc", last - first, I32))

    # ------------------------------------------------------------------------------------------------------ the sums
    def _pixel(
        self,
        y: Expression,
        x: Expression,
        count: Variable,
        mode: Expression,
        invert: Expression,
        vector: Function | None,
        word: Function | None,
    ) -> None:
        """Fills the list up with a row of zeros, and calls what adds, for every group of outputs."""
        b, tables = self.b, self.tables
        none = b.let(constant(self.list.taps * self.groups, HALVES), "none")
        for k in range(0, TAIL[-1] * LANES, 8):
            b.store(self.scratch, count + k, none)
        number, even = tables.number(b, count, mode)
        corner = border_class(b, tables.borders, self.name, y, x)
        step = tables.planes * self.groups
        classes = tables.start.shape[1]
        index = Convert("zext", mode, I64)
        begin = b.let(index * (classes * step) + corner * step, "begin")
        odd = b.let(index * (classes * self.groups) + corner * self.groups, "odd")
        place = b.let(y * self.target.row + x * self.target.pixel + self.target.origin, "target")
        for function, first, size, groups in (
            (vector, 0, LANES, self.whole),
            (word, self.whole * LANES, 1, self.groups % LANES),
        ):
            if function is None:
                continue
            with b.loop(groups, "group") as turn:
                group = b.let(turn * size + first, "group")
                b.call(
                    function, self.scratch, at(self.weights, group), at(self.start, begin + group * tables.planes),
                    at(self.odd, odd + group), at(self.ends, group), at(self.y, place + group),
                    count, number, even, invert,
                )  # fmt: skip


__all__ = ["vector_conv", "vector_scratch", "vectors_fit"]
