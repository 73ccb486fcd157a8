"""Value sets: which numbers a tensor can hold. A set is always a proof (never an observation), and may be too wide.

Three forms, from sharp to blunt: `Whole` (integers with a stride, per channel), `Finite` (a short list of fp32
values), `Interval`. Elementwise ops are carried through by evaluating them on the sets with the reference itself,
not by formulas; what cannot be enumerated becomes an interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bnnc.ir import bit, move, nn
from bnnc.ir.module import Input
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, Code, Trit, is_integer, value_range
from bnnc.reference.nn import ELEMENTWISE

EXACT = 2**24  # up to here every integer is an fp32 number
MOST_VALUES = 1 << 16  # sets above this size become intervals
MOST_PAIRS = 1 << 12  # operand combinations evaluated at once


@dataclass(frozen=True, eq=False)
class Whole:
    """In channel c (axis 0) the integers lo[c], lo[c] + step, …, hi[c]. lo, hi: int64 [C], or [1] for all channels."""

    lo: np.ndarray
    hi: np.ndarray
    step: int = 1

    @property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest over all channels."""
        return int(self.lo.min()), int(self.hi.max())


@dataclass(frozen=True, eq=False)
class Finite:
    """Some of `values`: float32, ascending, without repeats."""

    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Interval:
    """Any fp32 number from lo to hi; with `whole` only integers."""

    lo: float
    hi: float
    whole: bool = False


Values = Whole | Finite | Interval
ANYTHING = Interval(-np.inf, np.inf)


def whole(lo: int, hi: int, step: int = 1) -> Whole:
    """The same integers in every channel."""
    return Whole(np.array([lo], np.int64), np.array([hi], np.int64), step)


def finite(values: np.ndarray) -> Values:
    """The set of the given numbers; an interval if there are too many."""
    unique = np.unique(np.asarray(values, np.float32) + np.float32(0))  # + 0 makes -0 and 0 one value
    if not np.isfinite(unique).all():
        return ANYTHING
    return Finite(unique) if unique.size <= MOST_VALUES else Interval(float(unique[0]), float(unique[-1]))


def bounds(values: Values) -> tuple[float, float]:
    """Smallest and largest member."""
    if isinstance(values, Interval):
        return values.lo, values.hi
    if isinstance(values, Finite):
        return float(values.values[0]), float(values.values[-1])
    return values.bounds


def listed(values: Values) -> np.ndarray | None:
    """All members (over all channels) as ascending float32, or None if they cannot be listed."""
    if isinstance(values, Finite):
        return values.values
    if isinstance(values, Whole):
        lo, hi = values.bounds
        if hi - lo < MOST_VALUES and max(abs(lo), abs(hi)) <= EXACT:
            same_parity = np.unique((values.lo - lo) % values.step).size == 1
            return np.arange(lo, hi + 1, values.step if same_parity else 1).astype(np.float32)
    return None


def integers(values: Values) -> tuple[int, int] | None:
    """The range of a set that holds nothing but integers of exact fp32 size, else None."""
    if isinstance(values, Whole):
        lo, hi = values.bounds
        return (lo, hi) if max(abs(lo), abs(hi)) <= EXACT else None
    members = listed(values)
    if members is None or np.abs(members).max() > EXACT or not (members == np.rint(members)).all():
        return None
    return int(members[0]), int(members[-1])


def _integral(values: Values) -> bool:
    """Whether a set holds nothing but integers, of whatever size (fp32 rounds an integer to an integer)."""
    if isinstance(values, Interval):
        return values.whole
    return isinstance(values, Whole) or integers(values) is not None


def _as_whole(values: Values) -> Values:
    """A finite set of integers as a range of them, odd numbers kept apart from even ones."""
    ends = integers(values)
    if isinstance(values, Whole) or ends is None:
        return values
    members = listed(values)
    gaps = np.diff(members).astype(np.int64) if members is not None else np.zeros(0, np.int64)
    return whole(*ends, int(np.gcd.reduce(gaps)) if gaps.size else 1)


def of_dtype(op: Op) -> Values:
    """What an op of an integer dtype can hold by its type alone."""
    dtype = op.type.dtype
    match dtype:
        case Bit():
            return whole(-1, 1, 2)
        case Trit():
            return whole(-1, 1)
        case Code(_, multiplier, _) if multiplier != 0:
            return whole(*value_range(dtype), abs(multiplier))
    return whole(*value_range(dtype))


def of_convolution(weights: np.ndarray, x: Values, may_skip: bool) -> Whole | None:
    """The reachable sums Σ w*x of a conv or dense layer; `may_skip`: taps may fall outside the input and count as 0.

    weights: integers [O, …]. None if x is not a set of integers. The stride of two is kept where every x is odd and no
    tap can be skipped: then a sum has the parity of Σ|w|, and a tie that parity forbids is never evaluated.
    """
    ends = integers(x)
    if ends is None:
        return None
    lo, hi = (min(ends[0], 0), max(ends[1], 0)) if may_skip else ends
    rows = weights.reshape(weights.shape[0], -1).astype(np.int64)
    positive, negative = np.maximum(rows, 0).sum(1), np.minimum(rows, 0).sum(1)
    members = listed(x)
    odd = members is not None and bool((members.astype(np.int64) % 2 == 1).all())
    return Whole(positive * lo + negative * hi, positive * hi + negative * lo, 2 if odd and not may_skip else 1)


class ValueSets:
    """The value set of every op of a graph, found on demand and remembered."""

    def __init__(self) -> None:
        self._known: dict[Op, Values] = {}

    def of(self, op: Op) -> Values:
        """What `op` can hold."""
        stack = [op]
        while stack:
            top = stack[-1]
            missing = [operand for operand in top.operands if operand not in self._known]
            if top in self._known or not missing:
                stack.pop()
                if top not in self._known:
                    self._known[top] = self._transfer(top)
            else:
                stack.extend(missing)
        return self._known[op]

    def learn(self, op: Op, values: Values) -> None:
        """Remember a sharper set that was found by exhaustive evaluation."""
        self._known[op] = values

    def again(self, op: Op) -> Values:
        """What op can hold, as its operands are known by now."""
        self._known[op] = self._transfer(op)
        return self._known[op]

    def _transfer(self, op: Op) -> Values:
        known = self._known
        match op:
            case nn.Constant():
                return finite(op.values)
            case nn.Map():
                return self._elementwise(op)
            case nn.Conv() if isinstance(op.w, nn.Constant) and op.bias is None:
                return self._sum(op.w.values, known[op.x], any(op.pads))
            case nn.Dense() if isinstance(op.w, nn.Constant) and op.bias is None:
                return self._sum(op.w.values, known[op.x], False)
            case nn.Pool(function="max"):
                return known[op.x]
            case nn.Pool(function="sum") if integers(known[op.x]) is not None:
                total = _window_sum(_as_whole(known[op.x]), math.prod(op.kernel), any(op.pads) or op.ceil_mode)
                return total if integers(total) is not None else ANYTHING
            case nn.Pool(function="average"):
                return _averages(op, known[op.x])
            case nn.Reduce(function="max" | "min"):
                return _everywhere(known[op.x])
            case nn.MultiThreshold():
                return whole(0, op.thresholds.type.shape[1])
            case nn.Softmax(log=False):
                return Interval(0.0, 1.0)
            case move.Concat():
                return _union([known[x] for x in op.xs])
            case move.Pad(mode="constant"):
                return _union([known[op.x], finite(np.array([op.value]))])
            case move.Reshape() | move.Transpose() | move.Expand() | move.Slice() | move.Pad() | move.Gather():
                return _everywhere(known[op.operands[0]])
            case bit.Decode():
                return known[op.x]
            case bit.Conv():
                found = of_convolution(op.weights, known[op.x], any(op.pads) and op.pad_value == 0)
                return found or of_dtype(op)
            case bit.Dense():
                return of_convolution(op.weights, known[op.x], False) or of_dtype(op)
            case bit.Pool(function="max"):
                return known[op.x]
            case bit.Pool(function="sum"):
                return _window_sum(known[op.x], math.prod(op.kernel), any(op.pads) or op.ceil_mode)
            case Input() if not is_integer(op.type.dtype):
                return ANYTHING
        return of_dtype(op) if is_integer(op.type.dtype) else ANYTHING

    def _sum(self, weights: np.ndarray, x: Values, may_skip: bool) -> Values:
        if not (weights == np.rint(weights)).all():
            return ANYTHING
        found = of_convolution(weights, x, may_skip)
        return found if found is not None and integers(found) is not None else ANYTHING

    def _elementwise(self, op: nn.Map) -> Values:
        sets = [self._known[x] for x in op.xs]
        members = [listed(s) for s in sets]
        if all(m is not None for m in members) and _product(members) <= max(MOST_PAIRS, *(len(m) for m in members)):  # type: ignore[arg-type]
            grids = np.meshgrid(*[m for m in members if m is not None], indexing="ij")
            return finite(_apply(op.function, [grid.reshape(-1) for grid in grids]))
        return _by_bounds(op.function, [bounds(s) for s in sets], sets)


def _product(members: list[np.ndarray | None]) -> int:
    total = 1
    for member in members:
        total *= 1 if member is None else len(member)
    return total


def _apply(function: str, arrays: list[np.ndarray]) -> np.ndarray:
    """A function of nn.FUNCTIONS on plain arrays, by the reference."""
    with np.errstate(all="ignore"):
        return ELEMENTWISE[function](*(np.asarray(a, np.float32) for a in arrays))


def _by_bounds(function: str, ends: list[tuple[float, float]], sets: list[Values]) -> Values:
    """Intervals through the functions where ends decide. Rounding is monotone, so rounded ends are bounds."""
    if any(np.isnan(e) for pair in ends for e in pair):
        return ANYTHING
    match function:
        case "sign":
            lo, hi = ends[0]
            return finite(np.array([v for v, there in ((-1, lo < 0), (0, lo <= 0 <= hi), (1, hi > 0)) if there]))
        case "equal" | "greater" | "greater_equal" | "less" | "less_equal" | "and" | "or" | "xor" | "not":
            return whole(0, 1)
        case "where":
            return _union(sets[1:])
        case "round" | "floor" | "ceil" | "trunc":
            lo, hi = (float(v) for v in _apply(function, [np.array(ends[0])]))
            return (
                whole(int(lo), int(hi))
                if hi - lo < MOST_VALUES and max(abs(lo), abs(hi)) <= EXACT
                else Interval(lo, hi, whole=True)
            )
        case "add" | "sub" | "mul" | "min" | "max":
            lo, hi = _corners(function, ends)
            if all(integers(s) is not None for s in sets) and function != "mul" and max(abs(lo), abs(hi)) <= EXACT:
                return whole(int(lo), int(hi))
            return _bounded(lo, hi, sets)
        case "clip" if ends[1][0] == ends[1][1] and ends[2][0] == ends[2][1]:
            lo, hi = (float(v) for v in _apply(function, [np.array(ends[0]), np.array(ends[1]), np.array(ends[2])]))
            return _bounded(lo, hi, sets)
        case "relu":
            return _bounded(max(ends[0][0], 0.0), max(ends[0][1], 0.0), sets)
        case "neg":
            return Interval(-ends[0][1], -ends[0][0], whole=_integral(sets[0]))
        case "abs":
            lo, hi = ends[0]
            return Interval(0.0 if lo <= 0 <= hi else min(abs(lo), abs(hi)), max(abs(lo), abs(hi)))
        case "sigmoid":
            return Interval(0.0, 1.0)
        case "tanh" | "erf":
            return Interval(-1.0, 1.0)
        case "half" if np.abs(ends[0]).max() < 65504:
            lo, hi = (float(v) for v in _apply(function, [np.array(ends[0])]))
            return Interval(lo, hi)
    return ANYTHING


def _bounded(lo: float, hi: float, sets: list[Values]) -> Values:
    """From lo to hi: only integers where the operands hold nothing else (fp32 rounds an integer to an integer)."""
    if not all(_integral(s) for s in sets):
        return Interval(lo, hi)
    return whole(int(lo), int(hi)) if max(abs(lo), abs(hi)) <= EXACT else Interval(lo, hi, whole=True)


def _corners(function: str, ends: list[tuple[float, float]]) -> tuple[float, float]:
    """Ends of a function that is monotone in each operand, computed with the same rounding as the op itself."""
    grids = np.meshgrid(*[np.array(pair, np.float32) for pair in ends], indexing="ij")
    values = _apply(function, [grid.reshape(-1) for grid in grids])
    return (float(values.min()), float(values.max())) if not np.isnan(values).any() else (-np.inf, np.inf)


def _everywhere(values: Values) -> Values:
    """The set after elements moved between channels: per-channel knowledge is joined."""
    if not isinstance(values, Whole) or values.lo.size == 1:
        return values
    members = listed(values)
    stride = values.step if np.unique((values.lo - values.lo[0]) % values.step).size == 1 else 1
    return whole(*values.bounds, stride if members is not None else 1)


def _union(sets: list[Values]) -> Values:
    members = [listed(s) for s in sets]
    if all(m is not None for m in members) and sum(len(m) for m in members if m is not None) <= MOST_VALUES:
        return finite(np.concatenate([m for m in members if m is not None]))
    ends = [bounds(s) for s in sets]
    return Interval(min(lo for lo, _ in ends), max(hi for _, hi in ends))


def _averages(op: nn.Pool, values: Values) -> Values:
    """Averages over windows: of integers, every sum divided by every count of taps that occurs."""
    lo, hi = bounds(values)
    interval = Interval(min(lo, 0.0), max(hi, 0.0))
    ends = integers(values)
    if ends is None:
        return interval
    least, most = (n * math.prod(op.kernel) for n in (min(ends[0], 0), max(ends[1], 0)))
    counts = _tap_counts(op)
    if 0 in counts:
        return ANYTHING  # 0 / 0
    if (most - least + 1) * len(counts) > MOST_VALUES or max(-least, most) > EXACT:
        return interval
    sums = np.arange(least, most + 1).astype(np.float32)
    shares = np.concatenate([sums[(sums >= n * ends[0]) & (sums <= n * ends[1])] / np.float32(n) for n in counts])
    return finite(np.concatenate([sums / np.float32(n) for n in counts]) if op.count_include_pad else shares)


def _tap_counts(op: nn.Pool) -> list[int]:
    """The divisors of an average: how many taps its windows have inside the input, or inside the padded input."""
    counts = {1}
    for axis, size in enumerate(op.x.type.shape[1:]):
        before, after = op.pads[axis], op.pads[len(op.kernel) + axis]
        first, last = (0, size + before + after) if op.count_include_pad else (before, before + size)
        starts = np.arange(op.type.shape[1 + axis])[:, None] * op.strides[axis]
        taps = starts + np.arange(op.kernel[axis]) * op.dilations[axis]
        along = np.unique(((taps >= first) & (taps < last)).sum(1))
        counts = {a * int(b) for a in counts for b in along}
    return sorted(counts)


def _window_sum(values: Values, taps: int, may_skip: bool) -> Values:
    """Sums of `taps` members; with `may_skip` of at most that many."""
    if not isinstance(values, Whole):
        return ANYTHING
    lo, hi = values.lo * taps, values.hi * taps
    if may_skip:
        return Whole(np.minimum(lo, np.minimum(values.lo, 0)), np.maximum(hi, np.maximum(values.hi, 0)), 1)
    return Whole(lo, hi, values.step)
