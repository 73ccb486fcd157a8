"""LLVM output: equal programs print equally, constants and comments are there, and every machine gets an object."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bnnc.backends.llvm import codegen
from bnnc.backends.llvm.host import machine_named, native_machine
from bnnc.backends.llvm.jit import JitProgram, aligned
from bnnc.backends.llvm.printer import print_llvm
from bnnc.backends.llvm.roofline import ROUNDS, Roofline, roofline_function
from bnnc.diagnostics import BnncError
from bnnc.loops.ir import Program
from bnnc.loops.kernels.epilogue import StepToPlanes
from bnnc.loops.kernels.popcount import popcount_conv
from bnnc.loops.kernels.tiling import Window
from bnnc.loops.layout import Halo, Packed
from bnnc.loops.machine import MACHINES, Machine, machine_for
from tests.kernels import program_of

BIT = (0,)


def small_network(machine: Machine) -> Program:
    """One 3x3 convolution on 6x6x40 with zero padding, stepped to bits."""
    rng = np.random.default_rng(5)
    weights = rng.choice([-1, 1], (50, 40, 3, 3))
    image, output = Packed(40, 6, 6, BIT, Halo(1, 1, 1, 1, -1)), Packed(50, 6, 6, BIT)
    step = StepToPlanes(output, rng.integers(-9, 9, (50, 1)), np.array([[-1, 1]]))
    window = Window((3, 3), pads=(1, 1, 1, 1))
    return program_of(popcount_conv("conv1", image, weights, window, step, machine, halo_value=-1))


def input_of(program: Program) -> np.ndarray:
    return np.random.default_rng(1).integers(-(2**31), 2**31, program.inputs[0].length, dtype=np.int32)


@pytest.mark.parametrize("embed", [True, False])
@pytest.mark.parametrize("bench", [True, False])
def test_equal_programs_print_equally(embed: bool, bench: bool) -> None:
    machine = machine_for("znver5")
    first, second = (print_llvm(small_network(machine), embed, bench) for _ in range(2))
    assert first == second


def test_the_text_names_layers_and_promises_no_overlap() -> None:
    text = print_llvm(small_network(machine_for("znver5")))
    assert "50 outputs, window (3, 3) on 40 channels" in text
    assert "define i32 @test_run(ptr noalias readonly" in text
    assert "fast" not in text
    assert "contract" not in text
    assert "alloca" not in text


@pytest.mark.parametrize("machine", [m.name for m in MACHINES if m.triple])
def test_every_machine_gets_an_object(machine: str) -> None:
    chosen = machine_for(machine)
    compiled = codegen.emit_object(print_llvm(small_network(chosen)), chosen)
    magic = b"\0asm" if machine == "wasm32" else b"\x7fELF"
    assert compiled.startswith(magic)
    assert compiled == codegen.emit_object(print_llvm(small_network(chosen)), chosen)


def test_vector_popcount_is_one_instruction_where_there_is_one() -> None:
    for name, instruction in (("znver4", "vpopcntd"), ("icelake", "vpopcntd"), ("aarch64", "cnt\tv")):
        machine = machine_for(name)
        assert instruction in codegen.emit_assembly(print_llvm(small_network(machine)), machine), name


@pytest.mark.parametrize("lanes", [1, 4, 8])
def test_programs_for_narrower_machines_run_here_with_equal_bits(lanes: int) -> None:
    wide, narrow = (
        small_network(machine)
        for machine in (native_machine(), Machine("m", "", "", vector_bits=32 * lanes if lanes > 1 else 0))
    )
    x = input_of(wide)
    first, second = (JitProgram(program, native_machine())([x], 1)[0] for program in (wide, narrow))
    assert np.array_equal(first, second)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler to link")
def test_an_object_with_embedded_constants_links_and_agrees_with_the_jit(tmp_path: Path) -> None:
    machine = native_machine()
    program = small_network(machine)
    (tmp_path / "net.o").write_bytes(codegen.emit_object(print_llvm(program), machine))
    subprocess.run(["cc", "-shared", "-o", tmp_path / "net.so", tmp_path / "net.o"], check=True)
    run = ctypes.CDLL(str(tmp_path / "net.so")).test_run
    run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p]
    x = input_of(program)
    y, arena = aligned(program.outputs[0].length, np.int32), aligned(64)
    assert run(x.ctypes.data, y.ctypes.data, 1, arena.ctypes.data) == 0
    assert np.array_equal(y, JitProgram(program, machine)([x], 1)[0])


def test_threads_may_call_one_program_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    program = small_network(native_machine())
    jit, x = JitProgram(program, native_machine()), input_of(program)
    wanted = jit([x], 1)[0]
    with ThreadPoolExecutor(4) as pool:
        assert all(np.array_equal(got, wanted) for got in pool.map(lambda _: jit([x], 1)[0], range(50)))


def test_an_unknown_machine_is_named_with_the_known_ones() -> None:
    with pytest.raises(BnncError) as caught:
        machine_named("pdp-11")
    assert "pdp-11" in caught.value.diagnostics[0].message
    assert "znver5" in caught.value.diagnostics[0].helps[0]


def test_the_roofline_loop_keeps_all_its_work() -> None:
    machine = machine_for("znver5")
    function, bit_macs = roofline_function(machine)
    assembly = codegen.emit_assembly(print_llvm(program_of(function)), machine)
    loop = assembly[assembly.index(".LBB0_1:") : assembly.index("\tjb\t")]
    assert loop.count("vpopcntd") == loop.count("vpaddd") == 24
    assert bit_macs == ROUNDS * 24 * 512
    assert Roofline(native_machine()).rate(1) > 1e9
