"""Layers: convolutions and dense layers, on bits by popcount, on wide integers and floats lane by lane."""

from __future__ import annotations

import numpy as np

from bnnc.ir import bit, nn
from bnnc.ir.codebook import codebook_of
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, Code, Int, Trit, value_range
from bnnc.loops.ir import I8
from bnnc.loops.kernels import row_conv
from bnnc.loops.kernels.byte_pixels import byte_conv, bytes_fit, bytes_scratch
from bnnc.loops.kernels.carry_save import carry_conv, carry_fits, carry_scratch, unit_of
from bnnc.loops.kernels.codebook import expand_codebook
from bnnc.loops.kernels.epilogue import Epilogue, StepToPlanes, StoreSums
from bnnc.loops.kernels.lanes import lane_conv
from bnnc.loops.kernels.mcu_pixels import pixel_conv, pixels_fit, pixels_scratch
from bnnc.loops.kernels.outputs import BitSteps
from bnnc.loops.kernels.popcount import popcount_conv, weight_words
from bnnc.loops.kernels.row_vectors import vector_conv, vector_scratch, vectors_fit
from bnnc.loops.kernels.tiling import Window
from bnnc.loops.layout import Elements, Halo, Layout, Packed, elements, image_shape, packed, plane_weights
from bnnc.loops.lower.network import Network, window_pads
from bnnc.loops.lower.places import Place, Storage

EXPANDING_CODE = 1024  # about the bytes of the code that expands a codebook, besides a few for each tap of a pattern


def lower(network: Network, op: Op) -> bool:
    """Write the kernel of a layer; False if op is none."""
    match op:
        case bit.Conv() if len(op.x.type.shape) in (2, 3):
            _integer_layer(network, op, op.x, _square(op.weights), _window(op), op.groups, op.pad_value)
        case bit.Dense():
            image, weights, window = _dense(network, op, op.weights)
            _integer_layer(network, op, image, weights, window, 1, 0)
        case nn.Conv() if _fixed(op) and isinstance(op.w, nn.Constant) and len(op.x.type.shape) in (2, 3):
            _float_layer(network, op, op.x, _square(op.w.values), _window(op), op.groups)
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


def _square(weights: np.ndarray) -> np.ndarray:
    """Weights [O, C, K] of one spatial axis as [O, C, 1, K]."""
    return weights if weights.ndim == 4 else weights[:, :, None, :]


def _window(op: bit.Conv | nn.Conv) -> Window:
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
    match network.choices.choose(op, _fitting(network, op, x, weights, window, groups, pad_value)):
        case "vectors":
            _row_layer(network, op, x, weights, window, pad_value, vectors=True)
        case "rows":
            _row_layer(network, op, x, weights, window, pad_value, vectors=False)
        case "pixels":
            _pixel_layer(network, op, x, weights, window)
        case "bytes":
            _byte_layer(network, op, x, weights, window, pad_value)
        case "carry-save":
            _carry_layer(network, op, x, weights, window, pad_value)
        case kernel:
            _counting_layer(network, op, x, weights, window, groups, pad_value, planes=kernel == "popcount")


def _fitting(
    network: Network, op: Op, x: Op, weights: np.ndarray, window: Window, groups: int, pad_value: int
) -> list[str]:
    """The kernels that can do a layer, the machine's favourite first."""
    machine, plain = network.machine, "popcount" if _by_popcount(x, weights) else "lanes"
    if machine.lanes > 1:
        return [plain]
    # Tables that functions share cannot lie in a memory that only special instructions read.
    shared = not machine.rom
    by_rows = shared and _by_rows(network, op, x, len(weights))
    step, image = network.steps.get(op), _packed_image(network, x, window) if by_rows else None
    rows = (image, weights, window, groups, step.thresholds.shape[1]) if image is not None and step else None
    kernels = (
        ("vectors", machine.row_lanes > 1 and rows is not None and vectors_fit(*rows), True),
        ("rows", rows is not None and row_conv.fits(*rows), machine.rows),
        ("pixels", shared and _on_pixels(network, op, x, weights, window, groups, pad_value), machine.rows),
        ("bytes", _on_bytes(network, op, x, weights, groups, pad_value), machine.word_bits == 8),
        ("carry-save", _by_carries(network, op, x, weights, window, groups), not machine.scalar_popcount),
        (plain, True, True),
        ("lanes", True, False),
    )
    liked = [name for name, fits, likes in kernels if fits and likes]
    return list(dict.fromkeys([*liked, *(name for name, fits, _ in kernels if fits)]))


def _counting_layer(
    network: Network, op: Op, x: Op, weights: np.ndarray, window: Window, groups: int, pad_value: int, *, planes: bool
) -> None:
    """Bits of planes counted, or numbers multiplied."""
    result, layout, epilogue = _ending(network, op)
    name = _name(network, op, window)
    if planes:
        image = _packed_image(network, x, window)
        places = [network.as_layout(x, image)]
        if groups == 1:
            places += _expanded(network, op, image, weights, window, epilogue)
        function = popcount_conv(
            name, image, weights, window, epilogue, network.machine, groups=groups, pad_value=pad_value,
            halo_value=_halo_meaning(image), in_memory=len(places) > 1, loc=op.loc,
        )  # fmt: skip
    else:
        numbers = _elements_image(network, x, window, pad_value)
        places = [network.as_layout(x, numbers)]
        function = lane_conv(
            name, numbers, weights, window, epilogue, network.machine, groups=groups, pad_value=pad_value, loc=op.loc
        )
    network.places[result] = network.emit(function, places, layout, result)


def _by_rows(network: Network, op: Op, x: Op, outputs: int) -> bool:
    """Whether rows of weights can be added, 32 outputs a word: bits to bits, with enough outputs to fill the words."""
    step = network.steps.get(op)
    return step is not None and isinstance(step.dtype, Bit) and isinstance(x.type.dtype, Bit) and outputs >= 8


def _by_carries(network: Network, op: Op, x: Op, weights: np.ndarray, window: Window, groups: int) -> bool:
    """Whether bits can be added by carry-save adders."""
    step = network.steps.get(op)
    if not isinstance(x.type.dtype, Bit):
        return False
    if step is not None and not (isinstance(step.dtype, Bit) and step.thresholds.shape[1] == 1):
        return False
    return carry_fits(_packed_image(network, x, window), weights, window, groups, network.machine)


def _carry_layer(network: Network, op: Op, x: Op, weights: np.ndarray, window: Window, pad_value: int) -> None:
    result, layout, epilogue = _ending(network, op)
    image = _packed_image(network, x, window)
    steps = BitSteps(epilogue.thresholds, epilogue.values) if isinstance(epilogue, StepToPlanes) else None
    meaning = _halo_meaning(image)
    function = carry_conv(
        _name(network, op, window), image, weights, window, layout, steps, network.machine,
        pad_value=pad_value, halo_value=-1 if meaning is None else meaning, loc=op.loc,
    )  # fmt: skip
    unit = unit_of(network.machine)
    units = Elements(carry_scratch(image, window, network.machine), 1, 1, unit)
    scratch = Place(units, Storage(f"{function.name}_scratch", units.length * unit.bytes))
    network.places[result] = network.emit(function, (network.as_layout(x, image), scratch), layout, result)


def _on_bytes(network: Network, op: Op, x: Op, weights: np.ndarray, groups: int, pad_value: int) -> bool:
    """Whether it is a first layer on the bytes of the user's array, to bits or sums."""
    step = network.steps.get(op)
    if step is not None and not (isinstance(step.dtype, Bit) and step.thresholds.shape[1] == 1):
        return False
    if network.users_bytes(x) is None or len(x.type.shape) != 3:
        return False
    # Bits of several channels are added eight at once, for little more than a byte.
    if isinstance(x.type.dtype, Bit) and x.type.shape[0] > 4:
        return False
    return bytes_fit(weights, groups, pad_value, *value_range(x.type.dtype))


def _byte_layer(network: Network, op: Op, x: Op, weights: np.ndarray, window: Window, pad_value: int) -> None:
    result, layout, epilogue = _ending(network, op)
    steps = BitSteps(epilogue.thresholds, epilogue.values) if isinstance(epilogue, StepToPlanes) else None
    source = network.users_bytes(x)
    assert source is not None
    place, strides = source
    channels, height, width = x.type.shape
    function = byte_conv(
        _name(network, op, window), (channels, height, width), strides, weights, window, layout, steps,
        signed=value_range(x.type.dtype)[0] < 0, pad_value=pad_value, loc=op.loc,
    )  # fmt: skip
    found = Elements(bytes_scratch(weights), 1, 1, I8)
    scratch = Place(found, Storage(f"{function.name}_scratch", found.length))
    network.places[result] = network.emit(function, (place, scratch), layout, result)


def _on_pixels(
    network: Network, op: Op, x: Op, weights: np.ndarray, window: Window, groups: int, pad_value: int
) -> bool:
    """Whether it is a first layer, from 8-bit pixels in the user's array to bits."""
    step, source = network.steps.get(op), network.users_array(x)
    if step is None or source is None or not isinstance(step.dtype, Bit):
        return False
    if pad_value and any(window.pads):
        return False
    return pixels_fit(x.type.shape, weights, window, groups, step.thresholds.shape[1])


def _pixel_layer(network: Network, op: Op, x: Op, weights: np.ndarray, window: Window) -> None:
    result, layout, epilogue = _ending(network, op)
    assert isinstance(layout, Packed)
    assert isinstance(epilogue, StepToPlanes)
    source = network.users_array(x)
    assert source is not None
    place, steps = source
    words = 8  # of registers to spare
    function = pixel_conv(
        _name(network, op, window), x.type.shape, steps, weights, window, layout, epilogue.thresholds,
        epilogue.values, most_words=words, loc=op.loc,
    )  # fmt: skip
    tables = elements(Int(-(2**31), 2**31 - 1), (pixels_scratch(x.type.shape, weights, window, words),))
    scratch = Place(tables, Storage(f"{function.name}_scratch", tables.length * 4))
    network.places[result] = network.emit(function, (place, scratch), layout, result)


def _row_layer(
    network: Network, op: Op, x: Op, weights: np.ndarray, window: Window, pad_value: int, *, vectors: bool
) -> None:
    result, layout, epilogue = _ending(network, op)
    image = _packed_image(network, x, window)
    assert isinstance(layout, Packed)
    assert isinstance(epilogue, StepToPlanes)
    meaning = _halo_meaning(image)
    arguments = (
        _name(network, op, window), image, weights, window, layout, epilogue.thresholds, epilogue.values,
    )  # fmt: skip
    outside = -1 if meaning is None else meaning
    if vectors:
        function = vector_conv(*arguments, pad_value=pad_value, halo_value=outside, loc=op.loc)
        lengths = [(Int(-(2**15), 2**15 - 1), vector_scratch(image, window))]
    else:
        function, lists, planes = row_conv.row_conv(
            *arguments, groups=op.groups if isinstance(op, bit.Conv) else 1, pad_value=pad_value, halo_value=outside,
            machine=network.machine, loc=op.loc,
        )  # fmt: skip
        lengths = [(Int(-(2**15), 2**15 - 1), lists), (Int(-(2**31), 2**31 - 1), planes)]
    scratch = []
    for number, (dtype, length) in enumerate(lengths):
        own = elements(dtype, (length,))
        scratch.append(Place(own, Storage(f"{function.name}_scratch_{number}", length * own.element.bytes)))
    network.places[result] = network.emit(function, (network.as_layout(x, image), *scratch), layout, result)


def _expanded(
    network: Network, op: Op, image: Packed, weights: np.ndarray, window: Window, epilogue: Epilogue
) -> list[Place]:
    """Where the weights of a codebook lie once they are expanded; nothing for other weights.

    Only machines with vectors have the memory to spare; others, and layers so small that the code to expand them would
    take more than it saves, keep plain bits.
    """
    book = codebook_of(weights) if network.machine.lanes > 1 else None
    if book is not None and (weights.size - book.bits) // 8 < EXPANDING_CODE + 4 * book.patterns.size:
        return []
    words = weight_words(image, weights, window, epilogue.packed, network.machine) if book else None
    if book is None or words is None:
        return []
    function = expand_codebook(network.name("codebook", op.loc.name), book, words, op.loc)
    return [network.emit_once(function, elements(Int(-(2**31), 2**31 - 1), (words.total,)), op)]


def _float_layer(network: Network, op: Op, x: Op, weights: np.ndarray, window: Window, groups: int) -> None:
    result, layout, epilogue = _ending(network, op)
    image = _elements_image(network, x, window, 0)
    place = network.as_layout(x, image)
    bias = op.bias.values if isinstance(op, nn.Conv | nn.Dense) and isinstance(op.bias, nn.Constant) else None
    function = lane_conv(
        _name(network, op, window), image, weights, window, epilogue, network.machine,
        bias=bias, groups=groups, loc=op.loc,
    )  # fmt: skip
    network.places[result] = network.emit(function, (place,), layout, result)


def _ending(network: Network, op: Op) -> tuple[Op, Layout, Epilogue]:
    """What the layer writes: the step that is fused with it, packed; or its own sums."""
    step = network.steps.get(op)
    if step is None:
        sums = elements(op.type.dtype, op.type.shape, network.halo(op))
        return op, sums, StoreSums(sums)
    bits = packed(step.dtype, step.type.shape, network.halo(step))
    return step, bits, StepToPlanes(bits, step.thresholds, step.values)


def _name(network: Network, op: Op, window: Window) -> str:
    return network.name("conv" if window.kernel != (1, 1) else "dense", op.loc.name)


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


def _packed_image(network: Network, x: Op, window: Window) -> Packed:
    """The packed layout that a layer reads: the one at hand if its halo is large enough."""
    at_hand = network.place(x).layout
    if isinstance(at_hand, Packed) and _holds(at_hand.halo, window):
        return at_hand
    top, left, bottom, right = window.pads
    return packed(x.type.dtype, x.type.shape, Halo(top, left, bottom, right, 0))


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
