"""`--semantics real`: thresholds as real numbers have them, where the roundings of fp32 would decide otherwise.

Around every threshold that fp32 evaluation found, the chain is evaluated again with exact fractions, on a few integers
to each side. A batch norm's gain is scale / sqrt(variance + epsilon), enclosed between two fractions so close that any
decision but an exact tie is certain; a tie is decided by squares: the root is a fraction itself, or no tie occurs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from bnnc.ir import nn
from bnnc.ir.module import Module, Note
from bnnc.ir.op import Op
from bnnc.passes.constants import fold_constants
from bnnc.passes.regions import Region
from bnnc.passes.tables import Steps
from bnnc.passes.tabulation import tabulate_regions
from bnnc.passes.values import Values, Whole

NEAR = 3  # how far a threshold can move: fp32 is off by a hair, a step is at least 1
BITS = 256  # of a root
MOST_LEVELS = 64  # a function with more values decides nothing: it is part of a stream
MOST_POINTS = 1 << 19  # evaluated exactly; beyond, the fp32 thresholds stay


class Undecided(ArithmeticError):
    """An operation has no exact meaning here, or its operands are not known closely enough."""


@dataclass(frozen=True)
class Bounds:
    """A real number between two fractions; exact if they are equal."""

    low: Fraction
    high: Fraction

    def __add__(self, other: Bounds) -> Bounds:
        return Bounds(self.low + other.low, self.high + other.high)

    def __neg__(self) -> Bounds:
        return Bounds(-self.high, -self.low)

    def __sub__(self, other: Bounds) -> Bounds:
        return self + -other

    def __mul__(self, other: Bounds) -> Bounds:
        if self.low == self.high and other.low == other.high:
            return exactly(self.low * other.low)
        ends = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Bounds(min(ends), max(ends))

    def inverse(self) -> Bounds:
        """1 / x."""
        if self.low <= 0 <= self.high:
            raise Undecided
        return Bounds(1 / self.high, 1 / self.low)

    def sign(self) -> int:
        """-1, 0 or 1. Raises Undecided."""
        if self.low > 0:
            return 1
        if self.high < 0:
            return -1
        if self.low == self.high:
            return 0
        raise Undecided


def exactly(value: Fraction | float | int) -> Bounds:
    """A number that is known."""
    return Bounds(Fraction(value), Fraction(value))


def root(value: Fraction) -> Bounds:
    """The square root: a fraction if it is one, else two that are closer than 2^-BITS of it."""
    if value < 0:
        raise Undecided
    above, below = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if above**2 == value.numerator and below**2 == value.denominator:
        return exactly(Fraction(above, below))
    shift = max(0, BITS - (value.numerator.bit_length() - value.denominator.bit_length()) // 2)
    whole = math.isqrt((value.numerator << 2 * shift) // value.denominator)
    return Bounds(Fraction(whole, 1 << shift), Fraction(whole + 1, 1 << shift))


@dataclass(frozen=True, eq=False)
class Norm:
    """The numbers of a batch norm, [C] each."""

    scale: np.ndarray
    variance: np.ndarray
    epsilon: float

    def gain(self, channel: int) -> Bounds:
        """scale / sqrt(variance + epsilon)."""
        spread = Fraction(float(self.variance[channel])) + Fraction(float(np.float32(self.epsilon)))
        return exactly(float(self.scale[channel])) * root(spread).inverse()

    @property
    def rounded(self) -> np.ndarray:
        """The gains as fp32 has them."""
        with np.errstate(all="ignore"):
            return np.asarray(self.scale / np.sqrt(self.variance + np.float32(self.epsilon)))


def norms_of(module: Module) -> dict[bytes, Norm]:
    """The batch norms of an imported module by their fp32 gains, which is what is left of them later."""
    found: dict[bytes, Norm] = {}
    for op in fold_constants(module).ops():
        if isinstance(op, nn.BatchNorm) and isinstance(op.scale, nn.Constant) and isinstance(op.variance, nn.Constant):
            norm = Norm(op.scale.values, op.variance.values, op.epsilon)
            key, other = norm.rounded.tobytes(), found.get(norm.rounded.tobytes())
            same = other is None or (other.epsilon == norm.epsilon and bool((other.variance == norm.variance).all()))
            if same:
                found[key] = norm
    return found


def tabulate_as_reals(module: Module, norms: dict[bytes, Norm]) -> Module:
    """What tabulate_regions does, with thresholds as real numbers have them."""
    refining = _Refining(norms)
    result = tabulate_regions(module, refining.refine)
    text = f"semantics real: {refining.moved} of {refining.seen} thresholds differ from fp32"
    if refining.left:
        text += f"; {refining.left} could not be decided and stay as in fp32"
    return replace(result, notes=(*result.notes, Note("choice", text)))


class _Refining:
    def __init__(self, norms: dict[bytes, Norm]) -> None:
        self.norms = norms
        self.seen = self.moved = self.left = 0
        self._points = 0

    def refine(self, region: Region, domain: Values, steps: Steps) -> Steps:
        """The steps as real numbers have them."""
        decides = steps.image.size <= MOST_LEVELS and bool((steps.image == np.rint(steps.image)).all())
        if not isinstance(domain, Whole) or not decides or not steps.thresholds.size:
            return steps
        rows = len(steps.thresholds)
        used = steps.values[:, 1:] != steps.values[:, :-1]
        self.seen += int(used.sum())
        self._points += int(used.sum()) * (2 * NEAR + 1)
        if self._points > MOST_POINTS:
            self.left += int(used.sum())
            return steps
        low, high = (np.broadcast_to(end, rows) for end in (domain.lo, domain.hi))
        tables = [self._channel(region, c, int(low[c]), int(high[c]), domain.step, steps) for c in range(rows)]
        return _joined(tables)

    def _channel(
        self, region: Region, c: int, low: int, high: int, step: int, steps: Steps
    ) -> tuple[list[int], list[float]]:
        """(thresholds, values) of one channel."""
        limits = [int(t) for t in steps.thresholds[c]]
        values = [float(v) for v in steps.values[c]]

        def rounded(x: int) -> float:
            return values[sum(t <= x for t in limits)]

        there = [t for n, t in enumerate(limits) if values[n] != values[n + 1] and low < t <= high]
        near = sorted({x for t in there for k in range(-NEAR, NEAR + 1) if low <= (x := t + k * step) <= high})
        try:
            exact = {x: _nearest(_value(region, c, x, self.norms), values) for x in near}
        except Undecided:
            self.left += len(there)
            return limits, values
        if all(value == rounded(x) for x, value in exact.items()):
            return limits, values
        points = sorted({low, *near, *(x + step for x in near if x + step <= high)})
        kept, levels = [], [exact.get(low, rounded(low))]
        for x in points[1:]:
            value = exact.get(x, rounded(x))
            if value != levels[-1]:
                kept.append(x)
                levels.append(value)
        self.moved += max(len(set(kept) ^ set(there)) // 2, 1)
        return kept, levels


def _nearest(value: Bounds, levels: list[float]) -> float:
    """The value as fp32, or the level that it is up to a rounding."""
    middle = (value.low + value.high) / 2
    close = [level for level in levels if abs(middle - Fraction(level)) <= max(Fraction(1), abs(middle)) / 10**6]
    if not close:
        return float(np.float32(float(middle)))
    return min((abs(middle - Fraction(level)), level) for level in close)[1]


def _joined(tables: list[tuple[list[int], list[float]]]) -> Steps:
    """Rows of equal length."""
    width = max(len(limits) for limits, _ in tables)
    unused = int(np.iinfo(np.int32).max)
    thresholds = [limits + [unused] * (width - len(limits)) for limits, _ in tables]
    values = [levels + [levels[-1]] * (width + 1 - len(levels)) for _, levels in tables]
    return Steps(np.array(thresholds, np.int32).reshape(len(tables), width), np.array(values, np.float32))


def _value(region: Region, channel: int, point: int, norms: dict[bytes, Norm]) -> Bounds:
    """root of a region where its source is `point`, as a real number. Raises Undecided."""
    values: dict[Op, Bounds] = {region.source: exactly(point)}
    for op in region.ops:
        if isinstance(op, nn.MultiThreshold):
            assert isinstance(op.thresholds, nn.Constant)
            table = op.thresholds.values[channel if len(op.thresholds.values) > 1 else 0]
            values[op] = exactly(sum(1 for t in table if (values[op.x] - exactly(float(t))).sign() >= 0))
            continue
        assert isinstance(op, nn.Map)
        function = EXACTLY.get(op.function)
        if function is None:
            raise Undecided
        operands = [values[x] if x in values else _constant(x, channel, op, norms) for x in op.xs]
        values[op] = function(*operands)
    return values[region.root]


def _constant(op: Op, channel: int, user: nn.Map, norms: dict[bytes, Norm]) -> Bounds:
    assert isinstance(op, nn.Constant)
    row = op.values.reshape(-1)
    norm = norms.get(row.tobytes()) if user.function == "mul" else None
    if norm is not None:
        return norm.gain(channel if row.size > 1 else 0)
    return exactly(float(row[channel if row.size > 1 else 0]))


def _clip(x: Bounds, low: Bounds, high: Bounds) -> Bounds:
    return _smaller(_larger(x, low), high)


def _larger(a: Bounds, b: Bounds) -> Bounds:
    return Bounds(max(a.low, b.low), max(a.high, b.high))


def _smaller(a: Bounds, b: Bounds) -> Bounds:
    return Bounds(min(a.low, b.low), min(a.high, b.high))


def _rounding(function: Callable[[Fraction], int]) -> Callable[[Bounds], Bounds]:
    def apply(x: Bounds) -> Bounds:
        ends = function(x.low), function(x.high)
        if ends[0] != ends[1]:
            raise Undecided
        return exactly(ends[0])

    return apply


def _compared(holds: Callable[[int], bool]) -> Callable[[Bounds, Bounds], Bounds]:
    return lambda a, b: exactly(int(holds((a - b).sign())))


def _chosen(condition: Bounds, a: Bounds, b: Bounds) -> Bounds:
    return a if condition.sign() else b


EXACTLY: dict[str, Callable[..., Bounds]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a * b.inverse(),
    "neg": lambda x: -x,
    "abs": lambda x: _larger(x, -x),
    "relu": lambda x: _larger(x, exactly(0)),
    "max": _larger,
    "min": _smaller,
    "clip": _clip,
    "prelu": lambda x, slope: x if x.sign() >= 0 else x * slope,
    "sign": lambda x: exactly(x.sign()),
    "floor": _rounding(math.floor),
    "ceil": _rounding(math.ceil),
    "trunc": _rounding(math.trunc),
    "round": _rounding(round),
    "not": lambda x: exactly(int(x.sign() == 0)),
    "equal": _compared(lambda s: s == 0),
    "greater": _compared(lambda s: s > 0),
    "greater_equal": _compared(lambda s: s >= 0),
    "less": _compared(lambda s: s < 0),
    "less_equal": _compared(lambda s: s <= 0),
    "and": lambda a, b: exactly(int(a.sign() != 0 and b.sign() != 0)),
    "or": lambda a, b: exactly(int(a.sign() != 0 or b.sign() != 0)),
    "xor": lambda a, b: exactly(int((a.sign() != 0) != (b.sign() != 0))),
    "where": _chosen,
}
