"""Rows of weights added with vectors: the interpreter's bits, C without vectors, C on an emulated Cortex-M55."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bnnc.backends.c import Backend
from bnnc.backends.c.boards import Emulated, missing
from bnnc.ir import bit
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.types import Bit
from bnnc.loops.ir import I32, Gather, Vector, expressions_of, nodes_of, statements_of
from bnnc.loops.lower.network import lower
from bnnc.loops.machine import CONTROLLERS
from bnnc.reference.run import run
from tests import c_code
from tests.cycle_counts import compiler, hold
from tests.geometry import Geometry, geometries
from tests.test_kernel_rows import agree, steps

M55 = next(m for m in CONTROLLERS if m.name == "cortex-m55")
needs_m55 = pytest.mark.skipif(bool(missing("cortex-m55")), reason="needs gcc-arm-none-eabi and qemu-system-arm")


def network(
    channels: tuple[int, int],
    size: tuple[int, int],
    kernel: tuple[int, int],
    *,
    stride: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    pad_value: int = -1,
    seed: int = 0,
) -> Module:
    """One convolution and its step."""
    rng = np.random.default_rng(seed)
    inputs, outputs = channels
    weights = rng.choice([-1, 1], (outputs, inputs, *kernel)).astype(np.int8)
    x = Input("x", Bit(), (inputs, *size))
    conv = bit.Conv(x, weights, stride, pads, (1, 1), 1, pad_value)
    return Module("net", (x,), (Output("y", bit.Step(conv, *steps(rng, outputs, 6), Bit()), "int8"),))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    channels=st.sampled_from([(1, 9), (5, 33), (32, 128), (40, 64), (70, 8), (33, 130), (6, 260), (9, 96)]),
    window=geometries(),
    pad_value=st.sampled_from([-1, 0, 1]),
    density=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    seed=st.integers(0, 2**31),
)
# What fills a list up once met the next list.
@example((5, 33), Geometry((1, 1), (2, 1), pads=(1, 0, 2, 1)), -1, 0.5, 0)
def test_any_shape_padding_and_density(
    channels: tuple[int, int],
    window: Geometry,
    pad_value: int,
    density: float,
    seed: int,
) -> None:
    module = network(
        channels, window.size, window.kernel, stride=window.stride, pads=window.pads, pad_value=pad_value, seed=seed
    )
    lowered = lower(module, M55)
    assert any("four words at a time" in function.comment for function in lowered.program.functions)
    rng = np.random.default_rng(seed)
    agree(module, lowered, np.where(rng.random((2, channels[0], *window.size)) < density, 1, -1))


@pytest.mark.parametrize("shape", [(1, 8), (31, 40), (256, 256), (1000, 130)])
def test_dense(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape[0])
    x = Input("x", Bit(), (shape[0],))
    dense = bit.Dense(x, rng.choice([-1, 1], (shape[1], shape[0])).astype(np.int8))
    module = Module("net", (x,), (Output("y", bit.Step(dense, *steps(rng, shape[1], 20), Bit()), "int8"),))
    shares = np.array([0.0, 0.2, 0.5, 0.8, 1.0])[:, None]
    agree(module, lower(module, M55), np.where(rng.random((5, shape[0])) < shares, 1, -1))


def test_whole_vectors_are_loaded_and_words_are_gathered() -> None:
    """160 outputs: 128 in one vector a row, 32 in one vector for four rows."""
    program = lower(network((16, 160), (3, 3), (2, 2)), M55).program
    functions = {function.name.rsplit("_", 1)[-1]: function for function in program.functions}
    for name, gathers in (("vector", False), ("word", True)):
        roots = [root for s in statements_of(functions[name].body) for root in expressions_of(s)]
        nodes = [node for root in roots for node in nodes_of(root)]
        assert any(isinstance(node, Gather) for node in nodes) == gathers
        assert any(node.type == Vector(I32, 4) for node in nodes)


@c_code.needs_gcc
@pytest.mark.parametrize("shape", [((40, 64), (4, 5), (3, 3)), ((33, 164), (3, 3), (3, 2))])
def test_c_without_vectors_gives_the_same_bits(
    shape: tuple[tuple[int, int], tuple[int, int], tuple[int, int]], tmp_path: Path
) -> None:
    """Compilers for other processors take the lane by lane form, without a warning and without undefined behaviour."""
    module = network(*shape, pads=(1, 1, 1, 1))
    files = Backend().emit(module, Backend.Options(machine="cortex-m55", name="net")).files
    assert b"arm_mve.h" in files["net.c"]
    code, said = c_code.run(c_code.build(files, tmp_path, "-O0", *c_code.SANITIZERS))
    assert code == 0, said


@needs_m55
@pytest.mark.parametrize("shape", [((256, 256), (1, 1), (1, 1)), ((64, 64), (8, 8), (3, 3))], ids=["dense", "conv"])
def test_instructions_on_a_cortex_m55(
    shape: tuple[tuple[int, int], tuple[int, int], tuple[int, int]], request: pytest.FixtureRequest
) -> None:
    """Dense 256 to 256, and 3x3 on 8x8x64 to 64: 4.4 k and 160 k at most, and no more than there were."""
    pads = (1, 1, 1, 1) if shape[2] == (3, 3) else (0, 0, 0, 0)
    count = counted(network(*shape, pads=pads), request)
    assert count <= (160_000 if shape[2] == (3, 3) else 4_400)


@needs_m55
@pytest.mark.parametrize("pad_value", [-1, 0, 1])
def test_odd_sizes_on_a_cortex_m55(pad_value: int) -> None:
    counted(network((33, 164), (3, 4), (3, 2), pads=(1, 0, 1, 1), pad_value=pad_value))


def counted(module: Module, request: pytest.FixtureRequest | None = None) -> int:
    """Instructions of the layer on an emulated board, which finds the reference's bits."""
    values = np.random.default_rng(5).choice([-1, 1], (2, *module.inputs[0].type.shape)).astype(np.int8)
    files = Backend().emit(module, Backend.Options(machine="cortex-m55", name="net")).files
    counts, outputs = Emulated(files, "cortex-m55").count([values])
    assert np.array_equal(outputs[0].ravel(), run(module, {"x": values})["y"].ravel())
    layer = sum(c.count for c in counts.layers if "conv" in c.function or "dense" in c.function) // counts.samples
    if request is not None:
        hold(request.node.name, layer, compiler("arm-none-eabi-gcc"), request)
    return layer
