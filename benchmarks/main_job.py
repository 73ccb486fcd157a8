"""The main job in one go: which networks pass, how right they are, how fast they run, and whether that is enough.

    python benchmarks/main_job.py [--shared DIR] [--json FILE] [--rounds 7] [--only pass|accuracy|speed]

Needs the extra `bench` for the comparisons with ONNX Runtime, and the shared fixtures (--shared, else BNNC_SHARED, else
../shared) for the pass and accuracy tables; what is missing is said and left out. Exit code 1 when a demand is missed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import onnx

import bnnc
from benchmarks import accuracy, cold, fixtures, networks, speed
from bnnc.backends.llvm.host import native_machine

LEAST_SHARE = 0.60
MOST_MLP_US = 8.0
LEAST_RATIO = 15.0
MOST_COMPILE_SECONDS = 2.0

Part = Callable[[], tuple[dict[str, Any], list["Demand"]]]


@dataclass(frozen=True)
class Demand:
    """Something that must hold; `holds` is None when it could not be measured."""

    what: str
    found: str
    holds: bool | None


def say(text: str = "") -> None:
    """A line, at once: the run takes minutes."""
    print(text, flush=True)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns under heads; a head that begins with > is of numbers, set to the right."""
    widths = [max(len(head.lstrip(">")), *(len(row[i]) for row in rows)) for i, head in enumerate(heads)]
    right = [head.startswith(">") for head in heads]

    def line(cells: Sequence[str]) -> str:
        placed = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True)]
        return "  ".join(placed).rstrip()

    say(line([head.lstrip(">") for head in heads]))
    say("  ".join("-" * width for width in widths))
    for row in rows:
        say(line(row))
    say()


def machine() -> dict[str, Any]:
    """What the figures were taken with."""
    versions = {"python": platform.python_version(), "bnnc": bnnc.__version__}
    for name in ("numpy", "onnx", "llvmlite", "onnxruntime"):
        installed = importlib.util.find_spec(name) is not None
        versions[name] = importlib.metadata.version(name) if installed else "not installed"
    return {
        "cpu": native_machine().cpu,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": [round(load, 2) for load in os.getloadavg()],
        "versions": versions,
    }


def pass_table(shared: Path) -> tuple[dict[str, Any], list[Demand]]:
    """Every network of the fixtures."""
    say(f"networks: native code against the reference (bits) and recorded outputs (within {fixtures.tolerance()})\n")
    rows = [fixtures.row(name, path) for name, path in fixtures.found_in(shared)]
    table(
        [
            "network",
            ">packed",
            ">float",
            ">inputs",
            ">= reference",
            ">near recorded",
            ">ties",
            ">max error",
            ">s",
            "result",
        ],
        [
            [
                row.name,
                str(row.packed),
                str(row.floats),
                str(row.inputs),
                str(row.equal),
                str(row.near),
                str(row.ties),
                f"{row.max_abs_error:.1e}",
                f"{row.seconds:.2f}",
                row.fault or row.note or "passed",
            ]
            for row in rows
        ],
    )
    wrong = [row.name for row in rows if row.fault]
    found = f"{len(rows) - len(wrong)} of {len(rows)}" + (f"; not {', '.join(wrong)}" if wrong else "")
    demand = Demand("every network gives the bits of the reference and the recorded outputs", found, not wrong)
    return {"networks": [row.document for row in rows]}, [demand]


def accuracy_table(shared: Path) -> tuple[dict[str, Any], list[Demand]]:
    """The trained networks on their test sets."""
    say("accuracy: `bnnc run MODEL --data …` over whole test sets\n")
    rows = [accuracy.row(path, shared / "data") for path in accuracy.found_in(shared)]
    table(
        ["network", "data", ">published", ">recorded", ">ours", ">images", ">s", "result"],
        [
            [
                row.name,
                row.data,
                row.published,
                f"{100 * row.recorded:.2f} %",
                "-" if row.ours is None else f"{100 * row.ours:.2f} %",
                str(row.images),
                f"{row.seconds:.2f}",
                row.fault or "passed",
            ]
            for row in rows
        ],
    )
    wrong = [row.name for row in rows if row.fault]
    found = f"{len(rows) - len(wrong)} of {len(rows)}" + (f"; not {', '.join(wrong)}" if wrong else "")
    demand = Demand("trained networks reach their recorded accuracy to 0.02 points", found, not wrong)
    return {"accuracy": [row.document for row in rows]}, [demand]


def speed_tables(shared: Path, rounds: int) -> tuple[dict[str, Any], list[Demand]]:
    """Kernels, whole networks, and the compiler."""
    with tempfile.TemporaryDirectory(prefix="bnnc-bench-") as name:
        folder = Path(name)
        layers, cases = speed.layers(folder), speed.cases(folder, shared / "models" / "zoo")
        rates = speed.measure(layers, cases, rounds)
        costs = _compiler(folder, shared / "models" / "zoo")
    roofline = statistics.median(rates)
    say(f"speed: one thread, medians of CPU time over {rounds} rounds of everything in turn\n")
    say(f"popcount roofline of this machine: {roofline / 1e12:.2f} T bit-MAC/s\n")
    table(
        ["binary 3x3 convolution, threshold, packing", ">bit-MACs", ">µs", ">T bit-MAC/s", ">of the roofline"],
        [
            [
                layer.name,
                f"{layer.bit_macs / 1e6:.1f} M",
                f"{layer.document['median_us']:.2f}",
                f"{layer.bit_macs / statistics.median(layer.seconds) / 1e12:.2f}",
                f"{100 * layer.document['roofline_share']:.1f} %",
            ]
            for layer in layers
        ],
    )
    table(
        [
            "network",
            ">batch",
            ">native µs",
            ">a sample",
            ">Python call adds",
            ">ORT fp32 µs",
            ">×",
            ">ORT same file µs",
            ">×",
        ],
        [_case_row(case) for case in cases],
    )
    table(
        ["bnnc compile, whole process", ">file", ">wall s", ">least", ">CPU s", ">peak memory", ">limit"],
        [
            [
                cost.name,
                f"{cost.file_bytes / 1e6:.2f} MB",
                f"{cost.seconds:.2f}",
                f"{cost.least_seconds:.2f}",
                f"{cost.cpu_seconds:.2f}",
                f"{cost.peak_bytes / 1e6:.0f} MB",
                f"{cost.limit_bytes / 1e6:.0f} MB",
            ]
            for cost in costs
        ],
    )
    document = {
        "roofline_bit_macs_per_second": roofline,
        "convolutions": [layer.document for layer in layers],
        "cases": [case.document for case in cases],
        "compile": [cost.document for cost in costs],
    }
    return document, _speed_demands(layers, cases, costs)


def _compiler(folder: Path, zoo: Path) -> list[cold.Cost]:
    onnx.save(networks.binary_cnn(), folder / "cnn.onnx")
    models = {"CNV's shape, random weights": folder / "cnn.onnx", "MLP 784-1024-1024-1024-10": folder / "mlp.onnx"}
    trained = zoo / "bnnpynq_cnv_w1a1_cifar10" / "bnnpynq_cnv_w1a1_cifar10.onnx"
    if trained.exists():
        models["CNV (CIFAR-10)"] = trained
    return [cold.compile_cost(name, path) for name, path in models.items()]


def _case_row(case: speed.Case) -> list[str]:
    native, python = case.median("native") or 0.0, case.median("python") or 0.0
    row = [case.name, str(case.batch), f"{native:.2f}", f"{native / case.batch:.2f}", f"{max(python - native, 0):.1f}"]
    for peer in ("fp32", "same file"):
        theirs = case.median(peer)
        row += ["-", "-"] if theirs is None else [f"{theirs:.1f}", f"{theirs / native:.1f}"]
    return row


def _speed_demands(layers: list[speed.Layer], cases: list[speed.Case], costs: list[cold.Cost]) -> list[Demand]:
    demands = []
    for layer in layers:
        if layer.name.startswith("28x28x128"):
            share = float(layer.document["roofline_share"])
            what = f"binary conv {layer.name}: at least {100 * LEAST_SHARE:.0f} % of the roofline"
            demands.append(Demand(what, f"{100 * share:.1f} %", share >= LEAST_SHARE))
    mlp = next(case for case in cases if case.batch == 1)
    native, theirs = mlp.median("native") or 0.0, mlp.median("fp32")
    demands.append(Demand(f"MLP at batch 1: at most {MOST_MLP_US:g} µs", f"{native:.2f} µs", native <= MOST_MLP_US))
    what = f"MLP at batch 1: at least {LEAST_RATIO:g} times as fast as ONNX Runtime in fp32"
    if theirs is None:
        demands.append(Demand(what, "onnxruntime is not installed", None))
    else:
        demands.append(Demand(what, f"{theirs / native:.1f} times", theirs / native >= LEAST_RATIO))
    for cost in costs:
        demands.append(_quick(cost))
        what = f"compiling {cost.name}: at most ten times the file and 200 MB"
        found = f"{cost.peak_bytes / 1e6:.0f} of {cost.limit_bytes / 1e6:.0f} MB"
        demands.append(Demand(what, found, cost.peak_bytes <= cost.limit_bytes))
    return demands


def _quick(cost: cold.Cost) -> Demand:
    """Time on the wall says nothing about us while others keep the machine busy: then it can only hold."""
    what, load = f"compiling {cost.name}: at most {MOST_COMPILE_SECONDS:g} s", os.getloadavg()[0]
    if cost.least_seconds > MOST_COMPILE_SECONDS > cost.cpu_seconds and load > (os.cpu_count() or 1):
        found = f"{cost.least_seconds:.2f} s at load {load:.1f}, {cost.cpu_seconds:.2f} s of CPU: too busy to say"
        return Demand(what, found, None)
    return Demand(what, f"{cost.least_seconds:.2f} s", cost.least_seconds <= MOST_COMPILE_SECONDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables; 1 when a demand is missed."""
    default = os.environ.get("BNNC_SHARED") or Path(__file__).resolve().parent.parent.parent / "shared"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(default), help="the folder of fixtures")
    parser.add_argument("--json", type=Path, help="write everything to this file")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=("pass", "accuracy", "speed"))
    options = parser.parse_args(arguments)
    about = machine()
    say(f"{about['cpu']}, {about['cores']} cores, {about['system']}; load {about['load']}")
    say(", ".join(f"{name} {version}" for name, version in about["versions"].items()) + "\n")
    document: dict[str, Any] = {"schema": "bnnc.main_job/1", "machine": about}
    demands: list[Demand] = []
    parts: tuple[tuple[str, Part, Path | None], ...] = (
        ("pass", lambda: pass_table(options.shared), options.shared / "models" / "nets"),
        ("accuracy", lambda: accuracy_table(options.shared), options.shared / "data"),
        ("speed", lambda: speed_tables(options.shared, options.rounds), None),
    )
    for part, run, need in parts:
        if options.only not in (None, part):
            continue
        if need is not None and not need.is_dir():
            say(f"{part}: left out, since the fixtures are not there ({need}; name them with --shared)\n")
            demands.append(Demand(f"the {part} table", "no fixtures", None))
            continue
        found, more = run()
        document |= found
        demands += more
    document["load_after"] = [round(load, 2) for load in os.getloadavg()]
    words = {True: "holds", False: "MISSED", None: "not measured"}
    table(["demand", "found", "result"], [[d.what, d.found, words[d.holds]] for d in demands])
    document["demands"] = [{"what": d.what, "found": d.found, "holds": d.holds} for d in demands]
    if options.json:
        options.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    missed = [d.what for d in demands if d.holds is False]
    if missed:
        say("missed: " + "; ".join(missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
