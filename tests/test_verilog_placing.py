"""What place and route needs beside a circuit: a top with few pins, and a router for the many wires of netlists."""

from __future__ import annotations

import re
import shutil
import subprocess
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
    write(wide(200), tmp_path, unroll="all", technology="ecp5")
    make = shutil.which("make")
    if make is None:
        pytest.skip("needs make")
    command = [make, "-n", "nextpnr"]
    printed = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert "-top wide_few_pins" in printed
    assert "--router router2" in printed


@pytest.mark.parametrize(("device", "cell"), [("ecp5-85f", "LUT4"), ("", "bnnc_adder")])
def test_unrolled_layers_are_made_of_the_cells_of_the_chip(device: str, cell: str) -> None:
    files = api.emit(wide(40, 6), "verilog", unroll="all", device=device).files
    assert f"rtl/{cell}.v" in files
