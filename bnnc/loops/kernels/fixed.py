"""Fixed-point arithmetic in registers: 64-bit sums and products, rounded and clamped once, as `ir/fixed.py` says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bnnc.ir import fixed
from bnnc.ir.fixed import fraction, half
from bnnc.ir.op import Op
from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    F32,
    I32,
    I64,
    Binary,
    Buffer,
    Convert,
    Expression,
    Extract,
    Scalar,
    Unary,
    binary,
    constant,
    constant_buffer,
    load,
    select,
    with_element,
)
from bnnc.loops.kernels.epilogue import Sums
from bnnc.loops.kernels.tiling import Plan, Tile, pixel_index
from bnnc.loops.layout import Elements

ELEMENTWISE = (fixed.Encode, fixed.Decode, fixed.Map, fixed.Table, fixed.Add, fixed.Mul)

Row = Callable[[np.ndarray, str, Scalar], Expression]
"""(a number for each channel, a name, an element) -> those of the lanes at hand."""


def wide(x: Expression) -> Expression:
    """i32 lanes as i64."""
    return x if x.type.element == I64 else Convert("sext", x, with_element(x.type, I64))


def settled(b: Builder, value: Expression, shift: int) -> Expression:
    """i64 lanes rounded, shifted and clamped to i32."""
    if shift > 0:
        value = binary("ashr", value + half(shift), shift)
    elif shift < 0:
        value = value << -shift
    value = binary("min", binary("max", value, -(2**31)), 2**31 - 1)
    return Convert("trunc", value, with_element(value.type, I32))


def value_of(b: Builder, op: Op, operands: tuple[Expression, ...], row: Row, table: Buffer | None) -> Expression:
    """The value of an op of ELEMENTWISE: i32, or f32 for decode. `table` holds the values of a fix.table."""
    match op:
        case fixed.Encode():
            return _encoded(b, operands[0], fraction(op.dtype))
        case fixed.Decode():
            real = Convert("to_float", operands[0], with_element(operands[0].type, F32))
            return real * 2.0 ** -fraction(op.x.type.dtype)
        case fixed.Map():
            return _lines(b, op, operands[0], row)
        case fixed.Add():
            total: Expression | None = None
            for sign, of, x in zip(op.signs, op.xs, operands, strict=True):
                distance = op.point - fraction(of.type.dtype)
                term = wide(x) << distance if distance else wide(x)
                signed = term if sign > 0 else -term
                total = signed if total is None else total + signed
            assert total is not None
            return settled(b, total, op.point - fraction(op.dtype))
        case fixed.Mul():
            return settled(b, wide(operands[0]) * wide(operands[1]), op.shift)
        case fixed.Table() if table is not None:
            return _between(b, op, operands[0], table)
    raise TypeError(f"{op.opcode} is not a fixed-point map")


def _encoded(b: Builder, x: Expression, bits: int) -> Expression:
    scaled = b.let(x * 2.0**bits, "scaled")
    whole = b.let(Unary("floor", scaled), "whole")
    up = select(scaled - whole >= 0.5, constant(1.0, x.type), constant(0.0, x.type))
    return Convert("to_int", whole + up, with_element(x.type, I32))


def _lines(b: Builder, op: fixed.Map, x: Expression, row: Row) -> Expression:
    slope, offset = row(op.slopes[:, 0], "slope_0", I32), row(op.offsets[:, 0], "offset_0", I64)
    for n in range(op.thresholds.shape[1]):
        reached = b.let(x >= row(op.thresholds[:, n], f"knot_{n}", I32), "reached")
        slope = select(reached, row(op.slopes[:, n + 1], f"slope_{n + 1}", I32), slope)
        offset = select(reached, row(op.offsets[:, n + 1], f"offset_{n + 1}", I64), offset)
    return settled(b, wide(x) * wide(slope) + offset, op.shift)


def _between(b: Builder, op: fixed.Table, x: Expression, table: Buffer) -> Expression:
    """Look-ups go one by one: x is a single number."""
    last = ((op.values.size - 1) << op.step) - 1
    place = b.let(binary("min", binary("max", wide(x) - op.first, 0), last), "place")
    index = b.let(Binary("ashr", place, constant(op.step, I64)), "index")
    low, high = b.let(wide(load(table, index)), "low"), wide(load(table, index + 1))
    rise = (high - low) * (place - (index << op.step))
    rounded = binary("ashr", rise + half(op.step), op.step) if op.step else rise
    return Convert("trunc", low + rounded, I32)


class SettleSums:
    """The epilogue of fix.conv and fix.dense: the 64-bit sum and its bias, rounded, shifted, clamped and stored."""

    packed = False

    def __init__(self, layout: Elements, shift: int) -> None:
        self.layout, self.shift = layout, shift

    def declare(self, b: Builder, plan: Plan, sums: Sums) -> None:
        assert sums.element == I64
        self._output = b.parameter("y", I32, self.layout.length, access="write")
        self._base = None
        if sums.base is not None and sums.base.any():
            self._base = constant_buffer(f"{sums.name}_bias", sums.base.astype(np.int64))

    def finish(self, b: Builder, tile: Tile, results: list[list[Expression]]) -> None:
        lanes, type_ = tile.plan.lanes, tile.type_of(I64)
        for (row, column), pixel in zip(tile.pixels, results, strict=True):
            place = b.let(pixel_index(self.layout, tile.y + row, tile.x + column) + tile.channel, "place")
            for n, r in enumerate(pixel):
                real = min(lanes, max(0, (len(pixel) - n) * lanes - tile.part.spare))
                if not real:
                    continue
                value = r if self._base is None else r + load(self._base, tile.channel + n * lanes, type_)
                value = b.let(settled(b, value, self.shift), "settled")
                if real == lanes:
                    b.store(self._output, place + n * lanes, value)
                    continue
                for lane in range(real):
                    b.store(self._output, place + (n * lanes + lane), Extract(value, lane))
