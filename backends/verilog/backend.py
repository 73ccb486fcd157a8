"""What the Verilog target offers: circuits in plain Verilog-2005, and their simulation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from bnnc.backends.verilog import simulators
from bnnc.backends.verilog.boundary import boundary_of
from bnnc.backends.verilog.cycles import slowest
from bnnc.backends.verilog.host import Compiled
from bnnc.backends.verilog.layers import given_folding
from bnnc.backends.verilog.makefile import makefile_text
from bnnc.backends.verilog.package import Package, bench_files, circuit_files, golden_files
from bnnc.backends.verilog.planner import layers_of, plan
from bnnc.backends.verilog.report import report, report_text
from bnnc.ir.module import Module
from bnnc.protocols import API_VERSION, Artifact


@dataclass(frozen=True)
class VerilogOptions:
    """The options of this target."""

    pe: str = field(default="", metadata={"help": "outputs of each layer that are worked on at once: 16,8,8,10"})
    simd: str = field(default="", metadata={"help": "inputs of each layer that are read in a cycle: 49,16,8,8"})
    simulator: Literal["auto", "verilator", "iverilog"] = field(
        default="auto", metadata={"help": "what runs the circuit for `run` and `check`"}
    )


class Backend:
    """Verilog for FPGAs."""

    name: ClassVar[str] = "verilog"
    summary: ClassVar[str] = "Verilog-2005 for any FPGA: streaming engines, self-checking testbench, no vendor's tools"
    api: ClassVar[int] = API_VERSION
    level: ClassVar[str] = "bit"
    machines: ClassVar[tuple[str, ...]] = ()
    tools: ClassVar[tuple[str, ...]] = ()
    Options: ClassVar[type[Any]] = VerilogOptions

    def emit(self, module: Module, options: VerilogOptions) -> Artifact:
        """`rtl/`, `mem/`, `tb/`, Makefile and report.json. Raises BnncError B0620 to B0622."""
        package = packaged(module, options)
        document = report(package)
        files = {
            **circuit_files(package),
            **bench_files(package),
            **golden_files(package),
            "Makefile": makefile_text(package.design, package.made_by),
            "report.json": report_text(document),
        }
        facts = {
            "top": package.design.name,
            "weight_bytes": -(-document["memory_bits"] // 8),
            "cycles": _cycles(package),
        }
        return Artifact({name: text.encode() for name, text in files.items()}, facts)

    def build(self, module: Module, options: VerilogOptions) -> Artifact:
        """The source package: a bitstream is made by the tools of an FPGA."""
        return self.emit(module, options)

    def load(self, module: Module, options: VerilogOptions) -> Compiled:
        """The circuit in a simulator. Raises BnncError B0602 where there is none."""
        tools = simulators.found(options.simulator)
        package = packaged(module, options)
        return Compiled(package, tools, _cycles(package))


def packaged(module: Module, options: VerilogOptions) -> Package:
    """The planned circuit of a «bit» module."""
    boundary = boundary_of(module)
    folding = given_folding(layers_of(boundary), options.pe, options.simd)
    return Package(boundary, plan(boundary, folding))


def _cycles(package: Package) -> int:
    """The cycles of the slowest layer."""
    return max((cycles for _, cycles in slowest(package.design)), default=package.design.inputs[0].beats)


__all__ = ["Backend", "VerilogOptions", "packaged"]
