"""Ops of several streams: sums and concatenations. Both sides cross in one order, as many elements a beat."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from bnnc.backends.verilog.circuit import Circuit, Value, canonical_order, encoding, width_of
from bnnc.backends.verilog.design import Block, Listed, Memory, Pace, Stream
from bnnc.backends.verilog.plan_layers import channel_major
from bnnc.backends.verilog.plan_numbers import affine
from bnnc.ir import bit, move
from bnnc.ir.op import Op
from bnnc.ir.types import stored_range


def aligned(circuit: Circuit, op: Op, values: Sequence[Value]) -> list[Value]:
    """The values of one shape in one order, with the same lanes."""
    if not all(np.array_equal(value.order, values[0].order) for value in values):
        values = [circuit.pixel_major(value, op) for value in values]
    first = values[0].stream
    values = [circuit.grouped(value, first.pixels, first.channels, op) for value in values]
    lanes = math.gcd(*(value.stream.lanes for value in values))
    return [circuit.grouped(circuit.width(v, lanes, op), first.pixels, first.channels, op) for v in values]


def add(circuit: Circuit, op: bit.Add, values: Sequence[Value]) -> Value:
    """Sums with coefficients, two streams at a time."""
    values = aligned(circuit, op, values)
    ends = [sorted(k * e for e in stored_range(v.type.dtype)) for k, v in zip(op.coefficients, values, strict=True)]
    total = values[0].stream
    factor, offset = op.coefficients[0] * total.multiplier, op.coefficients[0] * total.offset
    lo, hi = ends[0]
    if len(values) == 1:
        width, signed = width_of(lo, hi)
        return dataclasses.replace(
            affine(circuit, values[0], op, np.array([factor]), np.array([offset]), width, signed), type=op.type
        )
    for value, k, (low, high) in zip(values[1:], op.coefficients[1:], ends[1:], strict=True):
        lo, hi = lo + low, hi + high
        width, signed = width_of(lo, hi)
        name = circuit.fresh(op, "add")
        other = value.stream
        parameters: list[tuple[str, int | str | Memory]] = [
            ("LANES", total.lanes),
            ("A_WIDTH", total.width),
            ("A_SIGNED", int(total.signed)),
            ("A_FACTOR", factor),
            ("B_WIDTH", other.width),
            ("B_SIGNED", int(other.signed)),
            ("B_FACTOR", k * other.multiplier),
            ("CONSTANT", offset + k * other.offset),
            ("OUT_WIDTH", width),
        ]
        out = dataclasses.replace(total, name=name, width=width, signed=signed, multiplier=1, offset=0)
        pace = Pace((Block(1, 1), Block(1, 1)), latency=2)
        circuit.add(name, "bnnc_add", op, parameters, [("a", total), ("b", other)], [out], pace)
        total, factor, offset = out, 1, 0
    return Value(total, values[0].order, op.type)


def encoded(circuit: Circuit, op: Op, values: Sequence[Value]) -> list[Value]:
    """The values in one encoding: that of the result, unless all have another one in common."""
    kinds = {(v.stream.width, v.stream.signed, v.stream.multiplier, v.stream.offset) for v in values}
    if len(kinds) == 1:
        return list(values)
    width, signed, multiplier, offset = encoding(op.type.dtype)
    if (multiplier, offset) != (1, 0):
        raise ValueError(f"{op.opcode} joins encodings of {op.type.dtype}")
    wanted = (width, signed, 1, 0)
    return [
        value
        if (value.stream.width, value.stream.signed, value.stream.multiplier, value.stream.offset) == wanted
        else affine(
            circuit, value, op, np.array([value.stream.multiplier]), np.array([value.stream.offset]), width, signed
        )
        for value in values
    ]


def concat(circuit: Circuit, op: move.Concat, values: Sequence[Value]) -> Value:
    """One behind the other: in each pixel, in each row, or in the whole sample."""
    values = encoded(circuit, op, values)
    if op.axis == 0:
        pixels = op.type.size // op.type.shape[0]
        found = [channel_major(circuit, value, op) for value in values]
        firsts = np.cumsum([0, *(value.type.shape[0] for value in values)])
        places = np.concatenate([first + channels for first, (_, channels) in zip(firsts, found, strict=False)])
        order = (places[None, :] * pixels + np.arange(pixels)[:, None]).reshape(-1)
        values = [value for value, _ in found]
        turns = pixels
    else:
        values = [circuit.pixel_major(value, op) for value in values]
        order = canonical_order(op.type.shape)
        turns = math.prod(op.type.shape[1 : op.axis])
    lanes = math.gcd(*(value.stream.lanes for value in values))
    values = [circuit.width(value, lanes, op) for value in values]
    total = values[0].stream
    for value in values[1:]:
        total = _joined(circuit, op, total, value.stream, turns)
    channels = op.type.shape[0]
    return Value(dataclasses.replace(total, pixels=op.type.size // channels, channels=channels), order, op.type)


def _joined(circuit: Circuit, op: Op, a: Stream, b: Stream, turns: int) -> Stream:
    name = circuit.fresh(op, "concat")
    a_beats, b_beats = a.beats // turns, b.beats // turns
    parameters: list[tuple[str, int | str | Memory]] = [
        ("WIDTH", a.bits),
        ("A_BEATS", a_beats),
        ("B_BEATS", b_beats),
    ]
    turn, place = np.divmod(np.arange(a.beats + b.beats), a_beats + b_beats)
    needs = (
        Listed(turn * a_beats + np.minimum(place + 1, a_beats)),
        Listed(turn * b_beats + np.maximum(place + 1 - a_beats, 0)),
    )
    elements = a.elements + b.elements
    out = dataclasses.replace(a, name=name, pixels=turns, channels=elements // turns)
    circuit.add(name, "bnnc_concat", op, parameters, [("a", a), ("b", b)], [out], Pace(needs, latency=0))
    return out


__all__ = ["add", "aligned", "concat", "encoded"]
