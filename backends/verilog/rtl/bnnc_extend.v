// bnnc_extend: a number in more or fewer bits (then modulo 2^OUT_WIDTH). Wires.
//
//   IN_WIDTH, IN_SIGNED, OUT_WIDTH
module bnnc_extend #(
    parameter integer IN_WIDTH  = 8,
    parameter integer IN_SIGNED = 1,
    parameter integer OUT_WIDTH = 16
) (
    // verilator lint_off UNUSED
    input  [ IN_WIDTH-1:0] in,
    // verilator lint_on UNUSED
    output [OUT_WIDTH-1:0] out
);
  generate
    if (OUT_WIDTH > IN_WIDTH) begin : g_more
      assign out = {{OUT_WIDTH - IN_WIDTH{IN_SIGNED != 0 && in[IN_WIDTH-1]}}, in};
    end else begin : g_fewer
      assign out = in[OUT_WIDTH-1:0];
    end
  endgenerate
endmodule
