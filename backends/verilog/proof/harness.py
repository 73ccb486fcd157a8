"""The modules that SAT looks at: a module of the library, what it should give, and `wrong`.

Inputs come when they like, and outputs are taken when the reader likes. All that came is kept; `wrong` is set where an
output is another one, comes before what it is made of, is taken back, or is late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bnnc.backends.verilog.proof.contents import Code, Contents
from bnnc.backends.verilog.proof.expressions import Printer

TOP = "harness"
Parameters = Mapping[str, int | str]


@dataclass(frozen=True)
class Source:
    """An input: element n of a sample has the id first + n. pads: the bits above the lanes of a beat, lowest first."""

    prefix: str
    lanes: int
    width: int
    signed: bool
    beats: int
    first: int
    code: Code = field(default_factory=Code)
    pads: tuple[str, ...] = ()

    @property
    def bits(self) -> int:
        """Of the data."""
        return self.lanes * self.width

    def place(self, number: int) -> tuple[int, int]:
        """The beat of a sample in which an element comes, and its lane."""
        return divmod(number - self.first, self.lanes)

    def holds(self, number: int) -> bool:
        """Whether an id is one of its elements."""
        return self.first <= number < self.first + self.beats * self.lanes


@dataclass(frozen=True)
class Flow:
    """A stream module, and what a sample of its output is made of.

    known: the values of ids that are numbers. late: cycles that an output may take. wide: bits that hold every number.
    """

    module: str
    parameters: Parameters
    sources: tuple[Source, ...]
    result: Contents
    cycles: int
    late: int
    known: Mapping[int, int]
    wide: int = 16
    memories: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Unit:
    """A module without handshake: `shown` of its outputs is `wanted` of its inputs `latency` enabled cycles ago."""

    module: str
    parameters: Parameters
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]
    shown: str
    wanted: str
    bits: int
    latency: int
    clocked: bool = True
    enable: bool = False
    memories: Mapping[str, str] = field(default_factory=dict)

    @property
    def cycles(self) -> int:
        """That are looked at: all of a pipeline, and two pauses."""
        return self.latency + (4 if self.enable else 2)


def text_of(spec: Flow | Unit) -> str:
    """The module `harness`, with inputs clk, rst and free ones, and the output wrong."""
    return _unit(spec) if isinstance(spec, Unit) else _flow(spec)


def _instance(module: str, parameters: Parameters, ports: Sequence[str]) -> str:
    values = [
        f'.{name}("{value}")' if isinstance(value, str) and "'" not in value else f".{name}({value})"
        for name, value in parameters.items()
    ]
    return f"  {module} #({', '.join(values)}) dut ({', '.join(ports)});"


def _unit(unit: Unit) -> str:
    ports = [f".{name}({name})" for name, _ in (*unit.inputs, *unit.outputs)]
    ports += [".clk(clk)"] if unit.clocked else []
    ports += [".enable(enable)"] if unit.enable else []
    free = ", ".join(f"input [{bits - 1}:0] {name}" for name, bits in unit.inputs)
    lines = [
        f"module {TOP} (input clk, input rst, input pause, {free}, output wrong);",
        *(f"  wire [{bits - 1}:0] {name};" for name, bits in unit.outputs),
        f"  wire enable = {'!pause' if unit.enable else 1};",
        _instance(unit.module, unit.parameters, ports),
        f"  wire [{unit.bits - 1}:0] wanted = {unit.wanted};",
        f"  wire [{unit.bits - 1}:0] shown = {unit.shown};",
    ]
    if not unit.latency:
        return "\n".join([*lines, "  assign wrong = !rst && shown != wanted;", "endmodule", ""])
    last = unit.latency * unit.bits
    lines += [
        f"  reg [{last - 1}:0] before;",
        f"  reg [{unit.latency - 1}:0] known;",
        "  always @(posedge clk) begin",
        "    if (enable) before <= {before, wanted};",
        "    if (rst) known <= 0; else if (enable) known <= {known, 1'b1};",
        "  end",
        f"  assign wrong = !rst && known[{unit.latency - 1}] && shown != before[{last - unit.bits}+:{unit.bits}];",
        "endmodule",
        "",
    ]
    return "\n".join(lines)


def _flow(flow: Flow) -> str:
    result, cycles = flow.result, flow.cycles
    free = [f"input {s.prefix}_offer, input [{s.bits - 1}:0] {s.prefix}_free" for s in flow.sources]
    lines = [
        f"module {TOP} (input clk, input rst, {', '.join([*free, 'input out_ready', 'output wrong'])});",
        f"  wire [{result.bits - 1}:0] out_data;",
        "  wire out_valid;",
        *Printer(flow.wide, str).functions(result.width),
    ]
    ports = [".clk(clk)", ".rst(rst)"]
    for source in flow.sources:
        lines += _kept(source, cycles)
        ports += [f".{source.prefix}_{kind}({source.prefix}_{kind})" for kind in ("data", "valid", "ready")]
    ports += [f".out_{kind}(out_{kind})" for kind in ("data", "valid", "ready")]
    waiting = " && ".join(f"{s.prefix}_waits" for s in flow.sources) or "1'b0"
    full = " && ".join(f"{s.prefix}_there >= {s.beats}" for s in flow.sources) or "1"
    taken = " || ".join(f"{s.prefix}_taken" for s in flow.sources) or "1'b0"
    late, beats = flow.late.bit_length() + 1, result.beats.bit_length()
    lines += [
        _instance(flow.module, flow.parameters, ports),
        f"  reg [{beats - 1}:0] place;  // beats of this sample that were taken",
        "  reg unread, present;",
        f"  reg [{result.bits - 1}:0] wanted;",
        f"  reg [{late - 1}:0] silent, stuck;",
        "  wire moved = out_valid && out_ready;",
        f"  wire over = moved && place == {result.beats - 1};",
        "  always @* begin",
        "    wanted = 0; present = 1'b0;",
        "    case (place)",
        *_cases(flow),
        "      default: ;",
        "    endcase",
        "  end",
        "  always @(posedge clk)",
        "    if (rst) begin",
        "      place <= 0; unread <= 0; silent <= 0; stuck <= 0;",
        "    end else begin",
        "      place <= over ? 0 : place + moved;",
        "      unread <= out_valid && !out_ready;",
        f"      silent <= present && {full} && !out_valid ? silent + 1'b1 : 0;",
        f"      stuck <= ({waiting}) && !present && !({taken}) ? stuck + 1'b1 : 0;",
        "    end",
        "  assign wrong = !rst && ((out_valid && (!present || out_data != wanted)) || (unread && !out_valid)",
        f"    || silent > {flow.late} || stuck > {flow.late});",
        "endmodule",
        "",
    ]
    return "\n".join(lines)


def _kept(source: Source, cycles: int) -> list[str]:
    """The signals of an input: what was offered stays until it is taken. What was taken of this sample and of those
    behind it is kept (`seen`), and looked at together with what is offered (`view`)."""
    p, bits = source.prefix, source.bits
    whole, pointer = bits * cycles, cycles.bit_length()
    lines = [
        f"  wire {p}_ready;",
        f"  reg {p}_waits;",
        f"  reg [{bits - 1}:0] {p}_held;",
        f"  reg [{pointer - 1}:0] {p}_count;",
        f"  reg [{whole - 1}:0] {p}_seen;",
        f"  wire {p}_valid = {p}_waits || {p}_offer;",
        f"  wire [{bits - 1}:0] {p}_lanes = {p}_waits ? {p}_held : {p}_free;",
        f"  wire {p}_taken = {p}_valid && {p}_ready;",
        *(
            f"  wire [{bits - 1}:0] {p}_view_{n} = {p}_count == {n} ? {p}_lanes : {p}_seen[{n * bits}+:{bits}];"
            for n in range(cycles)
        ),
        f"  wire [{whole - 1}:0] {p}_view = {{{', '.join(f'{p}_view_{n}' for n in reversed(range(cycles)))}}};",
        f"  wire [{pointer - 1}:0] {p}_there = {p}_count + {p}_valid;",
        "  always @(posedge clk) begin",
        f"    {p}_waits <= !rst && {p}_valid && !{p}_ready;",
        f"    {p}_held <= {p}_lanes;",
        f"    if (rst) {p}_count <= 0; else {p}_count <= {p}_count + {p}_taken - (over ? {source.beats} : 0);",
        f"    {p}_seen <= over ? {p}_view >> {source.beats * bits} : {p}_view;",
        "  end",
    ]
    if not source.pads:
        return [*lines, f"  wire [{bits - 1}:0] {p}_data = {p}_lanes;"]
    extra = len(source.pads[0])
    cases = [f"{p}_count == {n} ? {extra}'b{source.pads[n % source.beats][::-1]} : " for n in range(cycles)]
    span = bits // extra
    taps = [f"{p}_pads[{n}], {p}_lanes[{n * span}+:{span}]" for n in reversed(range(extra))]
    return [
        *lines,
        f"  wire [{extra - 1}:0] {p}_pads = {''.join(cases)}{extra}'d0;",
        f"  wire [{bits + extra - 1}:0] {p}_data = {{{', '.join(taps)}}};",
    ]


def _cases(flow: Flow) -> list[str]:
    """What each beat of a sample is, and from when on it may come."""
    result = []
    printer = Printer(flow.wide, _values(flow))
    bits = flow.result.beats.bit_length()
    for beat in range(min(flow.result.beats, flow.cycles)):
        text, ids = printer.beat(flow.result, beat)
        needs = []
        for source in flow.sources:
            last = max((source.place(one)[0] for one in ids if source.holds(one)), default=-1)
            if last >= 0:
                needs.append(f"{source.prefix}_there > {last}")
        result.append(f"      {bits}'d{beat}: begin wanted = {text}; present = {' && '.join(needs) or '1'}; end")
    return result


def _values(flow: Flow) -> Callable[[int], str]:
    """The value of an id: a number, or from what was kept of this sample."""
    printer = Printer(flow.wide, str)

    def value(one: int) -> str:
        if one in flow.known:
            return printer.number(flow.known[one])
        source = next(s for s in flow.sources if s.holds(one))
        beat, lane = source.place(one)
        at = beat * source.bits + lane * source.width
        return printer.element(f"{source.prefix}_view", at, source.width, source.signed, source.code)

    return value


__all__ = ["TOP", "Flow", "Parameters", "Source", "Unit", "text_of"]
