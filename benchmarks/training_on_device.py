"""Training on emulated microcontrollers: instructions a weight that is corrected, and what whole steps cost.

Usage: python -m benchmarks.training_on_device [--json] [MACHINE …]      (cortex-m0 … cortex-m55; default: m0, m4)
       python -m benchmarks.training_on_device --mnist FOLDER            (an epoch over 20 000 images on a Cortex-M4)

Every run trains a batch, gcc -O2, and compares the state with the reference's. A *visited* weight is one of a neuron
that is corrected: all of its hidden weights change by 2. Beside it, for comparison, such corrections of an int8 array.
Needs what the boards need: gcc-arm-none-eabi and qemu-system-arm.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from benchmarks import training_boards
from bnnc.backends.c.boards import missing
from bnnc.backends.c.boards.table import CORES
from bnnc.backends.c.training import Trainer, trainer
from bnnc.backends.llvm.host import native_machine
from bnnc.backends.llvm.training import NativeEngine
from bnnc.data.dataset import Dataset
from bnnc.data.registry import both
from bnnc.diagnostics import BnncError
from bnnc.loops.machine import CONTROLLERS
from bnnc.train import rules
from bnnc.train.engine import Samples
from bnnc.train.interpreted import ReferenceEngine
from bnnc.train.plan import Settings, Signs, TrainingPlan
from bnnc.train.samples import packed


@dataclass(frozen=True)
class Workload:
    """A net of dense layers, how it is trained, and what a visited weight may cost on a Cortex-M4."""

    inputs: int
    widths: tuple[int, ...]
    settings: Settings
    samples: int
    demand: float = 0.0


# Groups of one neuron: every wrong neuron is corrected, as in the sketch whose figures are the anchor.
_EVERY = Settings(groups=(1,), batch=8)
WORKLOADS = {
    "256-256, hidden 8": Workload(256, (256,), replace(_EVERY, hidden=8), 4, 4.0),
    "256-256, hidden 16": Workload(256, (256,), replace(_EVERY, hidden=16), 4, 7.5),
    "785-75-75, LBE": Workload(785, (75, 75), Settings(batch=100), 6),
    "785-75-75, LBE, hidden 8": Workload(785, (75, 75), Settings(batch=50, hidden=8), 6),
    "785-135-135, BEP": Workload(785, (135, 135), Settings(rule="bep", batch=100), 6),
}


@dataclass(frozen=True)
class Measured:
    """Instructions of a run by function, and what they were spent on."""

    right: bool
    calls: dict[str, int]
    visited: int
    samples: int
    state_bytes: int
    said: str

    def of(self, *kinds: str) -> int:
        """Instructions of all functions of these kinds."""
        return sum(n for name, n in self.calls.items() if name.startswith(tuple(f"net_train_{kind}" for kind in kinds)))

    @property
    def per_weight(self) -> float:
        """Instructions for each visited weight."""
        return self.of("update") / max(1, self.visited)

    @property
    def per_sample(self) -> float:
        """Instructions for each sample, without the end of the batch."""
        return (sum(self.calls.values()) - self.of("reinforce", "take_signs")) / self.samples


def measure(workload: Workload, machine: str) -> Measured:
    """Trains one batch on an emulated board and on the reference."""
    plan = TrainingPlan("net", "x", (workload.inputs,), 10, (Signs(),), workload.widths, workload.settings)
    step, _ = rules.build(plan, workload.inputs, 1)
    of = trainer(step, step.state, None, "net_train", next(m for m in CONTROLLERS if m.name == machine))
    generator = np.random.default_rng(0)
    bits = generator.integers(0, 2, (workload.samples, workload.inputs))
    samples = packed(bits, generator.integers(0, 10, workload.samples))
    visited, expected = _reference(of, samples)
    try:
        found = training_boards.run(of, _main(samples), machine, 2, ("array",), kernels=True)
    except BnncError as reason:
        return Measured(False, {}, visited, len(samples), of.words * 4, str(reason))
    right = found.answers == (expected, 1 << 16)
    return Measured(right, found.instructions, visited, len(samples), of.words * 4, "right" if right else "WRONG")


MNIST = Settings(batch=20, hidden=8, groups=(25, 15), margin=Fraction(1, 10), reinforcement=Fraction(1, 4))
TRAINED, TESTED = 20_000, 2_000


def mnist(folder: str) -> dict[str, Any]:
    """An epoch of 785-75-75 in 8 bits on an emulated Cortex-M4, from the seed on; compared with LLVM's."""
    data = both("mnist", folder)
    plan = TrainingPlan("net", "x", (785,), 10, (Signs(),), (75, 75), MNIST)
    step, _ = rules.build(plan, 785, 1)
    train, test = (_bits(part, count) for part, count in ((data.train, TRAINED), (data.test, TESTED)))
    engine = NativeEngine(step, native_machine(), 1)
    engine.epoch(train, np.arange(TRAINED))
    of = trainer(step, step.state, None, "net_train", next(m for m in CONTROLLERS if m.name == "cortex-m4"))
    found = training_boards.run(of, _mnist_main(train, test), "cortex-m4", 2, ("train",), kernels=False)
    known, checksum = found.answers
    return {
        "right": checksum == of.checksum(engine.state()) and known == engine.evaluate(test),
        "test accuracy": known / TESTED,
        "instructions a sample": found.instructions["train"] // TRAINED,
        "state bytes": 4 * of.words,
    }


def _bits(part: Dataset, count: int) -> Samples:
    """The first images, a bit a pixel, and the constant one."""
    images, labels = part.load()
    bits = images[:count].reshape(count, -1) > 0
    return packed(np.concatenate([bits, np.ones((count, 1), np.bool_)], 1), labels[:count])


def _mnist_main(train: Samples, test: Samples) -> str:
    def table(kind: str, name: str, numbers: np.ndarray) -> str:
        return f"static const {kind} {name}[] = {{{', '.join(map(str, numbers.reshape(-1).tolist()))}}};"

    return f"""
{table("uint32_t", "learnt", train.bits)}
{table("uint8_t", "learnt_labels", train.labels)}
{table("uint32_t", "test", test.bits)}
{table("uint8_t", "test_labels", test.labels)}
static uint32_t state[NET_TRAIN_WORDS];
static void train(uint32_t answers[]) {{
    uint32_t known = 0;
    net_train_init(state);
    for (uint32_t i = 0; i < {len(train)}u; ++i) {{
        board_enter(0);
        net_train_accumulate_bits(state, learnt + i * NET_TRAIN_SAMPLE_WORDS, learnt_labels[i]);
        if (i % NET_TRAIN_BATCH == NET_TRAIN_BATCH - 1u) {{ net_train_end_batch(state); }}
        if (i == {len(train) - 1}u) {{ net_train_end_epoch(state); }}
        board_leave(0);
    }}
    for (uint32_t i = 0; i < {len(test)}u; ++i) {{
        int32_t scores[NET_TRAIN_CLASSES];
        uint32_t best = 0;
        net_train_run_bits(state, test + i * NET_TRAIN_SAMPLE_WORDS, scores);
        for (uint32_t k = 1; k < NET_TRAIN_CLASSES; ++k) {{ best = scores[k] > scores[best] ? k : best; }}
        known += best == test_labels[i];
    }}
    answers[0] = known;
    answers[1] = net_train_checksum(state);
}}
"""


def _reference(of: Trainer, samples: Samples) -> tuple[int, int]:
    """How many weights the samples visit, and the checksum of the state after them as one batch."""
    visited = 0
    whole = ReferenceEngine(of.step)
    for number in range(len(samples)):
        # One sample alone, from the first state: what it corrects does not depend on the others of its batch.
        alone = ReferenceEngine(replace(of.step, end_batch=of.step.end_epoch, end_epoch=of.step.end_epoch))
        state = {name: array.copy() for name, array in of.state.items()}
        state["clock"][2] = number
        alone.load_state(state)
        alone.epoch(samples, np.array([number]))
        for name, array in alone.state().items():
            if name.startswith("hidden_"):
                visited += int((array != of.state[name]).sum())
    whole.epoch(samples, np.arange(len(samples)))
    return visited, of.checksum(whole.state())


_COUNTERS = """
static int8_t counters[256][256];
__attribute__((noinline)) static void array_update(const uint32_t *x, uint32_t row, uint32_t up) {
    int8_t *c = counters[row];
    for (uint32_t i = 0; i < 256u; ++i) {
        int v = c[i];
        v += ((x[i >> 5] >> (i & 31u)) & 1u) == up ? 1 : -1;
        c[i] = (int8_t)(v > 63 ? 63 : v < -64 ? -64 : v);
    }
}
"""


def _main(samples: Samples) -> str:
    rows = ", ".join(f"{word}u" for word in samples.bits.reshape(-1).tolist())
    labels = ", ".join(map(str, samples.labels.tolist()))
    return f"""
static const uint32_t samples[] = {{{rows}}};
static const uint32_t labels[] = {{{labels}}};
static uint32_t state[NET_TRAIN_WORDS];
{_COUNTERS}
static void train(uint32_t answers[]) {{
    net_train_init(state);
    for (uint32_t i = 0; i < {len(samples)}u; ++i) {{
        net_train_accumulate_bits(state, samples + i * NET_TRAIN_SAMPLE_WORDS, labels[i]);
    }}
    net_train_end_batch(state);
    net_train_end_epoch(state);
    board_enter(0);
    for (uint32_t row = 0; row < 256u; ++row) {{ array_update(samples, row, row & 1u); }}
    board_leave(0);
    answers[0] = net_train_checksum(state);
    for (uint32_t row = 0; row < 65536u; ++row) {{ answers[1] += counters[row >> 8][row & 255u] != 0; }}
}}
"""


def main(arguments: list[str]) -> int:
    """Prints the table; 1 when a state was wrong, 2 when tools are missing."""
    machines = [name for name in arguments if name in CORES] or ["cortex-m0", "cortex-m4"]
    lacking = list(dict.fromkeys(each for machine in machines for each in missing(machine)))
    if lacking:
        sys.stderr.write(f"{'; '.join(lacking)}\n")
        return 2
    if "--mnist" in arguments:
        learnt = mnist(arguments[arguments.index("--mnist") + 1])
        sys.stdout.write(json.dumps(learnt, indent=1) + "\n")
        return 0 if learnt["right"] else 1
    rows = []
    for name, workload in WORKLOADS.items():
        for machine in machines:
            found = measure(workload, machine)
            rows.append(
                {
                    "workload": name,
                    "machine": machine,
                    "right": found.right,
                    "per visited weight": round(found.per_weight, 2),
                    "at most": workload.demand if machine == "cortex-m4" and workload.demand else None,
                    "int8 array": round(found.calls.get("array", 0) / 65536, 2),
                    "a sample": round(found.per_sample - found.calls.get("array", 0) / found.samples),
                    "end of batch": found.of("reinforce", "take_signs"),
                    "state bytes": found.state_bytes,
                }
            )
    if "--json" in arguments:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
    else:
        heads = list(rows[0])
        sys.stdout.write(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}\n")
        for row in rows:
            shown = {**row, "right": "yes" if row["right"] else "NO", "at most": row["at most"] or "—"}
            sys.stdout.write(f"| {' | '.join(str(item) for item in shown.values())} |\n")
    return 0 if all(row["right"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
