"""Pools: a window engine hands over the taps of a chunk of channels one after the other, another takes the best."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from bnnc.backends.verilog.circuit import Circuit, Value, encoding, width_of
from bnnc.backends.verilog.design import Block, Memory, Pace, Stream
from bnnc.backends.verilog.plan_layers import channel_major, windowed
from bnnc.backends.verilog.windows import window_of
from bnnc.ir import bit, fixed
from bnnc.ir.op import Op
from bnnc.ir.types import stored_range


def pool(circuit: Circuit, op: bit.Pool, value: Value) -> Value:
    """Maximum, minimum or sum; what lies outside does not count."""
    value, channels = channel_major(circuit, value, op)
    stream = value.stream
    order = _order(op, channels)
    if op.function == "sum":
        width, signed, _, _ = encoding(op.type.dtype)
        out = pooled(circuit, op, value, 2, width, stream.multiplier, stream.offset)
        out = dataclasses.replace(out, signed=signed, multiplier=1, offset=0)
        return Value(out, order, op.type)
    lo, hi = stored_range(op.type.dtype)
    worst = ((lo if op.function == "max" else hi) - stream.offset) // stream.multiplier
    smallest = op.smallest[channels] if op.smallest is not None else np.zeros(len(channels), np.bool_)
    function = 0 if op.function == "max" else 1
    return Value(pooled(circuit, op, value, function, stream.width, 1, 0, worst, smallest), order, op.type)


def pooled(
    circuit: Circuit,
    op: bit.Pool | fixed.Pool,
    value: Value,
    function: int,
    width: int,
    factor: int,
    offset: int,
    worst: int = 0,
    smallest: np.ndarray | None = None,
) -> Stream:
    """The stream of pooled raw numbers: 0 maximum, 1 minimum, 2 sum of factor * raw + offset."""
    window = window_of(op, op.kernel)
    stream = circuit.fast(value, math.prod(window.out) * window.taps * value.stream.channels, op).stream
    value = dataclasses.replace(value, stream=stream)
    seen = windowed(circuit, value, window, op, stream.chunks, stream.lanes, worst)
    parameters: list[tuple[str, int | str | Memory]] = [
        ("LANES", stream.lanes),
        ("IN_WIDTH", stream.width),
        ("SIGNED", int(stream.signed)),
        ("OUT_WIDTH", width),
        ("TAPS", window.taps),
        ("FUNCTION", function),
        ("CHUNKS", stream.chunks),
    ]
    if smallest is not None and smallest.any():
        mask = sum(1 << n for n, flag in enumerate(smallest.tolist()) if flag)
        parameters.append(("SMALLEST", f"{stream.channels}'h{mask:x}"))
    if function == 2:
        parameters += [("FACTOR", factor), ("OFFSET", offset)]
    name = circuit.fresh(op, "pool")
    out = dataclasses.replace(stream, name=name, pixels=math.prod(window.out), width=width)
    pace = Pace((Block(window.taps, 1),), interval=window.taps)
    circuit.add(name, "bnnc_pool", op, parameters, [("in", seen)], [out], pace)
    return out


def _order(op: Op, channels: np.ndarray) -> np.ndarray:
    """Pixel by pixel, with the channels where they stand."""
    pixels = op.type.size // len(channels)
    return (channels[None, :] * pixels + np.arange(pixels)[:, None]).reshape(-1)


__all__ = ["pool", "pooled", "width_of"]
