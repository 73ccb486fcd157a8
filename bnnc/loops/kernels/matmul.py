"""The product of two computed matrices; a layer with fixed weights has faster kernels."""

from __future__ import annotations

import numpy as np

from bnnc.ir.location import Location
from bnnc.loops.builder import Builder
from bnnc.loops.ir import F32, Buffer, Expression, Fma, Function, Type, constant, load, splat, vector_of, with_element
from bnnc.loops.kernels.numbers import converted
from bnnc.loops.kernels.strides import first_of, nest, strides_of
from bnnc.loops.kernels.strips import strips
from bnnc.loops.layout import Elements


def matmul(
    name: str,
    loc: Location,
    left_shape: tuple[int, ...],
    left: Elements,
    right_shape: tuple[int, ...],
    right: Elements,
    target: Elements,
    lanes: int = 1,
) -> Function:
    """NAME(left, right, target): left @ right over the last two axes, leading ones broadcast; fused, k ascending.

    The target holds f32. Lanes run along the first axis of the result. Raises ValueError for shapes that do not fit.
    """
    if left_shape[-1] != right_shape[-2] or not target.element.is_float:
        raise ValueError(f"{list(left_shape)} and {list(right_shape)} cannot be multiplied to {target.element}")
    leading = np.broadcast_shapes(left_shape[:-2], right_shape[:-2])
    shape = (*leading, left_shape[-2], right_shape[-1])
    b = Builder(name, f"{list(left_shape)} @ {list(right_shape)}", loc)
    x = b.parameter("left", left.element, left.length)
    w = b.parameter("right", right.element, right.length)
    y = b.parameter("target", target.element, target.length, access="write")
    steps, right_steps = strides_of(left, left_shape), strides_of(right, right_shape)
    ways = (
        (*_broadcast(steps, left_shape, len(leading)), steps[-2], 0),
        (*_broadcast(right_steps, right_shape, len(leading)), 0, right_steps[-1]),
        strides_of(target, shape),
    )
    starts = (first_of(left), first_of(right), first_of(target))
    with nest(b, shape[1:], [way[1:] for way in ways], starts) as (from_, with_, to):
        for lane, width in strips(b, shape[0], lanes):
            type_ = vector_of(F32, width)
            total = b.variable("total", constant(0.0, type_))
            first, second = b.let(from_ + lane * ways[0][0], "first"), b.let(with_ + lane * ways[1][0], "second")
            with b.loop(left_shape[-1], "k") as k:
                a = _taken(x, first + k * steps[-1], ways[0][0], type_)
                c = _taken(w, second + k * right_steps[-2], ways[1][0], type_)
                b.assign(total, Fma(c, a, total))
            b.store(y, to + lane, total)
    return b.function()


def _broadcast(steps: tuple[int, ...], shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """The steps of the leading axes, aligned to the right among `rank`; an axis of length 1 is walked on the spot."""
    own = [0 if n == 1 else step for n, step in zip(shape[:-2], steps[:-2], strict=True)]
    return (*(0,) * (rank - len(own)), *own)


def _taken(buffer: Buffer, place: Expression, step: int, type_: Type) -> Expression:
    """Neighbours for the lanes, or one number for all of them (the first axis of the result is no axis of it)."""
    if step:
        return converted(load(buffer, place, with_element(type_, buffer.element)), F32)
    return splat(converted(load(buffer, place), F32), type_)
