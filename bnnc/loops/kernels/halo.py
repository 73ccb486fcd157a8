"""Writes the halo around an image: once, where the memory plan keeps it, since no other kernel touches it."""

from __future__ import annotations

from bnnc.ir.location import Location
from bnnc.loops.builder import Builder
from bnnc.loops.ir import Buffer, Expression, Function, Operand, constant, vector_of
from bnnc.loops.kernels.numbers import planes_of
from bnnc.loops.kernels.strips import strips
from bnnc.loops.layout import WORD, Layout, Packed


def fill_halo(name: str, loc: Location, layout: Layout, lanes: int = 1) -> Function:
    """NAME(target): the halo's value into every pixel of the halo, and nothing else.

    In packed bits a value of 0 is written as -1 (all planes 0: whoever reads them corrects it); bits above the last
    channel stay 0.
    """
    halo = layout.halo
    b = Builder(name, f"halo of {halo.value}", loc)
    y = b.parameter("target", layout.element, layout.length, access="write")
    pattern = pixel_pattern(layout, halo.value)
    inside, between = layout.width * layout.pixel, (halo.left + halo.right) * layout.pixel
    # The right border of a row and the left border of the next are neighbours.
    _fill(b, y, 0, layout.origin, pattern, lanes)
    with b.loop(layout.height - 1, "y") as row:
        _fill(b, y, row * layout.row + (layout.origin + inside), between, pattern, lanes)
    end = layout.origin + (layout.height - 1) * layout.row + inside
    _fill(b, y, end, layout.length - end, pattern, lanes)
    return b.function()


def fill_row(name: str, loc: Location, layout: Layout, lanes: int = 1) -> Function:
    """NAME(target): the halo's value into every pixel of one row, its halo included."""
    value = layout.halo.value
    b = Builder(name, f"a row of the halo of {value}", loc)
    y = b.parameter("target", layout.element, layout.row, access="write")
    _fill(b, y, 0, layout.row, pixel_pattern(layout, value), lanes)
    return b.function()


def pixel_pattern(layout: Layout, value: float) -> list[int | float]:
    """The buffer's elements of one pixel with that value in every channel; a single one where they are all the same."""
    if not isinstance(layout, Packed):
        return [value]
    spare = layout.words * WORD - layout.channels
    words: list[int | float] = []
    for bit in planes_of(int(value), layout.planes):
        last = (1 << (WORD - spare)) - 1
        words += [*[-1] * (layout.words - 1), last] if bit else [0] * layout.words
    return [word - (1 << WORD) if word >= 1 << (WORD - 1) else word for word in words]


def fill_image(b: Builder, y: Buffer, layout: Layout, value: float, lanes: int) -> None:
    """Writes the value into every channel of every pixel, but not into the halo."""
    pattern = pixel_pattern(layout, value)
    with b.loop(layout.height, "y") as row:
        _fill(b, y, row * layout.row + layout.origin, layout.width * layout.pixel, pattern, lanes)


def _fill(b: Builder, y: Buffer, first: Operand, count: int, pattern: list[int | float], lanes: int) -> None:
    if not count:
        return
    start = first if isinstance(first, Expression) else constant(first, b.index)
    start = b.let(start, "start")
    if len(set(pattern)) == 1:
        for index, width in strips(b, count, lanes):
            b.store(y, start + index, constant(pattern[0], vector_of(y.element, width)))
        return
    with b.loop(count // len(pattern), "pixel") as pixel:
        place = b.let(start + pixel * len(pattern), "place")
        for position, word in enumerate(pattern):
            b.store(y, place + position, constant(word, y.element))
