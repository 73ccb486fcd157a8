"""Measures what engines cost: synthesises every engine of some circuits by itself, and fits the cost model to that.

Usage: python -m benchmarks.fpga_costs collect DATA.json [ecp5 xc7 ice40] MODEL…   (adds to DATA.json; minutes)
       python -m benchmarks.fpga_costs fit DATA.json      (writes backends/verilog/costs.json, prints the errors)
Needs yosys, or the package pyosys.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from bnnc import api
from bnnc.backends.verilog.backend import VerilogOptions, packaged
from bnnc.backends.verilog.cost import fitted
from bnnc.backends.verilog.design import Design, Engine, Memory
from bnnc.backends.verilog.folding import for_cycles, paces
from bnnc.backends.verilog.synthesis import TECHNOLOGIES, synthesise

LARGEST = 1024
"""Products a cycle: larger engines take minutes to synthesise, and cost what smaller ones say."""
RTL = Path(__file__).parents[1] / "backends" / "verilog" / "rtl"
COSTS = RTL.parent / "costs.json"


def circuits(path: str) -> list[Design]:
    """A network at some folds: the plain one, slow and fast ones."""
    module = api.optimise(api.load(path))
    plain = packaged(module, VerilogOptions())
    made = [plain.design]
    layers = plain.design.layers
    possible = paces(layers)
    for share in (0.15, 0.4, 0.6):
        choice = for_cycles(layers, possible[int(share * (len(possible) - 1))], lambda layer, fold: fold.pe * fold.simd)
        if choice is not None:
            folds = [choice.folding.of(layer) for layer in layers]
            options = VerilogOptions(
                pe=",".join(str(fold.pe) for fold in folds), simd=",".join(str(fold.simd) for fold in folds)
            )
            made.append(packaged(module, options).design)
    return made


def shape_of(engine: Engine) -> dict[str, Any]:
    """What an engine's cost depends on."""
    return {
        "module": engine.module,
        "parameters": {k: v for k, v in engine.parameters if isinstance(v, int)},
        "memories": [[m.words, m.width] for m in engine.memories],
    }


def cells(engine: Engine, technology: str) -> dict[str, int]:
    """The cells of one engine with random memories."""
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        values = []
        for name, value in engine.parameters:
            if isinstance(value, Memory):
                words = (f"{rng.getrandbits(value.width):x}" for _ in range(value.words))
                (folder / f"{name}.mem").write_text("\n".join(words) + "\n")
                values.append(f'.{name}("{name}.mem")')
            else:
                values.append(f".{name}({value})")
        ports = {"clk": 1, "rst": 1}
        for direction, streams in (("in", engine.inputs), ("out", engine.outputs)):
            for port in streams:
                ports[f"{port.prefix}_data"] = port.stream.bits
                for wire in ("valid", "ready"):
                    many = len(engine.outputs) if engine.module == "bnnc_fork" and direction == "out" else 1
                    ports[f"{port.prefix}_{wire}"] = many
        outputs = {f"{p.prefix}_data" for p in engine.outputs} | {f"{p.prefix}_valid" for p in engine.outputs}
        outputs |= {f"{p.prefix}_ready" for p in engine.inputs}
        declared = ", ".join(
            f"{'output' if name in outputs else 'input'} [{bits - 1}:0] {name}" for name, bits in ports.items()
        )
        wired = ", ".join(f".{name}({name})" for name in ports)
        text = f"module top({declared});\n {engine.module} #({', '.join(values)}) dut({wired});\nendmodule\n"
        (folder / "top.v").write_text(text)
        sources = ["top.v", *(str(file) for file in sorted(RTL.glob("bnnc_*.v")))]
        found = synthesise(folder, sources, "top", technology, "netlist.json")
    return {
        "luts": found.luts, "carries": found.carries, "flip_flops": found.flip_flops, "memories": found.memories
    }  # fmt: skip


def collect(data: Path, technologies: list[str], models: list[str]) -> None:
    """Adds the engines of some models."""
    rows: list[dict[str, Any]] = json.loads(data.read_text()) if data.exists() else []
    known = {json.dumps([row["technology"], row["shape"]], sort_keys=True) for row in rows}
    for model in models:
        for design in circuits(model):
            for engine in design.engines:
                for technology in technologies:
                    numbers = shape_of(engine)["parameters"]
                    if engine.unrolled or numbers.get("PE", 1) * numbers.get("SIMD", 1) > LARGEST:
                        continue
                    key = json.dumps([technology, shape_of(engine)], sort_keys=True)
                    if key in known:
                        continue
                    known.add(key)
                    found = cells(engine, technology)
                    rows.append({"technology": technology, "shape": shape_of(engine), "cells": found})
                    print(technology, engine.module, engine.name, found, flush=True)
            data.write_text(json.dumps(rows, indent=0))


def fit(data: Path) -> None:
    """Writes the coefficients."""
    table, errors = fitted(json.loads(data.read_text()))
    COSTS.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
    for line in errors:
        print(line)


if __name__ == "__main__":
    command, file, *rest = sys.argv[1:]
    if command == "collect":
        collect(
            Path(file), [t for t in rest if t in TECHNOLOGIES] or ["ecp5"], [m for m in rest if m not in TECHNOLOGIES]
        )
    else:
        fit(Path(file))
