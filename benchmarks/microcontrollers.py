"""The table of microcontrollers: what layers execute, what networks take, and their accuracy, on emulated boards.

Usage: python -m benchmarks.microcontrollers [--json] [--data-dir FOLDER] [WORD …]     (only rows with these words)
Code is built with -O2; every output is compared with the reference. Rows whose compiler, emulator or data are not here
are shown as missing, with what to install; the row of accuracies needs MNIST, that of training the shared harness.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks import boards
from bnnc import api
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


# What is measured, and the part of it that counts: of single layers the layer alone, not its input and output.
WORKLOADS: dict[str, tuple[Callable[[], Module], str]] = {
    "dense 256->256": (dense, "layer"),
    "conv 3x3 8x8x64->64": (convolution, "layer"),
    "SmallCifar": (small_cifar, ""),
}
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "mnist" / "model.onnx"
IMAGES = 1000
WORDS_OF_DENSE = 256 * 256 // 32


def measure(workload: str, machine: str) -> tuple[boards.Run, int]:
    """A run, and the instructions that count."""
    make, part = WORKLOADS[workload]
    found = boards.run(make(), machine)
    # Lists of its input are made by functions that layers share.
    counted = (f"net_{part}", "net_list_")
    return found, sum(n for name, n in found.calls.items() if not part or name.startswith(counted))


@dataclass(frozen=True)
class Row:
    """One row of the table. `value` is None where it could not be measured; `note` says why, or what else there is to
    say. Less is better, except for accuracies."""

    workload: str
    machine: str
    what: str
    value: float | None
    at_least: float
    aim: float
    right: bool
    note: str = ""

    @property
    def verdict(self) -> str:
        """Which demand it meets."""
        if self.value is None:
            return "missing"
        if not self.right:
            return "WRONG"
        better = self.what == "accuracy"
        met = [self.value >= demand if better else self.value <= demand for demand in (self.at_least, self.aim)]
        return "aim" if met[1] else "at least" if met[0] else "MISSED"


def rows(data_dir: str | None = None) -> Iterator[tuple[str, Callable[[], Row]]]:
    """The rows of the table, by name, to be measured one by one."""

    def counted(
        workload: str, machine: str, at_least: float, aim: float, words: int = 0
    ) -> tuple[str, Callable[[], Row]]:
        def made() -> Row:
            what = "cycles a word" if machine == "avr" else "instructions"
            if install := boards.lacking(machine):
                return Row(workload, machine, what, None, at_least, aim, True, "; ".join(install))
            found, count = measure(workload, machine)
            return Row(workload, machine, what, count / words if words else count, at_least, aim, found.ok)

        return f"{workload} {machine}", made

    yield counted("SmallCifar", "cortex-m4", 2.9e6, 2.0e6)
    yield counted("SmallCifar", "cortex-m0", 4.3e6, 3.4e6)
    yield counted("dense 256->256", "cortex-m4", 9600, 8200)
    yield counted("dense 256->256", "cortex-m0", 16_000, 13_300)
    yield counted("conv 3x3 8x8x64->64", "cortex-m4", 410_000, 295_000)
    yield counted("conv 3x3 8x8x64->64", "cortex-m0", 660_000, 480_000)
    yield counted("conv 3x3 8x8x64->64", "cortex-m55", 280_000, 160_000)
    yield counted("dense 256->256", "rv32imac_zbb", 10_400, 8400)
    yield counted("dense 256->256", "avr", 95, 85, WORDS_OF_DENSE)
    for what, at_least, aim in (
        ("RAM", 11 << 10, 5 << 10),
        ("RAM, streamed", 7 << 10, 2560),
        ("flash", 22 << 10, 16 << 10),
    ):
        yield f"SmallCifar {what}", lambda what=what, a=at_least, b=aim: _size(what, a, b)  # type: ignore[misc]
    for hidden, least, best in ((8, 4.0, 3.0), (16, 7.5, 6.0)):
        yield f"training hidden {hidden}", lambda h=hidden, a=least, b=best: _training(h, a, b)  # type: ignore[misc]
    yield "MNIST cortex-m0", lambda: accuracy("cortex-m0", "microbit", EXAMPLE, data_dir)
    yield "MNIST avr", lambda: accuracy("avr", "atmega328p", EXAMPLE, data_dir)


def _size(what: str, at_least: float, aim: float) -> Row:
    """Bytes of SmallCifar on a Cortex-M4: data, bss and the stack that was used; or flash, with the start-up code."""
    machine, name = "cortex-m4", f"bytes of {what}"
    if install := boards.lacking(machine):
        return Row("SmallCifar", machine, name, None, at_least, aim, True, "; ".join(install))
    found = boards.run(small_cifar(), machine, streamed=what == "RAM, streamed")
    value = found.flash if what == "flash" else found.ram + found.stack
    return Row("SmallCifar", machine, name, value, at_least, aim, found.ok, found.said if not found.ok else "")


def _training(hidden: int, at_least: float, aim: float) -> Row:
    """Instructions for each weight of a neuron that is corrected."""
    from benchmarks import training_on_device

    workload, machine, what = f"training, hidden width {hidden}", "cortex-m4", "instructions a visited weight"
    if install := boards.lacking(machine):
        return Row(workload, machine, what, None, at_least, aim, True, "; ".join(install))
    found = training_on_device.measure(training_on_device.WORKLOADS[f"256-256, hidden {hidden}"], machine)
    return Row(workload, machine, what, round(found.per_weight, 2), at_least, aim, found.right)


def accuracy(machine: str, board: str, model: Path, data_dir: str | None, count: int = IMAGES) -> Row:
    """The share of the first test images of MNIST whose class a network finds, on a board with its real memory."""
    from bnnc.checking import classes
    from bnnc.data.feed import from_images
    from bnnc.data.registry import find
    from bnnc.diagnostics import BnncError

    workload = f"MNIST, {model.parent.name}/{model.name}"
    if install := boards.lacking(machine):
        return Row(workload, machine, "accuracy", None, 0.97, 0.97, True, "; ".join(install))
    try:
        images, labels = next(find("mnist", "test", data_dir).batches(count))
    except BnncError as reason:
        return Row(workload, machine, "accuracy", None, 0.97, 0.97, True, str(reason))
    module = api.load(model, pixels={"": (1 / 255, (0.0,), (1.0,))})
    network = api.network(module, "c", {"board": board}, machine=machine)
    inputs = from_images(images, module, "MNIST")
    outputs = network.run(inputs)
    found = classes(module, outputs)
    assert found is not None
    judged = api.network(module, "reference", {}).run(inputs)
    right = all(np.array_equal(outputs[name], array) for name, array in judged.items())
    share = float((found == labels).mean())
    return Row(workload, machine, "accuracy", share, 0.97, 0.97, right, f"{len(labels)} test images on {board}")


def main(arguments: list[str]) -> int:
    """Prints the table; 1 when an output was wrong, or a row misses what it must hold at least."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.microcontrollers")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data-dir")
    parser.add_argument("words", nargs="*")
    given = parser.parse_args(arguments)
    found = [make() for name, make in rows(given.data_dir) if all(word in name for word in given.words)]
    if given.json:
        document = [{**asdict(row), "verdict": row.verdict} for row in found]
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        heads = ["workload", "machine", "what", "measured", "at least", "aim", "meets", ""]
        sys.stdout.write(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}\n")
        for row in found:
            numbers = [
                "—" if n is None else f"{n:,.4g}" if n < 1000 else f"{n:,.0f}"
                for n in (row.value, row.at_least, row.aim)
            ]
            shown = [
                row.workload,
                row.machine,
                row.what,
                *(n.replace(",", " ") for n in numbers),
                row.verdict,
                row.note,
            ]
            sys.stdout.write(f"| {' | '.join(shown)} |\n")
    return 1 if any(row.verdict in ("WRONG", "MISSED") for row in found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
