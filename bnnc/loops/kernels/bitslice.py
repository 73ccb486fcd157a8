"""Layers on bits for processors without a popcount: 32 outputs a word, and only the rows whose input is set are added.

Weights lie transposed: word w[input][group] holds the weight bits of one input for 32 outputs. With inputs u and
weights v as 0 and 1, a sum of ±1 products is N - 2 pop(v) - 2 pop(u) + 4 pop(u & v), so `sum >= t` is

    2 c >= p + k,    c = pop(u & v), p = pop(u), k = ceil((t - N) / 2) + pop(v)

and c is the number of rows with u = 1 whose bit is set: rows are added into vertical counters (plane j holds bit j of
32 counts) by carry-save adders, sixteen at a time. Counters start at an offset that makes the rest of the comparison
the same for all outputs: a number is subtracted from the planes, and the borrow is the answer, 32 bits at once.

Of an image in which more than half of the bits are set, the zeros are listed instead: with z = pop(~u & v) the
condition is not (2 z - k' >= 1 - p), k' = 2 pop(v) - k, which is the same comparison with other offsets. So the worst
case is half of the rows. Each row of the image becomes one sorted list; the taps of a window are slices of such lists.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    Select,
    Variable,
    compare,
    constant,
    constant_buffer,
    load,
    popcount,
    select,
)
from bnnc.loops.kernels.tiling import Borders, Window, borders_of, input_origin, no_borders
from bnnc.loops.layout import WORD, Packed

ALONE = (16,)
SIZES = (16, 8, 4, 1)
"""Rows added in one go, in dense layers and in windows: of 16, four levels of adders take all but one carry."""


def fits(image: Packed, weights: np.ndarray, window: Window, groups: int, thresholds: int) -> bool:
    """Whether a layer can be done this way: ±1 weights on bits, one threshold, adjacent taps, indices of 16 bits."""
    return (
        image.planes == (0,)
        and groups == 1
        and thresholds == 1
        and window.dilations == (1, 1)
        and bool((np.abs(weights) == 1).all())
        and _numbers(image, window) * -(-len(weights) // WORD) < 1 << 15
    )


def _numbers(image: Packed, window: Window) -> int:
    """How many bits are in one list at most."""
    if window.output(image.height, image.width) == (1, 1):
        return window.kernel[0] * window.kernel[1] * image.channels + 1
    return _pixels(image) * image.channels


def _pixels(image: Packed) -> int:
    """Pixels of a row, halo included."""
    return image.row // image.pixel


def scratch_length(image: Packed, window: Window) -> int:
    """Elements (i16) of the working memory: a list a kernel row, and where each pixel starts in it."""
    pixels = _pixels(image)
    return max(_numbers(image, window) + ALONE[-1], window.kernel[0] * pixels * image.channels) + window.kernel[0] * (
        pixels + 1
    )


@dataclass(frozen=True)
class _Offsets:
    """What the comparison adds up to: start planes [mode][class][group][plane], and per mode the number subtracted."""

    planes: int
    start: np.ndarray
    odd: np.ndarray
    base: tuple[int, int]
    borders: Borders


def _offsets(
    image: Packed, weights: np.ndarray, window: Window, limits: np.ndarray, pad_value: int, halo_value: int
) -> _Offsets:
    """limits: int64 [O], the step is at sum >= limits[o]."""
    count = int(np.prod(weights.shape[1:]))
    outputs = len(weights)
    lanes = -(-outputs // WORD) * WORD
    borders = no_borders(*window.output(image.height, image.width))
    correction = np.zeros((1, outputs), np.int64)
    if any(window.pads) and pad_value != halo_value:
        borders = borders_of(window, image.height, image.width)
        correction = (pad_value - halo_value) * borders.sums(weights.astype(np.int64).sum(1))
    ones = (weights > 0).reshape(outputs, -1).sum(1).astype(np.int64)
    # A limit beyond all sums is as good as the next one.
    distance = np.clip(limits[None] - correction - count, -2 * count - 2, 2)
    k = -(-distance // 2) + ones
    modes = np.stack([k, 2 * ones - k])  # [mode][class][O]
    padded = np.zeros((*modes.shape[:2], lanes), np.int64)
    padded[..., :outputs] = modes
    quotient, odd = padded >> 1, padded & 1
    # In mode 1 the scalar is 1 - p = listed + 1 - count, down to 1 - count; nothing may become negative.
    shift = (0, -((1 - count) >> 1))
    base = tuple(max(int(quotient[mode].max()), shift[mode]) for mode in (0, 1))
    start = np.stack([base[mode] - quotient[mode] for mode in (0, 1)])
    # A window as large as the image never lists more than half of its rows.
    listed = count // 2 if borders.count == 1 and len(borders.row_class) * len(borders.column_class) == 1 else count
    most = max(int(start.max()) + listed, base[0] + listed // 2 + 1, base[1] + (listed + 1 - count) // 2 + 1)
    planes = max(5, most.bit_length())
    bits = (start[..., None] >> np.arange(planes)) & 1  # [mode][class][lanes][plane]
    words = _words(np.moveaxis(bits, -1, -2))  # [mode][class][plane][group]
    return _Offsets(planes, np.ascontiguousarray(np.moveaxis(words, -1, -2)), _words(odd), (base[0], base[1]), borders)


def _words(bits: np.ndarray) -> np.ndarray:
    """uint32 [..., groups] of 0 and 1 [..., lanes]."""
    return np.packbits(np.ascontiguousarray(bits.astype(np.uint8)), axis=-1, bitorder="little").view("<u4")


def row_conv(
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
    """NAME(x, scratch, y): bits of a ±1 convolution [O, C, KH, KW] and the step behind it (see `fits`).

    thresholds int [O or 1, 1], values int [O or 1, 2] of -1 and 1. scratch: i16 [scratch_length]. Outside the image x
    counts as `pad_value`; `halo_value` is what the bits in the halo mean.
    """
    outputs = len(weights)
    groups = -(-outputs // WORD)
    limits = np.broadcast_to(thresholds[:, 0], outputs).astype(np.int64)
    table = np.broadcast_to(values, (outputs, 2))
    offsets = _offsets(image, weights, window, limits, pad_value, halo_value)
    flips = np.zeros(groups * WORD, np.int64)
    flips[:outputs] = table[:, 0] > 0  # falling steps, and those that are always 1
    # Constant steps: their limit is out of reach.
    never = np.zeros(groups * WORD, np.int64)
    never[:outputs] = table[:, 0] == table[:, 1]
    keep = 1 - never
    keep[outputs:] = 0
    rows = np.zeros((*weights.shape[2:], weights.shape[1], groups * WORD), np.uint8)
    rows[..., :outputs] = (weights > 0).transpose(2, 3, 1, 0)
    packed = _words(rows)  # [KH][KW][C][group]
    packed = np.concatenate([packed.reshape(-1, groups), np.zeros((1, groups), np.uint32)])
    b = Builder(name, f"{outputs} outputs, window {window.kernel} on {image.channels} channels, rows added", loc)
    kernel = _Rows(b, name, image, window, target, groups, offsets, packed, loc)
    kernel.tables(_words(keep), _words(flips), bool(keep[:outputs].all()) and outputs % WORD == 0)
    kernel.write()
    return b.function()


class _Rows:
    """Writes the function."""

    def __init__(
        self,
        b: Builder,
        name: str,
        image: Packed,
        window: Window,
        target: Packed,
        groups: int,
        offsets: _Offsets,
        rows: np.ndarray,
        loc: Location,
    ) -> None:
        self.loc = loc
        self.b, self.name, self.image, self.window, self.target = b, name, image, window, target
        self.groups, self.offsets = groups, offsets
        self.x = b.parameter("x", I32, image.length)
        self.lists = b.parameter("scratch", I16, scratch_length(image, window), access="both")
        self.y = b.parameter("y", I32, target.length, access="write")
        comment = "[kernel row][kernel column][channel][group of 32 outputs] weight bits"
        self.weights = constant_buffer(f"{name}_weights", rows, comment, 4)
        comment = "[more zeros, more ones][border class][group][plane] where counters start"
        self.start = constant_buffer(f"{name}_threshold", offsets.start, comment, 4)
        self.odd = constant_buffer(f"{name}_threshold_odd", offsets.odd, "the lowest bit of thresholds", 4)
        self.pixels = _pixels(image)
        self.length = self.pixels * image.channels

        # A window as large as the image has a single list, in which numbers count through all rows.
        self.alone = window.output(image.height, image.width) == (1, 1)
        self.lines = 1 if self.alone else window.kernel[0]
        # Where the starts of pixels begin.
        self.places = self.lists.length - window.kernel[0] * (self.pixels + 1)

    def tables(self, keep: np.ndarray, flips: np.ndarray, plain: bool) -> None:
        """Which outputs take part in the comparison, and which are turned round; then the function that adds."""
        self.keep = None if plain else constant_buffer(f"{self.name}_real", keep, "outputs that can change", 4)
        self.flips = None
        if flips.any():
            self.flips = constant_buffer(f"{self.name}_flip", flips, "outputs whose bit is turned round", 4)
        self.word = self._sums()

    # ----------------------------------------------------------------------------------------------------- the frame
    def write(self) -> None:
        """The loops over rows and pixels."""
        b, window = self.b, self.window
        height, width = window.output(self.image.height, self.image.width)
        mode = self._mode()
        invert = b.let(constant(0, I32) - mode, "invert")
        stride = window.strides[0]
        lines = window.kernel[0]
        origin = input_origin(self.image, window)
        # Lists live in a ring of as many as the kernel has rows; `oldest` is the slot of the first row of the window.
        oldest = b.variable("oldest", constant(0, I64))
        if self.alone:
            count = self._list_all(invert, origin)
            self._pixel(constant(0, I64), constant(0, I64), oldest, mode, invert, count)
            return
        with b.loop(height, "oy") as y:
            fresh = min(stride, lines)
            first = b.let(y * stride, "top")
            with b.when(compare("eq", y, 0)), b.loop(lines - fresh, "line", unroll_one=False) as line:
                self._list(first + line, line, invert, origin)
            with b.loop(fresh, "line") as line:
                slot = self._slot(oldest, line + (lines - fresh))
                self._list(first + (lines - fresh) + line, slot, invert, origin)
            with b.loop(width, "ox") as x:
                self._pixel(y, x, oldest, mode, invert)
            if height > 1 and lines > 1:
                b.assign(oldest, self._slot(oldest, constant(fresh, I64)))

    def _slot(self, oldest: Expression, line: Expression) -> Expression:
        """(oldest + line) modulo lines, without a division."""
        return self._slot_in(self.b, oldest, line)

    def _mode(self) -> Expression:
        """1 where more than half of the image's bits are set."""
        b, image = self.b, self.image
        total = b.variable("total", constant(0, I32))
        words = (image.height - 1) * image.row + image.width * image.pixel
        with b.loop(words, "k", unroll_one=False) as k:
            b.assign(total, total + popcount(load(self.x, k + image.origin)))
        half = image.height * image.width * image.channels // 2
        return b.let(Select(compare("gt", total, half), constant(1, I32), constant(0, I32)), "mode")

    # ------------------------------------------------------------------------------------------------------ the lists
    def _list(self, line: Expression, slot: Expression, invert: Expression, origin: int) -> None:
        """Lists the bits of one row of the image in a slot."""
        b, image = self.b, self.image
        begin = b.let(line * image.row + origin, "begin")
        places = b.let(slot * (self.pixels + 1) + self.places, "places")
        n = b.variable("n", Convert("trunc", slot * self.length, I32))
        entry = b.variable("entry", constant(0, I32))
        used = self.pixels_used()
        with b.loop(used, "px", unroll_one=False) as px:
            b.store(self.lists, places + px, Convert("trunc", n, I16))
            self._list_pixel(b.let(begin + px * image.pixel, "pixel"), n, entry, invert)
        b.store(self.lists, places + used, Convert("trunc", n, I16))

    def _list_all(self, invert: Expression, origin: int) -> Variable:
        """Lists the bits of the whole image."""
        b, image = self.b, self.image
        n = b.variable("n", constant(0, I32))
        entry = b.variable("entry", constant(0, I32))
        b.store(self.lists, self.places, 0)
        with b.loop(self.window.kernel[0], "line") as line, b.loop(self.window.kernel[1], "px") as px:
            self._list_pixel(b.let(line * image.row + px * image.pixel + origin, "pixel"), n, entry, invert)
        # Up to a multiple of the largest step with the number of a row of zeros.
        for k in range(ALONE[-1] - 1):
            b.store(self.lists, n + k, self.window.kernel[0] * self.window.kernel[1] * image.channels * self.groups)
        b.store(self.lists, self.places + 1, Convert("trunc", (n + (ALONE[-1] - 1)) & -ALONE[-1], I16))
        return n

    def _list_pixel(self, pixel: Expression, n: Variable, entry: Variable, invert: Expression) -> None:
        """Lists the bits of one pixel."""
        b, whole = self.b, self.image.channels // WORD
        with b.loop(whole, "word") as word:
            self._extract(b.let(load(self.x, pixel + word) ^ invert, "found"), n, entry, WORD)
        if self.image.channels % WORD:
            found = b.let(load(self.x, pixel + whole) ^ invert, "found")
            self._extract(found, n, entry, self.image.channels % WORD)

    def pixels_used(self) -> int:
        """Pixels of a row from the first that a window reaches."""
        window, image = self.window, self.image
        return (window.output(image.height, image.width)[1] - 1) * window.strides[1] + window.kernel[1]

    def _extract(self, found: Expression, n: Variable, entry: Variable, bits: int) -> None:
        """Appends the numbers of the set bits: every number is stored, and only those of set bits are kept."""
        b = self.b
        size = next(s for s in (8, 4, 2, 1) if bits % s == 0)
        word = b.variable("word", found)
        with b.loop(bits // size, "octet"):
            for k in range(size):
                b.store(self.lists, n, Convert("trunc", entry + k * self.groups, I16))
                bit = word & 1 if k == 0 else Binary("lshr", word, constant(k, I32)) & 1
                b.assign(n, n + bit)
            b.assign(entry, entry + size * self.groups)
            b.assign(word, Binary("lshr", word, constant(size, I32)))

    # ------------------------------------------------------------------------------------------------------ the sums
    def _pixel(
        self,
        y: Expression,
        x: Expression,
        oldest: Expression,
        mode: Expression,
        invert: Expression,
        listed: Variable | None = None,
    ) -> None:
        b, window, image = self.b, self.window, self.image
        left = b.let(x * window.strides[1] + self.places, "left")
        count = listed
        if count is None:
            count = b.variable("count", constant(0, I32))
            with b.loop(self.lines, "line") as line:
                place = b.let(line * (self.pixels + 1) + left, "place")
                last = load(self.lists, place + window.kernel[1])
                b.assign(count, count + (Convert("zext", last, I32) - Convert("zext", load(self.lists, place), I32)))
        number, even = self._number(count, mode)
        corner = self._class(y, x)
        step = self.offsets.planes * self.groups
        classes = self.offsets.start.shape[1]
        begin = b.let(_index(mode) * (classes * step) + corner * step, "begin")
        odd = b.let(_index(mode) * (classes * self.groups) + corner * self.groups, "odd")
        place = b.let(y * self.target.row + x * self.target.pixel + self.target.origin, "target")
        back = b.let(x * (window.strides[1] * image.channels * self.groups), "back")
        with b.loop(self.groups, "group") as group:
            more = even & load(self.odd, odd + group) | ~even
            places = () if self.alone else (oldest, left, back)
            tables = [load(table, group) for table in (self.keep, self.flips) if table is not None]
            start = at(self.start, begin + group * self.offsets.planes)
            rows, target = at(self.weights, group), at(self.y, place + group)
            b.call(self.word, self.lists, rows, start, target, number, more, invert, *places, *tables)

    def _number(self, count: Expression, mode: Expression) -> tuple[Expression, Expression]:
        """What is subtracted from all counters, and a mask: all ones if outputs with an odd threshold need one more.

        s = p, or 1 - p in mode 1; T = base + floor(s / 2), and one more where s is odd, or else the threshold.
        """
        b, base = self.b, self.offsets.base
        total = int(np.prod(self.window.kernel)) * self.image.channels
        # floor((count + 1 - total) / 2) = floor((count + up) / 2) - low, with nothing negative.
        low = total // 2
        up = 1 - total + 2 * low
        extra = b.let(Select(compare("ne", mode, 0), constant(up, I32), constant(0, I32)), "extra")
        s = b.let(count + extra, "s")
        bases = Select(compare("ne", mode, 0), constant(base[1] - low, I32), constant(base[0], I32))
        number = b.let(Binary("lshr", s, constant(1, I32)) + bases, "number")
        even = b.let((s & 1) - 1, "even")
        return number, even

    def _class(self, y: Expression, x: Expression) -> Expression:
        """The border class of a pixel."""
        borders = self.offsets.borders
        found: Expression = constant(0, I64)
        if len(borders.rows) > 1:
            rows = (borders.row_class * len(borders.columns)).astype(np.uint8)
            found = _index(load(constant_buffer(f"{self.name}_border_row", rows, "border class", 1), y))
        if len(borders.columns) > 1:
            columns = borders.column_class.astype(np.uint8)
            found = found + _index(load(constant_buffer(f"{self.name}_border_column", columns, "border class", 1), x))
        return self.b.let(found, "border")

    # -------------------------------------------------------------------------------------------------- adding rows
    def _sums(self) -> Function:
        """The function that adds the rows of one window to 32 counters and compares them.

        A function of its own has the processor's registers to itself.
        """
        window, image = self.window, self.image
        b = Builder(f"{self.name}_word", "adds rows for 32 outputs of one pixel", self.loc)
        lists = b.parameter("lists", I16, self.lists.length)
        rows = b.parameter("w", I32, self.weights.length - self.groups + 1)
        start = b.parameter("start", I32, self.offsets.planes)
        y = b.parameter("y", I32, 1, access="write")
        number, more, invert = (b.scalar(name, I32) for name in ("number", "more", "invert"))
        if self.alone:
            places: list[Expression] = [constant(0, I64), constant(self.places, I64), constant(0, I64)]
        else:
            places = [b.scalar(name, I64) for name in ("oldest", "left", "back")]
        oldest, left, back = places
        keep = b.scalar("keep", I32) if self.keep is not None else None
        flip = b.scalar("flip", I32) if self.flips is not None else None
        planes = [b.variable(f"c{p}", load(start, p)) for p in range(self.offsets.planes)]
        with b.loop(self.lines, "line") as line:
            slot = self._slot_in(b, oldest, line)
            place = b.let(slot * (self.pixels + 1) + left, "place")
            first = b.let(_index(load(lists, place)), "first")
            last = b.let(_index(load(lists, place + (1 if self.alone else window.kernel[1]))), "last")
            base = b.let(line * (window.kernel[1] * image.channels * self.groups) - back, "base")
            _Adder(b, planes, lists, rows, base).slice(first, last, ALONE if self.alone else SIZES)
        borrow = b.variable("borrow", more)
        for p, plane in enumerate(planes):
            bit = Binary("lshr", number, constant(p, I32)) & 1 if p else number & 1
            mask = b.let(constant(0, I32) - bit, "mask")
            b.assign(borrow, (~plane & (mask | borrow)) | (mask & borrow))
        word: Expression = ~borrow ^ invert
        word = word if keep is None else word & keep
        b.store(y, 0, word if flip is None else word ^ flip)
        return b.function()

    def _slot_in(self, b: Builder, oldest: Expression, line: Expression) -> Expression:
        if self.lines == 1:
            return constant(0, I64)
        place = b.let(oldest + line, "place")
        return b.let(select(compare("lt", place, self.lines), place, place - self.lines), "slot")


class _Adder:
    """Adds rows to counters: plane p holds bit p of 32 counts."""

    def __init__(self, b: Builder, planes: list[Variable], lists: Buffer, rows: Buffer, base: Expression) -> None:
        self.b, self.planes, self.lists, self.rows, self.base = b, planes, lists, rows, base

    def slice(self, first: Expression, last: Expression, sizes: tuple[int, ...]) -> None:
        """The rows whose numbers stand from `first` to before `last`; a multiple of the last size."""
        b = self.b
        count = b.let(last - first, "count")
        begin: Expression = first
        for size in sizes:
            end = last if size == sizes[-1] else b.let(last - (count & (size - 1)), f"end{size}")
            with b.loop(end, "k", start=begin, step=size, unroll_one=False) as k:
                self._tree([k + n for n in range(size)])
            begin = end

    def _row(self, k: Expression) -> Expression:
        return self.b.let(load(self.rows, self.base + _index(load(self.lists, k))), "row")

    def _tree(self, places: list[Expression]) -> None:
        """Adds 2^n rows: each level joins two carries of the level below with its own plane."""
        if len(places) == 1:
            self._ripple(0, self._row(places[0]))
            return
        waiting: dict[int, Expression] = {}
        for first, second in zip(places[::2], places[1::2], strict=True):
            carry = self._full(0, self._row(first), self._row(second))
            level = 1
            while level in waiting:
                carry = self._full(level, waiting.pop(level), carry)
                level += 1
            waiting[level] = carry
        ((level, last),) = waiting.items()
        self._ripple(level, last)

    def _full(self, level: int, a: Expression, c: Expression) -> Expression:
        """plane + a + c: the sum stays in the plane, the carry is given. Each step may overwrite an operand."""
        b, plane = self.b, self.planes[level]
        u = b.let(plane ^ a, "u")
        both = b.let(a ^ c, "v")
        b.assign(plane, plane ^ both)
        return b.let(a ^ (u & both), "carry")

    def _ripple(self, level: int, carry: Expression) -> None:
        """Adds a carry to the planes from `level` on."""
        b = self.b
        for plane in self.planes[level:]:
            following = b.let(plane & carry, "carry") if plane is not self.planes[-1] else None
            b.assign(plane, plane ^ carry)
            if following is not None:
                carry = following


def _index(value: Expression) -> Expression:
    """A small number as an index."""
    return Convert("zext", value, I64)


__all__ = ["fits", "row_conv", "scratch_length"]
