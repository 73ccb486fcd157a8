// bnnc_delay: what came in CYCLES cycles ago, counting the cycles with `enable`.
//
//   WIDTH   bits
//   CYCLES  0 or more (0: wires)
//   RESET   1: `rst` clears it; 0: it has no reset
//
// Throughput: a value a cycle. Latency: CYCLES.
module bnnc_delay #(
    parameter integer WIDTH  = 1,
    parameter integer CYCLES = 1,
    parameter integer RESET  = 0
) (
    input              clk,
    input              rst,
    input              enable,
    input  [WIDTH-1:0] in,
    output [WIDTH-1:0] out
);
  wire clear = RESET != 0 && rst;
  generate
    if (CYCLES == 0) begin : g_wire
      // verilator lint_off UNUSED
      wire unused = clk && clear && enable;
      // verilator lint_on UNUSED
      assign out = in;
    end else begin : g_line
      reg [CYCLES*WIDTH-1:0] line;
      assign out = line[CYCLES*WIDTH-1-:WIDTH];
      if (CYCLES == 1) begin : g_one
        always @(posedge clk) if (clear) line <= 0;
        else if (enable) line <= in;
      end else begin : g_more
        always @(posedge clk) if (clear) line <= 0;
        else if (enable) line <= {line[(CYCLES-1)*WIDTH-1:0], in};
      end
    end
  endgenerate
endmodule
