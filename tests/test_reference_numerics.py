"""The fused multiply-add is exact, and our own functions are accurate and never change."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnc.reference import numerics

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
# Around ties and among the subnormals: where rounding twice goes wrong.
awkward = st.builds(lambda m, e: np.ldexp(float(m), e), st.integers(-(2**12), 2**12), st.integers(-90, -60))


def rounded(value: Fraction) -> float:
    """value rounded to binary32, to nearest, ties to even, in exact arithmetic."""
    if value == 0:
        return 0.0
    size = abs(value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    if Fraction(2) ** exponent > size:
        exponent -= 1
    place = Fraction(2) ** (max(exponent, -126) - 23)
    count, rest = divmod(size, place)
    if rest * 2 > place or (rest * 2 == place and count % 2):
        count += 1
    result = count * place
    return math.copysign(math.inf if result >= Fraction(2) ** 128 else float(result), value)


def fused(a: float, b: float, c: float) -> float:
    with np.errstate(all="ignore"):
        values = (np.array([v], np.float32) for v in (a, b, c))
        return float(numerics.fma(*values)[0])


@settings(deadline=None, max_examples=300)
@given(st.one_of(floats, awkward), st.one_of(floats, awkward), st.one_of(floats, awkward))
def test_fma_rounds_once(a: float, b: float, c: float) -> None:
    assert fused(a, b, c) == rounded(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)))


@settings(deadline=None, max_examples=200)
@given(st.integers(2**23, 2**24 - 1), st.integers(2**23, 2**24 - 1), st.integers(-1, 1), st.integers(0, 60))
def test_fma_next_to_ties(a: int, b: int, tail: int, shift: int) -> None:
    """c is so placed that a*b + c lies on, or a hair beside, the middle between two floats."""
    product = a * b
    whole = (product >> 24) << 24
    c = float(np.float32(whole + (1 << 23) - product + 0.0))
    c += tail * float(np.spacing(np.float32(abs(c) or 1)))
    scale = 2.0**-shift
    assert fused(a * scale, float(b), c * scale) == rounded(
        Fraction(a) * Fraction(scale) * b + Fraction(float(np.float32(c * scale)))
    )


def test_fma_where_two_roundings_differ() -> None:
    # a*b = 2^-24 - 2^-56, so a*b + c is a hair below the middle of two floats; float64 rounds it to that middle.
    a, b, c = 1 + 2.0**-16, 2.0**-24 * (1 - 2.0**-16), 1 + 2.0**-23
    assert float(np.float32(a * b + c)) == 1 + 2.0**-22
    assert fused(a, b, c) == 1 + 2.0**-23


def test_fma_special_values() -> None:
    assert math.isnan(fused(math.inf, 0, 1))
    assert fused(math.inf, 2, 1) == math.inf
    assert math.isnan(fused(math.inf, 1, -math.inf))
    assert math.copysign(1, fused(-0.0, 1, -0.0)) == -1
    assert math.copysign(1, fused(-0.0, 1, 0.0)) == 1
    assert fused(3e38, 2, 0) == math.inf


def exact_sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


FUNCTIONS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[float], float], float, float, float]] = {
    "exp": (numerics.exp, math.exp, -104.0, 88.7, 1.0),
    "log": (numerics.log, math.log, 1e-30, 4.0, 1.0),
    "log of large": (numerics.log, math.log, 1.0, 3e38, 1.0),
    "log of subnormal": (numerics.log, math.log, 1e-44, 1e-38, 1.0),
    "sigmoid": (numerics.sigmoid, exact_sigmoid, -80.0, 30.0, 2.5),
    "tanh": (numerics.tanh, math.tanh, -10.0, 10.0, 1.5),
    "erf": (numerics.erf, math.erf, -4.5, 4.5, 1.0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_accurate(name: str) -> None:
    ours, exact, low, high, allowed = FUNCTIONS[name]
    x = np.random.default_rng(0).uniform(low, high, 20000).astype(np.float32)
    want = np.array([exact(float(v)) for v in x])
    with np.errstate(all="ignore"):
        error = np.abs(ours(x).astype(np.float64) - want) / np.spacing(np.abs(want).astype(np.float32))
    assert error.max() <= allowed


# The bits are a contract (docs/numerics.md): whoever changes them breaks every compiled network.
BITS = {
    "exp": "483558276a1efba2",
    "log": "2d7049c9a61d23ed",
    "sigmoid": "b4689bfebe0062b4",
    "tanh": "a8f437acb8fb1f2e",
    "erf": "bdab883b5ca930ac",
}


@pytest.mark.parametrize("name", BITS)
def test_the_bits_of_functions_never_change(name: str) -> None:
    patterns = (np.arange(1 << 16, dtype=np.uint32) << 16 | 0x5A5A).astype(np.uint32)
    x = patterns.view(np.float32)
    with np.errstate(all="ignore"):
        result = getattr(numerics, name)(x[np.isfinite(x)])
    result = np.where(np.isnan(result), np.float32(7), result)
    assert hashlib.sha256(result.astype("<f4").tobytes()).hexdigest()[:16] == BITS[name]


def test_functions_at_the_edges() -> None:
    edges = np.array([np.inf, -np.inf, 0.0, -0.0, np.nan], np.float32)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(numerics.exp(edges), np.array([np.inf, 0, 1, 1, np.nan], np.float32))
        np.testing.assert_array_equal(
            numerics.log(edges), np.array([np.inf, np.nan, -np.inf, -np.inf, np.nan], np.float32)
        )
        for function in (numerics.tanh, numerics.erf):
            np.testing.assert_array_equal(function(edges), np.array([1, -1, 0, 0, np.nan], np.float32))
        np.testing.assert_array_equal(numerics.sigmoid(edges), np.array([1, 0, 0.5, 0.5, np.nan], np.float32))


def test_power_uses_products_for_small_exponents() -> None:
    a = np.array([-1.1, 0.3, 7.7], np.float32)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(numerics.power(a, np.float32(3)), a * a * a)
        np.testing.assert_array_equal(numerics.power(a, np.float32(2)), a * a)
    np.testing.assert_allclose(numerics.power(np.abs(a), np.float32(1.7)), np.asarray(np.abs(a) ** 1.7), rtol=3e-7)
    with np.errstate(invalid="ignore"):
        assert np.isnan(numerics.power(a, np.float32(1.7))[0])
