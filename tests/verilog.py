"""Simulates one Verilog module of the library: beats in, beats out, with random pauses on every side.

The testbench also holds the module to the rules of a stream: once valid, a beat stays as it is until it is taken.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.shared import ROOT

RTL = ROOT / "backends" / "verilog" / "rtl"
needs_iverilog = pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs iverilog")
needs_verilator = pytest.mark.skipif(shutil.which("verilator") is None, reason="needs verilator")
Beats = Sequence[int]
Pair = tuple[int, int]
seeds = st.integers(0, 2**31)
stalls = st.sampled_from([0, 80, 200])

IN_PORT = """
  reg [{top}:0] {n}_data;
  reg {n}_valid;
  wire {n}_ready;
  reg [{top}:0] {n}_beats [0:{last}];
  integer {n}_next;
  initial $readmemh("{n}.mem", {n}_beats);
  always @(posedge clk)
    if (rst) begin {n}_valid <= 0; {n}_next <= 0; end
    else if (!{n}_valid || {n}_ready) begin
      if ({n}_next < {count} && $unsigned(noise[{bit} +: 8]) >= {stall}) begin
        {n}_valid <= 1; {n}_data <= {n}_beats[{n}_next]; {n}_next <= {n}_next + 1;
      end else begin {n}_valid <= 0; {n}_data <= {{{width}{{1'bx}}}}; end
    end
"""
OUT_PORT = """
  wire [{top}:0] {n}_data;
  wire {n}_valid;
  reg {n}_ready;
  reg [{top}:0] {n}_before;
  reg {n}_waits;
  integer {n}_count;
  always @(posedge clk)
    if (rst) begin {n}_ready <= 0; {n}_waits <= 0; {n}_count <= 0; end
    else begin
      {n}_ready <= $unsigned(noise[{bit} +: 8]) >= {stall};
      {n}_waits <= {n}_valid && !{n}_ready;
      {n}_before <= {n}_data;
      if ({n}_waits && ({n}_valid !== 1'b1 || {n}_data !== {n}_before)) $display("UNSTABLE {n} at %0d", cycle);
      if ({n}_valid !== 1'b0 && {n}_valid !== 1'b1) $display("UNKNOWN {n}_valid at %0d", cycle);
      if ({n}_valid && {n}_ready) begin
        $display("{n} %0d %h", cycle, {n}_data);
        {n}_count <= {n}_count + 1;
      end
    end
"""
BENCH = """
`timescale 1ns/1ps
module bench;
  reg clk, rst;
  integer cycle, after;
  reg [95:0] noise;
  initial begin clk = 0; rst = 1; cycle = 0; after = 0; noise = 96'h{seed:x}; end
  always #5 clk = !clk;
  always @(posedge clk) begin
    cycle <= cycle + 1;
    noise <= {{noise[94:0], 1'b0}} ^ (noise[95] ? 96'h800000000000000000000641 : 96'h0) ^ {{noise[31:0], noise[95:32]}};
    if (cycle == 5) rst <= 0;
    after <= !rst && {done} ? after + 1 : 0;
    if (after > 60) begin $display("DONE"); $finish; end
    if (cycle > {limit}) begin $display("TIMEOUT"); $finish; end
  end
{ports}
  {module} #({parameters}) dut (.clk(clk), .rst(rst){connections});
endmodule
"""


@dataclass(frozen=True)
class Result:
    """What came out: beats of every port, and the cycle in which each was taken."""

    beats: dict[str, list[int]]
    cycles: dict[str, list[int]]

    def interval(self, port: str, beats: int) -> float:
        """Cycles a sample of so many beats, in the steady state."""
        taken = self.cycles[port][beats - 1 :: beats]
        return (taken[-1] - taken[0]) / (len(taken) - 1)


def pack(lanes: np.ndarray, width: int) -> list[int]:
    """Integers [beats, lanes] as beats: lane l at bit l*width, two's complement."""
    mask = (1 << width) - 1
    return [sum((int(v) & mask) << (width * i) for i, v in enumerate(row)) for row in np.atleast_2d(lanes)]


def unpack(beats: Beats, lanes: int, width: int, signed: bool = False) -> np.ndarray:
    """Beats as int64 [beats, lanes]."""
    mask, top = (1 << width) - 1, 1 << (width - 1)
    rows = [[(beat >> (width * i)) & mask for i in range(lanes)] for beat in beats]
    return np.array([[v - 2 * (v & top) if signed else v for v in row] for row in rows], np.int64).reshape(-1, lanes)


def memory(words: Beats) -> str:
    """A file for $readmemh."""
    return "".join(f"{word:x}\n" for word in words)


def bench(
    module: str,
    parameters: Mapping[str, int | str],
    inputs: Mapping[str, tuple[int, Beats]],
    outputs: Mapping[str, tuple[int, int]],
    stall: int,
    seed: int,
) -> str:
    """The testbench: inputs are (width, beats), outputs (width, how many beats end the simulation)."""
    ports, connections, bit = "", "", 0
    for name, (width, beats) in inputs.items():
        fields = {"n": name, "top": width - 1, "width": width, "last": max(len(beats) - 1, 0), "count": len(beats)}
        ports += IN_PORT.format(**fields, stall=stall, bit=bit)
        connections += "".join(f", .{name}_{part}({name}_{part})" for part in ("data", "valid", "ready"))
        bit += 11
    for name, (width, _) in outputs.items():
        ports += OUT_PORT.format(n=name, top=width - 1, stall=stall, bit=bit)
        connections += "".join(f", .{name}_{part}({name}_{part})" for part in ("data", "valid", "ready"))
        bit += 11
    total = sum(len(beats) for _, beats in inputs.values()) + sum(count for _, count in outputs.values())
    return BENCH.format(
        seed=(seed * 2654435761 + 0x9E3779B97F4A7C15F39CC060) & (2**96 - 1),
        done=" && ".join(f"{name}_count >= {count}" for name, (_, count) in outputs.items()),
        limit=3000 + 400 * total,
        ports=ports,
        module=module,
        parameters=", ".join(f".{k}({v})" if isinstance(v, int) else f'.{k}("{v}")' for k, v in parameters.items()),
        connections=connections,
    )


def run(command: Sequence[str | Path], folder: Path) -> str:
    """What the command prints; it must succeed."""
    done = subprocess.run(list(command), cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def simulate(
    module: str,
    parameters: Mapping[str, int | str],
    inputs: Mapping[str, tuple[int, Beats]],
    outputs: Mapping[str, tuple[int, int]],
    files: Mapping[str, Beats] | None = None,
    stall: int = 0,
    seed: int = 1,
    simulator: str = "iverilog",
    extra: str = "",
) -> Result:
    """Runs the module until every output gave so many beats. `stall` of 256: how often either side pauses.

    `files` are memories; `extra` is Verilog beside the testbench (a wrapper).
    """
    with tempfile.TemporaryDirectory(prefix="bnnc-rtl-") as name:
        folder = Path(name)
        (folder / "bench.v").write_text(extra + bench(module, parameters, inputs, outputs, stall, seed))
        for port, (_, beats) in inputs.items():
            (folder / f"{port}.mem").write_text(memory(beats or [0]))
        for file, words in (files or {}).items():
            (folder / file).write_text(memory(words))
        if simulator == "iverilog":
            run(["iverilog", "-g2005", "-y", RTL, "-s", "bench", "-o", "bench.vvp", "bench.v"], folder)
            printed = run(["vvp", "-n", "bench.vvp"], folder)
        else:
            flags = ["--binary", "--timing", "-Wno-fatal", "-Wno-lint", "-y", str(RTL), "--top", "bench"]
            run(["verilator", *flags, "-CFLAGS", "-O0", "bench.v"], folder)
            printed = run([folder / "obj_dir" / "Vbench"], folder)
    return read(printed, outputs)


def read(printed: str, outputs: Mapping[str, tuple[int, int]]) -> Result:
    """The testbench's lines."""
    beats: dict[str, list[int]] = {port: [] for port in outputs}
    cycles: dict[str, list[int]] = {port: [] for port in outputs}
    for line in printed.splitlines():
        words = line.split()
        assert not words or words[0] not in ("UNSTABLE", "UNKNOWN", "TIMEOUT"), printed[-2000:]
        if words and words[0] in outputs:
            cycles[words[0]].append(int(words[1]))
            beats[words[0]].append(int(words[2], 16))
    assert "DONE" in printed, printed[-2000:]
    for port, (_, count) in outputs.items():
        assert len(beats[port]) == count, f"{port}: {len(beats[port])} beats, not {count}"
    return Result(beats, cycles)


def tool(name: str) -> str | None:
    """An executable on PATH or beside this Python."""
    beside = Path(sys.executable).parent / name
    return shutil.which(name) or (str(beside) if os.access(beside, os.X_OK) else None)


def examples(count: int) -> settings:
    """So many random cases."""
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def width_of(low: int, high: int, signed: bool) -> int:
    """The fewest bits that hold low..high."""
    return max(max(-low - 1, high, 0).bit_length() + 1 if signed else high.bit_length(), 1)


def raw(width: int, signed: int) -> tuple[int, int]:
    """Smallest and largest number of so many bits."""
    return (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)


def numbers(rng: np.random.Generator, width: int, signed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Random numbers of so many bits, their ends among them."""
    low, high = raw(width, signed)
    found = rng.integers(low, high, shape, endpoint=True)
    ends = rng.random(shape)
    return np.asarray(np.where(ends < 0.05, low, np.where(ends > 0.95, high, found)))
