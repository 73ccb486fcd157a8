"""Convolutions and dense layers: a window engine where one is needed, then a matrix-vector engine with its weights."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from bnnc.backends.verilog.circuit import Circuit, Value, width_of
from bnnc.backends.verilog.cost import rom_style
from bnnc.backends.verilog.design import Block, Fold, Folding, Layer, Listed, Memory, Pace, Stream, memory
from bnnc.backends.verilog.layers import BITS, SERIAL, FoldedOp, layer_of
from bnnc.backends.verilog.plan_numbers import as_numbers
from bnnc.backends.verilog.windows import Window, window_of
from bnnc.ir import bit, fixed
from bnnc.ir.op import Op
from bnnc.ir.types import stored_range

MOST_BUFFERED = 512
"""Beats of the buffer in front of a dense layer."""


def windowed(
    circuit: Circuit, value: Value, window: Window, op: Op, groups: int, lanes: int, pad_raw: int, flag: bool = True
) -> Stream:
    """The windows of a pixel-major value: for every output pixel and group of channels, its taps, `lanes` channels of a
    tap a beat."""
    stream = circuit.width(value, lanes, op).stream
    channels = value.stream.channels // groups
    parameters = [*_geometry(window, stream, pad_raw), ("GROUPS", groups)]
    rows = (window.kernel[0] - 1) * window.dilations[0] + 1
    pace = Pace(
        (Listed(window.needs(channels // lanes, groups)),), latency=3, ahead=(rows * window.columns * stream.chunks,)
    )
    out = _windows(stream, window, groups, channels)
    value = dataclasses.replace(value, stream=stream)
    made = circuit.through(op, "window", "bnnc_window", parameters, value, dataclasses.replace(out, pads=1), pace)
    return made if flag else dataclasses.replace(made, pads=0)


def wide_windowed(
    circuit: Circuit,
    value: Value,
    window: Window,
    op: Op,
    groups: int,
    lanes: int,
    taps: int,
    pad_raw: int,
    flag: bool = True,
) -> Stream:
    """The same (where `window.wide`), `taps` taps a beat: all taps of a chunk of channels follow one another."""
    stream = circuit.width(value, lanes, op).stream
    whole = dataclasses.replace(
        _windows(stream, window, groups, value.stream.channels // groups),
        lanes=window.taps * lanes,
        pads=window.taps * flag,
    )
    enough, late = window.wide_needs(stream.chunks)
    parameters = [*_geometry(window, stream, pad_raw), ("FLAG", int(flag))]
    value = dataclasses.replace(value, stream=stream)
    pace = Pace((Listed(enough),), late=Listed(late))
    made = circuit.through(op, "window", "bnnc_window_wide", parameters, value, whole, pace)
    if taps == window.taps:
        return made
    parts = window.taps // taps
    out = dataclasses.replace(whole, lanes=taps * lanes, pads=taps * flag)
    parameters = [("WIDTH", lanes * stream.width + flag), ("IN", window.taps), ("OUT", taps)]
    value = dataclasses.replace(value, stream=made)
    return circuit.through(op, "taps", "bnnc_width", parameters, value, out, Pace((Block(1, parts),)))


def _windows(stream: Stream, window: Window, groups: int, channels: int) -> Stream:
    return dataclasses.replace(stream, pixels=math.prod(window.out) * groups, channels=window.taps * channels)


def _geometry(window: Window, stream: Stream, pad_raw: int) -> list[tuple[str, int]]:
    """The parameters of a window engine."""
    return [
        ("WIDTH", stream.width),
        ("LANES", stream.lanes),
        ("CHANNELS", stream.channels),
        ("HEIGHT", window.height),
        ("COLUMNS", window.columns),
        ("KERNEL_H", window.kernel[0]),
        ("KERNEL_W", window.kernel[1]),
        ("STRIDE_H", window.strides[0]),
        ("STRIDE_W", window.strides[1]),
        ("DILATION_H", window.dilations[0]),
        ("DILATION_W", window.dilations[1]),
        ("PAD_TOP", window.begin[0]),
        ("PAD_LEFT", window.begin[1]),
        ("OUT_HEIGHT", window.out[0]),
        ("OUT_COLUMNS", window.out[1]),
        ("PAD_VALUE", pad_raw),
    ]


def sums(circuit: Circuit, op: FoldedOp, value: Value, folding: Folding) -> Value:
    """The sums of a convolution or a dense layer."""
    layer = layer_of(op, circuit.label(op))
    fold = folding.of(layer)
    if fold.serial:
        layer = dataclasses.replace(layer, module=SERIAL)
    circuit.layers.append(layer)
    if layer.module != BITS:
        value = as_numbers(circuit, value, op, *_range(op))
    vectors, weights, order = _vectors(circuit, op, value, layer, fold)
    if fold.serial:
        return _serial_engine(circuit, op, vectors, weights, order, layer, fold)
    return _engine(circuit, op, vectors, weights, order, layer, fold)


def _range(op: FoldedOp) -> tuple[int, int]:
    lo, hi = stored_range(op.x.type.dtype)
    pad = op.pad_value if isinstance(op, bit.Conv) and any(op.pads) else 0
    return min(lo, pad), max(hi, pad)


def _vectors(
    circuit: Circuit, op: FoldedOp, value: Value, layer: Layer, fold: Fold
) -> tuple[Stream, np.ndarray, np.ndarray]:
    """The input vectors as the engine takes them, the weights [groups, outputs, inputs] in their order, and the order
    of the result."""
    if not isinstance(op, bit.Conv | fixed.Conv):
        flat = _flat(circuit, op, value, layer, fold)
        return _seen(flat.stream, 1, layer.inputs), op.weights[None][:, :, flat.order], np.arange(layer.outputs)
    window = window_of(op, op.weights.shape[2:])
    if window.whole and layer.groups == 1:
        flat = _flat(circuit, op, value, layer, fold)
        # Element c * taps + t of the input meets weight [o, c, t].
        weights = op.weights.reshape(1, layer.outputs, -1)[:, :, flat.order]
        return _seen(flat.stream, 1, layer.inputs), weights, np.arange(layer.outputs)
    value, channels = channel_major(circuit, value, op, layer.groups)
    blocks = channels.reshape(layer.groups, layer.channels)
    groups = blocks[:, 0] // layer.channels
    pixels = math.prod(window.out)
    filters = (groups[:, None] * layer.outputs + np.arange(layer.outputs)).reshape(-1)
    order = (filters[None, :] * pixels + np.arange(pixels)[:, None]).reshape(-1)
    lanes, taps = layer.beat(fold)
    if window.trivial:
        stream = circuit.width(_split(value, pixels * layer.groups, layer.channels), fold.simd, op).stream
        return _seen(stream, layer.vectors, layer.inputs), _taken(op, layer, blocks, layer.channels), order
    pad = op.pad_value if isinstance(op, bit.Conv) else 0
    raw = 0 if layer.flag or not window.outside else (pad - value.stream.offset) // value.stream.multiplier
    if taps > 1:
        stream = wide_windowed(circuit, value, window, op, layer.groups, lanes, taps, raw, layer.flag)
        return _seen(stream, layer.vectors, layer.inputs), _taken(op, layer, blocks, lanes), order
    stream = windowed(circuit, value, window, op, layer.groups, lanes, raw, layer.flag)
    stream = circuit.width(dataclasses.replace(value, stream=stream), fold.simd, op).stream
    return _seen(stream, layer.vectors, layer.inputs), _taken(op, layer, blocks, layer.channels), order


def _taken(op: FoldedOp, layer: Layer, blocks: np.ndarray, together: int) -> np.ndarray:
    """The weights [groups, outputs, inputs] of a convolution for channels `blocks` [groups, channels]: all taps of
    `together` channels follow one another, tap by tap."""
    taps = op.weights.reshape(layer.groups, layer.outputs, layer.channels, layer.taps)
    chosen = np.stack([taps[row[0] // layer.channels][:, row % layer.channels] for row in blocks])
    chunks = chosen.reshape(layer.groups, layer.outputs, layer.channels // together, together, layer.taps)
    return chunks.transpose(0, 1, 2, 4, 3).reshape(layer.groups, layer.outputs, layer.inputs)


def _flat(circuit: Circuit, op: FoldedOp, value: Value, layer: Layer, fold: Fold) -> Value:
    """All of a sample as one vector, behind a buffer that fills while the engine works on the vector before."""
    flat = circuit.width(circuit.grouped(value, 1, value.type.size, op), fold.simd, op)
    if flat.stream.name in circuit.entries or layer.outputs == fold.pe:
        return flat
    return circuit.fifo(flat, max(2, min(layer.inputs // fold.simd, MOST_BUFFERED)), op)


def _seen(stream: Stream, pixels: int, channels: int) -> Stream:
    return dataclasses.replace(stream, pixels=pixels, channels=channels)


def _split(value: Value, pixels: int, channels: int) -> Value:
    """The groups of a pixel as pixels of their own (only where no beat holds two groups)."""
    stream = value.stream
    if channels % stream.lanes == 0:
        return dataclasses.replace(value, stream=_seen(stream, pixels, channels))
    return value


def channel_major(circuit: Circuit, value: Value, op: Op, groups: int = 1) -> tuple[Value, np.ndarray]:
    """The value pixel by pixel, and which channel stands at each place of a pixel (groups stay together)."""
    shape = value.type.shape
    pixels = value.type.size // shape[0]
    table = value.order.reshape(pixels, shape[0])
    channels = table[0] // pixels
    inside = np.array_equal(table, channels[None, :] * pixels + np.arange(pixels)[:, None])
    blocks = channels.reshape(groups, -1) // (shape[0] // groups)
    if inside and bool((blocks == blocks[:, :1]).all()):
        return circuit.grouped(value, pixels, shape[0], op), channels
    return circuit.pixel_major(value, op), np.arange(shape[0])


def _engine(
    circuit: Circuit, op: FoldedOp, stream: Stream, weights: np.ndarray, order: np.ndarray, layer: Layer, fold: Fold
) -> Value:
    """The matrix-vector engine."""
    name = circuit.fresh(op, "sums")
    words = _words(weights, layer, fold)
    parameters = _sizes(layer, fold)
    bits = layer.module == BITS
    if bits:
        ternary = layer.weight_width > 1
        summed = ternary or layer.flag
        width, signed = width_of(-layer.inputs, layer.inputs) if summed else (layer.inputs.bit_length(), False)
        multiplier, offset = (1, 0) if summed else (2, -layer.inputs)
        parameters += [
            ("FLAGS", stream.pads),
            ("TERNARY", int(ternary)),
            ("SUM", int(summed)),
            ("ACC_WIDTH", width),
            ("WEIGHTS", memory(f"{name}_weights", *_fields(words, ternary))),
        ]
    else:
        lo, hi = _sum_range(op)
        width, signed = width_of(min(lo, -1), max(hi, 1))
        multiplier, offset = 1, 0
        one, flat = layer.weight_width == 1, words.reshape(len(words), -1)
        parameters += [
            ("IN_WIDTH", stream.width),
            ("IN_SIGNED", int(stream.signed)),
            ("WEIGHT_WIDTH", layer.weight_width),
            ("ACC_WIDTH", width),
            ("WEIGHTS", memory(f"{name}_weights", (flat > 0 if one else flat, layer.weight_width))),
        ]
    out = Stream(name, 1, layer.outputs, fold.pe, width, signed, multiplier, offset)
    return _summed(circuit, op, parameters, stream, out, order, layer, fold, _delay(layer, fold, stream))


def _serial_engine(
    circuit: Circuit, op: FoldedOp, stream: Stream, weights: np.ndarray, order: np.ndarray, layer: Layer, fold: Fold
) -> Value:
    """The matrix-vector engine that takes the bits of its inputs one after the other."""
    bits = stream.width
    planes = dataclasses.replace(
        stream, channels=stream.channels * bits, width=1, signed=False, name=circuit.fresh(op, "planes")
    )
    sizes = [("LANES", fold.simd), ("WIDTH", bits)]
    circuit.add(planes.name, "bnnc_planes", op, sizes, [("in", stream)], [planes], Pace((Block(1, bits),)))
    name = circuit.fresh(op, "sums")
    words = _words(weights, layer, fold)
    fields = []
    for neuron in range(fold.pe):
        w = words[:, neuron]
        fields += [(w > 0, 1), ((w < 0).sum(1, keepdims=True), fold.simd.bit_length())]
    lo, hi = _sum_range(op)
    width, signed = width_of(min(lo, -1), max(hi, 1))
    parameters = [
        *_sizes(layer, fold),
        ("IN_WIDTH", bits),
        ("IN_SIGNED", int(stream.signed)),
        ("ACC_WIDTH", width),
        ("WEIGHTS", memory(f"{name}_weights", *fields)),
    ]
    out = Stream(name, 1, layer.outputs, fold.pe, width, signed)
    return _summed(circuit, op, parameters, planes, out, order, layer, fold, _tree(fold) + 2)


def _words(weights: np.ndarray, layer: Layer, fold: Fold) -> np.ndarray:
    """Weights [groups, outputs, inputs] as words [words, neurons, inputs] in the order in which engines read them."""
    sf, nf = layer.inputs // fold.simd, layer.outputs // fold.pe
    words = weights.reshape(layer.groups, nf, fold.pe, sf, fold.simd).transpose(0, 1, 3, 2, 4)
    return words.reshape(layer.groups * nf * sf, fold.pe, fold.simd)


def _sizes(layer: Layer, fold: Fold) -> list[tuple[str, int | str | Memory]]:
    return [
        ("INPUTS", layer.inputs),
        ("OUTPUTS", layer.outputs),
        ("SIMD", fold.simd),
        ("PE", fold.pe),
        ("GROUPS", layer.groups),
    ]


def _summed(
    circuit: Circuit,
    op: FoldedOp,
    parameters: list[tuple[str, int | str | Memory]],
    stream: Stream,
    sums: Stream,
    order: np.ndarray,
    layer: Layer,
    fold: Fold,
    delay: int,
) -> Value:
    """The engine itself; `delay` cycles from an input to its part of the sums: DELAY of the engines."""
    sf, nf = stream.channels // stream.lanes, layer.outputs // fold.pe
    out = dataclasses.replace(sums, pixels=layer.vectors // layer.groups, channels=layer.outputs * layer.groups)
    room = -(-(delay + 6) // sf)
    # A FIFO of two results and less takes a cycle, a deeper one two.
    pace = Pace((Block(sf, nf),), interval=sf, latency=delay + (4 if room < 3 else 5), underway=room)
    parameters = [*parameters, ("ROM_STYLE", rom_style(parameters))]
    circuit.add(out.name, layer.module, op, parameters, [("in", stream)], [out], pace, layer.name)
    return Value(out, order, op.type)


def _tree(fold: Fold) -> int:
    """Cycles of bnnc_popcount."""
    return 1 + (-(-fold.simd // 8) - 1).bit_length()


def _delay(layer: Layer, fold: Fold, stream: Stream) -> int:
    if layer.module == BITS:
        return _tree(fold) + (layer.flag or layer.weight_width > 1)
    widest = max(stream.width + (not stream.signed), layer.weight_width)
    return (0 if layer.weight_width == 1 else 1 if widest <= 18 else 3) + (fold.simd - 1).bit_length()


def _fields(words: np.ndarray, ternary: bool) -> list[tuple[np.ndarray, int]]:
    """Words of bnnc_mvu_bits: [words, neurons, inputs] of -1, 0 and 1."""
    if not ternary:
        return [(words.reshape(len(words), -1) > 0, 1)]
    simd = words.shape[2]
    fields = []
    for neuron in range(words.shape[1]):
        w = words[:, neuron]
        fields += [(w > 0, 1), (w != 0, 1), ((w != 0).sum(1, keepdims=True), simd.bit_length())]
    return fields


def _sum_range(op: FoldedOp) -> tuple[int, int]:
    """The sums that can occur (before a bias), at any moment of adding them up."""
    rows = op.weights.reshape(len(op.weights), -1).astype(np.int64)
    positive, negative = np.maximum(rows, 0).sum(1), np.minimum(rows, 0).sum(1)
    lo, hi = _range(op)
    lo, hi = min(lo, 0), max(hi, 0)
    return int((positive * lo + negative * hi).min()), int((positive * hi + negative * lo).max())


__all__ = ["channel_major", "sums", "wide_windowed", "windowed"]
