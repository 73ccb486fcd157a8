"""Ops that move elements: most only change what is known about the order on the stream; the others need a memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from bnnc.backends.verilog.circuit import FILL, Circuit, Value, canonical_order
from bnnc.backends.verilog.design import Block, Listed, Pace
from bnnc.backends.verilog.layers import divisors
from bnnc.backends.verilog.plan_numbers import as_numbers
from bnnc.ir import move
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, Fix, TensorType
from bnnc.reference.move import MEANINGS

Move = move.Reshape | move.Transpose | move.Slice | move.Gather | move.Expand | move.Pad


def moved(circuit: Circuit, op: Move, value: Value) -> Value:
    """A move: for every element of the result, which element of the operand it is (or FILL)."""
    fill = 0
    if isinstance(op, move.Expand):
        return broadcast(circuit, op, value, op.type.shape)
    if isinstance(op, move.Pad) and op.mode == "constant":
        fill, value = _fill(circuit, op, value)
    return _taken(circuit, op, value, _source(op, value), op.type, fill)


def _taken(circuit: Circuit, op: Op, value: Value, source: np.ndarray, kind: TensorType, fill: int = 0) -> Value:
    """A tensor whose element i is element source[i] of the value."""
    size = value.type.size
    if source.size == size and not (source == FILL).any() and np.unique(source).size == size:
        target = np.empty(size, np.int64)
        target[source] = np.arange(size)
        return dataclasses.replace(value, order=target[value.order], type=kind)
    order = canonical_order(kind.shape)
    channels = kind.shape[0] if kind.shape else 1
    stream = dataclasses.replace(value.stream, pixels=kind.size // channels, channels=channels, lanes=1)
    return circuit.reordered(value, source[order], Value(stream, order, kind), op, fill)


def _source(op: Move, value: Value) -> np.ndarray:
    """The element of the operand (row-major) that each element of the result is: what the op does to indices."""
    index = np.arange(value.type.size, dtype=np.int32).reshape(1, *value.type.shape)
    if isinstance(op, move.Pad) and op.mode == "constant":
        rank = len(op.pads) // 2
        widths = [(0, 0), *((op.pads[axis], op.pads[rank + axis]) for axis in range(rank))]
        return np.pad(index, widths, constant_values=FILL).reshape(-1).astype(np.int64)
    return np.ascontiguousarray(MEANINGS[type(op)](op, [index])).reshape(-1).astype(np.int64)


def _fill(circuit: Circuit, op: move.Pad, value: Value) -> tuple[int, Value]:
    """The raw number that the padding is, and the value in an encoding that has it."""
    dtype = op.type.dtype
    number = int(op.value * 2.0**dtype.fraction) if isinstance(dtype, Fix) else int(op.value)
    if not isinstance(dtype, Bit):
        value = as_numbers(circuit, value, op, number, number)
    return (number - value.stream.offset) // value.stream.multiplier, value


def broadcast(circuit: Circuit, op: Op, value: Value, shape: tuple[int, ...]) -> Value:
    """The value repeated to a shape, as numpy broadcasts."""
    given = (1,) * (len(shape) - len(value.type.shape)) + value.type.shape
    kind = TensorType(value.type.dtype, shape)
    if given == shape:
        return dataclasses.replace(value, type=kind)
    value = dataclasses.replace(value, type=TensorType(value.type.dtype, given))
    if given[0] == shape[0] and value.type.size == shape[0]:  # a vector for every pixel
        value = circuit.fast(circuit.pixel_major(value, op), kind.size, op)
        pixels = kind.size // shape[0]
        return _repeated(
            circuit, op, value, value.stream.chunks, pixels, Value(value.stream, canonical_order(shape), kind)
        )
    copied = [axis for axis, size in enumerate(given) if size != shape[axis]]
    if max(copied) < 2 or value.type.size == 1:
        return _copied(circuit, op, value, copied, kind)
    index = np.arange(value.type.size).reshape(given)
    return _taken(circuit, op, value, np.ascontiguousarray(np.broadcast_to(index, shape)).reshape(-1), kind)


def _copied(circuit: Circuit, op: Op, value: Value, copied: Sequence[int], kind: TensorType) -> Value:
    """Each element with its copies behind it, which are channels of its pixel: as many side by side as the pace needs,
    the others in further beats."""
    stream, times = value.stream, kind.size // value.type.size
    beside = next(n for n in divisors(times) if kind.size <= stream.lanes * n * circuit.pace or n == times)
    shape = tuple(kind.shape[axis] for axis in copied)
    copies = canonical_order(shape) if copied[0] == 0 else np.arange(times)
    last = range(-len(copied), 0)
    places = np.moveaxis(np.arange(kind.size).reshape(kind.shape), copied, last).reshape(-1, times)[:, copies]
    order = places[value.order].reshape(stream.beats, stream.lanes, times // beside, beside).swapaxes(1, 2).reshape(-1)
    if beside > 1:
        parameters = [("WIDTH", stream.width), ("LANES", stream.lanes), ("COPIES", beside)]
        out = dataclasses.replace(stream, channels=stream.channels * beside, lanes=stream.lanes * beside)
        pace = Pace((Block(1, 1),), latency=0)
        value = dataclasses.replace(
            value, stream=circuit.through(op, "copies", "bnnc_copies", parameters, value, out, pace)
        )
    result = Value(value.stream, order, kind)
    return _repeated(circuit, op, value, 1, times // beside, result) if times > beside else result


def _repeated(circuit: Circuit, op: Op, value: Value, beats: int, times: int, result: Value) -> Value:
    """Each group of beats, `times` over. The type and order of the result are given."""
    stream = value.stream
    name = circuit.fresh(op, "repeat")
    group, place = np.divmod(np.arange(stream.beats * times), beats * times)
    needs = Listed(group * beats + np.minimum(place + 1, beats))
    pixels = times if beats == stream.beats else stream.pixels
    out = dataclasses.replace(stream, name=name, pixels=pixels, channels=stream.elements * times // pixels)
    parameters = [("WIDTH", stream.bits), ("BEATS", beats), ("TIMES", times)]
    circuit.add(name, "bnnc_repeat", op, parameters, [("in", stream)], [out], Pace((needs,), latency=2))
    return dataclasses.replace(result, stream=out)


__all__ = ["broadcast", "moved"]
