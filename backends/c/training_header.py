"""NAME_train.h: sizes as macros, and the functions that train a network on the device."""

from __future__ import annotations

from bnnc import __version__
from bnnc.backends.c.headers import header
from bnnc.backends.c.names import comment_text
from bnnc.backends.c.training import Trainer


def title(of: Trainer) -> str:
    """The first line of every file."""
    return f"/* {of.prefix}: training, made by bnnc {__version__}; machine {of.machine.name} */"


def header_text(of: Trainer) -> str:
    """NAME_train.h."""
    p, upper, program = of.prefix, of.upper, of.program
    batch = of.step.batch
    last = program.homes["last"].value.buffer.offset // 4
    lines = [
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
    ]
    return header(title(of), p, lines)


__all__ = ["header_text", "title"]
