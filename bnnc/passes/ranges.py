"""Ranges of real-valued tensors: what they can be at most (intervals, a proof) and what they were on samples.

Intervals are carried channel by channel (axis 0), in float64, through the real-number meaning of each op.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bnnc.ir import move, nn
from bnnc.ir.module import Module
from bnnc.ir.op import Op
from bnnc.ir.types import F32, Fix, is_integer
from bnnc.passes.lines import Functions
from bnnc.passes.values import ValueSets, Whole, bounds
from bnnc.reference.nn import ELEMENTWISE
from bnnc.reference.run import values as values_of

GUARD = 2.0
"""How much further than on the samples a stream may go before it saturates."""


@dataclass(frozen=True, eq=False)
class Span:
    """low[c] <= every element of channel c <= high[c]; float64 [C], or [1] for all channels."""

    low: np.ndarray
    high: np.ndarray

    @property
    def bound(self) -> float:
        """The largest magnitude."""
        return float(max(np.abs(self.low).max(), np.abs(self.high).max()))

    def of_channels(self, count: int) -> Span:
        """One entry a channel."""
        return Span(np.broadcast_to(self.low, count).copy(), np.broadcast_to(self.high, count).copy())

    def joined(self) -> Span:
        """One entry for all channels."""
        return Span(self.low.min(keepdims=True), self.high.max(keepdims=True))

    def clamped(self, dtype: Fix) -> Span:
        """What is left of it in a fixed-point format."""
        unit = 2.0**-dtype.fraction
        return Span(np.clip(self.low, -(2**31) * unit, 0), np.clip(self.high, 0, (2**31 - 1) * unit))


ANY = Span(np.array([-math.inf]), np.array([math.inf]))


@dataclass(frozen=True)
class StreamFact:
    """One fixed-point tensor: its format, the worst case of an unlimited stream, what was seen, and whether the worst
    case leaves the format."""

    name: str
    op: str
    whole: int
    fraction: int
    bound: float
    seen: float | None
    saturates: bool


def observed(module: Module, inputs: Mapping[str, np.ndarray]) -> dict[Op, float]:
    """The largest magnitude of every f32 tensor of the module on these samples, by the reference."""
    found: dict[Op, float] = {}
    count = max((len(array) for array in inputs.values()), default=0)
    for sample in range(count):
        arrays = {name: array[sample : sample + 1] for name, array in inputs.items()}
        for op, array in values_of(module, arrays).items():
            if op.type.dtype == F32() and array.size:
                found[op] = max(found.get(op, 0.0), float(np.abs(array).max()))
    return found


def format_of(bound: float, seen: float | None) -> Fix | None:
    """The format with the most fractional bits that holds the worst case, or GUARD times what was seen if that is
    less; None if it holds neither."""
    limit = bound if seen is None else min(bound, GUARD * seen)
    if not math.isfinite(limit):
        return None
    whole = max(1, math.frexp(limit)[1] + 1) if limit > 0 else 1
    return Fix(whole, 32 - whole) if whole <= 32 else None


class Spans:
    """Intervals of the ops of one module; `limit` narrows one that a fixed-point format clamps."""

    def __init__(self, sets: ValueSets, functions: Functions) -> None:
        self._sets, self._functions = sets, functions
        self._known: dict[Op, Span] = {}
        self._unlimited: dict[Op, Span] = {}

    def limit(self, op: Op, dtype: Fix) -> None:
        """From now on op is what the format holds of it."""
        self._unlimited[op] = self.of(op)
        self._known[op] = self.of(op).clamped(dtype)

    def of(self, op: Op) -> Span:
        """The interval of an op whose operands were asked for before."""
        if op not in self._known:
            with np.errstate(all="ignore"):
                found = self._found(op)
            broken = np.isnan(found.low).any() or np.isnan(found.high).any()
            self._known[op] = ANY if broken else found
        return self._known[op]

    def _found(self, op: Op) -> Span:
        if is_integer(op.type.dtype):
            values = self._sets.of(op)
            if isinstance(values, Whole):
                return Span(values.lo.astype(np.float64), values.hi.astype(np.float64))
            return Span(*(np.array([end], np.float64) for end in bounds(values)))
        match op:
            case nn.Constant():
                return _of_constant(op)
            case nn.Map():
                return self._map(op)
            case nn.Conv() | nn.Dense() if isinstance(op.w, nn.Constant):
                return self._layer(op, op.w.values)
            case nn.Pool():
                return self._pool(op)
            case nn.Softmax(log=False):
                return Span(np.zeros(1), np.ones(1))
            case move.Concat(axis=0):
                parts = [self.of(x).of_channels(x.type.shape[0]) for x in op.xs]
                return Span(np.concatenate([p.low for p in parts]), np.concatenate([p.high for p in parts]))
            case move.Concat():
                joined = [self.of(x).joined() for x in op.xs]
                return Span(np.minimum.reduce([p.low for p in joined]), np.maximum.reduce([p.high for p in joined]))
            case move.Gather(axis=0):
                span = self.of(op.x).of_channels(op.x.type.shape[0])
                return Span(span.low[op.indices], span.high[op.indices])
            case move.Slice() if op.counts:
                span = self.of(op.x).of_channels(op.x.type.shape[0])
                taken = op.starts[0] + op.steps[0] * np.arange(op.counts[0])
                return Span(span.low[taken], span.high[taken])
            case move.Pad():
                span = self.of(op.x).joined()
                return Span(np.minimum(span.low, op.value), np.maximum(span.high, op.value))
            case move.Reshape() | move.Transpose() | move.Expand() | move.Gather():
                return self.of(op.operands[0]).joined()
        if len(op.operands) == 1 and op.opcode.endswith(".decode"):
            return self.of(op.operands[0])
        return ANY

    def _map(self, op: nn.Map) -> Span:
        source, lines = self._functions.of(op)
        if source is not op:
            span = self.of(source)
            if lines.share is not None and isinstance(source, nn.Pool):  # an average is no sum in between
                span = self._unlimited.get(source, span)
            span = span.of_channels(len(lines.slopes))
            return Span(*lines.hull(span.low, span.high))
        spans = [self.of(x) for x in op.xs]
        if len(op.type.shape) != max(len(x.type.shape) for x in op.xs) or any(
            x.type.shape and len(x.type.shape) != len(op.type.shape) for x in op.xs
        ):
            spans = [span.joined() for span in spans]
        ends = [(span.low, span.high) for span in spans]
        match op.function:
            case "add":
                return Span(ends[0][0] + ends[1][0], ends[0][1] + ends[1][1])
            case "sub":
                return Span(ends[0][0] - ends[1][1], ends[0][1] - ends[1][0])
            case "mul" | "div" | "max" | "min" | "prelu":
                if op.function == "div" and bool(((ends[1][0] <= 0) & (ends[1][1] >= 0)).any()):
                    return ANY
                corners = [ELEMENTWISE[op.function](a, b) for a in ends[0] for b in ends[1]]
                if op.function in ("mul", "prelu"):  # 0 * inf is 0 here, and slopes meet at 0
                    corners = [np.where(np.isnan(corner), 0.0, corner) for corner in corners]
                    if op.function == "prelu":
                        corners.append(np.zeros(1))
                return Span(
                    np.minimum.reduce(np.broadcast_arrays(*corners)), np.maximum.reduce(np.broadcast_arrays(*corners))
                )
            case "where":
                return Span(np.minimum(ends[1][0], ends[2][0]), np.maximum(ends[1][1], ends[2][1]))
            case "sigmoid":
                return Span(np.zeros(1), np.ones(1))
            case "tanh" | "erf":
                return Span(-np.ones(1), np.ones(1))
            case "exp" | "log" | "sqrt":
                made = [ELEMENTWISE[op.function](end.astype(np.float32)).astype(np.float64) for end in ends[0]]
                return Span(made[0], made[1])
            case "equal" | "greater" | "greater_equal" | "less" | "less_equal" | "and" | "or" | "xor" | "not":
                return Span(np.zeros(1), np.ones(1))
            case "sign":
                return Span(-np.ones(1), np.ones(1))
        return ANY

    def _layer(self, op: nn.Conv | nn.Dense, weights: np.ndarray) -> Span:
        inputs = op.x.type.shape[0] if isinstance(op, nn.Conv) else op.x.type.shape[-1]
        along = isinstance(op, nn.Conv) or len(op.x.type.shape) == 1
        span = (self.of(op.x) if along else self.of(op.x).joined()).of_channels(inputs)
        low, high = span.low, span.high
        if isinstance(op, nn.Conv) and any(op.pads):
            low, high = np.minimum(low, 0), np.maximum(high, 0)
        groups = op.groups if isinstance(op, nn.Conv) else 1
        rows = weights.astype(np.float64).reshape(groups, len(weights) // groups, weights.shape[1], -1)
        positive, negative = np.maximum(rows, 0).sum(3), np.minimum(rows, 0).sum(3)
        ends = []
        for first, second in ((low, high), (high, low)):
            a, b = (v.reshape(groups, 1, weights.shape[1]) for v in (first, second))
            ends.append((_product(positive, a) + _product(negative, b)).sum(2).reshape(-1))
        if isinstance(op.bias, nn.Constant):
            ends = [end + op.bias.values for end in ends]
        elif op.bias is not None:
            return ANY
        result = Span(ends[0], ends[1])
        return result if along else result.joined()

    def _pool(self, op: nn.Pool) -> Span:
        span = self.of(op.x)
        if op.function == "max":
            return span
        low, high = np.minimum(span.low, 0), np.maximum(span.high, 0)
        taps = math.prod(op.kernel) if op.function == "sum" else 1
        return Span(low * taps, high * taps)


def _product(weights: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """weights * ends, where a weight of 0 takes nothing even of infinity."""
    return np.where(weights == 0, 0.0, weights * ends)


def _of_constant(op: nn.Constant) -> Span:
    values = op.values.astype(np.float64)
    if values.ndim == 0:
        return Span(values.reshape(1), values.reshape(1))
    rows = values.reshape(values.shape[0], -1)
    return Span(rows.min(1), rows.max(1))
