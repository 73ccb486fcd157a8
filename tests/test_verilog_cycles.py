"""The estimate of a circuit against its simulation: cycles a sample, the latency, and the layout of its ports."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from bnnc.backends.verilog.backend import VerilogOptions, packaged
from bnnc.backends.verilog.cycles import crossings
from bnnc.ir import bit, move
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, Int
from bnnc.reference.run import run
from tests.circuits import bench, built, write
from tests.verilog import needs_iverilog

pytestmark = needs_iverilog


def signs(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.choice(np.array([-1, 1], np.int8), shape)


def sign(x: Op) -> Op:
    return bit.Step(x, np.zeros((1, 1), np.int32), np.array([[-1, 1]], np.int32), Bit())


def two_inputs(axis: int) -> Module:
    """Joined along an axis, one after the other, in front of a window; the signs leave too."""
    rng = np.random.default_rng(axis)
    a, b = Input("a", Bit(), (3, 5, 6)), Input("b", Bit(), (3, 5, 6))
    joined = move.Concat((a, b), axis)
    conv = bit.Conv(joined, signs(rng, 3, joined.type.shape[0], 3, 3), (2, 1), (1, 0, 1, 0), (1, 1), 1, 1)
    flat = move.Reshape(sign(conv), (conv.type.size,))
    dense = bit.Dense(flat, signs(rng, 2, conv.type.size))
    return Module("two", (a, b), (Output("y", dense, "int64"), Output("signs", sign(conv), "int64")))


def dense(*sizes: int) -> Module:
    rng = np.random.default_rng(0)
    source = x = Input("x", Int(-2, 3), sizes[:1])
    last: Op = x
    for size in sizes[1:]:
        last = bit.Dense(last if last is x else sign(last), signs(rng, size, last.type.size))
    return Module("dense", (source,), (Output("y", last, "int64"),))


def widened() -> Module:
    """Windows of single numbers that a layer reads three at a time."""
    rng = np.random.default_rng(0)
    x = Input("x", Int(0, 255), (5, 7, 1))
    first = sign(bit.Conv(x, rng.integers(-1, 2, (5, 1, 3, 5)).astype(np.int8), (2, 1), (2, 4, 0, 0), (3, 1), 5, -1))
    second = bit.Conv(first, rng.integers(-99, 99, (2, 5, 7, 3)).astype(np.int16), (1, 3), (3, 2, 3, 0), (1, 1), 1, 0)
    return Module("widened", (x,), (Output("y", second, "int64"),))


def residual() -> Module:
    """Rows of few pixels: what the branch with the layer holds is more than its window."""
    rng = np.random.default_rng(0)
    x = Input("x", Bit(), (1, 3, 2))
    stream: Op = bit.Conv(x, signs(rng, 3, 1, 3, 3), (1, 1), (1,) * 4, (1, 1), 1, 1)
    for _ in range(3):
        branch = bit.Conv(sign(stream), signs(rng, 3, 3, 3, 3), (1, 1), (1,) * 4, (1, 1), 1, 1)
        stream = bit.Add((branch, stream), (1, 1))
    return Module("residual", (x,), (Output("y", stream, "int64"),))


def wide() -> Module:
    """Whole windows of pixels, then of each channel by itself, with zeros around them: several taps a beat."""
    rng = np.random.default_rng(0)
    x = Input("x", Int(0, 255), (1, 9, 12))
    first = sign(bit.Conv(x, signs(rng, 6, 1, 3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1, 0))
    each = bit.Conv(first, signs(rng, 6, 1, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 6, 0)
    last = bit.Conv(sign(each), signs(rng, 3, 2, 2, 3), (2, 1), (0, 1, 2, 0), (1, 2), 3, 1)
    return Module("wide", (x,), (Output("y", last, "int64"),))


NETWORKS = [
    (wide(), {"pe": "6,1,1", "simd": "9,9,6"}),
    (wide(), {"pe": "2,1,1", "simd": "3,3,12"}),
    (residual(), {"pe": "1", "simd": "3,9,9,9"}),
    (two_inputs(0), {"pe": "1", "simd": "9,3"}),
    (two_inputs(1), {"pe": "1", "simd": "9,6"}),
    (dense(7, 3, 10, 10, 10), {}),
    (dense(1, 1), {}),
    (dense(24, 12, 6), {"pe": "4,2", "simd": "3,4"}),
    (dense(24, 12, 6), {"pe": "1,6", "simd": "24,12"}),
    (widened(), {"pe": "1,1", "simd": "5,3"}),
]


@pytest.mark.parametrize(("module", "options"), NETWORKS, ids=lambda x: x.name if isinstance(x, Module) else "")
def test_the_estimate_is_what_runs(module: Module, options: dict[str, str], tmp_path: Path) -> None:
    write(module, tmp_path, **options)
    estimate = json.loads((tmp_path / "report.json").read_text())["estimate"]
    built(tmp_path)
    printed = bench(tmp_path)
    cycles, latency = (int(re.search(rf"{name}: (\d+)", printed)[1]) for name in ("cycles per image", "latency"))  # type: ignore[index]
    assert abs(cycles - estimate["cycles"]) <= 0.05 * cycles
    # The estimate waits for all ports, the testbench for the first.
    assert latency <= estimate["latency_cycles"] + 8
    if len(module.outputs) == 1:
        assert abs(latency - estimate["latency_cycles"]) <= 8


@pytest.mark.parametrize(("module", "options"), [NETWORKS[2], NETWORKS[8]])
def test_every_beat_crosses_when_the_model_says(module: Module, options: dict[str, str], tmp_path: Path) -> None:
    package = packaged(module, VerilogOptions(pe=options["pe"], simd=options["simd"]))
    expected = crossings(package.design)
    write(module, tmp_path, **options)
    seen = "".join(
        f"  always @(posedge clock.tb.dut.aclk) if ((clock.tb.dut.{name}_valid & clock.tb.dut.{name}_ready) == 1)\n"
        f'    $display("CROSSED {name} %0d", $time / 10);\n'
        for name in expected
    )
    top = (tmp_path / "tb" / "clock.v").read_text().replace("endmodule", f"{seen}endmodule")
    (tmp_path / "tb" / "clock.v").write_text(top)
    built(tmp_path)
    found: dict[str, list[int]] = {name: [] for name in expected}
    for line in bench(tmp_path).splitlines():
        if line.startswith("CROSSED"):
            found[line.split()[1]].append(int(line.split()[2]))
    start = min(times[0] for times in found.values())
    for name, times in expected.items():
        assert [time - start for time in found[name][: len(times)]] == times, name


def numbers(folder: Path, kind: str, port: dict[str, object]) -> np.ndarray:
    """The samples in a file of beats, as a newcomer decodes them by report.json alone: [n, *shape]."""
    lanes, width, channels = (int(str(port[name])) for name in ("lanes", "width", "channels"))
    suffix = str(port["port"])[len("m_axis") :]
    words = [int(line, 16) for line in (folder / "tb" / f"{kind}{suffix}.mem").read_text().split()]
    raw = np.array([[word >> (width * lane) & ((1 << width) - 1) for lane in range(lanes)] for word in words])
    raw -= (raw >> (width - 1) << width) if port["signed"] else 0
    values = raw.reshape(-1, int(str(port["pixels"])), channels) * port["multiplier"] + port["offset"]
    shape: list[int] = port["shape"]  # type: ignore[assignment]
    return np.asarray(values.transpose(0, 2, 1).reshape(-1, *shape))


@pytest.mark.parametrize("unroll", ["", "all"])
def test_the_layout_is_as_reported(unroll: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = Input("x", Bit(), (5, 7))
    pooled = bit.Pool(x, "max", (1,), (1,), (0, 0), (1,), smallest=rng.random(5) < 0.5)
    scores = bit.Dense(move.Reshape(pooled, (35,)), signs(rng, 3, 35))
    module = Module("layout", (x,), (Output("y", scores, "int64"),))
    write(module, tmp_path, **({"unroll": unroll} if unroll else {"pe": "3", "simd": "35"}))
    report = json.loads((tmp_path / "report.json").read_text())
    (given,), (result,) = report["inputs"], report["outputs"]
    assert given["order"].startswith("pixel by pixel")
    assert result["order"].startswith("pixel by pixel")
    assert (given["pixels"], given["channels"]) == (7, 5)
    expected = run(module, {"x": numbers(tmp_path, "input", {**given, "port": "m_axis"})})["y"]
    assert np.array_equal(numbers(tmp_path, "expected", result), expected)
