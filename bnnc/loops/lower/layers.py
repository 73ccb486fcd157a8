"""Layers: convolutions and dense layers, on bits by popcount, on wide integers and floats lane by lane."""

from __future__ import annotations

import numpy as np

from bnnc.ir import bit, nn
from bnnc.ir.codebook import codebook_of
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, Code, Int, Trit
from bnnc.loops.ir import Function
from bnnc.loops.kernels.borders import Within
from bnnc.loops.kernels.codebook import expand_codebook
from bnnc.loops.kernels.epilogue import Epilogue, StepToPlanes, StoreSums
from bnnc.loops.kernels.lanes import lane_conv
from bnnc.loops.kernels.popcount import popcount_conv, weight_words
from bnnc.loops.kernels.tiling import Window
from bnnc.loops.layout import Elements, Halo, Layout, Packed, elements, image_shape, packed, plane_weights
from bnnc.loops.lower import banded, small_layers
from bnnc.loops.lower.network import Network, window_pads
from bnnc.loops.lower.places import Place

EXPANDING_CODE = 1024  # about the bytes of the code that expands a codebook, besides a few for each tap of a pattern


def lower(network: Network, op: Op) -> bool:
    """Write the kernel of a layer; False if op is none."""
    match op:
        case bit.Conv() if len(op.x.type.shape) in (2, 3):
            _integer_layer(network, op, op.x, square(op.weights), window_of(op), op.groups, op.pad_value)
        case bit.Dense():
            image, weights, window = _dense(network, op, op.weights)
            _integer_layer(network, op, image, weights, window, 1, 0)
        case nn.Conv() if _fixed(op) and isinstance(op.w, nn.Constant) and len(op.x.type.shape) in (2, 3):
            _float_layer(network, op, op.x, square(op.w.values), window_of(op), op.groups)
        case nn.Dense() if (
            _fixed(op) and isinstance(op.w, nn.Constant) and (op in network.images or len(op.x.type.shape) == 1)
        ):
            image, weights, window = _dense(network, op, op.w.values)
            _float_layer(network, op, image, weights, window, 1)
        case _:
            return False
    return True


def _fixed(op: nn.Conv | nn.Dense) -> bool:
    return op.bias is None or isinstance(op.bias, nn.Constant)


def square(weights: np.ndarray) -> np.ndarray:
    """Weights [O, C, K] of one spatial axis as [O, C, 1, K]."""
    return weights if weights.ndim == 4 else weights[:, :, None, :]


def window_of(op: bit.Conv | nn.Conv) -> Window:
    kernel = op.weights.shape[2:] if isinstance(op, bit.Conv) else op.w.type.shape[2:]
    if len(kernel) == 1:
        return Window((1, kernel[0]), (1, op.strides[0]), (1, op.dilations[0]), window_pads(op.pads))
    return Window(
        (kernel[0], kernel[1]), (op.strides[0], op.strides[1]), (op.dilations[0], op.dilations[1]), window_pads(op.pads)
    )


def _dense(network: Network, op: Op, weights: np.ndarray) -> tuple[Op, np.ndarray, Window]:
    """A dense layer as a convolution as large as its image: the image itself if it was only flattened."""
    image = network.images.get(op, op.operands[0])
    channels, height, width = image_shape(image.type.shape)
    return image, weights.reshape(-1, channels, height, width), Window((height, width))


def _integer_layer(
    network: Network, op: Op, x: Op, weights: np.ndarray, window: Window, groups: int, pad_value: int
) -> None:
    plain = "popcount" if _by_popcount(x, weights) else "lanes"
    fitting = [plain]
    if network.machine.lanes == 1:
        fitting = small_layers.fitting(network, op, x, weights, window, groups, pad_value, plain)
    kernel = network.choices.choose(op, fitting)
    if not small_layers.lower(network, kernel, op, x, weights, window, groups, pad_value):
        _counting_layer(network, op, x, weights, window, groups, pad_value, planes=kernel == "popcount")


def _counting_layer(
    network: Network, op: Op, x: Op, weights: np.ndarray, window: Window, groups: int, pad_value: int, *, planes: bool
) -> None:
    """Bits of planes counted, or numbers multiplied."""
    result, layout, _ = _ending(network, op)
    name = network.layer_name(op, window)
    if planes:
        places = [network.reaching(x, Halo(*window.pads))]
        whole = places[0].layout
        assert isinstance(whole, Packed)
        if groups == 1:
            places += _expanded(network, op, whole, weights, window)
        meaning = _halo_meaning(whole)

        def make(image: Layout, target: Layout, window: Window, within: Within | None = None) -> Function:
            assert isinstance(image, Packed)
            return popcount_conv(
                name, image, weights, window, _epilogue(network, op, target), network.machine, groups=groups,
                pad_value=pad_value, halo_value=meaning, in_memory=len(places) > 1, within=within, loc=op.loc,
            )  # fmt: skip
    else:
        places = [network.as_layout(x, _elements_image(network, x, window, pad_value))]

        def make(image: Layout, target: Layout, window: Window, within: Within | None = None) -> Function:
            assert isinstance(image, Elements)
            return lane_conv(
                name, image, weights, window, _epilogue(network, op, target), network.machine, groups=groups,
                pad_value=pad_value, within=within, loc=op.loc,
            )  # fmt: skip

    rows = banded.convolution(places[0], window, make)
    function = make(places[0].layout, layout, window)
    network.places[result] = network.emit(function, places, layout, result, rows=rows)


def _expanded(network: Network, op: Op, image: Packed, weights: np.ndarray, window: Window) -> list[Place]:
    """Where the weights of a codebook lie once they are expanded; nothing for other weights.

    Only machines with vectors have the memory to spare; others, and layers so small that the code to expand them would
    take more than it saves, keep plain bits.
    """
    book = codebook_of(weights) if network.machine.lanes > 1 else None
    if book is not None and (weights.size - book.bits) // 8 < EXPANDING_CODE + 4 * book.patterns.size:
        return []
    words = weight_words(image, weights, window, op in network.steps, network.machine) if book else None
    if book is None or words is None:
        return []
    function = expand_codebook(network.name("codebook", op.loc.name), book, words, op.loc)
    return [network.emit_once(function, elements(Int(-(2**31), 2**31 - 1), (words.total,)), op)]


def _float_layer(network: Network, op: Op, x: Op, weights: np.ndarray, window: Window, groups: int) -> None:
    result, layout, _ = _ending(network, op)
    place = network.as_layout(x, _elements_image(network, x, window, 0))
    bias = op.bias.values if isinstance(op, nn.Conv | nn.Dense) and isinstance(op.bias, nn.Constant) else None
    name = network.layer_name(op, window)

    def make(image: Layout, target: Layout, window: Window, within: Within | None = None) -> Function:
        assert isinstance(image, Elements)
        return lane_conv(
            name, image, weights, window, _epilogue(network, op, target), network.machine, bias=bias, groups=groups,
            within=within, loc=op.loc,
        )  # fmt: skip

    rows = banded.convolution(place, window, make)
    network.places[result] = network.emit(make(place.layout, layout, window), (place,), layout, result, rows=rows)


def _ending(network: Network, op: Op) -> tuple[Op, Layout, Epilogue]:
    """What the layer writes: the step that is fused with it, packed; or its own sums."""
    step = network.steps.get(op)
    result = op if step is None else step
    layout = (elements if step is None else packed)(result.type.dtype, result.type.shape, network.halo(result))
    return result, layout, _epilogue(network, op, layout)


def _epilogue(network: Network, op: Op, layout: Layout) -> Epilogue:
    """Sums, or what a step makes of them, into a layout."""
    step = network.steps.get(op)
    if step is None:
        assert isinstance(layout, Elements)
        return StoreSums(layout)
    assert isinstance(layout, Packed)
    return StepToPlanes(layout, step.thresholds, step.values)


def _by_popcount(x: Op, weights: np.ndarray) -> bool:
    """Whether counting bits of planes takes fewer operations than multiplying numbers."""
    dtype = x.type.dtype
    if isinstance(dtype, Bit | Trit):
        return True
    planes = len(plane_weights(dtype))
    channels = x.type.shape[0]
    weight_planes = 1 if np.abs(weights).max(initial=0) <= 1 else int(np.abs(weights).max()).bit_length() + 1
    counting = 4 * planes * weight_planes * -(-channels // 32)
    return counting <= 3 * channels and (isinstance(dtype, Code | Int))


def _elements_image(network: Network, x: Op, window: Window, pad_value: int) -> Elements:
    source = network.place(x).layout
    if isinstance(source, Elements) and _holds(source.halo, window):
        return source
    top, left, bottom, right = window.pads
    halo = Halo(top, left, bottom, right, pad_value) if any(window.pads) else Halo()
    return elements(x.type.dtype, x.type.shape, halo)


def _holds(halo: Halo, window: Window) -> bool:
    top, left, bottom, right = window.pads
    return halo.top >= top and halo.left >= left and halo.bottom >= bottom and halo.right >= right


def _halo_meaning(image: Packed) -> int | None:
    """What the halo's bits stand for: its value, or for bits that cannot be 0 what zero bits mean."""
    if image.halo.empty:
        return None
    return None if image.planes == (0,) and image.halo.value == 0 else image.halo.value
