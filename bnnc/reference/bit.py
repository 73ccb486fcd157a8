"""The meaning of the «bit» ops on arrays of integers (int32, or int64 where a type's range needs it), batch first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bnnc.ir import bit
from bnnc.ir.op import Op
from bnnc.ir.types import F32, DType, stored_range
from bnnc.reference.sums import conv_whole, matmul_whole
from bnnc.reference.taps import taps

Operands = Sequence[np.ndarray]
FEW_THRESHOLDS = 8


def array_dtype(dtype: DType) -> np.dtype:
    """The numpy dtype in which the reference holds a tensor of `dtype`."""
    if dtype == F32():
        return np.dtype(np.float32)
    lo, hi = stored_range(dtype)
    return np.dtype(np.int32 if lo >= -(2**31) and hi < 2**31 else np.int64)


def conv(op: bit.Conv, operands: Operands) -> np.ndarray:
    return conv_whole(
        operands[0],
        op.weights,
        op.type.shape[1:],
        op.strides,
        op.pads,
        op.dilations,
        op.groups,
        op.pad_value,
        array_dtype(op.type.dtype),
    )


def dense(op: bit.Dense, operands: Operands) -> np.ndarray:
    return matmul_whole(operands[0], op.weights, array_dtype(op.type.dtype))


def step(op: bit.Step, operands: Operands) -> np.ndarray:
    x = operands[0]
    rows, count = op.thresholds.shape
    values = op.values.astype(array_dtype(op.dtype))
    if count <= FEW_THRESHOLDS:
        result = _row(values[:, 0], x)
        for n in range(count):
            result = np.where(x >= _row(op.thresholds[:, n], x), _row(values[:, n + 1], x), result)
        return np.ascontiguousarray(np.broadcast_to(result, x.shape))
    if rows == 1:
        return np.asarray(values[0][_passed(op.thresholds[0], x)])
    result = np.empty(x.shape, values.dtype)
    for channel in range(rows):
        result[:, channel] = values[channel][_passed(op.thresholds[channel], x[:, channel])]
    return result


def _row(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """One value for each channel, shaped to meet x [B, C, …]."""
    return values.reshape(1, -1, *(1,) * (x.ndim - 2))


def _passed(thresholds: np.ndarray, x: np.ndarray) -> np.ndarray:
    """How many of the ascending thresholds are <= x; none for NaN."""
    count = np.searchsorted(thresholds, x, side="right")
    return np.where(x == x, count, 0)


def decode(op: bit.Decode, operands: Operands) -> np.ndarray:
    return operands[0].astype(np.float32)


def pool(op: bit.Pool, operands: Operands) -> np.ndarray:
    x = operands[0]
    outputs, dtype = op.type.shape[1:], array_dtype(op.type.dtype)
    lo, hi = stored_range(op.type.dtype)
    start = {"max": lo, "min": hi, "sum": 0}[op.function]
    combine = {"max": np.maximum, "min": np.minimum, "sum": np.add}[op.function]
    result = np.full((x.shape[0], x.shape[1], *outputs), start, dtype)
    for _, reached, read in taps(x.shape[2:], outputs, op.kernel, op.strides, op.pads, op.dilations):
        place: Any = (..., *reached)
        taken: Any = (..., *read)
        result[place] = combine(result[place], x[taken])
    if op.smallest is not None and op.smallest.any():
        low = pool(dataclasses.replace(op, function="min", smallest=None), operands)
        result = np.where(_row(op.smallest, x), low, result)
    return result


def add(op: bit.Add, operands: Operands) -> np.ndarray:
    total = sum(x.astype(np.int64) * k for x, k in zip(operands, op.coefficients, strict=True))
    return np.asarray(total).astype(array_dtype(op.type.dtype))


MEANINGS: dict[type[Op], Callable[[Any, Operands], np.ndarray]] = {
    bit.Conv: conv,
    bit.Dense: dense,
    bit.Step: step,
    bit.Decode: decode,
    bit.Pool: pool,
    bit.Add: add,
}
