"""Pools, reductions, arg-max, softmax and matrix products: everything that joins elements and is no layer."""

from __future__ import annotations

from bnnc.ir import bit, nn
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, stored_range
from bnnc.loops.ir import Function
from bnnc.loops.kernels.argmax import argmax
from bnnc.loops.kernels.matmul import matmul
from bnnc.loops.kernels.pool import pool
from bnnc.loops.kernels.reduce import reduce
from bnnc.loops.kernels.softmax import softmax
from bnnc.loops.kernels.tiling import Window
from bnnc.loops.layout import Elements, Layout, Packed, elements, packed
from bnnc.loops.lower import banded
from bnnc.loops.lower.network import Network, window_pads
from bnnc.loops.lower.places import Place


def lower(network: Network, op: Op) -> bool:
    """Write the kernel of such an op; False if it is none."""
    match op:
        case bit.Pool() | nn.Pool() if len(op.type.shape) in (2, 3):
            _pool(network, op)
        case nn.Reduce():
            place = network.plain(op.x)
            target = elements(op.type.dtype, op.type.shape, network.halo(op))
            function = reduce(
                network.name(op.function, op.loc.name), op.loc, op.function, op.x.type.shape, op.axes,
                _plain(place), op.type.shape, target, network.machine.lanes,
            )  # fmt: skip
            network.places[op] = network.emit(function, (place,), target, op)
        case nn.ArgMax():
            place = network.plain(op.x)
            target = elements(op.type.dtype, op.type.shape)
            function = argmax(
                network.name("argmax", op.loc.name), op.loc, op.x.type.shape, op.axis, _plain(place), op.type.shape,
                target, network.machine.lanes, last=op.last, smallest=op.smallest,
            )  # fmt: skip
            network.places[op] = network.emit(function, (place,), target, op)
        case nn.Softmax():
            place = network.plain(op.x)
            target = elements(op.type.dtype, op.type.shape, network.halo(op))
            function = softmax(
                network.name("softmax", op.loc.name), op.loc, op.x.type.shape, op.axis, _plain(place), target,
                network.machine.lanes, log=op.log,
            )  # fmt: skip
            network.places[op] = network.emit(function, (place,), target, op)
        case nn.MatMul():
            places = [network.plain(op.a), network.plain(op.b)]
            target = elements(op.type.dtype, op.type.shape, network.halo(op))
            function = matmul(
                network.name("matmul", op.loc.name), op.loc, op.a.type.shape, _plain(places[0]), op.b.type.shape,
                _plain(places[1]), target, network.machine.lanes,
            )  # fmt: skip
            network.places[op] = network.emit(function, places, target, op)
        case _:
            return False
    return True


def _pool(network: Network, op: bit.Pool | nn.Pool) -> None:
    kernel, strides, dilations = (_pair(values) for values in (op.kernel, op.strides, op.dilations))
    pads = window_pads(op.pads)
    name = network.name(f"{op.function}_pool", op.loc.name)
    halo = network.halo(op)
    dtype = op.type.dtype
    if isinstance(op, bit.Pool) and isinstance(dtype, Bit) and isinstance(op.x.type.dtype, Bit):
        place = network.place(op.x)
        if not isinstance(place.layout, Packed):
            place = network.as_layout(op.x, packed(dtype, op.x.type.shape))
        target: Layout = packed(dtype, op.type.shape, halo)
    else:
        place = network.plain(op.x)
        target = elements(dtype, op.type.shape)
    of_integers = isinstance(op, bit.Pool)
    smallest = op.smallest if isinstance(op, bit.Pool) else None
    ends = stored_range(dtype) if of_integers and isinstance(target, Elements) else None
    include = isinstance(op, nn.Pool) and op.count_include_pad

    def make(
        source: Layout, target: Layout, kernel: tuple[int, int], pads: tuple[int, int, int, int], number: int
    ) -> Function:
        return pool(
            f"{name}_{number}" if number else name, op.loc, op.function, source, target, kernel, strides, pads,
            dilations, network.machine.lanes, count_include_pad=include, smallest=smallest, ends=ends,
        )  # fmt: skip

    rows = None
    if not (include and any(pads)):
        rows = banded.pool(place, Window(kernel, strides, dilations, pads), make)
    function = make(place.layout, target, kernel, pads, 0)
    network.places[op] = network.emit(function, (place,), target, op, rows=rows)


def _plain(place: Place) -> Elements:
    assert isinstance(place.layout, Elements)
    return place.layout


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    """Sizes of one or two spatial axes as (vertical, horizontal)."""
    return (1, values[0]) if len(values) == 1 else (values[0], values[1])
