"""Small modules of the library proven by the SAT solver of yosys: the emitted text, with parameters of this circuit."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnnc.backends.verilog import synthesis
from bnnc.backends.verilog.proof.harness import TOP, Flow, Parameters, Unit, text_of
from bnnc.backends.verilog.proof.small import flows_of
from bnnc.backends.verilog.proof.top import read_top
from bnnc.backends.verilog.proof.units import units_of
from bnnc.backends.verilog.proof.unrolled import Refuted

EACH = 10.0
"""Seconds that one block may take."""
_INSTANCE = re.compile(r"\bbnnc_\w+")
_REFUTED, _GIVEN_UP = "proof did fail", "proof did time out"


@dataclass(frozen=True)
class Block:
    """A module to be proven, and what it should do. instance: the parameters of the circuit that these stand for."""

    spec: Flow | Unit
    instance: Parameters

    @property
    def module(self) -> str:
        """Its name."""
        return self.spec.module

    @property
    def title(self) -> str:
        """Name and parameters."""
        return f"{self.module}({', '.join(f'{k}={v}' for k, v in self.spec.parameters.items() if isinstance(v, int))})"

    @property
    def smaller(self) -> bool:
        """Whether the circuit has it larger than it is proven."""
        return any(
            self.instance[name] != value for name, value in self.spec.parameters.items() if name in self.instance
        )


@dataclass(frozen=True)
class Checked:
    """A block, and whether it was proven in the time there was."""

    block: Block
    proven: bool
    seconds: float

    def document(self) -> dict[str, Any]:
        """The entry of the certificate."""
        spec = self.block.spec
        found: dict[str, Any] = {
            "module": self.block.module,
            "parameters": {name: value for name, value in spec.parameters.items() if isinstance(value, int)},
            "cycles": spec.cycles,
            "result": "proven" if self.proven else "given up: the time was over",
        }
        if self.block.smaller:
            found["smaller_than"] = {name: v for name, v in self.block.instance.items() if isinstance(v, int)}
        return found


@dataclass(frozen=True)
class Blocks:
    """What was found. tool: yosys and its version; "" where there is none."""

    tool: str
    found: tuple[Checked, ...]


def blocks_of(name: str, files: Mapping[str, str]) -> list[Block]:
    """The blocks of a circuit, each once: every module of its top, and the units in it."""
    found: dict[str, Block] = {}
    for placed in read_top(files[f"rtl/{name}.v"]).engines:
        numbers = {key: value for key, value in placed.parameters.items() if isinstance(value, int)}
        blocks = [Block(unit, {}) for unit in units_of(placed.module, numbers)]
        blocks += [Block(flow, numbers) for flow in flows_of(placed.module, numbers)]
        for block in blocks:
            found.setdefault(block.title, block)
    return sorted(found.values(), key=lambda block: (block.spec.cycles, block.title))


def proven_blocks(blocks: list[Block], files: Mapping[str, str], seconds: float) -> Blocks:
    """Proves blocks of the emitted rtl/. Raises Refuted for one that does not do what it should."""
    command = synthesis.yosys_command()
    if command is None or not blocks:
        return Blocks("" if command is None else version(command), ())
    found: list[Checked] = []
    started = time.perf_counter()
    for block in blocks:
        left = min(EACH, seconds - (time.perf_counter() - started))
        begun = time.perf_counter()
        proven = left > 0.5 and proof_of(block.spec, files, command, left)
        found.append(Checked(block, proven, time.perf_counter() - begun))
    return Blocks(version(command), tuple(found))


def proof_of(spec: Flow | Unit, files: Mapping[str, str], command: list[str], seconds: float) -> bool:
    """Whether the module of rtl/ was proven in that time. Raises Refuted where it does something else."""
    sources = _sources(spec.module, files)
    with tempfile.TemporaryDirectory(prefix="bnnc-proof-") as name:
        folder = Path(name)
        for path, text in {**sources, f"{TOP}.v": text_of(spec), **spec.memories}.items():
            (folder / path).write_text(text, encoding="utf-8")
        resets = " ".join(f"-set-at {cycle} rst {int(cycle == 1)}" for cycle in range(1, spec.cycles + 1))
        script = (
            f"read_verilog -defer {' '.join(sources)} {TOP}.v; hierarchy -top {TOP}; proc; "
            "setattr -mod -unset keep_hierarchy A:keep_hierarchy; flatten; opt -fast; memory -nomap; memory_map; "
            "opt -fast; "
            f"sat -seq {spec.cycles} {resets} -prove wrong 0 -timeout {max(1, int(seconds))} -verify {TOP}"
        )
        try:
            done = subprocess.run(
                [*command, script], cwd=folder, capture_output=True, text=True, check=False, timeout=seconds + 5
            )
        except subprocess.TimeoutExpired:
            return False
    said = done.stdout + done.stderr
    if not done.returncode:
        return True
    if _GIVEN_UP in said:
        return False
    parameters = ", ".join(f"{name}={value}" for name, value in spec.parameters.items())
    if _REFUTED in said:
        raise Refuted(spec.module, f"with {parameters} it does not do what the head of its file says (yosys sat)")
    lines = [line for line in said.splitlines() if "ERROR" in line] or said.splitlines()[-3:]
    raise Refuted(spec.module, f"yosys does not take it, with {parameters}: {' '.join(lines)[:300]}")


def _sources(module: str, files: Mapping[str, str]) -> dict[str, str]:
    """The files of a module and of those that it has inside, by name. Raises Refuted where one is missing."""
    found: dict[str, str] = {}
    wanted = [module]
    while wanted:
        name = wanted.pop()
        if f"{name}.v" in found:
            continue
        text = files.get(f"rtl/{name}.v")
        if text is None:
            raise Refuted(module, f"there is no file rtl/{name}.v")
        found[f"{name}.v"] = text
        code = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)
        wanted += [other for other in sorted(set(_INSTANCE.findall(code))) if other != name]
    return dict(sorted(found.items()))


def version(command: list[str]) -> str:
    """yosys and its version, as it names itself."""
    if len(command) == 3 and command[1] == "-c":
        return f"pyosys {importlib.metadata.version('pyosys')}"
    done = subprocess.run([command[0], "-V"], capture_output=True, text=True, check=False)
    match = re.search(r"Yosys\s+([\w.+-]+)", done.stdout)
    return f"yosys {match[1]}" if match else "yosys"


__all__ = ["Block", "Blocks", "Checked", "blocks_of", "proof_of", "proven_blocks"]
