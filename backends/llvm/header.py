"""The C header of a compiled network: its one function, and the sizes its caller needs."""

from __future__ import annotations

from bnnc.ir.module import Module
from bnnc.ir.types import Fix
from bnnc.loops import ir as loop
from bnnc.loops.lower.network import Lowered

C_TYPES = {loop.F32: "float", loop.I8: "int8_t", loop.I16: "int16_t", loop.I32: "int32_t", loop.I64: "int64_t"}


def header_text(lowered: Lowered, module: Module) -> str:
    """NAME.h. Arrays are row-major with channels first, the batch outermost, as in the user's model."""
    program = lowered.program
    name = program.name
    guard = f"{name.upper()}_H"
    parameters = []
    about = []
    for op, buffer in zip(module.inputs, program.inputs, strict=True):
        kind = "uint8_t" if str(op.dtype) == "u8" else C_TYPES[buffer.element]
        parameters.append(f"const {kind} *{buffer.name}")
        about.append(f" * {buffer.name}: n samples of {kind} {list(op.shape)}")
    for output, buffer in zip(module.outputs, program.outputs, strict=True):
        parameters.append(f"{C_TYPES[buffer.element]} *{buffer.name}")
        dtype = output.value.type.dtype
        point = f", q for q * 2^-{dtype.fraction}" if isinstance(dtype, Fix) else ""
        about.append(f" * {buffer.name}: n samples of {C_TYPES[buffer.element]} {list(output.value.type.shape)}{point}")
    lines = [
        f"/* {name}: made by bnnc; bnnc compile --target llvm */",
        f"#ifndef {guard}",
        f"#define {guard}",
        "#include <stdint.h>",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        "/* Bytes of the working memory that the caller passes; it must be aligned to 64 bytes. */",
        f"#define {name.upper()}_ARENA_BYTES {max(program.arena_bytes, 64)}",
        "",
        "/* Runs the network on n samples. Returns 0. Arrays are row-major, the batch outermost, channels first.",
        *about,
        " * arena: NAME_ARENA_BYTES bytes, aligned to 64; one for each thread that calls. */",
        f"int32_t {name}_run({', '.join(parameters)}, int64_t n, void *arena);",
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "#endif",
        "",
    ]
    return "\n".join(lines).replace("NAME_ARENA", f"{name.upper()}_ARENA")
