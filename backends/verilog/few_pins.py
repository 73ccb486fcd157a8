"""A top with few pins, to place and route a circuit that has more ports than a chip has pins.

Bits are shifted in and all taken at once; results are folded into one pin by registered parities. What is measured then
is the circuit between registers, as another circuit on the same chip would feed it.
"""

from __future__ import annotations

from bnnc.backends.verilog.design import Design
from bnnc.backends.verilog.top import Axis, axes_in, axes_out

MOST_SIGNALS = 180
"""Ports that every chip of the list of devices, in its package there, has pins for."""
FOLDED = 8


def few_pins_name(circuit: str) -> str:
    """The module's name, by that of the circuit."""
    return f"{circuit}_few_pins"


def few_pins_text(design: Design, title: str) -> str | None:
    """synth/NAME_few_pins.v; None where the circuit itself has few pins."""
    given = [signal for axis in axes_in(design) for signal in _signals(axis)]
    given += [(f"{axis.prefix}_tready", 1) for axis in axes_out(design)]
    made = [(f"{axis.prefix}_tready", 1) for axis in axes_in(design)]
    made += [signal for axis in axes_out(design) for signal in _signals(axis)]
    taken, left = sum(width for _, width in given), sum(width for _, width in made)
    if taken + left <= MOST_SIGNALS:
        return None
    parities = -(-left // FOLDED)
    spare = parities * FOLDED - left
    padded = f"{{{{{spare}{{1'b0}}}}, leaving}}" if spare else "leaving"
    ports = [".aclk(aclk)", ".aresetn(released[1])", *_slices(given, "held"), *_slices(made, "leaving")]
    return f"""{title}
// {design.name} with few pins, to place and route it alone: bits are shifted in and taken into registers all at once;
// results are folded into one.
`default_nettype none
module {few_pins_name(design.name)} (
    input wire aclk,
    input wire aresetn,
    input wire bits,
    input wire take,
    output reg result
);
  reg [1:0] released;
  reg taking;
  reg [{taken - 1}:0] shifted, held;
  wire [{left - 1}:0] leaving;
  reg [{parities * FOLDED - 1}:0] left;
  reg [{parities - 1}:0] folded;
  integer i;

  always @(posedge aclk) begin
    released <= {{released[0], aresetn}};
    taking <= take;
    shifted <= {{shifted[{taken - 2}:0], bits}};
    // An enable: without it, tools would merge these registers with those of the circuit.
    if (taking) held <= shifted;
    left <= {padded};
    for (i = 0; i < {parities}; i = i + 1) folded[i] <= ^left[i*{FOLDED}+:{FOLDED}];
    result <= ^folded;
  end

  {design.name} circuit (
      {("," + chr(10) + "      ").join(ports)}
  );
endmodule
`default_nettype wire
"""


def _signals(axis: Axis) -> list[tuple[str, int]]:
    """What an axis carries beside its tready: names and widths."""
    return [(f"{axis.prefix}_tdata", axis.width), (f"{axis.prefix}_tvalid", 1), (f"{axis.prefix}_tlast", 1)]


def _slices(signals: list[tuple[str, int]], vector: str) -> list[str]:
    """Connections of signals to consecutive bits of a vector."""
    ports, at = [], 0
    for name, width in signals:
        ports.append(f".{name}({vector}[{at}+:{width}])")
        at += width
    return ports


__all__ = ["few_pins_name", "few_pins_text"]
