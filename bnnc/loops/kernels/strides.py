"""Logical elements as strides: in every layout of numbers an axis is a fixed step, so any nest of loops can walk it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from bnnc.loops.builder import Builder
from bnnc.loops.ir import Constant, Expression
from bnnc.loops.layout import WORD, Elements, Layout, image_shape


def strides_of(layout: Layout, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The step of every axis of the logical shape (channels first), in elements; for packed words in bits of a plane.

    Raises ValueError when the shape is not the layout's.
    """
    if image_shape(shape) != (layout.channels, layout.height, layout.width):
        raise ValueError(f"{list(shape)} does not lie as {layout}")
    unit = 1 if isinstance(layout, Elements) else WORD
    pixel, row = layout.pixel * unit, layout.row * unit
    if len(shape) <= 2:
        return (1, pixel)[: len(shape)]
    return 1, row, *(pixel * math.prod(shape[axis + 1 :]) for axis in range(2, len(shape)))


def first_of(layout: Layout) -> int:
    """Where the first logical element lies, in the same unit."""
    return layout.origin * (1 if isinstance(layout, Elements) else WORD)


@contextmanager
def nest(
    b: Builder, counts: Sequence[int], strides: Sequence[Sequence[int]], starts: Sequence[Expression | int]
) -> Iterator[tuple[Expression, ...]]:
    """Loops over `counts`, the first outermost; gives starts[n] + Σ i_k * strides[n][k] for every n."""
    places = [start if isinstance(start, Expression) else Constant(start, b.index) for start in starts]
    with ExitStack() as stack:
        for axis, count in enumerate(counts):
            i = stack.enter_context(b.loop(count, "i"))
            places = [
                b.let(place + i * steps[axis], "at") if steps[axis] else place
                for place, steps in zip(places, strides, strict=True)
            ]
        yield tuple(places)


def kept_strides(layout: Layout, shape: tuple[int, ...], axes: Sequence[int], full: tuple[int, ...]) -> tuple[int, ...]:
    """The steps in a layout of what is left of `full` without `axes` (dropped, or kept with length 1); 0 for `axes`."""
    steps = iter(strides_of(layout, shape))
    if len(shape) == len(full):
        return tuple(0 if axis in axes else step for axis, step in enumerate(steps))
    return tuple(0 if axis in axes else next(steps) for axis in range(len(full)))
