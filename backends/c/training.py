"""NAME_train.h and NAME_train.c: training on the device, a sample at a time, in memory that the caller passes."""

from __future__ import annotations

import textwrap
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from bnnc import __version__
from bnnc.backends.c.files import preamble
from bnnc.backends.c.interface import Interface, Parameter, interface_of, signature_of
from bnnc.backends.c.names import comment_text
from bnnc.backends.c.printer import Printed, print_program, print_programs
from bnnc.backends.c.training_text import DRAWING, PACKING, SUPPORT
from bnnc.diagnostics import BnncError, error
from bnnc.ir.module import Output
from bnnc.ir.training import INIT, stream
from bnnc.loops.ir import Fma, expressions_of, nodes_of, statements_of
from bnnc.loops.lower.network import lower
from bnnc.loops.lower.training.device import DeviceProgram, lower_device
from bnnc.loops.lower.training.single_values import HiddenPlanes, RowsOfBits
from bnnc.loops.lower.training.values import Numbers
from bnnc.loops.machine import Machine
from bnnc.passes import pipelines
from bnnc.train.encoding import Encoding
from bnnc.train.engine import Step
from bnnc.train.record import Record
from bnnc.train.rules import largest_hidden
from bnnc.train.state import initial_shift


@dataclass(frozen=True, eq=False)
class Encoder:
    """The part of the network in front of what is trained: an input becomes int8 `values`, [steps][width] of ±1.

    bias: a constant +1 follows every step.
    """

    interface: Interface
    parameter: Parameter
    printed: Printed
    arena_words: int
    steps: int
    width: int
    bias: bool

    @property
    def value_words(self) -> int:
        """Words of memory for the values."""
        return -(-self.steps * self.width // 4)


@dataclass(frozen=True, eq=False)
class Trainer:
    """A training step on its way into C; `state` is where it begins. Names begin with `prefix`.

    drawn: the key of the random numbers, and the shift, of every matrix whose first hidden weights are drawn there.
    """

    prefix: str
    machine: Machine
    step: Step
    state: Mapping[str, np.ndarray]
    program: DeviceProgram
    printed: Printed
    bodies: Mapping[str, list[str]]
    encoder: Encoder | None
    drawn: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def upper(self) -> str:
        """The prefix of macros."""
        return self.prefix.upper()

    @property
    def kept_words(self) -> int:
        """Words of the state that matter between calls."""
        return self.program.kept // 4

    @property
    def bits_word(self) -> int:
        """Where an encoded sample lies in the state: behind all that its encoding and its training use."""
        more = self.encoder.value_words + self.encoder.arena_words if self.encoder else 0
        return max(self.program.bytes // 4, self.kept_words + more)

    @property
    def words(self) -> int:
        """Words of the whole state."""
        return self.bits_word + (self.program.sample_words if self.encoder else 0)

    @property
    def matrices(self) -> list[tuple[str, HiddenPlanes, RowsOfBits]]:
        """Every trained matrix: its name, its hidden weights and its weights."""
        homes = self.program.homes
        found = []
        for name, home in homes.items():
            if isinstance(home.value, HiddenPlanes):
                weights = homes[f"weights_{name.removeprefix('hidden_')}"].value
                assert isinstance(weights, RowsOfBits)
                found.append((name.removeprefix("hidden_"), home.value, weights))
        return found

    @property
    def numbers(self) -> tuple[int, int]:
        """The first word of the counters, and how many words they are."""
        places = [h.value.buffer for h in self.program.homes.values() if isinstance(h.value, Numbers)]
        first = min(buffer.offset for buffer in places) // 4
        return first, self.program.label.offset // 4 - first

    @property
    def export_bytes(self) -> int:
        """What NAME_train_export writes: an identification, the weights, a checksum."""
        return 8 + 4 * sum(weights.rows * hidden.layout.words for _, hidden, weights in self.matrices)

    @property
    def identity(self) -> int:
        """A number that tells exports of other networks: of the sizes and the classifiers."""
        text = [f"{name}:{w.rows}x{w.width}" for name, _, w in self.matrices]
        total = zlib.crc32(" ".join(text).encode())
        for _, buffer in self.printed.table_names:
            assert buffer.data is not None
            total = zlib.crc32(np.ascontiguousarray(buffer.data.astype("<i4")).tobytes(), total)
        return total

    @property
    def rom_bytes(self) -> int:
        """Constant tables, the first state included."""
        tables = sum(buffer.bytes for _, buffer in self.printed.table_names)
        if self.encoder:
            tables += sum(buffer.bytes for _, buffer in self.encoder.printed.table_names)
        stored = sum(hidden.layout.length for name, hidden, _ in self.matrices if name not in self.drawn)
        return tables + 4 * (stored + self.numbers[1])

    @property
    def stack_bytes(self) -> int:
        """At most so much stack."""
        return max(self.printed.stack_bytes, self.encoder.printed.stack_bytes if self.encoder else 0) + 64

    def memory(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """uint32: the first words of the state in memory, for these tensors."""
        octets = np.zeros(self.program.bytes, np.uint8)
        for name, home in self.program.homes.items():
            home.store(octets, state[name])
        return octets.view(np.uint32)

    def checksum(self, state: Mapping[str, np.ndarray]) -> int:
        """What NAME_train_checksum gives for this state."""
        memory = self.memory(state)
        total = 0
        for _, hidden, _ in self.matrices:
            layout = hidden.layout
            at = hidden.buffer.offset // 4
            groups = memory[at : at + layout.length].reshape(layout.rows, layout.words, layout.planes).copy()
            groups[:, -1] &= np.uint32(last_mask(layout.width))
            total = zlib.crc32(np.ascontiguousarray(groups.astype("<u4")).tobytes(), total)
        first, count = self.numbers
        return zlib.crc32(memory[first : first + count].astype("<u4").tobytes(), total)


def last_mask(width: int) -> int:
    """The bits of the last word of a row that exist."""
    return (1 << width % 32) - 1 if width % 32 else 0xFFFFFFFF


def trainer_of_record(record: Record, prefix: str, machine: Machine, channels_last: bool, anew: bool) -> Trainer:
    """The trainer for what a `.bnnm` holds; `anew`: it begins where the desktop's training began.

    Raises BnncError B0538 for what cannot be trained on that machine.
    """
    if not anew:
        return trainer(record.step, record.state, record.encoding, prefix, machine, channels_last)
    made = trainer(record.step, record.step.state, record.encoding, prefix, machine, channels_last)
    shift = initial_shift(largest_hidden(record.plan))
    keys = {m.name: (stream(record.seed, INIT, m.index, 0), shift) for m in record.design.matrices}
    return replace(made, drawn=keys)


def trainer(
    step: Step,
    state: Mapping[str, np.ndarray],
    encoding: Encoding | None,
    prefix: str,
    machine: Machine,
    channels_last: bool = False,
) -> Trainer:
    """The trainer for a step; without an encoding it takes samples that are bits already.

    Raises BnncError B0538 where the machine is too small, or the encoders need what it lacks; B0615 for a step that
    cannot be expressed.
    """
    if machine.index_bits == 16:
        raise error(
            "B0538",
            f"`{machine.name}` is too small to train a network on",
            notes=("a hidden weight takes a byte or two of RAM, and each sample 64-bit random numbers",),
            helps=("--machine cortex-m0, or another 32-bit processor",),
        )
    modules = (step.accumulate(1), step.end_batch, step.end_epoch, step.evaluate(1))
    program = lower_device("train", step.width, step.classes, *modules, machine)
    casts = {program.accumulate.inputs[0]: "bits", program.run.inputs[0]: "bits"}
    casts[program.run.outputs[0]] = "(uint32_t *)out"
    printed, bodies = print_programs(program.programs, prefix, 32, machine.rom, lambda _: "", casts)
    names = ("accumulate", "end_batch", "end_epoch", "run")
    encoder = None if encoding is None else _encoder(encoding, prefix, machine, channels_last)
    by_name = dict(zip(names, bodies, strict=True))
    return Trainer(prefix, machine, step, dict(state), program, printed, by_name, encoder)


def _encoder(encoding: Encoding, prefix: str, machine: Machine, channels_last: bool) -> Encoder:
    module = encoding.module()
    if module.level == "bit":
        module = pipelines.optimise(module)
    (output,) = module.outputs
    interface = interface_of(replace(module, outputs=(Output(output.name, output.value, "bool"),)), channels_last)
    try:
        lowered = lower(interface.module, machine)
    except BnncError as fault:
        raise error(
            "B0538",
            "what stands in front of the trained layers cannot run on the device",
            notes=tuple(diagnostic.message for diagnostic in fault.diagnostics),
        ) from None
    program = lowered.program
    roots = (e for f in program.functions for s in statements_of(f.body) for e in expressions_of(s))
    if not machine.fma and any(isinstance(node, Fma) for root in roots for node in nodes_of(root)):
        raise error(
            "B0538",
            f"what stands in front of the trained layers works on floats, and `{machine.name}` has no FPU",
            helps=("--machine cortex-m4, or another one with an FPU",),
        )
    signature = signature_of(interface, program, prefix)
    casts = {program.inputs[0]: signature.inputs[0].cast, program.outputs[0]: "values"}
    printed = print_program(program, f"{prefix}_encode", 32, machine.rom, lambda _: "", casts)
    words = -(-program.arena_bytes // 4)
    part = encoding.parts[0].type.size
    return Encoder(interface, signature.inputs[0], printed, words, len(encoding.parts), part, encoding.bias)


# ---------------------------------------------------------------------------------------------------------- the header
def title(of: Trainer) -> str:
    """The first line of every file."""
    return f"/* {of.prefix}: training, made by bnnc {__version__}; machine {of.machine.name} */"


def header_text(of: Trainer) -> str:
    """NAME_train.h."""
    p, upper, program = of.prefix, of.upper, of.program
    batch = of.step.batch
    last = program.homes["last"].value.buffer.offset // 4
    lines = [title(of), f"#ifndef {upper}_H", f"#define {upper}_H", "", "#include <stdint.h>", ""]
    lines += ["#ifdef __cplusplus", 'extern "C" {', "#endif", ""]
    lines += [
        "/* The state, uint32_t [WORDS], holds everything: trainings with states of their own never meet. Between",
        " * calls only its first KEPT_WORDS matter: copy them to flash, and training goes on from there. */",
        f"#define {upper}_WORDS {of.words}u",
        f"#define {upper}_KEPT_WORDS {of.kept_words}u",
        "/* Samples of a batch: with as many the weights are those that the desktop makes, and more are refused. */",
        f"#define {upper}_BATCH {batch}u",
        f"#define {upper}_CLASSES {program.classes}u",
        "/* Words of an encoded sample. */",
        f"#define {upper}_SAMPLE_WORDS {program.sample_words}u",
        f"#define {upper}_EXPORT_BYTES {of.export_bytes}u",
        f"#define {upper}_STACK_BYTES {of.stack_bytes}u",
        f"#define {upper}_ROM_BYTES {of.rom_bytes}u",
    ]
    if of.encoder:
        q = of.encoder.parameter
        lines += [
            f"/* Input {comment_text(q.label)}: {q.kind}, {comment_text(q.meaning)}. */",
            f"#define {upper}_INPUT_LEN {q.length}u",
        ]
    lines += [
        "/* Of the last complete epoch: wrong answers (before each batch's change), samples, weights that flipped. */",
        *(f"#define {upper}_LAST_{n}(state) ((state)[{last + i}])" for i, n in enumerate(("WRONG", "TOTAL", "FLIPS"))),
        "",
        "/* Begins where the desktop's training "
        + ("began: hidden weights are drawn from its seed. */" if of.drawn else "ended: hidden weights are tables. */"),
        f"void {p}_init(uint32_t state[]);",
        "",
    ]
    if of.encoder:
        kind = of.encoder.parameter.kind
        lines += [
            "/* Learns one sample: its part of the batch's changes is added up. Returns 1 if the network was right,",
            " * 0 if not, -1 (and does nothing) for a label that is no class, or when the batch is full. */",
            f"int {p}_accumulate(uint32_t state[], const {kind} in[], uint32_t label);",
            "",
            "/* The scores of the classes by the weights of the last complete batch; the largest wins. */",
            f"void {p}_run(uint32_t state[], const {kind} in[], int32_t out[]);",
            "",
            f"/* An input as bits [{upper}_SAMPLE_WORDS], which take less room to keep. Nothing is learnt. */",
            f"void {p}_encode(uint32_t state[], const {kind} in[], uint32_t bits[]);",
            "",
        ]
    lines += [
        "/* The same for samples that are encoded: bit k % 32 of word k / 32 is 1 for +1. */",
        f"int {p}_accumulate_bits(uint32_t state[], const uint32_t bits[], uint32_t label);",
        f"void {p}_run_bits(uint32_t state[], const uint32_t bits[], int32_t out[]);",
        "",
        "/* After the last sample of a batch: changes the weights. */",
        f"void {p}_end_batch(uint32_t state[]);",
        "",
        "/* After the last batch of an epoch: how much the next one reinforces, and the sizes of groups. */",
        f"void {p}_end_epoch(uint32_t state[]);",
        "",
        "/* Writes the weights, a bit each, little-endian words behind one that tells the network, and their CRC-32.",
        f" * Returns how many bytes: {upper}_EXPORT_BYTES. */",
        f"uint32_t {p}_export(const uint32_t state[], uint8_t bytes[]);",
        "",
        "/* Takes the weights of an export; hidden weights then lie next to 0. Returns 0, or -1 (and changes nothing)",
        " * for bytes that are damaged or of another network. */",
        f"int {p}_import(uint32_t state[], const uint8_t bytes[]);",
        "",
        "/* CRC-32 of the hidden weights and counters: equal on every machine that made the same steps. */",
        f"uint32_t {p}_checksum(const uint32_t state[]);",
        "",
        f"/* Trains golden batches (in {p}_selftest.c); 0 when every bit is the desktop's. */",
        f"int {p}_selftest(uint32_t state[]);",
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        f"#endif /* {upper}_H */",
        "",
    ]
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------------------- the source
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
    text = ", ".join(f"0x{word:08x}u" for word in words.tolist())
    body = textwrap.fill(text, 114, initial_indent="    ", subsequent_indent="    ", break_long_words=False)
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


__all__ = ["Encoder", "Trainer", "header_text", "source_text", "title", "trainer", "trainer_of_record"]
