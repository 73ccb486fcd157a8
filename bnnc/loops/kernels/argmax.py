"""The index of the largest or smallest number along one axis."""

from __future__ import annotations

from bnnc.ir.location import Location
from bnnc.loops.builder import Builder
from bnnc.loops.ir import I32, Convert, Function, compare, constant, load, select, splat, vector_of
from bnnc.loops.kernels.numbers import converted
from bnnc.loops.kernels.strides import first_of, kept_strides, nest, strides_of
from bnnc.loops.kernels.strips import strips
from bnnc.loops.layout import Elements


def argmax(
    name: str,
    loc: Location,
    shape: tuple[int, ...],
    axis: int,
    source: Elements,
    target_shape: tuple[int, ...],
    target: Elements,
    lanes: int = 1,
    last: bool = False,
    smallest: bool = False,
) -> Function:
    """NAME(source, target): nn.argmax of numbers of any element; the target holds integers of any width (or f32).

    `target_shape` is `shape` without the axis, or with length 1 there. Raises ValueError for shapes that do not fit the
    layouts.
    """
    b = Builder(name, f"arg{'min' if smallest else 'max'} along axis {axis} of {list(shape)}", loc)
    x = b.parameter("source", source.element, source.length)
    y = b.parameter("target", target.element, target.length, access="write")
    steps, out_steps = strides_of(source, shape), kept_strides(target, target_shape, (axis,), shape)
    outer = [a for a in range(1, len(shape)) if a != axis]
    outer_steps = ([steps[a] for a in outer], [out_steps[a] for a in outer])
    # The order in which an element takes over from the best one; NaN never does.
    better = {(False, False): "gt", (False, True): "ge", (True, False): "lt", (True, True): "le"}[smallest, last]
    with nest(b, [shape[a] for a in outer], outer_steps, (first_of(source), first_of(target))) as (at, out):
        for channel, width in strips(b, 1 if axis == 0 else shape[0], lanes):
            first, type_, index_type = b.let(at + channel, "in"), vector_of(x.element, width), vector_of(I32, width)
            best, index = b.variable("best", load(x, first, type_)), b.variable("index", constant(0, index_type))
            with b.loop(shape[axis], "k", 1) as k:
                value = b.let(load(x, first + k * steps[axis], type_), "value")
                wins = b.let(compare(better, value, best), "wins")
                number = k if k.type == I32 else Convert("trunc", k, I32)
                b.assign(index, select(wins, splat(number, index_type), index))
                b.assign(best, select(wins, value, best))
            b.store(y, out + channel, converted(index, y.element))
    return b.function()
