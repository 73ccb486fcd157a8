"""Kernels for processors without a popcount: rows of bits added, and pixels looked up, as the interpreter runs them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnnc.ir import bit, move
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, Int
from bnnc.loops.ir import NUMPY
from bnnc.loops.lower.network import Lowered, lower
from bnnc.loops.machine import CONTROLLERS, Machine
from bnnc.reference.loop import run_program
from bnnc.reference.run import run
from tests.geometry import Geometry, geometries

M0, M4, RV32 = (next(m for m in CONTROLLERS if m.name == n) for n in ("cortex-m0", "cortex-m4", "rv32imac"))


def steps(rng: np.random.Generator, outputs: int, spread: int) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds, and values that rise, fall or stay."""
    thresholds = rng.integers(-spread, spread + 1, (outputs, 1)).astype(np.int32)
    values = np.array([[-1, 1], [1, -1], [1, 1], [-1, -1]], np.int32)[rng.choice(4, outputs, p=[0.6, 0.2, 0.1, 0.1])]
    return thresholds, values


def adds_rows(lowered: Lowered) -> bool:
    """Whether some layer adds rows."""
    return any(function.name in ("add_rows_1", "add_rows_2", "add_twins") for function in lowered.program.functions)


def agree(module: Module, lowered: Lowered, arrays: np.ndarray) -> None:
    """The interpreter finds the reference's bits."""
    expected = run(module, {"x": arrays})["y"]
    element = NUMPY[lowered.program.inputs[0].element]
    given = arrays.astype(np.int64).astype(np.uint8).view(np.int8) if element == np.int8 else arrays.astype(element)
    found = run_program(lowered.program, [np.ascontiguousarray(given)], len(arrays))[0]
    assert np.array_equal(np.asarray(found).reshape(expected.shape), expected)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    channels=st.sampled_from([(1, 9), (5, 33), (32, 32), (40, 64), (70, 8)]),
    window=geometries(),
    pad_value=st.sampled_from([-1, 0, 1]),
    density=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    machine=st.sampled_from([M0, M4, RV32]),
    ternary=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_rows_of_any_shape_padding_and_density(
    channels: tuple[int, int],
    window: Geometry,
    pad_value: int,
    density: float,
    machine: Machine,
    ternary: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    inputs, outputs = channels
    weights = rng.choice([-1, 0, 1] if ternary else [-1, 1], (outputs, inputs, *window.kernel)).astype(np.int8)
    weights[0, 0, 0, 0] = 1
    x = Input("x", Bit(), (inputs, *window.size))
    conv = bit.Conv(x, weights, window.stride, window.pads, (1, 1), 1, pad_value)
    step = bit.Step(conv, *steps(rng, outputs, 6), Bit())
    module = Module("net", (x,), (Output("y", step, "int8"),))
    lowered = lower(module, machine)
    assert adds_rows(lowered)
    agree(module, lowered, np.where(rng.random((2, inputs, *window.size)) < density, 1, -1))


@pytest.mark.parametrize("machine", [M4, RV32], ids=lambda machine: machine.name)
@pytest.mark.parametrize(("groups", "channels", "outputs"), [(2, 64, 128), (3, 192, 96)])
@pytest.mark.parametrize("ternary", [False, True])
@pytest.mark.parametrize("size", [(3, 4), (2, 2)])
def test_rows_of_groups(
    groups: int, channels: int, outputs: int, ternary: bool, size: tuple[int, int], machine: Machine
) -> None:
    """Groups of whole words: one after the other; a window may be as large as the image."""
    rng = np.random.default_rng(groups + outputs + ternary)
    weights = rng.choice([-1, 0, 1] if ternary else [-1, 1], (outputs, channels // groups, 2, 2)).astype(np.int8)
    x = Input("x", Bit(), (channels, *size))
    pads = (1, 0, 0, 1) if size == (3, 4) else (0, 0, 0, 0)
    conv = bit.Conv(x, weights, (1, 1), pads, (1, 1), groups, 0)
    step = bit.Step(conv, *steps(rng, outputs, 6), Bit())
    lowered = lower(Module("net", (x,), (Output("y", step, "int8"),)), machine)
    assert adds_rows(lowered)
    shares = np.array([0.2, 0.5, 0.9])[:, None, None, None]
    agree(
        Module("net", (x,), (Output("y", step, "int8"),)),
        lowered,
        np.where(rng.random((3, channels, *size)) < shares, 1, -1),
    )


@pytest.mark.parametrize("machine", [M4, RV32], ids=lambda machine: machine.name)
@pytest.mark.parametrize("inputs", [1, 31, 256, 1000])
def test_dense_rows(inputs: int, machine: Machine) -> None:
    rng = np.random.default_rng(inputs)
    x = Input("x", Bit(), (inputs,))
    dense = bit.Dense(x, rng.choice([-1, 1], (64, inputs)).astype(np.int8))
    step = bit.Step(dense, *steps(rng, 64, 20), Bit())
    module = Module("net", (x,), (Output("y", step, "int8"),))
    shares = np.array([0.0, 0.2, 0.5, 0.8, 1.0])[:, None]
    agree(module, lower(module, machine), np.where(rng.random((5, inputs)) < shares, 1, -1))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    channels=st.sampled_from([(1, 9), (2, 16), (3, 17), (3, 40)]),
    window=geometries((6, 19), (3, 5), dilation=(1, 2)),
    last=st.booleans(),
    machine=st.sampled_from([M0, M4]),
    seed=st.integers(0, 2**31),
)
def test_first_layers_on_pixels(
    channels: tuple[int, int],
    window: Geometry,
    last: bool,
    machine: Machine,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    inputs, outputs = channels
    shape = (*window.size, inputs) if last else (inputs, *window.size)
    x = Input("x", Int(0, 255), shape)
    image: Op = move.Transpose(x, (2, 0, 1)) if last else x
    weights = rng.choice([-1, 1], (outputs, inputs, *window.kernel)).astype(np.int8)
    conv = bit.Conv(image, weights, window.stride, window.pads, window.dilation)
    step = bit.Step(conv, *steps(rng, outputs, 300), Bit())
    module = Module("net", (x,), (Output("y", step, "int8"),))
    lowered = lower(module, machine)
    assert any("of pixels" in function.comment for function in lowered.program.functions)
    assert not any(call.function.startswith("x_input") for call in lowered.calls), (
        "the user's array is read where it is"
    )
    values = rng.integers(0, 256, (2, *shape))
    values[0] = rng.choice([0, 255], shape)
    agree(module, lowered, values)
