"""The «nn» vocabulary: float meaning, as ONNX defines it. Every result is f32; comparisons give 0.0 or 1.0.

Operands of an integer dtype are taken as their exact real values. The order of roundings inside each op is a
contract: `docs/numerics.md`. Movement of elements (reshape, concat …) is in move.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc.ir.op import Op, TypeRuleError, expect
from bnnc.ir.types import F32, Int, TensorType
from bnnc.ir.windows import window_shape


@dataclass(frozen=True)
class Function:
    """An elementwise function: how many operands it takes and what it computes."""

    arity: int
    formula: str


FUNCTIONS: dict[str, Function] = {
    "neg": Function(1, "-x"),
    "abs": Function(1, "|x|"),
    "sign": Function(1, "-1, 0 or 1"),
    "floor": Function(1, "largest integer <= x"),
    "ceil": Function(1, "smallest integer >= x"),
    "round": Function(1, "nearest integer, halves to even"),
    "trunc": Function(1, "x without its fraction"),
    "half": Function(1, "x rounded to IEEE binary16"),
    "sqrt": Function(1, "square root"),
    "reciprocal": Function(1, "1 / x"),
    "exp": Function(1, "e to the x"),
    "log": Function(1, "natural logarithm"),
    "sigmoid": Function(1, "1 / (1 + exp(-x))"),
    "tanh": Function(1, "hyperbolic tangent"),
    "erf": Function(1, "error function"),
    "relu": Function(1, "max(x, 0)"),
    "not": Function(1, "1 if x = 0 else 0"),
    "add": Function(2, "a + b"),
    "sub": Function(2, "a - b"),
    "mul": Function(2, "a * b"),
    "div": Function(2, "a / b"),
    "pow": Function(2, "a to the b"),
    "mod": Function(2, "a - b * floor(a / b)"),
    "fmod": Function(2, "a - b * trunc(a / b)"),
    "min": Function(2, "the smaller"),
    "max": Function(2, "the larger"),
    "prelu": Function(2, "x if x >= 0 else slope * x"),
    "equal": Function(2, "1 if a = b else 0"),
    "greater": Function(2, "1 if a > b else 0"),
    "greater_equal": Function(2, "1 if a >= b else 0"),
    "less": Function(2, "1 if a < b else 0"),
    "less_equal": Function(2, "1 if a <= b else 0"),
    "and": Function(2, "1 if a != 0 and b != 0 else 0"),
    "or": Function(2, "1 if a != 0 or b != 0 else 0"),
    "xor": Function(2, "1 if (a != 0) != (b != 0) else 0"),
    "where": Function(3, "a if condition != 0 else b"),
    "clip": Function(3, "min(max(x, low), high)"),
}


def broadcast(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    """The common shape of elementwise operands (numpy's rule). Raises TypeRuleError."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise TypeRuleError(f"shapes {', '.join(str(list(s)) for s in shapes)} do not broadcast") from None


@dataclass(frozen=True, eq=False)
class Constant(Op):
    """Fixed values: float32, any shape (it has no batch)."""

    code = "nn.constant"
    values: np.ndarray

    def infer(self) -> TensorType:
        expect(self.values.dtype == np.float32, f"a constant holds float32, not {self.values.dtype}")
        return TensorType(F32(), self.values.shape)


@dataclass(frozen=True, eq=False)
class Map(Op):
    """An elementwise function of FUNCTIONS; operands broadcast as in numpy (their sample shapes, right-aligned)."""

    code = "nn.map"
    function: str
    xs: tuple[Op, ...]

    @property
    def opcode(self) -> str:
        return f"nn.{self.function}"

    def infer(self) -> TensorType:
        expect(self.function in FUNCTIONS, f"no elementwise function `{self.function}`")
        arity = FUNCTIONS[self.function].arity
        expect(len(self.xs) == arity, f"`{self.function}` takes {arity} operands, not {len(self.xs)}")
        return TensorType(F32(), broadcast([x.type.shape for x in self.xs]))


@dataclass(frozen=True, eq=False)
class Conv(Op):
    """y[o, p] = bias[o] + Σ_{c, k} w[o, c, k] * x[group(o)*C/groups + c, p*stride + k*dilation - pad] (zeros outside).

    x [C, *spatial], w [O, C/groups, *kernel], bias [O] or absent; pads: all begins, then all ends. ONNX Conv.
    """

    code = "nn.conv"
    x: Op
    w: Op
    bias: Op | None
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    groups: int = 1

    def infer(self) -> TensorType:
        x, w = self.x.type.shape, self.w.type.shape
        expect(len(x) >= 2 and len(w) == len(x) + 1, f"conv takes x [C, …] and w [O, C/groups, …], not {x} and {w}")
        expect(
            self.groups >= 1 and x[0] == w[1] * self.groups and w[0] % self.groups == 0,
            f"{x[0]} input channels and {w[0]} filters of {w[1]} channels do not fit {self.groups} groups",
        )
        expect(
            self.bias is None or self.bias.type.shape == (w[0],),
            f"the bias of a conv with {w[0]} filters has {w[0]} values",
        )
        return TensorType(F32(), (w[0], *window_shape(x[1:], w[2:], self.strides, self.pads, self.dilations)))


@dataclass(frozen=True, eq=False)
class Dense(Op):
    """y[…, n] = bias[n] + Σ_k w[n, k] * x[…, k]; w [N, K], bias [N] or absent."""

    code = "nn.dense"
    x: Op
    w: Op
    bias: Op | None

    def infer(self) -> TensorType:
        x, w = self.x.type.shape, self.w.type.shape
        expect(len(w) == 2 and len(x) >= 1 and x[-1] == w[1], f"dense takes x […, k] and w [n, k], not {x} and {w}")
        expect(self.bias is None or self.bias.type.shape == (w[0],), f"the bias of this dense layer has {w[0]} values")
        return TensorType(F32(), (*x[:-1], w[0]))


@dataclass(frozen=True, eq=False)
class MatMul(Op):
    """Matrix product of the last two axes, the leading ones broadcast (ONNX MatMul); both operands at least rank 2."""

    code = "nn.matmul"
    a: Op
    b: Op

    def infer(self) -> TensorType:
        a, b = self.a.type.shape, self.b.type.shape
        expect(len(a) >= 2 and len(b) >= 2 and a[-1] == b[-2], f"{list(a)} and {list(b)} cannot be multiplied")
        return TensorType(F32(), (*broadcast([a[:-2], b[:-2]]), a[-2], b[-1]))


@dataclass(frozen=True, eq=False)
class BatchNorm(Op):
    """y = (x - mean) * (scale / sqrt(variance + epsilon)) + bias, per channel (axis 0); all four are [C]."""

    code = "nn.batch_norm"
    x: Op
    scale: Op
    bias: Op
    mean: Op
    variance: Op
    epsilon: float

    def infer(self) -> TensorType:
        shape = self.x.type.shape
        expect(len(shape) >= 1, "batch norm needs a channel axis")
        for name in ("scale", "bias", "mean", "variance"):
            expect(getattr(self, name).type.shape == (shape[0],), f"{name} of this batch norm has {shape[0]} values")
        return TensorType(F32(), shape)


@dataclass(frozen=True, eq=False)
class Pool(Op):
    """Maximum, sum or average over windows of every channel; x [C, *spatial].

    max: padding never wins. sum: Σ of what lies inside. average: Σ / count, where count is the number of taps inside
    the input, or, with `count_include_pad`, inside the padded input (ONNX MaxPool, AveragePool).
    """

    code = "nn.pool"
    x: Op
    function: str
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    ceil_mode: bool = False
    count_include_pad: bool = False

    def infer(self) -> TensorType:
        expect(self.function in ("max", "sum", "average"), f"no pool `{self.function}`")
        shape = self.x.type.shape
        expect(len(shape) >= 2, f"a pool needs [C, …], not {self.x.type}")
        spatial = window_shape(shape[1:], self.kernel, self.strides, self.pads, self.dilations, self.ceil_mode)
        expect(
            all(p < k for p, k in zip(self.pads, self.kernel * 2, strict=True))
            or self.dilations != (1,) * len(spatial),
            "pool padding must be smaller than its kernel",
        )
        return TensorType(F32(), (shape[0], *spatial))


REDUCTIONS = ("sum", "mean", "max", "min", "prod", "l1", "l2", "sum_square", "log_sum_exp")


@dataclass(frozen=True, eq=False)
class Reduce(Op):
    """sum, mean, max, min, prod, l1, l2, sum_square or log_sum_exp over `axes` of the sample (ascending order)."""

    code = "nn.reduce"
    x: Op
    function: str
    axes: tuple[int, ...]
    keepdims: bool

    def infer(self) -> TensorType:
        expect(self.function in REDUCTIONS, f"no reduction `{self.function}`")
        shape = self.x.type.shape
        expect(
            list(self.axes) == sorted(set(self.axes)) and all(0 <= a < len(shape) for a in self.axes),
            f"axes {list(self.axes)} are not ascending axes of {self.x.type}",
        )
        kept = [1 if a in self.axes else n for a, n in enumerate(shape) if self.keepdims or a not in self.axes]
        return TensorType(F32(), tuple(kept))


@dataclass(frozen=True, eq=False)
class ArgMax(Op):
    """Index of the largest (`smallest`: smallest) value on `axis`; the lowest index wins a tie; `last`: the highest."""

    code = "nn.argmax"
    x: Op
    axis: int
    keepdims: bool = False
    last: bool = False
    smallest: bool = False

    def infer(self) -> TensorType:
        shape = self.x.type.shape
        expect(0 <= self.axis < len(shape), f"axis {self.axis} is not an axis of {self.x.type}")
        kept = [1 if a == self.axis else n for a, n in enumerate(shape) if self.keepdims or a != self.axis]
        return TensorType(Int(0, shape[self.axis] - 1), tuple(kept))


@dataclass(frozen=True, eq=False)
class Softmax(Op):
    """exp(x - max) / Σ exp(x - max) along `axis`; with `log`, x - max - log(Σ exp(x - max))."""

    code = "nn.softmax"
    x: Op
    axis: int
    log: bool = False

    def infer(self) -> TensorType:
        expect(0 <= self.axis < len(self.x.type.shape), f"axis {self.axis} is not an axis of {self.x.type}")
        return TensorType(F32(), self.x.type.shape)


@dataclass(frozen=True, eq=False)
class MultiThreshold(Op):
    """How many of the ascending thresholds[c] (or thresholds[0]) are <= x: 0..n. thresholds [C or 1, n]; FINN/QONNX."""

    code = "nn.multi_threshold"
    x: Op
    thresholds: Op

    def infer(self) -> TensorType:
        shape, table = self.x.type.shape, self.thresholds.type.shape
        expect(len(shape) >= 1 and len(table) == 2, f"thresholds are [channels, n], not {list(table)}")
        expect(table[0] in (1, shape[0]), f"{table[0]} rows of thresholds do not fit {shape[0]} channels")
        return TensorType(F32(), shape)


NN_OPS: tuple[type[Op], ...] = (
    Constant,
    Map,
    Conv,
    Dense,
    MatMul,
    BatchNorm,
    Pool,
    Reduce,
    ArgMax,
    Softmax,
    MultiThreshold,
)
