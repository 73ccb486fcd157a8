"""What the LLVM target offers: IR text, objects and assembly for any machine, and execution on this one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from bnnc.backends.llvm import codegen
from bnnc.backends.llvm.compiled import Compiled
from bnnc.backends.llvm.header import header_text
from bnnc.backends.llvm.host import machine_named, native_machine
from bnnc.backends.llvm.linking import linked
from bnnc.backends.llvm.printer import print_llvm
from bnnc.backends.llvm.training import NativeEngine
from bnnc.diagnostics import Exit, error
from bnnc.ir.module import Module
from bnnc.loops.lower.network import Lowered, lower
from bnnc.loops.machine import MACHINES, Machine
from bnnc.loops.text import print_program
from bnnc.protocols import API_VERSION, Artifact
from bnnc.train.engine import Engine, Step


@dataclass(frozen=True)
class LlvmOptions:
    """The options of this target."""

    machine: str = field(default="native", metadata={"help": "the CPU to make code for: native, or one of the table"})
    threads: int = field(default=1, metadata={"help": "threads that share the samples of a batch, when run here"})
    kind: Literal["so", "obj", "asm", "ll"] = field(
        default="so",
        metadata={"help": "what compile writes: so (object, header, and a shared object), obj, asm or ll"},
    )


class Backend:
    """Native code through LLVM."""

    name: ClassVar[str] = "llvm"
    summary: ClassVar[str] = "native code: run here, object, shared object, assembly or LLVM IR"
    api: ClassVar[int] = API_VERSION
    level: ClassVar[str] = "loop"
    machines: ClassVar[tuple[str, ...]] = ("native", *(machine.name for machine in MACHINES if machine.triple))
    tools: ClassVar[tuple[str, ...]] = ()
    Options: ClassVar[type[Any]] = LlvmOptions

    def emit(self, module: Module, options: LlvmOptions) -> Artifact:
        """NAME.ll, the whole network as LLVM IR text."""
        lowered, machine = self._lowered(module, options)
        name = lowered.program.name
        return Artifact({f"{name}.ll": print_llvm(lowered.program).encode()}, self._facts(lowered, machine))

    def build(self, module: Module, options: LlvmOptions) -> Artifact:
        """An object file and its C header, and a shared object where a linker is found; or what `kind` asks for."""
        lowered, machine = self._lowered(module, options)
        facts = self._facts(lowered, machine)
        name, text = lowered.program.name, print_llvm(lowered.program)
        if options.kind == "ll":
            return Artifact({f"{name}.ll": text.encode()}, facts)
        if options.kind == "asm":
            return Artifact({f"{name}.s": codegen.emit_assembly(text, machine).encode()}, facts)
        compiled = codegen.emit_object(text, machine)
        files = {f"{name}.o": compiled, f"{name}.h": header_text(lowered, module).encode()}
        if options.kind == "so":
            shared, why = linked(compiled, machine, native_machine())
            if shared is not None:
                files[f"{name}.so"] = shared
            else:
                facts["note"] = why
        return Artifact(files, facts)

    def load(self, module: Module, options: LlvmOptions) -> Compiled:
        """The network, ready to be called here. Raises BnncError B0604 for a machine that is not this one."""
        lowered, machine = self._lowered(module, options)
        _must_run_here(machine)
        return Compiled(module, lowered, machine, options.threads)

    def engine(self, step: Step, options: LlvmOptions) -> Engine:
        """What executes a training step here, on `options.threads` threads. Raises BnncError B0604 for a machine that
        is not this one, B0615 for a step that it cannot execute."""
        machine = machine_named(options.machine)
        _must_run_here(machine)
        return NativeEngine(step, machine, options.threads)

    def loops(self, module: Module, options: LlvmOptions) -> str:
        """The «loop» program as text."""
        return print_program(self._lowered(module, options)[0].program)

    @staticmethod
    def _lowered(module: Module, options: LlvmOptions) -> tuple[Lowered, Machine]:
        machine = machine_named(options.machine)
        return lower(module, machine), machine

    @staticmethod
    def _facts(lowered: Lowered, machine: Machine) -> dict[str, Any]:
        return {
            "machine": machine.name,
            "arena_bytes": lowered.program.arena_bytes,
            "weight_bytes": lowered.weight_bytes,
        }


def _must_run_here(machine: Machine) -> None:
    own = native_machine()
    if machine.triple and machine.triple.split("-")[0] != own.triple.split("-")[0]:
        raise error(
            "B0604",
            f"code for `{machine.name}` cannot run on this computer",
            helps=("leave out --machine to run here", "bnnc emit --target llvm only writes the code"),
            exit_code=Exit.ENVIRONMENT,
        )
