"""`--semantics real`: thresholds decided by exact arithmetic, on chains where fp32 decides otherwise and where not."""

from __future__ import annotations

from decimal import Decimal, getcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnc import api
from bnnc.backends.llvm import Backend
from bnnc.ir import nn
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import Bit
from bnnc.passes import pipelines
from bnnc.passes.options import PassOptions
from bnnc.passes.semantics import Undecided, root
from bnnc.reference.run import run
from tests.cli import bnnc
from tests.shared import SHARED, needs_shared

REAL = PassOptions(semantics="real")
TAPS = 8


def network(scale: np.ndarray, bias: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> Module:
    """sign(batch_norm(±1 inputs @ ±1 weights)); every sum from -8 to 8 in steps of 2 occurs."""
    channels = len(scale)
    x = Input("x", Bit(), (TAPS,))
    ones = nn.Constant(np.ones((channels, TAPS), np.float32))
    numbers = [nn.Constant(v.astype(np.float32)) for v in (scale, bias, mean, variance)]
    norm = nn.BatchNorm(nn.Dense(x, ones, None), numbers[0], numbers[1], numbers[2], numbers[3], 1e-5)
    return Module("net", (x,), (Output("y", nn.Map("sign", (norm,))),))


def every_sum() -> dict[str, np.ndarray]:
    return {"x": np.array([[1] * n + [-1] * (TAPS - n) for n in range(TAPS + 1)], np.int32)}


def exact_sign(total: int, scale: float, bias: float, mean: float, variance: float) -> int:
    """The sign of scale * (total - mean) / sqrt(variance + eps) + bias, by squaring."""
    spread = Fraction(variance) + Fraction(float(np.float32(1e-5)))
    left, right = Fraction(scale) * (total - Fraction(mean)), -Fraction(bias)
    # left / sqrt(spread) compared with right
    if (left > 0) != (right > 0) or left == 0 or right == 0:
        return (left > 0) - (left < 0) if right == 0 else (left > 0) - (left < 0) or (right < 0) - (right > 0)
    squares = (left * left > right * right * spread) - (left * left < right * right * spread)
    return squares if left > 0 else -squares


def sign_of(total: int, numbers: tuple[float, float, float, float]) -> int:
    scale, bias, mean, variance = numbers
    getcontext().prec = 120
    spread = Decimal(variance) + Decimal(float(np.float32(1e-5)))
    value = Decimal(scale) * (total - Decimal(mean)) / spread.sqrt() + Decimal(bias)
    return int(value > 0) - int(value < 0)


def test_a_tie_that_only_rounding_makes_is_none() -> None:
    """bias = -fl(2 * fl(scale / sqrt(variance + eps))): a tie in fp32, but the root is irrational."""
    variance = np.arange(2, 42).astype(np.float32)
    scale = np.full(40, 0.1, np.float32)
    gain = scale / np.sqrt(variance + np.float32(1e-5))
    module = network(scale, -(np.float32(2) * gain), np.zeros(40), variance)
    rounded = run(pipelines.optimise(module), every_sum())["y"]
    bits = pipelines.optimise(module, options=REAL)
    found = run(bits, every_sum())["y"]
    assert (rounded[5] == 0).all()  # five ones of eight: the sum is 2
    assert (found[5] != 0).all()
    numbers = [
        tuple(float(v) for v in row) for row in zip(scale, -(np.float32(2) * gain), 0 * scale, variance, strict=True)
    ]
    for n in range(TAPS + 1):
        wanted = [sign_of(2 * n - TAPS, row) for row in numbers]  # type: ignore[arg-type]
        assert found[n].tolist() == wanted
    assert np.array_equal(Backend().load(bits, Backend.Options())(every_sum())["y"], found)
    (note,) = [note.text for note in bits.notes if note.kind == "choice"]
    assert note.startswith("semantics real: 40 of ")
    assert dict(bits.facts)["semantics"] == "real"


def test_a_tie_that_rounding_hides_is_one() -> None:
    """variance + eps = 1/4 exactly would need eps = 0; with powers of two the gain is exact, and so is the tie."""
    epsilon = np.float32(1e-5)
    variance = np.array([0.25], np.float64) - float(epsilon)
    kept = np.float32(variance[0])
    assert float(kept) + float(epsilon) != 0.25  # fp32 cannot hold it, so the real value is a hair off
    module = network(np.ones(1), np.array([-4.0]), np.zeros(1), np.array([kept]))
    fp32 = run(pipelines.optimise(module), every_sum())["y"]
    real = run(pipelines.optimise(module, options=REAL), every_sum())["y"]
    assert fp32[5, 0] == 0  # the sum 2, times 2, less 4
    assert real[5, 0] == sign_of(2, (1.0, -4.0, 0.0, float(kept)))
    assert real[5, 0] != 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(-2, 2, width=32).filter(lambda v: v == 0 or abs(v) > 1e-3),
            st.floats(-3, 3, width=32),
            st.sampled_from([0.0, 1.0, -2.0, 0.5, 1.25, 3.000001]),
            st.floats(0.0009765625, 4, width=32),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_batch_norms_are_decided_exactly(rows: list[tuple[float, float, float, float]]) -> None:
    columns = [np.array(column, np.float32) for column in zip(*rows, strict=True)]
    module = network(columns[0], columns[1], columns[2], columns[3])
    found = run(pipelines.optimise(module, options=REAL), every_sum())["y"]
    numbers = [tuple(float(v) for v in row) for row in zip(*columns, strict=True)]
    for n in range(TAPS + 1):
        assert found[n].tolist() == [sign_of(2 * n - TAPS, row) for row in numbers]  # type: ignore[arg-type]


def test_chains_of_other_functions() -> None:
    """Shift, PReLU with a falling slope, clip and sign: two thresholds, one of them moved by rounding."""
    x = Input("x", Bit(), (TAPS,))
    total: Op = nn.Dense(x, nn.Constant(np.ones((1, TAPS), np.float32)), None)

    def constant(value: float) -> nn.Constant:
        return nn.Constant(np.array(value, np.float32))

    third = nn.Map("mul", (total, constant(1 / 3)))  # fl(1/3) > 1/3: 6 * fl(1/3) is above 2, but rounds to 2
    bent = nn.Map("prelu", (nn.Map("sub", (third, constant(2.0))), constant(-0.25)))
    module = Module("net", (x,), (Output("y", nn.Map("sign", (nn.Map("clip", (bent, constant(-1), constant(1))),))),))
    fp32 = run(pipelines.optimise(module), every_sum())["y"][:, 0]
    real = run(pipelines.optimise(module, options=REAL), every_sum())["y"][:, 0]
    assert fp32.tolist() == [1, 1, 1, 1, 1, 1, 1, 0, 1]
    assert real.tolist() == [1] * 9  # 6 * fl(1/3) - 2 > 0


def test_functions_without_exact_values_stay() -> None:
    x = Input("x", Bit(), (TAPS,))
    total: Op = nn.Dense(x, nn.Constant(np.ones((1, TAPS), np.float32)), None)
    half = nn.Constant(np.array(0.5, np.float32))
    module = Module("net", (x,), (Output("y", nn.Map("greater", (nn.Map("sigmoid", (total,)), half))),))
    bits = pipelines.optimise(module, options=REAL)
    assert np.array_equal(run(bits, every_sum())["y"], run(pipelines.optimise(module), every_sum())["y"])
    assert "could not be decided" in bits.notes[-1].text


@given(st.fractions(min_value=0, max_value=1 << 40))
def test_roots_are_enclosed(value: Fraction) -> None:
    found = root(value)
    assert found.low**2 <= value <= found.high**2
    assert found.high - found.low <= max(Fraction(1), found.high) / 2**200
    square = root(value * value)
    assert square.low == square.high == value


def test_a_negative_number_has_no_root() -> None:
    with pytest.raises(Undecided):
        root(Fraction(-1))


@needs_shared
def test_networks_hardly_differ() -> None:
    net = SHARED / "models" / "nets" / "cnv_poolafter_dynamo18.onnx"
    done = bnnc("check", net, "--semantics", "real", "--check", "3", "--json")
    assert done.code == 0
    bits = api.optimise(api.load(net), options=REAL)
    (note,) = [note.text for note in bits.notes if note.kind == "choice"]
    assert int(note.split()[2]) <= 1
    assert int(note.split()[4]) > 100


def test_math_of_the_test_itself() -> None:
    """Two ways to the exact sign agree."""
    for total in range(-8, 9):
        for numbers in [(0.5, -0.25, 1.0, 2.0), (-0.5, 0.75, 0.5, 0.3), (1.0, 0.0, 2.0, 1.0), (0.0, 1.0, 0.0, 1.0)]:
            assert exact_sign(total, *numbers) == sign_of(total, numbers)
