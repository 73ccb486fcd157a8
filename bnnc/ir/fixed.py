"""The «fix» vocabulary: fixed-point streams. An element of fix<i,f> is a 32-bit integer q that stands for q * 2^-f.

Every op is integer arithmetic of 64 bits with one rounding and one saturation at its end:

    settle(v, s) = clamp((v + 2^(s-1)) >> s) for s > 0, clamp(v << -s) for s <= 0, to -2^31 .. 2^31 - 1

(the shift is arithmetic, so halves are rounded up). Operands of an integer dtype are integers with no fraction. No sum
or product ever leaves 64 bits: that is checked when an op is made. Decisions on a stream are `bit.step`, whose
thresholds are then 32-bit numbers of the stream's own format.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc.ir.nn import broadcast
from bnnc.ir.op import Op, expect
from bnnc.ir.types import F32, DType, Fix, TensorType, is_integer, stored_range
from bnnc.ir.windows import window_shape

LIMIT = 2**63
"""Sums stay below this in magnitude."""


def fraction(dtype: DType) -> int:
    """How many fractional bits the stored integers have: none for integer dtypes."""
    return dtype.fraction if isinstance(dtype, Fix) else 0


def half(shift: int) -> int:
    """What is added before a shift to the right, so that it rounds."""
    return 1 << (shift - 1) if shift > 0 else 0


def _numbers(op: Op) -> int:
    """The largest magnitude of a stored number of op. Raises TypeRuleError for f32."""
    expect(is_integer(op.type.dtype) or isinstance(op.type.dtype, Fix), f"a fixed-point op does not take {op.type}")
    return max(map(abs, stored_range(op.type.dtype)))


def _fix(dtype: DType, op: str) -> None:
    good = isinstance(dtype, Fix) and dtype.whole + dtype.fraction == 32 and 0 <= dtype.fraction <= 31
    expect(good, f"{op} gives fix<i,f> with i + f = 32 and 0 <= f <= 31, not {dtype}")


def _fits(magnitude: int, shift: int, op: str) -> None:
    expect(-31 <= shift <= 62, f"{op} cannot shift by {shift}")
    expect((magnitude + half(shift)) << max(0, -shift) < LIMIT, f"{op} could leave 64 bits")


def _largest(values: np.ndarray) -> int:
    return max(abs(int(values.max(initial=0))), abs(int(values.min(initial=0))))


@dataclass(frozen=True, eq=False)
class Constant(Op):
    """Fixed numbers of a stream: int32 values, any shape (it has no batch)."""

    code = "fix.constant"
    values: np.ndarray
    dtype: DType

    def infer(self) -> TensorType:
        _fix(self.dtype, self.code)
        expect(self.values.dtype == np.int32, f"a fix.constant holds int32, not {self.values.dtype}")
        return TensorType(self.dtype, self.values.shape)


@dataclass(frozen=True, eq=False)
class Encode(Op):
    """f32 to fixed point: clamp(floor(x * 2^f + 1/2)), computed without a rounding in between; NaN becomes 0."""

    code = "fix.encode"
    x: Op
    dtype: DType

    def infer(self) -> TensorType:
        _fix(self.dtype, self.code)
        expect(self.x.type.dtype == F32(), f"fix.encode takes f32, not {self.x.type}")
        return TensorType(self.dtype, self.x.type.shape)


@dataclass(frozen=True, eq=False)
class Decode(Op):
    """q to f32: q rounded to the nearest f32 (ties to even), then times 2^-f, which is exact."""

    code = "fix.decode"
    x: Op

    def infer(self) -> TensorType:
        expect(isinstance(self.x.type.dtype, Fix), f"fix.decode takes fixed point, not {self.x.type}")
        return TensorType(F32(), self.x.type.shape)


@dataclass(frozen=True, eq=False)
class Map(Op):
    """y = settle(slopes[c, n] * x + offsets[c, n], shift), n = how many of the ascending thresholds[c] are <= x.

    A function made of lines, for each channel: scales, shifts, batch norms, PReLU, ReLU, clips, and whole chains of
    them. x integer or fix; thresholds int32 [C or 1, n], slopes int32 and offsets int64 [C or 1, n + 1].
    """

    code = "fix.map"
    x: Op
    thresholds: np.ndarray
    slopes: np.ndarray
    offsets: np.ndarray
    shift: int
    dtype: DType

    def infer(self) -> TensorType:
        _fix(self.dtype, self.code)
        shape = self.x.type.shape
        rows, lines = self.slopes.shape
        expect(len(shape) >= 1 and rows in (1, shape[0]), f"{rows} rows of slopes do not fit {self.x.type}")
        expect(
            self.offsets.shape == (rows, lines) and self.thresholds.shape == (rows, lines - 1),
            f"{lines} lines need as many offsets and {lines - 1} thresholds",
        )
        kinds = (self.thresholds.dtype.name, self.slopes.dtype.name, self.offsets.dtype.name)
        expect(kinds == ("int32", "int32", "int64"), f"thresholds, slopes and offsets are not {', '.join(kinds)}")
        expect(bool((self.thresholds[:, 1:] >= self.thresholds[:, :-1]).all()), "thresholds must ascend")
        expect(self.shift >= 0, "fix.map shifts to the right")
        _fits(_largest(self.slopes) * _numbers(self.x) + _largest(self.offsets), self.shift, self.code)
        return TensorType(self.dtype, shape)


@dataclass(frozen=True, eq=False)
class Table(Op):
    """A smooth function by interpolation between values at knots that lie 2^step apart.

    p = min(max(x - first, 0), n * 2^step - 1); i = p >> step; r = p - i * 2^step;
    y = values[i] + (((values[i + 1] - values[i]) * r + 2^(step-1)) >> step). values int32 [n + 1].
    """

    code = "fix.table"
    x: Op
    values: np.ndarray
    first: int
    step: int
    dtype: DType

    def infer(self) -> TensorType:
        _fix(self.dtype, self.code)
        _numbers(self.x)
        expect(self.values.dtype == np.int32 and self.values.ndim == 1, "a table holds a list of int32")
        expect(2 <= self.values.size <= 1 << 16, f"a table of {self.values.size} values")
        expect(0 <= self.step <= 30 and -(2**31) <= self.first < 2**31, "the knots leave 32 bits")
        return TensorType(self.dtype, self.x.type.shape)


@dataclass(frozen=True, eq=False)
class Add(Op):
    """y = settle(Σ_i signs[i] * (x_i << (F - f_i)), F - f), F = the most fractional bits of operands and result.

    Integers and fix, broadcast as in numpy; signs are +1 or -1.
    """

    code = "fix.add"
    xs: tuple[Op, ...]
    signs: tuple[int, ...]
    dtype: DType

    @property
    def point(self) -> int:
        """F."""
        return max(fraction(self.dtype), *(fraction(x.type.dtype) for x in self.xs))

    def infer(self) -> TensorType:
        _fix(self.dtype, self.code)
        expect(len(self.signs) == len(self.xs) and all(s in (1, -1) for s in self.signs), "a sign for each operand")
        total = sum(_numbers(x) << (self.point - fraction(x.type.dtype)) for x in self.xs)
        _fits(total, self.point - fraction(self.dtype), self.code)
        return TensorType(self.dtype, broadcast([x.type.shape for x in self.xs]))


@dataclass(frozen=True, eq=False)
class Mul(Op):
    """y = settle(a * b, f_a + f_b - f); integers and fix, broadcast as in numpy."""

    code = "fix.mul"
    a: Op
    b: Op
    dtype: DType

    @property
    def shift(self) -> int:
        """How far the product is shifted to the right."""
        return fraction(self.a.type.dtype) + fraction(self.b.type.dtype) - fraction(self.dtype)

    def infer(self) -> TensorType:
        _fix(self.dtype, self.code)
        _fits(_numbers(self.a) * _numbers(self.b), self.shift, self.code)
        return TensorType(self.dtype, broadcast([self.a.type.shape, self.b.type.shape]))


def _sums(op: Conv | Dense) -> None:
    """The rules that convolutions and dense layers share."""
    _fix(op.dtype, op.code)
    w = op.weights
    expect(w.dtype == np.int32 and op.bias.dtype == np.int64, "weights are int32, the bias int64")
    expect(op.bias.shape == w.shape[:1], f"the bias of {w.shape[0]} filters has {w.shape[0]} values")
    expect(op.shift >= 0, f"{op.code} shifts to the right")
    rows = np.abs(w.reshape(len(w), -1).astype(np.int64)).sum(1)
    _fits(_largest(rows) * _numbers(op.x) + _largest(op.bias), op.shift, op.code)


@dataclass(frozen=True, eq=False)
class Conv(Op):
    """y = settle(Σ weights * x + bias[o], shift); the window is that of bit.conv, zeros outside.

    x integer or fix [C, *spatial], weights int32 [O, C/groups, *kernel], bias int64 [O].
    """

    code = "fix.conv"
    x: Op
    weights: np.ndarray
    bias: np.ndarray
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    groups: int
    shift: int
    dtype: DType

    def infer(self) -> TensorType:
        x, w = self.x.type.shape, self.weights.shape
        expect(len(x) >= 2 and len(w) == len(x) + 1, f"x {self.x.type} and weights {list(w)} do not meet")
        expect(
            self.groups >= 1 and x[0] == w[1] * self.groups and w[0] % self.groups == 0,
            f"{x[0]} channels and {w[0]} filters of {w[1]} do not fit {self.groups} groups",
        )
        _sums(self)
        spatial = window_shape(x[1:], w[2:], self.strides, self.pads, self.dilations)
        return TensorType(self.dtype, (w[0], *spatial))


@dataclass(frozen=True, eq=False)
class Dense(Op):
    """y[n] = settle(Σ_k weights[n, k] * x[k] + bias[n], shift); x integer or fix [K], weights int32, bias int64."""

    code = "fix.dense"
    x: Op
    weights: np.ndarray
    bias: np.ndarray
    shift: int
    dtype: DType

    def infer(self) -> TensorType:
        x, w = self.x.type.shape, self.weights.shape
        expect(len(x) == 1 and len(w) == 2 and x[0] == w[1], f"x {self.x.type} and weights {list(w)} do not meet")
        _sums(self)
        return TensorType(self.dtype, (w[0],))


@dataclass(frozen=True, eq=False)
class Pool(Op):
    """y = settle(factor * Σ of the window, shift); what lies outside the input does not count. An average has
    factor / 2^shift near 1 / taps. x integer or fix [C, *spatial]. (A maximum is `bit.pool`.)"""

    code = "fix.pool"
    x: Op
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    ceil_mode: bool
    factor: int
    shift: int
    dtype: DType

    def infer(self) -> TensorType:
        _fix(self.dtype, self.code)
        shape = self.x.type.shape
        expect(len(shape) >= 2, f"a pool needs [C, …], not {self.x.type}")
        expect(self.shift >= 0, "fix.pool shifts to the right")
        taps = int(np.prod(self.kernel))
        _fits(_numbers(self.x) * taps * abs(self.factor), self.shift, self.code)
        spatial = window_shape(shape[1:], self.kernel, self.strides, self.pads, self.dilations, self.ceil_mode)
        return TensorType(self.dtype, (shape[0], *spatial))


FIX_OPS: tuple[type[Op], ...] = (Constant, Encode, Decode, Map, Table, Add, Mul, Conv, Dense, Pool)
