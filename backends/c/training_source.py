"""NAME_train.c: training on the device, a sample at a time, in memory that the caller passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bnnc.backends.c.files import preamble
from bnnc.backends.c.printer import Printed
from bnnc.backends.c.tables import filled
from bnnc.backends.c.training import Encoder, Trainer, last_mask
from bnnc.backends.c.training_header import title
from bnnc.backends.c.training_text import DRAWING, PACKING, SUPPORT


def source_text(of: Trainer, begins: bool = True) -> str:
    """NAME_train.c; `begins`: with the state that NAME_train_init begins with."""
    both = _together(of)
    parts = [title(of), f'#include "{of.prefix}.h"', *preamble(both, of.machine), SUPPORT.lstrip()]
    if of.encoder:
        parts += [PACKING.lstrip(), of.encoder.printed.tables, of.encoder.printed.functions]
    parts += [of.printed.tables, of.printed.functions, _functions(of)]
    if begins:
        parts += [DRAWING.lstrip() if of.drawn else "", _first_state(of), _init(of)]
    return "\n".join(parts)


def _together(of: Trainer) -> Printed:
    printed = of.printed
    more = of.encoder.printed if of.encoder else Printed()
    return replace(
        printed,
        primitives=printed.primitives | more.primitives,
        headers=printed.headers | more.headers,
        elements=printed.elements | more.elements,
        table_names=[*more.table_names, *printed.table_names],
        ordered=printed.ordered or more.ordered,
    )


def words_table(symbol: str, words: np.ndarray, about: str) -> str:
    """A table of words."""
    body = filled(f"0x{word:08x}u" for word in words.tolist())
    return f"/* {about} */\nstatic const uint32_t BNNC_ROM {symbol}[{len(words)}] = {{\n{body}\n}};\n"


def _first_state(of: Trainer) -> str:
    memory = of.memory(of.state)
    tables = []
    for name, hidden, _ in of.matrices:
        if name in of.drawn:
            continue
        at = hidden.buffer.offset // 4
        layout = hidden.layout
        about = f"hidden weights of {name}: [neuron][32 inputs][plane]"
        tables.append(words_table(f"{of.prefix}_hidden_{name}", memory[at : at + layout.length], about))
    first, count = of.numbers
    tables.append(words_table(f"{of.prefix}_numbers", memory[first : first + count], "counters, rates and the seed"))
    return "\n".join(tables)


def _init(of: Trainer) -> str:
    p = of.prefix
    number, count = of.numbers
    lines = [f"void {p}_init(uint32_t state[]) {{"]
    for name, hidden, weights in of.matrices:
        at, to, layout = hidden.buffer.offset // 4, weights.buffer.offset // 4, hidden.layout
        sizes = f"{layout.rows}u, {layout.words}u, {layout.planes}u, UINT32_C(0x{last_mask(layout.width):x})"
        if name in of.drawn:
            key, shift = of.drawn[name]
            drawn = f"UINT64_C(0x{key:016x}), {layout.rows}u, {layout.width}u, {layout.planes}u, {shift}u"
            lines.append(f"    draw_hidden(state + {at}, {drawn});")
        else:
            lines.append(f"    copy_words(state + {at}, {p}_hidden_{name}, {layout.length}u);")
        lines.append(f"    copy_signs(state + {to}, state + {at}, {sizes});")
    return "\n".join([*lines, f"    copy_words(state + {number}, {p}_numbers, {count}u);", "}", ""])


def _functions(of: Trainer) -> str:
    p, program = of.prefix, of.program
    clock = program.homes["clock"].value.buffer.offset // 4
    wrong = program.homes["wrong"].value.buffer.offset // 4
    lines = [
        f"int {p}_accumulate_bits(uint32_t state[], const uint32_t bits[], uint32_t label) {{",
        "    uint32_t *const arena = state;",
        f"    const uint32_t before = state[{wrong}];",
        f"    if (label >= {program.classes}u || state[{clock + 2}] >= {of.step.batch}u) {{",
        "        return -1;",
        "    }",
        f"    state[{program.label.offset // 4}] = label;",
        *_block(of.bodies["accumulate"]),
        f"    return state[{wrong}] == before ? 1 : 0;",
        "}",
        "",
        f"void {p}_run_bits(uint32_t state[], const uint32_t bits[], int32_t out[]) {{",
        "    uint32_t *const arena = state;",
        *_block(of.bodies["run"]),
        "}",
        "",
    ]
    for name in ("end_batch", "end_epoch"):
        lines += [f"void {p}_{name}(uint32_t state[]) {{", "    uint32_t *const arena = state;"]
        lines += [*_block(of.bodies[name]), "}", ""]
    if of.encoder:
        lines += _encoding(of, of.encoder)
    return "\n".join([*lines, *_exports(of)])


def _block(body: list[str]) -> list[str]:
    """Statements with names of their own."""
    return ["    {", *(f"    {line}" for line in body), "    }"]


def _encoding(of: Trainer, encoder: Encoder) -> list[str]:
    p, q = of.prefix, encoder.parameter
    bits = f"state + {of.bits_word}"
    unused = [] if any("arena" in line for line in encoder.printed.body) else ["    (void)arena;"]
    return [
        f"void {p}_encode(uint32_t state[], const {q.kind} {q.name}[], uint32_t bits[]) {{",
        f"    uint8_t *const values = (uint8_t *)(state + {of.kept_words});",
        f"    uint32_t *const arena = state + {of.kept_words + encoder.value_words};",
        *unused,
        *_block(encoder.printed.body),
        f"    pack_bits(bits, values, {encoder.steps}u, {encoder.width}u, {int(encoder.bias)}u);",
        "}",
        "",
        f"int {p}_accumulate(uint32_t state[], const {q.kind} in[], uint32_t label) {{",
        f"    {p}_encode(state, in, {bits});",
        f"    return {p}_accumulate_bits(state, {bits}, label);",
        "}",
        "",
        f"void {p}_run(uint32_t state[], const {q.kind} in[], int32_t out[]) {{",
        f"    {p}_encode(state, in, {bits});",
        f"    {p}_run_bits(state, {bits}, out);",
        "}",
        "",
    ]


def _exports(of: Trainer) -> list[str]:
    p, size = of.prefix, of.export_bytes
    number, count = of.numbers
    export = [
        f"uint32_t {p}_export(const uint32_t state[], uint8_t bytes[]) {{",
        f"    put_word(bytes, UINT32_C(0x{of.identity:08x}));",
    ]
    restore = [
        f"int {p}_import(uint32_t state[], const uint8_t bytes[]) {{",
        f"    if (get_word(bytes) != UINT32_C(0x{of.identity:08x}) ||",
        f"        get_word(bytes + {size - 4}) != ~crc_bytes(UINT32_C(0xffffffff), bytes, {size - 4}u)) {{",
        "        return -1;",
        "    }",
    ]
    checksum = [
        f"uint32_t {p}_checksum(const uint32_t state[]) {{",
        "    uint32_t crc = UINT32_C(0xffffffff);",
    ]
    place = 4
    for _, hidden, weights in of.matrices:
        layout = hidden.layout
        at, to = hidden.buffer.offset // 4, weights.buffer.offset // 4
        sizes = f"{layout.rows}u, {layout.words}u, {layout.planes}u"
        total = weights.rows * layout.words
        export.append(f"    put_words(bytes + {place}, state + {to}, {total}u);")
        restore.append(f"    get_words(state + {to}, bytes + {place}, {total}u);")
        restore.append(f"    spread_signs(state + {at}, state + {to}, {total}u, {layout.planes}u);")
        mask = f"UINT32_C(0x{last_mask(layout.width):x})"
        checksum.append(f"    crc = crc_planes(crc, state + {at}, {sizes}, {mask});")
        place += 4 * total
    export += [
        f"    put_word(bytes + {place}, ~crc_bytes(UINT32_C(0xffffffff), bytes, {place}u));",
        f"    return {size}u;",
        "}",
        "",
    ]
    restore += ["    return 0;", "}", ""]
    checksum += [f"    return ~crc_planes(crc, state + {number}, 1u, {count}u, 1u, UINT32_C(0xffffffff));", "}", ""]
    return [*export, *restore, *checksum]


__all__ = ["source_text"]
