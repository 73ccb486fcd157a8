"""Real coefficients as integers: slopes, weights, constants, thresholds and tables in the formats of their ops."""

from __future__ import annotations

import math

import numpy as np

from bnnc.ir import bit, fixed, nn
from bnnc.ir.fixed import fraction, half
from bnnc.ir.location import Location
from bnnc.ir.op import Op
from bnnc.ir.types import DType, Fix, is_integer, stored_range
from bnnc.passes.lines import Lines
from bnnc.passes.ranges import Span

LOWEST, HIGHEST = -(2**31), 2**31 - 1
ROOM = 2.0**62  # sums stay below this, so that rounding has room
SEGMENTS = (256, 1024, 4096, 16384)  # the smallest table that is good enough is taken
TABLE_ERROR = 2.0**-19  # relative to the largest value, and to 1; an op without such a table stays float


def _largest(dtype: DType) -> int:
    return max(map(abs, stored_range(dtype)))


def _exponent(value: float) -> int:
    """The smallest e with |value| <= 2^e."""
    mantissa, exponent = math.frexp(abs(value))
    return exponent - 1 if mantissa == 0.5 else exponent


def constant(op: nn.Constant) -> fixed.Constant | None:
    """A constant in the format with the most fractional bits that holds it."""
    largest = float(np.abs(op.values).max(initial=0))
    whole = max(1, math.frexp(largest)[1] + 1) if largest else 1
    if not math.isfinite(largest) or whole > 32:
        return None
    dtype = Fix(whole, 32 - whole)
    numbers = np.floor(op.values.astype(np.float64) * 2.0**dtype.fraction + 0.5)
    return fixed.Constant(np.clip(numbers, LOWEST, HIGHEST).astype(np.int32), dtype, loc=op.loc)


def lines_op(x: Op, lines: Lines, dtype: Fix, loc: Location) -> Op | None:
    """A function made of lines as a fix.map (x itself where it is the identity); None if its numbers do not fit."""
    of = x.type.dtype
    gain = 2.0 ** (dtype.fraction - fraction(of))
    slopes, offsets = lines.slopes * gain, lines.offsets * 2.0**dtype.fraction
    if of == dtype and not lines.knots.size and (slopes == 1).all() and not offsets.any():
        return x
    steepest = float(np.abs(slopes).max(initial=0))
    farthest = float((np.abs(slopes) * _largest(of) + np.abs(offsets)).max(initial=0))
    shift = 62
    if steepest:
        shift = min(shift, 31 - _exponent(steepest * (1 + 2.0**-31)))
    if farthest:
        shift = min(shift, 62 - _exponent(farthest * (1 + 2.0**-40)))
    if shift < 0:
        return None
    scale = 2.0**shift
    numbers = np.rint(slopes * scale)
    if np.abs(numbers).max(initial=0) > HIGHEST:
        numbers = np.clip(numbers, LOWEST, HIGHEST)
    knots = np.ceil(np.nan_to_num(lines.knots * 2.0 ** fraction(of), posinf=2.0**40))
    thresholds = np.clip(knots, LOWEST, HIGHEST).astype(np.int32)
    table = (thresholds, numbers.astype(np.int32), np.rint(offsets * scale).astype(np.int64))
    if all((part == part[:1]).all() for part in table):
        table = tuple(part[:1] for part in table)  # type: ignore[assignment]
    return fixed.Map(x, *table, shift, dtype, loc=loc)


def conv_weights(
    weights: np.ndarray, bias: np.ndarray, of: DType, dtype: Fix
) -> tuple[np.ndarray, np.ndarray, int] | None:
    """(int32 weights, int64 bias, shift) of a layer on `of` that gives `dtype`: as fine as 64-bit sums allow."""
    gain = 2.0 ** (dtype.fraction - fraction(of))
    exact = weights.astype(np.float64) * gain
    offsets = bias.astype(np.float64) * 2.0**dtype.fraction
    rows = np.abs(exact.reshape(len(exact), -1)).sum(1)
    farthest = float((rows * _largest(of) + np.abs(offsets)).max(initial=0))
    steepest = float(np.abs(exact).max(initial=0))
    taps = exact[0].size
    shift = 62
    if steepest:
        shift = min(shift, 31 - _exponent(steepest * (1 + 2.0**-31)))
    if farthest:
        # Rounding the weights may add half a unit to each.
        shift = min(shift, 62 - _exponent(farthest * (1 + 2.0**-40)))
        while shift > 0 and farthest * 2.0**shift + taps * _largest(of) / 2 > ROOM:
            shift -= 1
    if shift < 0:
        return None
    scale = 2.0**shift
    return np.rint(exact * scale).astype(np.int32), np.rint(offsets * scale).astype(np.int64), shift


def step_thresholds(step: bit.Step, x: Op) -> Op:
    """A step on an f32 value as a step on its stored form, integers or fix; one that follows a scale joins it."""
    unit = 2.0 ** fraction(x.type.dtype)
    exact = step.thresholds.astype(np.float64) * unit
    limits = np.clip(np.ceil(np.nan_to_num(exact, posinf=2.0**40)), LOWEST, HIGHEST).astype(np.int64)
    if isinstance(x, fixed.Map) and x.thresholds.shape[1] == 0:
        joined = _before_scale(step, x, limits)
        if joined is not None:
            return joined
    return bit.Step(x, limits.astype(np.int32), step.values, step.dtype, loc=step.loc)


def _before_scale(step: bit.Step, scale: fixed.Map, limits: np.ndarray) -> Op | None:
    """step(settle(slope * x + offset)) as a step on x: exact, since both only round and clamp upwards."""
    channels = step.type.shape[0]
    rows, count = channels, limits.shape[1]
    limits = np.broadcast_to(limits, (rows, count))
    values = np.broadcast_to(step.values, (rows, count + 1))
    slopes = np.broadcast_to(scale.slopes[:, 0], rows)
    offsets = np.broadcast_to(scale.offsets[:, 0], rows)
    low, high = stored_range(scale.x.type.dtype)
    thresholds, results = np.full((rows, count), HIGHEST, np.int64), values.copy()
    for c in range(rows):
        slope = int(slopes[c])
        # y >= t exactly where slope * x >= need, t being above the lowest number.
        needs = [(int(t) << scale.shift) - half(scale.shift) - int(offsets[c]) for t in limits[c]]
        if any(t == LOWEST for t in limits[c]) or (limits[c] == HIGHEST).any():
            return None
        if slope > 0:
            found = [-(-need // slope) for need in needs]
        elif slope < 0:
            # x <= floor(need / slope): above that, fewer thresholds are reached.
            found = [need // slope + 1 for need in needs][::-1]
            results[c] = values[c, ::-1]
        else:
            results[c] = values[c, sum(need <= 0 for need in needs)]
            found = [high] * count
        for n, limit in enumerate(found):
            if limit > HIGHEST and high == HIGHEST:
                return None
            thresholds[c, n] = max(low, min(limit, HIGHEST))
    return bit.Step(scale.x, thresholds.astype(np.int32), results, step.dtype, loc=step.loc)


def table_op(x: Op, span: Span, function: str, dtype: Fix, loc: Location) -> Op | None:
    """A smooth function of one number as a fix.table; None where no table is close enough."""
    of = x.type.dtype
    unit = 2.0 ** -fraction(of)
    low, high = (max(float(span.low.min()), stored_range(of)[0] * unit), min(float(span.high.max()), HIGHEST * unit))
    if function in ("sigmoid", "tanh", "erf"):  # beyond, nothing changes that 32 bits could hold
        reach = 22.0 if function == "sigmoid" else 12.0
        low, high = max(low, -reach), min(high, reach)
    if not low < high:
        return None
    first = math.floor(low / unit)
    width = math.ceil(high / unit) - first + 1
    if is_integer(of) or first < LOWEST:
        return None
    for segments in SEGMENTS:
        step = min(30, max(0, math.ceil(math.log2(width / segments))))
        count = -(-width // (1 << step))
        exact = _exactly(function, (first + np.arange(2 * count + 1) * (2.0**step / 2)) * unit)
        if not np.isfinite(exact).all():
            return None
        knots, middles = exact[::2], exact[1::2]
        error = float(np.abs((knots[1:] + knots[:-1]) / 2 - middles).max())
        if error <= TABLE_ERROR * max(1.0, float(np.abs(exact).max())):
            numbers = np.clip(np.rint(knots * 2.0**dtype.fraction), LOWEST, HIGHEST).astype(np.int32)
            return fixed.Table(x, numbers, first, step, dtype, loc=loc)
    return None


def _exactly(function: str, x: np.ndarray) -> np.ndarray:
    """The function in float64."""
    with np.errstate(all="ignore"):
        match function:
            case "sigmoid":
                return np.asarray(1 / (1 + np.exp(-x)))
            case "erf":
                return np.array([math.erf(v) for v in x])
            case "reciprocal":
                return np.asarray(1 / x)
        return np.asarray({"tanh": np.tanh, "exp": np.exp, "log": np.log, "sqrt": np.sqrt}[function](x))
