"""The table of microcontrollers: executed instructions and sizes on emulated boards, gcc -O2, every output checked.

Usage: python -m benchmarks.microcontrollers [--json] [MACHINE …]      (cortex-m0 … cortex-m55; default: m0, m4)
Needs gcc, gcc-arm-none-eabi and qemu-system-arm, and the harness among the shared fixtures.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import numpy as np

from benchmarks import boards
from bnnc.ir import bit, move
from bnnc.ir.location import Location
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, Int


def _signs(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.choice([-1, 1], shape).astype(np.int8)


def _step(rng: np.random.Generator, sums: Op, spread: int) -> Op:
    outputs = sums.type.shape[0]
    thresholds = rng.integers(-spread, spread + 1, (outputs, 1)).astype(np.int32)
    return bit.Step(sums, thresholds, np.tile(np.array([[-1, 1]], np.int32), (outputs, 1)), Bit(), loc=sums.loc)


def dense() -> Module:
    """A dense layer of 256 bits to 256 bits."""
    rng = np.random.default_rng(0)
    x = Input("x", Bit(), (256,))
    sums = bit.Dense(x, _signs(rng, 256, 256), loc=Location("layer"))
    return Module("dense", (x,), (Output("y", _step(rng, sums, 16), "int8"),))


def convolution() -> Module:
    """A convolution 3x3 of 8x8x64 bits to 64 channels, padded with -1."""
    rng = np.random.default_rng(1)
    x = Input("x", Bit(), (64, 8, 8))
    sums = bit.Conv(x, _signs(rng, 64, 64, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1, -1, loc=Location("layer"))
    return Module("convolution", (x,), (Output("y", _step(rng, sums, 24), "int8"),))


def small_cifar() -> Module:
    """SmallCifar of CMSIS-NN, binary, 12.3 M multiply-accumulates: conv 5x5 32-32-64, each pooled, dense to 10."""
    rng = np.random.default_rng(2)
    x = Input("image", Int(0, 255), (3, 32, 32))
    value: Op = x
    for name, inputs, outputs, spread in (("conv1", 3, 32, 1000), ("conv2", 32, 32, 20), ("conv3", 32, 64, 20)):
        weights = _signs(rng, outputs, inputs, 5, 5)
        pad = 0 if value is x else -1
        sums = bit.Conv(value, weights, (1, 1), (2, 2, 2, 2), (1, 1), 1, pad, loc=Location(name))
        value = bit.Pool(_step(rng, sums, spread), "max", (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), loc=Location(name))
    scores = bit.Dense(move.Reshape(value, (1024,)), _signs(rng, 10, 1024), loc=Location("scores"))
    return Module("small_cifar", (x,), (Output("scores", scores, "int32"),))


# What is measured, and the demands on it by machine. Of single layers only the layer counts, not its input and output.
WORKLOADS: dict[str, tuple[Callable[[], Module], str, dict[str, int]]] = {
    "dense 256->256": (dense, "layer", {"cortex-m4": 9_600, "cortex-m0": 16_000}),
    "conv 3x3 8x8x64->64": (convolution, "layer", {"cortex-m4": 410_000, "cortex-m0": 660_000, "cortex-m55": 280_000}),
    "SmallCifar": (small_cifar, "", {"cortex-m4": 2_900_000, "cortex-m0": 4_300_000}),
}


def measure(workload: str, machine: str) -> tuple[boards.Run, int]:
    """A run and the instructions that count."""
    make, part, _ = WORKLOADS[workload]
    found = boards.run(make(), machine)
    return found, sum(n for name, n in found.calls.items() if not part or name.startswith(f"net_{part}"))


def main(arguments: list[str]) -> int:
    """Prints the table; 1 when an output was wrong, 2 when tools are missing."""
    absent = boards.missing()
    if absent:
        sys.stderr.write(f"missing: {', '.join(absent)}\n")
        return 2
    machines = [name for name in arguments if not name.startswith("-")] or ["cortex-m0", "cortex-m4"]
    rows = []
    for workload, (_, _, demands) in WORKLOADS.items():
        for machine in machines:
            found, count = measure(workload, machine)
            rows.append(
                {
                    "workload": workload,
                    "machine": machine,
                    "right": found.ok,
                    "instructions": count,
                    "demand": demands.get(machine),
                    "flash": found.flash,
                    "ram": found.ram,
                }
            )
    if "--json" in arguments:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
    else:
        heads = ["workload", "machine", "right", "instructions", "at most", "flash", "ram"]
        sys.stdout.write(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}\n")
        for row in rows:
            shown = [row["workload"], row["machine"], "yes" if row["right"] else "NO", row["instructions"]]
            shown += [row["demand"] or "—", row["flash"], row["ram"]]
            sys.stdout.write(f"| {' | '.join(str(item) for item in shown)} |\n")
    return 0 if all(row["right"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
