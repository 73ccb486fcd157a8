"""Lists of the set bits of an image's rows, or of their zeros where these are fewer: no list has more than half.

The numbers in a list are byte offsets of words, one or more words a bit: what `row_adder` takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I16,
    I32,
    Binary,
    Convert,
    Expression,
    Function,
    Promise,
    Select,
    Unary,
    Variable,
    compare,
    constant,
    load,
    popcount,
)
from bnnc.loops.kernels.tiling import Window
from bnnc.loops.layout import WORD, Packed


@dataclass(frozen=True)
class Line:
    """The part of an image that one list is of: `rows` rows, `row` words apart, of `pixels` pixels, `pixel` words
    apart, from whose first words on `channels` bits are looked at.

    width: words of weights of each bit, which offsets in lists skip; half: zeros are listed where these are fewer.
    """

    rows: int
    row: int
    pixels: int
    pixel: int
    channels: int
    width: int = 1
    half: bool = True

    @property
    def words(self) -> int:
        """Words of a pixel that are looked at."""
        return -(-self.channels // WORD)

    @property
    def bits(self) -> int:
        """How many bits are looked at."""
        return self.rows * self.pixels * self.channels

    @property
    def room(self) -> int:
        """Elements of a list: half of the bits, and one that is written before it is known not to be needed."""
        return (self.bits // 2 if self.half else self.bits) + 1

    @property
    def mode(self) -> int:
        """Which of the places tells whether zeros are listed: behind the starts of pixels and the end of the list."""
        return self.pixels + 1

    @property
    def places(self) -> int:
        """Elements of the places of one list."""
        return self.pixels + 2


def line_of(image: Packed, window: Window, channels: int, width: int = 1, *, half: bool = True) -> Line:
    """What one list of a layer is of: a row of the image as far as windows reach, or the whole of it where there is but
    one window."""
    columns = window.output(image.height, image.width)[1]
    if one_window(image, window):
        return Line(window.kernel[0], image.row, window.kernel[1], image.pixel, channels, width, half)
    return Line(1, 0, (columns - 1) * window.strides[1] + window.kernel[1], image.pixel, channels, width, half)


def one_window(image: Packed, window: Window) -> bool:
    """Whether there is but one: then a single list is of all its rows."""
    return window.output(image.height, image.width) == (1, 1)


@cache
def list_bits(line: Line, find: bool) -> Function:
    """list_bits(x, list, places): see Line. places i16: where in the list each pixel of a row starts, where the list
    ends, and 1 if it is one of zeros. (Of several rows only the end and the mode are told.)

    find: the machine finds the lowest bit of a word at once, and lists one after the other; else every number is
    stored, and only those of set bits are kept.
    """
    apart = [line.width, *([line.pixel] if line.pixel > line.words else []), *([line.row] if line.rows > 1 else [])]
    what, less = ("list", ", or the zeros if they are fewer") if line.half else ("list_ones", "")
    name = f"{what}_{line.rows}x{line.pixels}x{line.channels}_{'_'.join(str(number) for number in apart)}"
    b = Builder(name, f"lists the set bits of {line.rows} x {line.pixels} pixels{less}")
    x = b.parameter("x", I32, 0)
    numbers, places = b.parameter("list", I16, 0, access="both"), b.parameter("places", I16, 0, access="both")
    mode: Expression = constant(0, I32)
    if line.half:
        total = b.variable("total", constant(0, I32))
        run = 1 if line.pixel > line.words else line.pixels  # pixels whose words follow each other
        with (
            b.loop(line.rows, "row") as row,
            b.loop(line.pixels // run, "px") as px,
            b.loop(run * line.words, "k") as k,
        ):
            b.assign(total, total + popcount(load(x, row * line.row + px * line.pixel + k)))
        mode = b.let(Select(compare("gt", total, line.bits // 2), constant(1, I32), constant(0, I32)), "mode")
    invert = b.let(constant(0, I32) - mode, "invert") if line.half else constant(0, I32)
    n = b.variable("n", constant(0, I32), Promise(line.room - 1) if find else None)
    entry = b.variable("entry", constant(0, I32))
    step = 4 * line.width

    def extract(found: Expression, bits: int) -> None:
        word: Variable = b.variable("word", found)
        if find:
            if bits < WORD:  # zeros are listed of real channels only
                b.assign(word, word & ((1 << bits) - 1))
            with b.loop_while(compare("ne", word, 0)):
                lowest = Unary("count_trailing_zeros", word)
                b.store(numbers, n, Convert("trunc", entry + lowest * step, I16))
                b.assign(n, n + 1)
                b.assign(word, word & (word - 1))
            b.assign(entry, entry + step * bits)
            return
        size = next(s for s in (8, 4, 2, 1) if bits % s == 0)
        with b.loop(bits // size, "octet"):
            for k in range(size):
                b.store(numbers, n, Convert("trunc", entry + step * k, I16))
                b.assign(n, n + (word & 1 if k == 0 else Binary("lshr", word, constant(k, I32)) & 1))
            b.assign(entry, entry + step * size)
            b.assign(word, Binary("lshr", word, constant(size, I32)))

    whole, rest = line.channels // WORD, line.channels % WORD
    with b.loop(line.rows, "row") as row, b.loop(line.pixels, "px") as px:
        if line.rows == 1:
            b.store(places, px, Convert("trunc", n, I16))
        pixel = b.let(row * line.row + px * line.pixel, "pixel")
        if whole:
            with b.loop(whole, "word") as word:
                extract(b.let(load(x, pixel + word) ^ invert, "found"), WORD)
        if rest:
            extract(b.let(load(x, pixel + whole) ^ invert, "found"), rest)
    b.store(places, line.pixels, Convert("trunc", n, I16))
    b.store(places, line.mode, Convert("trunc", mode, I16))
    return b.function()


@cache
def blank_list(line: Line, ones: bool) -> Function:
    """blank_list(places): the list of a row outside of the image, whose bits are all zeros or all ones, is empty."""
    b = Builder(f"blank_{line.pixels}" + ("_ones" if ones else ""), "an empty list: of no ones, or of no zeros")
    places = b.parameter("places", I16, 0, access="write")
    with b.loop(line.pixels + 1, "px") as px:
        b.store(places, px, 0)
    b.store(places, line.mode, int(ones))
    return b.function()


__all__ = ["Line", "blank_list", "line_of", "list_bits", "one_window"]
