"""NAME_selftest.c: golden vectors. Inputs are drawn by a generator that C has too; outputs are the reference's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bnnc.backends.c.files import Net, checksum
from bnnc.backends.c.interface import Parameter
from bnnc.backends.c.tables import filled
from bnnc.ir.module import Input, Module
from bnnc.ir.types import Bit, Code, Fix, is_integer, value_range
from bnnc.reference import run as reference

VECTORS = 16
# Small networks get more: there is less that a wrong bit could show in.
MOST_VECTORS = 64


class Generator:
    """xorshift32, the same in both languages."""

    def __init__(self, state: int) -> None:
        self.state = state

    def words(self, count: int) -> np.ndarray:
        """uint32 [count]."""
        found = np.empty(count, np.uint32)
        x = self.state
        for i in range(count):
            x ^= (x << 13) & 0xFFFFFFFF
            x ^= x >> 17
            x ^= (x << 5) & 0xFFFFFFFF
            found[i] = x
        self.state = x
        return found


def values_of(op: Input, words: np.ndarray, number: int) -> np.ndarray:
    """The numbers of vector `number` for an input, of drawn words; the C text of `expression_of`."""
    wide = words.astype(np.int64)
    kind = number & 3
    if not is_integer(op.dtype):
        whole = (wide >> 22) - 512 if kind & 1 else wide >> 22
        return (whole.astype(np.float32) / np.float32(256 if kind & 1 else 1024)).astype(np.float32)
    if isinstance(op.dtype, Bit):
        return np.where((wide >> 28) < (8, 4, 12, 1)[kind], 1, -1)
    lo, hi = value_range(op.dtype)
    if isinstance(op.dtype, Code):
        return (wide >> 8) % (1 << op.dtype.bits) * op.dtype.multiplier + op.dtype.offset
    if (lo, hi) == (0, 255):
        top = wide >> 24
        return (top, np.where(top >= 128, 255, 0), top >> 2, top >> 1 | 128)[kind]
    return lo + (wide >> 8) % (hi - lo + 1)


def expression_of(op: Input, kind: str) -> list[str]:
    """C statements that turn `word` into `value` for vector `number`."""
    if not is_integer(op.dtype):
        return [
            "const int32_t whole = (int32_t)(word >> 22);",
            "const float value = (number & 1u) != 0u ? (float)(whole - 512) / 256.0f : (float)whole / 1024.0f;",
        ]
    if isinstance(op.dtype, Bit):
        return [
            "static const uint8_t limit[4] = {8, 4, 12, 1};",
            f"const {kind} value = (word >> 28) < limit[number & 3u] ? 1 : -1;",
        ]
    lo, hi = value_range(op.dtype)
    if isinstance(op.dtype, Code):
        text = f"(int32_t)((word >> 8) % {1 << op.dtype.bits}u) * {op.dtype.multiplier} + ({op.dtype.offset})"
        return [f"const {kind} value = ({kind})({text});"]
    if (lo, hi) == (0, 255):
        return [
            "const uint32_t top = word >> 24;",
            "const uint32_t kind = number & 3u;",
            "const uint32_t high = top >= 128u ? 255u : 0u;",
            "const uint32_t other = kind == 2u ? top >> 2 : (top >> 1) | 128u;",
            f"const {kind} value = ({kind})(kind == 0u ? top : kind == 1u ? high : other);",
        ]
    return [f"const {kind} value = ({kind})({lo} + (int32_t)((word >> 8) % UINT32_C({hi - lo + 1})));"]


def golden(net: Net) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Inputs by name, in the layout of the C code, and outputs of the reference, batch first."""
    module = net.interface.module
    size = sum(op.type.size for op in module.inputs)
    count = int(min(MOST_VECTORS, max(VECTORS, 16384 // max(1, size))))
    generator = Generator(0x9E3779B9)
    columns: dict[str, list[np.ndarray]] = {op.name: [] for op in module.inputs}
    for number in range(count):
        for op in module.inputs:
            columns[op.name].append(values_of(op, generator.words(op.type.size), number).reshape(op.type.shape))
    inputs = {name: np.stack(column) for name, column in columns.items()}
    return inputs, _integers(module, inputs)


def _integers(module: Module, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the C code gives: as the reference, but fixed point as its integers, of which float32 would lose bits."""
    points = {o.name: o.value.type.dtype.fraction for o in module.outputs if isinstance(o.value.type.dtype, Fix)}
    wide = tuple(replace(o, storage="float64") if o.name in points else o for o in module.outputs)
    found = reference.run(replace(module, outputs=wide), inputs)
    return {
        name: np.ldexp(array, points[name]).astype(np.int64) if name in points else array
        for name, array in found.items()
    }


def selftest_text(net: Net) -> str:
    """The file."""
    _, outputs = golden(net)
    module, prefix = net.interface.module, net.prefix
    count = len(next(iter(outputs.values())))
    lines = [
        net.title,
        f'#include "{prefix}.h"',
        "",
        "#if !defined(BNNC_NO_MAIN)",
        "#include <stdio.h>",
        "#endif",
        "",
        f"#define VECTORS {count}u",
        "",
        _rom(net),
    ]
    pairs = list(zip(module.outputs, net.signature.outputs, strict=True))
    for output, p in pairs:
        expected = outputs[output.name].reshape(count, -1)
        body = filled(_number(value, p.kind) for value in expected.reshape(-1).tolist())
        lines.append(f"/* What the model gives for every vector: {p.length} numbers each. */")
        rom = " BNNC_TEST_ROM" if net.machine.rom else ""
        lines += [f"static const {p.kind}{rom} expected_{p.name}[{expected.size}] = {{", body, "};", ""]
    lines += [
        "static uint32_t next_word(uint32_t *state) {",
        "    uint32_t x = *state;",
        "    x ^= x << 13;",
        "    x ^= x >> 17;",
        "    x ^= x << 5;",
        "    *state = x;",
        "    return x;",
        "}",
        "",
    ]
    for op, p in zip(module.inputs, net.signature.inputs, strict=True):
        lines += [
            f"static void draw_{p.name}({p.kind} target[], uint32_t *state, uint32_t number) {{",
            "    uint32_t i;",
            *(["    (void)number;"] if "number" not in "".join(expression_of(op, p.kind)) else []),
            f"    for (i = 0; i < {p.length}u; ++i) {{",
            "        const uint32_t word = next_word(state);",
            *(f"        {line}" for line in expression_of(op, p.kind)),
            "        target[i] = value;",
            "    }",
            "}",
            "",
        ]
    lines += _giver(net)
    by_rows = ", int by_rows" if net.rows is not None else ""
    lines += [f"static int test(uint32_t arena[]{by_rows}) {{"]
    lines += [f"    static {p.kind} {p.name}[{p.length}];" for p in (*net.signature.inputs, *net.signature.outputs)]
    lines += [
        "    uint32_t state = UINT32_C(0x9e3779b9);",
        "    uint32_t number;",
        f"    if ({prefix}_checksum() != UINT32_C(0x{checksum(net.printed.table_names):08x})) {{",
        "        return -1;",
        "    }",
        "    for (number = 0; number < VECTORS; ++number) {",
        "        uint32_t i;",
    ]
    lines += [f"        draw_{p.name}({p.name}, &state, number);" for p in net.signature.inputs]
    passed = ", ".join(p.name for p in (*net.signature.inputs, *net.signature.outputs))
    run = f"{prefix}_run({passed}, arena)"
    if net.rows is not None:
        taken = ", ".join(p.name for p in net.signature.outputs)
        run = f"(by_rows ? {prefix}_run_rows(give_row, {net.signature.inputs[0].name}, {taken}, arena) : {run})"
    lines += [f"        if ({run} != 0) {{", "            return (int)number + 1;", "        }"]
    for p in net.signature.outputs:
        place = f"expected_{p.name}[number * {p.length}u + i]"
        if net.machine.rom:
            place = f"BNNC_TEST_READ({place}, {p.kind})"
        wrong = f"{p.name}[i] != {place}"
        if p.kind == "float":  # no number is no number, whatever its bits
            wrong = f"!({p.name}[i] == {place}) && !({p.name}[i] != {p.name}[i] && {place} != {place})"
        lines += [
            f"        for (i = 0; i < {p.length}u; ++i) {{",
            f"            if ({wrong}) {{",
            "                return (int)number + 1;",
            "            }",
            "        }",
        ]
    lines += ["    }", "    return 0;", "}", ""]
    lines += [
        f"int {prefix}_selftest(uint32_t arena[]) {{",
        f"    return test(arena{', 0' if by_rows else ''});",
        "}",
        "",
    ]
    words, result = f"{net.upper}_ARENA_WORDS", [f"    const int result = {prefix}_selftest(arena);"]
    if by_rows:
        lines += [f"int {prefix}_selftest_rows(uint32_t arena[]) {{", "    return test(arena, 1);", "}", ""]
        rows_words = f"{net.upper}_ROWS_ARENA_WORDS"
        words = f"{words} > {rows_words} ? {words} : {rows_words}"
        result = [
            f"    int result = {prefix}_selftest(arena);",
            "    if (result == 0) {",
            f"        result = {prefix}_selftest_rows(arena);",
            "    }",
        ]
    lines += [
        "#if !defined(BNNC_NO_MAIN)",
        "int main(void) {",
        f"    static uint32_t arena[{words}];",
        *result,
        "    if (result == 0) {",
        f'        printf("{prefix}: ok, %lu golden vectors\\n", (unsigned long)VECTORS);',
        "        return 0;",
        "    }",
        "    if (result < 0) {",
        f'        printf("{prefix}: FAILED, the tables are damaged\\n");',
        "    } else {",
        f'        printf("{prefix}: FAILED at golden vector %d of %lu\\n", result, (unsigned long)VECTORS);',
        "    }",
        "    return 1;",
        "}",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def _giver(net: Net) -> list[str]:
    """The function that gives the rows of an input that lies in memory."""
    rows = net.rows
    if rows is None:
        return []
    (p,) = net.signature.inputs
    source = f"image[row * {rows.length}u + i]"
    if rows.channels > 1 and rows.rows > 1:
        source = f"image[(i / {rows.width}u * {rows.rows}u + row) * {rows.width}u + i % {rows.width}u]"
    return [
        f"static int give_row(void *context, uint32_t row, {p.kind} target[]) {{",
        f"    const {p.kind} *const image = ({p.kind} *)context;",
        "    uint32_t i;",
        f"    for (i = 0; i < {rows.length}u; ++i) {{",
        f"        target[i] = {source};",
        "    }",
        "    return 0;",
        "}",
        "",
    ]


def _rom(net: Net) -> str:
    if not net.machine.rom:
        return ""
    return (
        "#if defined(__AVR__)\n#include <avr/pgmspace.h>\n#define BNNC_TEST_ROM PROGMEM\n"
        "#define BNNC_TEST_READ(place, type) (sizeof(type) == 1u ? (type)pgm_read_byte(&(place)) : "
        "(type)pgm_read_dword(&(place)))\n"
        "#else\n#define BNNC_TEST_ROM\n#define BNNC_TEST_READ(place, type) (place)\n#endif\n"
    )


def _number(value: float, kind: str) -> str:
    if kind != "float":
        return "(-INT32_C(2147483647) - 1)" if value == -(2**31) else str(int(value))
    if value != value:
        return "(0.0f / 0.0f)"
    if value in (float("inf"), float("-inf")):
        return f"({'-' if value < 0 else ''}1.0f / 0.0f)"
    return f"{float.hex(value)}f"


__all__ = ["VECTORS", "Parameter", "golden", "selftest_text"]
