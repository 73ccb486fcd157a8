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
    Extract,
    Function,
    Gather,
    Select,
    Variable,
    Vector,
    compare,
    constant,
    constant_buffer,
    load,
    popcount,
    select,
    splat,
)
from bnnc.loops.kernels.adders import full_adder
from bnnc.loops.kernels.row_tables import words_of
from bnnc.loops.kernels.row_vector_tables import ModeTables, mode_tables
from bnnc.loops.kernels.tiling import Window, border_class, input_origin
from bnnc.loops.layout import WORD, Packed

LANES = 4
WORDS, HALVES = Vector(I32, LANES), Vector(I16, 8)
STEP = 16
"""Vectors of rows that are added in one go: of 16, four levels of adders take all but one carry."""
TAIL = (STEP, 8, 4)
"""What the end of a list is added in: lists are filled up to a multiple of the last."""


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
        self.alone = window.output(image.height, image.width) == (1, 1)
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
    table = np.broadcast_to(values, (outputs, 2))
    tables = mode_tables(image, weights, window, limits, pad_value, halo_value)
    flips = np.zeros(groups * WORD, np.int64)
    flips[:outputs] = table[:, 0] > 0
    keep = np.zeros(groups * WORD, np.int64)
    keep[:outputs] = table[:, 0] != table[:, 1]
    rows = np.zeros((*weights.shape[2:], weights.shape[1], groups * WORD), np.uint8)
    rows[..., :outputs] = (weights > 0).transpose(2, 3, 1, 0)
    packed = words_of(rows).reshape(-1, groups)
    packed = np.concatenate([packed, np.zeros((1, groups), np.uint32)])
    comment = (
        f"{outputs} outputs, window {window.kernel} on {image.channels} channels, rows added, four words at a time"
    )
    b = Builder(name, comment, loc)
    _VectorRows(b, name, image, window, target, tables, packed, words_of(keep), words_of(flips), loc).write()
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
        keep: np.ndarray,
        flips: np.ndarray,
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
        ends = np.stack([keep, flips])
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
        vector = _vector_sums(self) if self.whole else None
        word = _word_sums(self) if self.groups % LANES else None
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
                slot = self._slot(oldest, line + (lines - fresh))
                self._list_row(first + (lines - fresh) + line, slot, invert, origin)
            with b.loop(width, "ox") as x:
                n = b.variable("n", constant(0, I32))
                with b.loop(lines, "line") as line:
                    self._gather_line(self._slot(oldest, line), line, x, n)
                self._pixel(y, x, n, mode, invert, vector, word)
            if height > 1 and lines > 1:
                b.assign(oldest, self._slot(oldest, constant(fresh, I64)))

    def _slot(self, oldest: Expression, line: Expression) -> Expression:
        """(oldest + line) modulo the rows of the window, without a division."""
        lines = self.window.kernel[0]
        if lines == 1:
            return constant(0, I64)
        place = self.b.let(oldest + line, "place")
        return self.b.let(select(compare("lt", place, lines), place, place - lines), "slot")

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


class _Sums:
    """The start of a function that adds the listed rows to counters and compares them."""

    def __init__(self, rows: _VectorRows, name: str, comment: str, lanes: int) -> None:
        self.planes = rows.tables.planes
        self.b = b = Builder(f"{rows.name}_{name}", comment, rows.loc)
        self.list = b.parameter("list", I16, rows.list.length)
        self.rows = b.parameter("w", I32, rows.weights.length - rows.groups + lanes)
        self.start = b.parameter("start", I32, self.planes * lanes)
        self.odd = b.parameter("odd", I32, lanes)
        self.ends = b.parameter("ends", I32, rows.groups + lanes)
        self.y = b.parameter("y", I32, lanes, access="write")
        self.count = b.scalar("count", I32)
        self.number, self.even, self.invert = (b.scalar(name, I32) for name in ("number", "even", "invert"))

    def add(self, counters: list[Variable], rows: int) -> None:
        """Adds all listed rows; a vector takes `rows` of them."""
        b = self.b
        # Vectors in all: lists are filled up to whole steps of the smallest tree.
        unit = rows * TAIL[-1]
        shift = unit.bit_length() - 1
        count = b.let(Binary("lshr", self.count + (unit - 1), constant(shift, I32)), "count")
        begin: Expression = constant(0, I32)
        last = b.let(count * unit, "last")
        for size in TAIL:
            units = size // TAIL[-1]
            end = last if units == 1 else b.let((count - (count & (units - 1))) * unit, f"end{size}")
            with b.loop(end, "k", start=begin, step=size * rows, unroll_one=False) as k:
                self._tree(counters, k, size, rows)
            begin = end

    def _row(self, k: Expression, rows: int) -> Expression:
        if rows == 1:
            return self.b.let(load(self.rows, Convert("zext", load(self.list, k), I64), WORDS), "row")
        places = Convert("zext", load(self.list, k, Vector(I16, LANES)), WORDS)
        return self.b.let(Gather(self.rows, constant(0, I64), places), "row")

    def _tree(self, counters: list[Variable], k: Expression, size: int, rows: int) -> None:
        """Adds so many vectors: each level joins two carries of the level below with its own counter plane."""
        b = self.b
        waiting: dict[int, Expression] = {}
        for n in range(0, size, 2):
            carry = full_adder(b, counters[0], self._row(k + n * rows, rows), self._row(k + (n + 1) * rows, rows))
            level = 1
            while level in waiting:
                carry = full_adder(b, counters[level], waiting.pop(level), carry)
                level += 1
            waiting[level] = carry
        ((level, carry),) = waiting.items()
        for plane in counters[level:]:
            following = b.let(plane & carry, "carry") if plane is not counters[-1] else carry
            b.assign(plane, plane ^ carry)
            carry = following

    def borrow(self, planes: list[Expression], type_: Vector | None) -> Expression:
        """All ones in the lanes of counters that are below the number (or equal, where the threshold is odd)."""
        b = self.b
        of = type_ or I32
        odd, even = load(self.odd, 0, of), b.let(splat(self.even, of), "even")
        borrow = b.variable("borrow", even & odd | ~even)
        for p, plane in enumerate(planes):
            bit = Binary("lshr", self.number, constant(p, I32)) & 1 if p else self.number & 1
            mask = b.let(splat(constant(0, I32) - bit, of), "mask")
            b.assign(borrow, (~plane & (mask | borrow)) | (mask & borrow))
        return borrow

    def finish(self, borrow: Expression, groups: int, type_: Vector | None) -> Function:
        """Stores the outputs' bits."""
        of = type_ or I32
        bits = (~borrow ^ splat(self.invert, of)) & load(self.ends, 0, of)
        self.b.store(self.y, 0, bits ^ load(self.ends, groups, of))
        return self.b.function()


def _vector_sums(rows: _VectorRows) -> Function:
    """Adds one row a vector, for 128 outputs."""
    sums = _Sums(rows, "vector", "adds rows for 128 outputs of one pixel", LANES)
    b = sums.b
    counters = [b.variable(f"c{p}", load(sums.start, p * LANES, WORDS)) for p in range(sums.planes)]
    sums.add(counters, 1)
    return sums.finish(sums.borrow(list(counters), WORDS), rows.groups, WORDS)


def _word_sums(rows: _VectorRows) -> Function:
    """Adds four rows a vector, for 32 outputs; then the lanes are joined."""
    sums = _Sums(rows, "word", "adds rows for 32 outputs of one pixel, four at a time", 1)
    b = sums.b
    # A lane counts every fourth row.
    counts = max(5, (-(-rows.list.taps // LANES)).bit_length())
    counters = [b.variable(f"c{p}", constant(0, WORDS)) for p in range(counts)]
    sums.add(counters, LANES)
    columns: list[list[Expression]] = [[] for _ in range(sums.planes + 1)]
    totals: list[Expression] = []
    for p in range(sums.planes):
        column = columns[p]
        if p < counts:
            column += [b.let(Extract(counters[p], lane), "lane") for lane in range(LANES)]
        column.append(b.let(load(sums.start, p), "start"))
        while len(column) > 1:
            first, second, *rest = column
            third, rest = (rest[0], rest[1:]) if rest else (None, [])
            either = b.let(first ^ second, "either")
            carry = first & second if third is None else first & second | either & third
            columns[p + 1].append(b.let(carry, "carry"))
            column = [*rest, either if third is None else b.let(either ^ third, "sum")]
        totals.append(column[0])
    return sums.finish(sums.borrow(totals, None), rows.groups, None)


__all__ = ["vector_conv", "vector_scratch", "vectors_fit"]
