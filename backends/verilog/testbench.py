"""The testbench: feeds files of input beats, compares what comes out with others (or writes it), and counts cycles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bnnc.backends.verilog.design import Design, Stream
from bnnc.backends.verilog.top import Axis, axes_in, axes_out
from bnnc.backends.verilog.vectors import checksum

IMAGES = 16
"""Golden vectors of a package."""


@dataclass(frozen=True)
class Probe:
    """What must cross a stream inside while the golden vectors pass: the checksum of all beats."""

    stream: Stream
    layer: str
    sum: int


def bench_text(design: Design, title: str, images: int, patience: int, probes: Sequence[Probe] = ()) -> str:
    """tb/NAME_tb.v: a clocked module. `patience`: cycles without any beat after which it gives up. `probes`: in the
    order of the data."""
    inputs, outputs = axes_in(design), axes_out(design)
    lines = [
        title,
        *_USE,
        "// verilator lint_off BLKSEQ",
        "`default_nettype none",
        f"module {design.name}_tb (",
        "    input wire clk",
        ");",
    ]
    lines += [
        "  reg [8*256-1:0] name;",
        "  integer images, stall, dump, errors, cycle, idle;",
        "  reg [2:0] resets;",
        "  reg [31:0] random, sum;",
        "  reg golden, drained;",
        "  wire aresetn = resets[2];",
        "  integer first_end, middle_end, last_end;",
        "",
    ]
    for axis in inputs:
        lines += _input_wires(axis)
    for axis in outputs:
        lines += _output_wires(axis)
    for number, probe in enumerate(probes):
        lines += _probe_wires(number, probe)
    lines += _memory_wires(design)
    lines += [f"  {design.name} dut (", "      .aclk(clk),", "      .aresetn(aresetn),"]
    ports = [
        f".{axis.prefix}_{signal}({axis.prefix}_{signal})"
        for axis in (*inputs, *outputs)
        for signal in ("tdata", "tvalid", "tready", "tlast")
    ]
    lines += [f"      {port}," for port in ports[:-1]] + [f"      {ports[-1]}", "  );", ""]
    lines += [
        "  // Bits of a shift register (32, 22, 2, 1) decide who pauses; the same ones in every run.",
        "  function [31:0] following(input [31:0] x);",
        "    following = {x[30:0], x[31] ^ x[21] ^ x[1] ^ x[0]};",
        "  endfunction",
        "",
        "  initial begin",
        f'    if (!$value$plusargs("images=%d", images)) images = {images};',
        '    if (!$value$plusargs("stall=%d", stall)) stall = 0;',
        '    dump = $test$plusargs("dump") ? 1 : 0;',
        "    errors = 0;",
        "    cycle = 0;",
        "    idle = 0;",
        "    first_end = 0;",
        "    middle_end = 0;",
        "    last_end = 0;",
        "    resets = 3'd0;",
        "    random = 32'h9e3779b9;",
    ]
    for axis in inputs:
        lines += _opened(axis, "r", "input")
    for axis in outputs:
        lines += [
            "    if (dump != 0) begin",
            *(f"  {line}" for line in _opened(axis, "w", "output")),
            "    end else begin",
            *(f"  {line}" for line in _opened(axis, "r", "expected")),
            "    end",
            f"    {axis.prefix}_count = 0;",
        ]
    lines += _checked(design)
    for number in range(len(probes)):
        lines += [f"    probe_{number}_count = 0;", f"    probe_{number}_sum = 32'd0;"]
    lines += [
        '    golden = dump == 0 && !$test$plusargs("input");',
        "  end",
        "",
        "  always @(posedge clk) begin",
        "    cycle <= cycle + 1;",
        "    random <= following(random);",
    ]
    lines += ["    if (!aresetn) resets <= resets + 3'd1;"]
    for number, axis in enumerate(inputs):
        lines += _feeding(axis, number)
    for number, axis in enumerate(outputs):
        lines += _taking(axis, number, first=number == 0)
    for number, probe in enumerate(probes):
        lines += _probing(number, probe)
    moves = " || ".join(f"({a.prefix}_tvalid && {a.prefix}_tready)" for a in (*inputs, *outputs))
    done = " && ".join(f"{a.prefix}_count == images * {a.stream.beats}" for a in outputs)
    if probes:  # what no output needs may still be on its way
        whole = [f"probe_{n}_count >= {images * probe.stream.beats}" for n, probe in enumerate(probes)]
        lines.append(f"    drained = !golden || ({' && '.join(whole)});")
        done += " && drained"
    lines += [
        f"    idle <= aresetn && !({moves}) ? idle + 1 : 0;",
        f"    if (aresetn && {done}) begin",
        *(line for number, probe in enumerate(probes) for line in _compared(number, probe)),
        '      if (dump != 0) $display("DONE: %0d images, %0d cycles", images, cycle);',
        '      else if (errors == 0) $display("PASS: %0d images", images);',
        '      else $display("FAIL: %0d errors", errors);',
        '      if (images > 3) $display("cycles per image: %0d", (last_end - middle_end) / (images - images / 2));',
        '      $display("latency: %0d cycles", first_end);',
        "      $finish;",
        "    end",
        f"    if (idle > {patience}) begin",
        f'      $display("FAIL: nothing has moved for {patience} cycles");',
        "      $finish;",
        "    end",
        "  end",
        "endmodule",
        "`default_nettype wire",
        "",
    ]
    return "\n".join(lines)


MIX = "32'd16777619"


def _mixed(target: str, data: str, bits: int, margin: str) -> list[str]:
    """The checksum of vectors.py, for one word that is padded to whole 32 bits."""
    parts = -(-bits // 32)
    if parts == 1:
        return [f"{margin}{target} = {target} * {MIX} + {data}[31:0];"]
    return [
        f"{margin}for (part = 0; part < {parts}; part = part + 1)",
        f"{margin}  {target} = {target} * {MIX} + {data}[32*part +: 32];",
    ]


def _probe_wires(number: int, probe: Probe) -> list[str]:
    bits, name = probe.stream.bits, probe.stream.name
    spare = -bits % 32
    data = f"{{{spare}'d0, dut.{name}_data[{bits - 1}:0]}}" if spare else f"dut.{name}_data[{bits - 1}:0]"
    return [
        f"  // {probe.layer}",
        f"  integer probe_{number}_count;",
        f"  reg [31:0] probe_{number}_sum;",
        f"  wire [{bits + spare - 1}:0] probe_{number}_data = {data};",
    ]


def _probing(number: int, probe: Probe) -> list[str]:
    name = probe.stream.name
    return [
        f"    if (golden && aresetn && dut.{name}_valid && dut.{name}_ready) begin",
        f"      probe_{number}_count = probe_{number}_count + 1;",
        *_mixed(f"probe_{number}_sum", f"probe_{number}_data", probe.stream.bits, "      "),
        "    end",
    ]


def _compared(number: int, probe: Probe) -> list[str]:
    return [
        f"      if (golden && probe_{number}_sum !== 32'h{probe.sum:08x}) begin",
        "        errors = errors + 1;",
        f'        $display("FAIL in layer %0s", "{_quoted(probe.layer)}");',
        "      end",
    ]


def _quoted(text: str) -> str:
    return text.replace("\\", "/").replace('"', "'").replace("%", "%%")


def _memory_wires(design: Design) -> list[str]:
    """Room for every memory file: a damaged one is noticed even if no vector happens to show it."""
    lines = ["  integer word, part;"]
    for number, memory in enumerate(design.memories):
        bits = -(-memory.width // 32) * 32
        lines.append(f"  reg [{bits - 1}:0] memory_{number}[0:{memory.words - 1}];")
        lines.append(f"  reg [{bits - 1}:0] memory_{number}_word;")
    return lines


def _checked(design: Design) -> list[str]:
    lines = []
    for number, memory in enumerate(design.memories):
        lines += [
            f'    $readmemh("mem/{memory.name}.mem", memory_{number});',
            "    sum = 32'd0;",
            f"    for (word = 0; word < {memory.words}; word = word + 1) begin",
            f"      memory_{number}_word = memory_{number}[word];",
            *_mixed("sum", f"memory_{number}_word", memory.width, "      "),
            "    end",
            f"    if (sum !== 32'h{checksum(memory.packed):08x}) begin",
            "      errors = errors + 1;",
            f'      $display("FAIL: mem/{memory.name}.mem is damaged");',
            "    end",
        ]
    return lines


_USE = (
    "//",
    "// Plusargs: +stall=N  pauses in N of 16 cycles, at every input and output (0: none)",
    "//           +images=N +input=FILE (+input_1=FILE ...) +expected=FILE: other data than tb/*.mem",
    "//           +dump +output=FILE (+output_1=FILE ...): write what comes out and compare nothing",
)


def _input_wires(axis: Axis) -> list[str]:
    p = axis.prefix
    return [
        f"  reg [{axis.width - 1}:0] {p}_tdata, {p}_word;",
        f"  reg {p}_tvalid, {p}_tlast, {p}_ended;",
        f"  wire {p}_tready;",
        f"  integer {p}_file, {p}_got, {p}_beat;",
    ]


def _output_wires(axis: Axis) -> list[str]:
    p = axis.prefix
    return [
        f"  wire [{axis.width - 1}:0] {p}_tdata;",
        f"  reg [{axis.width - 1}:0] {p}_word;",
        f"  wire {p}_tvalid, {p}_tlast;",
        f"  reg {p}_tready;",
        f"  integer {p}_file, {p}_got, {p}_count;",
    ]


def file_of(axis: Axis, kind: str) -> str:
    """The name of the file of an axis, without its suffix: `input`, `expected`, with `_1` or `_class` behind it."""
    return kind + axis.prefix[len("s_axis") :]


def _opened(axis: Axis, mode: str, kind: str) -> list[str]:
    name, p = file_of(axis, kind), axis.prefix
    lines = [
        f'    if (!$value$plusargs("{name}=%s", name)) name = "tb/{name}.mem";',
        f'    {p}_file = $fopen(name, "{mode}");',
        f"    if ({p}_file == 0) begin",
        '      $display("FAIL: %0s cannot be opened", name);',
        "      $finish;",
        "    end",
    ]
    if mode == "r" and kind == "expected":
        return lines
    return lines + (
        [f"    {p}_tvalid = 1'b0;", f"    {p}_tdata = 0;", f"    {p}_tlast = 1'b0;", f"    {p}_ended = 1'b0;"]
        + [f"    {p}_beat = 0;"]
        if kind == "input"
        else []
    )


def _paused(number: int) -> str:
    return f"{{28'd0, random[{4 * (number % 8) + 3}:{4 * (number % 8)}]}} < stall"


def _feeding(axis: Axis, number: int) -> list[str]:
    p, beats = axis.prefix, axis.stream.beats
    return [
        f"    if (aresetn && (!{p}_tvalid || {p}_tready)) begin",
        f"      {p}_tvalid <= 1'b0;",
        f"      if (!{p}_ended && !({_paused(number)})) begin",
        f'        {p}_got = $fscanf({p}_file, "%h", {p}_word);',
        f"        if ({p}_got != 1) {p}_ended <= 1'b1;",
        "        else begin",
        f"          {p}_tdata <= {p}_word;",
        f"          {p}_tvalid <= 1'b1;",
        f"          {p}_tlast <= {p}_beat == {beats - 1};",
        f"          {p}_beat <= {p}_beat == {beats - 1} ? 0 : {p}_beat + 1;",
        "        end",
        "      end",
        "    end",
    ]


def _taking(axis: Axis, number: int, first: bool) -> list[str]:
    p, beats = axis.prefix, axis.stream.beats
    lines = [
        f"    {p}_tready <= aresetn && !({_paused(number + 4)});",
        f"    if (aresetn && {p}_tvalid && {p}_tready) begin",
        f"      {p}_count <= {p}_count + 1;",
        f'      if (dump != 0) $fwrite({p}_file, "%h\\n", {p}_tdata);',
        "      else begin",
        f'        {p}_got = $fscanf({p}_file, "%h", {p}_word);',
        f"        if ({p}_got != 1 || {p}_tdata !== {p}_word) begin",
        "          if (errors < 8)",
        f'            $display("{p}: beat %0d is %h, not %h", {p}_count, {p}_tdata, {p}_word);',
        "          errors = errors + 1;",
        "        end",
        "      end",
        f"      if ({p}_tlast !== (({p}_count + 1) % {beats} == 0)) begin",
        f'        if (errors < 8) $display("{p}: tlast is wrong at beat %0d", {p}_count);',
        "        errors = errors + 1;",
        "      end",
    ]
    if first:
        lines += [
            f"      if ({p}_count + 1 == {beats}) first_end = cycle;",
            f"      if ({p}_count + 1 == images / 2 * {beats}) middle_end = cycle;",
            f"      if ({p}_count + 1 == images * {beats}) last_end = cycle;",
        ]
    return [*lines, "    end"]


def clock_text(design: Design, title: str) -> str:
    """tb/clock.v: the clock for simulators that know time."""
    return "\n".join(
        [
            title,
            "`timescale 1ns / 1ps",
            "module clock;",
            "  reg clk = 1'b0;",
            "  always #5 clk = !clk;",
            f"  {design.name}_tb tb (.clk(clk));",
            "endmodule",
            "",
        ]
    )


def harness_text(design: Design, title: str) -> str:
    """tb/main.cpp: the clock for verilator, which needs no notion of time then."""
    top = f"V{design.name}_tb"
    return "\n".join(
        [
            title,
            f'#include "{top}.h"',
            '#include "verilated.h"',
            "",
            "double sc_time_stamp() { return 0; }",
            "",
            "int main(int argc, char **argv) {",
            "    VerilatedContext context;",
            "    context.commandArgs(argc, argv);",
            f"    {top} top{{&context}};",
            "    top.clk = 0;",
            "    while (!context.gotFinish()) {",
            "        top.clk = !top.clk;",
            "        top.eval();",
            "    }",
            "    top.final();",
            "    return 0;",
            "}",
            "",
        ]
    )


__all__ = ["IMAGES", "Probe", "bench_text", "clock_text", "file_of", "harness_text"]
