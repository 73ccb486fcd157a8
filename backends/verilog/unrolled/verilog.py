"""Verilog of unrolled layers: one module for each group of neurons, one that joins the groups, one engine around it."""

from __future__ import annotations

from collections.abc import Sequence

from bnnc.backends.verilog.unrolled.network import Network, Part
from bnnc.backends.verilog.unrolled.technology import instances

WIDTH = 116


def wrapped(items: Sequence[str], indent: str) -> str:
    """Items with commas between them, on lines of a readable length."""
    lines, line = [], ""
    for item in items:
        if line and len(indent) + len(line) + len(item) + 2 > WIDTH:
            lines.append(line)
            line = item
        else:
            line = f"{line}, {item}" if line else item
    return f",\n{indent}".join([*lines, line])


def _joined(items: Sequence[str]) -> str:
    """`{…}` of items, the first in the lowest bit."""
    return "{\n      " + wrapped(list(reversed(items)), "      ") + "\n  }"


def group_module(part: Part, technology: str) -> str:
    """The module of a group: registers between stages, cells in order."""
    group, pipeline = part.group, part.pipeline
    places = [{net: i for i, net in enumerate(nets)} for nets in pipeline.registers]
    port = {group.inputs.index(bit) + 1: i for i, bit in enumerate(part.inputs)}
    stages = pipeline.stages

    def at(net: int, stage: int) -> str:
        """The signal that carries a net in a stage."""
        if stage > stages[net]:
            return f"s{stage}[{places[stage - 1][net]}]"
        return f"x[{port[net]}]" if net in port else f"n{net}"

    last = pipeline.latency
    chosen = [group.outputs[o] for o in part.outputs]
    results = ["~" * (literal & 1) + at(literal >> 1, last) for literal in chosen]
    text = [
        f"// Neurons {', '.join(map(str, group.neurons))}: {len(pipeline.cells)} tables. Latency: {last} cycles.",
        f"module {group.name} (",
        "    input clk,",
        f"    input [{len(part.inputs) - 1}:0] x,",
        f"    output [{len(results) - 1}:0] y",
        ");",
    ]
    read = {net for cell in pipeline.cells for net in cell.inputs} | {literal >> 1 for literal in chosen}
    used = [f"n{cell.output}" for cell in pipeline.cells if cell.output in read]
    unused = [f"n{cell.output}" for cell in pipeline.cells if cell.output not in read]
    if used:
        text.append(f"  wire {wrapped(used, '      ')};")
    if unused:
        text.append(f"  // verilator lint_off UNUSEDSIGNAL\n  wire {wrapped(unused, '      ')};")
        text.append("  // verilator lint_on UNUSEDSIGNAL")
    text += [f"  reg [{len(nets) - 1}:0] s{stage + 1};" for stage, nets in enumerate(pipeline.registers)]
    text += [_broken(line) for line in instances(pipeline.cells, technology, lambda net, cell: at(net, stages[cell]))]
    for stage, nets in enumerate(pipeline.registers):
        text.append(f"  always @(posedge clk) s{stage + 1} <= {_joined([at(net, stage) for net in nets])};")
    text.append(f"  assign y = {_joined(results)};")
    return "\n".join([*text, "endmodule"]) + "\n"


def _broken(instance: str) -> str:
    """An instance on one line, or on several where it is long."""
    if len(instance) <= WIDTH:
        return "  " + instance
    cell, rest = instance.split(") u", 1)
    name, ports = rest.removesuffix(");").split(" (", 1)
    return f"  {cell})\n      u{name} (\n      {wrapped(ports.split(', '), '      ')}\n  );"


def core_module(net: Network) -> str:
    """The module that joins the groups of all layers. `in` is registered once before the first layer."""
    text = [
        f"// {len(net.layers)} unrolled layers, a sample a cycle. Latency: {net.latency} cycles.",
        f"module {net.name}_core (",
        "    input clk,",
        f"    input [{net.source.bits - 1}:0] in,",
        f"    output [{net.result.bits - 1}:0] out",
        ");",
        "  // verilator lint_off UNUSEDSIGNAL",  # what all weights are 0 for
        f"  reg [{net.source.bits - 1}:0] l0;",
        "  // verilator lint_on UNUSEDSIGNAL",
        "  always @(posedge clk) l0 <= in;",
    ]
    signals: list[list[str]] = []
    for number, layer in enumerate(net.layers):
        if not layer.parts:
            continue
        width = layer.inputs.bits
        hops = max(part.relay for part in layer.parts)
        stem = f"l{number}"
        for hop in range(1, hops + 1):
            before = f"{stem}_r{hop - 1}" if hop > 1 else stem
            text += [f"  reg [{width - 1}:0] {stem}_r{hop};", f"  always @(posedge clk) {stem}_r{hop} <= {before};"]
        signals = [_part(net, number, part, text) for part in layer.parts if part.outputs]
        if number + 1 < len(net.layers):
            joined = [signal for part in signals for signal in part]
            text.append(f"  wire [{len(joined) - 1}:0] l{number + 1} = {_joined(joined)};")
    index = {p: i for i, p in enumerate(p for p, part in enumerate(net.layers[-1].parts) if part.outputs)}
    results = [f"1'b{bit}" if isinstance(bit, int) else signals[index[bit[0]]][bit[1]] for bit in net.results]
    text.append(f"  assign out = {_joined(results)};")
    return "\n".join([*text, "endmodule"]) + "\n"


def _part(net: Network, number: int, part: Part, text: list[str]) -> list[str]:
    """Writes the instance of a group, and registers until the layer is done; the signals of its outputs."""
    layer = net.layers[number]
    name = part.group.name.removeprefix(f"{net.name}_")
    vector = f"l{number}_r{part.relay}" if part.relay else f"l{number}"
    whole = part.inputs == tuple(range(layer.inputs.bits))
    read = vector if whole else _joined([f"{vector}[{bit}]" for bit in part.inputs])
    width = len(part.outputs)
    text.append(f"  wire [{width - 1}:0] {name};")
    text.append(f"  {part.group.name} u_{name} (.clk(clk), .x({read}), .y({name}));")
    signal = name
    for wait in range(1, layer.done - part.relay - part.pipeline.latency + 1):
        text += [f"  reg [{width - 1}:0] {name}_d{wait};", f"  always @(posedge clk) {name}_d{wait} <= {signal};"]
        signal = f"{name}_d{wait}"
    return [f"{signal}[{bit}]" for bit in range(width)]


def engine_module(net: Network) -> str:
    """The module with the stream ports: the core, and bnnc_pipeline for the handshakes."""
    return f"""// {len(net.layers)} unrolled layers as one engine, a beat a cycle. Latency: {net.latency + 2} cycles.
module {net.name} (
    input clk,
    input rst,
    input [{net.source.bits - 1}:0] in_data,
    input in_valid,
    output in_ready,
    output [{net.result.bits - 1}:0] out_data,
    output out_valid,
    input out_ready
);
  wire [{net.result.bits - 1}:0] result;

  {net.name}_core core (
      .clk(clk),
      .in(in_data),
      .out(result)
  );

  bnnc_pipeline #(
      .WIDTH({net.result.bits}),
      .LATENCY({net.latency}),
      .DEPTH({max(4, 1 << (net.latency + 2).bit_length())})
  ) pipeline (
      .clk(clk),
      .rst(rst),
      .in_valid(in_valid),
      .in_ready(in_ready),
      .result(result),
      .out_data(out_data),
      .out_valid(out_valid),
      .out_ready(out_ready)
  );
endmodule
"""
