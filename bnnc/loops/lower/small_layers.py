"""Layers on processors without a popcount: rows of weights added, carries saved, pixels looked up."""

from __future__ import annotations

import numpy as np

from bnnc.ir import bit
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, Code, Trit, value_range
from bnnc.loops.ir import I8, I16, I32, Function
from bnnc.loops.kernels.borders import Within
from bnnc.loops.kernels.byte_pixels import byte_conv, bytes_fit, bytes_scratch
from bnnc.loops.kernels.carry_save import carries_pay, carry_conv, carry_fits, carry_scratch, unit_of
from bnnc.loops.kernels.mcu_pixels import PixelConv, pixels_fit
from bnnc.loops.kernels.outputs import BitSteps
from bnnc.loops.kernels.row_conv import RowConv, fits
from bnnc.loops.kernels.row_groups import row_conv
from bnnc.loops.kernels.row_planes import PlaneConv, planes_fit
from bnnc.loops.kernels.row_vectors import vector_conv, vector_scratch, vectors_fit
from bnnc.loops.kernels.rows import Pooling, RowKernel
from bnnc.loops.kernels.tiling import Window
from bnnc.loops.layout import WORD, Elements, Halo, Layout, Packed, elements, image_shape, packed
from bnnc.loops.lower import banded
from bnnc.loops.lower.network import Network
from bnnc.loops.lower.places import Place, Storage
from bnnc.loops.lower.stages import band

WORDS_AT_ONCE = 8
"""Words of sums of a first layer that there are registers for."""
LEAST_OUTPUTS = 8
"""Outputs from which on rows are added 32 outputs at a time."""


def fitting(
    network: Network,
    op: Op,
    x: Op,
    weights: np.ndarray,
    window: Window,
    groups: int,
    pad_value: int,
    plain: str,
) -> list[str]:
    """The kernels that can do a layer, the machine's favourite first; `plain` is that which all machines have."""
    machine = network.machine
    # Tables that functions share cannot lie in a memory that only special instructions read.
    shared = not machine.rom
    kernels = (
        ("vectors", shared and machine.row_lanes > 1 and _by_rows(network, op, x, weights, window, groups, True), True),
        ("rows", shared and _by_rows(network, op, x, weights, window, groups, False), machine.rows),
        ("row planes", shared and _by_planes(network, op, x, weights, window, groups), machine.rows),
        ("pixels", shared and _on_pixels(network, op, x, weights, window, groups, pad_value), machine.rows),
        ("bytes", _on_bytes(network, op, x, weights, groups, pad_value), machine.word_bits == 8),
        ("carry-save", _by_carries(network, op, x, weights, groups), _carries_pay(network, op, x, window)),
        (plain, True, True),
        ("lanes", True, False),
    )
    liked = [name for name, fits_, likes in kernels if fits_ and likes]
    return list(dict.fromkeys([*liked, *(name for name, fits_, _ in kernels if fits_)]))


def lower(
    network: Network,
    kernel: str,
    op: Op,
    x: Op,
    weights: np.ndarray,
    window: Window,
    groups: int,
    pad_value: int,
) -> bool:
    """Write the layer op on x with one of these kernels; False if it is none of them."""
    match kernel:
        case "vectors":
            _whole_layer(network, op, x, weights, window, groups, pad_value, vectors=True)
        case "rows" if groups > 1:
            _whole_layer(network, op, x, weights, window, groups, pad_value, vectors=False)
        case "rows":
            _row_layer(network, op, x, weights, window, pad_value)
        case "row planes":
            _plane_layer(network, op, x, weights, window, pad_value)
        case "pixels":
            _pixel_layer(network, op, x, weights, window)
        case "bytes":
            _byte_layer(network, op, x, weights, window, pad_value)
        case "carry-save":
            _carry_layer(network, op, x, weights, window, pad_value)
        case _:
            return False
    return True


def _by_rows(network: Network, op: Op, x: Op, weights: np.ndarray, window: Window, groups: int, vectors: bool) -> bool:
    """Whether rows of weights can be added, 32 outputs a word: bits to bits, with enough outputs to fill the words."""
    step = network.steps.get(op)
    if step is None or not isinstance(step.dtype, Bit) or not isinstance(x.type.dtype, Bit):
        return False
    if len(weights) < LEAST_OUTPUTS:
        return False
    image = packed(Bit(), x.type.shape, Halo(*window.pads))
    return (vectors_fit if vectors else fits)(image, weights, window, groups, step.thresholds.shape[1])


def knows_outside(network: Network, op: Op, window: Window, weights: np.ndarray) -> bool:
    """Whether a convolution needs no halo above and below its image, because it is told which rows are outside."""
    _, height, width = image_shape(op.operands[0].type.shape)
    machine = network.machine
    return (
        isinstance(op, bit.Conv)
        and op.groups == 1
        and machine.rows
        and machine.row_lanes == 1
        and window.output(height, width) != (1, 1)
        and _by_rows(network, op, op.x, weights, window, op.groups, False)
    )


def most_additions(channels: int, outputs: int, window: Window, height: int, width: int) -> int:
    """How many rows of weights a layer adds at most. A row of the image lists at most half of its bits, of which each
    is in as many windows as a kernel row has taps; and no window has more bits than there are."""
    rows, columns = window.output(height, width)
    words = -(-outputs // WORD)
    if (rows, columns) == (1, 1):
        return words * (window.kernel[0] * window.kernel[1] * channels // 2)
    reached = (columns - 1) * window.strides[1] + window.kernel[1]
    taps = -(-window.kernel[1] // window.strides[1])  # windows that one pixel is in
    line = min(reached * channels // 2 * taps, columns * window.kernel[1] * channels)
    return rows * window.kernel[0] * line * words


def _row_layer(network: Network, op: Op, x: Op, weights: np.ndarray, window: Window, pad_value: int) -> None:
    top, left, bottom, right = window.pads
    _, height, width = image_shape(x.type.shape)
    alone = window.output(height, width) == (1, 1)
    place = network.reaching(x, Halo(top, left, bottom, right) if alone else Halo(0, left, 0, right))
    image = place.layout
    assert isinstance(image, Packed)
    result, target, pooling, smallest = _ending(network, op)
    step = network.steps[op]
    kernel = RowConv(
        network.layer_name(op, window), image, weights, window, target, step.thresholds, step.values, pad_value,
        _outside(image), network.machine, op.loc, pooling=pooling, smallest=smallest,
    ).kernel()  # fmt: skip
    network.additions += most_additions(image.channels, len(weights), window, height, width)
    _by_stages(network, kernel, place, window, target, result, pooling)


def _by_planes(network: Network, op: Op, x: Op, weights: np.ndarray, window: Window, groups: int) -> bool:
    """Whether rows of weights can be added for each bit of small integers."""
    step, few = network.steps.get(op), Bit | Trit | Code
    if step is None or not isinstance(step.dtype, few) or not isinstance(x.type.dtype, few):
        return False
    if len(weights) < LEAST_OUTPUTS:
        return False
    image = packed(x.type.dtype, x.type.shape, Halo(*window.pads))
    return planes_fit(image, weights, window, groups, step.thresholds.shape[1])


def _plane_layer(network: Network, op: Op, x: Op, weights: np.ndarray, window: Window, pad_value: int) -> None:
    step = network.steps[op]
    network.bounded = False  # nobody has counted these
    layout = packed(step.dtype, step.type.shape, network.halo(step))
    place = network.reaching(x, Halo(*window.pads))
    image = place.layout
    assert isinstance(image, Packed)
    halo = image.halo
    meaning = None if halo.empty or (image.planes == (0,) and halo.value == 0) else halo.value
    layer = PlaneConv(
        network.layer_name(op, window), image, weights, window, layout, step.thresholds, step.values, pad_value,
        meaning, network.machine, op.loc,
    )  # fmt: skip
    lengths = ((I16, layer.lists_length), (I32, layer.planes_length))
    scratch = tuple(
        Place(Elements(length, 1, 1, element), Storage(f"{layer.name}_scratch_{number}", length * element.bytes))
        for number, (element, length) in enumerate(lengths)
    )
    network.places[step] = network.emit(layer.function(), (place,), layout, step, scratch=scratch)


def _on_pixels(
    network: Network, op: Op, x: Op, weights: np.ndarray, window: Window, groups: int, pad_value: int
) -> bool:
    """Whether it is a first layer, from 8-bit pixels in the user's array to bits."""
    step, source = network.steps.get(op), network.arrays.rows(x)
    if step is None or source is None or not isinstance(step.dtype, Bit) or value_range(x.type.dtype)[0] < 0:
        return False
    if pad_value and any(window.pads):
        return False
    return pixels_fit(x.type.shape, weights, window, groups, step.thresholds.shape[1])


def _pixel_layer(network: Network, op: Op, x: Op, weights: np.ndarray, window: Window) -> None:
    source = network.arrays.rows(x)
    assert source is not None
    place, steps = source
    result, target, pooling, smallest = _ending(network, op)
    step = network.steps[op]
    kernel = PixelConv(
        network.layer_name(op, window), x.type.shape, steps, weights, window, target, step.thresholds, step.values,
        WORDS_AT_ONCE, pooling, smallest, op.loc,
    ).kernel()  # fmt: skip
    _by_stages(network, kernel, place, window, target, result, pooling)


def _on_bytes(network: Network, op: Op, x: Op, weights: np.ndarray, groups: int, pad_value: int) -> bool:
    """Whether it is a first layer on the bytes of the user's array, to bits or sums."""
    step = network.steps.get(op)
    if step is not None and not (isinstance(step.dtype, Bit) and step.thresholds.shape[1] == 1):
        return False
    if network.arrays.rows(x) is None:
        return False
    # Bits of several channels are added eight at once, for little more than a byte.
    if isinstance(x.type.dtype, Bit) and x.type.shape[0] > 4:
        return False
    return bytes_fit(weights, groups, pad_value, *value_range(x.type.dtype))


def _byte_layer(network: Network, op: Op, x: Op, weights: np.ndarray, window: Window, pad_value: int) -> None:
    source = network.arrays.rows(x)
    assert source is not None
    place, strides = source
    step = network.steps.get(op)
    steps = BitSteps(step.thresholds, step.values) if step is not None else None
    result: Op = op if step is None else step
    layout = (elements if step is None else packed)(result.type.dtype, result.type.shape, network.halo(result))
    channels, height, width = x.type.shape
    function = byte_conv(
        network.layer_name(op, window), (channels, height, width), strides, weights, window, band(layout, 1), steps,
        signed=value_range(x.type.dtype)[0] < 0, pad_value=pad_value, loc=op.loc,
    )  # fmt: skip
    units = Elements(bytes_scratch(weights), 1, 1, I8)
    scratch = Place(units, Storage(f"{function.name}_scratch", units.length))
    rows = banded.rows_of_window(place, window, function, scratch)
    network.places[result] = network.emit(None, (place,), layout, result, rows=rows, scratch=(scratch,))


def _by_stages(
    network: Network,
    kernel: RowKernel,
    place: Place,
    window: Window,
    target: Packed,
    result: Op,
    pooling: Pooling | None,
) -> None:
    scratch, rows = banded.row_kernel(kernel, place, window, pooling.rows if pooling else 1)
    network.places[result] = network.emit(None, (place,), target, result, rows=rows, scratch=scratch)


def _ending(network: Network, op: Op) -> tuple[Op, Packed, Pooling | None, np.ndarray | None]:
    """What a layer made row by row writes: its step, or the pool behind that."""
    step = network.steps[op]
    pool = network.pools.get(step)
    if pool is None:
        return step, packed(step.dtype, step.type.shape, network.halo(step)), None, None
    down, across = (1, *pool.kernel)[-2:]
    target = packed(Bit(), pool.type.shape, network.halo(pool))
    return pool, target, Pooling(down, across), pool.smallest


def _carries_pay(network: Network, op: Op, x: Op, window: Window) -> bool:
    """Whether carry-save adders are faster than counting the bits of every word."""
    image = packed(Bit(), x.type.shape, Halo(*window.pads))
    return not network.machine.scalar_popcount and carries_pay(image, window, network.machine, op not in network.steps)


def _by_carries(network: Network, op: Op, x: Op, weights: np.ndarray, groups: int) -> bool:
    """Whether bits can be added by carry-save adders."""
    step = network.steps.get(op)
    if not isinstance(x.type.dtype, Bit):
        return False
    if step is not None and not (isinstance(step.dtype, Bit) and step.thresholds.shape[1] == 1):
        return False
    return carry_fits(packed(Bit(), x.type.shape), weights, groups)


def _carry_layer(network: Network, op: Op, x: Op, weights: np.ndarray, window: Window, pad_value: int) -> None:
    step = network.steps.get(op)
    steps = BitSteps(step.thresholds, step.values) if step is not None else None
    result: Op = op if step is None else step
    layout = (elements if step is None else packed)(result.type.dtype, result.type.shape, network.halo(result))
    place = network.reaching(x, Halo(*window.pads))
    whole = place.layout
    assert isinstance(whole, Packed)
    name, outside = network.layer_name(op, window), _outside(whole)

    def make(image: Layout, target: Layout, window: Window, within: Within | None = None) -> Function:
        assert isinstance(image, Packed)
        return carry_conv(
            name, image, weights, window, target, steps, network.machine,
            pad_value=pad_value, halo_value=outside, within=within, loc=op.loc,
        )  # fmt: skip

    unit = unit_of(network.machine)
    units = Elements(carry_scratch(whole, window, network.machine), 1, 1, unit)
    scratch = Place(units, Storage(f"{name}_scratch", units.length * unit.bytes))
    rows = banded.convolution(place, window, make, (scratch,))
    function = make(whole, layout, window)
    network.places[result] = network.emit(function, (place,), layout, result, rows=rows, scratch=(scratch,))


def _whole_layer(
    network: Network,
    op: Op,
    x: Op,
    weights: np.ndarray,
    window: Window,
    groups: int,
    pad_value: int,
    *,
    vectors: bool,
) -> None:
    """Rows of weights added in layers that take their image as a whole."""
    step = network.steps[op]
    layout = packed(step.dtype, step.type.shape, network.halo(step))
    place = network.reaching(x, Halo(*window.pads))
    image = place.layout
    assert isinstance(image, Packed)
    name, outside = network.layer_name(op, window), _outside(image)
    each = most_additions(weights.shape[1], len(weights) // groups, window, image.height, image.width)
    network.additions += groups * each
    arguments = (name, image, weights, window, layout, step.thresholds, step.values)
    if vectors:
        function = vector_conv(*arguments, pad_value=pad_value, halo_value=outside, loc=op.loc)
        lengths = [(I16, vector_scratch(image, window))]
    else:
        function, lists, planes = row_conv(
            *arguments, groups=groups, pad_value=pad_value, halo_value=outside, machine=network.machine, loc=op.loc
        )
        lengths = [(I16, lists), (I32, planes)]
    scratch = tuple(
        Place(Elements(length, 1, 1, element), Storage(f"{name}_scratch_{number}", length * element.bytes))
        for number, (element, length) in enumerate(lengths)
    )
    network.places[step] = network.emit(function, (place,), layout, step, scratch=scratch)


def _outside(image: Packed) -> int:
    """What bits outside of the image mean: zeros are -1, and 0 is written as zeros."""
    return image.halo.value or -1


__all__ = ["fitting", "knows_outside", "lower"]
