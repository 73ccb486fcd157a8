"""Every compiler takes the generated code without a warning, and whatever things are called, it is C."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnnc.backends.c import Backend
from bnnc.backends.c.boards.choice import compiler_for
from bnnc.backends.c.boards.table import BOARDS, Board
from bnnc.backends.c.host import STRICT
from bnnc.backends.c.names import RESERVED
from bnnc.diagnostics import BnncError
from bnnc.ir import bit
from bnnc.ir.location import Location
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.types import Bit
from tests.c_code import SANITIZERS, needs_gcc, prefix_of, run
from tests.cli import EXAMPLE, bnnc
from tests.test_c_artifact import signs, small

CROSS = list({board.machine: board for board in reversed(BOARDS) if not board.named_only}.values())
COMPILERS = {"gcc": ["gcc"], "clang": ["clang"], "zig": [sys.executable, "-m", "ziglang", "cc"]}


def written(files: dict[str, bytes], folder: Path) -> list[str]:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [name for name in files if name.endswith(".c")]


def compiled(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]


@pytest.mark.parametrize("machine", ["generic-c", "cortex-m55", "avr"])
@pytest.mark.parametrize("compiler", list(COMPILERS))
def test_compilers_of_this_computer_take_it_and_the_self_test_passes(
    compiler: str, machine: str, tmp_path: Path
) -> None:
    if compiler == "zig":
        pytest.importorskip("ziglang", reason="needs ziglang")
    elif shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    files = dict(Backend().emit(small(), Backend.Options(machine=machine)).files)
    sources = written(files, tmp_path)
    compiled([*COMPILERS[compiler], *STRICT, "-Werror", "-O2", "-o", "selftest", *sources, "-lm"], tmp_path)
    code, text = run(tmp_path / "selftest")
    assert (code, text[:7]) == (0, "net: ok"), text


@needs_gcc
@pytest.mark.parametrize("machine", ["cortex-m0", "cortex-m55", "rv32imac_zbb"])
def test_sanitizers_find_nothing(machine: str, tmp_path: Path) -> None:
    files = dict(Backend().emit(small(padding=-1), Backend.Options(machine=machine)).files)
    sources = written(files, tmp_path)
    compiled(["gcc", "-std=c99", "-O0", *SANITIZERS, "-o", "selftest", *sources, "-lm"], tmp_path)
    code, text = run(tmp_path / "selftest")
    assert code == 0, text


@pytest.mark.parametrize("board", CROSS, ids=lambda board: board.machine)
def test_the_compiler_of_the_machine_has_no_warning(board: Board, tmp_path: Path) -> None:
    """The same strict flags, with the flags of the processor."""
    toolchain = compiler_for(board)
    if toolchain is None or not toolchain.program:
        pytest.skip(f"needs {board.toolchains[0].program}")
    files = dict(Backend().emit(small(), Backend.Options(machine=board.machine)).files)
    support = Path(sys.modules["bnnc.backends.c.boards"].__path__[0]) / "support" / "include"
    for source in written(files, tmp_path):
        command = [toolchain.program, *board.flags, *STRICT, "-Werror", "-O2", "-ffreestanding", "-DBNNC_NO_MAIN"]
        compiled([*command, "-idirafter", str(support), "-c", source], tmp_path)


def _without_checksum(files: dict[str, bytes]) -> dict[str, bytes]:
    name = f"{prefix_of(files)}_selftest.c"
    text = re.sub(r"if \(\w+_checksum\(\) != ", "if (0u != 0u * ", files[name].decode())
    return {**files, name: text.encode()}


@needs_gcc
@pytest.mark.parametrize("machine", ["generic-c", "cortex-m4"])
def test_the_golden_vectors_alone_find_other_thresholds(machine: str, tmp_path: Path) -> None:
    """Each neuron's threshold, one or two higher: a vector shows it for nearly all of them."""
    module = small()
    files = _without_checksum(dict(Backend().emit(module, Backend.Options(machine=machine)).files))
    seen = 0
    steps = [op for op in module.ops() if isinstance(op, bit.Step)]
    rng = np.random.default_rng(0)
    tried = [(step, int(rng.integers(step.type.shape[0]))) for step in steps for _ in range(4)]
    for step, neuron in tried:
        limits = step.thresholds.copy()
        limits[neuron] += 2
        other = _replaced(module, step, dataclasses.replace(step, thresholds=limits))
        wrong = dict(Backend().emit(other, Backend.Options(machine=machine)).files)
        sources = written({**wrong, "net_selftest.c": files["net_selftest.c"]}, tmp_path)
        compiled(["gcc", "-std=c99", "-O0", "-o", "selftest", *sources, "-lm"], tmp_path)
        seen += run(tmp_path / "selftest")[0] == 1
    assert seen >= len(tried) - 1


def _replaced(module: Module, old: bit.Step, new: bit.Step) -> Module:
    from bnnc.ir.rewrite import replace

    return replace(module, {old: new})


_NAMES = st.one_of(
    st.text(max_size=60),
    st.sampled_from(sorted(RESERVED)),
    st.sampled_from(["*/ int x; /*", "??/", 'a"b\nc', "\\", "//", "%s%n", "#define x", "a" * 300, "net_run", "", "_"]),
)


@needs_gcc
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    module=_NAMES,
    layers=st.tuples(_NAMES, _NAMES, _NAMES),
    ends=st.lists(_NAMES.filter(bool), min_size=3, max_size=3, unique=True),
    named=_NAMES,
    source=_NAMES,
    machine=st.sampled_from(["generic-c", "cortex-m0", "avr"]),
    way=st.sampled_from([{}, {"split": True}, {"single_header": True}]),
)
def test_no_name_breaks_the_code(
    tmp_path_factory: pytest.TempPathFactory,
    module: str,
    layers: tuple[str, str, str],
    ends: list[str],
    named: str,
    source: str,
    machine: str,
    way: dict[str, bool],
) -> None:
    """Names of the model, its layers, its inputs and outputs, and of `-X name`, with and against each other."""
    rng = np.random.default_rng(1)
    a, b = (Input(name, Bit(), (20,), loc=Location(layers[0])) for name in ends[:2])
    both = bit.Dense(a, rng.choice([-1, 1], (9, 20)).astype(np.int8), loc=Location(layers[1]))
    step = bit.Step(both, rng.integers(-3, 3, (9, 1)).astype(np.int32), signs(9), Bit(), loc=Location(layers[2]))
    other = bit.Dense(b, rng.choice([-1, 1], (9, 20)).astype(np.int8), loc=Location(layers[1]))
    outputs = (Output(ends[2], step, "int8"), Output(ends[0], other, "int32"))
    net = Module(module, (a, b), outputs, facts=(("source", source),))
    folder = tmp_path_factory.mktemp("names")
    options = Backend.Options(machine=machine, name=named, **way)
    files = dict(Backend().emit(net, options).files)
    assert all(re.fullmatch(r"\w+\.\w+", file, re.ASCII) for file in files)
    sources = written(files, folder)
    compiled(["gcc", *STRICT, "-Werror", "-Wno-unused-function", "-fsyntax-only", *sources], folder)
    header = next(name for name in files if name.endswith(".h"))
    (folder / "main.cpp").write_text(f'#include "{header}"\nint main() {{ return 0; }}\n')
    if shutil.which("g++"):
        compiled(["g++", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "main.cpp"], folder)


def test_an_operation_without_a_kernel_is_named() -> None:
    """Windows over three axes: a diagnostic that names the layer, not broken C."""
    x = Input("x", Bit(), (2, 4, 4, 4))
    weights = np.ones((3, 2, 2, 2, 2), np.int8)
    conv = bit.Conv(x, weights, (1, 1, 1), (0,) * 6, (1, 1, 1), loc=Location("volume"))
    with pytest.raises(BnncError) as caught:
        Backend().emit(Module("net", (x,), (Output("y", conv),)), Backend.Options())
    (diagnostic,) = caught.value.diagnostics
    assert "volume" in str(diagnostic)


def test_a_budget_that_is_missed_is_exit_3_and_names_the_figure(tmp_path: Path) -> None:
    words = ("emit", str(EXAMPLE / "model.onnx"), "--pixels", "1/255", "--target", "c", "-o", str(tmp_path / "out"))
    for option in ("--max-ram", "--max-flash"):
        done = bnnc(*words, option, "100")
        assert done.code == 3, done.err
        assert "B0701" in done.err
        assert option in done.err
        assert not os.path.exists(tmp_path / "out")
