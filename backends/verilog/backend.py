"""What the Verilog target offers: circuits in plain Verilog-2005, and their simulation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from bnnc.backends.verilog import simulators
from bnnc.backends.verilog.boundary import boundary_of
from bnnc.backends.verilog.buffers import buffered
from bnnc.backends.verilog.cost import Cost, total
from bnnc.backends.verilog.cycles import Timing, slowest
from bnnc.backends.verilog.design import Folding
from bnnc.backends.verilog.devices import DEVICES, device_named
from bnnc.backends.verilog.estimate import estimate, table
from bnnc.backends.verilog.few_pins import few_pins_text
from bnnc.backends.verilog.floorplan import floorplan_text
from bnnc.backends.verilog.goals import Goals, chosen, plain, technology_of
from bnnc.backends.verilog.host import Compiled
from bnnc.backends.verilog.layers import given_folding, serial_layers
from bnnc.backends.verilog.makefile import makefile_text
from bnnc.backends.verilog.measured import measured
from bnnc.backends.verilog.package import Package, bench_files, circuit_files, golden_files
from bnnc.backends.verilog.plan_unrolled import Unrolling
from bnnc.backends.verilog.planner import layers_of, plan
from bnnc.backends.verilog.projects import project_files
from bnnc.backends.verilog.proof.certificate import certificate, certificate_text, summary
from bnnc.backends.verilog.report import report, report_text
from bnnc.backends.verilog.unrolled.technology import TECHNOLOGIES
from bnnc.diagnostics import Exit, error
from bnnc.ir.module import Module
from bnnc.protocols import API_VERSION, Artifact


@dataclass(frozen=True)
class VerilogOptions:
    """The options of this target."""

    pe: str = field(default="", metadata={"help": "outputs of each layer that are worked on at once: 16,8,8,10"})
    simd: str = field(default="", metadata={"help": "inputs of each layer that are read in a cycle: 49,16,8,8"})
    fps: float = field(
        default=0.0, metadata={"help": "samples a second to reach at `clock`, with the smallest circuit"}
    )
    clock: float = field(default=100.0, metadata={"help": "the clock in MHz that `fps` counts on"})
    device: str = field(default="", metadata={"help": "the chip to fit, as fast as it can: ecp5-25f, xc7a35t, …"})
    max_luts: int = field(default=0, metadata={"help": "the LUTs to fit into, as fast as it can"})
    max_brams: int = field(default=0, metadata={"help": "the block memories to fit into, as fast as it can"})
    unroll: str = field(
        default="", metadata={"help": "layers as netlists, a sample a cycle: all, or names or numbers of layers"}
    )
    serial: str = field(
        default="", metadata={"help": "integer layers bit by bit, smaller and slower: all, or names or numbers"}
    )
    technology: Literal["", "generic", "ecp5", "xc7"] = field(
        default="",
        metadata={"help": "the cells of unrolled layers: those of a family (else of the chip), or plain Verilog"},
    )
    levels: int = field(default=3, metadata={"help": "lookup tables between two registers of unrolled layers"})
    synth: Literal["", "ecp5", "ice40", "xc7"] = field(
        default="",
        metadata={"help": "run yosys, and nextpnr where there is one, and put what they find in report.json"},
    )
    simulator: Literal["auto", "verilator", "iverilog", "yosys"] = field(
        default="auto", metadata={"help": "what runs the circuit for `run` and `check`"}
    )


class Backend:
    """Verilog for FPGAs."""

    name: ClassVar[str] = "verilog"
    summary: ClassVar[str] = "Verilog-2005 for any FPGA: streaming engines, self-checking testbench, no vendor's tools"
    api: ClassVar[int] = API_VERSION
    level: ClassVar[str] = "bit"
    machines: ClassVar[tuple[str, ...]] = ()
    tools: ClassVar[tuple[str, ...]] = ("|".join(simulators.KINDS),)
    Options: ClassVar[type[Any]] = VerilogOptions

    def tools_here(self) -> list[str]:
        """The simulators on this computer."""
        return [tool.kind for tool in simulators.here()]

    def emit(self, module: Module, options: VerilogOptions) -> Artifact:
        """`rtl/`, `mem/`, `tb/`, Makefile and report.json. Raises BnncError B0620 to B0622, B0630 to B0632."""
        return _emitted(*timed(module, options), options)

    def prove(self, module: Module, options: VerilogOptions) -> Artifact:
        """The source package with proof.json. Raises BnncError B0625 where a statement does not hold."""
        package, run = timed(module, options)
        artifact = _emitted(package, run, options)
        texts = {name: text.decode() for name, text in artifact.files.items() if name.startswith(("rtl/", "mem/"))}
        document = certificate(package, texts)
        files = {**artifact.files, "proof.json": certificate_text(document).encode()}
        return Artifact(files, {**artifact.facts, "proof": document, "proven": summary(document)})

    def build(self, module: Module, options: VerilogOptions) -> Artifact:
        """The source package: a bitstream is made by the tools of an FPGA."""
        return self.emit(module, options)

    def load(self, module: Module, options: VerilogOptions) -> Compiled:
        """The circuit in a simulator. Raises BnncError B0602 where there is none."""
        tools = simulators.found(options.simulator)
        package, run = timed(module, options)
        return Compiled(package, tools, _cycles(package), run)


def packaged(module: Module, options: VerilogOptions) -> Package:
    """The planned circuit of a «bit» module."""
    return timed(module, options)[0]


def timed(module: Module, options: VerilogOptions) -> tuple[Package, Timing | None]:
    """The planned circuit of a «bit» module, and how it will run, by the cycle model."""
    boundary = boundary_of(module)
    unrolling = Unrolling(options.unroll, _cells(options), options.levels)
    layers = serial_layers(layers_of(boundary, unrolling), options.serial)
    goals = _goals(options)
    if (options.pe or options.simd) and (goals.fps or goals.max_luts or goals.max_brams):
        text = "a folding was given and asked for: `-X pe` and `-X simd` say it, `-X fps` and `-X max-…` have it chosen"
        raise error("B0621", text, helps=("leave one of them out",), exit_code=Exit.USAGE)
    technology = technology_of(goals, options.synth or options.technology)
    folding = given_folding(layers, options.pe, options.simd, plain(layers, technology))
    if goals.any and not (options.pe or options.simd):

        def others(folding: Folding) -> Cost:
            engines = plan(boundary, folding, unrolling).design.engines
            return total([engine for engine in engines if not engine.layer], technology)

        folding = chosen(layers, goals, technology, others)
    planned = plan(boundary, folding, unrolling)
    design, run = buffered(planned.design)
    return Package(boundary, replace(planned, design=design)), run


def _cells(options: VerilogOptions) -> str:
    """The technology of unrolled layers: as given, else that of the chip, else of every tool."""
    if options.technology:
        return options.technology
    family = device_named(options.device).technology if options.device else options.synth
    return family if family in TECHNOLOGIES else "generic"


def _goals(options: VerilogOptions) -> Goals:
    return Goals(options.fps, options.clock, options.max_luts, options.max_brams, options.device)


def _emitted(package: Package, run: Timing | None, options: VerilogOptions) -> Artifact:
    """The source package."""
    design, goals = package.design, _goals(options)
    technology = technology_of(goals, options.synth or options.technology)
    circuit, note = circuit_files(package), ""
    few_pins = few_pins_text(design, package.title)
    floorplan = floorplan_text(design, package.made_by)
    netlists = any(engine.unrolled for engine in design.engines)
    estimated = estimate(design, run, technology, options.clock)
    document = {**report(package), "estimate": estimated}
    if options.synth:
        device = goals.chip(options.synth)
        document["measured"] = measured(
            circuit, design.name, options.synth, device, options.clock, few_pins=few_pins, netlists=netlists
        )
        if device.nextpnr and document["measured"]["routed"] is None:
            router = f"nextpnr-{options.synth}"
            note = f"not placed and routed: {router} is not here; pip install yowasp-{router}"
    sources = [name for name in circuit if name.endswith(".v")]
    memories = [name for name in circuit if name.endswith(".mem")]
    files = {
        **circuit,
        **bench_files(package),
        **golden_files(package),
        **({f"synth/{design.name}_few_pins.v": few_pins} if few_pins else {}),
        **({f"constraints/{design.name}_floorplan.py": floorplan} if floorplan else {}),
        **project_files(design, package.made_by, sources, memories),
        "Makefile": makefile_text(design, package.made_by, _size(estimated, netlists), options.clock, netlists),
        "report.json": report_text(document),
    }
    facts = {
        "top": design.name,
        "weight_bytes": -(-document["memory_bits"] // 8),
        "cycles": estimated["cycles"],
        "table": table(estimated, document.get("measured")),
        **({"note": note} if note else {}),
    }
    return Artifact({name: text.encode() for name, text in files.items()}, facts)


def _size(estimated: Mapping[str, Any], netlists: bool) -> str:
    """The smallest ECP5 with room for a circuit, in nextpnr's words; the largest where none has.

    Netlists of neurons have many wires for their size: they need a chip that they do not half fill.
    """
    share = 0.4 if netlists else 0.8
    chips = [device for device in DEVICES if device.technology == "ecp5"][1:]
    luts = estimated["luts"] + 2 * estimated["carries"]
    fits = (chip for chip in chips if luts <= share * chip.luts and estimated["block_rams"] <= chip.memories)
    return next(fits, chips[-1]).nextpnr[0].removeprefix("--")


def _cycles(package: Package) -> int:
    """The cycles of the slowest layer."""
    return max((cycles for _, cycles in slowest(package.design)), default=package.design.inputs[0].beats)


__all__ = ["Backend", "VerilogOptions", "packaged", "timed"]
