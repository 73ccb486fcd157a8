"""Fixed-point streams: every op is exact integer arithmetic and one `settle` (round, shift, saturate) at its end."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from bnnc.backends.verilog.circuit import Circuit, Known, Value, repeating, width_of
from bnnc.backends.verilog.design import Block, Folding, Memory, Pace, Stream, memory
from bnnc.backends.verilog.plan_joins import aligned
from bnnc.backends.verilog.plan_layers import channel_major, sums
from bnnc.backends.verilog.plan_moves import broadcast
from bnnc.backends.verilog.plan_numbers import affine, as_numbers, channel_rows
from bnnc.backends.verilog.plan_pools import pooled
from bnnc.diagnostics import error
from bnnc.ir import fixed
from bnnc.ir.fixed import fraction
from bnnc.ir.op import Op
from bnnc.ir.types import TensorType, stored_range

Parameters = list[tuple[str, int | str | Memory]]
WORD = 32


def _signed(values: np.ndarray) -> int:
    """Bits of two's complement that hold all of the values, one at least."""
    return width_of(min(int(values.min(initial=0)), -1), int(values.max(initial=0)))[0]


def _range_width(lo: int, hi: int) -> int:
    return width_of(min(lo, -1), hi)[0]


def _stream(stream: Stream, name: str) -> Stream:
    """The same beats as 32-bit numbers."""
    return dataclasses.replace(stream, name=name, width=WORD, signed=True, multiplier=1, offset=0)


def layer(circuit: Circuit, op: fixed.Conv | fixed.Dense, value: Value, folding: Folding) -> Value:
    """A convolution or dense layer: exact sums, then bias and settle."""
    found = sums(circuit, op, value, folding)
    return settled(circuit, op, found, op.bias, 1, op.shift)


def settled(circuit: Circuit, op: Op, value: Value, bias: np.ndarray, factor: int, shift: int) -> Value:
    """settle(factor * x + bias[c], shift); a bias for each channel, or a single 0."""
    stream = value.stream
    while abs(factor) >= 1 << 31 and factor % 2 == 0 and not bias.any():  # a parameter has 32 bits
        factor, shift = factor // 2, shift - 1
    if abs(factor) >= 1 << 31:
        raise error("B0622", f"the factor {factor} of `{op.opcode}` has more than 31 bits", places=(op.loc,))
    name = circuit.fresh(op, "settle")
    lo, hi = sorted(factor * end for end in stream.raw_range)
    parameters: Parameters = [
        ("LANES", stream.lanes),
        ("IN_WIDTH", stream.width),
        ("IN_SIGNED", int(stream.signed)),
        ("FACTOR", factor),
        ("BIAS_WIDTH", _signed(bias) if bias.any() else 0),
    ]
    if bias.any():
        words = repeating(channel_rows(value, len(bias)), stream.beats)
        parameters += [("CHUNKS", len(words)), ("TABLE", memory(f"{name}_bias", (bias[words], _signed(bias))))]
    parameters += [
        ("SUM_WIDTH", _range_width(lo + min(0, int(bias.min())), hi + max(0, int(bias.max())))),
        ("SHIFT", shift),
    ]
    out = _stream(stream, name)
    latency = 5 if factor == 1 else 6 if max(stream.width, _range_width(factor, factor)) <= 18 else 8
    circuit.add(name, "bnnc_fix_settle", op, parameters, [("in", stream)], [out], Pace((Block(1, 1),), latency=latency))
    return Value(out, value.order, op.type)


def pool(circuit: Circuit, op: fixed.Pool, value: Value) -> Value:
    """The sum of a window, times the factor, settled."""
    value, channels = channel_major(circuit, value, op)
    stream = value.stream
    lo, hi = stored_range(value.type.dtype)
    taps = math.prod(op.kernel)
    width = _range_width(min(lo * taps, 0), max(hi * taps, 0))
    out = pooled(circuit, op, value, 2, width, stream.multiplier, stream.offset)
    out = dataclasses.replace(out, signed=True, multiplier=1, offset=0)
    pixels = op.type.size // len(channels)
    order = (channels[None, :] * pixels + np.arange(pixels)[:, None]).reshape(-1)
    return settled(circuit, op, Value(out, order, op.type), np.zeros(1, np.int64), op.factor, op.shift)


def lines(circuit: Circuit, op: fixed.Map, value: Value) -> Value:
    """A function made of lines, in the raw numbers of the stream."""
    stream = value.stream
    slopes = op.slopes.astype(np.int64) * stream.multiplier
    offsets = op.offsets + op.slopes.astype(np.int64) * stream.offset
    lo, hi = stream.raw_range
    # A raw number reaches a threshold where the number it stands for does; beyond the ends that is always or never.
    thresholds = -((stream.offset - op.thresholds.astype(np.int64)) // stream.multiplier)
    slopes, offsets = _unreached(thresholds, slopes, hi), _unreached(thresholds, offsets, hi)
    thresholds = thresholds.clip(lo, hi)
    words = repeating(channel_rows(value, len(slopes)), stream.beats)
    name = circuit.fresh(op, "lines")
    slope_width, offset_width = _signed(slopes), _signed(offsets)
    fields = []
    for lane in range(stream.lanes):
        rows = words[:, lane]
        fields += [(thresholds[rows], WORD), (slopes[rows], slope_width), (offsets[rows], offset_width)]
    ends = np.concatenate([slopes * lo + offsets, slopes * hi + offsets])
    parameters: Parameters = [
        ("LANES", stream.lanes),
        ("IN_WIDTH", stream.width),
        ("IN_SIGNED", int(stream.signed)),
        ("COUNT", thresholds.shape[1]),
        ("SLOPE_WIDTH", slope_width),
        ("OFFSET_WIDTH", offset_width),
        ("CHUNKS", len(words)),
        ("TABLE", memory(f"{name}_table", *(field for field in fields if field[0].shape[1]))),
        ("SUM_WIDTH", _signed(ends)),
        ("SHIFT", op.shift),
    ]
    out = _stream(stream, name)
    latency = 7 if max(stream.width + (not stream.signed), slope_width) <= 18 else 9
    circuit.add(name, "bnnc_fix_lines", op, parameters, [("in", stream)], [out], Pace((Block(1, 1),), latency=latency))
    return Value(out, value.order, op.type)


def _unreached(thresholds: np.ndarray, values: np.ndarray, hi: int) -> np.ndarray:
    """Values [rows, n + 1] where those behind thresholds above hi are the last that can be reached."""
    result = values.copy()
    for n in range(thresholds.shape[1]):
        result[:, n + 1] = np.where(thresholds[:, n] > hi, result[:, n], result[:, n + 1])
    return result


def table(circuit: Circuit, op: fixed.Table, value: Value) -> Value:
    """A smooth function, interpolated."""
    value = as_numbers(circuit, value, op)
    stream = value.stream
    name = circuit.fresh(op, "curve")
    values = op.values.astype(np.int64)
    parameters: Parameters = [
        ("LANES", stream.lanes),
        ("IN_WIDTH", stream.width),
        ("IN_SIGNED", int(stream.signed)),
        ("FIRST", op.first),
        ("STEP", op.step),
        ("COUNT", len(values) - 1),
        ("TABLE", memory(f"{name}_table", (values[:-1, None], WORD), (np.diff(values)[:, None], WORD + 1))),
    ]
    out = _stream(stream, name)
    circuit.add(name, "bnnc_fix_table", op, parameters, [("in", stream)], [out], Pace((Block(1, 1),), latency=9))
    return Value(out, value.order, op.type)


def _operands(circuit: Circuit, op: fixed.Add | fixed.Mul, given: Sequence[Value | Known]) -> list[Value]:
    """The operands as numbers of the result's shape, in one order."""
    shape = op.type.shape
    shaped = [broadcast(circuit, op, as_numbers(circuit, x, op), shape) for x in given if isinstance(x, Value)]
    values = aligned(circuit, op, shaped)
    like, streamed = values[0], iter(values)
    return [
        next(streamed)
        if isinstance(x, Value)
        else as_numbers(circuit, circuit.constant(op, _expanded(x, shape), like), op)
        for x in given
    ]


def _expanded(known: Known, shape: tuple[int, ...]) -> Known:
    return Known(np.broadcast_to(known.values, (1, *shape)), TensorType(known.type.dtype, shape))


def add(circuit: Circuit, op: fixed.Add, given: Sequence[Value | Known]) -> Value:
    """Two streams in one engine; more of them are summed exactly first, and settled at the end."""
    values = _operands(circuit, op, given)
    shifts = [op.point - fraction(x.type.dtype) for x in op.xs]
    end = op.point - fraction(op.dtype)
    if len(values) == 2:
        a, b = (value.stream for value in values)
        parameters: Parameters = [("LANES", a.lanes)]
        for letter, stream, shift, sign in zip("AB", (a, b), shifts, op.signs, strict=True):
            parameters += [
                (f"{letter}_WIDTH", stream.width),
                (f"{letter}_SIGNED", int(stream.signed)),
                (f"{letter}_SHIFT", shift),
                (f"{letter}_NEGATIVE", int(sign < 0)),
            ]
        parameters.append(("SHIFT", end))
        return _joined(circuit, op, "bnnc_fix_add", values, parameters, 3)
    for at, shift in enumerate(shifts):
        if shift > 30:  # no factor of bnnc_add is that large
            lo, hi = sorted(end << shift for end in values[at].stream.raw_range)
            line = np.array([1 << shift]), np.array([0])
            values[at] = affine(circuit, values[at], op, *line, _range_width(lo, hi), True)
            shifts[at] = 0
    total = values[0].stream
    factor = op.signs[0] << shifts[0]
    lo, hi = sorted(factor * e for e in total.raw_range)
    for value, shift, sign in zip(values[1:], shifts[1:], op.signs[1:], strict=True):
        other, name = value.stream, circuit.fresh(op, "add")
        ends = sorted((sign << shift) * e for e in other.raw_range)
        lo, hi = lo + ends[0], hi + ends[1]
        width = _range_width(lo, hi)
        parameters = [
            ("LANES", total.lanes),
            ("A_WIDTH", total.width),
            ("A_SIGNED", int(total.signed)),
            ("A_FACTOR", factor),
            ("B_WIDTH", other.width),
            ("B_SIGNED", int(other.signed)),
            ("B_FACTOR", sign << shift),
            ("CONSTANT", 0),
            ("OUT_WIDTH", width),
        ]
        out = dataclasses.replace(total, name=name, width=width, signed=True)
        pace = Pace((Block(1, 1), Block(1, 1)), latency=2)
        circuit.add(name, "bnnc_add", op, parameters, [("a", total), ("b", other)], [out], pace)
        total, factor = out, 1
    return settled(circuit, op, Value(total, values[0].order, op.type), np.zeros(1, np.int64), factor, end)


def mul(circuit: Circuit, op: fixed.Mul, given: Sequence[Value | Known]) -> Value:
    """A gate: the product of two streams."""
    values = _operands(circuit, op, given)
    a, b = (value.stream for value in values)
    parameters: Parameters = [
        ("LANES", a.lanes),
        ("A_WIDTH", a.width),
        ("A_SIGNED", int(a.signed)),
        ("B_WIDTH", b.width),
        ("B_SIGNED", int(b.signed)),
        ("SHIFT", op.shift),
    ]
    latency = 4 if max(s.width + (not s.signed) for s in (a, b)) <= 18 else 6
    return _joined(circuit, op, "bnnc_fix_mul", values, parameters, latency)


def _joined(
    circuit: Circuit, op: Op, module: str, values: Sequence[Value], parameters: Parameters, latency: int
) -> Value:
    name = circuit.fresh(op, op.opcode.removeprefix("fix."))
    a, b = (value.stream for value in values)
    out = _stream(a, name)
    pace = Pace((Block(1, 1), Block(1, 1)), latency=latency)
    circuit.add(name, module, op, parameters, [("a", a), ("b", b)], [out], pace)
    return Value(out, values[0].order, op.type)


__all__ = ["add", "layer", "lines", "mul", "pool", "settled", "table"]
