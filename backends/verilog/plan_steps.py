"""Steps: thresholds in the raw numbers of the stream that is compared, as comparators, a line, or a table."""

from __future__ import annotations

import dataclasses

import numpy as np

from bnnc.backends.verilog.circuit import Circuit, Value, encoding, repeating, width_of
from bnnc.backends.verilog.cost import rom_style
from bnnc.backends.verilog.design import Block, Memory, Pace, Stream, memory
from bnnc.backends.verilog.plan_numbers import affine, channel_rows
from bnnc.ir import bit
from bnnc.ir.op import Op
from bnnc.ir.types import stored_range

FEW = 7
"""Comparators of a channel up to which no table is thought of."""
TABLE_BITS = 1 << 17
"""Bits of a table up to which it is preferred to many comparators."""
WIDEST = 16
"""Bits of a number that is looked up, or tried for a line."""


def step(circuit: Circuit, op: bit.Step, value: Value) -> Value:
    """The engine of a bit.step on whole or fixed-point numbers."""
    stream = value.stream
    width, signed, multiplier, offset = encoding(op.dtype)
    lo, hi = raw_range(value)
    rows = [_changes(t, v, stream, lo, hi) for t, v in zip(op.thresholds.tolist(), op.values.tolist(), strict=True)]
    count = max(1, max(len(row) for _, row in rows))
    if count > FEW and hi - lo < 1 << WIDEST:
        curves = np.stack([_curve(first, row, lo, hi) for first, row in rows])
        line = _line(curves, lo)
        if line is not None:
            return _typed(affine(circuit, value, op, *line, width, signed), op, multiplier, offset)
        if curves.size * width <= TABLE_BITS:
            return _typed(
                lookup(circuit, op, value, (curves - offset) // multiplier, lo, width, signed), op, multiplier, offset
            )
    table = np.array([[t for t, _ in row] + [hi] * (count - len(row)) for _, row in rows], np.int64)
    results = np.array(
        [[first, *(v for _, v in row)] + [_last(first, row)] * (count - len(row)) for first, row in rows]
    )
    raws = (results - offset) // multiplier
    words = repeating(channel_rows(value, len(rows)), stream.beats)
    name = circuit.fresh(op, "step")
    fields = []
    for lane in range(stream.lanes):
        fields += [(table[words[:, lane]], stream.width), (raws[words[:, lane]], width)]
    parameters: list[tuple[str, int | str | Memory]] = [
        ("LANES", stream.lanes),
        ("IN_WIDTH", stream.width),
        ("IN_SIGNED", int(stream.signed)),
        ("OUT_WIDTH", width),
        ("CHUNKS", len(words)),
        ("COUNT", count),
        ("TABLE", memory(f"{name}_table", *fields)),
    ]
    out = dataclasses.replace(stream, name=name, width=width, signed=signed, multiplier=multiplier, offset=offset)
    parameters.append(("ROM_STYLE", rom_style(parameters)))
    circuit.add(name, "bnnc_step", op, parameters, [("in", stream)], [out], Pace((Block(1, 1),), latency=3))
    return Value(out, value.order, op.type)


def raw_range(value: Value) -> tuple[int, int]:
    """The smallest and the largest raw number that can occur."""
    lo, hi = stored_range(value.type.dtype)
    stream = value.stream
    low, high = stream.raw_range
    return max(low, -((stream.offset - lo) // stream.multiplier)), min(high, (hi - stream.offset) // stream.multiplier)


def _last(first: int, row: list[tuple[int, int]]) -> int:
    return row[-1][1] if row else first


def _changes(
    thresholds: list[int], values: list[int], stream: Stream, lo: int, hi: int
) -> tuple[int, list[tuple[int, int]]]:
    """The value at the smallest raw number, and (raw threshold, value from there on) where the value changes."""
    first = values[0]
    row: list[tuple[int, int]] = []
    for threshold, value in zip(thresholds, values[1:], strict=True):
        raw = -((stream.offset - threshold) // stream.multiplier)  # the least raw whose number reaches it
        if raw > hi:
            break
        if raw <= lo:
            first = value
        elif row and row[-1][0] == raw:
            row[-1] = (raw, value)
        else:
            row.append((raw, value))
    kept: list[tuple[int, int]] = []
    for raw, value in row:
        if value != _last(first, kept):
            kept.append((raw, value))
    return first, kept


def _curve(first: int, row: list[tuple[int, int]], lo: int, hi: int) -> np.ndarray:
    """The value at every raw number lo..hi."""
    thresholds, values = np.array([t for t, _ in row], np.int64), np.array([first, *(v for _, v in row)], np.int64)
    return values[np.searchsorted(thresholds, np.arange(lo, hi + 1), side="right")]


def _line(curves: np.ndarray, lo: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Slopes and offsets of curves [rows, n] over lo, lo + 1, … where all of them are lines."""
    if curves.shape[1] < 2:
        return None
    slopes = curves[:, 1] - curves[:, 0]
    offsets = curves[:, 0] - slopes * lo
    found = slopes[:, None] * (lo + np.arange(curves.shape[1])) + offsets[:, None]
    return (slopes, offsets) if np.array_equal(found, curves) else None


def lookup(circuit: Circuit, op: Op, value: Value, raws: np.ndarray, low: int, width: int, signed: bool) -> Value:
    """out = raws[row of the channel, x - low], raws [1 or channels, n]."""
    stream = value.stream
    words = repeating(channel_rows(value, len(raws)), stream.beats)
    name = circuit.fresh(op, "table")
    size = raws.shape[1]
    shared = len(raws) == 1
    entries = raws[0][:, None] if shared else raws[words].transpose(0, 2, 1).reshape(-1, stream.lanes)
    parameters: list[tuple[str, int | str | Memory]] = [
        ("LANES", stream.lanes),
        ("IN_WIDTH", stream.width),
        ("IN_SIGNED", int(stream.signed)),
        ("OUT_WIDTH", width),
        ("LOW", low),
        ("SIZE", size),
        ("CHUNKS", 1 if shared else len(words)),
        ("SHARED", int(shared)),
        ("TABLE", memory(f"{name}_table", (entries, width))),
    ]
    out = dataclasses.replace(stream, name=name, width=width, signed=signed)
    parameters.append(("ROM_STYLE", rom_style(parameters)))
    circuit.add(name, "bnnc_lookup", op, parameters, [("in", stream)], [out], Pace((Block(1, 1),), latency=3))
    return dataclasses.replace(value, stream=out)


def _typed(value: Value, op: bit.Step, multiplier: int, offset: int) -> Value:
    stream = dataclasses.replace(value.stream, multiplier=multiplier, offset=offset)
    return Value(stream, value.order, op.type)


__all__ = ["lookup", "raw_range", "step", "width_of"]
