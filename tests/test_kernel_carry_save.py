"""Bits added by carry-save adders, in bytes and in words: the interpreter's bits, and C's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnnc.backends.c import Backend
from bnnc.ir import bit
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import Bit
from bnnc.loops.lower.network import Lowered, lower
from bnnc.loops.machine import CONTROLLERS
from tests import c_code
from tests.geometry import Geometry, geometries
from tests.test_kernel_rows import agree, steps

AVR, M0 = (next(m for m in CONTROLLERS if m.name == name) for name in ("avr", "cortex-m0"))


def layer(
    rng: np.random.Generator,
    channels: tuple[int, int],
    size: tuple[int, int],
    kernel: tuple[int, int],
    *,
    stride: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilation: int = 1,
    pad_value: int = -1,
    sums: bool = False,
) -> Module:
    """A convolution, and its step unless its sums are wanted."""
    inputs, outputs = channels
    weights = rng.choice([-1, 1], (outputs, inputs, *kernel)).astype(np.int8)
    x = Input("x", Bit(), (inputs, *size))
    value: Op = bit.Conv(x, weights, stride, pads, (1, dilation), 1, pad_value)
    if not sums:
        value = bit.Step(value, *steps(rng, outputs, 6), Bit())
    return Module("net", (x,), (Output("y", value, "int32" if sums else "int8"),))


def counted(lowered: Lowered) -> bool:
    """Whether the layer was done by the kernel that is tested."""
    return any("carries saved" in function.comment for function in lowered.program.functions)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    channels=st.sampled_from([(1, 9), (5, 33), (32, 32), (40, 64), (70, 8), (9, 1), (33, 40), (100, 7)]),
    window=geometries(dilation=(1, 2)),
    pad_value=st.sampled_from([-1, 0, 1]),
    machine=st.sampled_from([AVR, M0]),
    sums=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_any_shape_stride_padding_and_dilation(
    channels: tuple[int, int],
    window: Geometry,
    pad_value: int,
    machine: object,
    sums: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    module = layer(
        rng,
        channels,
        window.size,
        window.kernel,
        stride=window.stride,
        pads=window.pads,
        dilation=window.dilation[1],
        pad_value=pad_value,
        sums=sums,
    )
    agree(module, lower(module, machine), rng.choice([-1, 1], (2, channels[0], *window.size)))  # type: ignore[arg-type]


@pytest.mark.parametrize("machine", [AVR, M0], ids=lambda machine: str(machine.name))
@pytest.mark.parametrize("inputs", [31, 64, 127, 256, 257, 520, 2100])
def test_dense_layers_of_any_length(inputs: int, machine: object) -> None:
    """From a part of a round to so many rounds that a byte does not hold their counts; all bits differ, and none."""
    rng = np.random.default_rng(inputs)
    module = layer(rng, (inputs, 5), (1, 1), (1, 1), sums=True)
    lowered = lower(module, machine)  # type: ignore[arg-type]
    assert counted(lowered) == (inputs > 32 or machine is AVR)
    values = rng.choice([-1, 1], (4, inputs, 1, 1))
    conv = module.outputs[0].value
    assert isinstance(conv, bit.Conv)
    values[0], values[1] = conv.weights[0], -conv.weights[0]
    agree(module, lowered, values)


@c_code.needs_gcc
@pytest.mark.parametrize("machine", ["avr", "cortex-m0", "rv32imac"])
@pytest.mark.parametrize("sums", [False, True])
def test_c_is_right_without_warnings_and_undefined_behaviour(machine: str, sums: bool, tmp_path: Path) -> None:
    module = layer(
        np.random.default_rng(3), (40, 7), (4, 5), (3, 3), pads=(1, 1, 1, 1), stride=(2, 1), pad_value=0, sums=sums
    )
    files = Backend().emit(module, Backend.Options(machine=machine, name="net")).files
    assert b"carries saved" in files["net.c"]
    code, said = c_code.run(c_code.build(files, tmp_path, "-O1", *c_code.SANITIZERS))
    assert code == 0, said


def test_tables_of_bytes_stay_in_program_memory() -> None:
    """On AVR a table that is passed by pointer would be copied into RAM."""
    module = layer(np.random.default_rng(4), (64, 40), (3, 3), (3, 3), pads=(1, 1, 1, 1), pad_value=0)
    source = Backend().emit(module, Backend.Options(machine="avr", name="net")).files["net.c"].decode()
    tables = [line for line in source.splitlines() if line.startswith("static const ")]
    assert len(tables) >= 4
    assert all("BNNC_ROM" in line for line in tables)


@pytest.mark.parametrize("machine", [AVR, M0], ids=lambda machine: str(machine.name))
@pytest.mark.parametrize("channels", [1, 2, 3, 5, 12])
def test_taps_of_few_channels_share_a_unit(channels: int, machine: object) -> None:
    """A window of 5x5 takes no more bits than there are, up to a power of two for each tap."""
    rng = np.random.default_rng(channels)
    module = layer(rng, (channels, 6), (6, 7), (5, 5), stride=(1, 2), pads=(1, 2, 0, 1), sums=True)
    lowered = lower(module, machine, {"conv": "carry-save"})  # type: ignore[arg-type]
    weights = [buffer for buffer in lowered.program.constants() if buffer.name.endswith("_weights")]
    slots = 25 * (1 << (channels - 1).bit_length())
    assert weights[0].bytes <= 6 * (slots // 8 + 4)
    agree(module, lowered, rng.choice([-1, 1], (2, channels, 6, 7)))


def test_few_outputs_of_few_bits_do_not_take_whole_words_of_outputs() -> None:
    """Six outputs are too few for rows of 32, and a kernel that packs 32 outputs a word would make all 32."""
    lowered = lower(layer(np.random.default_rng(0), (8, 6), (6, 6), (3, 3), pads=(1, 1, 1, 1)), M0)
    assert counted(lowered)
