"""Runs a circuit in the simulator inside yosys, where there is no other: it needs no compiler, and takes its time.

yosys knows no testbench: it runs so many cycles of something that could be hardware, and writes what changes. So the
beats come from a memory, every output is taken at once, and what was taken is read from the trace. The circuit is made
flat once; the memory of beats is new for every piece of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bnnc.backends.verilog.design import Design
from bnnc.backends.verilog.top import Axis, axes_in, axes_out

CYCLES = 20_000
"""About so many cycles are run at a time; more at least where a sample takes more."""
TRIES = 3
"""A run that has not ended is made again with twice the cycles, so often: then the circuit hangs."""
_RESET = 4
_CIRCUIT, _FEEDER, _TRACE = "circuit.il", "feeder", "trace.vcd"


def flattened(design: Design, sources: Sequence[str]) -> str:
    """The script that reads the circuit and writes it as one flat module, its names out of the trace."""
    return (
        f"read_verilog -nosynthesis -defer {' '.join(sources)}; hierarchy -top {design.name}; proc; "
        f"setattr -mod -unset keep_hierarchy A:keep_hierarchy; flatten; opt -fast; rename -hide; write_rtlil {_CIRCUIT}"
    )


def stepped(cycles: int) -> str:
    """The script that runs the circuit with its feeder."""
    return (
        f"read_rtlil {_CIRCUIT}; read_verilog {_FEEDER}.v; hierarchy -top {_FEEDER}; proc; flatten; "
        f"sim -q -clock clk -resetn aresetn -rstlen {_RESET} -zinit -n {cycles} -vcd {_TRACE} {_FEEDER}"
    )


def feeder_text(design: Design, images: int) -> str:
    """A module that gives the circuit the beats of `images` samples, from PREFIX.part, and takes all that comes."""
    inputs, outputs = axes_in(design), axes_out(design)
    ports = ["input wire clk", "input wire aresetn"]
    for axis in outputs:
        ports += [f"output reg {axis.prefix}_moved", f"output reg [{axis.width - 1}:0] {axis.prefix}_word"]
    lines = [f"module {_FEEDER} ({', '.join(ports)});"]
    wires = [".aclk(clk)", ".aresetn(aresetn)"]
    for axis in inputs:
        p, beats = axis.prefix, axis.stream.beats * images
        bits = beats.bit_length()
        lines += [
            f"  reg [{axis.width - 1}:0] {p}_words[0:{beats - 1}];",
            f'  initial $readmemh("{p}.part", {p}_words);',
            f"  reg [{bits - 1}:0] {p}_at;",
            f"  wire {p}_tready, {p}_tvalid = aresetn && {p}_at != {bits}'d{beats};",
            f"  wire [{axis.width - 1}:0] {p}_tdata = {p}_tvalid ? {p}_words[{p}_at] : {axis.width}'d0;",
            "  always @(posedge clk)",
            f"    if (!aresetn) {p}_at <= {bits}'d0;",
            f"    else if ({p}_tvalid && {p}_tready) {p}_at <= {p}_at + 1'b1;",
        ]
        wires += [f".{p}_{signal}({p}_{signal})" for signal in ("tdata", "tvalid", "tready")] + [f".{p}_tlast(1'b0)"]
    for axis in outputs:
        p = axis.prefix
        lines += [
            f"  wire [{axis.width - 1}:0] {p}_tdata;",
            f"  wire {p}_tvalid;",
            "  always @(posedge clk) begin",
            f"    {p}_moved <= aresetn && {p}_tvalid;",
            f"    {p}_word <= {p}_tdata;",
            "  end",
        ]
        wires += [f".{p}_tdata({p}_tdata)", f".{p}_tvalid({p}_tvalid)", f".{p}_tready(1'b1)", f".{p}_tlast()"]
    return "\n".join([*lines, f"  {design.name} dut (", "      " + ",\n      ".join(wires), "  );", "endmodule", ""])


def moved(trace: Iterable[str], axes: Sequence[Axis]) -> list[list[str]]:
    """What crossed every axis, words as bits, by the trace (VCD, IEEE 1364-2005, 18.2) of a feeder.

    The feeder holds the values of a rising edge until the next: they are read where the clock falls.
    """
    wanted = ["clk", *(f"{axis.prefix}_{kind}" for axis in axes for kind in ("moved", "word"))]
    codes: dict[str, str] = {}
    values = dict.fromkeys(wanted, "x")
    found: list[list[str]] = [[] for _ in axes]
    fell = False

    def look() -> None:
        for words, axis in zip(found, axes, strict=True):
            if fell and values[f"{axis.prefix}_moved"] == "1":
                words.append(values[f"{axis.prefix}_word"])

    for line in trace:
        if line.startswith("$var"):
            _, _, _, code, name, *_ = line.split()
            if name in values and name not in codes.values():
                codes[code] = name
        elif line[0] in "#bB01xXzZ":
            if line[0] == "#":
                look()
                fell = False
                continue
            value, code = line[1:].split() if line[0] in "bB" else (line[0], line[1:].strip())
            if code in codes:
                values[codes[code]] = value
                fell |= codes[code] == "clk" and value == "0"
    look()
    return found


def run_through(
    design: Design, images: int, pace: int, latency: int, folder: Path, script: Callable[[str], None]
) -> None:
    """Run samples whose beats stand in PREFIX.in, and write what comes out to PREFIX.out.

    `pace`: cycles from sample to sample, `latency`: those of the first, both as expected. `script` runs one with yosys
    in the folder, where `flattened` has been run. Raises ValueError, with what is wrong, for a circuit that hangs or
    gives too much or unknown bits.
    """
    inputs, outputs = axes_in(design), axes_out(design)
    beats = [(folder / f"{axis.prefix}.in").read_text(encoding="ascii").split() for axis in inputs]
    texts: list[list[str]] = [[] for _ in outputs]
    step = max(1, CYCLES // max(1, pace))
    for start in range(0, images, step):
        count = min(step, images - start)
        for axis, words in zip(inputs, beats, strict=True):
            size = axis.stream.beats
            part = words[start * size : (start + count) * size]
            (folder / f"{axis.prefix}.part").write_text("\n".join(part) + "\n", encoding="ascii")
        (folder / f"{_FEEDER}.v").write_text(feeder_text(design, count), encoding="ascii")
        expected = latency + (count - 1) * pace
        found = _whole(outputs, count, expected + expected // 32 + 2 * _RESET + 16, folder, script)
        for axis, words, text in zip(outputs, found, texts, strict=True):
            text += [_hexadecimal(word, axis) for word in words]
    for axis, text in zip(outputs, texts, strict=True):
        (folder / f"{axis.prefix}.out").write_text("\n".join(text) + "\n", encoding="ascii")


def _whole(
    axes: tuple[Axis, ...], count: int, cycles: int, folder: Path, script: Callable[[str], None]
) -> list[list[str]]:
    """All that `count` samples make; longer if that takes more cycles than was thought."""
    wanted = [count * axis.stream.beats for axis in axes]
    for _ in range(TRIES):
        script(stepped(cycles))
        with (folder / _TRACE).open(encoding="ascii", errors="replace") as trace:
            found = moved(trace, axes)
        sizes = [len(words) for words in found]
        if sizes == wanted:
            return found
        if any(size > most for size, most in zip(sizes, wanted, strict=True)):
            break
        cycles *= 2
    raise ValueError(f"{sizes} beats have come out, not {wanted}")


def _hexadecimal(bits: str, axis: Axis) -> str:
    if not set(bits) <= {"0", "1"}:
        raise ValueError(f"{axis.prefix}_tdata has unknown bits: {bits[-64:]}")
    return f"{int(bits, 2):0{axis.width // 4}x}"


__all__ = ["CYCLES", "feeder_text", "flattened", "moved", "run_through", "stepped"]
