"""What a circuit costs before any synthesis: the parts of every engine (structure.py), times the cells of each part.

The cells of a part stand in costs.json, by technology and kind of cell. benchmarks/fpga_costs.py measures them: it
synthesises engines one by one and fits. Block memories are counted by their shapes, not fitted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from bnnc.backends.verilog.design import Engine, Fold, Layer, Memory
from bnnc.backends.verilog.memories import in_block
from bnnc.backends.verilog.parts import Shape, Table, nominal, table_of
from bnnc.backends.verilog.structure import parts_of

CELLS = ("luts", "carries", "flip_flops")
PULL = 0.01
"""How strongly a fit is pulled to what is expected, as a share of what the measured engines say of a part."""
ROUNDS = 3000
_ONE_LUT = (
    "binary product", "ternary product", "mux bit", "mask bit", "negated bit", "shifted bit", "short adder bit",
    "short comparator bit", "counter bit", "memory LUT", "memory bit of more words", "bit of a table of 16",
)  # fmt: skip
EXPECTED: dict[str, dict[str, float]] = {
    "luts": {
        **dict.fromkeys(_ONE_LUT, 1.0),
        "full adder": 2.0,
        "product bit": 0.5,
        "bit of a table of 32": 4.0,
        "bit of a table of 64": 4.0,
    },
    "carries": dict.fromkeys(("adder chain", "comparator chain", "fixed comparator chain"), 1.0),
    "flip_flops": dict.fromkeys(("register", "line register", "product register", "memory bit in registers"), 1.0),
}
"""Cells of a part by what its Verilog says; of all others none."""
CHAINED = ("product row", "product row bit", "multiplier", "clamped bit")
"""Parts, other than adders and comparators, that may have carry chains."""


@dataclass(frozen=True)
class Cost:
    """Estimated cells; `memories` are block RAMs (halves of a RAMB36 in xc7)."""

    luts: float = 0.0
    carries: float = 0.0
    flip_flops: float = 0.0
    memories: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.luts + other.luts,
            self.carries + other.carries,
            self.flip_flops + other.flip_flops,
            self.memories + other.memories,
        )


def shape_of(engine: Engine) -> Shape:
    """The shape of an engine."""
    numbers = {name: value for name, value in engine.parameters if isinstance(value, int)}
    if engine.module == "bnnc_step" and engine.memories[0].words == 1:
        numbers["ZEROS"] = _zeros(engine.memories[0], numbers)
    return Shape(engine.module, numbers, tuple(table_of(memory.packed) for memory in engine.memories))


def _zeros(table: Memory, numbers: Mapping[str, int]) -> int:
    """Low bits of a step's input that no threshold asks for: of a sign, all but the highest."""
    word = int.from_bytes(table.packed[0].tobytes(), "little")
    wide, count = numbers["IN_WIDTH"], numbers["COUNT"]
    field = count * wide + (count + 1) * numbers["OUT_WIDTH"]
    asked = 1 << (wide - 1)
    for lane in range(numbers["LANES"]):
        for n in range(count):
            asked |= word >> (lane * field + n * wide) & ((1 << wide) - 1)
    return (asked & -asked).bit_length() - 1


def rom_style(parameters: Sequence[tuple[str, int | str | Memory]]) -> int:
    """ROM_STYLE of an engine with these memories: 2 for block memory, 1 for LUTs. Tools left alone choose LUTs for
    memories of up to 63 words, which cost four LUTs a bit."""
    memories = [value for _, value in parameters if isinstance(value, Memory)]
    return 2 if any(in_block(memory.words, memory.width) for memory in memories) else 1


@cache
def _table() -> dict[str, dict[str, dict[str, float]]]:
    text = (resources.files("bnnc.backends.verilog") / "costs.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, dict[str, float]]] = json.loads(text)
    return found


def cost_of(shape: Shape, technology: str) -> Cost:
    """The cells of one engine."""
    parts, table = parts_of(shape, technology), _table()
    own, ecp5 = table.get(technology, {}), table["ecp5"]  # LUT4s stand for LUTs of what was not measured

    def cells(kind: str) -> float:
        known, other = own.get(kind, {}), ecp5[kind]
        return sum(known.get(part, other.get(part, 0.0)) * amount for part, amount in parts.amounts.items())

    luts, carries, flip_flops = (cells(kind) for kind in CELLS)
    return Cost(luts, carries, flip_flops, parts.blocks)


def engine_cost(engine: Engine, technology: str) -> Cost:
    """The cells of an engine; those of an unrolled one are counted, not estimated."""
    if engine.unrolled is not None:
        return Cost(float(engine.unrolled.tables), 0.0, float(engine.unrolled.registers))
    return cost_of(shape_of(engine), technology)


def total(engines: Sequence[Engine], technology: str) -> Cost:
    """The cells of a circuit."""
    return sum((engine_cost(engine, technology) for engine in engines), Cost())


def layer_cost(layer: Layer, fold: Fold, technology: str) -> Cost:
    """The cells of a layer's matrix-vector engine at a fold."""
    wide = layer.inputs.bit_length() + layer.input_width + layer.weight_width
    numbers = {
        "INPUTS": layer.inputs, "OUTPUTS": layer.outputs, "SIMD": fold.simd, "PE": fold.pe, "GROUPS": layer.groups,
        "ACC_WIDTH": wide, "IN_WIDTH": layer.input_width, "WEIGHT_WIDTH": layer.weight_width,
        "TERNARY": int(layer.weight_width > 1), "SUM": int(layer.flag or layer.weight_width > 1),
    }  # fmt: skip
    words = layer.groups * (layer.inputs // fold.simd) * (layer.outputs // fold.pe)
    width = fold.pe * fold.simd * layer.weight_width
    numbers["ROM_STYLE"] = 2 if in_block(words, width) else 1
    if layer.flag:
        numbers["FLAGS"] = layer.beat(fold)[1]
    module = "bnnc_mvu_serial" if fold.serial else layer.module
    return cost_of(Shape(module, numbers, (nominal(words, width),)), technology)


def fitted(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """How many cells each part takes, of measured rows ({technology, shape, cells}), none negative; and a line on the
    error of each module."""
    table: dict[str, Any] = {}
    lines = []
    for technology in sorted({row["technology"] for row in rows}):
        mine = [row for row in rows if row["technology"] == technology]
        parts = [parts_of(_shape(row["shape"]), technology).amounts for row in mine]
        names = sorted({name for each in parts for name in each})
        amounts = np.array([[each.get(name, 0.0) for name in names] for each in parts])
        for kind in CELLS:
            numbers = amounts * [_can_cost(name, kind) for name in names]
            cells = np.array([float(row["cells"][kind]) for row in mine])
            weights = _least_squares(numbers, cells, np.array([_expected(technology, kind, name) for name in names]))
            table.setdefault(technology, {})[kind] = {
                name: float(f"{weight:.3g}") if weight > 5e-4 else 0.0
                for name, weight in zip(names, weights, strict=True)
                if _can_cost(name, kind)
            }
            for module in sorted({row["shape"]["module"] for row in mine}):
                at = [n for n, row in enumerate(mine) if row["shape"]["module"] == module]
                off = np.abs(numbers[at] @ weights - cells[at]).sum() / max(1.0, cells[at].sum())
                lines.append(f"{technology} {module}: {len(at)} engines, {kind} off by {off:.1%} in all")
    return table, lines


def _can_cost(part: str, kind: str) -> bool:
    """Whether a part can take cells of a kind: only registers are flip-flops, only sums have carries."""
    module = part.startswith("bnnc_")
    if kind == "flip_flops":
        return module or "register" in part or part == "line"
    if kind == "carries":
        return module or "chain" in part or part in CHAINED
    return "register" not in part


def _expected(technology: str, kind: str, part: str) -> float:
    if kind == "luts" and part in ("adder bit", "comparator bit") and technology != "ecp5":
        return 1.0
    if kind == "luts" and part.startswith("bit of a table") and technology == "xc7":
        return 1.0
    return EXPECTED[kind].get(part, 0.0)


def _shape(raw: Mapping[str, Any]) -> Shape:
    return Shape(raw["module"], raw["parameters"], tuple(Table(**table) for table in raw["tables"]))


def _least_squares(numbers: np.ndarray, cells: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Weights >= 0, near what is expected where the cells do not say otherwise; large engines count as their root.

    Coordinate descent: the best weight of one part, all others as they are, round and round.
    """
    scale = 1 / np.sqrt(np.maximum(cells, 20.0))
    matrix, wanted = numbers * scale[:, None], cells * scale
    products = matrix.T @ matrix
    pull = PULL * np.diag(products)
    products, aims = products + np.diag(pull), matrix.T @ wanted + pull * expected
    weights = expected.copy()
    for _ in range(ROUNDS):
        for part in np.flatnonzero(np.diag(products)):
            rest = aims[part] - products[part] @ weights
            weights[part] = max(0.0, weights[part] + rest / products[part, part])
    return weights


__all__ = [
    "CELLS",
    "Cost",
    "Shape",
    "cost_of",
    "engine_cost",
    "fitted",
    "layer_cost",
    "rom_style",
    "shape_of",
    "total",
]
