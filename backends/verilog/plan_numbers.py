"""Streams whose raw bits are the numbers themselves: what engines take that multiply, and what leaves the circuit."""

from __future__ import annotations

import dataclasses

import numpy as np

from bnnc.backends.verilog.circuit import Circuit, Parameters, Value, repeating, width_of
from bnnc.backends.verilog.design import Block, Memory, Pace, memory
from bnnc.ir.op import Op
from bnnc.ir.types import stored_range


def as_numbers(circuit: Circuit, value: Value, op: Op, lo: int | None = None, hi: int | None = None) -> Value:
    """The value with multiplier 1 and offset 0, wide enough for lo..hi too (else for what its type holds)."""
    stream = value.stream
    ends = stored_range(value.type.dtype)
    lo, hi = min(ends[0], ends[0] if lo is None else lo), max(ends[1], ends[1] if hi is None else hi)
    width, signed = width_of(lo, hi)
    if (stream.multiplier, stream.offset) == (1, 0):
        low, high = stream.raw_range
        if low <= lo and hi <= high:
            return value
    return affine(circuit, value, op, np.array([stream.multiplier]), np.array([stream.offset]), width, signed)


def affine(
    circuit: Circuit, value: Value, op: Op, slopes: np.ndarray, offsets: np.ndarray, width: int, signed: bool
) -> Value:
    """y = slopes[c] * raw + offsets[c] as numbers of `width` bits; one slope for all channels, or one for each."""
    stream = value.stream
    rows = channel_rows(value, len(slopes))
    name = circuit.fresh(op, "scale")
    slope_width = width_of(min(int(slopes.min()), -1), int(slopes.max()))[0]
    words = repeating(rows, stream.beats)
    fields = []
    for lane in range(stream.lanes):
        fields += [(slopes[words[:, lane : lane + 1]], slope_width), (offsets[words[:, lane : lane + 1]], width)]
    table = memory(f"{name}_lines", *fields)
    parameters: list[tuple[str, int | str | Memory]] = [
        ("LANES", stream.lanes),
        ("IN_WIDTH", stream.width),
        ("IN_SIGNED", int(stream.signed)),
        ("FACTOR_WIDTH", slope_width),
        ("OUT_WIDTH", width),
        ("CHUNKS", len(words)),
        ("TABLE", table),
    ]
    out = dataclasses.replace(stream, name=name, width=width, signed=signed, multiplier=1, offset=0)
    latency = 4 if max(stream.width + (not stream.signed), slope_width) <= 18 else 6
    circuit.add(name, "bnnc_affine", op, parameters, [("in", stream)], [out], Pace((Block(1, 1),), latency=latency))
    return dataclasses.replace(value, stream=out)


def channel_rows(value: Value, rows: int) -> np.ndarray:
    """Which row of a table [rows, …] belongs to each lane of each beat: int64 [beats, lanes]."""
    stream = value.stream
    if rows == 1:
        return np.zeros((stream.beats, stream.lanes), np.int64)
    pixels = value.type.size // value.type.shape[0]
    return (value.order // pixels).reshape(stream.beats, stream.lanes)


__all__ = ["Parameters", "affine", "as_numbers", "channel_rows"]
