"""What lies between layers has the lanes that the slowest layer's pace needs: expansions, gates, pools that overlap."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnnc.ir import bit, fixed, move
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, Fix, Int
from tests.circuits import passes
from tests.verilog import examples, needs_iverilog, pack, seeds, simulate, stalls, unpack

pytestmark = needs_iverilog
FIX = Fix(16, 16)


def conv(x: Op, filters: int, kernel: int, rng: np.random.Generator) -> Op:
    weights = rng.choice(np.array([-1, 1], np.int8), (filters, x.type.shape[0], kernel, kernel))
    return bit.Conv(x, weights, (1, 1), (kernel // 2,) * 4, (1, 1), 1, 1)


def sign(x: Op, threshold: int = 0) -> Op:
    return bit.Step(x, np.array([[threshold]], np.int32), np.array([[-1, 1]], np.int32), Bit())


def line(x: Op, slope: int) -> Op:
    none = np.zeros((1, 0), np.int32)
    return fixed.Map(x, none, np.array([[slope]], np.int32), np.zeros((1, 1), np.int64), 8, FIX)


def classes(x: Op, rng: np.random.Generator) -> Output:
    flat = move.Reshape(sign(x), (x.type.size,))
    return Output("y", bit.Dense(flat, rng.choice(np.array([-1, 1], np.int8), (3, x.type.size))), "int64")


def thermometer(rng: np.random.Generator) -> Module:
    """Pixels that are compared with eight thresholds: eight planes of bits for each colour."""
    x = Input("x", Int(0, 255), (3, 4, 3))
    apart = move.Reshape(line(x, 256), (3, 1, 4, 3))
    levels = fixed.Constant((np.arange(8, dtype=np.int32) * -(30 << 16)).reshape(8, 1, 1), FIX)
    planes = sign(fixed.Add((apart, levels), (1, 1), FIX))
    return Module("thermometer", (x,), (classes(conv(move.Reshape(planes, (24, 4, 3)), 4, 3, rng), rng),))


def planes(rng: np.random.Generator) -> Module:
    """A number for all channels, and one for all elements."""
    x = Input("x", Int(0, 255), (1, 6, 5))
    y = Input("y", Int(-9, 9), (1,))
    wide = move.Expand(x, (12, 6, 5))
    one = move.Expand(move.Reshape(y, (1, 1, 1)), (12, 6, 5))
    added = fixed.Add(
        (
            line(wide, 77),
            line(one, 5000),
            fixed.Constant(np.arange(12 * 30).astype(np.int32).reshape(12, 6, 5) << 12, FIX),
        ),
        (1, 1, -1),
        FIX,
    )
    return Module("planes", (x, y), (classes(conv(sign(added, 1 << 16), 4, 3, rng), rng),))


def gate(rng: np.random.Generator) -> Module:
    """A vector that meets every pixel, as in squeeze and excitation."""
    x = Input("x", Int(-128, 127), (8, 5, 6))
    sums = bit.Pool(x, "sum", (5, 6), (1, 1), (0,) * 4, (1, 1))
    squeezed = bit.Dense(move.Reshape(sums, (8,)), rng.choice(np.array([-1, 1], np.int8), (8, 8)))
    gates = move.Reshape(line(squeezed, 3), (8, 1, 1))
    gated = fixed.Mul(line(x, 200), gates, FIX)
    return Module("gate", (x,), (classes(conv(sign(gated), 4, 3, rng), rng),))


def overlap(rng: np.random.Generator) -> Module:
    """A pool whose windows overlap hands out more than comes in."""
    x = Input("x", Int(0, 255), (1, 6, 5))
    maps = conv(x, 8, 1, rng)
    pooled = bit.Pool(maps, "max", (3, 3), (1, 1), (1,) * 4, (1, 1))
    return Module("overlap", (x,), (classes(conv(sign(pooled), 4, 3, rng), rng),))


@pytest.mark.parametrize(
    ("network", "pe", "simd"),
    [
        (thermometer, "4,1", "24,4"),
        (planes, "4,1", "12,4"),
        (gate, "8,4,1", "8,8,4"),
        (overlap, "8,4,1", "1,8,4"),
    ],
)
def test_nothing_is_slower_than_the_slowest_layer(
    network: Callable[[np.random.Generator], Module], pe: str, simd: str, tmp_path: Path
) -> None:
    module = network(np.random.default_rng(0))
    passes(module, tmp_path, pe=pe, simd=simd)
    report = json.loads((tmp_path / "report.json").read_text())
    slowest = max(layer["cycles"] for layer in report["layers"])
    entering = max(stream["beats"] for stream in report["inputs"])
    found = re.search(r"cycles per image: (\d+)", (tmp_path / "sim.log").read_text())
    assert found is not None
    assert int(found[1]) <= 1.05 * max(slowest, entering) + 4


@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 4), stalls, seeds)
@examples(6)
def test_copies(width: int, lanes: int, copies: int, stall: int, seed: int) -> None:
    data = np.random.default_rng(seed).integers(0, 1 << width, (20, lanes))
    beats = pack(data, width)
    found = simulate(
        "bnnc_copies",
        {"WIDTH": width, "LANES": lanes, "COPIES": copies},
        {"in": (width * lanes, beats)},
        {"out": (width * lanes * copies, 20)},
        stall=stall,
        seed=seed,
    )
    assert np.array_equal(unpack(found.beats["out"], lanes * copies, width), np.repeat(data, copies, axis=1))
