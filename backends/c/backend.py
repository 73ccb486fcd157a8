"""What the C target offers: C99 source for microcontrollers and everything else, and execution on this computer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from bnnc.backends.c import host
from bnnc.backends.c.arrange import single_header, split
from bnnc.backends.c.boards import AUTO, HOST, Emulated, find
from bnnc.backends.c.boards.choice import needed
from bnnc.backends.c.files import Net, checksum, header_text, source_text
from bnnc.backends.c.footprint import Footprint, footprint
from bnnc.backends.c.instruction_bounds import instruction_bounds
from bnnc.backends.c.interface import interface_of, signature_of
from bnnc.backends.c.names import comment_text, prefix_of
from bnnc.backends.c.onboard import OnBoard
from bnnc.backends.c.packages import packed
from bnnc.backends.c.printer import print_program
from bnnc.backends.c.rows import row_input
from bnnc.backends.c.selftest import selftest_text
from bnnc.backends.c.training_engine import DeviceEngine
from bnnc.backends.c.training_files import training_files
from bnnc.backends.c.tuning import kernels_of, tune
from bnnc.diagnostics import BnncError, Exit, error
from bnnc.ir.module import Module
from bnnc.ir.op import Op
from bnnc.loops.ir import Fma, Function, expressions_of, nodes_of, statements_of
from bnnc.loops.lower.network import Lowered, lower
from bnnc.loops.machine import CONTROLLERS, Machine
from bnnc.loops.text import print_program as program_text
from bnnc.protocols import API_VERSION, Artifact, Counts, Place, Tuned
from bnnc.train.engine import Engine, Step


@dataclass(frozen=True)
class COptions:
    """The options of this target."""

    machine: str = field(default="generic-c", metadata={"help": "the processor to make code for"})
    input_layout: Literal["chw", "hwc"] = field(
        default="chw",
        metadata={"help": "how images are given: channels first, as in the model, or last, as in cameras"},
    )
    board: str = field(
        default="auto",
        metadata={"help": "where run and check run it: auto (an emulated board, if one is here), host, or a board"},
    )
    tune: bool = field(default=False, metadata={"help": "bench: try all kernels of all layers, and keep the best"})
    tuned: str = field(default="", metadata={"help": "a file of `bench -X tune`, which chooses the kernels"})
    name: str = field(default="", metadata={"help": "what files and functions are called; default: the model's name"})
    package: Literal["none", "arduino", "platformio", "zephyr", "esp-idf", "cmake", "cmsis-pack"] = field(
        default="none", metadata={"help": "make it a library of a build system, with an example"}
    )
    split: bool = field(default=False, metadata={"help": "put the weights into a file of their own"})
    single_header: bool = field(default=False, metadata={"help": "put everything into one header"})
    train: bool = field(default=False, metadata={"help": "add training on the device, of a .bnnm of `bnnc train`"})
    source: str = field(default="", metadata={"help": "the .bnnm whose training `train` takes; default: the model"})
    begin: Literal["trained", "seed"] = field(
        default="trained",
        metadata={"help": "where `train` begins: with the trained weights, or anew: drawn from the seed"},
    )


class Backend:
    """C99 source code."""

    name: ClassVar[str] = "c"
    summary: ClassVar[str] = "C99 for microcontrollers and any compiler: one .h and .c, exact sizes, a self-test"
    api: ClassVar[int] = API_VERSION
    level: ClassVar[str] = "loop"
    machines: ClassVar[tuple[str, ...]] = tuple(machine.name for machine in CONTROLLERS)
    tools: ClassVar[tuple[str, ...]] = ()
    Options: ClassVar[type[Any]] = COptions

    def emit(self, module: Module, options: COptions) -> Artifact:
        """NAME.h, NAME.c, NAME_selftest.c and NAME.json, or the files of a package."""
        find(machine_named(options.machine).name, options.board)  # a board that there is not is named here too
        net, lowered = _made(module, options)
        files = {**_files(net, lowered), f"{net.prefix}_selftest.c": selftest_text(net).encode()}
        facts = _facts(net, lowered)
        if options.train:
            hwc = options.input_layout == "hwc"
            anew = options.begin == "seed"
            more = training_files(options.source, f"{net.prefix}_train", net.machine, channels_last=hwc, anew=anew)
            files |= more.files
            facts |= {name: facts[name] + value for name, value in more.facts.items()}
            facts["ram_bytes"] += more.facts["arena_bytes"]
            facts["flash_bytes"] += more.facts["weight_bytes"]
        _refuse_mixtures(options)
        if options.single_header:
            files = single_header(files, net.prefix)
        elif options.split:
            files = split(files, net.prefix)
        if options.package != "none":
            files = packed(options.package, net.prefix, net.machine.name, files)
        return Artifact(files, facts)

    def engine(self, step: Step, options: COptions) -> Engine:
        """What executes a training step here: the code that trains on devices, compiled for this computer. Raises
        BnncError B0608 where there is no C compiler, B0538 and B0615 for a step that it cannot execute."""
        return DeviceEngine(step, machine_named(options.machine))

    def build(self, module: Module, options: COptions) -> Artifact:
        """The source package: firmware is built where its other parts are."""
        return self.emit(module, options)

    def load(self, module: Module, options: COptions) -> host.Compiled | OnBoard:
        """The generated code, on an emulated board of its machine where there is one here, else compiled for this
        computer. Raises BnncError B0608 where there is no C compiler, B0613 and B0614 for the board of `-X board`."""
        net, lowered = _made(module, options)
        files = _files(net, lowered)
        choice = find(net.machine.name, options.board)
        small: tuple[str, ...] = ()
        if choice.ways or options.board not in (AUTO, HOST):
            try:
                return OnBoard(net.interface, Emulated(files, net.machine.name, options.board))
            except BnncError as reason:
                if options.board != AUTO or reason.diagnostics[0].code != "B0614":
                    raise
                small = reason.diagnostics[0].notes
        place = _here(net.machine, options.board, choice.installs, small)
        return host.Compiled(module, net.interface, net.signature, net.prefix, files, net.arena_words, place)

    def loops(self, module: Module, options: COptions) -> str:
        """The «loop» program as text."""
        machine = machine_named(options.machine)
        kernels = kernels_of(options.tuned, machine.name)
        return program_text(lower(interface_of(module, options.input_layout == "hwc").module, machine, kernels).program)

    def tune(self, module: Module, options: COptions, inputs: Mapping[str, np.ndarray]) -> Tuned:
        """What every kernel of every layer executes on an emulated board. Raises BnncError B0614 without one."""
        machine = machine_named(options.machine)
        plain = replace(options, tune=False, tuned="", package="none", split=False, single_header=False)
        _, lowered = _made(module, plain)
        needed(machine.name, AUTO if options.board == HOST else options.board)

        def count(kernels: Mapping[str, str]) -> Counts:
            net, made = _made(module, plain, kernels)
            return OnBoard(net.interface, Emulated(_files(net, made), machine.name, options.board)).count(inputs)

        prefix = prefix_of(options.name or module.name)
        return tune(lowered.kernels, machine.name, count, options.tuned or f"{prefix}.tuned.json")


def machine_named(name: str) -> Machine:
    """A machine that C reaches; `native` is any computer. Raises BnncError B0601."""
    wanted = "generic-c" if name == "native" else name
    for machine in CONTROLLERS:
        if machine.name == wanted:
            return machine
    known = ", ".join(machine.name for machine in CONTROLLERS)
    raise error(
        "B0601", f"the C target knows no machine `{name}`", helps=(f"choose one of: {known}",), exit_code=Exit.USAGE
    )


def _refuse_tuning(options: COptions) -> None:
    """Kernels are tried by `bnnc bench`; other commands take its file."""
    if options.tune:
        raise error(
            "B0101",
            "`-X tune` is for `bnnc bench`, which tries the kernels and writes a file",
            helps=("-X tuned=FILE, with the file that it wrote",),
            exit_code=Exit.USAGE,
        )


def _refuse_mixtures(options: COptions) -> None:
    """A single header is one file: no file of weights, and no library to be compiled."""
    other = "split" if options.split else f"package={options.package}" if options.package != "none" else ""
    if options.single_header and other:
        raise error(
            "B0101",
            f"`-X single-header` and `-X {other}` do not go together",
            helps=("leave one of them out",),
            exit_code=Exit.USAGE,
        )


def _files(net: Net, lowered: Lowered) -> dict[str, bytes]:
    """What firmware needs, and what says what it is."""
    texts = {
        f"{net.prefix}.h": header_text(net),
        f"{net.prefix}.c": source_text(net),
        f"{net.prefix}.json": _json(net, lowered),
    }
    return {name: text.encode() for name, text in texts.items()}


def _here(machine: Machine, board: str, installs: tuple[str, ...], small: tuple[str, ...]) -> Place:
    """This computer as the place where the code of a machine runs, and why."""
    if machine.name == "generic-c":
        return Place("this computer")
    why = f"too large for {'; '.join(small)}" if small else "no emulated board is here" if board == AUTO else ""
    return Place(f"this computer, with the code for {machine.name}" + (f": {why}" if why else ""), False, installs)


def _made(module: Module, options: COptions, kernels: Mapping[str, str] | None = None) -> tuple[Net, Lowered]:
    machine = machine_named(options.machine)
    interface = interface_of(module, options.input_layout == "hwc")
    _refuse_tuning(options)
    chosen = kernels_of(options.tuned, machine.name) if kernels is None else kernels
    lowered = lower(interface.module, machine, chosen)
    program = lowered.program
    if not machine.fma:
        _refuse_floats(lowered, machine)
    prefix = prefix_of(options.name or module.name)
    if machine.index_bits == 16:
        _refuse_large(lowered, machine)
    signature = signature_of(interface, program, prefix)
    origins = {call.function: call for call in lowered.calls}

    def origin(function: Function) -> str:
        call = origins.get(function.name)
        return _layer(call.op) if call else ""

    casts = {
        buffer: p.cast
        for buffer, p in zip((*program.inputs, *program.outputs), (*signature.inputs, *signature.outputs), strict=True)
    }
    rows = row_input(interface, signature, lowered)
    by_rows = rows is not None and rows.streamed
    bits = 16 if machine.index_bits == 16 else 32
    printed = print_program(program, prefix, bits, machine.rom, origin, casts, by_rows)
    words = max(1, -(-program.arena_bytes // 4)) if rows is None else rows.arena_words_run
    bounds = instruction_bounds(lowered, machine)
    return Net(
        prefix, machine, interface, signature, printed, words, lowered.weight_bytes, rows, lowered.additions, bounds
    ), lowered


def _layer(op: Op) -> str:
    shape = "x".join(str(n) for n in op.type.shape)
    name = comment_text(op.loc.name)
    return f"{name}: {op.opcode} -> {op.type.dtype} {shape}" if name else f"{op.opcode} -> {op.type.dtype} {shape}"


def _refuse_floats(lowered: Lowered, machine: Machine) -> None:
    """Float islands multiply and add in one rounding, which only an FPU does in reasonable time."""
    places = {call.function: call for call in lowered.calls}
    for function in lowered.program.functions:
        nodes = (n for s in statements_of(function.body) for root in expressions_of(s) for n in nodes_of(root))
        if any(isinstance(node, Fma) for node in nodes):
            call = places.get(function.name)
            raise error(
                "B0603",
                f"`{call.op.opcode if call else function.name}` works on floats, and `{machine.name}` has no FPU",
                places=(call.loc,) if call else (),
                notes=("it multiplies and adds with a single rounding",),
                helps=(
                    "--pixels INPUT=1/255,MEAN,STD, when the input holds 8-bit pixels",
                    "--stem int, for a first layer on pixels",
                    "--stream fixed, for residual streams",
                    "--machine cortex-m4, or another one with an FPU",
                ),
            )


MOST_BYTES = (1 << 15) - 1
MOST_TABLES = 1 << 16


def _refuse_large(lowered: Lowered, machine: Machine) -> None:
    """What 16-bit indices and pointers cannot reach."""
    program = lowered.program
    sizes = [("its working memory", program.arena_bytes, MOST_BYTES), ("all tables", lowered.weight_bytes, MOST_TABLES)]
    sizes += [(f"the table `{buffer.name}`", buffer.bytes, MOST_BYTES) for buffer in program.constants()]
    sizes += [
        (f"the array `{buffer.name}`", buffer.bytes, MOST_BYTES) for buffer in (*program.inputs, *program.outputs)
    ]
    for what, size, most in sizes:
        if size > most:
            raise error(
                "B0609",
                f"the network is too large for `{machine.name}`: {what} would take {size} bytes, over {most}",
                helps=("--machine cortex-m0, or another 32-bit processor", "a narrower network, or smaller images"),
            )


def _footprint(net: Net, lowered: Lowered) -> Footprint:
    signature = net.signature
    return footprint(
        lowered, net.machine, signature.inputs, signature.outputs, net.arena_words, net.rows, net.printed.stack_bytes
    )


def _facts(net: Net, lowered: Lowered) -> dict[str, Any]:
    found = _footprint(net, lowered)
    return {
        "machine": net.machine.name,
        "arena_bytes": net.arena_words * 4,
        "weight_bytes": net.rom_bytes,
        "stack_bytes": net.printed.stack_bytes,
        "ram_bytes": found.least_ram,
        "flash_bytes": found.tables + found.code,
        "ram_notes": found.notes,
    }


def _json(net: Net, lowered: Lowered) -> str:
    layers = [
        {
            "function": call.function,
            "layer": call.loc.name,
            "op": call.op.opcode,
            "output": str(call.op.type),
            "calls": call.times,
            "instructions": instructions,
        }
        for call, instructions in zip(lowered.calls, net.bounds.layers, strict=True)
    ]
    found = _footprint(net, lowered)
    document = {
        "schema": "bnnc.c/1",
        "name": net.prefix,
        "machine": net.machine.name,
        "model_hash": f"{checksum(net.printed.table_names):08x}",
        "arena_words": net.arena_words,
        "rows_arena_words": net.rows.arena_words if net.rows else None,
        "stack_bytes": net.printed.stack_bytes,
        "rom_bytes": net.rom_bytes,
        "code_bytes_estimate": found.code,
        "ram_bytes": found.ram,
        "ram_bytes_by_rows": found.ram_by_rows,
        "row_additions_at_most": lowered.additions,
        "instructions_at_most": net.bounds.run,
        "inputs": [{"name": p.label, "type": p.kind, "shape": list(p.shape)} for p in net.signature.inputs],
        "outputs": [
            {
                "name": p.label,
                "type": p.kind,
                "shape": list(p.shape),
                "scale": net.interface.scales[p.label].scale,
                "offset": net.interface.scales[p.label].offset,
            }
            for p in net.signature.outputs
        ],
        "tables": [{"name": name, "bytes": b.bytes} for name, b in net.printed.table_names],
        "layers": layers,
    }
    return json.dumps(document, indent=1) + "\n"


__all__ = ["Backend", "COptions", "machine_named"]
