"""The float primitives of the numeric contract: an exact fused multiply-add, and our own exp, log, tanh and the like.

Every function takes float32 arrays that broadcast and gives float32: a fixed sequence of correctly rounded fp32
primitives, written down in docs/numerics.md, so that every other target can produce the same bits. The coefficients
are minimax fits of our own.
"""

from __future__ import annotations

import numpy as np

_f = float.fromhex
Values = np.ndarray | np.float32

LOG2_E = _f("0x1.715476p+0")
LN2_HIGH = _f("0x1.62e43p-1")
LN2_LOW = _f("-0x1.05c61p-29")
SQRT_HALF_BITS = 0x3F3504F3

# Lowest degree first. exp(r) = 1 + r + r²·P(r), |r| <= ln 2 / 2
EXP = (_f("0x1p-1"), _f("0x1.55549p-3"), _f("0x1.5554c4p-5"), _f("0x1.123ae2p-7"), _f("0x1.6d75dcp-10"))
# log(1 + f) = f - f²/2 + f³·P(f), sqrt(1/2) <= 1 + f < sqrt(2)
LOG = (
    *(_f("0x1.555554p-2"), _f("-0x1.000226p-2"), _f("0x1.99a01cp-3"), _f("-0x1.54728ap-3")),
    *(_f("0x1.22d93p-3"), _f("-0x1.0d8246p-3"), _f("0x1.055eacp-3"), _f("-0x1.38c968p-4")),
)
# tanh(x) = x + x³·P(x²), |x| < 0.625
TANH = (_f("-0x1.555532p-2"), _f("0x1.1106fep-3"), _f("-0x1.b83792p-5"), _f("0x1.520a3ap-6"), _f("-0x1.756d14p-8"))
# erf(x) = x + x·P(x²), |x| < 0.921875
ERF = (
    *(_f("0x1.06eba8p-3"), _f("-0x1.81274p-2"), _f("0x1.ce2d64p-4"), _f("-0x1.b80116p-6")),
    *(_f("0x1.5449a2p-8"), _f("-0x1.a60230p-11"), _f("0x1.4f3dfep-14")),
)
# erf(x) = 1 - exp(-x·P(x)), 0.921875 <= x < 4
ERF_TAIL = (
    *(_f("0x1.20ef1cp+0"), _f("0x1.45328ap-1"), _f("0x1.b3259cp-4"), _f("-0x1.8551d2p-6")),
    *(_f("0x1.dd6e36p-9"), _f("-0x1.527e46p-12"), _f("0x1.78e02cp-17")),
)


def fma(a: Values, b: Values, c: Values) -> np.ndarray:
    """a*b + c rounded once to fp32 (IEEE 754 fusedMultiplyAdd), for float32 arrays that broadcast."""
    product = np.multiply(a, b, dtype=np.float64)  # exact: 24 + 24 bits fit into 53
    addend = np.asarray(c, np.float64)
    total = np.asarray(product + addend)
    doubtful = np.empty(total.shape, np.bool_)
    mark_doubtful(total, np.empty(total.shape, np.int64), doubtful, never_tiny=False)
    if doubtful.any():
        mend(total, product, addend, doubtful)
    return total.astype(np.float32)


def mark_doubtful(total: np.ndarray, bits: np.ndarray, doubtful: np.ndarray, never_tiny: bool) -> None:
    """Set `doubtful` where rounding the float64 `total` of a sum to fp32 may differ from rounding the sum once.

    That is only where the first rounding landed on a tie of the second: on the middle between two floats, or anywhere
    among the subnormals, whose last place is higher (impossible if `never_tiny`). `bits` is int64 scratch.
    """
    np.bitwise_and(total.view(np.int64), 0x1FFFFFFF, out=bits)
    np.equal(bits, 0x10000000, out=doubtful)
    if not never_tiny:
        doubtful |= (np.abs(total) < 2.0**-125) & (total != 0)


def mend(total: np.ndarray, p: np.ndarray, c: np.ndarray, doubtful: np.ndarray) -> None:
    """Replace the doubtful elements of total = p + c by the sum rounded to odd. p and c broadcast."""
    where = np.nonzero(doubtful)
    total[where] = _round_to_odd_sum(np.broadcast_to(p, total.shape)[where], np.broadcast_to(c, total.shape)[where])


def _round_to_odd_sum(p: np.ndarray, c: np.ndarray) -> np.ndarray:
    """p + c rounded to the float64 neighbour with an odd last bit, unless exact: a later rounding is then correct."""
    total = p + c
    part = total - p
    error = (p - (total - part)) + (c - part)  # TwoSum: p + c = total + error, exactly
    bits: np.ndarray = total.view(np.int64)
    inexact_and_even = (error != 0) & ((bits & 1) == 0) & np.isfinite(total)
    outwards = np.where((error > 0) == (total > 0), 1, -1)  # a larger magnitude is the next bit pattern
    odd: np.ndarray = np.where(inexact_and_even, bits + outwards, bits).view(np.float64)
    return odd


def polynomial(x: np.ndarray, coefficients: tuple[float, ...]) -> np.ndarray:
    """Σ coefficients[i] * x^i by Horner's rule, one fma a step."""
    result = np.full(np.shape(x), coefficients[-1], np.float32)
    for coefficient in reversed(coefficients[:-1]):
        result = fma(result, x, np.float32(coefficient))
    return result


def maximum(a: Values, b: Values) -> np.ndarray:
    """a if a > b or a is NaN, else b."""
    return np.where((a > b) | (a != a), a, b)


def minimum(a: Values, b: Values) -> np.ndarray:
    """a if a < b or a is NaN, else b."""
    return np.where((a < b) | (a != a), a, b)


def power_of_two(n: np.ndarray) -> np.ndarray:
    """2^n for int32 n in -126..127."""
    power: np.ndarray = ((n + 127) << 23).astype(np.int32).view(np.float32)
    return power


def exp(x: np.ndarray) -> np.ndarray:
    """e to the x. Subnormal results are rounded once; NaN stays NaN."""
    bounded = np.where(x > 89, np.float32(89), np.where(x < -104, np.float32(-104), np.where(x != x, np.float32(0), x)))
    n = np.rint(bounded * np.float32(LOG2_E))
    r = fma(n, np.float32(-LN2_HIGH), bounded)
    r = fma(n, np.float32(-LN2_LOW), r)
    mantissa = fma(r, fma(r, polynomial(r, EXP), np.float32(1)), np.float32(1))
    whole = n.astype(np.int32)
    half = whole >> 1
    return np.where(x != x, x, (mantissa * power_of_two(half)) * power_of_two(whole - half))


def log(x: np.ndarray) -> np.ndarray:
    """Natural logarithm: -inf of ±0, NaN of negative numbers, +inf of +inf."""
    x = np.asarray(x, np.float32)
    tiny = x < np.float32(2.0**-126)
    scaled = np.where(tiny, x * np.float32(2.0**25), x)
    ordinary = (scaled > 0) & (scaled < np.inf)
    bits = np.where(ordinary, scaled, np.float32(1)).view(np.int32)
    exponent = (bits - SQRT_HALF_BITS) >> 23
    f = (bits - (exponent << 23)).view(np.float32) - np.float32(1)
    e = (exponent - np.where(tiny, 25, 0)).astype(np.float32)
    q = fma(f, polynomial(f, LOG), np.float32(-0.5))
    low = fma(e, np.float32(LN2_LOW), (f * f) * q)
    result = fma(e, np.float32(LN2_HIGH), f + low)
    special = np.where(x == 0, np.float32(-np.inf), np.where(x > 0, x, np.float32(np.nan)))
    return np.where(ordinary, result, special)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x))."""
    return np.float32(1) / (np.float32(1) + exp(-x))


def tanh(x: np.ndarray) -> np.ndarray:
    """Hyperbolic tangent: a polynomial near 0, else ±(1 - 2 / (exp(2|x|) + 1))."""
    size = np.abs(x)
    square = x * x
    near = fma(x * square, polynomial(square, TANH), x)
    far = np.float32(1) - np.float32(2) / (exp(size + size) + np.float32(1))
    return np.where(size < np.float32(0.625), near, np.copysign(far, x))


def erf(x: np.ndarray) -> np.ndarray:
    """Error function: a polynomial near 0, else ±(1 - exp(-|x|·P(|x|))); ±1 from |x| = 4 on."""
    size = np.abs(x)
    square = x * x
    near = fma(x, polynomial(square, ERF), x)
    bounded = np.where(size < 4, size, np.float32(4))
    far = np.where(size < 4, np.float32(1) - exp(-(bounded * polynomial(bounded, ERF_TAIL))), np.float32(1))
    return np.where(x != x, x, np.where(size < np.float32(0.921875), near, np.copysign(far, x)))


def power(a: Values, b: Values) -> np.ndarray:
    """a to the b: products for b = 0, 1, 2, 3, 4, a division for -1, a root for 0.5, else exp(b * log(a))."""
    a, b = np.broadcast_arrays(np.asarray(a, np.float32), np.asarray(b, np.float32))
    square = a * a
    special = {
        0.0: np.ones_like(a),
        1.0: a,
        2.0: square,
        3.0: square * a,
        4.0: square * square,
        -1.0: np.float32(1) / a,
        0.5: np.sqrt(a),
    }
    known = np.isin(b, np.array(list(special), np.float32))
    result = np.zeros(a.shape, np.float32) if known.all() else exp(b * log(a))
    for exponent, value in special.items():
        result = np.where(b == np.float32(exponent), value, result)
    return result
