"""The popcount kernels against the definition of a convolution: any shape, padding, groups, planes and machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnc.backends.llvm.host import native_machine
from bnnc.loops.ir import I32, Function, Program
from bnnc.loops.kernels.epilogue import StepToPlanes, StoreSums
from bnnc.loops.kernels.popcount import popcount_conv
from bnnc.loops.kernels.tiling import Window
from bnnc.loops.layout import Elements, Halo, Packed
from bnnc.loops.machine import Machine
from tests.kernels import convolve, run_interpreted, run_native
from tests.packing import put, take

Run = Callable[[Function, Sequence[np.ndarray]], np.ndarray]
BIT, TRIT, CODE2, INT4 = (0,), (1, -2), (1, 2), (1, 2, 4, -8)
MACHINES = {lanes: Machine(f"lanes{lanes}", "", "", vector_bits=32 * lanes if lanes > 1 else 0) for lanes in (1, 4, 8)}


@dataclass
class Case:
    planes: tuple[int, ...]
    channels: int
    outputs: int
    size: tuple[int, int]
    window: Window
    groups: int
    pad: int
    weights: str
    seed: int
    extra: Halo


def values_of(planes: tuple[int, ...], shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if planes == BIT:
        return rng.choice([-1, 1], shape)
    if planes == TRIT:
        return rng.integers(-1, 2, shape)
    low, high = sum(p for p in planes if p < 0), sum(p for p in planes if p > 0)
    return rng.integers(low, high + 1, shape)


def weights_of(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if kind == "bit":
        return rng.choice([-1, 1], shape)
    return rng.integers(-1, 2, shape) if kind == "trit" else rng.integers(-5, 4, shape)


@st.composite
def cases(draw: st.DrawFn, largest: int = 80) -> Case:
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 4]))
    planes = draw(st.sampled_from([BIT, BIT, TRIT, CODE2, INT4]))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    dilations = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    size = tuple(draw(st.integers(d * (k - 1) + 1, d * (k - 1) + 8)) for k, d in zip(kernel, dilations, strict=True))
    kinds = ["bit", "trit", "int"]
    pad = draw(st.sampled_from([-1, 0, 1] if planes in (BIT, TRIT, INT4) else [0, 1]))
    return Case(
        planes,
        groups * draw(st.integers(1, largest // groups)),
        groups * draw(st.integers(1, largest // groups)),
        (size[0], size[1]),
        Window(kernel, (draw(st.integers(1, 3)), draw(st.integers(1, 3))), dilations, pads),  # type: ignore[arg-type]
        groups,
        pad,
        draw(st.sampled_from(kinds)),
        draw(st.integers(0, 2**31)),
        Halo(*(draw(st.integers(0, 1)) for _ in range(4))),
    )


def built(case: Case) -> tuple[np.ndarray, np.ndarray, Packed, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(case.seed)
    x = values_of(case.planes, (case.channels, *case.size), rng)
    weights = weights_of(case.weights, (case.outputs, case.channels // case.groups, *case.window.kernel), rng)
    top, left, bottom, right = case.window.pads
    # A bit has no 0: its halo then holds -1, and the kernel must put that right.
    halo_value = -1 if case.planes == BIT and case.pad == 0 else case.pad
    e = case.extra
    halo = Halo(top + e.top, left + e.left, bottom + e.bottom, right + e.right, halo_value)
    image = Packed(case.channels, case.size[0], case.size[1], case.planes, halo)
    return x, weights, image, convolve(x, weights, case.window, case.groups, case.pad), rng


def check_sums(case: Case, machine: Machine, run: Run) -> None:
    x, weights, image, wanted, _ = built(case)
    output = Elements(case.outputs, wanted.shape[1], wanted.shape[2], I32)
    function = popcount_conv(
        "conv", image, weights, case.window, StoreSums(output), machine,
        groups=case.groups, pad_value=case.pad, halo_value=image.halo.value,
    )  # fmt: skip
    assert np.array_equal(take(output, run(function, [put(image, x)])), wanted)


def check_step(case: Case, machine: Machine, run: Run, planes: tuple[int, ...], count: int) -> None:
    x, weights, image, wanted, rng = built(case)
    thresholds = np.sort(rng.integers(wanted.min() - 1, wanted.max() + 2, (case.outputs, count)), axis=1)
    values = values_of(planes, (case.outputs, count + 1), rng)
    output = Packed(case.outputs, wanted.shape[1], wanted.shape[2], planes, case.extra)
    function = popcount_conv(
        "conv", image, weights, case.window, StepToPlanes(output, thresholds, values), machine,
        groups=case.groups, pad_value=case.pad, halo_value=image.halo.value,
    )  # fmt: skip
    index = (wanted[:, None] >= thresholds[:, :, None, None]).sum(1)
    stepped = values[np.arange(case.outputs)[:, None, None], index]
    inside = np.zeros((output.height + case.extra.top + case.extra.bottom,
                       output.width + case.extra.left + case.extra.right), np.bool_)  # fmt: skip
    inside[case.extra.top :][: output.height, case.extra.left :][:, : output.width] = True
    got = run(function, [put(image, x)])
    # What lies in the halo was not written, whatever stood there.
    cleared = np.where(np.repeat(inside.reshape(-1), output.pixel), got.view(np.uint32), 0).astype(np.uint32)
    assert np.array_equal(take(output, cleared), stepped)


@settings(max_examples=60, deadline=None)
@given(cases())
def test_sums_on_this_machine(case: Case) -> None:
    check_sums(case, native_machine(), run_native)


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from([BIT, BIT, TRIT, CODE2]), st.integers(1, 4))
def test_steps_on_this_machine(case: Case, planes: tuple[int, ...], count: int) -> None:
    check_step(case, native_machine(), run_native, planes, count)


@pytest.mark.parametrize("lanes", MACHINES)
@settings(max_examples=6, deadline=None)
@given(cases(largest=36), st.sampled_from([BIT, TRIT]), st.integers(1, 3))
def test_other_machines_in_the_interpreter(lanes: int, case: Case, planes: tuple[int, ...], count: int) -> None:
    case.size = (min(case.size[0], 5), min(case.size[1], 5))
    case.size = tuple(
        max(s, d * (k - 1) + 1) for s, k, d in zip(case.size, case.window.kernel, case.window.dilations, strict=True)
    )  # type: ignore[assignment]
    check_step(case, MACHINES[lanes], run_interpreted, planes, count)
    check_sums(case, MACHINES[lanes], run_interpreted)


@pytest.mark.parametrize("channels", [1, 31, 33, 64, 1000])
@pytest.mark.parametrize("outputs", [1, 10, 64, 130, 200])
def test_dense_layers_are_one_pixel(channels: int, outputs: int) -> None:
    case = Case(BIT, channels, outputs, (1, 1), Window((1, 1)), 1, 0, "bit", channels * outputs, Halo())
    check_sums(case, native_machine(), run_native)
    check_step(case, native_machine(), run_native, BIT, 1)


@pytest.mark.parametrize("lanes", [4, 8])
@pytest.mark.parametrize("planes", [BIT, TRIT, INT4])
def test_counts_in_bytes_do_not_overflow(lanes: int, planes: tuple[int, ...]) -> None:
    # The most extreme values that differ everywhere, over more words than a byte can count.
    low = -1 if planes in (BIT, TRIT) else -8
    x, weights = np.full((2100, 1, 2), low), np.full((40, 2100, 1, 2), 1 if planes in (BIT, TRIT) else -5)
    image, output = Packed(2100, 1, 2, planes), Elements(40, 1, 1, I32)
    function = popcount_conv("dense", image, weights, Window((1, 2)), StoreSums(output), MACHINES[lanes])
    wanted = convolve(x, weights, Window((1, 2)), 1, 0)
    assert np.array_equal(take(output, run_native(function, [put(image, x)])), wanted)


@settings(max_examples=30, deadline=None)
@given(cases(), st.sampled_from([4, 8]), st.sampled_from([BIT, TRIT, CODE2]), st.integers(1, 3))
def test_kernels_of_other_machines_on_this_one(case: Case, lanes: int, planes: tuple[int, ...], count: int) -> None:
    check_step(case, MACHINES[lanes], run_native, planes, count)
    check_sums(case, MACHINES[lanes], run_native)


@pytest.mark.parametrize("planes", [BIT, TRIT, CODE2])
@pytest.mark.parametrize(("channels", "outputs", "groups"), [(64, 64, 2), (128, 64, 4), (96, 96, 3), (64, 96, 2)])
def test_groups_of_whole_words(planes: tuple[int, ...], channels: int, outputs: int, groups: int) -> None:
    case = Case(planes, channels, outputs, (4, 5), Window((3, 3), pads=(1, 1, 1, 1)), groups, 0, "bit", 7, Halo())
    check_sums(case, native_machine(), run_native)
    check_step(case, MACHINES[4], run_native, BIT, 1)


@pytest.mark.parametrize("planes", [BIT, TRIT])
@pytest.mark.parametrize("lanes", [4, 8])
@pytest.mark.parametrize("where", [[0], [70], [150], [40, 100], [0, 150]])
def test_few_zeros_cost_a_mask_only_in_their_blocks(planes: tuple[int, ...], lanes: int, where: list[int]) -> None:
    rng = np.random.default_rng(0)
    window, image = Window((3, 3)), Packed(40, 4, 4, planes)
    output = Elements(152, 2, 2, I32)
    x = values_of(planes, (40, 4, 4), rng)
    signs = weights_of("bit", (152, 40, 3, 3), rng)
    weights = signs.copy()
    weights[where, 3, 1, 1] = 0
    functions = [
        popcount_conv("conv", image, w, window, StoreSums(output), MACHINES[lanes])
        for w in (weights, signs, np.where(np.arange(152)[:, None, None, None] % 2, signs, 0))
    ]
    few, none, many = (constant_bytes(function) for function in functions)
    assert none < few <= many
    if len(where) == 1:
        assert few < none * 1.5
    assert np.array_equal(take(output, run_native(functions[0], [put(image, x)])), convolve(x, weights, window, 1, 0))


def constant_bytes(function: Function) -> int:
    entry = Program("net", (function,), function, (), (), 0)
    return sum(buffer.bytes for buffer in entry.constants() if "weights" in buffer.name)
