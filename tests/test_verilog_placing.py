"""What place and route needs beside a circuit: a top with few pins, a router for many wires, a floorplan."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from bnnc import api
from bnnc.ir import bit
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.types import Bit
from tests.circuits import passes, write
from tests.verilog import needs_iverilog


def wide(inputs: int, neurons: int = 24) -> Module:
    """Two dense layers on many inputs: enough for relays."""
    rng = np.random.default_rng(inputs)
    x = Input("x", Bit(), (inputs,))
    first = bit.Dense(x, rng.choice(np.array([-1, 1], np.int8), (neurons, inputs)))
    thresholds = rng.integers(-9, 9, (neurons, 1), np.int32)
    step = bit.Step(first, thresholds, np.tile(np.array([-1, 1], np.int32), (neurons, 1)), Bit())
    second = bit.Dense(step, rng.choice(np.array([-1, 1], np.int8), (5, neurons)))
    return Module("wide", (x,), (Output("y", second, "int64"),))


@needs_iverilog
def test_unrolled_layers_with_relays_are_exact(tmp_path: Path) -> None:
    passes(wide(200), tmp_path, unroll="all")


@needs_iverilog
def test_a_wide_circuit_comes_with_a_top_of_few_pins(tmp_path: Path) -> None:
    write(wide(200), tmp_path, unroll="all")
    text = (tmp_path / "synth" / "wide_few_pins.v").read_text()
    ports = re.search(r"module wide_few_pins \((.*?)\);", text, re.DOTALL)
    assert ports is not None
    assert ports[1].count("wire") + ports[1].count("reg") == 5
    # What was shifted in stands at the circuit's inputs, first bit on top, once it is taken.
    bench = """
    module bench;
      reg clk = 0, bits = 0, take = 0;
      integer i;
      reg [299:0] sent = 300'h123456789abcdef00fedcba9876543210f1e2d3c4b5a69788796a5b4c3d2e1f01234567;
      wire result;
      wide_few_pins dut (.aclk(clk), .aresetn(1'b1), .bits(bits), .take(take), .result(result));
      always #1 clk = !clk;
      initial begin
        for (i = 299; i >= 0; i = i - 1) begin bits = sent[i]; @(posedge clk); #0.5; end
        take = 1;
        @(posedge clk); #0.5 take = 0;
        @(posedge clk); #0.5;
        repeat (2) @(posedge clk);
        #0.5 $display("%h", dut.circuit.s_axis_tdata);
        $finish;
      end
    endmodule
    """
    (tmp_path / "bench.v").write_text(bench)
    sources = [str(path) for folder in ("rtl", "synth") for path in sorted((tmp_path / folder).glob("*.v"))]
    command = ["iverilog", "-g2005", "-s", "bench", "-o", "bench.vvp", "bench.v", *sources]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    printed = subprocess.run(["vvp", "-n", "bench.vvp"], cwd=tmp_path, check=True, capture_output=True, text=True)
    seen = int(printed.stdout.split()[0], 16)
    sent = 0x123456789ABCDEF00FEDCBA9876543210F1E2D3C4B5A69788796A5B4C3D2E1F01234567
    # The last bit went in once more while `take` was on its way.
    assert seen == (sent << 1 | sent & 1) % (1 << 200)


def test_a_narrow_circuit_needs_none() -> None:
    files = api.emit(wide(24, 4), "verilog").files
    assert not [name for name in files if name.startswith("synth/")]


def test_make_places_what_synthesis_left(tmp_path: Path) -> None:
    write(wide(200), tmp_path, unroll="all", technology="ecp5", clock=70.0)
    make = shutil.which("make")
    if make is None:
        pytest.skip("needs make")
    command = [make, "-n", "nextpnr"]
    printed = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert "-top wide_few_pins" in printed
    assert "--router router2" in printed
    assert "--freq 70 " in printed
    assert "--pre-place" not in printed
    command.append("FLOORPLAN=constraints/wide_floorplan.py")
    printed = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert "--pre-place constraints/wide_floorplan.py" in printed


class Chip:
    """What a floorplan asks of nextpnr."""

    def __init__(self, name: str, cells: list[str]) -> None:
        self.name, self.cells = name, [(cell, None) for cell in cells]
        self.regions: dict[str, tuple[int, int, int, int]] = {}
        self.placed: dict[str, str] = {}

    def getChipName(self) -> str:
        return self.name

    def createRectangularRegion(self, name: str, left: int, low: int, right: int, high: int) -> None:
        self.regions[name] = (left, low, right, high)

    def constrainCellToRegion(self, cell: str, region: str) -> None:
        self.placed[cell] = region


@pytest.mark.parametrize("chip", ["LFE5U-25F", "LFE5U-45F", "LFE5U-85F"])
def test_a_floorplan_gives_every_group_its_share_of_the_chip(chip: str) -> None:
    files = api.emit(wide(300, 32), "verilog", unroll="all", technology="ecp5").files
    script = files["constraints/wide_floorplan.py"].decode()
    core = next(text.decode() for name, text in files.items() if name.endswith("_core.v"))
    tables = {name: int(count) for name, count in re.findall(r"\('([^']+)', (\d+)\)", script)}
    engine = next(iter(tables)).split(".")[0]
    groups = [f"{engine}.core.u_{group}." for group in re.findall(r"u_(l0_g\d+) ", core)]
    assert set(tables) == set(groups)
    ctx = Chip(chip, [*(f"circuit.{group}u7" for group in groups), "shifted_FF_Q_3", f"circuit.{engine}.core.l0_FF"])
    exec(compile(script, "floorplan.py", "exec"), {"ctx": ctx})
    assert ctx.placed == {f"circuit.{group}u7": group for group in groups}
    for one, other in combinations(ctx.regions.values(), 2):
        assert one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1], (one, other)
    share = [
        (right - left + 1) * (high - low + 1) / tables[name] for name, (left, low, right, high) in ctx.regions.items()
    ]
    assert len(share) > 3
    assert max(share) < 1.3 * min(share)


@pytest.mark.parametrize(("device", "cell"), [("ecp5-85f", "LUT4"), ("", "bnnc_adder")])
def test_unrolled_layers_are_made_of_the_cells_of_the_chip(device: str, cell: str) -> None:
    files = api.emit(wide(40, 6), "verilog", unroll="all", device=device).files
    assert f"rtl/{cell}.v" in files
