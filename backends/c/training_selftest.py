"""NAME_train_selftest.c: trains golden batches, on inputs that C draws too; the state is the reference's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bnnc.backends.c.selftest import Generator, expression_of, values_of
from bnnc.backends.c.training import Encoder, Trainer
from bnnc.backends.c.training_header import title
from bnnc.ir.module import Module, Output
from bnnc.reference import run as reference
from bnnc.train.engine import Samples
from bnnc.train.interpreted import ReferenceEngine
from bnnc.train.samples import pack_rows

BATCHES, EPOCHS, MOST = 3, 2, 8
"""Batches of an epoch, epochs, and samples of a batch at most."""
SEED = 0x9E3779B9


@dataclass(frozen=True)
class Golden:
    """What the reference makes of the first state: its checksum before, and after the golden batches."""

    batch: int
    before: int
    after: int


def golden(of: Trainer, encoder: Encoder) -> Golden:
    """The run that NAME_train_selftest repeats."""
    batch = min(MOST, of.step.batch)
    count = batch * BATCHES
    (source,) = encoder.interface.module.inputs
    generator = Generator(SEED)
    engine = ReferenceEngine(replace(of.step, batch=batch))
    engine.load_state(of.state)
    for _ in range(EPOCHS):
        rows, labels = [], []
        for number in range(count):
            rows.append(values_of(source, generator.words(source.type.size), number).reshape(source.type.shape))
            labels.append(int(generator.words(1)[0] >> 8) % of.step.classes)
        samples = Samples(_encoded(encoder, np.stack(rows)), np.array(labels, np.int32), of.step.width)
        engine.epoch(samples, np.arange(count))
    return Golden(batch, of.checksum(of.state), of.checksum(engine.state()))


def _encoded(encoder: Encoder, inputs: np.ndarray) -> np.ndarray:
    module = encoder.interface.module
    (source,), (output,) = module.inputs, module.outputs
    made = Module(module.name, (source,), (Output(output.name, output.value, "int8"),))
    bits = reference.run(made, {source.name: inputs})[output.name].reshape(len(inputs), encoder.steps, encoder.width)
    if encoder.bias:
        bits = np.concatenate([bits, np.ones((len(inputs), encoder.steps, 1), bits.dtype)], 2)
    return pack_rows(bits.reshape(len(inputs), -1))


def selftest_text(of: Trainer, encoder: Encoder) -> str:
    """The file."""
    p, upper = of.prefix, of.upper
    q, source = encoder.parameter, encoder.interface.module.inputs[0]
    found = golden(of, encoder)
    draw = expression_of(source, q.kind)
    rounds = f"{EPOCHS}u * {BATCHES}u * {found.batch}u"
    return "\n".join(
        [
            title(of),
            f'#include "{p}.h"',
            "",
            "#if !defined(BNNC_NO_MAIN)",
            "#include <stdio.h>",
            "#endif",
            "",
            "static uint32_t next_word(uint32_t *seed) {",
            "    uint32_t x = *seed;",
            "    x ^= x << 13;",
            "    x ^= x >> 17;",
            "    x ^= x << 5;",
            "    *seed = x;",
            "    return x;",
            "}",
            "",
            f"static void draw_input({q.kind} target[], uint32_t *seed, uint32_t number) {{",
            "    uint32_t i;",
            *(["    (void)number;"] if "number" not in "".join(draw) else []),
            f"    for (i = 0; i < {upper}_INPUT_LEN; ++i) {{",
            "        const uint32_t word = next_word(seed);",
            *(f"        {line}" for line in draw),
            "        target[i] = value;",
            "    }",
            "}",
            "",
            f"int {p}_selftest(uint32_t state[]) {{",
            f"    static {q.kind} input[{upper}_INPUT_LEN];",
            f"    static uint8_t bytes[{upper}_EXPORT_BYTES];",
            f"    uint32_t seed = UINT32_C(0x{SEED:08x});",
            "    uint32_t epoch;",
            f"    {p}_init(state);",
            f"    if ({p}_checksum(state) != UINT32_C(0x{found.before:08x})) {{",
            "        return 1;",
            "    }",
            f"    for (epoch = 0; epoch < {EPOCHS}u; ++epoch) {{",
            "        uint32_t number;",
            f"        for (number = 0; number < {BATCHES * found.batch}u; ++number) {{",
            "            draw_input(input, &seed, number);",
            f"            if ({p}_accumulate(state, input, (next_word(&seed) >> 8) % {upper}_CLASSES) < 0) {{",
            "                return 2;",
            "            }",
            f"            if ((number + 1u) % {found.batch}u == 0u) {{",
            f"                {p}_end_batch(state);",
            "            }",
            "        }",
            f"        {p}_end_epoch(state);",
            "    }",
            f"    if ({p}_checksum(state) != UINT32_C(0x{found.after:08x})) {{",
            "        return 3;",
            "    }",
            f"    if ({p}_export(state, bytes) != {upper}_EXPORT_BYTES || {p}_import(state, bytes) != 0) {{",
            "        return 4;",
            "    }",
            "    bytes[5] ^= 1u;",
            f"    return {p}_import(state, bytes) == 0 ? 5 : 0;",
            "}",
            "",
            "#if !defined(BNNC_NO_MAIN)",
            "int main(void) {",
            f"    static uint32_t state[{upper}_WORDS];",
            f"    const int result = {p}_selftest(state);",
            "    if (result == 0) {",
            f'        printf("{p}: ok, %lu golden samples\\n", (unsigned long)({rounds}));',
            "        return 0;",
            "    }",
            '    printf("%s: FAILED, %s\\n", "' + p + '",',
            '           result == 1   ? "the tables are damaged"',
            '           : result == 2 ? "a sample was refused"',
            '           : result == 3 ? "the trained weights are not the desktop\'s"',
            '                         : "an export is not read back");',
            "    return 1;",
            "}",
            "#endif",
            "",
        ]
    )


__all__ = ["Golden", "golden", "selftest_text"]
