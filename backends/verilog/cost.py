"""What a circuit costs before any synthesis: every engine by itself, linear in a few numbers of its shape.

The coefficients stand in costs.json, by technology, kind of cell and module. benchmarks/fpga_costs.py measures them: it
synthesises engines one by one and fits. Block memories are counted by their shapes, not fitted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from bnnc.backends.verilog.design import Engine, Fold, Layer, Memory

CELLS = ("luts", "carries", "flip_flops")


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


@dataclass(frozen=True)
class Shape:
    """What the cost of an engine depends on: its whole-number parameters, and (words, width) of its memories."""

    module: str
    parameters: Mapping[str, int]
    memories: tuple[tuple[int, int], ...]


def shape_of(engine: Engine) -> Shape:
    """The shape of an engine."""
    numbers = {name: value for name, value in engine.parameters if isinstance(value, int)}
    return Shape(engine.module, numbers, tuple((m.words, m.width) for m in engine.memories))


def block_memories(words: int, width: int) -> int:
    """Block RAMs of 18 Kbit that hold `words` of `width` bits: 512 x 36, 1024 x 18, 2048 x 9, 4096 x 4, 8192 x 2."""
    shapes = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
    return min(-(-words // deep) * -(-width // wide) for deep, wide in shapes)


def in_block(words: int, width: int) -> bool:
    """Whether constants lie in block memory: from so many words on, LUTs would be more area than the memory's wires."""
    return words >= 16 and words * width >= 1024


def rom_style(parameters: Sequence[tuple[str, int | str | Memory]]) -> int:
    """ROM_STYLE of an engine with these memories: 2 for block memory, 1 for LUTs. Tools left alone choose LUTs for
    memories of up to 63 words, which cost four LUTs a bit."""
    memories = [value for _, value in parameters if isinstance(value, Memory)]
    return 2 if any(in_block(memory.words, memory.width) for memory in memories) else 1


def _mvu(p: Mapping[str, int]) -> list[float]:
    pe, simd = p["PE"], p["SIMD"]
    kept = simd * (p["OUTPUTS"] > pe)
    folds = p["INPUTS"] // simd * (p["OUTPUTS"] // pe)
    return [
        pe * simd, pe * simd * p.get("TERNARY", 0), pe * p["ACC_WIDTH"], pe * p.get("SUM", 0), pe, simd, kept,
        float(np.log2(folds + 1)), 1,
    ]  # fmt: skip


def _integers(p: Mapping[str, int]) -> list[float]:
    pe, simd, wide = p["PE"], p["SIMD"], p["IN_WIDTH"]
    return [
        pe * simd * wide, pe * simd * wide * (p["WEIGHT_WIDTH"] - 1), pe * simd, pe * p["ACC_WIDTH"], simd * wide, 1,
    ]  # fmt: skip


def _lanes(p: Mapping[str, int]) -> list[float]:
    lanes, wide = p.get("LANES", 1), p.get("IN_WIDTH", p.get("WIDTH", p.get("A_WIDTH", 8)))
    return [lanes * wide * p.get("COUNT", 1), lanes * p.get("OUT_WIDTH", wide), lanes, 1]


def _step(p: Mapping[str, int]) -> list[float]:
    lanes, compared = p["LANES"], p["LANES"] * p["IN_WIDTH"] * p["COUNT"]
    fixed = p["CHUNKS"] == 1
    return [compared * (not fixed), compared * fixed, lanes * p["OUT_WIDTH"] * p["COUNT"], lanes, 1]


def _fifo(p: Mapping[str, int]) -> list[float]:
    small = p["DEPTH"] <= 2
    banks = -(-p["DEPTH"] // 16)
    return [p["WIDTH"] * small, p["WIDTH"] * (not small), p["WIDTH"] * banks * (banks > 1), float(not small), 1]


def _width(p: Mapping[str, int]) -> list[float]:
    return [p["WIDTH"] * p["IN"], p["WIDTH"] * p["OUT"], 1]


def _window(p: Mapping[str, int]) -> list[float]:
    beat = p["WIDTH"] * p["LANES"]
    rows = (p["KERNEL_H"] - 1) * p["DILATION_H"] + 1
    words = rows * p["COLUMNS"] * p["CHANNELS"] // p["LANES"]
    shallow = words * beat < 2048
    return [beat, beat * -(-words // 16) * shallow, float(np.log2(words + 1)), 1]


def _plain(p: Mapping[str, int]) -> list[float]:
    return [p.get("WIDTH", p.get("LANES", 1) * 32), 1]


FEATURES: Mapping[str, Callable[[Mapping[str, int]], list[float]]] = {
    "bnnc_mvu_bits": _mvu,
    "bnnc_mvu_integers": _integers,
    "bnnc_fifo": _fifo,
    "bnnc_width": _width,
    "bnnc_window": _window,
    "bnnc_step": _step,
    **dict.fromkeys(("bnnc_pool", "bnnc_affine", "bnnc_lookup", "bnnc_add", "bnnc_argmax"), _lanes),
}


def features(shape: Shape) -> list[float]:
    """The numbers that a cost is linear in: those of the module, and its constants in LUTs, by their depth."""
    own = FEATURES.get(shape.module, _plain)(shape.parameters)
    shallow = [(words, width) for words, width in shape.memories if not in_block(words, width)]
    return [
        *own,
        float(sum(width for words, width in shallow if words > 1)),
        float(sum(width * words for words, width in shallow if words > 1)),
        float(sum(width * (words >> 14) for words, width in shape.memories)),
    ]


@cache
def _table() -> dict[str, dict[str, dict[str, list[float]]]]:
    text = (resources.files("bnnc.backends.verilog") / "costs.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, dict[str, list[float]]]] = json.loads(text)
    return found


def cost_of(shape: Shape, technology: str) -> Cost:
    """The cells of one engine; of a module that was never measured, a guess by its wires."""
    table = _table().get(technology) or _table()["ecp5"]  # LUT4s stand for LUTs of what was not measured
    numbers = features(shape)
    found = []
    for kind in CELLS:
        weights = table[kind].get(shape.module, [])
        known = len(weights) == len(numbers)
        found.append(float(np.dot(weights, numbers)) if known else 2.0 * numbers[0])
    blocks = sum(block_memories(words, width) for words, width in shape.memories if in_block(words, width))
    return Cost(found[0], found[1], found[2], blocks + _buffers(shape))


def _buffers(shape: Shape) -> int:
    """Block memories that are written too: rows of windows, deep FIFOs, samples of reorderings."""
    p = shape.parameters
    if shape.module == "bnnc_window":
        words = ((p["KERNEL_H"] - 1) * p["DILATION_H"] + 1) * p["COLUMNS"] * p["CHANNELS"] // p["LANES"]
        width = p["WIDTH"] * p["LANES"]
    elif shape.module == "bnnc_fifo":
        words, width = p["DEPTH"], p["WIDTH"]
    elif shape.module == "bnnc_reorder":
        words, width = 2 * p["IN_BEATS"], p["WIDTH"]
    else:
        return 0
    return block_memories(words, width) if words * width >= 2048 else 0


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
        "TERNARY": int(layer.weight_width > 1), "SUM": int(layer.flag),
    }  # fmt: skip
    words = layer.groups * (layer.inputs // fold.simd) * (layer.outputs // fold.pe)
    memory = (words, fold.pe * fold.simd * layer.weight_width)
    return cost_of(Shape(layer.module, numbers, (memory,)), technology)


def fitted(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """Coefficients of measured rows ({technology, shape, cells}), none negative, and a line on each fit's error."""
    groups: dict[tuple[str, str], list[tuple[list[float], Mapping[str, int]]]] = {}
    for row in rows:
        raw = row["shape"]
        shape = Shape(raw["module"], raw["parameters"], tuple((w, b) for w, b in raw["memories"]))
        groups.setdefault((row["technology"], shape.module), []).append((features(shape), row["cells"]))
    table: dict[str, Any] = {}
    lines = []
    for (technology, module), found in sorted(groups.items()):
        numbers = np.array([f for f, _ in found])
        for kind in CELLS:
            cells = np.array([float(c[kind]) for _, c in found])
            weights = _least_squares(numbers, cells)
            rounded = [float(f"{w:.4g}") for w in weights]
            table.setdefault(technology, {}).setdefault(kind, {})[module] = rounded
            if kind == "luts":
                off = np.abs(numbers @ weights - cells).sum() / max(1.0, cells.sum())
                lines.append(f"{technology} {module}: {len(cells)} engines, LUTs off by {off:.1%} in all")
    return table, lines


def _least_squares(numbers: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Weights >= 0 with small relative errors: columns that would get a negative weight are left out."""
    scale = 1 / np.sqrt(np.maximum(cells, 20.0))
    used = np.asarray(numbers.any(0))
    weights = np.zeros(numbers.shape[1])
    for _ in range(numbers.shape[1]):
        columns = np.flatnonzero(used)
        if not len(columns):
            break
        solution = np.linalg.lstsq(numbers[:, columns] * scale[:, None], cells * scale, rcond=None)[0]
        if (solution >= 0).all():
            weights[columns] = solution
            break
        used[columns[int(np.argmin(solution))]] = False
    return weights


__all__ = [
    "CELLS",
    "Cost",
    "Shape",
    "block_memories",
    "cost_of",
    "fitted",
    "in_block",
    "layer_cost",
    "rom_style",
    "shape_of",
    "total",
]
