"""Networks as nobody would design them, but as training and conversion leave them: their C is as good as any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bnnc.backends.c import Backend
from bnnc.diagnostics import BnncError
from bnnc.ir import bit, fixed, move
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.types import Bit, Fix, Int
from tests.c_code import SANITIZERS, build, needs_gcc, run


def passes(module: Module, machine: str, folder: Path, **options: object) -> None:
    """The self-test compiles without a warning, and passes under the sanitizers."""
    files = Backend().emit(module, Backend.Options(machine=machine, name="net", **options)).files
    code, said = run(build(files, folder, "-O1", *SANITIZERS, "-Wno-sign-conversion"))
    assert code == 0, said


@needs_gcc
@pytest.mark.parametrize("machine", ["generic-c", "cortex-m55"])
def test_a_layer_of_which_every_neuron_is_constant(machine: str, tmp_path: Path) -> None:
    x = Input("x", Bit(), (40,))
    dense = bit.Dense(x, np.ones((3, 40), np.int8))
    step = bit.Step(dense, np.full((1, 1), -60, np.int32), np.array([[-1, -1]], np.int32), Bit())
    passes(Module("net", (x,), (Output("y", step, "int32"),)), machine, tmp_path)


@needs_gcc
@pytest.mark.parametrize("name", ["string", "stdint", "Math", "STDIO"])
def test_a_network_called_like_a_header_does_not_take_its_place(name: str, tmp_path: Path) -> None:
    """Builds put the folder of NAME.h before the library's, and some disks know no capitals."""
    x = Input("x", Bit(), (9,))
    module = Module(name, (x,), (Output("y", bit.Dense(x, np.ones((2, 9), np.int8)), "int32"),))
    files = Backend().emit(module, Backend.Options()).files
    assert f"{name}_net.h" in files
    assert run(build(files, tmp_path, "-O0", "-I", str(tmp_path)))[0] == 0


@needs_gcc
def test_outputs_in_fixed_point_are_tested_as_the_integers_that_they_are(tmp_path: Path) -> None:
    x = Input("x", Bit(), (40,))
    dense = bit.Dense(x, np.where(np.arange(120).reshape(3, 40) % 3, 1, -1).astype(np.int8))
    kind = Fix(3, 29)
    slopes = np.array([[3], [5], [7]], np.int32) * np.int32((1 << 20) + 1)  # more bits than a float holds
    stream = fixed.Map(dense, np.empty((3, 0), np.int32), slopes, np.ones((3, 1), np.int64), 0, kind)
    passes(Module("net", (x,), (Output("y", stream, "float32"),)), "cortex-m0", tmp_path)


@needs_gcc
@pytest.mark.parametrize("layout", ["chw", "hwc"])
def test_rows_of_a_model_that_turns_its_input_itself(layout: str, tmp_path: Path) -> None:
    """As nets from Keras do: their input has its channels last, whatever the option says."""
    rng = np.random.default_rng(0)
    x = Input("x", Int(0, 255), (9, 7, 3))
    image = move.Transpose(x, (2, 0, 1))
    conv = bit.Conv(image, rng.choice([-1, 1], (5, 3, 3, 3)).astype(np.int8), (1, 1), (1, 1, 1, 1), (1, 1))
    step = bit.Step(conv, np.zeros((1, 1), np.int32), np.array([[-1, 1]], np.int32), Bit())
    again = bit.Conv(step, rng.choice([-1, 1], (4, 5, 3, 3)).astype(np.int8), (2, 2), (0, 0, 0, 0), (1, 1))
    module = Module("net", (x,), (Output("y", again, "int32"),))
    passes(module, "cortex-m4", tmp_path, input_layout=layout)
    header = (tmp_path / "net.h").read_text()
    assert "[height][width][channel]" in header
    for axis, size in (("HEIGHT", 9), ("WIDTH", 7), ("CHANNELS", 3)):
        assert f"#define NET_INPUT_{axis} {size}u" in header


def test_a_board_that_there_is_not_is_named_when_code_is_made() -> None:
    x = Input("x", Bit(), (9,))
    module = Module("net", (x,), (Output("y", bit.Dense(x, np.ones((2, 9), np.int8)), "int32"),))
    with pytest.raises(BnncError, match="no board `mikrobit`"):
        Backend().emit(module, Backend.Options(machine="cortex-m0", board="mikrobit"))
