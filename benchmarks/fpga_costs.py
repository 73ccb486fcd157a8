"""Measures what engines cost: synthesises each by itself, and fits the cost model to that.

Usage: python -m benchmarks.fpga_costs collect DATA.json [ecp5 xc7 ice40] [MODULE…] [N]   (adds to DATA.json; minutes;
                                                   N: only every N-th engine of a module)
       python -m benchmarks.fpga_costs fit DATA.json      (writes backends/verilog/costs.json, prints the errors)
The engines are those of benchmarks.fpga_engines: no network is among them, so networks can be held against the model
(`python -m benchmarks.fpga estimator`). Needs yosys, or the package pyosys.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fpga_engines import Sizes, engines
from bnnc.backends.verilog.cost import CELLS, Shape, fitted
from bnnc.backends.verilog.parts import table_of
from bnnc.backends.verilog.synthesis import TECHNOLOGIES, counted, synthesise

RTL = Path(__file__).parents[1] / "backends" / "verilog" / "rtl"
COSTS = RTL.parent / "costs.json"


def described(shape: Shape) -> dict[str, Any]:
    """The shape as data."""
    return {
        "module": shape.module,
        "parameters": dict(shape.parameters),
        "tables": [asdict(table) for table in shape.tables],
    }


def contents(shape: Shape, words: int, width: int, rng: random.Random) -> list[int]:
    """Words of random bits; the values of a step count up, as those of most steps do."""
    found = [rng.getrandbits(width) for _ in range(words)]
    if shape.module == "bnnc_step":
        p = shape.parameters
        count, out = p["COUNT"], p["OUT_WIDTH"]
        field = count * p["IN_WIDTH"] + (count + 1) * out
        for lane, n in itertools.product(range(p["LANES"]), range(count + 1)):
            at = lane * field + count * p["IN_WIDTH"] + n * out
            mask = ((1 << out) - 1) << at
            found = [word & ~mask | ((n << at) & mask) for word in found]
    return found


def source(shape: Shape, name: str, files: Sequence[str]) -> str:
    """An engine as a module of that name: its parameters and its constants are the defaults."""
    text = (RTL / f"{shape.module}.v").read_text()
    text = re.sub(rf"^module {shape.module}\b", f"(* keep_hierarchy *) module {name}", text, flags=re.MULTILINE)
    for key, value in shape.parameters.items():
        text = re.sub(rf"(parameter integer {key} *=)[^,\n]*", rf"\g<1> {value}", text, count=1)
    for file in files:
        text = re.sub(r"(parameter \w+ *=) \"none\"", rf'\g<1> "{file}"', text, count=1)
    return text


def cells(batch: Sequence[tuple[Shape, Sizes]], technology: str) -> list[tuple[Shape, dict[str, int]]]:
    """The cells of engines that lie side by side in one circuit; the shapes with what their tables hold."""
    rng = random.Random(1)
    found = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        texts = []
        for number, (shape, sizes) in enumerate(batch):
            tables, files = [], list[str]()
            for words, width in sizes:
                values = contents(shape, words, width, rng)
                files.append(f"engine_{number}_{len(files)}.mem")
                (folder / files[-1]).write_text("\n".join(f"{value:x}" for value in values) + "\n")
                packed = b"".join(value.to_bytes(-(-width // 8), "big") for value in values)
                tables.append(table_of(np.frombuffer(packed, np.uint8).reshape(words, -1)))
            texts.append(source(shape, f"engine_{number}", files))
            found.append(replace(shape, tables=tuple(tables)))
        instances = "".join(f"  (* keep *) engine_{number} e_{number}();\n" for number in range(len(batch)))
        (folder / "engines.v").write_text("\n".join(texts) + f"module top;\n{instances}endmodule\n")
        synthesise(
            folder, ["engines.v", *(str(file) for file in sorted(RTL.glob("bnnc_*.v")))], "top", technology, "n.json"
        )
        netlist = json.loads((folder / "n.json").read_text())
    kinds = (*CELLS, "memories")
    counts = [counted(netlist, f"engine_{number}", technology) for number in range(len(batch))]
    return [(shape, dict(zip(kinds, count, strict=True))) for shape, count in zip(found, counts, strict=True)]


def collect(data: Path, technologies: Sequence[str], modules: Sequence[str], step: int = 1) -> None:
    """Adds the engines that are not in the file yet, those of a module in one go; of them every `step`-th."""
    rows: list[dict[str, Any]] = json.loads(data.read_text()) if data.exists() else []

    def key(technology: str, shape: Mapping[str, Any]) -> str:
        return json.dumps([technology, shape["module"], shape["parameters"]], sort_keys=True)

    known = {key(row["technology"], row["shape"]) for row in rows}
    for technology in technologies:
        batches: dict[str, list[tuple[Shape, Sizes]]] = {}
        for shape, sizes in engines():
            if key(technology, described(shape)) not in known and (not modules or shape.module in modules):
                batches.setdefault(shape.module, []).append((shape, sizes))
        for module, every in batches.items():
            batch = every[::step]
            for shape, found in cells(batch, technology):
                rows.append({"technology": technology, "shape": described(shape), "cells": found})
            print(technology, module, len(batch), "engines", file=sys.stderr, flush=True)
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
        chosen = [word for word in rest if word in TECHNOLOGIES] or ["ecp5"]
        named = [word for word in rest if word.startswith("bnnc_")]
        collect(Path(file), chosen, named, next((int(word) for word in rest if word.isdigit()), 1))
    else:
        fit(Path(file))
