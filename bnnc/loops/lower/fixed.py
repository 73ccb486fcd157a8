"""Fixed-point layers and pools: integer kernels with 64-bit sums, rounded once at their end."""

from __future__ import annotations

import numpy as np

from bnnc.ir import fixed
from bnnc.ir.op import Op
from bnnc.loops.builder import Builder
from bnnc.loops.ir import I64, Expression, Function
from bnnc.loops.kernels.borders import Within
from bnnc.loops.kernels.fixed import SettleSums, settled
from bnnc.loops.kernels.lanes import lane_conv
from bnnc.loops.kernels.pool import pool
from bnnc.loops.kernels.tiling import Window
from bnnc.loops.layout import NO_HALO, Elements, Halo, Layout, elements, image_shape
from bnnc.loops.lower import banded
from bnnc.loops.lower.network import Network, window_pads
from bnnc.loops.lower.places import Place


def lower(network: Network, op: Op) -> bool:
    """Write the kernel of a fixed-point layer or pool; False if op is none."""
    match op:
        case fixed.Conv() if len(op.x.type.shape) in (2, 3):
            kernel, strides, dilations = (_pair(v) for v in (op.weights.shape[2:], op.strides, op.dilations))
            weights = op.weights.reshape(*op.weights.shape[:2], *kernel)
            window = Window(kernel, strides, dilations, window_pads(op.pads))
            _layer(network, op, op.x, weights, window, op.groups)
        case fixed.Dense():
            image = network.images.get(op, op.x)
            channels, height, width = image_shape(image.type.shape)
            weights = op.weights.reshape(-1, channels, height, width)
            _layer(network, op, image, weights, Window((height, width)), 1)
        case fixed.Pool() if len(op.type.shape) in (2, 3):
            _pool(network, op)
        case _:
            return False
    return True


def _layer(
    network: Network, op: fixed.Conv | fixed.Dense, x: Op, weights: np.ndarray, window: Window, groups: int
) -> None:
    place = _image(network, x, window)
    target = elements(op.type.dtype, op.type.shape, network.halo(op))
    name = network.name("conv" if window.kernel != (1, 1) else "dense", op.loc.name)

    def make(image: Layout, target: Layout, window: Window, within: Within | None = None) -> Function:
        assert isinstance(image, Elements)
        assert isinstance(target, Elements)
        return lane_conv(
            name, image, weights, window, SettleSums(target, op.shift), network.machine, bias=op.bias, groups=groups,
            within=within, loc=op.loc,
        )  # fmt: skip

    rows = banded.convolution(place, window, make)
    function = make(place.layout, target, window)
    network.places[op] = network.emit(function, (place,), target, op, rows=rows)


def _image(network: Network, x: Op, window: Window) -> Place:
    """x as numbers with zeros all around that the window can reach."""
    layout = network.place(x).layout
    top, left, bottom, right = window.pads
    if isinstance(layout, Elements):
        halo = layout.halo
        reaches = halo.top >= top and halo.left >= left and halo.bottom >= bottom and halo.right >= right
        if reaches and (halo.value == 0 or not any(window.pads)):
            return network.place(x)
    wanted = Halo(top, left, bottom, right, 0) if any(window.pads) else NO_HALO
    return network.as_layout(x, elements(x.type.dtype, x.type.shape, wanted))


def _pool(network: Network, op: fixed.Pool) -> None:
    place = network.plain(op.x)
    target = elements(op.type.dtype, op.type.shape)
    kernel, strides, dilations = (_pair(values) for values in (op.kernel, op.strides, op.dilations))

    def ending(b: Builder, total: Expression) -> Expression:
        return settled(b, total if op.factor == 1 else total * op.factor, op.shift)

    name, pads = network.name("sum_pool", op.loc.name), window_pads(op.pads)

    def make(
        source: Layout, target: Layout, kernel: tuple[int, int], pads: tuple[int, int, int, int], number: int
    ) -> Function:
        return pool(
            f"{name}_{number}" if number else name, op.loc, "sum", source, target, kernel, strides, pads, dilations,
            max(1, network.machine.lanes // 2), wide=I64, ending=ending,
        )  # fmt: skip

    rows = banded.pool(place, Window(kernel, strides, dilations, pads), make)
    function = make(place.layout, target, kernel, pads, 0)
    network.places[op] = network.emit(function, (place,), target, op, rows=rows)


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    """Sizes of one or two spatial axes as (vertical, horizontal)."""
    return (1, values[0]) if len(values) == 1 else (values[0], values[1])
