"""The «bit» vocabulary: exact integers only. A tensor holds the integers that its dtype stands for.

Real-valued scales never appear here: a layer with weights ±s works on ±1, and s lives in the step that follows, or in
the «nn» ops of a float island. `decode` is the only way from integers to f32, `step` the only way back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc.ir.op import Op, expect
from bnnc.ir.types import F32, DType, Fix, Int, TensorType, is_integer, stored_range, value_range
from bnnc.ir.windows import window_shape


def _accumulator_range(weights: np.ndarray, lo: int, hi: int) -> Int:
    """Bounds of Σ w*x over one filter, x in lo..hi or 0 (padding); the widest over all filters."""
    rows = weights.reshape(weights.shape[0], -1).astype(np.int64)
    positive, negative = np.maximum(rows, 0).sum(1), np.minimum(rows, 0).sum(1)
    lo, hi = min(lo, 0), max(hi, 0)
    return Int(int((positive * lo + negative * hi).min()), int((positive * hi + negative * lo).max()))


@dataclass(frozen=True, eq=False)
class Conv(Op):
    """acc[o, p] = Σ_{c, k} weights[o, c, k] * x[group(o)*C/groups + c, p*stride + k*dilation - pad].

    x: any integer dtype, [C, *spatial]. weights: int8 or int16 [O, C/groups, *kernel]: ±1, ternary or small integers.
    Outside the input, x is `pad_value` (-1, 0 or +1).
    """

    code = "bit.conv"
    x: Op
    weights: np.ndarray
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    groups: int = 1
    pad_value: int = 0

    def infer(self) -> TensorType:
        x, w = self.x.type, self.weights.shape
        expect(is_integer(x.dtype), f"bit.conv needs integers, not {x}")
        expect(self.weights.dtype in (np.int8, np.int16), f"weights are int8 or int16, not {self.weights.dtype}")
        expect(len(x.shape) >= 2 and len(w) == len(x.shape) + 1, f"x {x} and weights {list(w)} do not meet")
        expect(
            self.groups >= 1 and x.shape[0] == w[1] * self.groups and w[0] % self.groups == 0,
            f"{x.shape[0]} channels and {w[0]} filters of {w[1]} do not fit {self.groups} groups",
        )
        expect(self.pad_value in (-1, 0, 1), f"padding is -1, 0 or 1, not {self.pad_value}")
        spatial = window_shape(x.shape[1:], w[2:], self.strides, self.pads, self.dilations)
        lo, hi = value_range(x.dtype)
        if any(self.pads):
            lo, hi = min(lo, self.pad_value), max(hi, self.pad_value)
        return TensorType(_accumulator_range(self.weights, lo, hi), (w[0], *spatial))


@dataclass(frozen=True, eq=False)
class Dense(Op):
    """acc[n] = Σ_k weights[n, k] * x[k]; x any integer dtype, [K]; weights int8 or int16 [N, K]."""

    code = "bit.dense"
    x: Op
    weights: np.ndarray

    def infer(self) -> TensorType:
        x, w = self.x.type, self.weights.shape
        expect(is_integer(x.dtype), f"bit.dense needs integers, not {x}")
        expect(self.weights.dtype in (np.int8, np.int16), f"weights are int8 or int16, not {self.weights.dtype}")
        expect(len(x.shape) == 1 and len(w) == 2 and x.shape[0] == w[1], f"x {x} and weights {list(w)} do not meet")
        return TensorType(_accumulator_range(self.weights, *value_range(x.dtype)), (w[0],))


@dataclass(frozen=True, eq=False)
class Step(Op):
    """y[c, …] = values[c, n], where n is how many of the ascending thresholds[c] are <= x[c, …].

    The result of tabulation: constant, `>= t`, `< t`, interval, ternary and tables are all of this form.
    thresholds [C or 1, n]: int32 when x holds integers or fix (numbers of its format), float32 when x is f32 (a NaN
    counts no threshold; +inf in the table is never reached by finite x). values [C or 1, n + 1]: int32 values of
    `dtype`, or float32 when dtype is f32.
    Unused thresholds of a channel repeat the last value, so that every row has the same length.
    """

    code = "bit.step"
    x: Op
    thresholds: np.ndarray
    values: np.ndarray
    dtype: DType

    def infer(self) -> TensorType:
        x = self.x.type
        rows, count = self.thresholds.shape
        expect(len(x.shape) >= 1 and rows in (1, x.shape[0]), f"{rows} rows of thresholds do not fit {x}")
        expect(self.values.shape == (rows, count + 1), f"{count} thresholds need {count + 1} values a channel")
        whole = is_integer(x.dtype) or isinstance(x.dtype, Fix)
        wanted = np.dtype(np.int32) if whole else np.dtype(np.float32)
        expect(self.thresholds.dtype == wanted, f"thresholds for {x} are {wanted}, not {self.thresholds.dtype}")
        expect(bool((self.thresholds[:, 1:] >= self.thresholds[:, :-1]).all()), "thresholds must ascend")
        if isinstance(self.dtype, F32):
            expect(self.values.dtype == np.float32, f"values of an f32 step are float32, not {self.values.dtype}")
        else:
            expect(self.values.dtype == np.int32, f"values are int32, not {self.values.dtype}")
            lo, hi = stored_range(self.dtype)
            expect(int(self.values.min()) >= lo and int(self.values.max()) <= hi, f"a value leaves {self.dtype}")
            expect(str(self.dtype) != "bit" or bool((self.values != 0).all()), "a bit is never 0")
        return TensorType(self.dtype, x.shape)


@dataclass(frozen=True, eq=False)
class Decode(Op):
    """The integers of x as f32 (exact: their magnitude is below 2^24, else this is a type error)."""

    code = "bit.decode"
    x: Op

    def infer(self) -> TensorType:
        lo, hi = value_range(self.x.type.dtype)
        expect(lo >= -(2**24) and hi <= 2**24, f"{self.x.type} does not fit f32 exactly")
        return TensorType(F32(), self.x.type.shape)


@dataclass(frozen=True, eq=False)
class Pool(Op):
    """Maximum, minimum or sum of the integers in each window (of fix no sum); outside the input nothing counts.

    On bits, max is OR and min is AND. `sum` of bits, trits and codes is an Int. `smallest` (bool [C], or absent) marks
    channels of a max pool that take the minimum instead: what a pool before a falling step becomes behind it.
    """

    code = "bit.pool"
    x: Op
    function: str
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    ceil_mode: bool = False
    smallest: np.ndarray | None = None

    def infer(self) -> TensorType:
        x = self.x.type
        expect(
            self.smallest is None
            or (self.function == "max" and self.smallest.dtype == np.bool_ and self.smallest.shape == x.shape[:1]),
            "`smallest` is a bool for each channel of a max pool",
        )
        whole = is_integer(x.dtype) or (isinstance(x.dtype, Fix) and self.function != "sum")
        expect(whole and len(x.shape) >= 2, f"bit.pool needs integers [C, …], not {x}")
        expect(self.function in ("max", "min", "sum"), f"no pool `{self.function}`")
        spatial = window_shape(x.shape[1:], self.kernel, self.strides, self.pads, self.dilations, self.ceil_mode)
        dtype = x.dtype
        if self.function == "sum":
            lo, hi = value_range(dtype)
            taps = int(np.prod(self.kernel))
            dtype = Int(min(lo * taps, lo), max(hi * taps, hi))
        return TensorType(dtype, (x.shape[0], *spatial))


@dataclass(frozen=True, eq=False)
class Add(Op):
    """Σ_i coefficients[i] * xs[i], elementwise over integer tensors of one shape."""

    code = "bit.add"
    xs: tuple[Op, ...]
    coefficients: tuple[int, ...]

    def infer(self) -> TensorType:
        expect(len(self.xs) == len(self.coefficients), "one coefficient for each operand")
        expect(all(is_integer(x.type.dtype) for x in self.xs), "bit.add needs integers")
        expect(len({x.type.shape for x in self.xs}) == 1, f"shapes differ: {', '.join(str(x.type) for x in self.xs)}")
        ends = [
            sorted((k * value_range(x.type.dtype)[0], k * value_range(x.type.dtype)[1]))
            for x, k in zip(self.xs, self.coefficients, strict=True)
        ]
        return TensorType(Int(sum(lo for lo, _ in ends), sum(hi for _, hi in ends)), self.xs[0].type.shape)


BIT_OPS: tuple[type[Op], ...] = (Conv, Dense, Step, Decode, Pool, Add)
