"""Reductions of numbers over any axes; every sum in the order of the logical shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from bnnc.ir.location import Location
from bnnc.ir.nn import REDUCTIONS
from bnnc.loops.builder import Builder
from bnnc.loops.ir import F32, Buffer, Expression, Function, Type, Unary, constant, load, vector_of, with_element
from bnnc.loops.kernels.functions import apply
from bnnc.loops.kernels.numbers import converted
from bnnc.loops.kernels.strides import first_of, kept_strides, nest, strides_of
from bnnc.loops.kernels.strips import strips
from bnnc.loops.layout import Elements

_START = {"max": -math.inf, "min": math.inf, "prod": 1.0}


def reduce(
    name: str,
    loc: Location,
    function: str,
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    source: Elements,
    target_shape: tuple[int, ...],
    target: Elements,
    lanes: int = 1,
) -> Function:
    """NAME(source, target): a function of nn.REDUCTIONS over `axes` of the logical `shape`; the target holds f32.

    `target_shape` is `shape` without the axes, or with length 1 there. Integers of the source are taken as f32 (the
    caller knows that they fit). Lanes are channels where these stay. Raises ValueError for shapes that do not fit the
    layouts, or another function.
    """
    if function not in REDUCTIONS or not target.element.is_float:
        raise ValueError(f"no reduction `{function}` to {target.element}")
    b = Builder(name, f"{function} over axes {list(axes)} of {list(shape)}", loc)
    x = b.parameter("source", source.element, source.length)
    y = b.parameter("target", target.element, target.length, access="write")
    steps, out_steps = strides_of(source, shape), kept_strides(target, target_shape, axes, shape)
    outer = [axis for axis in range(1, len(shape)) if axis not in axes]
    channels = shape[0] if shape and 0 not in axes else 1
    counts, inner = [shape[axis] for axis in axes], [steps[axis] for axis in axes]
    outer_steps = ([steps[axis] for axis in outer], [out_steps[axis] for axis in outer])
    with nest(b, [shape[axis] for axis in outer], outer_steps, (first_of(source), first_of(target))) as (at, out):
        for channel, width in strips(b, channels, lanes):
            type_ = vector_of(F32, width)

            def fold(
                combine: Callable[[Expression, Expression], Expression],
                start: float,
                channel: Expression = channel,
                type_: Type = type_,
            ) -> Expression:
                return _fold(b, x, at + channel, type_, counts, inner, combine, start)

            b.store(y, out + channel, _reduced(b, function, fold, math.prod(counts), type_))
    return b.function()


Combine = Callable[[Expression, Expression], Expression]


def _fold(
    b: Builder,
    x: Buffer,
    at: Expression,
    type_: Type,
    counts: Sequence[int],
    steps: Sequence[int],
    combine: Combine,
    start: float,
) -> Expression:
    total = b.variable("total", constant(start, type_))
    with nest(b, counts, [steps], [b.let(at, "at")]) as (place,):
        value = converted(load(x, place, with_element(type_, x.element)), F32)
        b.assign(total, combine(total, b.let(value, "value")))
    # Named, since a second fold follows in some functions.
    return b.let(total, "folded")


def _reduced(
    b: Builder, function: str, fold: Callable[[Combine, float], Expression], count: int, type_: Type
) -> Expression:
    """Sums start from +0; the other folds from the neutral number, which gives the same bits as the first element."""
    match function:
        case "max" | "min":
            return fold(lambda total, x: apply(b, function, (total, x)), _START[function])
        case "prod":
            return fold(lambda total, x: total * x, _START[function])
        case "l1":
            return fold(lambda total, x: total + Unary("abs", x), 0.0)
        case "sum_square":
            return fold(lambda total, x: total + x * x, 0.0)
        case "l2":
            return Unary("sqrt", fold(lambda total, x: total + x * x, 0.0))
        case "log_sum_exp":
            largest = fold(lambda total, x: apply(b, "max", (total, x)), _START["max"])
            sum_ = fold(lambda total, x: total + apply(b, "exp", (x - largest,)), 0.0)
            return apply(b, "log", (sum_,)) + largest
    total = fold(lambda total, x: total + x, 0.0)
    return total / float(count) if function == "mean" else total
