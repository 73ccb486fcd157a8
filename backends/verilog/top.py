"""The top of a circuit as Verilog: an instance for each engine, AXI-Stream at both ends."""

from __future__ import annotations

from dataclasses import dataclass

from bnnc.backends.verilog.design import Design, Engine, Memory, Stream
from bnnc.backends.verilog.names import comment_text


@dataclass(frozen=True)
class Axis:
    """An AXI-Stream of the top: `prefix` of its signals, the stream it carries."""

    prefix: str
    stream: Stream

    @property
    def width(self) -> int:
        """Bits of tdata: whole bytes."""
        return -(-self.stream.bits // 8) * 8


def axes_in(design: Design) -> tuple[Axis, ...]:
    """The inputs: s_axis, s_axis_1 …"""
    return tuple(Axis("s_axis" if n == 0 else f"s_axis_{n}", stream) for n, stream in enumerate(design.inputs))


def axes_out(design: Design) -> tuple[Axis, ...]:
    """The outputs: m_axis, m_axis_1 … and m_axis_class."""
    found = [Axis("m_axis" if n == 0 else f"m_axis_{n}", stream) for n, stream in enumerate(design.outputs)]
    return (*found, *([Axis("m_axis_class", design.classes)] if design.classes else []))


def top_text(design: Design, title: str) -> str:
    """rtl/NAME.v."""
    inputs, outputs = axes_in(design), axes_out(design)
    lines = [title, *_picture(design), "`default_nettype none", f"module {design.name} ("]
    ports = ["input wire aclk", "input wire aresetn"]
    for axis in inputs:
        ports += [
            f"input wire [{axis.width - 1}:0] {axis.prefix}_tdata",
            f"input wire {axis.prefix}_tvalid",
            f"output wire {axis.prefix}_tready",
            f"input wire {axis.prefix}_tlast",
        ]
    for axis in outputs:
        ports += [
            f"output wire [{axis.width - 1}:0] {axis.prefix}_tdata",
            f"output wire {axis.prefix}_tvalid",
            f"input wire {axis.prefix}_tready",
            f"output wire {axis.prefix}_tlast",
        ]
    lines += [f"    {port}," for port in ports[:-1]] + [f"    {ports[-1]}", ");", "  wire rst = !aresetn;"]
    # Every engine counts beats itself: tlast of an input says nothing new.
    unused = [f"{axis.prefix}_tlast" for axis in inputs]
    for axis in inputs:
        name = axis.stream.name
        if axis.width > axis.stream.bits:
            unused.append(f"{axis.prefix}_tdata[{axis.width - 1}:{axis.stream.bits}]")
        lines += [
            f"  wire [{axis.stream.bits - 1}:0] {name}_data = {axis.prefix}_tdata[{axis.stream.bits - 1}:0];",
            f"  wire {name}_valid = {axis.prefix}_tvalid;",
            f"  wire {name}_ready;",
            f"  assign {axis.prefix}_tready = {name}_ready;",
        ]
    sources = {port.stream.name: port.stream for engine in design.engines for port in engine.outputs}
    sources |= {axis.stream.name: axis.stream for axis in inputs}
    layer = ""
    for engine in design.engines:
        heading = _heading(engine)
        if heading != layer:
            lines += ["", f"  // {heading}"]
            layer = heading
        lines += _instance(engine)
        unused += [
            f"{port.stream.name}_data[{source.bits - 1}:{port.stream.bits}]"
            for port in engine.inputs
            for source in [sources[port.stream.name]]
            if source.bits > port.stream.bits
        ]
    lines.append("")
    for axis in outputs:
        lines += _leaving(axis)
    lines += [
        "  // verilator lint_off UNUSED",
        f"  wire unused = &{{1'b0, {', '.join(unused)}}};",
        "  // verilator lint_on UNUSED",
        "endmodule",
        "`default_nettype wire",
        "",
    ]
    return "\n".join(lines)


def _picture(design: Design) -> list[str]:
    """What stands in the file, for people: the engines in the order of the data."""
    lines = ["//", "// The data pass through these engines, each `lanes x bits, beats of a sample`:", "//"]
    lines += [f"//   {axis.prefix:<28} {_flow(axis.stream)}" for axis in axes_in(design)]
    lines += [f"//   {engine.name:<28} {_flow(engine.outputs[0].stream)}" for engine in design.engines]
    return [*lines, "//"]


def _flow(stream: Stream) -> str:
    return f"{stream.lanes} x {stream.width}, {stream.beats}"


def _heading(engine: Engine) -> str:
    name = comment_text(engine.loc.name)
    return f"{name}: {engine.op}" if name else engine.op


def _instance(engine: Engine) -> list[str]:
    lines = []
    fork = len(engine.outputs) > 1
    for port in engine.outputs:
        lines.append(f"  wire [{port.stream.bits - 1}:0] {port.stream.name}_data;")
        lines.append(f"  wire {port.stream.name}_valid, {port.stream.name}_ready;")
    ports = [".clk(aclk)", ".rst(rst)"]
    for port in engine.inputs:
        name = port.stream.name
        ports += [
            f".{port.prefix}_data({name}_data[{port.stream.bits - 1}:0])",
            f".{port.prefix}_valid({name}_valid)",
            f".{port.prefix}_ready({name}_ready)",
        ]
    names = [port.stream.name for port in engine.outputs]
    if fork:
        ports += [
            f".out_data({names[0]}_data)",
            f".out_valid({{{', '.join(f'{name}_valid' for name in reversed(names))}}})",
            f".out_ready({{{', '.join(f'{name}_ready' for name in reversed(names))}}})",
        ]
        lines += [f"  assign {name}_data = {names[0]}_data;" for name in names[1:]]
    else:
        ports += [f".out_{kind}({names[0]}_{kind})" for kind in ("data", "valid", "ready")]
    values = [f".{name}({_value(value)})" for name, value in engine.parameters]
    lines.append(f"  {engine.module} #(" if values else f"  {engine.module}")
    lines += [f"      {text}," for text in values[:-1]] + [f"      {text}" for text in values[-1:]]
    lines.append(f"  ) {engine.name} (" if values else f"  {engine.name} (")
    lines += [f"      {text}," for text in ports[:-1]] + [f"      {ports[-1]}", "  );"]
    return lines


def _value(value: int | str | Memory) -> str:
    return f'"mem/{value.name}.mem"' if isinstance(value, Memory) else str(value)


def _leaving(axis: Axis) -> list[str]:
    """The signals of an output; its tlast comes from a counter of the beats of a sample."""
    name, prefix = axis.stream.name, axis.prefix
    spare = axis.width - axis.stream.bits
    data = f"{{{{{spare}{{1'b0}}}}, {name}_data}}" if spare else f"{name}_data"
    lines = [
        f"  assign {prefix}_tdata = {data};",
        f"  assign {prefix}_tvalid = {name}_valid;",
        f"  assign {name}_ready = {prefix}_tready;",
    ]
    beats = axis.stream.beats
    if beats == 1:
        return [*lines, f"  assign {prefix}_tlast = 1'b1;"]
    bits = (beats - 1).bit_length()
    return [
        *lines,
        f"  reg [{bits - 1}:0] {prefix}_beat;",
        f"  assign {prefix}_tlast = {prefix}_beat == {bits}'d{beats - 1};",
        "  always @(posedge aclk)",
        f"    if (rst) {prefix}_beat <= {bits}'d0;",
        f"    else if ({name}_valid && {prefix}_tready)",
        f"      {prefix}_beat <= {prefix}_tlast ? {bits}'d0 : {prefix}_beat + 1'b1;",
    ]


__all__ = ["Axis", "axes_in", "axes_out", "top_text"]
