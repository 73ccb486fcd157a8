"""First layers on bytes, and small networks, for 8-bit processors: the interpreter's bits, C's, a board's cycles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnnc.backends.c import Backend
from bnnc.backends.c.boards import instructions, missing
from bnnc.ir import bit, move
from bnnc.ir.location import Location
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, DType, Int
from bnnc.loops.lower.network import lower
from bnnc.loops.machine import CONTROLLERS
from tests import c_code
from tests.cycle_counts import compiler, hold
from tests.geometry import Geometry, geometries
from tests.test_kernel_rows import agree, steps

AVR = next(m for m in CONTROLLERS if m.name == "avr")
needs_avr = pytest.mark.skipif(bool(missing("avr")), reason="needs avr-gcc and simavr")
SIGNS, PIXELS, SMALL = Bit(), Int(0, 255), Int(-7, 6)


def values_of(rng: np.random.Generator, dtype: DType, *shape: int) -> np.ndarray:
    """Random inputs."""
    if isinstance(dtype, Bit):
        return rng.choice([-1, 1], shape).astype(np.int8)
    assert isinstance(dtype, Int)
    return rng.integers(dtype.lo, dtype.hi + 1, shape).astype(np.uint8 if dtype.lo >= 0 else np.int8)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    channels=st.sampled_from([(1, 9), (3, 33), (2, 1), (1, 40), (6, 8)]),
    window=geometries(dilation=(1, 2)),
    pad_value=st.sampled_from([-1, 0, 1]),
    dtype=st.sampled_from([SIGNS, PIXELS, SMALL]),
    last=st.booleans(),
    sums=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_any_shape_padding_and_layout(
    channels: tuple[int, int],
    window: Geometry,
    pad_value: int,
    dtype: DType,
    last: bool,
    sums: bool,
    seed: int,
) -> None:
    pad_value = max(pad_value, 0) if dtype == PIXELS else pad_value
    rng = np.random.default_rng(seed)
    inputs, outputs = channels
    shape = (*window.size, inputs) if last else (inputs, *window.size)
    x = Input("x", dtype, shape)
    image: Op = move.Transpose(x, (2, 0, 1)) if last else x
    weights = rng.choice([-1, 1], (outputs, inputs, *window.kernel)).astype(np.int8)
    value: Op = bit.Conv(image, weights, window.stride, window.pads, window.dilation, 1, pad_value)
    if not sums:
        value = bit.Step(value, *steps(rng, outputs, 300 if dtype == PIXELS else 6), Bit())
    module = Module("net", (x,), (Output("y", value, "int32" if sums else "int8"),))
    lowered = lower(module, AVR)
    taken = any("channels of bytes" in function.comment for function in lowered.program.functions)
    assert taken == (inputs <= 4 or dtype != SIGNS)
    assert not taken or not any(call.function.startswith("x_input") for call in lowered.calls), (
        "the user's array is read as it is"
    )
    agree(module, lowered, values_of(rng, dtype, 2, *shape))


def test_windows_whose_sums_need_more_bits_take_another_kernel() -> None:
    rng = np.random.default_rng(0)
    x = Input("x", PIXELS, (129, 1, 1))
    sums = bit.Conv(x, rng.choice([-1, 1], (4, 129, 1, 1)).astype(np.int8), (1, 1), (0, 0, 0, 0), (1, 1), 1, 0)
    module = Module("net", (x,), (Output("y", sums, "int32"),))
    lowered = lower(module, AVR)
    assert not any("channels of bytes" in function.comment for function in lowered.program.functions)
    agree(module, lowered, np.full((1, 129, 1, 1), 255))


def small_network(dtype: DType, channels: tuple[int, int], size: int) -> Module:
    """Two convolutions, each pooled, and ten scores."""
    rng = np.random.default_rng(1)
    x = Input("x", dtype, (1, size, size))
    value: Op = x
    for number, outputs in enumerate(channels):
        weights = rng.choice([-1, 1], (outputs, value.type.shape[0], 3, 3)).astype(np.int8)
        pad = -1 if isinstance(value.type.dtype, Bit) else 0
        strides = (1, 1) if number else (2, 2)
        sums = bit.Conv(value, weights, strides, (1, 1, 1, 1), (1, 1), 1, pad, loc=Location(f"conv{number}"))
        step = bit.Step(sums, *steps(rng, outputs, 6 if pad else 300), Bit())
        value = bit.Pool(step, "max", (2, 2), (2, 2), (0, 0, 0, 0), (1, 1))
    flat = move.Reshape(value, (value.type.size,))
    scores = bit.Dense(flat, rng.choice([-1, 1], (10, value.type.size)).astype(np.int8), loc=Location("scores"))
    return Module("net", (x,), (Output("y", scores, "int32"),))


@c_code.needs_gcc
@pytest.mark.parametrize("dtype", [SIGNS, PIXELS], ids=["signs", "pixels"])
def test_c_is_right_without_warnings_and_undefined_behaviour(dtype: DType, tmp_path: Path) -> None:
    files = Backend().emit(small_network(dtype, (9, 17), 12), Backend.Options(machine="avr", name="net")).files
    assert b"channels of bytes" in files["net.c"]
    code, said = c_code.run(c_code.build(files, tmp_path, "-O1", *c_code.SANITIZERS))
    assert code == 0, said


@needs_avr
def test_a_small_network_runs_on_an_atmega328() -> None:
    """In 2 KB of RAM with its image, and in less than a tenth of a second at 16 MHz."""
    module = small_network(PIXELS, (8, 16), 24)
    files = Backend().emit(module, Backend.Options(machine="avr", name="net")).files
    counts = instructions(files, "avr", [values_of(np.random.default_rng(2), PIXELS, 1, 1, 24, 24)], board="atmega328p")
    assert counts.ram < 2048
    assert counts.total < 1_600_000
    assert json.loads(files["net.json"])["arena_words"] * 4 + 576 < 2048


@needs_avr
@pytest.mark.parametrize("shape", [(256, 1, 1), (64, 4, 4), (32, 5, 5)])
def test_cycles_for_32_products(shape: tuple[int, int, int], request: pytest.FixtureRequest) -> None:
    """At most 85 cycles for 32 multiply-accumulates of a layer on bits, gcc -O2; and no more than there were."""
    rng = np.random.default_rng(0)
    kernel = 1 if shape[1] == 1 else 3
    x = Input("x", SIGNS, shape)
    weights = rng.choice([-1, 1], (shape[0], shape[0], kernel, kernel)).astype(np.int8)
    conv = bit.Conv(x, weights, (1, 1), (kernel // 2,) * 4, (1, 1), 1, -1, loc=Location("layer"))
    step = bit.Step(conv, *steps(rng, shape[0], 16), Bit(), loc=Location("layer"))
    module = Module("net", (x,), (Output("y", step, "int8"),))
    files = Backend().emit(module, Backend.Options(machine="avr", name="net")).files
    counts = instructions(files, "avr", [values_of(rng, SIGNS, 1, *shape)])
    layer = sum(found.count for found in counts.layers if found.function.startswith("net_layer"))
    assert layer <= 85 * weights.size * shape[1] * shape[2] / 32
    hold(f"layer {'x'.join(map(str, shape))} avr", layer, compiler("avr-gcc"), request)
