"""Copies between the user's arrays (row-major, channels first, one number each) and layouts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bnnc.ir.location import Location
from bnnc.ir.types import F32 as F32_TYPE
from bnnc.ir.types import DType, value_range
from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    F32,
    I8,
    I16,
    I32,
    Buffer,
    Convert,
    Expression,
    Function,
    Scalar,
    binary,
    constant,
    load,
    pack,
    vector_of,
)
from bnnc.loops.kernels.numbers import bit_as, converted, number_of, plane_bits
from bnnc.loops.kernels.strips import strips
from bnnc.loops.layout import WORD, Elements, Layout, Packed, image_shape


def user_element(dtype: DType) -> tuple[Scalar, bool]:
    """The element in which a user's array of that dtype comes (f32, i8, i16 or i32), and whether it is unsigned."""
    if isinstance(dtype, F32_TYPE):
        return F32, False
    lo, hi = value_range(dtype)
    for element in (I8, I16):
        if -(1 << (element.bits - 1)) <= lo and hi < 1 << (element.bits - 1):
            return element, False
        if lo >= 0 and hi < 1 << element.bits:
            return element, True
    return I32, False


def copy_in(
    name: str,
    loc: Location,
    dtype: DType,
    shape: tuple[int, ...],
    source: Scalar,
    target: Layout,
    lanes: int = 1,
    *,
    channels_last: bool = False,
) -> Function:
    """NAME(source, target): one sample of the user's array into a layout; the halo is left alone.

    `channels_last`: the array is [height][width][channel], not [channel][height][width].

    Elements of `source` are signed, unless values of `dtype` (lo..hi) do not fit it otherwise (u8 in i8). Raises
    TypeError for f32 into integers, ValueError when `shape` is not the layout's.
    """
    image = _image(shape, target, channels_last)
    unsigned = not source.is_float and value_range(dtype)[1] >= 1 << (source.bits - 1)
    b = Builder(name, f"input {dtype}{list(shape)}", loc)
    x = b.parameter("source", source, target.channels * target.height * target.width)
    y = b.parameter("target", target.element, target.length, access="write")
    if isinstance(target, Elements):
        _copy_elements(b, x, y, image, target, lanes, unsigned, inward=True)
        return b.function()
    if source.is_float:
        raise TypeError(f"{source} does not become bits by moving it")
    with _pixels(b, image, target) as (pixel, place):
        for word, count in _words(b, target):
            _pack_word(b, x, y, pixel, image[0], place, word, count, target, lanes, unsigned)
    return b.function()


def copy_out(
    name: str,
    loc: Location,
    dtype: DType,
    shape: tuple[int, ...],
    source: Layout,
    target: Scalar,
    lanes: int = 1,
) -> Function:
    """NAME(source, target): a layout into one sample of the user's array, numbers as `target` (wider, narrower or f32).

    Bits become -1 and +1, other planes their integers. Raises TypeError for f32 into integers, ValueError when `shape`
    is not the layout's.
    """
    image = _image(shape, source)
    b = Builder(name, f"output {dtype}{list(shape)} as {target}", loc)
    x = b.parameter("source", source.element, source.length)
    y = b.parameter("target", target, source.channels * source.height * source.width, access="write")
    if isinstance(source, Elements):
        _copy_elements(b, x, y, image, source, lanes, unsigned=False, inward=False)
        return b.function()
    with _pixels(b, image, source) as (pixel, place):
        for word, count in _words(b, source):
            planes = [
                b.let(load(x, place + plane * source.words + word), "word") for plane in range(len(source.planes))
            ]
            first = b.let(pixel + word * (WORD * image[0]), "first")
            with b.loop(count, "bit") as bit:
                shift = Convert("trunc", bit, I32) if bit.type != I32 else bit
                bits = [binary("lshr", plane, shift) & 1 for plane in planes]
                b.store(y, first + bit * image[0], converted(number_of(bits, source.planes), target))
    return b.function()


def _image(shape: tuple[int, ...], layout: Layout, channels_last: bool = False) -> tuple[int, int, int]:
    """Steps from channel to channel, from row to row and from pixel to pixel in the user's array."""
    if image_shape(shape) != (layout.channels, layout.height, layout.width):
        raise ValueError(f"{list(shape)} does not lie as {layout}")
    if channels_last:
        return 1, layout.width * layout.channels, layout.channels
    return layout.height * layout.width, layout.width, 1


@contextmanager
def _pixels(b: Builder, image: tuple[int, int, int], layout: Layout) -> Iterator[tuple[Expression, Expression]]:
    """Loops over all pixels: (index in the user's array, index in the layout) of its channel 0."""
    with b.loop(layout.height, "y") as y:
        row, line = b.let(y * image[1], "row"), b.let(y * layout.row + layout.origin, "line")
        with b.loop(layout.width, "x") as x:
            yield b.let(row + x * image[2], "pixel"), b.let(line + x * layout.pixel, "place")


def _copy_elements(
    b: Builder,
    x: Buffer,
    y: Buffer,
    image: tuple[int, int, int],
    layout: Elements,
    lanes: int,
    unsigned: bool,
    inward: bool,
) -> None:
    def copy(index: Expression, place: Expression, width: int = 1) -> None:
        from_, to = (index, place) if inward else (place, index)
        value = load(x, from_, vector_of(x.element, width))
        b.store(y, to, converted(value, y.element, unsigned))

    if layout.pixel == 1:  # one channel: rows are neighbours in both
        with b.loop(layout.height, "y") as row:
            for first, width in strips(b, layout.width, lanes):
                copy(row * image[1] + first, row * layout.row + layout.origin + first, width)
        return
    with _pixels(b, image, layout) as (pixel, place):
        if image[0] == 1:  # one pixel: channels are neighbours in both
            for first, width in strips(b, layout.channels, lanes):
                copy(pixel + first, place + first, width)
            return
        with b.loop(layout.channels, "channel") as channel:
            copy(pixel + channel * image[0], place + channel)


def _words(b: Builder, layout: Packed) -> Iterator[tuple[Expression, int]]:
    """Loops over the whole words of a plane, then the last, partial one: (word, channels in it)."""
    full, rest = divmod(layout.channels, WORD)
    if full:
        with b.loop(full, "word") as word:
            yield word, WORD
    if rest:
        yield constant(full, b.index), rest


def _pack_word(
    b: Builder,
    x: Buffer,
    y: Buffer,
    pixel: Expression,
    step: int,
    place: Expression,
    word: Expression,
    count: int,
    layout: Packed,
    lanes: int,
    unsigned: bool,
) -> None:
    """Writes one word of every plane, of `count` channels that lie `step` apart in the user's array."""
    first = b.let(pixel + word * (WORD * step), "first")
    # Unless numbers are wider than the planes, the top plane is a copy of their sign.
    wide = I32 if unsigned or x.element.bits <= len(layout.planes) else x.element
    if step == 1 and count == WORD:
        width = min(lanes, WORD)
        vectors = [load(x, first + start, vector_of(x.element, width)) for start in range(0, WORD, width)]
        numbers = [b.let(converted(vector, wide, unsigned), "numbers") for vector in vectors]
        bits = [plane_bits(number, layout.planes) for number in numbers]
        for plane in range(len(layout.planes)):
            b.store(y, place + plane * layout.words + word, pack(tuple(part[plane] for part in bits)))
        return
    totals = [b.variable("total", constant(0, I32)) for _ in layout.planes]
    with b.loop(count, "bit") as bit:
        shift = Convert("trunc", bit, I32) if bit.type != I32 else bit
        number = b.let(converted(load(x, first + bit * step), wide, unsigned), "number")
        for total, condition in zip(totals, plane_bits(number, layout.planes), strict=True):
            b.assign(total, total | binary("shl", bit_as(condition), shift))
    for plane, total in enumerate(totals):
        b.store(y, place + plane * layout.words + word, total)


__all__ = ["copy_in", "copy_out", "user_element"]
