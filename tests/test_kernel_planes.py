"""Rows added for every bit of small integers, and steps with several thresholds, as the interpreter runs them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from benchmarks import boards
from bnnc.ir import bit
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.rewrite import rebuild
from bnnc.ir.types import Bit, Code, DType, Int, Trit, value_range
from bnnc.loops.lower.network import lower
from bnnc.loops.machine import CONTROLLERS, Machine
from tests.geometry import Geometry, geometries
from tests.test_boards import needs_board
from tests.test_kernel_rows import agree

M0, M4, RV32 = (next(m for m in CONTROLLERS if m.name == n) for n in ("cortex-m0", "cortex-m4", "rv32imac"))
DTYPES: dict[str, tuple[DType, list[int]]] = {
    "bit": (Bit(), [-1, 1]),
    "trit": (Trit(), [-1, 0, 1]),
    "two bits": (Code(2, 1, 0), [0, 1, 2, 3]),
    "odd two bits": (Code(2, 2, -3), [-3, -1, 1, 3]),
    "three bits": (Code(3, 1, 0), list(range(8))),
}


def network(
    kinds: tuple[str, str],
    channels: tuple[int, int],
    window: Geometry,
    pad_value: int,
    ternary: bool,
    rng: np.random.Generator,
) -> Module:
    """One convolution and its step; values of steps need not rise."""
    (dtype, _), (result, numbers) = DTYPES[kinds[0]], DTYPES[kinds[1]]
    inputs, outputs = channels
    weights = rng.choice([-1, 0, 1] if ternary else [-1, 1], (outputs, inputs, *window.kernel)).astype(np.int8)
    weights[0, 0, 0, 0] = 1
    x = Input("x", dtype, (inputs, *window.size))
    conv = bit.Conv(x, weights, window.stride, window.pads, (1, 1), 1, pad_value)
    count = len(numbers) - 1
    spread = int(4 + np.sqrt(weights[0].size) * max(abs(n) for n in value_range(dtype)))
    thresholds = np.sort(rng.integers(-spread, spread + 1, (outputs, count)), axis=1).astype(np.int32)
    values = np.array(numbers, np.int32)[rng.integers(0, len(numbers), (outputs, count + 1))]
    values[::2] = numbers
    step = bit.Step(conv, thresholds, values, result)
    return Module("net", (x,), (Output("y", step, "int8"),))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kinds=st.tuples(st.sampled_from(list(DTYPES)), st.sampled_from(list(DTYPES))),
    channels=st.sampled_from([(1, 9), (5, 33), (32, 32), (40, 64), (70, 8)]),
    window=geometries((4, 4)),
    pad_value=st.sampled_from([-1, 0, 1]),
    ternary=st.booleans(),
    machine=st.sampled_from([M0, M4, RV32]),
    seed=st.integers(0, 2**31),
)
def test_any_integers_shape_and_padding(
    kinds: tuple[str, str],
    channels: tuple[int, int],
    window: Geometry,
    pad_value: int,
    ternary: bool,
    machine: Machine,
    seed: int,
) -> None:
    assume(kinds != ("bit", "bit"))
    rng = np.random.default_rng(seed)
    module = network(kinds, channels, window, pad_value, ternary, rng)
    lowered = lower(module, machine)
    assert any("integers, rows added" in function.comment for function in lowered.program.functions)
    numbers = DTYPES[kinds[0]][1]
    values = np.array(numbers)[rng.integers(0, len(numbers), (2, channels[0], *window.size))]
    values[1] = rng.choice([numbers[0], numbers[-1]])
    agree(module, lowered, values)


@needs_board("cortex-m0")
@pytest.mark.parametrize("kinds", [("two bits", "two bits"), ("trit", "trit"), ("bit", "three bits")])
def test_a_board_agrees(kinds: tuple[str, str]) -> None:
    """Behind a layer on pixels, which makes the integers."""
    rng = np.random.default_rng(7)
    dtype, numbers = DTYPES[kinds[0]]
    x = Input("x", Int(0, 255), (3, 5, 6))
    stem = bit.Conv(x, rng.choice([-1, 1], (40, 3, 1, 1)).astype(np.int8), (1, 1), (0, 0, 0, 0), (1, 1), 1, 0)
    thresholds = np.sort(rng.integers(-200, 200, (40, len(numbers) - 1)), axis=1).astype(np.int32)
    inner = network(kinds, (40, 36), Geometry((5, 6), (3, 3), pads=(1, 1, 1, 1)), 0, True, rng)
    given = bit.Step(stem, thresholds, np.tile(np.array([numbers], np.int32), (40, 1)), dtype)
    (output,) = rebuild(inner, lambda op: given if isinstance(op, Input) else op).outputs
    found = boards.run(Module("net", (x,), (output,)), "cortex-m0")
    assert found.ok, found.said
