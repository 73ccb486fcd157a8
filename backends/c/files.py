"""The header and the source file of a network: everything around the printed program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc import __version__
from bnnc.backends.c.headers import header
from bnnc.backends.c.instruction_bounds import Bounds
from bnnc.backends.c.interface import Interface, Signature
from bnnc.backends.c.names import comment_text
from bnnc.backends.c.primitives import POPCOUNT_CALL, POPCOUNT_SUMS, POPCOUNT_TABLE, primitives
from bnnc.backends.c.printer import Printed
from bnnc.backends.c.rows import RowInput, rows_header, rows_source, selftest_header
from bnnc.backends.c.runs import NEAR
from bnnc.backends.c.sums import ADD_WORDS
from bnnc.backends.c.vectors import vectors_text
from bnnc.loops.ir import F32, I16, I64, Buffer
from bnnc.loops.machine import Machine


@dataclass(frozen=True)
class Net:
    """A network on its way into C."""

    prefix: str
    machine: Machine
    interface: Interface
    signature: Signature
    printed: Printed
    arena_words: int
    rom_bytes: int
    rows: RowInput | None
    additions: int
    bounds: Bounds

    @property
    def upper(self) -> str:
        """The prefix of macros."""
        return self.prefix.upper()

    @property
    def run_parameters(self) -> str:
        """The parameters of NAME_run."""
        inputs = [f"const {p.kind} {p.name}[]" for p in self.signature.inputs]
        outputs = [f"{p.kind} {p.name}[]" for p in self.signature.outputs]
        return ", ".join([*inputs, *outputs, "uint32_t arena[]"])

    @property
    def output_parameters(self) -> str:
        """Those of the outputs."""
        return ", ".join(f"{p.kind} {p.name}[]" for p in self.signature.outputs)

    @property
    def title(self) -> str:
        """The first line of every file."""
        source = dict(self.interface.original.facts).get("source", "")
        of = f" from {comment_text(source)}" if source else ""
        return (
            f"/* {self.prefix}: made by bnnc {__version__}{of}; bnnc emit --target c --machine {self.machine.name} */"
        )


ALIASES = {
    I16: ("bnnc_u16", "uint16_t", "may_alias"),
    F32: ("bnnc_f32", "float", "may_alias"),
    I64: ("bnnc_u64", "uint64_t", "may_alias, aligned(4)"),
}


_ALONE = """/* A layer keeps the registers, the stack and the name to itself. */
#if defined(__GNUC__)
#define BNNC_ALONE __attribute__((noinline))
#else
#define BNNC_ALONE
#endif
"""


_IN_ORDER = """/* Loads stay where they are: moved up together they would need more registers than there are. */
#if defined(__GNUC__) && !defined(__ARM_ARCH_6M__)
#define BNNC_IN_ORDER __asm__ volatile("" ::: "memory")
#else
#define BNNC_IN_ORDER ((void)0)
#endif
"""


def header_text(net: Net) -> str:
    """NAME.h."""
    upper = net.upper
    lines = [f"#define {upper}_ABI 1", ""]
    several = len(net.signature.inputs) > 1
    for p in net.signature.inputs:
        stem = f"{upper}_{p.name.upper()}" if several else f"{upper}_INPUT"
        lines.append(f"/* Input {comment_text(p.label)}: {p.kind}, {comment_text(p.meaning)}. */")
        lines.append(f"#define {stem}_LEN {p.length}u")
        lines.append(f"#define {stem}_BYTES {p.length * p.element_bytes}u")
        if len(p.shape) == 3:
            last = p.label in net.interface.channels_last
            height, width, channels = p.shape if last else (p.shape[1], p.shape[2], p.shape[0])
            for axis, size in (("HEIGHT", height), ("WIDTH", width), ("CHANNELS", channels)):
                lines.append(f"#define {stem}_{axis} {size}u")
    lines.append("")
    several = len(net.signature.outputs) > 1
    for p in net.signature.outputs:
        stem = f"{upper}_{p.name.upper()}" if several else f"{upper}_OUTPUT"
        scale = net.interface.scales[p.label]
        lines.append(f"/* Output {comment_text(p.label)}: {p.kind}, {comment_text(p.meaning)}. */")
        lines.append(f"#define {stem}_LEN {p.length}u")
        if p.kind != "float":
            lines.append(f"#define {stem}_SCALE {scale.scale!r}f")
            lines.append(f"#define {stem}_OFFSET {scale.offset!r}f")
    first = net.signature.outputs[0]
    lines += [
        "",
        "/* Words of working memory that the caller passes: exact, planned by the compiler. */",
        f"#define {upper}_ARENA_WORDS {net.arena_words}u",
        "/* At most so much stack, with any compiler that keeps each local once. */",
        f"#define {upper}_STACK_BYTES {net.printed.stack_bytes}u",
        *(
            [
                "/* At most so many rows of 32 weights are added, whatever the input: what the time depends on. */",
                f"#define {upper}_WCET_ROWS UINT32_C({net.additions})",
            ]
            if net.additions
            else []
        ),
        *(
            [
                "/* At most so many instructions a run, whatever the input; by costs measured of gcc -O2. */",
                f"#define {upper}_INSTRUCTIONS_AT_MOST UINT32_C({net.bounds.run})",
            ]
            if net.bounds.run is not None and net.bounds.run < 1 << 32
            else []
        ),
        "/* Constant tables: weights, thresholds. */",
        f"#define {upper}_ROM_BYTES {net.rom_bytes}u",
        "",
        "/* What the tables of this network sum up to. */",
        f"extern const uint32_t {net.prefix}_model_hash;",
        "",
        "/* Runs the network on one input. Returns 0. Nothing is kept between calls but in `arena`, so calls with",
        " * arenas of their own do not meet, be they in threads, in interrupts, or of several networks. */",
        f"int {net.prefix}_run({net.run_parameters});",
        "",
        *rows_header(net.rows, net.prefix, net.output_parameters),
        f"/* The index of the largest of the {first.length} outputs; the first one where several are equal. */",
        f"uint32_t {net.prefix}_argmax(const {first.kind} {first.name}[]);",
        "",
        "/* Sums up all tables; equal to the model hash unless the memory that holds them is damaged. */",
        f"uint32_t {net.prefix}_checksum(void);",
        "",
        f"/* Runs golden vectors (in {net.prefix}_selftest.c); 0 when every output bit is right, else the number of",
        " * the first that is wrong, counted from 1; -1 for damaged tables. */",
        f"int {net.prefix}_selftest(uint32_t arena[]);",
        *selftest_header(net.rows, net.prefix),
    ]
    return header(net.title, net.prefix, lines)


def source_text(net: Net) -> str:
    """NAME.c."""
    printed = net.printed
    parts = [net.title, f'#include "{net.prefix}.h"', *preamble(printed, net.machine)]
    parts += [printed.tables, printed.functions]
    parts.append(_run(net))
    parts.append(_argmax(net))
    parts.append(_checksum(net))
    return "\n".join(parts)


def preamble(printed: Printed, machine: Machine) -> list[str]:
    """What printed functions need in front of them: headers, types, where tables go, and operators that C lacks."""
    popcount = POPCOUNT_CALL if machine.scalar_popcount else POPCOUNT_TABLE if machine.rom else POPCOUNT_SUMS
    index = "int" if machine.index_bits == 16 else "int32_t"
    floats = F32 in printed.elements or "math.h" in printed.headers or "bnnc_whole" in printed.primitives
    headers = set(printed.headers)
    if floats:
        headers.add("float.h")
    if any(b.element == F32 for _, b in printed.table_names):
        headers |= {"string.h", "math.h"}
    parts = [f"#include <{name}>" for name in sorted(headers)]
    if floats:
        parts += [
            "",
            "#if FLT_EVAL_METHOD != 0",
            '#error "floats must be rounded to single precision: on x86 compile with -msse2 -mfpmath=sse"',
            "#endif",
            "#if defined(__clang__)",
            "#pragma STDC FP_CONTRACT OFF",
            "#endif",
        ]
    parts += ["", _rom(machine), _ALONE]
    if printed.ordered:
        parts.append(_IN_ORDER)
    if "BNNC_ADD_WORDS" in printed.primitives:
        parts.append(ADD_WORDS)
    if "BNNC_NEAR" in printed.primitives:
        parts.append(NEAR)
    aliases = [ALIASES[e] for e in (I16, F32, I64) if e in printed.elements]
    if aliases:
        parts.append("/* Numbers that lie in the caller's array of words. */")
        parts.append("#if defined(__GNUC__)")
        parts += [f"typedef {plain} __attribute__(({how})) {name};" for name, plain, how in aliases]
        parts.append("#else")
        parts += [f"typedef {plain} {name};" for name, plain, _ in aliases]
        parts += ["#endif", ""]
    parts += primitives(printed.primitives, index, popcount, machine.finds_bits)
    parts.append(vectors_text(printed.primitives))
    return parts


def _rom(machine: Machine) -> str:
    """Where constants go, and how they are read."""
    if not machine.rom:
        about = "/* Where tables go: define it for sections of your linker script. */"
        return f"{about}\n#ifndef BNNC_ROM\n#define BNNC_ROM\n#endif\n"
    readers = (("8", "byte"), ("16", "word"), ("32", "dword"), ("F", "float"))
    flash = "\n".join(f"#define BNNC_READ{bits}(place) pgm_read_{what}(&(place))" for bits, what in readers)
    plain = "\n".join(f"#define BNNC_READ{bits}(place) (place)" for bits, _ in readers)
    return (
        "/* Where tables go, and how they are read: program memory on AVR. */\n#if defined(__AVR__)\n"
        "#include <avr/pgmspace.h>\n#define BNNC_ROM PROGMEM\n"
        f"{flash}\n#else\n#define BNNC_ROM\n{plain}\n#endif\n"
    )


def _run(net: Net) -> str:
    rows, prefix = net.rows, net.prefix
    unused = [p.name for p in net.signature.inputs if not any(p.cast in line for line in net.printed.body)]
    if not any("arena" in line for line in net.printed.body):
        unused.append("arena")
    head = f"int {prefix}_run({net.run_parameters}) {{"
    if rows is not None and rows.streamed:
        image, others = net.run_parameters.split(", ", 1)
        head = f"static int {prefix}_rows({image}, {prefix}_row_fn get_row, void *context, {others}) {{"
    lines = [head, *(f"    (void){name};" for name in unused), *net.printed.body, "    return 0;", "}", ""]
    if rows is not None:
        names = [p.name for p in net.signature.outputs]
        lines += rows_source(rows, prefix, net.signature.inputs[0].name, net.run_parameters, names)
    return "\n".join(lines)


def _argmax(net: Net) -> str:
    first = net.signature.outputs[0]
    return "\n".join(
        [
            f"uint32_t {net.prefix}_argmax(const {first.kind} {first.name}[]) {{",
            "    uint32_t best = 0u;",
            "    uint32_t i;",
            f"    for (i = 1u; i < {first.length}u; ++i) {{",
            f"        if ({first.name}[i] > {first.name}[best]) {{",
            "            best = i;",
            "        }",
            "    }",
            "    return best;",
            "}",
            "",
        ]
        if first.length > 1
        else [
            f"uint32_t {net.prefix}_argmax(const {first.kind} {first.name}[]) {{",
            f"    (void){first.name};",
            "    return 0u;",
            "}",
            "",
        ]
    )


def _words(buffer: Buffer) -> np.ndarray:
    """The elements of a table as its checksum takes them: 32-bit words."""
    assert buffer.data is not None
    if buffer.element == F32:
        return buffer.data.view(np.uint32)
    values = buffer.data.astype(np.int64).view(np.uint64)
    mask = np.uint64((1 << min(32, buffer.element.bits)) - 1)
    return (values & mask).astype(np.uint32)


def checksum(tables: list[tuple[str, Buffer]]) -> int:
    """FNV-1a over the elements of all tables, 32 bits at a time (of longer ones the low half)."""
    total = 2166136261
    for _, buffer in tables:
        for word in _words(buffer).tolist():
            total = ((total ^ word) * 16777619) & 0xFFFFFFFF
    return total


def _checksum(net: Net) -> str:
    lines = [f"const uint32_t {net.prefix}_model_hash = UINT32_C(0x{checksum(net.printed.table_names):08x});", ""]
    body = []
    index = "int" if net.machine.index_bits == 16 else "int32_t"
    for symbol, buffer in net.printed.table_names:
        word = f"{symbol}[i]"
        if net.machine.rom and f"BNNC_ROM {symbol}[" in net.printed.tables:
            bits = 16 if buffer.element == I64 else buffer.element.bits  # tables of indices are narrow
            word = f"BNNC_READ{'F' if buffer.element == F32 else bits}({word})"
        if buffer.element == F32:
            body.append(f"    for (i = 0; i < {buffer.length}; ++i) {{")
            body += [
                f"        const float value = {word};",
                "        uint32_t bits;",
                "        memcpy(&bits, &value, sizeof bits);",
            ]
        else:
            body.append(f"    for (i = 0; i < {buffer.length}; ++i) {{")
            body.append(f"        const uint32_t bits = (uint32_t){word};")
        body += ["        total = (total ^ bits) * UINT32_C(16777619);", "    }"]
    lines.append(f"uint32_t {net.prefix}_checksum(void) {{")
    lines.append("    uint32_t total = UINT32_C(2166136261);")
    if body:
        lines += [f"    {index} i;", *body]
    lines += ["    return total;", "}", ""]
    return "\n".join(lines)


__all__ = ["Net", "checksum", "header_text", "preamble", "source_text"]
