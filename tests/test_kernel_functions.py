"""Elementwise functions of the «loop» level give the reference's bits, natively and interpreted."""

from __future__ import annotations

import numpy as np
import pytest

from bnnc.ir.module import Input
from bnnc.ir.nn import FUNCTIONS, Map
from bnnc.ir.types import F32 as F32_TYPE
from bnnc.loops.builder import Builder
from bnnc.loops.ir import F32, Function, constant, load, splat, vector_of
from bnnc.loops.kernels.functions import apply
from bnnc.loops.kernels.strips import strips
from bnnc.reference.run import evaluate
from tests.kernels import run_interpreted, run_native

SPECIAL = np.array(
    [0.0, -0.0, 0.5, -0.5, 1, -1, 1.5, 2, 2.5, -2.5, 3, 4, -4, 0.625, 0.921875, 89, 88.7, -104, -103.9, -87.4, 1e-7]
    + [np.inf, -np.inf, np.nan, 1e-40, -1e-40, 1e-45, 2**-126, 3.4e38, -3.4e38, 65504, 65519.9, 65520, 6.1e-5, 5.9e-8]
    + [2**-25, 2**-25 * 1.5, 2**-14, 2**-14 * (1 - 2**-12), 8388607.5, -8388608, 16777216, 1 + 2**-11, 1 + 3 * 2**-11],
    np.float32,
)


def kernel(function: str, count: int, lanes: int, fixed: tuple[float | None, ...] = ()) -> Function:
    """function(operands) elementwise; an operand with a `fixed` number is that constant."""
    b = Builder(function)
    arity = FUNCTIONS[function].arity
    numbers = (*fixed, *(None,) * (arity - len(fixed)))
    operands = [b.parameter("x", F32, count) if number is None else number for number in numbers]
    y = b.parameter("y", F32, count, "write")
    for first, width in strips(b, count, lanes):
        type_ = vector_of(F32, width)
        values = [splat(constant(x, F32), type_) if isinstance(x, float) else load(x, first, type_) for x in operands]
        b.store(y, first, apply(b, function, values))
    return b.function()


def expected(function: str, operands: list[np.ndarray]) -> np.ndarray:
    xs = tuple(Input(f"x{i}", F32_TYPE(), x.shape) for i, x in enumerate(operands))
    found: np.ndarray = evaluate(Map(function, xs), [x[None] for x in operands])[0]
    return found


def values(function: str, seed: int) -> list[np.ndarray]:
    """Operands of every magnitude; every special value meets every other one."""
    rng = np.random.default_rng(seed)
    arity = FUNCTIONS[function].arity
    drawn = [rng.integers(-(2**31), 2**31, 20_000).astype(np.int32).view(np.float32) for _ in range(arity)]
    usual = [(rng.standard_normal(20_000) * 10.0 ** rng.integers(-3, 3, 20_000)).astype(np.float32) for _ in drawn]
    grid = np.meshgrid(*[SPECIAL if arity < 3 else SPECIAL[:24]] * arity)
    whole = [rng.integers(-4, 5, 5_000).astype(np.float32) for _ in drawn]
    parts = zip(grid, drawn, usual, whole, strict=True)
    return [np.concatenate([part.reshape(-1).astype(np.float32) for part in four]) for four in parts]


def assert_same_bits(found: np.ndarray, wanted: np.ndarray, operands: list[np.ndarray]) -> None:
    same = (found.view(np.int32) == wanted.view(np.int32)) | (np.isnan(found) & np.isnan(wanted))
    if not same.all():
        at = int(np.flatnonzero(~same)[0])
        raise AssertionError(f"{[x[at] for x in operands]}: {found[at]!r}, not {wanted[at]!r}; {(~same).sum()} differ")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_native_vectors_give_the_bits_of_the_reference(function: str) -> None:
    operands = values(function, 1)
    found = run_native(kernel(function, operands[0].size, 16), operands)
    assert_same_bits(found, expected(function, operands), operands)


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_interpreted_code_gives_the_bits_of_the_reference(function: str, lanes: int) -> None:
    operands = [x[:: max(1, x.size // 201)][:203] for x in values(function, 2)]
    found = run_interpreted(kernel(function, operands[0].size, lanes), operands)
    assert_same_bits(found, expected(function, operands), operands)


@pytest.mark.parametrize("number", [0.0, 1.0, 2.0, 3.0, 4.0, -1.0, 0.5, 2.5, -2.0])
def test_powers_with_a_known_exponent(number: float) -> None:
    x = values("exp", 3)[0]
    both = [x, np.full_like(x, number)]
    assert_same_bits(run_native(kernel("pow", x.size, 8, (None, number)), [x]), expected("pow", both), both)


@pytest.mark.parametrize("number", [0.0, -0.0, 1.5, float("nan"), float("-inf")])
@pytest.mark.parametrize("function", ["min", "max"])
def test_bounds_that_are_known(function: str, number: float) -> None:
    x = values("exp", 4)[0]
    both = [x, np.full_like(x, number)]
    assert_same_bits(run_native(kernel(function, x.size, 8, (None, number)), [x]), expected(function, both), both)


def test_the_half_of_every_binary16_neighbourhood() -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    bits = np.concatenate([halves.view(np.int32) + d for d in (-1, 0, 1, 0xFFF, 0x1000, 0x1001)])
    x = bits.view(np.float32)
    assert_same_bits(run_native(kernel("half", x.size, 16), [x]), expected("half", [x]), [x])


def test_wrong_operands_are_refused() -> None:
    b = Builder("f")
    with pytest.raises(TypeError):
        apply(b, "add", [constant(1.0, F32)])
    with pytest.raises(TypeError):
        apply(b, "add", [constant(1.0, F32), constant(1.0, vector_of(F32, 4))])
    with pytest.raises(KeyError):
        apply(b, "cosine", [constant(1.0, F32)])
