"""The meaning of the «nn» ops: float32 arrays, batch first, every rounding in the order of docs/numerics.md.

An operand of an integer dtype is taken as its values in fp32 (exact below 2^24, which the verifier demands).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from bnnc.ir import nn
from bnnc.ir.op import Op
from bnnc.reference import numerics
from bnnc.reference.bit import array_dtype
from bnnc.reference.sums import CACHE_ELEMENTS, EXACT_F32, conv_f32, is_whole, matmul_f32
from bnnc.reference.taps import taps

Operands = Sequence[np.ndarray]
ZERO, ONE = np.float32(0), np.float32(1)


def as_float(x: np.ndarray) -> np.ndarray:
    """x as float32 (the same array if it is)."""
    return x.astype(np.float32, copy=False)


def _truth(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32)


def _where(condition: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(condition != 0, a, b)


def _prelu(x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, x, slope * x)


def _in_blocks(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """The function, applied to as many elements at a time as keep its many intermediate arrays in the cache."""

    def blockwise(x: np.ndarray) -> np.ndarray:
        flat = x.reshape(-1)
        result = np.empty(flat.shape, np.float32)
        for start in range(0, flat.size, CACHE_ELEMENTS):
            result[start : start + CACHE_ELEMENTS] = function(flat[start : start + CACHE_ELEMENTS])
        return result.reshape(x.shape)

    return blockwise


def _half(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float16).astype(np.float32)


ELEMENTWISE: dict[str, Callable[..., np.ndarray]] = {
    "neg": lambda x: -x,
    "abs": np.abs,
    "sign": lambda x: _truth(x > 0) - _truth(x < 0),
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "trunc": np.trunc,
    "half": _half,
    "sqrt": np.sqrt,
    "reciprocal": lambda x: ONE / x,
    "exp": _in_blocks(numerics.exp),
    "log": _in_blocks(numerics.log),
    "sigmoid": _in_blocks(numerics.sigmoid),
    "tanh": _in_blocks(numerics.tanh),
    "erf": _in_blocks(numerics.erf),
    "relu": lambda x: numerics.maximum(x, ZERO),
    "not": lambda x: _truth(x == 0),
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "pow": numerics.power,
    "mod": lambda a, b: a - b * np.floor(a / b),
    "fmod": lambda a, b: a - b * np.trunc(a / b),
    "min": numerics.minimum,
    "max": numerics.maximum,
    "prelu": _prelu,
    "equal": lambda a, b: _truth(a == b),
    "greater": lambda a, b: _truth(a > b),
    "greater_equal": lambda a, b: _truth(a >= b),
    "less": lambda a, b: _truth(a < b),
    "less_equal": lambda a, b: _truth(a <= b),
    "and": lambda a, b: _truth((a != 0) & (b != 0)),
    "or": lambda a, b: _truth((a != 0) | (b != 0)),
    "xor": lambda a, b: _truth((a != 0) != (b != 0)),
    "where": _where,
    "clip": lambda x, low, high: numerics.minimum(numerics.maximum(x, low), high),
}


def constant(op: nn.Constant, operands: Operands) -> np.ndarray:
    return op.values[None]


def elementwise(op: nn.Map, operands: Operands) -> np.ndarray:
    rank = max(x.ndim for x in operands)
    aligned = [as_float(x).reshape(x.shape[0], *(1,) * (rank - x.ndim), *x.shape[1:]) for x in operands]
    return ELEMENTWISE[op.function](*aligned)


def _per_channel(values: np.ndarray, rank: int) -> np.ndarray:
    """values [B, C] shaped to meet an array [B, C, …] with `rank` axes."""
    return as_float(values).reshape(*values.shape, *(1,) * (rank - 2))


def conv(op: nn.Conv, operands: Operands) -> np.ndarray:
    x, w = as_float(operands[0]), as_float(operands[1])
    y = conv_f32(x, w, op.type.shape[1:], op.strides, op.pads, op.dilations, op.groups)
    return y + _per_channel(operands[2], y.ndim) if op.bias is not None else y


def dense(op: nn.Dense, operands: Operands) -> np.ndarray:
    x, w = as_float(operands[0]), as_float(operands[1])
    rows = x.reshape(x.shape[0], -1, x.shape[-1])
    if w.shape[0] == 1:
        y = matmul_f32(rows.reshape(-1, x.shape[-1]), w[0].T).reshape(*rows.shape[:2], -1)
    else:
        y = matmul_f32(rows, w.transpose(0, 2, 1))
    if op.bias is not None:
        y = y + as_float(operands[2])[:, None, :]
    return y.reshape(y.shape[0], *op.type.shape)


def matmul(op: nn.MatMul, operands: Operands) -> np.ndarray:
    rank = max(x.ndim for x in operands)
    a, b = (as_float(x).reshape(x.shape[0], *(1,) * (rank - x.ndim), *x.shape[1:]) for x in operands)
    return matmul_f32(a, b)


def batch_norm(op: nn.BatchNorm, operands: Operands) -> np.ndarray:
    x = as_float(operands[0])
    scale, bias, mean, variance = (_per_channel(v, x.ndim) for v in operands[1:])
    return np.asarray((x - mean) * (scale / np.sqrt(variance + np.float32(op.epsilon))) + bias)


def pool(op: nn.Pool, operands: Operands) -> np.ndarray:
    x, outputs = as_float(operands[0]), op.type.shape[1:]
    sizes = x.shape[2:]
    maximum = op.function == "max"
    result = np.full((*x.shape[:2], *outputs), -np.inf if maximum else 0, np.float32)
    count = np.zeros(outputs, np.float32)
    for _, reached, read in taps(sizes, outputs, op.kernel, op.strides, op.pads, op.dilations):
        place: Any = (..., *reached)
        reading: Any = (..., *read)
        taken = x[reading]
        result[place] = numerics.maximum(result[place], taken) if maximum else result[place] + taken
        count[place] += 1
    if op.function != "average":
        return result
    return result / (_padded_count(op, sizes) if op.count_include_pad else count)


def _padded_count(op: nn.Pool, sizes: tuple[int, ...]) -> np.ndarray:
    """How many taps of each window lie inside the padded input (with `ceil_mode` a window may stick out of it)."""
    rank, outputs = len(sizes), op.type.shape[1:]
    padded = tuple(n + op.pads[axis] + op.pads[rank + axis] for axis, n in enumerate(sizes))
    count = np.zeros(outputs, np.float32)
    for _, reached, _ in taps(padded, outputs, op.kernel, op.strides, (0,) * (2 * rank), op.dilations):
        count[reached] += 1
    return count


def _terms(x: np.ndarray, axes: tuple[int, ...]) -> Iterable[np.ndarray]:
    """The slices of x [B, …] at every index of the sample's `axes`, row-major, with those axes kept as length 1."""
    for index in itertools.product(*(range(x.shape[axis + 1]) for axis in axes)):
        place = [slice(None)] * x.ndim
        for axis, i in zip(axes, index, strict=True):
            place[axis + 1] = slice(i, i + 1)
        yield x[tuple(place)]


def ascending_sum(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """acc = +0; acc = acc + x for every index of `axes` in row-major order; those axes stay with length 1."""
    count = math.prod(x.shape[axis + 1] for axis in axes)
    if x.size and is_whole(x) and float(np.abs(x).max()) * count < EXACT_F32:
        return np.asarray(x.sum(tuple(axis + 1 for axis in axes), keepdims=True) + ZERO)  # exact: any order will do
    shape = tuple(1 if axis - 1 in axes else n for axis, n in enumerate(x.shape))
    total = np.zeros(shape, np.float32)
    for term in _terms(x, axes):
        total = total + term
    return total


def _fold(x: np.ndarray, axes: tuple[int, ...], combine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    terms = iter(_terms(x, axes))
    result = next(terms)
    for term in terms:
        result = combine(result, term)
    return result


def reduce(op: nn.Reduce, operands: Operands) -> np.ndarray:
    x, axes = as_float(operands[0]), op.axes
    match op.function:
        case "sum":
            y = ascending_sum(x, axes)
        case "mean":
            y = ascending_sum(x, axes) / np.float32(math.prod(x.shape[axis + 1] for axis in axes))
        case "max":
            y = _fold(x, axes, numerics.maximum)
        case "min":
            y = _fold(x, axes, numerics.minimum)
        case "prod":
            y = _fold(x, axes, np.multiply)
        case "l1":
            y = ascending_sum(np.abs(x), axes)
        case "l2":
            y = np.sqrt(ascending_sum(x * x, axes))
        case "sum_square":
            y = ascending_sum(x * x, axes)
        case "log_sum_exp":
            largest = _fold(x, axes, numerics.maximum)
            y = numerics.log(ascending_sum(ELEMENTWISE["exp"](x - largest), axes)) + largest
        case _:
            raise NotImplementedError(op.function)
    return y.reshape(y.shape[0], *op.type.shape)


def argmax(op: nn.ArgMax, operands: Operands) -> np.ndarray:
    x = np.moveaxis(operands[0], op.axis + 1, 0)
    best, index = x[0], np.zeros(x.shape[1:], array_dtype(op.type.dtype))
    for i in range(1, len(x)):
        a, b = (best, x[i]) if op.smallest else (x[i], best)
        wins = a >= b if op.last else a > b
        best, index = np.where(wins, x[i], best), np.where(wins, index.dtype.type(i), index)
    found: np.ndarray = index.reshape(index.shape[0], *op.type.shape)
    return found


def softmax(op: nn.Softmax, operands: Operands) -> np.ndarray:
    x, axes = as_float(operands[0]), (op.axis,)
    shifted = x - _fold(x, axes, numerics.maximum)
    powers = ELEMENTWISE["exp"](shifted)
    total = ascending_sum(powers, axes)
    return np.asarray(shifted - numerics.log(total) if op.log else powers / total)


def multi_threshold(op: nn.MultiThreshold, operands: Operands) -> np.ndarray:
    x, table = as_float(operands[0]), as_float(operands[1])
    shape = (*np.broadcast_shapes(x.shape[:1], table.shape[:1]), *x.shape[1:])
    count: np.ndarray = np.zeros(shape, np.float32)
    for n in range(table.shape[2]):
        count = count + _truth(_per_channel(table[:, :, n], x.ndim) <= x)
    return count


MEANINGS: dict[type[Op], Callable[[Any, Operands], np.ndarray]] = {
    nn.Constant: constant,
    nn.Map: elementwise,
    nn.Conv: conv,
    nn.Dense: dense,
    nn.MatMul: matmul,
    nn.BatchNorm: batch_norm,
    nn.Pool: pool,
    nn.Reduce: reduce,
    nn.ArgMax: argmax,
    nn.Softmax: softmax,
    nn.MultiThreshold: multi_threshold,
}
