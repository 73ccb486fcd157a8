"""Kernels for whole images as stages: the same kernel, made for the few rows that one row of the result depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from bnnc.ir.op import Op
from bnnc.loops.ir import Buffer, Function, Variable
from bnnc.loops.kernels.borders import Within
from bnnc.loops.kernels.elementwise import CONSTANTS, tree
from bnnc.loops.kernels.rows import Part, RowKernel
from bnnc.loops.kernels.tiling import Window
from bnnc.loops.layout import Elements, Layout, image_shape
from bnnc.loops.lower.places import Place, Storage
from bnnc.loops.lower.stages import Argument, Moved, Need, Number, Slot, Stage, Variant, band

Rows = Callable[[Place], "tuple[Stage, ...] | None"]
"""Makes the stages of a call from the place of its result; None where a row cannot be made from a few rows."""


def row_kernel(kernel: RowKernel, image: Place, window: Window, pooled: int) -> tuple[tuple[Place, ...], Rows]:
    """A layer that is made of functions of rows: its scratch memory, and its stages.

    `pooled`: how many rows of the layer one row of the result joins.
    """
    scratch = tuple(
        Place(Elements(1, 1, length, element), Storage(f"{kernel.row.name}_scratch", length * element.bytes))
        for element, length in kernel.scratch
    )
    lists, height = scratch[0], image.layout.height
    lines, stride, top = window.kernel[0], window.strides[0], window.pads[0]
    rows = window.output(height, image.layout.width)[0]

    def slots(parts: tuple[Part, ...]) -> tuple[Argument, ...]:
        ring = Number(ring=kernel.slots)
        if kernel.kept is not None:
            ring = Number(ring=kernel.slots, back=kernel.slots - kernel.kept)
            if stride > lines:  # rows between windows go where the last row was
                ring = Number(ring=stride, most=lines - 1)
        return tuple(Slot(scratch[p.scratch], p.first, ring, p.step) for p in parts)

    def number(wanted: str | Buffer) -> Argument:
        if isinstance(wanted, Buffer):
            return Number(table=wanted)
        return Number(part=True) if wanted == "part" else Number(stride=stride, ring=kernel.slots)

    def stages(result: Place) -> tuple[Stage, ...]:
        steps = 1 if kernel.whole else (rows - 1) * stride + lines
        row = _all(image) if kernel.whole else Need(image, 1, -top, 1, 0, height)
        stop = steps if kernel.whole else min(steps, top + height)
        taken = Variant(stop, kernel.feed, (Moved(row, kernel.origin), *slots(kernel.feeds)))
        outside = Variant(steps, kernel.blank, slots(kernel.blanks))
        variants = [replace(outside, stop=top)] if top and not kernel.whole else []
        variants += [taken, *([outside] if steps > taken.stop else [])]
        feed = Stage(steps, (row,), lists, tuple(variants), ring=kernel.slots)
        numbers = tuple(number(wanted) for wanted in kernel.numbers)
        fed = Need(lists, stride, 0, 1 if kernel.whole else lines, 0, steps)
        made = min(rows, result.layout.height * pooled)
        arguments = (*scratch, Moved(result, kernel.target), *numbers)
        sums = Stage(made, (fed,), result, (Variant(made, kernel.row, arguments),), parts=pooled)
        return feed, sums

    return scratch, stages


def convolution(
    image: Place,
    window: Window,
    make: Callable[[Layout, Layout, Window, Within], Function],
    scratch: tuple[Place, ...] = (),
) -> Rows:
    """The stage of a convolution; make(image, result, window, within) writes its kernel for a row.

    The kernel takes the image, `scratch`, the result, and somewhere perhaps the number of the row.
    """
    layout, lines = image.layout, (window.kernel[0] - 1) * window.dilations[0] + 1
    _, left, _, right = window.pads

    def stages(result: Place) -> tuple[Stage, ...] | None:
        height = result.layout.height
        if height == 1:
            return None
        within = Within(window, layout.height)
        function = make(band(layout, lines), band(result.layout, 1), replace(window, pads=(0, left, 0, right)), within)
        need = Need(
            image, window.strides[0], -window.pads[0], lines, -layout.halo.top, layout.height + layout.halo.bottom
        )
        buffers: Iterator[Argument] = iter((need, *scratch, result))
        arguments = tuple(Number() if isinstance(p, Variable) else next(buffers) for p in function.parameters)
        return (Stage(height, (need,), result, (Variant(height, function, arguments),)),)

    return stages


def rows_of_window(image: Place, window: Window, function: Function, scratch: Place) -> Rows:
    """The stage of a kernel (x, scratch, y, row) of the rows of the image that are in its window, and knows which."""
    layout, lines = image.layout, (window.kernel[0] - 1) * window.dilations[0] + 1

    def stages(result: Place) -> tuple[Stage, ...]:
        need = Need(image, window.strides[0], -window.pads[0], lines, 0, layout.height)
        height = result.layout.height
        variant = Variant(height, function, (need, scratch, result, Number()))
        return (Stage(height, (need,), result, (variant,)),)

    return stages


def elementwise(root: Op, leaves: Mapping[Op, Place], make: Callable[[dict[Op, Layout], Layout], Function]) -> Rows:
    """The stage of elementwise ops: a row from the same row of what they read, or from what all rows share."""

    def stages(result: Place) -> tuple[Stage, ...] | None:
        height, rank = result.layout.height, len(root.type.shape)
        constants = [x for op in tree(root, leaves) for x in op.operands if isinstance(x, CONSTANTS)]
        if height == 1 or any(_height(x, rank) > 1 for x in constants):
            return None
        needs, layouts = {}, {}
        for op, place in leaves.items():
            same = _height(op, rank) == height
            needs[op] = Need(place, 1, 0, 1, 0, height) if same else _all(place)
            layouts[op] = band(place.layout, 1) if same else place.layout
        function = make(layouts, band(result.layout, 1))
        arguments = tuple(needs[op] if layouts[op] != leaves[op].layout else leaves[op] for op in leaves)
        return (Stage(height, tuple(needs.values()), result, (Variant(height, function, (*arguments, result)),)),)

    return stages


def pool(
    image: Place,
    window: Window,
    make: Callable[[Layout, Layout, tuple[int, int], tuple[int, int, int, int], int], Function],
) -> Rows:
    """The stage of a pool; make(image, result, kernel, pads, number) writes its kernel for a row.

    Windows that reach over the upper or lower border are cut, so that their rows have kernels of their own.
    """
    layout = image.layout
    (lines, across), (stride, _), (dilation, _) = window.kernel, window.strides, window.dilations
    top, left, _, right = window.pads
    reach = (lines - 1) * dilation + 1

    def stages(result: Place) -> tuple[Stage, ...] | None:
        height = result.layout.height
        if height == 1:
            return None
        need = Need(image, stride, -top, reach, 0, layout.height)
        sizes = [need.end(step) - need.begin(step) for step in range(height)]
        if any(size < reach for size in sizes) and (dilation > 1 or 0 in sizes):
            return None
        variants: list[Variant] = []
        for step in range(height):
            if step + 1 == height or sizes[step + 1] != sizes[step]:
                taps = lines if sizes[step] == reach else sizes[step]
                source, target = band(layout, sizes[step]), band(result.layout, 1)
                function = make(source, target, (taps, across), (0, left, 0, right), len(variants))
                variants.append(Variant(step + 1, function, (need, result)))
        return (Stage(height, (need,), result, tuple(variants)),)

    return stages


def _all(place: Place) -> Need:
    """Every row, in each step."""
    halo, height = place.layout.halo, place.layout.height
    return Need(place, 0, -halo.top, height + halo.top + halo.bottom, -halo.top, height + halo.bottom)


def _height(op: Op, rank: int) -> int:
    """How many rows an operand has, seen with the rank of the result."""
    return image_shape((1,) * (rank - len(op.type.shape)) + op.type.shape)[1]


__all__ = ["Rows", "convolution", "elementwise", "pool", "row_kernel"]
