"""The kernels on plain numbers: integers against the definition, floats to the last bit of docs/numerics.md."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnc.backends.llvm.host import native_machine
from bnnc.loops.ir import F32, I8, I16, I32
from bnnc.loops.kernels.epilogue import StepToPlanes, StoreSums
from bnnc.loops.kernels.lanes import lane_conv
from bnnc.loops.kernels.tiling import Window
from bnnc.loops.layout import Elements, Halo, Packed
from bnnc.loops.machine import Machine
from bnnc.reference.numerics import fma
from tests.kernels import convolve, run_interpreted, run_native
from tests.packing import put, take


@st.composite
def geometries(draw: st.DrawFn, largest: int = 70) -> tuple[int, int, tuple[int, int], Window, int]:
    """channels, outputs, size, window, groups."""
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 4)))
    dilations = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    size = tuple(draw(st.integers(d * (k - 1) + 1, d * (k - 1) + 9)) for k, d in zip(kernel, dilations, strict=True))
    strides = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    window = Window(kernel, strides, dilations, pads)  # type: ignore[arg-type]
    groups = draw(st.sampled_from([1, 1, 2, 3, 8]))
    inputs = draw(st.integers(1, max(1, 24 // groups)))
    outputs = draw(st.integers(1, max(1, largest // groups)))
    if draw(st.booleans()) and groups > 1:
        groups = draw(st.sampled_from([3, 8, 16, 24, 40]))
        inputs = outputs = 1
    return inputs * groups, outputs * groups, (size[0], size[1]), window, groups


def halo_of(window: Window, value: int = 0) -> Halo:
    return Halo(*window.pads, value)


@settings(max_examples=60, deadline=None)
@given(
    geometries(), st.sampled_from([I8, I16, I32]), st.sampled_from([np.int8, np.int16]), st.integers(-1, 1), st.data()
)
def test_integer_sums(geometry: Any, element: Any, kind: Any, pad: int, data: st.DataObject) -> None:
    channels, outputs, size, window, groups = geometry
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    limit = {8: 127, 16: 3000, 32: 20000}[element.bits]
    x = rng.integers(-limit, limit + 1, (channels, *size))
    weights = rng.integers(-100, 101, (outputs, channels // groups, *window.kernel)).astype(kind)
    image = Elements(channels, size[0], size[1], element, halo_of(window, data.draw(st.sampled_from([pad, 0]))))
    wanted = convolve(x, weights, window, groups, pad)
    output = Elements(outputs, wanted.shape[1], wanted.shape[2], I32)
    function = lane_conv(
        "conv", image, weights, window, StoreSums(output), native_machine(), groups=groups, pad_value=pad
    )
    assert np.array_equal(take(output, run_native(function, [put(image, x)])), wanted)


def float_convolve(
    x: np.ndarray, weights: np.ndarray, bias: np.ndarray | None, window: Window, groups: int
) -> np.ndarray:
    """The definition: channels ascending, taps in row-major order, one fused step each, padded taps skipped."""
    outputs, inputs = weights.shape[:2]
    height, width = window.output(x.shape[1], x.shape[2])
    result = np.zeros((outputs, height, width), np.float32)
    for oy in range(height):
        for ox in range(width):
            for c in range(inputs):
                for ky in range(window.kernel[0]):
                    for kx in range(window.kernel[1]):
                        y = oy * window.strides[0] + ky * window.dilations[0] - window.pads[0]
                        at = ox * window.strides[1] + kx * window.dilations[1] - window.pads[1]
                        if 0 <= y < x.shape[1] and 0 <= at < x.shape[2]:
                            first = np.arange(outputs) // (outputs // groups) * inputs
                            result[:, oy, ox] = fma(weights[:, c, ky, kx], x[first + c, y, at], result[:, oy, ox])
    return result if bias is None else result + bias[:, None, None]


@settings(max_examples=40, deadline=None)
@given(geometries(largest=40), st.booleans(), st.integers(0, 2**31))
def test_float_sums_are_exact_to_the_last_bit(geometry: Any, with_bias: bool, seed: int) -> None:
    channels, outputs, size, window, groups = geometry
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((channels, *size)).astype(np.float32)
    weights = rng.standard_normal((outputs, channels // groups, *window.kernel)).astype(np.float32)
    bias = rng.standard_normal(outputs).astype(np.float32) if with_bias else None
    wanted = float_convolve(x, weights, bias, window, groups)
    image, output = (
        Elements(channels, size[0], size[1], F32, halo_of(window)),
        Elements(outputs, wanted.shape[1], wanted.shape[2], F32),
    )
    function = lane_conv("conv", image, weights, window, StoreSums(output), native_machine(), bias=bias, groups=groups)
    got = take(output, run_native(function, [put(image, x)]))
    assert np.array_equal(got.view(np.uint32), wanted.view(np.uint32))


@settings(max_examples=40, deadline=None)
@given(geometries(largest=90), st.booleans(), st.integers(0, 2**31))
def test_float_sums_step_to_bits(geometry: Any, with_bias: bool, seed: int) -> None:
    channels, outputs, size, window, groups = geometry
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((channels, *size)).astype(np.float32)
    weights = rng.standard_normal((outputs, channels // groups, *window.kernel)).astype(np.float32)
    bias = rng.standard_normal(outputs).astype(np.float32) if with_bias else None
    sums = float_convolve(x, weights, bias, window, groups)
    # A threshold that is met exactly must count.
    chosen = sums.reshape(outputs, -1)[:, [0]]
    thresholds = np.sort(np.concatenate([chosen, np.zeros_like(chosen)], axis=1), axis=1)
    values = rng.choice([-1, 1], (outputs, 3))
    image, output = (
        Elements(channels, size[0], size[1], F32, halo_of(window)),
        Packed(outputs, sums.shape[1], sums.shape[2], (0,)),
    )
    function = lane_conv(
        "conv", image, weights, window, StepToPlanes(output, thresholds, values), native_machine(),
        bias=bias, groups=groups,
    )  # fmt: skip
    index = (sums[:, None] >= thresholds[:, :, None, None]).sum(1)
    wanted = values[np.arange(outputs)[:, None, None], index]
    assert np.array_equal(take(output, run_native(function, [put(image, x)])), wanted)


@pytest.mark.parametrize("lanes", [1, 4])
@settings(max_examples=5, deadline=None)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(0, 2**31))
def test_other_machines_in_the_interpreter(lanes: int, channels: int, outputs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    machine = Machine("m", "", "", vector_bits=32 * lanes if lanes > 1 else 0)
    window = Window((2, 2), pads=(0, 1, 1, 0))
    x = rng.standard_normal((channels, 3, 3)).astype(np.float32)
    weights = rng.standard_normal((outputs, channels, 2, 2)).astype(np.float32)
    wanted = float_convolve(x, weights, None, window, 1)
    image, output = (
        Elements(channels, 3, 3, F32, halo_of(window)),
        Elements(outputs, wanted.shape[1], wanted.shape[2], F32),
    )
    function = lane_conv("conv", image, weights, window, StoreSums(output), machine)
    assert np.array_equal(take(output, run_interpreted(function, [put(image, x)])), wanted)


@settings(max_examples=8, deadline=None)
@given(geometries(largest=12), st.sampled_from([I8, I16]), st.sampled_from([1, 4]), st.integers(0, 2**31))
def test_integers_of_other_machines_in_the_interpreter(geometry: Any, element: Any, lanes: int, seed: int) -> None:
    channels, outputs, size, window, groups = geometry
    size = (min(size[0], 5), min(size[1], 7))
    rng = np.random.default_rng(seed)
    machine = Machine("m", "", "", vector_bits=32 * lanes if lanes > 1 else 0)
    x = rng.integers(-128, 128, (channels, *size))
    weights = rng.integers(-2, 3, (outputs, channels // groups, *window.kernel)).astype(np.int8)
    wanted = convolve(x, weights, window, groups, 0)
    image, output = (
        Elements(channels, size[0], size[1], element, halo_of(window)),
        Elements(outputs, wanted.shape[1], wanted.shape[2], I32),
    )
    function = lane_conv("conv", image, weights, window, StoreSums(output), machine, groups=groups)
    assert np.array_equal(take(output, run_interpreted(function, [put(image, x)])), wanted)
