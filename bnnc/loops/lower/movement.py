"""Movement: reshapes that cost nothing, and the general mover for everything that really moves elements."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bnnc.ir import move
from bnnc.ir.op import Op
from bnnc.ir.types import DType, Fix
from bnnc.loops.kernels.gather import gather
from bnnc.loops.layout import Elements, Layout, Packed, image_shape, natural
from bnnc.loops.lower.network import Network
from bnnc.loops.lower.places import Place


def lower(network: Network, op: Op) -> bool:
    """Write the kernel of a movement, or none for a reshape that moves nothing; False if op is no movement."""
    if not isinstance(op, move.MOVES):
        return False
    source = network.place(op.operands[0])
    if isinstance(op, move.Reshape) and _same_memory(source.layout, op):
        channels, height, width = image_shape(op.shape)
        layout = replace(source.layout, channels=channels, height=height, width=width)
        network.places[op] = Place(layout, source.storage)
        return True
    target = natural(op.type.dtype, op.type.shape, network.halo(op))
    places = [_compatible(network, x, target) for x in op.operands]
    table, value = _table(op)
    layouts = [place.layout for place in places]
    name = network.name(op.opcode, op.loc.name)
    padding = value if target.element.is_float else int(value)
    function = gather(name, op.loc, layouts, target, table, padding, network.machine.lanes)
    network.places[op] = network.emit(function, places, target, op)
    return True


def _same_memory(layout: Layout, op: move.Reshape) -> bool:
    """Whether the elements already lie in the order of the result."""
    channels, height, width = image_shape(op.shape)
    if not layout.halo.empty:
        return False
    if layout.channels == channels:
        return True
    plain = layout.channels == 1 or layout.height * layout.width == 1
    return isinstance(layout, Elements) and plain and (channels == 1 or height * width == 1)


def _compatible(network: Network, x: Op, target: Layout) -> Place:
    """The operand in the planes or elements of the target (concatenated ranges may be wider than its own)."""
    place = network.place(x)
    if isinstance(target, Packed):
        if isinstance(place.layout, Packed) and place.layout.planes == target.planes:
            return place
        channels, height, width = image_shape(x.type.shape)
        return network.as_layout(x, Packed(channels, height, width, target.planes))
    return place if isinstance(place.layout, Elements) else network.plain(x)


def unit_of(dtype: DType) -> float:
    """How many units in memory are 1: fixed-point numbers have fractions."""
    return 2.0**dtype.fraction if isinstance(dtype, Fix) else 1.0


def _table(op: Op) -> tuple[np.ndarray, float]:
    """For every element of the result (row-major) its index among the operands' elements, -1 for the padding value."""
    numbers = []
    start = 0
    for x in op.operands:
        numbers.append(np.arange(start, start + x.type.size).reshape(x.type.shape))
        start += x.type.size
    index = numbers[0]
    value = 0.0
    match op:
        case move.Reshape():
            pass
        case move.Transpose():
            index = index.transpose(op.perm)
        case move.Expand():
            index = np.broadcast_to(index, op.shape)
        case move.Concat():
            index = np.concatenate(numbers, axis=op.axis)
        case move.Slice():
            for axis, (first, count, step) in enumerate(zip(op.starts, op.counts, op.steps, strict=True)):
                index = index.take(first + step * np.arange(count), axis=axis)
        case move.Gather():
            index = index.take(op.indices, axis=op.axis)
        case move.Pad():
            rank = len(index.shape)
            widths = [(op.pads[axis], op.pads[rank + axis]) for axis in range(rank)]
            if op.mode == "constant":
                index, value = np.pad(index, widths, constant_values=-1), op.value * unit_of(op.type.dtype)
            else:
                index = np.pad(index, widths, mode="edge" if op.mode == "edge" else "reflect")
    return np.ascontiguousarray(index).reshape(-1), value
