"""The meaning of the «fix» ops: int32 arrays, batch first, with every sum and product in int64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bnnc.ir import fixed
from bnnc.ir.fixed import fraction, half
from bnnc.ir.op import Op
from bnnc.ir.types import Fix
from bnnc.reference.sums import conv_whole, matmul_whole
from bnnc.reference.taps import taps

Operands = Sequence[np.ndarray]
LOWEST, HIGHEST = -(2**31), 2**31 - 1


def settle(values: np.ndarray, shift: int) -> np.ndarray:
    """int64 values shifted right with halves rounded up, or left where shift is negative, clamped to 32 bits."""
    moved = (values + half(shift)) >> shift if shift >= 0 else values << -shift
    return np.asarray(np.clip(moved, LOWEST, HIGHEST))


def to_float(values: np.ndarray, dtype: Fix) -> np.ndarray:
    """What stored numbers of a format stand for, in float64: exact."""
    return np.ldexp(values.astype(np.float64), -dtype.fraction)


def _wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.int64)


def _rows(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """[C or 1] shaped to meet x [B, C, …]."""
    return values.reshape(1, -1, *(1,) * (x.ndim - 2))


def _aligned(operands: Operands) -> list[np.ndarray]:
    rank = max(x.ndim for x in operands)
    return [_wide(x).reshape(x.shape[0], *(1,) * (rank - x.ndim), *x.shape[1:]) for x in operands]


def constant(op: fixed.Constant, operands: Operands) -> np.ndarray:
    return op.values[None]


def encode(op: fixed.Encode, operands: Operands) -> np.ndarray:
    # float64 holds x * 2^f + 1/2 with at least 28 bits to spare below every f32 whose rounding matters.
    scaled = np.ldexp(operands[0].astype(np.float64), fraction(op.dtype))
    whole = np.floor(scaled)
    rounded = whole + (scaled - whole >= 0.5)
    return np.clip(np.where(np.isnan(scaled), 0, rounded), LOWEST, HIGHEST).astype(np.int64)


def decode(op: fixed.Decode, operands: Operands) -> np.ndarray:
    return np.ldexp(operands[0].astype(np.float32), -fraction(op.x.type.dtype))


def lines(op: fixed.Map, operands: Operands) -> np.ndarray:
    x = _wide(operands[0])
    slope, offset = _rows(op.slopes[:, 0].astype(np.int64), x), _rows(op.offsets[:, 0], x)
    for n in range(op.thresholds.shape[1]):
        reached = x >= _rows(op.thresholds[:, n], x)
        slope = np.where(reached, _rows(op.slopes[:, n + 1].astype(np.int64), x), slope)
        offset = np.where(reached, _rows(op.offsets[:, n + 1], x), offset)
    return settle(slope * x + offset, op.shift)


def table(op: fixed.Table, operands: Operands) -> np.ndarray:
    values = op.values.astype(np.int64)
    place = np.clip(_wide(operands[0]) - op.first, 0, ((values.size - 1) << op.step) - 1)
    index = place >> op.step
    rest = place - (index << op.step)
    rise = (values[index + 1] - values[index]) * rest
    return np.asarray(values[index] + ((rise + half(op.step)) >> op.step))


def add(op: fixed.Add, operands: Operands) -> np.ndarray:
    terms = [
        sign * (x << (op.point - fraction(of.type.dtype)))
        for sign, x, of in zip(op.signs, _aligned(operands), op.xs, strict=True)
    ]
    return settle(np.asarray(sum(terms[1:], terms[0])), op.point - fraction(op.dtype))


def mul(op: fixed.Mul, operands: Operands) -> np.ndarray:
    a, b = _aligned(operands)
    return settle(a * b, op.shift)


def conv(op: fixed.Conv, operands: Operands) -> np.ndarray:
    total = conv_whole(
        operands[0], op.weights, op.type.shape[1:], op.strides, op.pads, op.dilations, op.groups, 0, np.dtype(np.int64)
    )
    return settle(total + _rows(op.bias, total), op.shift)


def dense(op: fixed.Dense, operands: Operands) -> np.ndarray:
    return settle(matmul_whole(operands[0], op.weights, np.dtype(np.int64)) + op.bias, op.shift)


def pool(op: fixed.Pool, operands: Operands) -> np.ndarray:
    x, outputs = _wide(operands[0]), op.type.shape[1:]
    total = np.zeros((*x.shape[:2], *outputs), np.int64)
    for _, reached, read in taps(x.shape[2:], outputs, op.kernel, op.strides, op.pads, op.dilations):
        place: Any = (..., *reached)
        taken: Any = (..., *read)
        total[place] += x[taken]
    return settle(total * op.factor, op.shift)


MEANINGS: dict[type[Op], Callable[[Any, Operands], np.ndarray]] = {
    fixed.Constant: constant,
    fixed.Encode: encode,
    fixed.Decode: decode,
    fixed.Map: lines,
    fixed.Table: table,
    fixed.Add: add,
    fixed.Mul: mul,
    fixed.Conv: conv,
    fixed.Dense: dense,
    fixed.Pool: pool,
}
