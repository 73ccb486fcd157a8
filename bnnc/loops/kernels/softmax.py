"""Softmax and its logarithm along one axis."""

from __future__ import annotations

import math

from bnnc.ir.location import Location
from bnnc.loops.builder import Builder
from bnnc.loops.ir import F32, Function, constant, load, vector_of, with_element
from bnnc.loops.kernels.functions import apply
from bnnc.loops.kernels.numbers import converted
from bnnc.loops.kernels.strides import first_of, nest, strides_of
from bnnc.loops.kernels.strips import strips
from bnnc.loops.layout import Elements


def softmax(
    name: str,
    loc: Location,
    shape: tuple[int, ...],
    axis: int,
    source: Elements,
    target: Elements,
    lanes: int = 1,
    log: bool = False,
) -> Function:
    """NAME(source, target): exp(x - max) / sum along an axis of the logical shape, or x - max - log(sum) with `log`.

    The target holds f32; it keeps the powers, or the differences, between the second pass and the third. Raises
    ValueError for shapes that do not fit the layouts.
    """
    if not target.element.is_float:
        raise ValueError(f"no softmax to {target.element}")
    b = Builder(name, f"{'log ' if log else ''}softmax along axis {axis} of {list(shape)}", loc)
    x = b.parameter("source", source.element, source.length)
    y = b.parameter("target", target.element, target.length, access="both")
    steps, out_steps = strides_of(source, shape), strides_of(target, shape)
    outer = [a for a in range(1, len(shape)) if a != axis]
    outer_steps = ([steps[a] for a in outer], [out_steps[a] for a in outer])
    with nest(b, [shape[a] for a in outer], outer_steps, (first_of(source), first_of(target))) as (at, out):
        for channel, width in strips(b, 1 if axis == 0 else shape[0], lanes):
            type_ = vector_of(F32, width)
            first, place = b.let(at + channel, "in"), b.let(out + channel, "out")
            largest = b.variable("largest", constant(-math.inf, type_))
            taken = with_element(type_, x.element)
            with b.loop(shape[axis], "k") as k:
                value = b.let(converted(load(x, first + k * steps[axis], taken), F32), "value")
                b.assign(largest, apply(b, "max", (largest, value)))
            total = b.variable("total", constant(0.0, type_))
            with b.loop(shape[axis], "k") as k:
                shifted = b.let(converted(load(x, first + k * steps[axis], taken), F32) - largest, "shifted")
                power = b.let(apply(b, "exp", (shifted,)), "power")
                b.assign(total, total + power)
                b.store(y, place + k * out_steps[axis], shifted if log else power)
            divisor = b.let(apply(b, "log", (total,)) if log else total, "divisor")
            with b.loop(shape[axis], "k") as k:
                kept = load(y, place + k * out_steps[axis], type_)
                b.store(y, place + k * out_steps[axis], kept - divisor if log else kept / divisor)
    return b.function()
