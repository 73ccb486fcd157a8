"""Pools: maximum, minimum, sum or average over windows of elements, and OR or AND over windows of packed bits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bnnc.ir.location import Location
from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    F32,
    I32,
    NUMPY,
    Buffer,
    Constant,
    Convert,
    Expression,
    Function,
    Operand,
    Scalar,
    Type,
    Variable,
    binary,
    constant,
    constant_buffer,
    load,
    splat,
    vector_of,
    with_element,
)
from bnnc.loops.kernels.functions import apply
from bnnc.loops.kernels.numbers import converted
from bnnc.loops.kernels.strips import strips
from bnnc.loops.layout import WORD, Elements, Layout, Packed

_PAIRS_UNROLLED = 16
_TAPS_UNROLLED = 100

FUNCTIONS = ("max", "min", "sum", "average")


@dataclass(frozen=True)
class _Axis:
    """One axis of the window: sizes of the input and the output, and where the taps fall."""

    size: int
    outputs: int
    kernel: int
    stride: int
    pad: int
    pad_end: int
    dilation: int

    def inside(self, position: int, padded: bool = False) -> range:
        """The taps of a window that fall into the input, or into the padded input."""
        start = position * self.stride - (0 if padded else self.pad)
        size = self.size + (self.pad + self.pad_end if padded else 0)
        first = -(-max(0, -start) // self.dilation)
        last = min(self.kernel, -(-max(0, size - start) // self.dilation))
        return range(first, max(first, last))

    def bounds(self, b: Builder, position: Expression, padded: bool = False) -> tuple[Expression, Expression]:
        """The same range for a position that is known when the program runs."""
        start = b.let(position * self.stride - (0 if padded else self.pad), "start")
        size = self.size + (self.pad + self.pad_end if padded else 0)

        def reached(distance: Expression) -> Expression:
            positive = binary("max", distance, 0)
            return positive if self.dilation == 1 else binary("div", positive + (self.dilation - 1), self.dilation)

        first = b.let(reached(0 - start), "first")
        last = binary("min", reached(size - start), self.kernel)
        return first, b.let(binary("max", last, first), "last")

    def runs(self) -> list[tuple[range, range, int]]:
        """Neighbouring positions whose windows are cut alike: (positions, taps inside, taps inside the padding)."""
        found: list[tuple[range, range, int]] = []
        for position in range(self.outputs):
            taps, padded = self.inside(position), len(self.inside(position, padded=True))
            if found and (found[-1][1], found[-1][2]) == (taps, padded):
                found[-1] = (range(found[-1][0].start, position + 1), taps, padded)
            else:
                found.append((range(position, position + 1), taps, padded))
        return found


@dataclass(frozen=True)
class _Window:
    """One output pixel while its code is written: where it is, its taps, and what a sum is divided by."""

    y: Expression
    x: Expression
    rows: tuple[Operand, Operand]
    columns: tuple[Operand, Operand]
    count: Expression
    unrolled: bool

    def each(self, b: Builder, write: Callable[[Expression, Expression], None]) -> None:
        """Writes the code of every tap, row-major."""
        if self.unrolled:
            for row in _numbers(self.rows):
                for column in _numbers(self.columns):
                    write(Constant(row, b.index), Constant(column, b.index))
            return
        with (
            b.loop(self.rows[1], "row", self.rows[0]) as down,
            b.loop(self.columns[1], "column", self.columns[0]) as right_,
        ):
            write(down, right_)


def _numbers(ends: tuple[Operand, Operand]) -> range:
    first, last = ends
    assert isinstance(first, int)
    assert isinstance(last, int)
    return range(first, last)


def pool(
    name: str,
    loc: Location,
    function: str,
    source: Layout,
    target: Layout,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilations: tuple[int, int] = (1, 1),
    lanes: int = 1,
    *,
    count_include_pad: bool = False,
    smallest: np.ndarray | None = None,
    ends: tuple[int, int] | None = None,
    wide: Scalar | None = None,
    ending: Callable[[Builder, Expression], Expression] | None = None,
) -> Function:
    """NAME(source, target): a pool over (height, width) windows; pads are (top, left, bottom, right).

    Both layouts hold elements (`max`, `min`, `sum` of any element, `average` of f32), or both one plane of packed bits
    (`max` is OR, `min` AND). Bool `smallest` [C] marks channels of a max pool, not of f32, that take the minimum. The
    output sizes are those of `target`, so `ceil_mode` is decided there. Taps in the padding, halo or not, are skipped.
    `ends` are the lowest and highest value of the integers: what a maximum or minimum starts from, and what a window of
    padding alone gives; without them, those of the element. `wide` is the element in which integers are added up, if
    not the wider one; `ending` is what becomes of a finished sum. Raises ValueError for anything else.
    """
    axes = tuple(
        _Axis(size, outputs, kernel[a], strides[a], pads[a], pads[a + 2], dilations[a])
        for a, (size, outputs) in enumerate(((source.height, target.height), (source.width, target.width)))
    )
    b = Builder(name, f"{function} pool {kernel[0]} x {kernel[1]}", loc)
    x = b.parameter("source", source.element, source.length)
    y = b.parameter("target", target.element, target.length, access="write")
    if source.channels != target.channels or function not in FUNCTIONS:
        raise ValueError(f"no {function} pool of {source} to {target}")
    if isinstance(source, Packed) and isinstance(target, Packed):
        body = _bits(b, name, function, source, target, smallest, (x, y), axes)
    elif isinstance(source, Elements) and isinstance(target, Elements):
        body = _elements(b, name, function, source, target, (x, y), axes, ends, smallest, wide, ending)
    else:
        raise ValueError(f"no {function} pool of {source} to {target}")
    _windows(b, axes, count_include_pad, lambda window: body(window, lanes))
    return b.function()


Body = Callable[[_Window, int], None]


def _windows(b: Builder, axes: Sequence[_Axis], include_pad: bool, write: Callable[[_Window], None]) -> None:
    """Writes the loops over the output pixels: one nest for each way in which borders cut windows, or, where there are
    many ways, one nest that computes the bounds of every window."""
    rows, columns = (axis.runs() for axis in axes)
    if len(rows) * len(columns) <= _PAIRS_UNROLLED:
        taps = sum(len(r[1]) for r in rows) * sum(len(c[1]) for c in columns)
        for row_positions, row_taps, row_padded in rows:
            for positions, taps_inside, padded in columns:
                count = row_padded * padded if include_pad else len(row_taps) * len(taps_inside)
                with (
                    b.loop(row_positions.stop, "y", row_positions.start) as y,
                    b.loop(positions.stop, "x", positions.start) as x,
                ):
                    ends = ((row_taps.start, row_taps.stop), (taps_inside.start, taps_inside.stop))
                    write(_Window(y, x, *ends, constant(float(count), F32), taps <= _TAPS_UNROLLED))
        return
    with b.loop(axes[0].outputs, "y") as y:
        down = axes[0].bounds(b, y)
        down_padded = axes[0].bounds(b, y, padded=True) if include_pad else down
        with b.loop(axes[1].outputs, "x") as x:
            right = axes[1].bounds(b, x)
            right_padded = axes[1].bounds(b, x, padded=True) if include_pad else right
            taps_ = (down_padded[1] - down_padded[0]) * (right_padded[1] - right_padded[0])
            write(_Window(y, x, down, right, Convert("to_float", taps_, F32), unrolled=False))


def _input_place(axes: Sequence[_Axis], source: Layout, window: _Window) -> tuple[Expression, int, int]:
    """Index of tap (0, 0) of the window, which may lie before the buffer, and the steps from tap to tap."""
    rows, columns = axes
    first = (window.y * rows.stride - rows.pad) * source.row + (window.x * columns.stride - columns.pad) * source.pixel
    return first + source.origin, rows.dilation * source.row, columns.dilation * source.pixel


def _output_place(target: Layout, window: _Window) -> Expression:
    return window.y * target.row + window.x * target.pixel + target.origin


# -------------------------------------------------------------------------------------------------------- elements
def _elements(
    b: Builder,
    name: str,
    function: str,
    source: Elements,
    target: Elements,
    buffers: tuple[Buffer, Buffer],
    axes: Sequence[_Axis],
    ends: tuple[int, int] | None,
    smallest: np.ndarray | None,
    wider: Scalar | None,
    ending: Callable[[Builder, Expression], Expression] | None,
) -> Body:
    """Channels that take the minimum flip all bits before and after: that turns the order of integers round."""
    real = source.element.is_float
    mixed = smallest is not None and bool(smallest.any())
    if (
        real != target.element.is_float
        or (function == "average" and not real)
        or (mixed and (real or function != "max"))
    ):
        raise ValueError(f"no {function} pool of {source.element} to {target.element}")
    wide = wider or max((source.element, target.element), key=lambda element: element.bits)
    low, high = ends or (-(1 << (wide.bits - 1)), (1 << (wide.bits - 1)) - 1)
    flips = starts = None
    if mixed and smallest is not None:
        flips = constant_buffer(f"{name}_smallest", np.where(smallest, -1, 0).astype(NUMPY[wide]), "takes the minimum")
        starts = constant_buffer(f"{name}_start", np.where(smallest, ~high, low).astype(NUMPY[wide]), "lowest values")
    x, y = buffers

    def body(window: _Window, lanes: int) -> None:
        first, down, right = _input_place(axes, source, window)
        first, place = b.let(first, "in"), b.let(_output_place(target, window), "out")
        for channel, width in strips(b, source.channels, lanes):
            type_ = vector_of(wide, width)
            start = _start(function, (low, high), type_) if starts is None else load(starts, channel, type_)
            flip = None if flips is None else b.let(load(flips, channel, type_), "flip")
            total = b.variable("total", start)

            def tap(
                row: Expression,
                column: Expression,
                total: Variable = total,
                channel: Expression = channel,
                flip: Expression | None = flip,
            ) -> None:
                where = first + row * down + column * right + channel
                taken = converted(load(x, where, with_element(total.type, source.element)), wide)
                b.assign(total, _joined(b, function, total, taken if flip is None else taken ^ flip))

            window.each(b, tap)
            result: Expression = total if flip is None else total ^ flip
            if function == "average":
                result = total / splat(window.count, total.type)
            if ending is not None:
                result = ending(b, result)
            b.store(y, place + channel, converted(result, target.element))

    return body


def _start(function: str, ends: tuple[int, int], type_: Type) -> Expression:
    real = type_.element.is_float
    if function in ("sum", "average"):
        return constant(0.0 if real else 0, type_)
    low, high = (-math.inf, math.inf) if real else ends
    return constant(low if function == "max" else high, type_)


def _joined(b: Builder, function: str, total: Expression, taken: Expression) -> Expression:
    if function in ("sum", "average"):
        return total + taken
    if total.type.element.is_float:
        return apply(b, function, (total, taken))
    return binary(function, total, taken)


# ------------------------------------------------------------------------------------------------------------ bits
def _bits(
    b: Builder,
    name: str,
    function: str,
    source: Packed,
    target: Packed,
    smallest: np.ndarray | None,
    buffers: tuple[Buffer, Buffer],
    axes: Sequence[_Axis],
) -> Body:
    """OR of words. AND is OR between two flips of the bits that take the minimum, so one loop serves any mixture."""
    if source.planes != (0,) or target.planes != (0,) or function not in ("max", "min"):
        raise ValueError(f"no {function} pool of {source} to {target}")
    flips = np.zeros(source.words * WORD, np.bool_)
    flips[: source.channels] = function == "min" if smallest is None else smallest
    words = np.packbits(flips, bitorder="little").view("<i4")
    mask = constant_buffer(f"{name}_smallest", words, "bits that take the minimum") if flips.any() else None
    x, y = buffers

    def body(window: _Window, lanes: int) -> None:
        first, down, right = _input_place(axes, source, window)
        first, place = b.let(first, "in"), b.let(_output_place(target, window), "out")
        for word, width in strips(b, source.words, lanes):
            type_ = vector_of(I32, width)
            flip = None if mask is None else b.let(load(mask, word, type_), "flip")
            total = b.variable("total", constant(0, type_))

            def tap(
                row: Expression,
                column: Expression,
                total: Variable = total,
                word: Expression = word,
                flip: Expression | None = flip,
            ) -> None:
                taken = load(x, first + row * down + column * right + word, total.type)
                b.assign(total, total | (taken if flip is None else taken ^ flip))

            window.each(b, tap)
            b.store(y, place + word, total if flip is None else total ^ flip)

    return body
