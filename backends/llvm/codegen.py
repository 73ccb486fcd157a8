"""From LLVM IR text to machine code: a light pass pipeline (the printer writes SSA), objects and assembly."""

from __future__ import annotations

import functools
import threading

import llvmlite.binding as llvm

from bnnc.loops.machine import Machine

# LLVM's target registry is not guarded against two threads that fill it at once.
_lock = threading.Lock()


@functools.cache
def _initialise() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def target_machine(machine: Machine, position_independent: bool = False, jit: bool = False) -> llvm.TargetMachine:
    """LLVM's view of the machine."""
    with _lock:
        _initialise()
    target = llvm.Target.from_triple(machine.triple or llvm.get_process_triple())
    return target.create_target_machine(
        cpu=machine.cpu,
        features=machine.features,
        opt=2,
        reloc="pic" if position_independent else "default",
        codemodel="jitdefault" if jit else "default",
    )


def optimised(text: str, target: llvm.TargetMachine) -> llvm.ModuleRef:
    """The parsed, verified module after a few cheap passes.

    Kernels come with their tiles unrolled and their lanes vectorised, so LLVM's unrolling and vectorising would only
    cost time and code size.
    """
    module = llvm.parse_assembly(text)
    module.triple = target.triple
    module.data_layout = str(target.target_data)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    options.loop_unrolling = options.loop_vectorization = options.slp_vectorization = options.loop_interleaving = False
    builder = llvm.create_pass_builder(target, options)
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, builder)
    return module


def emit_object(text: str, machine: Machine) -> bytes:
    """A relocatable, position-independent object file."""
    target = target_machine(machine, position_independent=True)
    return bytes(target.emit_object(optimised(text, target)))


def emit_assembly(text: str, machine: Machine) -> str:
    """Assembly text."""
    target = target_machine(machine, position_independent=True)
    return str(target.emit_assembly(optimised(text, target)))
